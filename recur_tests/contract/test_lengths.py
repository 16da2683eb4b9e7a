"""The length contract, for every cell: against a walk over the valid steps that knows no masks.

That what stands in the padding never matters, in gradients too, is in `test_lifts`.
"""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import recur
from recur.sequences.lengths import zero_invalid
from recur_tests.contract.cases import CELLS, KINDS, STEPS, by_name, example
from recur_tests.helpers import assert_close, weighted_sum
from recur_tests.lift.test_tree import on_a_line
from recur_tests.oracles.lengths import run_valid_steps

F64 = {"param_dtype": jnp.float64}
FLAGS = st.lists(st.booleans(), min_size=STEPS, max_size=STEPS).map(np.array)
MARKS = [
    ([1, 1, 1, 0, 0], [0, 0, 1, 0, 0]),
    ([0, 1, 0, 1, 1], [0, 0, 1, 0, 1]),
    ([0, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
    ([1, 1, 1, 1, 0], [1, 0, 0, 1, 1]),
]


def walker(case, reverse):
    """A layer's run, and the same by the oracle, as functions of validity and resets."""
    layer = recur.scan(case.cell, reverse=reverse)
    given = example(case, layer)
    run = jax.jit(layer.run)
    step = jax.jit(case.cell.step)
    bound = layer.bind(given.params, given.xs, context=given.context)
    fresh = layer.start(bound, given.xs)

    def compare(valid, reset):
        carry, ys = run(
            given.params,
            given.xs,
            carry=given.carry,
            context=given.context,
            valid=jnp.asarray(valid, bool),
            reset=jnp.asarray(reset, bool),
        )
        expected, outputs = run_valid_steps(
            lambda carry, x: step(bound, carry, x), fresh, given.carry, given.xs, valid, reset,
            reverse=reverse,
        )  # fmt: skip
        assert_close(carry, expected)
        for t, output in enumerate(outputs):
            y = jax.tree.map(lambda leaf, t=t: leaf[t], ys)
            assert_close(y, jax.tree.map(jnp.zeros_like, y) if output is None else output)

    return compare


# Every cell forwards; which way it is read a lift alone knows.
WALKS = [(case, False) for case in CELLS] + [(case, True) for case in CELLS if case.name in KINDS]


@pytest.mark.parametrize(
    ("case", "reverse"),
    WALKS,
    ids=[f"{case.name}-{'reverse' * reverse}" for case, reverse in WALKS],
)
def test_only_valid_steps_count_and_resets_start_afresh(case, reverse):
    compare = walker(case, reverse)
    for valid, reset in MARKS:
        compare(valid, reset)
    if case.name in KINDS:
        hypothesis.settings(max_examples=12)(hypothesis.given(FLAGS, FLAGS)(compare))()


@pytest.mark.parametrize("case", **by_name([case for case in CELLS if case.name in KINDS]))
def test_pieces_equal_the_whole_and_an_empty_piece_changes_nothing(case):
    layer = recur.scan(case.cell)
    given = example(case, layer)
    run = jax.jit(layer.run)
    whole = run(given.params, given.xs, carry=given.carry, context=given.context)
    carry, pieces = given.carry, []
    for piece in (given.xs[:2], given.xs[2:2], given.xs[2:]):
        carry, ys = run(given.params, piece, carry=carry, context=given.context)
        pieces.append(ys)
    assert_close((carry, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *pieces)), whole)


LAYERS = {
    "loop": recur.loop,
    "scan": recur.scan,
    "reverse": lambda cell: recur.scan(cell, reverse=True),
    "truncate": lambda cell: recur.truncate(recur.scan(cell), 2, 3),
    "checkpoint": lambda cell: recur.checkpoint(recur.scan(cell), 2),
    "checkpoint-reverse": lambda cell: recur.checkpoint(recur.scan(cell, reverse=True), (2, 2)),
    "associative": lambda cell: recur.associative(recur.diagonal(3, **F64)),
    "associative-reverse": lambda cell: recur.associative(recur.diagonal(3, **F64), reverse=True),
    "newton": recur.newton,
    "newton-reverse": lambda cell: recur.newton(cell, jacobian="diagonal", reverse=True),
    "tree": on_a_line,
    "chain": lambda cell: recur.chain(recur.scan(cell), jnp.exp, recur.scan(cell)),
    "bidirectional": lambda cell: recur.bidirectional(
        recur.scan(cell), recur.scan(cell, reverse=True), merge=lambda f, b: f + b + 1
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_keeps_the_contract(name):
    """A padded sequence is the short one, in carry, outputs and gradients; alone and in a batch."""
    layer = LAYERS[name](recur.gru(3, **F64))
    given = example(CELLS[0], layer)

    @jax.jit
    def results(given, padded):
        params, carry, xs, _ = given

        def ends(params, xs, **marks):
            carry_, ys = layer.run(params, xs, carry=carry, **marks)
            return carry_, ys[:3]

        def both(xs, **marks):
            gradient = jax.grad(lambda params: weighted_sum(ends(params, xs, **marks)))(params)
            return ends(params, xs, **marks), gradient

        short = both(xs[:3])
        by_marks = both(padded, length=3), both(padded, valid=jnp.arange(STEPS) < 3)
        behind = layer(params, padded, length=3)[3:]
        nothing = layer.run(params, xs, carry=carry, length=0)
        alone = layer(params, xs), layer(params, xs[:3])
        rows = recur.batch(layer)(params, jnp.stack([xs, padded]), length=jnp.array([5, 3]))
        return (short, *by_marks), behind, nothing, (rows[0], rows[1, :3]), alone

    padded = given.xs.at[3:].set(jnp.nan)
    (short, by_length, by_valid), behind, (carry, ys), rows, alone = results(given, padded)
    assert_close(by_length, short)
    assert_close(by_valid, short)
    assert not behind.any()
    assert_close(carry, given.carry)
    assert not ys.any()
    assert_close(rows, alone)


@pytest.mark.parametrize("name", LAYERS)
def test_packed_sequences_equal_sequences_alone(name):
    layer = LAYERS[name](recur.gru(3, **F64))
    given = example(CELLS[0], layer)
    reset = jnp.array([True, False, True, False, False])

    @jax.jit
    def packed_and_alone(params, xs):
        alone = [layer(params, piece) for piece in (xs[:2], xs[2:])]
        return layer(params, xs, reset=reset), jnp.concatenate(alone)

    assert_close(*packed_and_alone(given.params, given.xs))


def test_a_reset_swallows_a_state_that_is_not_a_number():
    layer = recur.scan(recur.gru(3, **F64))
    given = example(CELLS[0], layer)
    reset = jnp.array([True, False, False, False, False])
    lost = jnp.full(3, jnp.nan)
    gradient = jax.grad(lambda p: layer.run(p, given.xs, carry=lost, reset=reset)[1].sum())
    assert_close(gradient(given.params), jax.grad(lambda p: layer(p, given.xs).sum())(given.params))


def test_keys_in_the_inputs_are_never_zeroed():
    xs = {"key": jax.random.split(jax.random.key(0), 3), "x": jnp.ones(3)}
    zeroed = zero_invalid(jnp.array([True, False, True]), xs)
    assert (zeroed["key"] == xs["key"]).all()
    assert zeroed["x"].tolist() == [1, 0, 1]
