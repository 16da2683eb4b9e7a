"""Pooling, against NumPy on the valid steps alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.sequences import make_batches, pack, pool, segments
from recur_tests.helpers import assert_close

DRAWS = np.random.default_rng(0)
YS, SCORES = DRAWS.standard_normal((6, 5, 3)), DRAWS.standard_normal((6, 5))
VALID = np.array(
    [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 1], [1] * 5],
    bool,
)


def softmax(scores):
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


POOLS = {
    "last": (lambda ys, scores, valid: pool.last(ys, valid), lambda ys, scores: ys[-1]),
    "ends": (
        lambda ys, scores, valid: pool.ends(jnp.concatenate([ys, 2 * ys], -1), valid)[..., 1:4],
        lambda ys, scores: np.array([ys[-1, 1], ys[-1, 2], 2 * ys[0, 0]]),
    ),
    "mean": (lambda ys, scores, valid: pool.mean(ys, valid), lambda ys, scores: ys.mean(0)),
    "max": (lambda ys, scores, valid: pool.max(ys, valid), lambda ys, scores: ys.max(0)),
    "attention": (pool.attention, lambda ys, scores: softmax(scores) @ ys),
}
every_pool = pytest.mark.parametrize(("function", "oracle"), POOLS.values(), ids=POOLS.keys())


@every_pool
def test_only_valid_steps_count(function, oracle):
    function = jax.jit(function)
    pooled = function(YS, SCORES, VALID)
    for row, valid in enumerate(VALID):
        ys, scores = np.asarray(YS)[row][valid], np.asarray(SCORES)[row][valid]
        assert_close(pooled[row], jnp.asarray(oracle(ys, scores) if len(ys) else np.zeros(3)))
        assert_close(function(YS[row], SCORES[row], valid), pooled[row])
    assert_close(function(YS[0], SCORES[0], None), pooled[0])


@every_pool
def test_what_stands_in_the_padding_never_matters(function, oracle):
    @jax.jit
    @jax.grad
    def gradient(values, padding):
        ys, scores = (jnp.where(VALID[..., None][..., : v.ndim], v, padding) if v.ndim == 3
                      else jnp.where(VALID, v, padding) for v in values)  # fmt: skip
        return (function(ys, scores, VALID) ** 2).sum()

    clean, dirty = (gradient((YS, SCORES), padding) for padding in (0.0, jnp.nan))
    assert_close(dirty, clean, 0)
    assert not np.isnan(function(jnp.where(VALID[..., None], YS, jnp.nan), SCORES, VALID)).any()


@every_pool
def test_packed_rows_are_pooled_by_sequence(function, oracle):
    source = [np.asarray(YS[0, :n]) for n in (3, 5, 1, 0, 4)]
    [batch] = make_batches(source, pack(7))
    values, valid = segments(batch.steps, batch)
    pooled = function(values, values[..., 0], valid)
    for (row, slot), number in np.ndenumerate(batch.number):
        ys = source[number] if number >= 0 else np.zeros((0, 3))
        assert_close(
            pooled[row, slot], jnp.asarray(oracle(ys, ys[:, 0]) if len(ys) else np.zeros(3))
        )


def test_integers_and_flags_are_pooled_too():
    valid = np.array([True, True, False])
    assert pool.max(jnp.array([-5, -2, 7]), valid).item() == -2
    assert pool.max(jnp.array([False, True, True]), valid).item()
    assert pool.mean(jnp.array([True, False, True]), valid).item() == 0.5
    assert abs(pool.mean(jnp.ones(300, jnp.uint8)) - 1) < 1e-6
    assert pool.attention(jnp.array([1, 4, 9]), jnp.zeros(3), valid).item() == 2.5


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_long_means_of_16_bits(dtype):
    ys = jnp.ones(70_000, dtype)
    assert pool.mean(ys).dtype == dtype and pool.mean(ys) == 1
    assert abs(pool.attention(ys, jnp.zeros(70_000)) - 1) < 1e-2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pool.mean(YS, VALID.astype(int)), TypeError, "pool.mean: expected mask as bool"),
        (
            lambda: pool.last(YS, VALID[:, :4]),
            ValueError,
            r"pool.last: expected ys .* \[6, 5, 3\] and \[6, 4\]",
        ),
        (lambda: pool.max(YS[:, :0], VALID[:, :0]), ValueError, "pool.max: .* with T >= 1"),
        (lambda: pool.attention(YS, SCORES[0], VALID), ValueError, "one score per step"),
        (lambda: pool.attention(YS[0], SCORES[0][:, None]), ValueError, "one score per step"),
    ],
)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("shape", [(6, 5, 3), (6, 5, 3, 1)])
@every_pool
def test_a_batch_without_a_mask_is_an_error(function, oracle, shape):
    """The first axis is the batch, so a mean over it would mix sequences."""
    ys = YS.reshape(shape)
    with pytest.raises(
        ValueError, match=r"one sequence, \[T\] or \[T, D\], .* \[B, T, D\] of recur.batch"
    ):
        function(ys, SCORES, None)
    assert function(ys, SCORES, np.ones((6, 5), bool)).shape == (6, *shape[2:])


def test_no_nan_is_formed_on_the_way():
    """A row without steps that count, as the last rows of `make_batches`, in gradients too."""
    with jax.debug_nans(True):
        for function, _ in POOLS.values():
            pooled, gradient = jax.value_and_grad(
                lambda ys, scores, f=function: (f(ys, scores, VALID) ** 2).sum(), (0, 1)
            )(jnp.asarray(YS), jnp.asarray(SCORES))
            assert jnp.isfinite(pooled) and not gradient[0][2].any() and not gradient[1][2].any()


def test_ends_are_the_last_outputs_of_both_directions():
    """Against each direction run alone on each sequence, without padding."""
    layers = recur.scan(recur.gru(3)), recur.scan(recur.gru(3), reverse=True)
    layer = recur.bidirectional(*layers)
    inputs = YS.astype(np.float32)
    params = layer.init(jax.random.key(0), inputs[0])
    ys = recur.batch(layer)(params, inputs, mask=VALID)
    pooled = pool.ends(ys, VALID)
    for row, valid in enumerate(VALID):
        xs = inputs[row][valid]
        if len(xs):
            forward, backward = (each(p, xs) for each, p in zip(layers, params, strict=True))
            expected = jnp.concatenate([forward[-1], backward[0]])
            assert_close(pooled[row], expected, 1e-6)


def test_ends_of_frames():
    ys = np.arange(2 * 3 * 4 * 2.0).reshape(2, 3, 4, 2)
    mask = np.array([[True, True, False], [False, True, True]])
    expected = [np.stack([ys[0, 1, :, 0], ys[0, 0, :, 1]], -1),
                np.stack([ys[1, 2, :, 0], ys[1, 1, :, 1]], -1)]  # fmt: skip
    assert_close(pool.ends(ys, mask), jnp.asarray(np.stack(expected)))
