import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

import recur
from recur.decode import (
    argmax,
    categorical,
    free_running,
    inverse_sigmoid_decay,
    scheduled_sampling,
    teacher_forcing,
)
from recur_tests.helpers import assert_close, weighted_sum

SIZE, FEATURES, STEPS, ROWS = 7, 4, 12, 4
DRAWS = np.random.default_rng(0)
PARAMS = {
    "embedding": DRAWS.standard_normal((SIZE, FEATURES)),
    "recurrent": DRAWS.standard_normal(FEATURES),
    "out": 3 * DRAWS.standard_normal((FEATURES, SIZE - 1)),
}
TOKENS = DRAWS.integers(0, SIZE, (ROWS, STEPS)).astype(np.int32)
CONTEXT = {"bias": DRAWS.standard_normal((ROWS, FEATURES))}
VALID = DRAWS.random((ROWS, STEPS)) < 0.8
RESET = DRAWS.random((ROWS, STEPS)) < 0.2
LENGTHS = np.array([12, 12, 7, 0], np.int32)
SHOWN = 100.0
KEY = jax.random.key(0)


def bind(params, token, context, key):
    mask = jnp.ones(FEATURES) if key is None else jax.random.uniform(key, (FEATURES,))
    return {**params, "bias": context["bias"], "mask": mask}


def step(bound, h, token):
    x = jnp.take(bound["embedding"], token, axis=0)  # NaN outside the vocabulary
    h = jnp.tanh(x + bound["recurrent"] * h + bound["bias"])
    logits = (h * bound["mask"]) @ bound["out"]
    return h, jnp.append(logits, token.astype(logits.dtype) - SHOWN)


def init_carry(bound, token):
    return jnp.zeros(FEATURES)


# The last logit is never chosen, and shows which token was read.
LAYER = recur.scan(recur.cell(lambda key, token: None, init_carry, step, bind))
BATCH = recur.batch(LAYER)


def read_of(logits, valid):
    return np.where(valid, np.asarray(logits[..., -1]) + SHOWN, 0).astype(np.int32)


def by_hand(logits, valid, reset):
    """What may be read of one row: the teacher's token, or what was chosen last; -1 for none."""
    chosen, last = [], -1
    for t in range(STEPS):
        last = -1 if reset[t] else last
        chosen.append(last)
        last = int(np.argmax(logits[t])) if valid[t] else last
    return np.array(chosen)


@pytest.mark.parametrize("rate", [None, 0.5])
def test_reads_what_it_chose_or_what_the_teacher_says(rate):
    """With holes, resets, padding and rows; what stands where it is not read never matters."""
    way = free_running if rate is None else functools.partial(scheduled_sampling, rate=rate)
    key = None if rate is None else jax.random.key(1)
    marks = {"length": LENGTHS, "mask": VALID, "reset": RESET, "context": CONTEXT}
    run = jax.jit(functools.partial(way, BATCH, choose=argmax))
    valid = VALID & (np.arange(STEPS) < LENGTHS[:, None])
    dirty = np.where(valid, TOKENS, 10**6)
    logits = np.asarray(run(PARAMS, dirty, **marks, key=key))
    read = read_of(logits, valid)
    teacher = functools.partial(teacher_forcing, BATCH, PARAMS, **marks, key=key)
    assert_close(jax.jit(teacher)(read), logits)
    assert not logits[~valid].any()
    chosen = np.stack([by_hand(*row) for row in zip(logits, VALID, RESET, strict=True)])
    own, taught = (read == chosen)[valid], (read == TOKENS)[valid]
    first = (chosen < 0)[valid]
    assert taught[first].all() and 3 < first.sum() < valid.sum() - 5
    if rate is None:
        assert own[~first].all() and not taught[~first].all()
    else:
        assert (own | taught)[~first].all()
        assert not own[~first].all() and not taught[~first].all()


