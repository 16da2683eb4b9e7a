"""Export of a layer to ONNX, through jax2onnx."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax import export
from jax.extend.core import jaxpr_as_fun

from recur.checks import leaf_name
from recur.files import replacing
from recur.interop.by_name import by_names
from recur.interop.plain import to_plain
from recur.layer import Layer
from recur.types import Context, Params, Shaped


def export_onnx(
    path: str | os.PathLike,
    layer: Layer,
    params: Params,
    xs: Shaped,
    *,
    context: Context = None,
    step: bool = False,
    symbolic: bool = True,
) -> None:
    """Exports a layer or one step of it as an ONNX file, with the params in it.

    The inputs and outputs are those of `export_program`, by their full names: `xs` and `length` in,
    `carry/0/hidden` and `ys` out. With step=True, `carry/...`, `x`, `mask` and `reset` in,
    `next_carry/...` and `y` out. The conversion is that of jax2onnx. Its result is run by ONNX
    Runtime on random inputs, and a file is written only if the outputs are those of the layer.

    Args:
      path: the path of the file; its folder must exist.
      layer: any layer, batched or not, that computes with real numbers.
      params: of the layer.
      xs: an example of the inputs or its shape, `[B, T, I]` if the layer is batched.
      context: an example of the context or its shape, which is then another input.
      step: whether to export one step, of inputs `[B, I]`.
      symbolic: whether the numbers of rows and steps are free, as in `export_program`.

    Returns:
      None.

    Raises:
      ImportError: if jax2onnx is not installed.
      TypeError: if the layer is not a layer, or params, xs or context do not hold arrays.
      ValueError: if a param is NaN or infinite, step=True is given and the layer needs whole
        sequences, or jax2onnx or ONNX Runtime cannot represent the layer.
      OSError: if the file could not be written.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer, xs = recur.batch(recur.scan(recur.gru(8))), jnp.ones((1, 5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> recur.interop.export_onnx("gru.onnx", layer, params, xs)           # doctest: +SKIP
      >>> import onnxruntime                                                 # doctest: +SKIP
      >>> session = onnxruntime.InferenceSession("gru.onnx")                 # doctest: +SKIP
      >>> carry, ys = session.run(None, {"xs": xs, "length": [5]})           # doctest: +SKIP

    References:
      ONNX, https://onnx.ai
      jax2onnx, https://github.com/enpasos/jax2onnx
    """
    caller = "export_onnx"
    function = by_names(caller, layer, params, xs, context=context, step=step, symbolic=symbolic)
    leaves, structure = jax.tree.flatten(function.inputs)
    outputs: list[str] = []

    def flat(*arrays):
        carry, ys = function.run(**jax.tree.unflatten(structure, arrays))
        named = {"next_carry": carry, "y": ys} if step else {"carry": carry, "ys": ys}
        outputs[:] = _full_names(named)
        return jax.tree.leaves(named)

    traced = jax.make_jaxpr(flat)(*leaves)
    converter, runtime = _libraries(caller)
    names = _full_names(function.inputs)
    is_double = any(aval.dtype == np.float64 for aval in [*traced.in_avals, *traced.out_avals])
    try:
        plain = to_plain(traced, *leaves)
        model = converter(
            jaxpr_as_fun(plain),
            leaves,
            model_name="recur",
            input_names=names,
            output_names=outputs,
            enable_double_precision=is_double,
        ).SerializeToString()
        session = runtime(model, providers=["CPUExecutionProvider"])
        given = dict(zip(names, _examples(names, leaves), strict=True))
        found = session.run(outputs, given)
    except Exception as error:  # of any kind: those of the converter are its own
        raise ValueError(
            f"{caller}: jax2onnx could not convert {layer} ({type(error).__name__}: {error}). Use "
            "export_program, or recur.scan of the cell if another lift runs it."
        ) from error
    expected = jax.jit(flat)(*given.values())
    for name, ours, theirs in zip(outputs, expected, found, strict=True):
        if not np.allclose(ours, theirs, rtol=1e-3, atol=1e-4):
            raise ValueError(
                f"{caller}: jax2onnx converted {layer} wrongly: {name} differs by up to "
                f"{np.abs(np.asarray(ours) - theirs).max()} in ONNX Runtime. Use export_program."
            )
    with replacing(path, "wb") as file:
        file.write(model)


def _full_names(named: dict[str, Any]) -> list[str]:
    return [leaf_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(named)]


def _examples(names: list[str], shapes: list[Any]) -> list[np.ndarray]:
    """Returns random inputs, with a different size for each symbolic dimension."""
    rng = np.random.default_rng(0)
    sizes: dict[str, int] = {}

    def size_of(size):
        if not export.is_symbolic_dim(size):
            return size
        return sizes.setdefault(str(size), 7 + 4 * len(sizes))

    def example(name, shape):
        sizes_of = [size_of(size) for size in shape.shape]
        if shape.dtype == bool:
            return rng.integers(0, 2, sizes_of).astype(bool)
        if np.issubdtype(shape.dtype, np.integer):
            return rng.integers(0, 4 if name.endswith("length") else 1, sizes_of, shape.dtype)
        return rng.uniform(-1, 1, sizes_of).astype(shape.dtype)

    return [example(*each) for each in zip(names, shapes, strict=True)]


def _libraries(caller: str) -> tuple[Callable, Callable]:
    """Returns the converter and the class of sessions."""
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
        from jax2onnx import to_onnx  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f'{caller} needs jax2onnx: pip install "recur-jax[onnx]".') from error

    def convert(*args, **options):
        model = to_onnx(*args, **options)
        # jax2onnx 0.17 gives one name to all unknown sizes of inner values, which ONNX Runtime
        # then takes as equal. Without these shapes it finds them itself.
        for graph in _graphs(model.graph):
            del graph.value_info[:]
        return model

    return convert, onnxruntime.InferenceSession


def _graphs(graph: Any) -> Iterator[Any]:
    """Yields a graph and the bodies of its loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
