import functools

import jax
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.decode import argmax, generate, temperature
from recur_tests.helpers import random_like

LAYER = recur.chain(nn.Embed(6, 4), recur.scan(recur.gru(5)), nn.Dense(6))
BATCH = recur.batch(LAYER)
PROMPTS = np.array([[1, 2, 3, 4], [5, 0, 0, 0], [2, 4, 0, 0]], np.int32)
LENGTHS = np.array([4, 1, 2], np.int32)
STEPS = 9


@pytest.fixture
def params():
    return random_like(jax.eval_shape(LAYER.init, jax.random.key(0), PROMPTS[0]), 6, scale=2.0)


def by_hand(params, prompt, steps, choose):
    """The whole sequence is read again for each token."""
    tokens, begin, read = np.pad(prompt, (0, steps)), len(prompt), jax.jit(LAYER)
    for position in range(steps):
        length = begin + position
        tokens[length] = choose(read(params, tokens, length=length)[length - 1], position)
    return tokens[begin:].tolist()


def test_feeds_the_layer_what_it_chose(params):
    expected = by_hand(params, PROMPTS[0], STEPS, lambda logits, position: argmax(logits))
    found = jax.jit(functools.partial(generate, LAYER, max_tokens=STEPS, choose=argmax))(
        params, PROMPTS[0]
    )
    assert found.tokens.tolist() == expected and found.length == STEPS
    assert len(set(expected)) > 1


def test_draws_with_a_key_of_its_own_for_each_token(params):
    key, choose = jax.random.key(3), temperature(1.3)
    expected = by_hand(
        params, PROMPTS[0], STEPS, lambda logits, n: choose(logits, jax.random.fold_in(key, n))
    )
    found = generate(LAYER, params, PROMPTS[0], max_tokens=STEPS, choose=choose, key=key)
    assert found.tokens.tolist() == expected


def test_prompts_of_differing_lengths_at_once_are_each_alone(params):
    rules = {"max_tokens": STEPS, "eos": 0, "forbidden": [3], "min_tokens": 2}
    key = jax.random.key(5)
    dirty = np.where(np.arange(4) < LENGTHS[:, None], PROMPTS, 5)
    found = jax.jit(functools.partial(generate, BATCH, **rules))(
        params, dirty, length=LENGTHS, key=key
    )
    lengths = []
    for row, row_key in enumerate(jax.random.split(key, 3)):
        prompt = PROMPTS[row, : LENGTHS[row]]
        alone = generate(LAYER, params, prompt, key=row_key, **rules)
        assert alone.tokens.tolist() == found.tokens[row].tolist()
        assert alone.length == found.length[row]
        lengths.append(int(alone.length))
    assert len(set(lengths)) > 1  # rows stop at different times


def test_stops_not_too_early_and_never_says_what_is_forbidden(params):
    keys = jax.random.split(jax.random.key(0), 200)
    free = jax.vmap(lambda k: generate(LAYER, params, PROMPTS[0], max_tokens=STEPS, key=k))(keys)
    assert set(np.unique(free.tokens)) == set(range(6))
    rules = {"max_tokens": STEPS, "eos": 2, "forbidden": [0, 4], "min_tokens": 3}
    tokens, lengths = jax.vmap(lambda k: generate(LAYER, params, PROMPTS[0], key=k, **rules))(keys)
    assert lengths.min() == 3 and lengths.max() == STEPS
    for row, length in zip(np.asarray(tokens), np.asarray(lengths), strict=True):
        assert not set(row[:length].tolist()) & {0, 2, 4}
        assert not row[length:].any()


def test_goes_on_from_a_carry(params):
    carry, _ = LAYER.run(params, PROMPTS[0])
    whole = np.concatenate([PROMPTS[0], PROMPTS[2, :2]])
    expected = generate(LAYER, params, whole, max_tokens=4, choose=argmax).tokens
    found = generate(LAYER, params, PROMPTS[2, :2], max_tokens=4, choose=argmax, carry=carry)
    assert found.tokens.tolist() == expected.tolist()


def test_no_stop_comes_too_early_even_where_all_else_is_impossible():
    stops = recur.chain(lambda token: jax.numpy.log(jax.nn.one_hot(0, 4)))
    stop_first = {"eos": 0, "min_tokens": 2, "forbidden": [1]}
    found = generate(stops, ((),), PROMPTS[0] % 4, max_tokens=4, choose=argmax, **stop_first)
    assert found.length == 2 and found.tokens.tolist() == [2, 2, 0, 0]


def test_ids_outside_the_vocabulary_are_named_where_they_are_known(params):
    run = functools.partial(generate, LAYER, max_tokens=2, choose=argmax)
    for wrong in (6, 99, -1):
        prompt = np.array([1, wrong, 0])
        message = f"generate: expected a prompt of ids from 0 to 5, got {wrong} at step 1"
        with pytest.raises(ValueError, match=message):
            run(params, prompt)
        with pytest.raises(ValueError, match=message):
            jax.jit(lambda params, prompt=prompt: run(params, prompt))(params)
        assert run(params, prompt, length=1).length == 2  # what is padding does not matter
    with pytest.raises(ValueError, match="got 9 at step 3 of row 2"):
        rows = np.array([[0] * 4, [0] * 4, [0, 0, 0, 9]])
        generate(BATCH, params, rows, max_tokens=1, choose=argmax)


BACKWARDS = recur.chain(nn.Embed(6, 4), recur.scan(recur.gru(5), reverse=True), nn.Dense(6))


@pytest.mark.parametrize(
    ("layer", "prompt", "options", "error", "message"),
    [
        (recur.gru(3), PROMPTS[0], {}, TypeError, "expected a layer, got Cell"),
        (BACKWARDS, PROMPTS[0], {}, ValueError, "expected a causal layer"),
        (LAYER, PROMPTS[0] * 1.0, {}, TypeError, "a prompt of integer tokens, got float64"),
        (LAYER, PROMPTS, {}, ValueError, r"of shape \[T\] .* got \[3, 4\]. Use recur.batch"),
        (BATCH, PROMPTS[0], {}, ValueError, r"of shape \[B, T\] .* got \[4\]"),
        (LAYER, PROMPTS[0, :0], {}, ValueError, r"at least one token, got \[0\]"),
        (LAYER, PROMPTS[0], {"min_tokens": 5}, ValueError, "got max_tokens=4 and min_tokens=5"),
        (LAYER, PROMPTS[0], {"length": 0}, ValueError, "lengths from 1 to 4, got 0"),
        (BATCH, PROMPTS, {"length": LENGTHS + 1}, ValueError, r"from 1 to 4, got \[5, 2, 3\]"),
        (BATCH, PROMPTS, {"length": 3}, ValueError, r"one length for each prompt, of shape \[3\]"),
        (LAYER, PROMPTS[0], {"eos": 6}, ValueError, r"ids from 0 to 5.*got \[6\]"),
        (LAYER, PROMPTS[0], {"min_tokens": 0.5}, ValueError, "min_tokens: expected a whole number"),
        (LAYER, PROMPTS[0], {"key": jax.random.PRNGKey(0)}, TypeError, "expected a typed key"),
        (LAYER, PROMPTS[0], {"choose": temperature(1.0)}, TypeError, "expected a typed key"),
    ],
)
def test_wrong_input(params, layer, prompt, options, error, message):
    with pytest.raises(error, match=message):
        generate(layer, params, prompt, max_tokens=4, **{"choose": argmax, **options})
