"""`pooled` against NumPy: pooling of the steps that count, with a head."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.sequences import make_batches, pack, pad, pool, segments
from recur_tests.contract.cases import dense, linear_of_equinox
from recur_tests.helpers import assert_close, random_like, to_numpy, weighted_sum
from recur_tests.oracles.gru import gru

F64 = {"param_dtype": jnp.float64}
GRU = recur.scan(recur.gru(4, **F64))
XS = np.random.default_rng(0).standard_normal((5, 3))
MASK = np.array([True, False, True, True, False])
POOLS = {
    pool.last: lambda ys: ys[-1],
    pool.mean: lambda ys: ys.mean(0),
    pool.max: lambda ys: ys.max(0),
}


def drawn(layer, xs=XS):
    return random_like(jax.eval_shape(layer.init, jax.random.key(0), xs), 1)


def affine(params, x):
    return x @ params["kernel"] + params["bias"]


@pytest.mark.parametrize("by", POOLS)
def test_pools_the_steps_that_count(by):
    layer = recur.pooled(GRU, by, dense(2))
    params = drawn(layer)
    numpy = to_numpy(params)
    for mask in (MASK, np.ones(5, bool)):
        end, ys = gru(numpy.layer, np.zeros(4), XS[mask], reset="after")
        dirty = np.where(mask[:, None], XS, np.nan)
        carry, y = layer.run(params, dirty, mask=mask)
        assert_close(to_numpy(y), affine(numpy.head, POOLS[by](ys)))
        assert_close(to_numpy(carry), end)
    assert_close(layer(params, XS), y)


@pytest.mark.parametrize("width", [1, ()])
def test_attention_pooling_has_scores_with_weights(width):
    scores = dense(1) if width else nn.Sequential([dense(1), lambda s: s[0]])
    layer = recur.pooled(GRU, pool.attention, dense(2), scores=scores)
    params = drawn(layer)
    numpy = to_numpy(params)
    _, ys = gru(numpy.layer, np.zeros(4), XS[MASK], reset="after")
    e = np.exp(affine(numpy.scores if width else numpy.scores["layers_0"], ys))
    expected = affine(numpy.head, (e * ys).sum(0) / e.sum())
    assert_close(to_numpy(layer(params, np.where(MASK[:, None], XS, np.nan), mask=MASK)), expected)
    gradient = jax.grad(lambda p: layer(p, XS).sum())(params)
    assert all(leaf.any() for leaf in jax.tree.leaves(gradient.scores)[1:])  # not the bias


class Weighted(nn.Module):
    """A pool with weights: a learned mix of the mean and the maximum."""

    @nn.compact
    def __call__(self, ys, mask):
        rate = self.param("rate", nn.initializers.constant(0.25), (), jnp.float64)
        return rate * pool.mean(ys, mask) + (1 - rate) * pool.max(ys, mask)


def test_a_pool_may_be_a_function_or_a_module():
    both = recur.pooled(GRU, lambda ys, mask: jnp.stack([pool.last(ys, mask), pool.max(ys, mask)]))
    params = drawn(both)
    _, ys = gru(to_numpy(params.layer), np.zeros(4), XS[:3], reset="after")
    assert_close(to_numpy(both(params, XS, length=3)), np.stack([ys[-1], ys.max(0)]))
    mixed = recur.pooled(GRU, Weighted())
    params = mixed.init(jax.random.key(0), XS)._replace(layer=params.layer)
    assert_close(to_numpy(mixed(params, XS, length=3)), 0.25 * ys.mean(0) + 0.75 * ys.max(0))


@pytest.mark.parametrize("by", POOLS)
def test_padding_has_no_effect_on_values_and_gradients_in_a_batch(by):
    """Each row pools its own steps only, and a row without steps is the head of zero."""
    layer = recur.pooled(GRU, by, linear_of_equinox(4, 2))
    params = drawn(layer)
    lengths = np.array([5, 2, 0])
    rows = np.random.default_rng(1).standard_normal((3, 5, 3))
    dirty = np.where(np.arange(5)[None, :, None] < lengths[:, None, None], rows, np.nan)

    def alone(params, rows):
        ys = [layer(params, x[:n]) for x, n in zip(rows[:2], lengths[:2], strict=True)]
        return weighted_sum(jnp.stack([*ys, params.head.bias]))

    def together(params, rows):
        return weighted_sum(recur.batch(layer)(params, rows, length=lengths))

    expected = jax.value_and_grad(alone, (0, 1))(params, rows)
    assert_close(jax.jit(jax.value_and_grad(together, (0, 1)))(params, dirty), expected)


def test_directions_heads_and_noise():
    layer = recur.pooled(GRU, pool.mean, nn.Dropout(0.5))
    assert layer.is_pooled and not layer.is_causal and recur.batch(layer).is_pooled
    assert not GRU.is_pooled and not recur.batch(GRU).is_pooled
    params = drawn(layer)
    plain = layer(params, XS)
    noisy = jnp.stack([layer(params, XS, key=jax.random.key(n)) for n in range(8)])
    kept = noisy != 0
    assert kept.any() and not kept.all()
    assert_close(noisy[kept], jnp.broadcast_to(2 * plain[None], noisy.shape)[kept])
    assert recur.pooled(recur.truncate(GRU, 1, 2), pool.last).is_truncated
    assert jax.eval_shape(layer, params, XS).shape == plain.shape
    bound = layer.bind(params, XS)
    assert layer.output_shape(bound, XS).shape == (4,)


def test_packed_rows_are_refused_and_segments_are_the_remedy():
    source = [XS[:n] for n in (2, 3, 4)]
    [packed], [padded] = make_batches(source, pack(6)), make_batches(source, pad())
    model = recur.batch(recur.pooled(GRU, pool.mean))
    params = drawn(model, packed.steps)
    with pytest.raises(ValueError, match=r"got resets, .* recur.sequences.segments"):
        model(params, packed.steps, **packed.layer_kwargs)
    ys = recur.batch(GRU)(params.layer, packed.steps, **packed.layer_kwargs)
    pooled = pool.mean(*segments(ys, packed))
    found = {int(n): pooled[where] for where, n in np.ndenumerate(packed.number) if n >= 0}
    expected = model(params, padded.steps, **padded.layer_kwargs)
    assert_close([found[n] for n in range(3)], list(expected))


CAUSAL = "expected a layer with one output per step, got a pooled layer"


@pytest.mark.parametrize(
    "build",
    [
        lambda layer: recur.chain(layer, dense(2)),
        lambda layer: recur.chain(dense(3), layer),
        lambda layer: recur.parallel(layer, dense(2)),
        recur.checkpoint,
        lambda layer: recur.truncate(layer, 1, 1),
        lambda layer: recur.bidirectional(layer, recur.scan(recur.gru(3), reverse=True)),
        lambda layer: recur.bidirectional(GRU, layer),
        lambda layer: recur.pooled(layer, pool.last),
        lambda layer: recur.encoder_decoder(GRU, layer),
        lambda layer: recur.lift.run_window(layer, (), (), XS, 1),
        lambda layer: recur.decode.generate(layer, (), jnp.array([1]), max_tokens=1),
        lambda layer: recur.decode.beam_search(layer, (), jnp.array([1]), num_beams=1,
                                               max_tokens=1),
        lambda layer: recur.decode.teacher_forcing(layer, (), jnp.array([1])),
        lambda layer: recur.decode.generate(
            recur.batch(layer), (), jnp.array([[1]]), max_tokens=1
        ),
    ],
)  # fmt: skip
def test_nothing_that_reads_time_follows_a_pooled_layer(build):
    with pytest.raises(ValueError, match=CAUSAL):
        build(recur.pooled(GRU, pool.last))
