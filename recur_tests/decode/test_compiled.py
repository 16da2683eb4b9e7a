"""Outside of `jax.jit` decoding is compiled once; the layer is bound once, before the loop."""

import functools
import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.decode import (
    beam_search,
    forbid,
    free_running,
    generate,
    scheduled_sampling,
    search,
    temperature,
    top_k,
    top_p,
)
from recur_tests.helpers import assert_close, counting_compilations, inner_jaxprs, random_like

LAYER = recur.batch(recur.chain(nn.Embed(6, 4), recur.scan(recur.gru(5)), nn.Dense(6)))
TOKENS = np.array([[1, 2, 3], [4, 5, 0]], np.int32)
LENGTHS = np.array([3, 2], np.int32)
RULES = {"max_tokens": 4, "min_tokens": 1, "eos": 0}


def choosers(value):
    """Each made again at each call, with another number."""
    return [
        temperature(value),
        top_p(value),
        top_k(3, temperature(value)),
        forbid([2], top_p(value, temperature(value))),
        forbid(np.array([1]), top_k(np.int64(2))),
    ]


@pytest.fixture(scope="module")
def params():
    with jax.enable_x64(True):
        shapes = jax.eval_shape(LAYER.init, jax.random.key(0), TOKENS)
        return random_like(shapes, 1, scale=2.0)


def step(last, token):
    return token, jnp.zeros(4).at[token].set(1.0)


