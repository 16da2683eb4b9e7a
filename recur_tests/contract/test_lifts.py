"""Lift × cell: values and gradients equal those of the plain loop, from no zero carry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.types import Cell
from recur_tests.contract.cases import CELLS, LIFTS, STEPS, by_name, example
from recur_tests.helpers import assert_close, weighted_sum

VALID = np.array([True, False, True, True, True])
RESET = np.array([False, True, False, True, False])


def results(layer, given):
    """Carry, outputs, and their gradients with respect to params, carry and inputs."""

    def loss(params, carry, xs):
        ends = layer.run(
            params, xs, carry=carry, context=given.context, valid=VALID, reset=RESET, length=4
        )
        return weighted_sum(ends), ends

    return jax.grad(loss, argnums=(0, 1, 2), has_aux=True), (given.params, given.carry, given.xs)


@pytest.mark.parametrize("case", **by_name(CELLS))
def test_equals_the_loop(case):
    # The loop runs step by step, in Python: only the step is compiled, once.
    init, bind, start, step = (getattr(case.cell, part) for part in Cell._fields)
    stepped = Cell(init, bind, start, jax.jit(step))
    for lift in LIFTS:
        layer = lift.lift(case.cell)
        given = example(case, layer)
        oracle, arguments = results(lift.oracle(stepped), given)
        function, _ = results(layer, given)
        assert_close(jax.jit(function)(*arguments), oracle(*arguments))


@pytest.mark.parametrize("case", **by_name(CELLS))
def test_batch_equals_each_row(case):
    layer = recur.scan(case.cell)
    rows = [example(case, layer, seed) for seed in (0, 10)]
    params = rows[0].params
    lengths = jnp.array([STEPS, 2])
    resets = jnp.stack([jnp.zeros(STEPS, bool).at[t].set(True) for t in (1, 3)])
    carry, xs, context = (
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *(getattr(row, name) for row in rows))
        for name in ("carry", "xs", "context")
    )
    batched = jax.jit(recur.batch(layer).run)(
        params, xs, carry=carry, context=context, length=lengths, reset=resets
    )
    run = jax.jit(layer.run)
    for b, row in enumerate(rows):
        alone = run(
            params, row.xs, carry=row.carry, context=row.context, length=lengths[b], reset=resets[b]
        )
        assert_close(jax.tree.map(lambda leaf, b=b: leaf[b], batched), alone)


def test_a_gated_cells_projection_is_one_product_outside_the_loop():
    cell = recur.elman(4, param_dtype=jnp.float64)
    layer = recur.scan(cell)
    xs = jnp.ones((7, 3))
    jaxpr = jax.make_jaxpr(layer)(layer.init(jax.random.key(0), xs), xs).jaxpr
    outside = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "dot_general"]
    (loop,) = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "scan"]
    inside = [eqn for eqn in loop.params["jaxpr"].jaxpr.eqns if eqn.primitive.name == "dot_general"]
    assert [eqn.outvars[0].aval.shape for eqn in outside] == [(7, 4)]
    assert [eqn.outvars[0].aval.shape for eqn in inside] == [(4,)]
