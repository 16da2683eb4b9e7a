"""ONNX files: by jax2onnx and ONNX Runtime if they are installed, else by a converter in JAX."""

import importlib.util

import jax
import numpy as np
import pytest
from flax import linen as nn
from jax import export
from jax.extend.core import jaxprs_in_params

import recur
from recur.interop import export_onnx, onnx_file
from recur.interop.by_name import by_names
from recur.interop.plain import to_plain
from recur.sequences import Padded, pool
from recur_tests.helpers import assert_close, random_like

IS_INSTALLED = importlib.util.find_spec("jax2onnx") is not None
XS = np.random.default_rng(0).standard_normal((2, 4, 3)).astype(np.float32)
IDS = np.arange(8, dtype=np.int32).reshape(2, 4) % 5
SOURCE = {"source": Padded(IDS[:, :3], np.array([3, 2], np.int32))}
LENGTH = np.array([4, 2], np.int32)
BOTH = recur.bidirectional(recur.scan(recur.lstm(3)), recur.scan(recur.gru(3), reverse=True))
DECODER = recur.chain(
    nn.Embed(5, 3), recur.scan(recur.attend(recur.gru(4), "memory")), lambda y: y.output
)
ENCODER = recur.chain(nn.Embed(5, 3), recur.scan(recur.lstm(4)))
LAYERS = {
    "lstm": (recur.chain(recur.scan(recur.lstm(4)), nn.Dense(2)), XS, None),
    "gru": (recur.scan(recur.gru(4, reset="before")), XS, None),
    "both": (recur.pooled(recur.chain(nn.Embed(5, 3), BOTH), pool.mean), IDS, None),
    "attention": (recur.encoder_decoder(ENCODER, DECODER), IDS, SOURCE),
    "conv": (recur.scan(recur.conv_lstm(2, (3,))), XS[..., None], None),
}


def draw(name):
    layer, xs, context = LAYERS[name]
    layer = recur.batch(layer)
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), xs, context=context))
    return layer, random_like(shapes, 1), xs, context


def primitives(jaxpr):
    for equation in jaxpr.eqns:
        yield equation.primitive
        for inner in jaxprs_in_params(equation.params):
            yield from primitives(inner)


@pytest.mark.parametrize("name", LAYERS)
def test_plain_jaxprs_have_primitives_of_jax_only(name):
    layer, params, xs, context = draw(name)
    options = {"context": context, "step": False, "symbolic": True}
    function = by_names("export_onnx", layer, params, xs, **options)
    leaves, structure = jax.tree.flatten(function.inputs)
    traced = jax.make_jaxpr(lambda *given: function.run(**jax.tree.unflatten(structure, given)))
    found = set(primitives(to_plain(traced(*leaves), *leaves).jaxpr))
    assert not [each for each in found if each.impl.__module__.startswith("recur.")]
    names = {primitive.name for primitive in found}
    assert not names & {"name", "custom_jvp_call", "custom_vjp_call", "remat2", "checkpoint"}
    assert "scan" in names
    fixed = by_names("export_onnx", layer, params, xs, **options | {"symbolic": False})
    given = {"xs": xs, "length": LENGTH} | ({} if context is None else {"context": context})
    given = jax.tree.leaves(given | {"context": dict(_by_path(context))} if context else given)
    leaves = jax.tree.leaves(fixed.inputs)
    traced = jax.make_jaxpr(lambda *each: fixed.run(**jax.tree.unflatten(structure, each)))
    plain = to_plain(traced(*leaves), *leaves)
    expected = jax.tree.leaves(layer(params, xs, context=context, length=LENGTH))
    found = jax.core.eval_jaxpr(plain.jaxpr, plain.consts, *given)[-len(expected) :]
    assert_close(found, expected, 1e-5)


def _by_path(tree):
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield jax.tree_util.keystr(path, simple=True, separator="/"), leaf


class Converted:
    """A model and a session of JAX in place of those of ONNX, with an error if one is given."""

    error = 0.0

    def __init__(self, function, names):
        self.function, self.names = function, names

    def SerializeToString(self):  # noqa: N802
        Converted.last = self
        return b"model"

    def run(self, outputs, given):
        assert self.names == list(given)
        return [np.asarray(leaf) + self.error for leaf in self.function(*given.values())]


