import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur_tests.helpers import assert_close, inner_jaxprs, weighted_sum

CELL = recur.gru(4, param_dtype=jnp.float64)
LAYER = recur.scan(CELL)
XS = np.linspace(-1, 1, 30).reshape(2, 5, 3)


def test_carries_and_pieces_have_rows():
    batched = recur.batch(LAYER)
    params = batched.init(jax.random.key(0), XS)
    initial = batched.init_carry(params, jax.ShapeDtypeStruct(XS.shape, XS.dtype))
    assert initial.shape == (2, 4)
    carry, first = batched.run(params, XS[:, :2], carry=initial)
    carry, second = batched.run(params, XS[:, 2:], carry=carry)
    whole = batched.run(params, XS)
    assert_close((carry, jnp.concatenate([first, second], axis=1)), whole)


def test_weights_are_shared_by_rows_and_not_copied():
    batched = recur.batch(LAYER)
    params = batched.init(jax.random.key(0), XS)
    jaxpr = str(jax.make_jaxpr(batched)(params, XS))
    assert "f64[2,4,4]" not in jaxpr
    assert "f64[2,3,4]" not in jaxpr


def equations_of(jaxpr, in_loop=False):
    """All equations, and whether each is in the body of a loop."""
    for equation in jaxpr.eqns:
        yield equation, in_loop
        for inner in inner_jaxprs(equation):
            yield from equations_of(inner, in_loop or equation.primitive.name == "scan")


@pytest.mark.parametrize("query", ["output", "state"])
def test_a_memory_is_projected_once_for_all_rows_and_outside_of_the_loop(query):
    """Also in the gradient; and no weight gets a batch axis."""
    rows, slots, depth = 2, 7, 6
    width = 5  # in which the query and the memory are compared
    cell = recur.attend(CELL, "memory", query=query, features=width, param_dtype=jnp.float64)
    layer = recur.batch(recur.scan(cell))
    context = {"memory": np.linspace(-1, 1, rows * slots * depth).reshape(rows, slots, depth)}
    params = layer.init(jax.random.key(0), XS, context=context)
    weights = {leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim == 2}

    def loss(params):
        return jnp.sin(layer(params, XS, context=context).output).sum()

    for function in (loss, jax.grad(loss)):
        projections = []
        for equation, in_loop in equations_of(jax.make_jaxpr(function)(params).jaxpr):
            shapes = [getattr(var.aval, "shape", ()) for var in equation.invars]
            if equation.primitive.name == "dot_general" and (depth, width) in shapes:
                projections.append((shapes[0], in_loop))
            made = {getattr(var.aval, "shape", ()) for var in equation.outvars}
            assert not made & {(rows, *shape) for shape in weights}
        assert projections == [((rows, slots, depth), False)]


def scaled_by_context():
    """Elman's network with a mask of units and a recurrent kernel that differ by row."""

    def init(key, x):
        return {"w": jax.random.normal(key, (3, 4)), "u": jax.random.normal(key, (4, 4))}

    def bind(params, x, context):
        return {**params, "u": params["u"] * context["scale"], "mask": context["mask"]}

    def step(bound, h, x):
        h = jnp.tanh(x @ bound["w"] + h @ bound["u"]) * bound["mask"]
        return h, h

    return recur.cell(init, lambda bound, x: 0.5 * bound["mask"], step, bind)


def test_kernels_and_constants_that_differ_by_row():
    """By context, and by params, as those of an ensemble; from carries that differ too."""
    context = {"scale": jnp.array([0.5, 2.0]), "mask": jnp.array([[1.0, 0, 1, 2], [1, 1, 0, 1]])}
    cell = scaled_by_context()
    params = cell.init(jax.random.key(0), XS[0, 0])

    def row_of(lift, params, row):
        one = jax.tree.map(lambda leaf: leaf[row], context)
        return lift(cell).run(params, XS[row], context=one)

    def derive(function):
        def along(params):
            gradient = jax.grad(lambda params: weighted_sum(function(params)))
            return function(params), jax.jvp(gradient, (params,), (params,))

        return jax.jit(along)(params)

    def by_loop(params):
        rows = [row_of(recur.loop, params, row) for row in range(2)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)

    batched = recur.batch(recur.scan(cell))
    assert_close(derive(lambda params: batched.run(params, XS, context=context)), derive(by_loop))
    ensemble = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    found = jax.jit(jax.vmap(lambda params: row_of(recur.scan, params, 1)))(ensemble)
    expected = row_of(recur.loop, jax.tree.map(lambda leaf: 2 * leaf, params), 1)
    assert_close(jax.tree.map(lambda leaf: leaf[1], found), expected)


