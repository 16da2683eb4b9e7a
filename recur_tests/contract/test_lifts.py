"""Lift × cell: values and gradients equal those of the plain loop, from a nonzero carry.

The lifts get inputs with NaN at masked steps and the loop gets clean inputs, so padding has no
effect on values and gradients, and its gradient is zero.

The loop's values are those of a loop over the valid steps without masks. Lifts that analyse the
step run every cell; lifts of layers run a few.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import recur
from recur_tests.contract.cases import BY_NAME, CELLS, KINDS, STEPS, by_name, example
from recur_tests.contract.lifts import LIFTS, report
from recur_tests.helpers import assert_close, to_numpy, weighted_sum
from recur_tests.oracles.lengths import run_valid_steps

VALID = np.array([True, False, True, True, True])
RESET = np.array([False, True, False, True, False])
LENGTH = 4
COUNTS = VALID & (np.arange(STEPS) < LENGTH)


def results(layer, context):
    """`(params, carry, xs) -> gradients with respect to each, (carry, ys)`."""

    def loss(params, carry, xs):
        marks = {"mask": VALID, "reset": RESET, "length": LENGTH}
        ends = layer.run(params, xs, carry=carry, context=context, **marks)
        return weighted_sum(ends), ends

    return jax.grad(loss, argnums=(0, 1, 2), has_aux=True)


def step_by_step(cell):
    """The cell for a loop that runs in Python: only the step is compiled, once."""
    return dataclasses.replace(cell, step=jax.jit(cell.step))


@pytest.mark.parametrize("case", **by_name(CELLS))
def test_equals_the_loop(case):
    stepped = step_by_step(case.cell)
    given, expected = example(case, recur.scan(case.cell)), {}
    counts = COUNTS.reshape(STEPS, *[1] * len(case.shape))
    padded = jnp.where(counts, given.xs, jnp.nan)
    for lift in LIFTS:
        if not lift.tests(case):
            continue
        if lift.oracle not in expected:
            oracle = results(lift.oracle(stepped), given.context)
            expected[lift.oracle] = oracle(given.params, given.carry, given.xs)
        found = jax.jit(results(lift.lift(case.cell), given.context))
        assert_close(found(given.params, given.carry, padded), expected[lift.oracle])
    (_, _, along_xs), ends = expected[recur.loop]
    along_xs = np.asarray(along_xs)
    assert along_xs[COUNTS].any() and not along_xs[~COUNTS].any()
    assert_walked(ends, stepped, given)


def assert_walked(ends, cell, given):
    """Asserts that a carry and outputs are those of a loop over the valid steps."""
    xs = np.asarray(given.xs)
    bound = cell.bind(given.params, xs[0], context=given.context)
    carry, outputs = run_valid_steps(
        lambda carry, x: cell.step(bound, carry, x),
        cell.init_carry(bound, xs[0]), given.carry, xs, COUNTS, RESET,
    )  # fmt: skip
    ys = to_numpy(ends[1])
    assert_close(ends[0], carry)
    for t, output in enumerate(outputs):
        y = jax.tree.map(lambda leaf, t=t: leaf[t], ys)
        assert_close(y, jax.tree.map(np.zeros_like, y) if output is None else output)


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
    """Shapes of all products of a jaxpr, those outside loops and those inside."""
    found = {False: [], True: []}
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "product", "loop_product"):
            found[inside].append(equation.outvars[0].aval.shape)
        for inner in jaxprs_in_params(equation.params):
            below = products(inner, inside or equation.primitive.name == "scan")
            found = {place: found[place] + below[place] for place in found}
    return found


@pytest.mark.parametrize("name", ["lstm", "wide"])
def test_only_the_product_with_the_state_is_inside_the_loop(name):
    """For an LSTM with one kernel per gate, and for one with concatenated gates."""
    case = BY_NAME[name]
    layer = recur.scan(case.cell)
    xs = jnp.ones((7, 3))
    params = layer.init(jax.random.key(0), xs)
    width = jax.eval_shape(layer, params, xs).shape[-1]
    forward = products(jax.make_jaxpr(layer)(params, xs).jaxpr)
    assert forward == {False: 4 * [(7, width)], True: [(4 * width,)]}
    backward = products(jax.make_jaxpr(jax.grad(lambda p: layer(p, xs).sum()))(params).jaxpr)
    assert sorted(backward[True]) == sorted([(width,), (4 * width,)])  # to h, and m again
    gradients = 4 * [(3, width)] + 4 * [(width, width)]
    assert sorted(backward[False]) == sorted(gradients + 4 * [(7, width)])


def test_all_carries_are_the_carry_after_every_step():
    """For the loop, compared with runs over fewer steps; for the others, with the loop."""
    case = BY_NAME["lstm"]
    params, carry, xs, _ = example(case, recur.scan(case.cell))
    marks = {"mask": VALID, "reset": RESET}

    def run_loop(oracle, seen=slice(None)):
        part = {name: mark[seen] for name, mark in marks.items()}
        return oracle(step_by_step(case.cell)).run(params, xs[seen], carry=carry, **part)

    def all_carries(oracle):
        is_causal = oracle(case.cell).is_causal
        parts = [slice(0, t + 1) if is_causal else slice(t, STEPS) for t in range(STEPS)]
        return jax.tree.map(lambda *each: np.stack(each), *(run_loop(oracle, p)[0] for p in parts))

    expected = {}
    for lift in LIFTS:
        if not lift.runs(case):
            continue
        if lift.oracle not in expected:
            expected[lift.oracle] = all_carries(lift.oracle), run_loop(lift.oracle)[1]
        found = lift.lift(case.cell).run(params, xs, carry=carry, **marks, all_carries=True)
        assert_close(found, expected[lift.oracle])


LINEAR = """
    affine condition-affine condition-initial-complex diagonal diagonal-complex highway-affine
    interpolating leaky_integrator lru min_gru min_lstm readin-affine readout-affine zoneout-affine
"""


def test_linear_cells_are_found():
    assert {case.name for case in CELLS if report(case.name).linear} == set(LINEAR.split())
