import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.layer import Layer, check_is_layer, check_layer
from recur.sequences.trees import Nodes
from recur.types import Mask
from recur_tests.contract.own_cells import conditioned_cell, leaky_integrator
from recur_tests.helpers import assert_close, counting_compilations, inner_jaxprs, random_like

XS = np.random.default_rng(0).standard_normal((5, 3))
F64 = {"param_dtype": jnp.float64}


def lstm_layer():
    return recur.scan(recur.lstm(4, **F64))


def gru_layer(**options):
    return recur.scan(recur.gru(4, **F64), **options)


def drawn(layer, xs=XS, context=None):
    return random_like(jax.eval_shape(layer.init, jax.random.key(0), xs, context), 1)


def test_a_layer_is_called_run_or_applied():
    layer = lstm_layer()
    params = drawn(layer)
    bound = layer.bind(params, XS)
    carry, ys = layer.apply(bound, layer.begin(bound, XS), XS, Mask(), None)
    assert_close(layer.run(params, XS), (carry, ys))
    assert_close(layer(params, XS), ys)
    assert_close(jax.jit(layer.run)(params, XS), (carry, ys))
    assert isinstance(layer, Layer)


def test_a_layer_is_frozen_and_prints_as_its_call():
    layer = gru_layer()
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.init = None
    assert repr(recur.scan(recur.gru(4))) == "scan(gru(4))"
    assert repr(Layer(layer.init, layer.bind, layer.begin, layer.apply)) == "Layer(...)"
    assert layer == layer and layer != dataclasses.replace(layer)


def test_all_carries_are_those_after_every_step():
    layer = lstm_layer()
    params = drawn(layer)
    carries, ys = layer.run(params, XS, all_carries=True)
    assert_close(ys, layer(params, XS))
    for count in range(1, 6):
        last, _ = layer.run(params, XS[:count])
        assert_close(jax.tree.map(lambda leaf, t=count - 1: leaf[t], carries), last)


def test_carry_length_mask_and_reset_reach_the_layer():
    layer = lstm_layer()
    params = drawn(layer)
    carry = random_like(layer.init_carry(params, XS), 2)
    first, rest = layer.run(params, XS[:2], carry=carry), layer.run(params, XS[2:])
    expected = jnp.concatenate([first[1], rest[1]])
    reset = jnp.arange(5) == 2
    assert_close(layer.run(params, XS, carry=carry, reset=reset), (rest[0], expected))

    mask = jnp.array([True, False, True, True, True])
    kept = layer.run(params, XS[jnp.array([0, 2])])
    last, ys = layer.run(params, XS, mask=mask, length=3)
    assert_close((last, ys[jnp.array([0, 2])]), kept)
    assert not ys[jnp.array([1, 3, 4])].any()


def test_the_initial_carry_is_the_one_that_a_run_starts_from():
    cell = recur.elman(4, **F64)
    noisy = dataclasses.replace(
        cell,
        bind=lambda params, x, *, key=None, context=None: (
            cell.bind(params, x, context=context),
            jnp.zeros(4) if key is None else jax.random.normal(key, 4),
        ),
        init_carry=lambda bound, x: bound[1],
        step=lambda bound, carry, x, key=None: cell.step(bound[0], carry, x),
    )
    layer = recur.scan(noisy)
    params, key = drawn(layer), jax.random.key(3)
    carry = layer.init_carry(params, XS, key=key)
    assert carry.any() and not layer.init_carry(params, XS).any()
    assert_close(layer.run(params, XS, carry=carry, key=key), layer.run(params, XS, key=key))
    shape = jax.ShapeDtypeStruct(XS.shape, XS.dtype)
    assert_close(layer.init_carry(params, shape, key=key), carry)
    assert recur.batch(layer).init_carry(params, XS[None]).shape == (1, 4)


def test_keys_are_checked():
    layer = gru_layer()
    params, old = drawn(layer), jnp.zeros(2, jnp.uint32)
    for call in (layer, layer.run, layer.init_carry):
        with pytest.raises(TypeError, match="expected a typed key"):
            call(params, XS, key=old)
    with pytest.raises(ValueError, match="expected one key"):
        layer(params, XS, key=jax.random.split(jax.random.key(0)))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("lengths", "length"),
        ("valid", "mask"),
        ("masks", "mask"),
        ("resets", "reset"),
        ("carri", "carry"),
        ("ctx", "context"),
    ],
)
def test_misspelt_keywords_are_an_error_that_names_the_right_one(given, meant):
    layer = gru_layer()
    message = (
        rf"unexpected keyword argument '{given}'. Did you mean '{meant}'\? It takes carry, cont"
    )
    for call in (layer, layer.run):
        with pytest.raises(TypeError, match=message):
            call(None, None, **{given: 3})