def converter(function, inputs, *, input_names, output_names, **options):
    assert options == {"model_name": "recur", "enable_double_precision": False}
    Converted.outputs = output_names
    return Converted(export.export(jax.jit(function))(*inputs).call, input_names)


@pytest.fixture
def in_jax(monkeypatch):
    session = lambda model, providers: Converted.last  # noqa: E731
    monkeypatch.setattr(onnx_file, "_libraries", lambda caller: (converter, session))


def test_names_of_inputs_and_outputs(in_jax, tmp_path):
    export_onnx(tmp_path / "a", *draw("lstm")[:3])
    assert (tmp_path / "a").read_bytes() == b"model"
    assert Converted.last.names == ["length", "xs"]
    assert Converted.outputs == ["carry/0/cell", "carry/0/hidden", "ys"]
    export_onnx(tmp_path / "a", *draw("gru")[:3], step=True)
    assert Converted.last.names == ["carry/value", "mask", "reset", "x"]
    assert Converted.outputs == ["next_carry/value", "y"]


def test_a_wrong_conversion_writes_no_file(in_jax, tmp_path, monkeypatch):
    monkeypatch.setattr(Converted, "error", 0.01)
    with pytest.raises(ValueError, match=r"jax2onnx converted .* wrongly: carry/value differs by"):
        export_onnx(tmp_path / "a", *draw("gru")[:3])

    def refuse(*args, **options):
        raise NotImplementedError("No plugins registered for primitive 'foo'")

    monkeypatch.setattr(onnx_file, "_libraries", lambda caller: (refuse, None))
    with pytest.raises(ValueError, match=r"could not convert batch\(.* primitive 'foo'\)\. Use"):
        export_onnx(tmp_path / "a", *draw("gru")[:3])
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(IS_INSTALLED, reason="jax2onnx is installed")
def test_without_the_library(tmp_path):
    with pytest.raises(ImportError, match=r'needs jax2onnx: pip install "recur-jax\[onnx\]"'):
        export_onnx(tmp_path / "a", *draw("gru")[:3])


@pytest.mark.skipif(not IS_INSTALLED, reason="jax2onnx is not installed")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LAYERS)
def test_onnx_runtime_computes_the_same(name, tmp_path):
    import onnxruntime

    path = tmp_path / "model.onnx"
    layer, params, xs, context = draw(name)
    export_onnx(path, layer, params, xs, context=context)
    session = onnxruntime.InferenceSession(path)
    ends = np.array([3], np.int32)
    for rows, count, length in ((2, 4, LENGTH), (1, 3, ends)):
        of_rows = jax.tree.map(lambda leaf: leaf[:rows], context)  # noqa: B023
        given = {"xs": xs[:rows, :count], "length": length}
        given |= dict(_by_path({} if context is None else {"context": of_rows}))
        carry, ys = layer.run(params, xs[:rows, :count], context=of_rows, length=length)
        expected = [leaf for _, leaf in sorted(_by_path(carry))] + jax.tree.leaves(ys)
        found = session.run(None, {name: np.asarray(array) for name, array in given.items()})
        for theirs, ours in zip(found, expected, strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not IS_INSTALLED, reason="jax2onnx is not installed")
@pytest.mark.filterwarnings("ignore")
def test_onnx_runtime_step_by_step(tmp_path):
    import onnxruntime

    layer, params, xs, _ = draw("lstm")
    export_onnx(tmp_path / "model.onnx", layer, params, xs, step=True)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = [output.name for output in session.get_outputs()]
    carry = {f"carry/0/{name}": np.full((2, 4), 9, np.float32) for name in ("cell", "hidden")}
    outputs = []
    for t in range(4):
        flags = {"mask": t < LENGTH, "reset": np.full(2, t == 0)}
        found = dict(zip(names, session.run(None, {**carry, **flags, "x": xs[:, t]}), strict=True))
        carry = {name: found[f"next_{name}"] for name in carry}
        outputs.append(found["y"])
    expected = layer(params, xs, length=LENGTH)
    np.testing.assert_allclose(np.stack(outputs, 1), expected, rtol=1e-4, atol=1e-5)