def test_rates_of_one_and_zero_are_teacher_forcing_and_free_running():
    """In values and gradients, with a mask drawn once a sequence and a carry to start from."""
    key = jax.random.key(4)
    given = {"length": LENGTHS, "context": CONTEXT, "key": key}
    carry = np.ones((ROWS, FEATURES))

    def differentiate(way):
        def total(params, tokens, **options):
            logits = way(BATCH, params, tokens, carry=carry, **given, **options)
            return weighted_sum(logits), logits

        return jax.jit(jax.value_and_grad(total, has_aux=True))

    scheduled = differentiate(scheduled_sampling)
    dirty = np.where(np.arange(STEPS) < LENGTHS[:, None], TOKENS, 10**6)
    expected = differentiate(teacher_forcing)(PARAMS, TOKENS)
    assert_close(scheduled(PARAMS, dirty, rate=1.0), expected)
    draw = functools.partial(free_running, BATCH, choose=categorical, carry=carry, **given)
    free = jax.jit(draw)(PARAMS, dirty)
    (_, logits), gradient = scheduled(PARAMS, dirty, rate=0.0)
    assert_close(logits, free)
    assert abs(logits[0] - expected[0][1][0]).max() > 1
    read = read_of(logits, np.arange(STEPS) < LENGTHS[:, None])
    assert_close(gradient, scheduled(PARAMS, read, rate=1.0)[1])  # none flows through choices


def test_a_sequence_alone():
    given = {"context": {"bias": CONTEXT["bias"][0]}, "length": 9}
    logits = np.asarray(jax.jit(functools.partial(free_running, LAYER, **given))(PARAMS, TOKENS[0]))
    read = np.append(TOKENS[0, :1], logits[:-1].argmax(-1)).astype(np.int32)
    expected = jax.jit(functools.partial(teacher_forcing, LAYER, **given))(PARAMS, read)
    assert_close(expected, logits)
    assert not logits[9:].any() and logits[8].any()


def test_rows_on_two_devices():
    def run(tokens, context):
        return free_running(BATCH, PARAMS, tokens, context=context)

    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
    split = PartitionSpec("rows")
    sharded = jax.jit(jax.shard_map(run, mesh=mesh, in_specs=split, out_specs=split))
    assert_close(np.asarray(sharded(TOKENS, CONTEXT)), np.asarray(jax.jit(run)(TOKENS, CONTEXT)))


def test_coins_and_draws_are_independent_of_each_other():
    """Between steps, between rows; the teacher says 4, and the decoder one of 0 to 3."""
    rows, steps, rate = 60, 201, 0.3
    logits = jnp.array([0.0, 0.0, 0.0, 0.0, -jnp.inf], jnp.float32)
    shows = recur.batch(recur.chain(lambda token: logits + token.astype(logits.dtype)))
    tokens = np.full((rows, steps), 4, np.int32)
    params = shows.init(KEY, tokens)
    run = jax.jit(functools.partial(scheduled_sampling, shows, params, rate=rate))
    read = np.asarray(run(tokens, key=KEY)[..., 1]).astype(int)
    assert (read[:, 0] == 4).all()
    taught = read[:, 1:] == 4

    def assert_share(flags, expected):
        assert abs(flags.mean() - expected) < 4.5 * np.sqrt(expected * (1 - expected) / flags.size)

    assert_share(taught, rate)
    for other in (np.roll(read, 1, axis=0)[:, 1:], np.roll(read, 1, axis=1)[:, 1:]):
        here, there = read[:, 1:], other
        assert_share((taught & (there == 4))[:, 1:], rate**2)
        both = (here < 4) & (there < 4)
        assert_share((here == there)[both], 1 / 4)
    for token in range(4):
        assert_share((read[:, 1:] == token)[~taught], 1 / 4)


def test_noise_is_on_when_there_is_a_key_and_fresh_at_each_step():
    def noisy(params, count, token, key=None):
        return count, jnp.zeros(3) if key is None else jax.random.normal(key, (3,))

    layer = recur.batch(recur.scan(recur.cell(lambda key, x: (), lambda p, x: (), noisy)))
    tokens = np.zeros((2, 5), np.int32)
    run = jax.jit(functools.partial(free_running, layer, ()))
    assert not run(tokens).any()
    assert len(np.unique(run(tokens, key=KEY))) == 30