def test_other_unknown_keywords_are_an_error_that_lists_the_known_ones():
    with pytest.raises(
        TypeError, match=r"run: unexpected .* 'zzz'. It takes carry, .* all_carries"
    ):
        gru_layer().run(None, None, zzz=3)


def test_options_are_keywords():
    layer = gru_layer()
    params = drawn(layer)
    for call in (layer, layer.run, layer.init_carry):
        with pytest.raises(TypeError, match="positional argument"):
            call(params, XS, None)
    with pytest.raises(TypeError, match="__call__: unexpected keyword argument 'all_carries'"):
        layer(params, XS, all_carries=True)
    with pytest.raises(TypeError, match="init_carry: unexpected keyword argument 'length'"):
        layer.init_carry(params, XS, length=3)


def test_contexts_are_mappings():
    layer = recur.scan(conditioned_cell())
    image = jnp.array([0.1, 0.2, 0.3])
    params = drawn(layer, context={"image": image})
    for call in (layer, layer.run, layer.init_carry):
        with pytest.raises(TypeError, match=r"a mapping of names .* got ArrayImpl"):
            call(params, XS, context=image)
        with pytest.raises(ValueError, match="needs the context 'image', and got 'text'"):
            call(params, XS, context={"text": image})
    assert layer(params, XS, context={"image": image}).shape == (5, 3)


def test_an_eager_call_is_compiled_once_for_each_layer_and_shape():
    layer = lstm_layer()
    params = drawn(layer)
    others = jax.tree.map(lambda leaf: leaf + 1, params)
    short = XS[:3]
    layer.run(params, XS, length=5)  # which compiles the few operations of a mask too
    layer.run(params, XS)
    with counting_compilations() as compiled:
        layer.run(params, XS)
        layer(others, XS)  # a call is a run
        layer.run(params, XS, length=3)
        layer.run(params, XS, length=1)
        assert not compiled
        layer.run(params, short)
        assert len(compiled) == 1
        layer.run(params, XS, all_carries=True)
        assert len(compiled) == 2
        layer.run(params, short)
        layer.run(params, XS, all_carries=True)
        assert len(compiled) == 2


def test_an_eager_gradient_is_compiled_once():
    layer = lstm_layer()
    params = drawn(layer)

    def loss(params, xs):
        return (layer(params, xs) ** 2).sum()

    def derivatives(params, xs):
        gradient = jax.grad(loss, (0, 1))(params, xs)
        return gradient, jax.jvp(lambda xs: loss(params, xs), (xs,), (xs,))[1]

    assert_close(derivatives(params, XS), jax.jit(derivatives)(params, XS))
    others = jax.tree.map(lambda leaf: leaf + 1, params)
    with counting_compilations() as compiled:
        derivatives(others, XS)
    assert not compiled


def test_a_traced_call_is_not_compiled_apart():
    """A nested `jit` would hide the layer from outer transformations."""

    def names(jaxpr):
        for equation in jaxpr.eqns:
            yield equation.params.get("name")
            for inner in inner_jaxprs(equation):
                yield from names(inner)

    layer = gru_layer()
    params = drawn(layer)
    for traced in (
        jax.make_jaxpr(layer)(params, XS),
        jax.make_jaxpr(lambda params: layer(params, XS))(params),
        jax.make_jaxpr(lambda length: layer(params, XS, length=length))(3),
        jax.make_jaxpr(jax.grad(lambda params, xs: layer(params, xs).sum()))(params, XS),
    ):
        assert "_run" not in set(names(traced.jaxpr))


@pytest.mark.parametrize(
    ("direction", "is_causal", "layer"),
    [
        ("forward", True, gru_layer()),
        ("backward", False, gru_layer(reverse=True)),
        ("bidirectional", False, recur.bidirectional(gru_layer(), gru_layer(reverse=True))),
        ("stepwise", True, recur.chain("tanh", nn.Dense(3))),
        ("forward", True, recur.chain("tanh", gru_layer(), "tanh")),
        ("backward", False, recur.chain("tanh", gru_layer(reverse=True))),
        ("bidirectional", False, recur.chain(gru_layer(), gru_layer(reverse=True))),
    ],
)
def test_directions(direction, is_causal, layer):
    for each, is_batched in ((layer, False), (recur.batch(layer), True)):
        assert (each.direction, each.is_causal) == (direction, is_causal)
        assert each.is_batched == is_batched


