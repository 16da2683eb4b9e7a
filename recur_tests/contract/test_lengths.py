"""The contract of lengths for every kind of cell: against a loop over valid steps without masks.

`test_lifts` does the same for every cell, and checks that padding has no effect on values and
gradients.
"""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import recur
from recur.masks import zero_invalid
from recur_tests.contract.cases import (
    BY_NAME,
    CELLS,
    KINDS,
    STEPS,
    by_name,
    example,
    linear_of_equinox,
    linear_of_nnx,
)
from recur_tests.contract.composed import COMPOSED, NO_RESETS
from recur_tests.helpers import assert_close, to_numpy, weighted_sum
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
    """A layer's run and that of the oracle, as functions of mask and resets."""
    layer = recur.scan(case.cell, reverse=reverse)
    given = example(case, layer)
    run = jax.jit(layer.run)
    step = jax.jit(case.cell.step)
    bound = layer.bind(given.params, given.xs, context=given.context)
    initial = layer.begin(bound, given.xs)
    xs = np.asarray(given.xs)

    def compare(valid, reset):
        carry, ys = run(
            given.params,
            xs,
            carry=given.carry,
            context=given.context,
            mask=np.asarray(valid, bool),
            reset=np.asarray(reset, bool),
        )
        expected, outputs = run_valid_steps(
            lambda carry, x: step(bound, carry, x), initial, given.carry, xs, valid, reset,
            reverse=reverse,
        )  # fmt: skip
        assert_close(carry, expected)
        ys = to_numpy(ys)
        for t, output in enumerate(outputs):
            y = jax.tree.map(lambda leaf, t=t: leaf[t], ys)
            assert_close(y, jax.tree.map(np.zeros_like, y) if output is None else output)

    return compare


each_kind = pytest.mark.parametrize("case", **by_name([c for c in CELLS if c.name in KINDS]))


@pytest.mark.parametrize("reverse", [False, True], ids=["", "reverse"])
@each_kind
def test_only_valid_steps_count_and_resets_start_from_the_initial_carry(case, reverse):
    compare = walker(case, reverse)
    for valid, reset in MARKS:
        compare(valid, reset)
    hypothesis.settings(max_examples=12)(hypothesis.given(FLAGS, FLAGS)(compare))()


@each_kind
def test_pieces_equal_the_whole_and_an_empty_piece_changes_nothing(case):
    layer = recur.scan(case.cell)
    given = example(case, layer)
    run = jax.jit(layer.run)
    xs = np.asarray(given.xs)[:4]
    whole = run(given.params, xs, carry=given.carry, context=given.context)
    carry, pieces = given.carry, []
    for piece in (xs[:2], xs[2:2], xs[2:]):
        carry, ys = run(given.params, piece, carry=carry, context=given.context)
        pieces.append(ys)
    assert_close((carry, jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)), whole)


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
    "modules": lambda cell: recur.chain(
        linear_of_nnx(3, 3), recur.scan(cell), linear_of_equinox(3, 3)
    ),
    "bidirectional": lambda cell: recur.bidirectional(
        recur.scan(cell), recur.scan(cell, reverse=True), merge=lambda f, b: f + b + 1
    ),
    **COMPOSED,
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_keeps_the_contract(name):
    """A padded sequence is the short one, in carry, outputs and gradients; alone and in a batch."""
    layer = LAYERS[name](recur.gru(3, **F64))
    given = example(BY_NAME["elman"], layer)

    params, carry, xs = given.params, given.carry, np.asarray(given.xs)
    everywhere, first_three = np.ones(STEPS, bool), np.arange(STEPS) < 3

    @jax.jit
    def results(xs, **marks):
        def loss(params):
            after, ys = layer.run(params, xs, carry=carry, **marks)
            return weighted_sum((after, ys[:3])), (after, ys)

        return jax.grad(loss, has_aux=True)(params)

    padded = np.where(first_three[:, None], xs, np.nan)
    short = results(xs[:3])
    by_length = results(padded, length=3, mask=everywhere)
    by_mask = results(padded, length=STEPS, mask=first_three)
    for gradient, (after, ys) in (by_length, by_mask):
        assert_close((gradient, (after, ys[:3])), short)
        assert not ys[3:].any()
    _, (after, ys) = results(xs, length=0, mask=everywhere)
    assert_close(after, carry)
    assert not ys.any()
    _, (_, whole) = results(xs, length=STEPS, mask=everywhere)
    carries = jax.tree.map(lambda leaf: np.stack(2 * [leaf]), carry)
    run = jax.jit(recur.batch(layer).run)
    _, rows = run(params, np.stack([xs, padded]), carry=carries, length=np.array([STEPS, 3]))
    assert_close((rows[0], rows[1, :3]), (whole, short[1][1]))


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in NO_RESETS])
def test_packed_sequences_equal_sequences_alone(name):
    layer = LAYERS[name](recur.gru(3, **F64))
    params, _, xs, _ = example(BY_NAME["elman"], layer, steps=4)
    run, reset = jax.jit(layer), np.array([True, False, True, False])
    alone = [run(params, piece) for piece in np.split(np.asarray(xs), 2)]
    assert_close(run(params, xs, reset=reset), np.concatenate(alone))


def test_a_reset_discards_a_state_that_is_not_a_number():
    layer = recur.scan(recur.gru(3, **F64))
    given = example(BY_NAME["elman"], layer)
    reset = jnp.array([True, False, False, False, False])
    lost = jnp.full(3, jnp.nan)
    gradient = jax.grad(lambda p: layer.run(p, given.xs, carry=lost, reset=reset)[1].sum())
    assert_close(gradient(given.params), jax.grad(lambda p: layer(p, given.xs).sum())(given.params))


def test_keys_in_the_inputs_are_never_zeroed():
    xs = {"key": jax.random.split(jax.random.key(0), 3), "x": jnp.ones(3)}
    zeroed = zero_invalid(jnp.array([True, False, True]), xs)
    assert (zeroed["key"] == xs["key"]).all()
    assert zeroed["x"].tolist() == [1, 0, 1]
