"""Sequences of every length, for every cell and lift: results do not depend on the layout."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import recur
from recur.sequences import bucket, first_steps, last_steps, make_batches, pack, pad, unpack
from recur_tests.contract.cases import CELLS, TYPES, WIDTH, by_name, example
from recur_tests.contract.lifts import LIFTS
from recur_tests.helpers import assert_close, random_like, weighted_sum

LONGEST, COUNT, STEPS = 4, 3, 8
LENGTHS = st.lists(st.integers(0, LONGEST), min_size=COUNT, max_size=COUNT)
# All of one shape, so that a pair is compiled once; buckets add another.
LAYOUTS = {"pad": pad(STEPS), "bucket": bucket((2, STEPS)), "pack": pack(STEPS)}


def draw(lengths, shape=(WIDTH,), seed=0):
    draws = np.random.default_rng(seed)
    return [{"x": draws.normal(size=(n, *shape)), "weight": draws.normal(size=n)} for n in lengths]


def learner(case, layer):
    """Computes gradients for all batches, and for each sequence outputs, losses and gradients."""
    given = example(case, layer)
    batched = recur.batch(layer)

    @jax.jit
    def learn(params, steps, mask, reset):
        context = jax.tree.map(lambda v: jnp.broadcast_to(v, (COUNT, *v.shape)), given.context)

        def loss(params, x):
            x = jnp.where(mask.reshape(*mask.shape, *[1] * len(case.shape)), x, jnp.nan)
            ys = batched(params, x, mask=mask, reset=reset, context=context)
            losses = jax.vmap(jax.vmap(weighted_sum))(ys) ** 2
            return (losses * steps["weight"]).sum(), (ys, losses)

        gradients, found = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, steps["x"])
        return gradients[0], (*found, gradients[1])

    def learn_all(source, name):
        total, pieces = None, {}
        for batch in make_batches(source, LAYOUTS[name], batch_size=COUNT):
            reset = np.zeros_like(batch.mask) if batch.reset is None else batch.reset
            gradients, found = learn(given.params, batch.steps, batch.mask, reset)
            total = gradients if total is None else jax.tree.map(jnp.add, total, gradients)
            pieces |= unpack(found, batch)
        return total, dict(sorted(pieces.items()))

    return learn_all


# A few cells by the first lift, and every lift with one cell it runs: that cells keep to masks and
# resets, which are all that a layout gives them, is in test_lifts and test_lengths.
PAIRS = [(case, LIFTS[0]) for case in CELLS if case.name in TYPES]
PAIRS += [
    (next(case for case in CELLS if case.name in TYPES and lift.tests(case)), lift)
    for lift in LIFTS[1:]
]


@pytest.mark.parametrize(
    ("case", "lift"), PAIRS, ids=[f"{case.name}-{lift.name}" for case, lift in PAIRS]
)
def test_padded_bucketed_and_packed_sequences_give_the_same(case, lift):
    learn = learner(case, lift.lift(case.cell))
    others = ["bucket", "pack"] if lift is LIFTS[0] else ["pack"]

    @hypothesis.settings(max_examples=5)
    @hypothesis.given(LENGTHS)
    def compare(lengths):
        source = draw(lengths, case.shape)
        padded = learn(source, "pad")
        for name in others:
            assert_close(learn(source, name), padded)

    compare()


@hypothesis.settings(max_examples=6)
@hypothesis.given(
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=6),
    batch_size=st.none() | st.integers(1, 4),
    width=st.integers(1, 3),
    room=st.integers(7, 12),
)
def test_batches_of_every_shape_and_inputs_of_every_structure(lengths, batch_size, width, room):
    """Against each sequence alone, through a cell that reads a pytree."""

    def step(params, carry, x):
        total = params * carry["total"] * jnp.exp(-x["gap"]) + x["value"]
        return {"total": total}, {"total": total, "both": (total.sum(), x["gap"])}

    cell = recur.cell(
        init=lambda key, x: jnp.asarray(0.5),
        init_carry=lambda params, x: {"total": jnp.ones(x["value"].shape)},
        step=step,
    )
    draws = np.random.default_rng(sum(lengths))
    source = [
        {"value": draws.normal(size=(n, width)), "gap": draws.uniform(size=n)} for n in lengths
    ]
    layer, leak = recur.scan(cell), jnp.asarray(0.5)
    run, run_batch = jax.jit(layer), jax.jit(recur.batch(layer))
    expected = [jax.device_get(run(leak, alone)) for alone in source]
    for layout in (pad(), bucket(count=2), pack(room)):
        pieces = {}
        for batch in make_batches(source, layout, batch_size):
            pieces |= unpack(run_batch(leak, batch.steps, **batch.layer_kwargs), batch)
        assert_close([pieces[number] for number in range(len(source))], expected)


@pytest.mark.parametrize("lift", **by_name(LIFTS))
def test_the_last_carry_of_each_sequence_in_a_row(lift):
    """Without steps it is the carry it starts from. Outputs are those of the sequence alone."""
    case = next(case for case in CELLS if case.name in ("lstm", "affine") and lift.runs(case))
    layer = lift.lift(case.cell)
    params = example(case, layer).params
    source = [each["x"] for each in draw([3, 0, 4, 2])]
    [batch] = make_batches(source, pack(6))
    batched = recur.batch(layer)
    pick = last_steps if layer.is_causal else first_steps

    @jax.jit
    def results(params, steps, marks):
        carries, ys = batched.run(params, steps, **marks, all_carries=True)
        return pick(carries, batch, empty=batched.init_carry(params, steps)), ys

    found, ys = jax.device_get(results(params, batch.steps, batch.layer_kwargs))
    outputs, run = unpack(ys, batch), jax.jit(layer.run)
    for (row, slot), number in np.ndenumerate(batch.number):
        if number >= 0:
            length = len(source[number])
            padded = np.pad(source[number], [(0, LONGEST - length), (0, 0)])
            last, alone = run(params, padded, length=length)
            assert_close(jax.tree.map(lambda leaf, at=(row, slot): leaf[at], found), last)
            assert_close(outputs[number], alone[:length])


def test_the_last_carries_of_deep_and_bidirectional_layers():
    options = {"param_dtype": jnp.float64}
    forward = recur.scan(recur.stack(recur.gru(2, **options), recur.lstm(3, **options)))
    backward = recur.scan(recur.gru(2, **options), reverse=True)
    layer = recur.chain("tanh", recur.bidirectional(forward, backward))
    source = [each["x"] for each in draw([3, 4, 2])]
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), source[0]), 0)
    [batch] = make_batches(source, pack(6))
    batched = recur.batch(layer)
    (_, carries), _ = batched.run(params, batch.steps, **batch.layer_kwargs, all_carries=True)
    found = (last_steps(carries.forward, batch), first_steps(carries.backward, batch))
    for (row, slot), number in np.ndenumerate(batch.number):
        if number >= 0:
            (_, alone), _ = layer.run(params, source[number])
            assert_close(
                jax.tree.map(lambda leaf, at=(row, slot): leaf[at], found),
                (alone.forward, alone.backward),
            )
