import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.decode import argmax, beam_search, generate, search
from recur.decode.hypotheses import log_softmax
from recur_tests.helpers import assert_close
from recur_tests.oracles import beam as oracle

SIZE = 12
TABLES = 12
PENALTIES = np.array([0.0, 0.6, 1.0, -2.0])


def random_tables(count, possible=SIZE, seed=0):
    """Logits by the last two tokens, SIZE for none yet; few tokens, 0 among them, are possible."""
    draws = np.random.default_rng(seed)
    tables = 2 * draws.standard_normal((count, SIZE + 1, SIZE + 1, SIZE))
    ranks = draws.random(tables.shape).argsort(axis=-1)
    ranks[..., 0] = -1
    return np.where(ranks < possible, tables, -np.inf)


def search_table(table, length_penalty=0.0, **options):
    def step(last, token):
        return (last[1], token), table[last[1], token]

    none = (jnp.asarray(SIZE, jnp.int32),) * 2
    return search(step, none, table[none], length_penalty=length_penalty, **options)


def follow_table(table):
    return lambda tokens: table[(SIZE, SIZE, *tokens)[-2:]]


def pick(found, *place):
    """What was found for one row, as NumPy arrays."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[place], found)


def assert_found(found, expected):
    """Compares `Beams` of one row with a list of hypotheses, and with nothing behind its end."""
    steps = found.tokens.shape[-1]
    for n, (tokens, length, score, log_p) in enumerate(zip(*found, strict=True)):
        if n >= len(expected):
            assert (score, log_p, length, tokens.any()) == (-np.inf, -np.inf, 0, False)
            continue
        assert np.allclose((score, log_p), expected[n][:2], rtol=1e-12)
        assert length == len(expected[n][2])
        assert tuple(tokens) == expected[n][2] + (0,) * (steps - length)


RULES = {
    "no end": {"max_tokens": 3},
    "ruled out": {"max_tokens": 4, "eos": 0, "forbidden": [3, 5], "min_tokens": 2},
    "wide open": {"max_tokens": 2, "eos": 4},
}


@pytest.mark.parametrize("rules", RULES)
def test_a_wide_beam_finds_what_looking_at_all_sequences_does(rules):
    """Behind each pair of tokens 3 are possible, of which at most 12 sequences are made in time."""
    tables = random_tables(TABLES, possible=SIZE if rules == "wide open" else 2)
    options = RULES[rules]
    over_penalties = functools.partial(search_table, num_beams=SIZE, num_return=SIZE, **options)
    over_tables = jax.vmap(over_penalties, in_axes=(None, 0))
    found = jax.jit(jax.vmap(over_tables, in_axes=(0, None)))(tables, PENALTIES)
    counts = set()
    for row, table in enumerate(tables):
        for column, alpha in enumerate(PENALTIES):
            expected = oracle.exhaustive(follow_table(table), alpha=alpha, **options)
            assert_found(pick(found, row, column), expected)
            counts.add(len(expected))
    assert max(counts) > SIZE
    if rules == "ruled out":
        assert min(counts) < SIZE  # and so there are fewer hypotheses than are asked for


def test_a_narrow_beam_keeps_to_its_rules():
    """Most sequences are never looked at, some stop early, and the loop ends before its time."""
    tables = random_tables(TABLES, seed=1)
    tables[..., 0] += 1.5
    options = {"max_tokens": 6, "eos": 0, "min_tokens": 1, "forbidden": [7]}
    lengths = set()
    for width, best in ((3, 3), (4, 1)):
        over_penalties = functools.partial(
            search_table, num_beams=width, num_return=best, **options
        )
        over_tables = jax.vmap(over_penalties, in_axes=(None, 0))
        found = jax.jit(jax.vmap(over_tables, in_axes=(0, None)))(tables, PENALTIES)
        for row, table in enumerate(tables):
            for column, alpha in enumerate(PENALTIES):
                expected = oracle.beam_search(follow_table(table), width, alpha=alpha, **options)
                assert_found(pick(found, row, column), expected[:best])
                lengths.add(len(expected[0][2]))
    assert len(lengths) > 3


def read_token(bound, last, token):
    table, bias = bound
    return token, jnp.asarray(table)[last, token] + bias


LAYER = recur.scan(
    recur.cell(
        init=lambda key, token: (),
        bind=lambda table, token, context: (table, context["bias"]),
        init_carry=lambda bound, token: jnp.asarray(SIZE, jnp.int32),
        step=read_token,
    )
)
BATCH = recur.batch(LAYER)
BACKWARDS = recur.scan(recur.gru(3), reverse=True)
TABLE = random_tables(1, seed=3)[0]
PROMPTS = np.array([[1, 2, 3, 4], [5, 0, 0, 0], [2, 4, 0, 0]], np.int32)
LENGTHS = np.array([4, 1, 2], np.int32)
BIASES = np.random.default_rng(3).standard_normal((3, SIZE)) + 2 * (np.arange(SIZE) == 9)


def follow_prompt(row):
    known = (SIZE, *PROMPTS[row, : LENGTHS[row]].tolist())
    return lambda tokens: TABLE[(*known, *tokens)[-2:]] + BIASES[row]


def test_a_batch_of_prompts_is_searched_row_by_row():
    """Each with its own prompt, bias, carries and end; what pads the prompts does not matter."""
    options = {"max_tokens": 5, "eos": 9, "min_tokens": 1, "forbidden": [7]}
    find = functools.partial(beam_search, num_return=3, num_beams=4, length_penalty=0.6, **options)
    dirty = np.where(np.arange(4) < LENGTHS[:, None], PROMPTS, 5)
    given = {"length": LENGTHS, "context": {"bias": BIASES}}
    found = jax.jit(functools.partial(find, BATCH))(TABLE, dirty, **given)
    assert found.tokens.shape == (3, 3, 5) and found.tokens.dtype == jnp.int32
    for row in range(3):
        expected = oracle.beam_search(follow_prompt(row), 4, alpha=0.6, **options)
        assert_found(pick(found, row), expected[:3])
    alone = jax.jit(functools.partial(find, LAYER))(
        TABLE, PROMPTS[2, :2], context={"bias": BIASES[2]}
    )
    assert_close(pick(alone), pick(found, 2))
    assert len(set(found.length.ravel().tolist())) > 2


def test_a_beam_of_one_is_greedy_and_goes_on_from_a_carry():
    """The same tokens as `generate` with `argmax`, also of equals."""
    rules = {"max_tokens": 9, "eos": 9, "forbidden": [3], "min_tokens": 1}
    greedy = jax.jit(functools.partial(generate, BATCH, choose=argmax, **rules))
    beam = jax.jit(functools.partial(beam_search, BATCH, num_beams=1, **rules))
    table, context = np.round(TABLE), {"bias": np.round(BIASES)}
    expected = greedy(table, PROMPTS[:, :2], context=context)
    found = beam(table, PROMPTS[:, 1:2], carry=PROMPTS[:, 0], context=context)
    assert found.tokens[:, 0].tolist() == expected.tokens.tolist()
    assert found.length[:, 0].tolist() == expected.length.tolist()
    assert len(set(expected.length.tolist())) > 1


@pytest.mark.parametrize(("penalty", "turns"), [(0.0, 2), (1.0, 3), (-1.0, 2)])
def test_ends_when_no_live_one_can_win(penalty, turns):
    """What stopped second has p = 0.56; what lives has 0.7, 0.105, 0.01575, ... at the most."""
    first, later = np.log([[0.2, 0.7, 0.1], [0.8, 0.15, 0.05]])
    counted = []

    def step(carry, token):
        jax.debug.callback(lambda: counted.append(1))
        return carry, jnp.asarray(later)

    options = {"max_tokens": 40, "eos": 0, "length_penalty": penalty}
    found = jax.jit(functools.partial(search, step, num_beams=2, **options))((), first)
    jax.effects_barrier()
    assert len(counted) == turns
    expected = oracle.beam_search(lambda tokens: later if tokens else first, 2, 40, 0, penalty)
    assert_found(pick(found), expected[:1])


def test_what_cannot_be_is_not_there():
    """A dead end, what is forbidden and would lead to NaN; and of equals each stands once."""
    first = np.array([0.0, 0.0, -np.inf, 0.0])
    after = np.array([[0.0, 0.0, -np.inf, -np.inf], [-np.inf] * 4, [np.nan] * 4, [0.0] * 4])
    options = {"max_tokens": 3, "eos": 3, "forbidden": [2]}

    def step(carry, token):
        return carry, jnp.asarray(after)[token]

    found = jax.jit(functools.partial(search, step, num_beams=4, num_return=4, **options))(
        (), first
    )
    expected = oracle.exhaustive(lambda said: after[said[-1]] if said else first, **options)
    assert_found(pick(found), expected)
    assert len(expected) == 3


def test_no_token_is_possible():
    """Nor is NaN, which sorts before or behind all numbers by its sign."""
    assert (log_softmax(jnp.full((2, 3), -jnp.inf)) == -jnp.inf).all()
    half = log_softmax(jnp.array([[0.0, -jnp.inf, 0.0]], jnp.bfloat16))
    assert_close(half, np.array([[-np.log(2), -np.inf, -np.log(2)]], np.float32), 1e-6)


def simple_step(carry, token):
    return carry, jnp.zeros(3)


@pytest.mark.parametrize(
    ("step", "logits", "options", "error", "message"),
    [
        (
            simple_step,
            3,
            {"num_beams": 4},
            ValueError,
            "search: expected num_beams from 1 to the 3 tokens .* got 4",
        ),
        (
            simple_step,
            3,
            {"num_beams": 0},
            ValueError,
            "num_beams: expected a whole .* got 0",
        ),
        (simple_step, 3, {"num_return": 3}, ValueError, "num_return from 1 to num_beams, 2, got 3"),
        (
            simple_step,
            3,
            {"num_return": 0},
            ValueError,
            "num_return: expected a whole .* got 0",
        ),
        (
            simple_step,
            3,
            {"max_tokens": 0},
            ValueError,
            "max_tokens: expected a whole .* got 0",
        ),
        (simple_step, 3, {"length_penalty": np.nan}, ValueError, "finite length_penalty, got nan"),
        (simple_step, 3, {"eos": 3}, ValueError, r"search: expected ids from 0 to 2.* got \[3\]"),
        (simple_step, 3, {"forbidden": [-1]}, ValueError, r"search: expected ids.* got \[-1\]"),
        (simple_step, 3, {"forbidden": [0, 1, 2]}, ValueError, "search: .* got all 3 forbidden"),
        (simple_step, (2, 3), {}, TypeError, r"as floats \[V\], got float64\[2,3\]"),
        (simple_step, 2, {}, TypeError, r"float64\[2\]\), got .*float64\[3\]"),
    ],
)
def test_wrong_input_to_search(step, logits, options, error, message):
    with pytest.raises(error, match=message):
        search(step, (), jnp.zeros(logits), **{"num_beams": 2, "max_tokens": 4, **options})


@pytest.mark.parametrize(
    ("layer", "prompt", "options", "error", "message"),
    [
        (recur.gru(3), PROMPTS[0], {}, TypeError, "beam_search: expected a layer, got Cell"),
        (BACKWARDS, PROMPTS[0], {}, ValueError, "beam_search: expected a causal layer"),
        (LAYER, PROMPTS[0] * 1.0, {}, TypeError, "beam_search: expected a prompt of integer"),
        (LAYER, PROMPTS, {}, ValueError, r"beam_search: .* of shape \[T\] .* got \[3, 4\]"),
        (LAYER, PROMPTS[0], {"length": 5}, ValueError, "beam_search: .* from 1 to 4, got 5"),
        (
            LAYER,
            PROMPTS[0],
            {"num_beams": 13},
            ValueError,
            "beam_search: .* to the 12 tok",
        ),
    ],
)
def test_wrong_input_to_beam_search(layer, prompt, options, error, message):
    given = {"num_beams": 2, "max_tokens": 4, "context": {"bias": BIASES[0]}, **options}
    with pytest.raises(error, match=message):
        beam_search(layer, TABLE, prompt, **given)


def test_ids_outside_the_vocabulary_are_named_where_they_are_known():
    bigrams = recur.chain(lambda token: jnp.eye(4)[token])
    for prompt in ([4], [0, -1]):
        with pytest.raises(
            ValueError, match="beam_search: expected a prompt of ids from 0 to 3, g"
        ):
            beam_search(bigrams, ((),), jnp.array(prompt), num_beams=2, max_tokens=2)
