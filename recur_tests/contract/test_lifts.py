"""Lift × cell: values and gradients equal those of the plain loop, from no zero carry.

The loop is given clean inputs, the lifts inputs with NaN where steps do not count: what stands in
the padding never matters, neither in values nor in gradients, and no gradient reaches it.

Every cell runs by the lifts that look at what it is made of; those that see its kind at most run a
cell of each kind.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import recur
from recur.types import Cell
from recur_tests.contract.cases import CELLS, KINDS, STEPS, by_name, example
from recur_tests.contract.lifts import LIFTS
from recur_tests.helpers import assert_close, weighted_sum

VALID = np.array([True, False, True, True, True])
RESET = np.array([False, True, False, True, False])
LENGTH = 4
COUNTS = VALID & (np.arange(STEPS) < LENGTH)


def results(layer, context):
    """`(params, carry, xs) -> gradients with respect to each, (carry, ys)`."""

    def loss(params, carry, xs):
        marks = {"valid": VALID, "reset": RESET, "length": LENGTH}
        ends = layer.run(params, xs, carry=carry, context=context, **marks)
        return weighted_sum(ends), ends

    return jax.grad(loss, argnums=(0, 1, 2), has_aux=True)


@pytest.mark.parametrize("case", **by_name(CELLS))
def test_equals_the_loop(case):
    # The loop runs step by step, in Python: only the step is compiled, once.
    init, bind, start, step = (getattr(case.cell, part) for part in Cell._fields)
    stepped = Cell(init, bind, start, jax.jit(step))
    given, expected = example(case, recur.scan(case.cell)), {}
    counts = COUNTS.reshape(STEPS, *[1] * len(case.shape))
    padded = jnp.where(counts, given.xs, jnp.nan)
    for lift in LIFTS:
        if not lift.runs(case) or (lift.by_kind and case.name not in KINDS):
            continue
        if lift.oracle not in expected:
            oracle = results(lift.oracle(stepped), given.context)
            expected[lift.oracle] = oracle(given.params, given.carry, given.xs)
        found = jax.jit(results(lift.lift(case.cell), given.context))
        assert_close(found(given.params, given.carry, padded), expected[lift.oracle])
    (_, _, along_xs), _ = expected[recur.loop]
    assert along_xs[COUNTS].any() and not along_xs[~COUNTS].any()


@pytest.mark.parametrize("case", **by_name([case for case in CELLS if case.name in KINDS]))
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


def products(jaxpr, inside=False):
    """Shapes of all products of a jaxpr, apart by whether they are inside of a loop."""
    found = {False: [], True: []}
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "product"):
            found[inside].append(equation.outvars[0].aval.shape)
        for inner in jaxprs_in_params(equation.params):
            below = products(inner, inside or equation.primitive.name == "scan")
            found = {place: found[place] + below[place] for place in found}
    return found


def test_only_the_product_with_the_state_is_inside_the_loop():
    cell = recur.lstm(4, param_dtype=jnp.float64)
    layer = recur.scan(cell)
    xs = jnp.ones((7, 3))
    params = layer.init(jax.random.key(0), xs)
    forward = products(jax.make_jaxpr(layer)(params, xs).jaxpr)
    assert forward == {False: 4 * [(7, 4)], True: [(16,)]}
    backward = products(jax.make_jaxpr(jax.grad(lambda p: layer(p, xs).sum()))(params).jaxpr)
    assert sorted(backward[True]) == [(4,), (16,)]  # to h, and to m again
    assert sorted(backward[False]) == 4 * [(3, 4)] + 4 * [(4, 4)] + 4 * [(7, 4)]


def test_a_trajectory_is_the_carry_after_every_step():
    """Of the loop it is where runs over fewer steps end; of the others it is the loop's."""
    case = next(case for case in CELLS if case.name == "lstm")
    params, carry, xs, _ = example(case, recur.scan(case.cell))
    marks = {"valid": VALID, "reset": RESET}

    def carry_after(oracle, t):
        layer = oracle(case.cell)
        seen = slice(0, t + 1) if layer.streams else slice(t, STEPS)
        part = {name: mark[seen] for name, mark in marks.items()}
        return layer.run(params, xs[seen], carry=carry, **part)[0]

    expected = {}
    for lift in LIFTS:
        if not lift.runs(case):
            continue
        if lift.oracle not in expected:
            ends = [carry_after(lift.oracle, t) for t in range(STEPS)]
            expected[lift.oracle] = jax.tree.map(lambda *each: jnp.stack(each), *ends)
        layer = lift.lift(case.cell)
        carries, ys = jax.jit(layer.trajectory)(params, xs, carry=carry, **marks)
        assert_close(carries, expected[lift.oracle])
        assert_close(ys, jax.jit(layer.run)(params, xs, carry=carry, **marks)[1])
