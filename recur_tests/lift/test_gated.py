"""The loop of a `GatedCell`: derivatives of both orders with respect to kernels, and odd cells.

The oracle is a scan of the cell without its structure, whose derivative is JAX's own.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur import products
from recur.lift.elementwise import jaxpr_of_gates, only_added
from recur.types import GatedCell
from recur_tests.contract.cases import CELLS, example
from recur_tests.helpers import assert_close, random_like, weighted_sum, without_structure

MARKS = {
    "valid": np.array([True, True, False, True, True]),
    "reset": np.array([False, False, True, False, True]),
}


def named(name):
    return next(case for case in CELLS if case.name == name)


def without_kernels():
    """h_t = tanh(w h_{t-1} + x_t): a cell whose units do not see each other."""
    return GatedCell(
        init=lambda key, x, context=None: jax.random.normal(key, x.shape),
        bind=lambda params, x, *, key=None, context=None: params,
        start=lambda bound, x: jnp.zeros(x.shape),
        project=lambda bound, x, key=None: x,
        hidden=lambda bound, h: h,
        kernels=lambda bound: (),
        gates=lambda bound, h, u, m: 2 * (jnp.tanh(bound * h + u),),
        read=lambda bound, v, x, key=None: v,
    )


def kernels_of_two_widths():
    """One kernel feeds the units, a wider one what is read: they cannot stand side by side."""

    def gates(bound, h, u, m):
        h = jnp.tanh(u + m["square"])
        return h, {"h": h, "heads": m["heads"]}

    return GatedCell(
        init=lambda key, x, context=None: {
            "square": jax.random.normal(key, (3, 3)),
            "heads": jax.random.normal(key, (1, 3, 3)),
        },
        bind=lambda params, x, *, key=None, context=None: params,
        start=lambda bound, x: jnp.zeros(3),
        project=lambda bound, x, key=None: x,
        hidden=lambda bound, h: h,
        kernels=lambda bound: bound,
        gates=gates,
        read=lambda bound, v, x, key=None: v["h"] + v["heads"],
    )


GIVEN = {
    "lstm": named("lstm").cell,
    "gru": named("gru").cell,
    "block-diagonal": named("block-diagonal").cell,
    "without-kernels": without_kernels(),
    "two-widths": kernels_of_two_widths(),
}


@pytest.mark.parametrize("cell", GIVEN.values(), ids=GIVEN.keys())
def test_derivatives_of_both_orders_and_modes_are_those_without_structure(cell):
    def results(layer):
        given = example(named("elman")._replace(cell=cell), layer)

        def loss(params, carry):
            return weighted_sum(layer.run(params, given.xs, carry=carry, **MARKS))

        values = (given.params, given.carry)
        direction = random_like(values, 9)

        @jax.jit
        def derive(values, direction):
            forward = jax.jvp(loss, values, direction)
            gradient = jax.grad(loss, argnums=(0, 1))
            curvature = jax.jvp(gradient, values, direction)
            twice = jax.grad(lambda values: weighted_sum(gradient(*values)))(values)
            return forward, curvature, twice

        return derive(values, direction)

    assert_close(results(recur.scan(cell)), results(recur.scan(without_structure(cell))))


@pytest.mark.parametrize("cell", GIVEN.values(), ids=GIVEN.keys())
def test_many_rows_are_those_without_structure(cell, monkeypatch):
    """In values and in derivatives of both orders, each row with marks and a carry of its own."""
    monkeypatch.setattr(products, "_SMALL", 0)
    case = named("elman")._replace(cell=cell)
    rows = [example(case, recur.scan(cell), seed) for seed in (0, 10, 20)]
    params = rows[0].params
    xs, carry = (
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *(getattr(row, name) for row in rows))
        for name in ("xs", "carry")
    )
    marks = {
        "length": jnp.array([5, 3, 0]),
        "reset": jnp.zeros((3, 5), bool).at[0, 2].set(True).at[1, 1].set(True),
    }

    def results(layer):
        def loss(params, carry):
            ends = recur.batch(layer).run(params, xs, carry=carry, **marks)
            return weighted_sum(ends), ends

        @jax.jit
        def derive(*values):
            gradient = jax.grad(loss, (0, 1), has_aux=True)
            return jax.jvp(gradient, values, random_like(values, 9), has_aux=True)

        return derive(params, carry)

    assert_close(results(recur.scan(cell)), results(recur.scan(without_structure(cell))))


def test_rows_with_weights_or_gates_of_their_own(monkeypatch):
    """Kernels by row, as of an ensemble; and bound params by row, as masks are."""
    monkeypatch.setattr(products, "_SMALL", 0)
    given = example(named("elman"), recur.scan(named("elman").cell))
    scaled = named("elman").cell

    def gates(bound, h, u, m):
        h = jnp.tanh(u + m) * bound["mask"]
        return h, h

    masked = scaled._replace(
        bind=lambda bound, x, *, key=None, context=None: {"params": bound, "mask": context["mask"]},
        start=lambda bound, x: scaled.start(bound["params"], x),
        project=lambda bound, x, key=None: scaled.project(bound["params"], x),
        kernels=lambda bound: bound["params"].recurrent_kernel,
        gates=gates,
    )
    xs, context = jnp.stack(2 * [given.xs]), {"mask": jnp.array([[1.0, 0, 1, 2], [1, 1, 0, 1]])}

    def results(lift):
        layer, ensemble = recur.batch(lift(masked)), lift(scaled)
        models = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), given.params)
        of_masks = jax.grad(lambda p: weighted_sum(layer(p, xs, context=context)))
        of_models = jax.vmap(jax.grad(lambda p: weighted_sum(ensemble(p, given.xs))))
        return jax.jit(of_masks)(given.params), jax.jit(of_models)(models)

    assert_close(results(recur.scan), results(lambda cell: recur.scan(without_structure(cell))))


def test_large_kernels_are_the_left_factor_of_the_products_of_many_rows(monkeypatch):
    monkeypatch.setattr(products, "_SMALL", 0)
    layer, xs = recur.batch(recur.scan(named("lstm").cell)), jnp.ones((3, 5, 3))
    params = layer.init(jax.random.key(0), xs)
    text = str(jax.make_jaxpr(jax.grad(lambda p: layer(p, xs).sum()))(params))
    assert "products" in text and "f64[4,3]" in text  # each gate of three rows


def test_what_is_only_added_to_an_input():
    def found(cell):
        x = jax.ShapeDtypeStruct((3,), jnp.float64)

        def of(key):
            bound = cell.bind(cell.init(key, x), x)
            u = cell.project(bound, jnp.zeros(3))
            carry = cell.start(bound, x)
            return only_added(jaxpr_of_gates(cell, bound, carry, u), carry, u)

        return of(jax.random.key(0))

    options = {"param_dtype": jnp.float64}
    elman = recur.elman(3, **options)
    assert found(recur.lstm(3, **options)) == [0, 1, 2, 3]
    assert found(recur.gru(3, **options)) == [0, 1, None]  # the candidate's m waits for r
    assert found(without_kernels()) == []

    def with_gates(gates):
        return found(elman._replace(gates=lambda bound, h, u, m: 2 * (gates(h, u, m),)))

    assert with_gates(lambda h, u, m: jnp.tanh(m + u)) == [0]
    assert with_gates(lambda h, u, m: jnp.tanh(u + m) * u) == [None]
    assert with_gates(lambda h, u, m: jnp.tanh(u + m) * jax.jit(jnp.exp)(m)) == [None]
    assert with_gates(lambda h, u, m: jnp.tanh(u * m)) == [None]
    assert with_gates(lambda h, u, m: (u + h) + m) == [None]
    assert with_gates(lambda h, u, m: m + m) == [None]


def test_what_is_no_real_number_rides_along():
    """A carry that counts, and inputs that are not differentiated."""
    cell = named("elman").cell

    def gates(bound, state, u, m):
        h, count = state
        h = jnp.where(u["on"], jnp.tanh(u["u"] + m), h)
        return (h, count + jnp.ones_like(count)), h

    counting = cell._replace(
        start=lambda bound, x: (cell.start(bound, x), jnp.zeros(4, jnp.int32)),
        project=lambda bound, x, key=None: {"u": cell.project(bound, x), "on": jnp.ones(4, bool)},
        hidden=lambda bound, state: state[0],
        gates=gates,
    )
    layer, plain = recur.scan(counting), recur.scan(cell)
    given = example(named("elman"), plain)

    def loss(layer):
        return jax.jit(jax.grad(lambda p: weighted_sum(layer(p, given.xs))))(given.params)

    assert_close(loss(layer), loss(plain))
    (_, count), _ = jax.jit(layer.run)(given.params, given.xs, valid=MARKS["valid"])
    assert count.tolist() == 4 * [4]


def test_half_precision_keeps_its_dtype():
    cell = recur.gru(4, dtype=jnp.bfloat16)
    layer = recur.scan(cell)
    xs = jnp.ones((5, 3), jnp.float32)
    params = layer.init(jax.random.key(0), xs)

    @jax.jit
    @jax.value_and_grad
    def differentiate(params):
        ys = layer(params, xs)
        assert ys.dtype == jnp.bfloat16
        return ys.astype(jnp.float32).sum()

    value, gradients = differentiate(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}
    assert np.isfinite(value)