WAYS = {
    "generate": lambda p, n: [
        generate(LAYER, p, TOKENS, length=LENGTHS, choose=c, key=jax.random.key(n), **RULES)
        for c in choosers(0.5 + n / 10)
    ],
    "beam_search": lambda p, n: beam_search(
        LAYER, p, TOKENS, num_beams=3, length_penalty=n / 10, forbidden=[3], **RULES
    ),
    "search": lambda p, n: search(
        step, jnp.asarray(0, jnp.int32), jnp.zeros(4), num_beams=2, length_penalty=n / 10, **RULES
    ),
    "free_running": lambda p, n: [
        free_running(LAYER, p, TOKENS, length=LENGTHS, choose=c, key=jax.random.key(n))
        for c in choosers(0.5 + n / 10)
    ],
    "scheduled_sampling": lambda p, n: scheduled_sampling(
        LAYER, p, TOKENS, rate=n / 10, key=jax.random.key(n)
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_is_compiled_once(params, way):
    WAYS[way](params, 0)
    with counting_compilations() as compiled:
        for number in range(1, 4):
            WAYS[way](params, number)
    assert not compiled


def test_programs_do_not_keep_a_layer_alive():
    layer = recur.chain(lambda token: jax.nn.one_hot(token, 4))
    params = layer.init(jax.random.key(0), TOKENS[0])
    generate(layer, params, TOKENS[0], max_tokens=2, key=jax.random.key(0))
    reference = weakref.ref(layer)
    del layer
    gc.collect()
    assert reference() is None


def test_any_callable_may_be_searched():
    """Without a hash, too, as a module of arrays."""

    class Step:
        __hash__ = None

        def __call__(self, last, token):
            return step(last, token)

        def bound(self, last, token):
            return step(last, token)

    given = (jnp.asarray(0, jnp.int32), jnp.zeros(4))
    expected = search(step, *given, num_beams=2, max_tokens=3)
    for other in (Step(), functools.partial(step), Step().bound):
        assert_close(search(other, *given, num_beams=2, max_tokens=3), expected)


def test_equal_choosers_are_equal_values():
    for first, second in zip(choosers(0.7), choosers(0.7), strict=True):
        assert first == second and hash(first) == hash(second)
    assert temperature(0.7) != temperature(0.8) != top_p(0.8)
    assert "0.7" in repr(top_k(5, temperature(0.7)))


def test_numbers_of_choosers_may_be_traced_and_known_arrays_in_jit():
    logits, key = jnp.log(jnp.array([0.5, 0.3, 0.2])), jax.random.key(0)
    for make in (temperature, top_p, lambda value: top_k(2, temperature(value))):
        expected = make(0.6)(logits, key)
        assert jax.jit(lambda value, make=make: make(value)(logits, key))(0.6) == expected
        known = jnp.asarray(0.6)
        assert jax.jit(lambda x, make=make, known=known: make(known)(x, key))(logits) == expected


def test_the_same_as_in_jit(params):
    given = {"choose": top_k(3, temperature(0.8)), "key": jax.random.key(2), **RULES}
    found = generate(LAYER, params, TOKENS, length=LENGTHS, **given)
    known = jnp.asarray(LENGTHS)
    jitted = jax.jit(lambda params: generate(LAYER, params, TOKENS, length=known, **given))(params)
    assert_close(found, jitted, 0)


def test_small_integers_do_not_wrap():
    """The layer counts up; tokens of its vocabulary do not fit the dtype of the prompt."""
    counter = recur.chain(lambda token: jax.nn.one_hot((token + 1) % 300, 300))
    greedy = {"max_tokens": 10, "choose": recur.decode.argmax}
    for dtype in (np.uint8, np.int16, np.int32, np.int64):
        prompt, expected = np.array([250], dtype), list(range(251, 261))
        params = counter.init(jax.random.key(0), prompt)
        assert generate(counter, params, prompt, **greedy).tokens.tolist() == expected
        found = beam_search(counter, params, prompt, num_beams=2, max_tokens=10)
        assert found.tokens[0].tolist() == expected
        logits = free_running(counter, params, np.repeat(prompt, 10))
        assert logits.argmax(-1).tolist() == expected


# --- Attention -----------------------------------------------------------------------------------

SIZE, ROWS, WIDTH = 13, 7, 11  # of the memory, of its rows, and in which they are compared
ATTENTION = recur.attend(recur.gru(5), "memory", query="state", features=WIDTH)
DECODER = recur.chain(nn.Embed(6, 4), recur.scan(ATTENTION), lambda y: y.output, nn.Dense(6))
DECODERS = {"alone": DECODER, "batched": recur.batch(DECODER)}


def projections(jaxpr, in_loop=False):
    """For each product that projects a memory, whether it is inside of a loop."""
    for equation in jaxpr.eqns:
        shape = equation.outvars[0].aval.shape
        if equation.primitive.name == "dot_general" and {SIZE, WIDTH} <= {*shape}:
            yield in_loop
        loops = in_loop or equation.primitive.name in ("while", "scan")
        for inner in inner_jaxprs(equation):
            yield from projections(inner, loops)


LOOPS = {
    "generate": lambda key, *given, **context: generate(*given, key=key, **RULES, **context),
    "generate inputs": lambda key, *given, **context: generate(
        *given, key=key, next_input=recur.decode.categorical, steps=4, **context
    ),
    "beam_search": lambda key, *given, **context: beam_search(
        *given, num_beams=3, **RULES, **context
    ),
    "free_running": lambda key, *given, **context: free_running(*given, key=key, **context),
    "scheduled_sampling": lambda key, *given, **context: scheduled_sampling(
        *given, rate=0.5, key=key, **context
    ),
}


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_memory_is_projected_once(name, loop):
    decoder, is_batched = DECODERS[name], name == "batched"
    tokens = jnp.asarray(TOKENS if is_batched else TOKENS[0])
    memory = jnp.ones((2, SIZE, ROWS) if is_batched else (SIZE, ROWS), jnp.float32)
    context = {"memory": memory}
    params = jax.eval_shape(decoder.init, jax.random.key(0), tokens, context)

    def run(params, context, key):
        return LOOPS[loop](key, decoder, params, tokens, context=context)

    jaxpr = jax.make_jaxpr(run)(params, context, jax.random.key(0)).jaxpr
    assert list(projections(jaxpr)) == [False]
