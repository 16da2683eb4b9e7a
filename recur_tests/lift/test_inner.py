"""`inner` against a loop over words and their characters, in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.sequences import Padded, pool
from recur_tests.contract.cases import dense
from recur_tests.helpers import assert_close, count_primitives, random_like, to_numpy, weighted_sum
from recur_tests.oracles.gru import gru

F64 = {"param_dtype": jnp.float64}
GRU = recur.scan(recur.gru(4, **F64))
LENGTHS = np.array([3, 1, 0, 5])
STEPS = np.random.default_rng(0).standard_normal((4, 5, 3))
DIRTY = np.where(np.arange(5)[None, :, None] < LENGTHS[:, None, None], STEPS, np.nan)
POOLS = {
    pool.last: lambda ys: ys[-1],
    pool.mean: lambda ys: ys.mean(0),
    pool.max: lambda ys: ys.max(0),
}


def drawn(layer, xs):
    return random_like(jax.eval_shape(layer.init, jax.random.key(0), xs), 1)


def by_hand(params, by, mask=(True,) * 4):
    """Pools the outputs for each inner sequence; zero where the outer step is masked."""
    ys = np.zeros((len(LENGTHS), 4))
    for t, length in enumerate(LENGTHS):
        if length and mask[t]:
            ys[t] = by(gru(params.layer, np.zeros(4), STEPS[t, :length], reset="after")[1])
    return ys


@pytest.mark.parametrize("by", POOLS)
def test_each_step_is_a_sequence_of_its_own_length(by):
    layer = recur.inner(GRU, by)
    xs = Padded(DIRTY, LENGTHS)
    params = drawn(layer, xs)
    assert layer.direction == "stepwise"
    assert_close(to_numpy(layer(params, xs)), by_hand(to_numpy(params), POOLS[by]))
    mask = np.array([True, True, True, False])
    dirty = Padded(np.where(mask[:, None, None], DIRTY, np.nan), np.where(mask, LENGTHS, 99))
    found = layer(params, dirty, mask=mask)
    assert_close(to_numpy(found), by_hand(to_numpy(params), POOLS[by], mask))


def test_without_lengths_all_inner_steps_count():
    layer = recur.inner(GRU, pool.mean)
    params = drawn(layer, Padded(STEPS))
    assert_close(layer(params, Padded(STEPS)), layer(params, Padded(STEPS, np.full(4, 5))))


def test_padding_inside_and_outside_has_no_effect_on_gradients():
    layer = recur.inner(recur.pooled(GRU, pool.attention, dense(2), scores=dense(1)))
    params = drawn(layer, Padded(STEPS, LENGTHS))

    def loss(params, steps, lengths, length):
        return weighted_sum(layer(params, Padded(steps, lengths), length=length)[:2])

    gradients = jax.jit(jax.grad(loss, (0, 1)))
    outside = (np.arange(4) >= 2)[:, None, None]
    dirty, lengths = np.where(outside, np.nan, DIRTY), np.where(np.arange(4) >= 2, 5, LENGTHS)
    of_params, of_steps = gradients(params, dirty, lengths, 2)
    expected, short = gradients(params, STEPS[:2, :3], LENGTHS[:2], 2)
    assert_close(of_params, expected)
    assert_close(of_steps[:2, :3], short)
    assert not layer(params, Padded(dirty, lengths), length=2)[2:].any()  # the head has a bias
    assert not of_steps[2:].any() and not of_steps[:, 3:].any()


def test_in_a_batch_in_pieces_and_nested():
    layer = recur.chain(recur.inner(GRU, pool.last), GRU)
    xs = Padded(DIRTY, LENGTHS)
    params = drawn(layer, xs)
    carry, ys = layer.run(params, xs)
    rows = jax.tree.map(lambda leaf: np.stack([leaf, leaf[::-1]]), xs)
    found = jax.jit(recur.batch(layer))(params, rows, length=np.array([4, 2]))
    assert_close(found[0], ys)
    assert_close(found[1], layer(params, jax.tree.map(lambda leaf: leaf[::-1], xs), length=2))
    middle, first = layer.run(params, jax.tree.map(lambda leaf: leaf[:1], xs))
    rest = layer.run(params, jax.tree.map(lambda leaf: leaf[1:], xs), carry=middle)
    assert_close((rest[0], jnp.concatenate([first, rest[1]])), (carry, ys))
    sentences = Padded(rows, np.array([4, 3]))  # documents of sentences of words
    deep = recur.inner(layer, pool.last)
    deep_params = drawn(deep, sentences)
    expected = recur.batch(layer)(deep_params.layer, rows, length=np.array([4, 3]))
    assert_close(deep(deep_params, sentences), expected[jnp.arange(2), np.array([3, 2])])


def test_it_also_reads_inner_sequences_in_both_directions():
    both = recur.bidirectional(GRU, recur.scan(recur.gru(4, **F64), reverse=True))
    layer = recur.chain(lambda x: x, recur.inner(both, pool.last), GRU)
    assert layer.is_causal
    xs = Padded(DIRTY, LENGTHS)
    params = drawn(layer, xs)
    alone = both(params[1].layer, STEPS[3])[-1]
    assert_close(recur.inner(both, pool.last)(params[1], xs)[3], alone)


def test_steps_draw_their_own_noise_and_need_a_key():
    xs = Padded(np.ones((4, 5, 64)), np.full(4, 5))
    layer = recur.inner(recur.chain(nn.Dropout(0.5)), pool.last)
    params = drawn(layer, xs)
    kept = layer(params, xs, key=jax.random.key(0)) != 0
    assert len({row.tobytes() for row in jax.device_get(kept)}) == 4
    assert (layer(params, xs) == 1).all()
    once = recur.variational_dropout(recur.gru(8, **F64), inputs=0.5)
    shared = recur.inner(recur.scan(once), pool.last)
    ys = shared(drawn(shared, xs), xs, key=jax.random.key(0))
    assert_close(ys, jnp.broadcast_to(ys[:1], ys.shape))


def test_all_inner_sequences_run_in_one_loop():
    """The number of loops does not depend on T."""
    layer = recur.inner(GRU, pool.last)
    xs = Padded(STEPS, LENGTHS)
    params = drawn(layer, xs)
    jaxpr = jax.make_jaxpr(layer)(params, xs)
    assert count_primitives(jaxpr, "scan") == 1 and count_primitives(jaxpr, "while") == 0


def test_the_context_is_shared_by_all_steps():
    layer = recur.inner(recur.scan(recur.condition(recur.gru(4, **F64), "image", **F64)), pool.last)
    xs, context = Padded(STEPS, LENGTHS), {"image": np.ones(2)}
    shapes = jax.eval_shape(lambda key: layer.init(key, xs, context=context), jax.random.key(0))
    params = random_like(shapes, 1)
    found = layer(params, xs, context=context)
    cell = recur.scan(recur.condition(recur.gru(4, **F64), "image", **F64))
    for t in (0, 1, 3):
        ys = cell(params.layer, STEPS[t, : LENGTHS[t]], context=context)
        assert_close(found[t], ys[-1])
