import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.decode import argmax, categorical, forbid, temperature, top_k, top_p

LOGITS = np.log(np.array([0.05, 0.3, 0.15, 0.4, 0.1]))
DRAWS = 20_000


def frequencies(choose, logits=LOGITS):
    keys = jax.random.split(jax.random.key(0), DRAWS)
    tokens = jax.jit(jax.vmap(choose, in_axes=(None, 0)))(jnp.asarray(logits), keys)
    assert tokens.dtype == jnp.int32
    return np.bincount(tokens, minlength=len(logits)) / DRAWS


def among(kept, power=1.0):
    weights = np.where(np.isin(np.arange(5), kept), np.exp(LOGITS) ** power, 0)
    return weights / weights.sum()


@pytest.mark.parametrize(
    ("choose", "expected"),
    [
        (categorical, among(range(5))),
        (argmax, among([3])),
        (temperature(0.5), among(range(5), 2.0)),
        (temperature(2.0), among(range(5), 0.5)),
        (top_k(1), among([3])),
        (top_k(3), among([3, 1, 2])),
        (top_k(99), among(range(5))),
        (top_p(0.39), among([3])),
        (top_p(0.41), among([3, 1])),
        (top_p(0.71), among([3, 1, 2])),
        (top_p(1.0), among(range(5))),
        (forbid([3, 0, 3]), among([1, 2, 4])),
        (forbid([]), among(range(5))),
        (top_k(2, temperature(0.5)), among([3, 1], 2.0)),
        (
            temperature(0.5, top_p(0.6)),
            among([3, 1], 2.0),
        ),
        (top_p(0.5, temperature(0.5)), among([3, 1], 2.0)),
        (forbid([3], top_k(1)), among([1])),
    ],
)
def test_frequencies_are_those_of_the_distribution(choose, expected):
    found = frequencies(choose)
    deviation = np.sqrt(expected * (1 - expected) / DRAWS)
    assert (abs(found - expected) <= 4.5 * deviation).all()
    assert (found[expected == 0] == 0).all()


def test_half_precision_draws_as_full():
    """In 16 bits the noise has ties, and of equals the first would be taken too often."""
    found = frequencies(categorical, jnp.zeros(300, jnp.bfloat16))
    mean, deviation = 149.5, np.sqrt((300**2 - 1) / 12 / DRAWS)
    assert abs(found @ np.arange(300) - mean) < 4.5 * deviation
    kept = frequencies(top_p(0.9), jnp.zeros(300, jnp.bfloat16)).nonzero()[0]
    assert 265 < len(kept) <= 271


def test_a_temperature_near_zero_takes_the_likeliest_in_half_precision_too():
    logits = jnp.array([70, 100, 0], jnp.float16)
    assert temperature(1e-3, argmax)(logits, None) == 1
    assert jax.jit(lambda value: temperature(value, argmax)(logits, None))(1e-3) == 1


def test_what_is_forbidden_is_not_chosen_where_all_else_is_impossible():
    impossible = np.array([0.0, -np.inf, -np.inf, -np.inf])
    found = frequencies(forbid([0, 2]), impossible)
    assert (found[[0, 2]] == 0).all() and (abs(found[[1, 3]] - 0.5) < 0.02).all()
    assert (frequencies(top_k(1, forbid([3])))[:3] > 0.2).all()


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32, jnp.float64])
@pytest.mark.parametrize(("p", "expected"), [(0.5, 1), (0.8, 2), (0.9, 3), (0.81, 3), (1.0, 4)])
def test_top_p_keeps_no_more_where_a_sum_is_p(dtype, p, expected):
    logits = jnp.log(jnp.array([0.5, 0.3, 0.1, 0.1])).astype(dtype)
    draw = jax.vmap(lambda p, key: top_p(p)(logits, key), in_axes=(None, 0))
    for value in (p, jnp.float32(p), np.float64(p)):
        kept = np.unique(jax.jit(draw)(value, jax.random.split(jax.random.key(0), 500)))
        assert kept.tolist() == [*range(expected)] or dtype == jnp.float16


def test_top_p_always_keeps_one_and_all_at_1():
    assert top_p(1e-9, argmax)(jnp.zeros(4), None) == 0
    tail = np.log(np.array([1 - 3e-6, 1e-6, 1e-6, 1e-6]))
    kept = []
    top_p(1.0, lambda logits, key: kept.append(jnp.isfinite(logits)))(jnp.asarray(tail), None)
    assert kept[0].all()


def test_of_equals_the_first_are_kept():
    assert set(np.flatnonzero(frequencies(top_k(2), np.zeros(4)))) == {0, 1}
    assert set(np.flatnonzero(frequencies(top_p(0.5), np.zeros(4)))) == {0, 1}
    assert argmax(jnp.zeros(4)) == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: categorical(jnp.zeros(2), None),
            TypeError,
            "typed key to sample with, got None",
        ),
        (lambda: temperature(0.0), ValueError, "above 0, got 0.0. For the limit 0 use .*argmax"),
        (lambda: top_k(0), ValueError, "k: expected a whole number of at least 1, got 0"),
        (lambda: top_p(0.0), ValueError, "p above 0 and at most 1, got 0.0"),
        (lambda: top_p(1.1), ValueError, "p above 0 and at most 1, got 1.1"),
        (
            lambda: forbid([5, -1])(LOGITS, None),
            ValueError,
            "expected tokens of at least 0, got -1 at step 1",
        ),
        (lambda: forbid([1.7])(LOGITS, None), TypeError, r"sequence of whole numbers, got \[1.7\]"),
        (lambda: categorical(LOGITS, jax.random.PRNGKey(0)), TypeError, "expected a typed key"),
        (lambda: forbid(range(5))(LOGITS, None), ValueError, "got all 5 forbidden"),
    ],
)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