def test_inverse_sigmoid_decay_is_the_equation():
    counts = np.array([0, 1, 10, 50, 200])
    for k in (1.0, 25.0):
        expected = k / (k + np.exp(counts / k))
        assert_close(jax.vmap(inverse_sigmoid_decay(k))(counts), expected)
    assert inverse_sigmoid_decay(2)(10**6) == 0


BACKWARDS = recur.scan(recur.gru(3), reverse=True)


@pytest.mark.parametrize(
    "way", [teacher_forcing, free_running, functools.partial(scheduled_sampling, rate=0.5)]
)
@pytest.mark.parametrize(
    ("layer", "tokens", "options", "error", "message"),
    [
        (recur.gru(3), TOKENS[0], {}, TypeError, "expected a layer, got Cell"),
        (BACKWARDS, TOKENS[0], {}, ValueError, "expected a causal layer"),
        (LAYER, TOKENS[0] * 1.0, {}, TypeError, "expected integer tokens, got float64"),
        (LAYER, TOKENS, {}, ValueError, r"tokens of shape \[T\] .* got \[4, 12\]. Use recur.batch"),
        (BATCH, TOKENS[0], {}, ValueError, r"tokens of shape \[B, T\] .* got \[12\]"),
        (LAYER, TOKENS[0], {"length": 13}, ValueError, "from 0 to 12, the number of steps, got 13"),
        (BATCH, TOKENS, {"length": [1, 13, 2, 3]}, ValueError, "length of row 1: .* got 13"),
        (
            BATCH,
            TOKENS,
            {"mask": VALID[:2]},
            ValueError,
            r"mask: .* \[4, 12\], got \[2, 12\]",
        ),
        (BATCH, TOKENS, {"carry": np.zeros((4, 2))}, ValueError, r"expected float64\[4\].*\[2\]"),
    ],
)
def test_wrong_input(way, layer, tokens, options, error, message):
    bias = CONTEXT["bias"] if layer is BATCH else CONTEXT["bias"][0]
    with pytest.raises(error, match=message):
        way(layer, PARAMS, tokens, context={"bias": bias}, key=KEY, **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (functools.partial(scheduled_sampling, rate=1.5, key=KEY), ValueError, "rate from 0.*1.5"),
        (functools.partial(scheduled_sampling, rate=-0.1, key=KEY), ValueError, "got -0.1"),
        (
            functools.partial(scheduled_sampling, rate=np.ones(3), key=KEY),
            TypeError,
            r"rate: expected one number, got float64\[3\]",
        ),
        (functools.partial(scheduled_sampling, rate=0.5, key=None), TypeError, "a typed key, got"),
        (functools.partial(free_running, choose=categorical), TypeError, "a typed key to sample"),
        (
            lambda *_, **__: inverse_sigmoid_decay(0.5),
            ValueError,
            "k as a number of at least 1, got 0.5",
        ),
    ],
)
def test_wrong_choices(call, error, message):
    with pytest.raises(error, match=message):
        call(BATCH, PARAMS, TOKENS, context=CONTEXT)


@pytest.mark.parametrize("feed", [teacher_forcing, free_running, scheduled_sampling])
def test_ids_below_0_are_named_where_they_are_known_and_read(feed):
    counter = recur.chain(lambda token: jax.nn.one_hot((token + 1) % 5, 5))
    options = {"rate": 0.5, "key": KEY} if feed is scheduled_sampling else {}
    tokens = np.array([1, -1, 2])
    first = tokens[1:]
    with pytest.raises(ValueError, match=f"{feed.__name__}: expected tokens of at least 0, got -1"):
        feed(counter, ((),), first, **options)
    assert feed(counter, ((),), first, mask=first >= 0, **options).shape == (2, 5)
    if feed is free_running:  # only what is read matters
        assert feed(counter, ((),), tokens).argmax(-1).tolist() == [2, 3, 4]
        with pytest.raises(ValueError, match="got -1 at step 1"):
            feed(counter, ((),), tokens, reset=tokens < 0)