def sum_of_children(widths=3):
    def step(params, children, x):
        h = x + jnp.tanh(children.carry.sum(axis=0))
        return h, {"h": h, "norm": (h**2).sum()}

    return recur.cell(lambda key, x: (), lambda params, x: jnp.zeros(widths), step)


NODES = Nodes(XS, np.array([[0, 0], [0, 0], [2, 1], [0, 0], [2, 1]]))
IDS = np.array([3, 1, 4, 1, 5])
DENSE = nn.Dense(2, param_dtype=jnp.float64, dtype=jnp.float64)
LAYERS = {
    "scan": (lambda seal: seal(lstm_layer()), XS),
    "reverse": (lambda seal: seal(gru_layer(reverse=True)), XS),
    "leaky": (lambda seal: seal(recur.associative(leaky_integrator())), XS),
    "newton": (lambda seal: seal(recur.newton(recur.gru(4, **F64))), XS),
    "stepwise": (lambda seal: seal(recur.chain(nn.Embed(9, 4, param_dtype=jnp.float64))), IDS),
    "chain": (
        lambda seal: recur.chain("tanh", seal(lstm_layer()), DENSE, lambda y: (y, y.sum())),
        XS,
    ),
    "bidirectional": (
        lambda seal: recur.bidirectional(seal(lstm_layer()), seal(gru_layer(reverse=True))),
        XS,
    ),
    "merged": (
        lambda seal: recur.bidirectional(
            seal(gru_layer()), seal(gru_layer(reverse=True)), merge=lambda a, b: {"sum": a + b}
        ),
        XS,
    ),
    "tree": (lambda seal: seal(recur.tree(sum_of_children())), NODES),
    "truncate": (lambda seal: recur.truncate(seal(gru_layer()), 2, 3), XS),
    "checkpoint": (lambda seal: recur.checkpoint(seal(gru_layer()), 2), XS),
    "chain of all": (
        lambda seal: recur.chain(
            recur.bidirectional(seal(gru_layer()), seal(gru_layer(reverse=True))),
            seal(recur.scan(recur.stack(recur.gru(4, **F64), recur.lstm(2, **F64)))),
            DENSE,
        ),
        XS,
    ),
}


def is_not_to_be_traced(*args, **kwargs):
    raise AssertionError("apply is traced")


def sealed(layer):
    """A layer whose `apply` raises an error if it is traced."""
    return dataclasses.replace(layer, apply=is_not_to_be_traced)


def shapes_of(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


@pytest.mark.parametrize("batch_axes", [0, 1, 2])
@pytest.mark.parametrize("name", LAYERS)
def test_output_shapes_are_those_of_apply_which_is_not_traced(name, batch_axes):
    build, xs = LAYERS[name]
    layer, untraced = build(lambda layer: layer), sealed(build(sealed))
    for rows in range(2, 2 + batch_axes):
        layer, untraced = recur.batch(layer), sealed(recur.batch(untraced))
        xs = jax.tree.map(lambda leaf, rows=rows: jnp.stack([leaf] * rows), xs)
    params = drawn(layer, xs)
    bound = layer.bind(params, xs)
    expected = shapes_of(jax.eval_shape(layer, params, xs))
    for each, given in ((layer, xs), (untraced, xs), (untraced, jax.eval_shape(lambda: xs))):
        found = each.output_shape(bound, given)
        assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(found))
        assert shapes_of(found) == expected


def test_the_output_shape_of_a_layer_of_ones_own_is_found_by_tracing():
    layer = gru_layer()
    plain = Layer(layer.init, layer.bind, layer.begin, layer.apply)
    params = drawn(plain)
    assert plain.output_shape(params, XS).shape == (5, 4)
    assert plain.direction == "forward" and not plain.is_batched


def test_checks_of_layers():
    layer = gru_layer()
    check_is_layer(recur.batch(layer), "train")
    check_layer(layer, "truncate")
    with pytest.raises(TypeError, match="train: expected a layer, got Cell. Lift .* recur.scan"):
        check_is_layer(recur.gru(4), "train")
    with pytest.raises(TypeError, match="truncate: expected a layer, got int"):
        check_layer(3, "truncate")
    with pytest.raises(ValueError, match=r"is batched.* recur.batch\(recur.truncate\(...\)\)"):
        check_layer(recur.batch(layer), "truncate")