def test_batches_of_batches():
    twice = recur.batch(recur.batch(LAYER))
    params = twice.init(jax.random.key(0), XS[None])
    ys = twice(params, XS[None], length=jnp.array([[5, 2]]))
    assert_close(ys[0], recur.batch(LAYER)(params, XS, length=jnp.array([5, 2])))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"length": np.array(3)},
            r"length: expected one integer for each row, of shape \[2\], got the shape \[\]",
        ),
        ({"length": np.array([3])}, r"length: expected one .* \[2\], got the shape \[1\]"),
        (
            {"mask": np.ones(5, bool)},
            r"mask: expected one flag per step, of shape \[2, 5\], .* \[5\]",
        ),
        ({"reset": np.ones((3, 5), bool)}, r"reset: expected one .* \[2, 5\], got \[3, 5\]"),
        ({"carry": np.ones(4)}, r"batch: carry needs one entry for each of 2 rows, got .* \[4\]"),
        ({"context": {"image": np.ones(7)}}, r"context needs one entry .* \[7\]"),
        ({"length": np.ones((2, 1), int)}, r"expected one integer for each row, .* \[2, 1\]"),
        ({"length": np.ones(2)}, r"length: expected an integer"),
        (
            {"mask": np.ones((2, 4), bool)},
            r"mask: expected one flag per step, of shape \[2, 5\], got \[2, 4\]",
        ),
        ({"length": np.array([5, 6])}, r"length of row 1: expected from 0 to 5, .* got 6"),
        ({"length": jnp.array([-1, 5])}, r"length of row 0: expected from 0 .* got -1"),
    ],
)
def test_wrong_rows_are_an_error(options, message):
    params = LAYER.init(jax.random.key(0), XS[0])
    with pytest.raises((TypeError, ValueError), match=message):
        recur.batch(LAYER).run(params, XS, **options)


def test_a_context_of_other_rows_is_an_error_at_init_too():
    layer = recur.batch(recur.scan(recur.condition(CELL, "image")))
    with pytest.raises(ValueError, match=r"batch: context needs one .* 2 rows.* \[3, 4\]"):
        layer.init(jax.random.key(0), XS, context={"image": jnp.ones((3, 4))})


def test_what_is_not_a_batched_layer_is_an_error():
    with pytest.raises(TypeError, match="expected a layer, got Cell"):
        recur.batch(CELL)
    with pytest.raises(TypeError, match="expected a layer, got Dense"):
        recur.batch(nn.Dense(3))
    with pytest.raises(ValueError, match=r"expected xs of shape \[B, T, ...\]"):
        recur.batch(LAYER).init(jax.random.key(0), {"a": XS, "b": XS[:1]})


def test_lists_of_lengths_are_lengths():
    params = LAYER.init(jax.random.key(0), XS[0])
    ys = recur.batch(LAYER)(params, XS, length=[5, 2])
    assert_close(ys, recur.batch(LAYER)(params, XS, length=jnp.array([5, 2])))


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (lambda layer: recur.truncate(layer, 1, 2), "truncate"),
        (lambda layer: recur.chain(layer, "tanh"), "chain"),
        (lambda layer: recur.bidirectional(layer, layer), "bidirectional"),
    ],
)
def test_layers_that_look_at_time_come_before_the_batch(wrap, name):
    with pytest.raises(ValueError, match=f"Apply batch last: recur.batch.recur.{name}"):
        wrap(recur.batch(LAYER))


def test_numpys_64_bits_are_jaxs_32_without_a_warning():
    """In a process without x64; warnings are errors here."""
    tokens = np.array([[1, 2, 0], [3, 0, 0]])
    model = recur.batch(recur.chain(nn.Embed(4, 3), recur.scan(recur.gru(2)), nn.Dense(4)))
    with jax.enable_x64(False):
        params = model.init(jax.random.key(0), tokens)
        logits = model(params, tokens, length=np.array([2, 1]))
        assert_close(logits, model(params, jnp.asarray(tokens), length=jnp.array([2, 1])), 1e-6)
