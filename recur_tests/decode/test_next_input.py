"""Decoders of inputs that are not tokens: `next_input` of `generate` and the ways to feed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import AxisType, PartitionSpec

import recur
from recur.decode import (
    argmax,
    bernoulli,
    categorical,
    free_running,
    gaussian,
    gaussian_mixture,
    generate,
    scheduled_sampling,
)
from recur_tests.helpers import assert_close, counting_compilations, random_like, weighted_sum

WIDTH, FEATURES, STEPS, ROWS = 2, 4, 9, 3
DRAWS = np.random.default_rng(0)
PARAMS = {
    "kernel": DRAWS.standard_normal((WIDTH, FEATURES)),
    "pen": DRAWS.standard_normal(FEATURES),
    "recurrent": DRAWS.standard_normal((FEATURES, FEATURES)),
    "out": DRAWS.standard_normal((FEATURES, WIDTH)),
}
XS = {
    "move": DRAWS.standard_normal((ROWS, STEPS, WIDTH)),
    "pen": DRAWS.integers(0, 2, (ROWS, STEPS)).astype(np.int8),
}
CONTEXT = {"bias": DRAWS.standard_normal((ROWS, FEATURES))}
VALID = np.array([[0, 1, 1, 0, 1, 0, 1, 1, 1], [1, 1, 0, 0, 1, 1, 1, 1, 1], [1] * 9], bool)
RESET = np.array([[0, 1, 0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0, 0, 0, 0], [0] * 9], bool)
LENGTHS = np.array([9, 5, 0], np.int32)
KEY = jax.random.key(0)


def step(bound, h, x):
    """A pen stroke is read, and the parameters of the next one are the outputs."""
    pushed = x["move"] @ bound["kernel"] + x["pen"].astype(h.dtype) * bound["pen"]
    h = jnp.tanh(pushed + h @ bound["recurrent"] + bound["bias"])
    return h, {"mean": h @ bound["out"], "pen": h[0] - h[1]}


def next_stroke(y, key):
    del key
    return {"move": jnp.sin(3 * y["mean"]), "pen": y["pen"] > 0}


LAYER = recur.scan(
    recur.cell(
        lambda key, x: None,
        lambda bound, x: jnp.zeros(FEATURES),
        step,
        lambda params, x, context, key: {**params, "bias": context["bias"]},
    )
)
BATCH = recur.batch(LAYER)


def by_hand(xs, bias, valid, reset, h=None, steps=0):
    """One row in NumPy: outputs of all steps of xs, then `steps` inputs generated after them."""
    none = np.zeros(FEATURES)
    h, own, ys, made = none if h is None else h, None, [], []
    for t in range(len(valid) + steps):
        given = t < len(valid)
        if given and reset[t]:
            h, own = none, None
        if given and not valid[t]:
            ys.append({"mean": np.zeros(WIDTH), "pen": 0.0})
            continue
        if steps:
            x = {name: leaf[t] for name, leaf in xs.items()} if given else own
        else:
            x = {name: leaf[t] for name, leaf in xs.items()} if own is None else own
        if not given:
            made.append(x)
        pushed = x["move"] @ PARAMS["kernel"] + x["pen"] * PARAMS["pen"]
        h = np.tanh(pushed + h @ PARAMS["recurrent"] + bias)
        ys.append({"mean": h @ PARAMS["out"], "pen": h[0] - h[1]})
        own = {"move": np.sin(3 * ys[-1]["mean"]), "pen": np.int8(ys[-1]["pen"] > 0)}
    found = made if steps else ys
    return {name: np.stack([each[name] for each in found]) for name in found[0]}


def stacked(rows):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


def test_free_running_equals_a_loop_in_numpy():
    """With holes, resets, padding, rows, and NaN where the given inputs are not read."""
    marks = {"length": LENGTHS, "mask": VALID, "reset": RESET, "context": CONTEXT}
    valid = VALID & (np.arange(STEPS) < LENGTHS[:, None])
    dirty = {**XS, "move": np.where(valid[..., None], XS["move"], np.nan)}
    run = functools.partial(free_running, BATCH, next_input=next_stroke)
    found = jax.jit(run)(PARAMS, dirty, **marks)
    rows = zip(range(ROWS), CONTEXT["bias"], valid, RESET, strict=True)
    expected = [by_hand({k: v[row] for k, v in XS.items()}, *rest) for row, *rest in rows]
    assert_close(found, stacked(expected))
    assert_close(run(PARAMS, dirty, **marks), found)


def test_gradients_flow_through_the_next_inputs():
    """They equal those of a Python loop over single steps, with NaN in the padding."""
    length = 6
    bias = {"bias": CONTEXT["bias"][0]}
    xs = {name: leaf[0] for name, leaf in XS.items()}
    dirty = {**xs, "move": np.where(np.arange(STEPS)[:, None] < length, xs["move"], np.nan)}

    def looped(params, move):
        x = {"move": move[:1], "pen": jnp.asarray(xs["pen"][:1])}
        carry, ys = None, []
        for _ in range(length):
            carry, y = LAYER.run(params, x, carry=carry, context=bias)
            ys.append(y)
            made = jax.vmap(lambda y: next_stroke(y, None))(y)
            x = {"move": made["move"], "pen": made["pen"].astype(jnp.int8)}
        return weighted_sum(jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *ys))

    def ran(params, move):
        options = {"length": length, "context": bias, "next_input": next_stroke}
        ys = free_running(LAYER, params, {**dirty, "move": move}, **options)
        return weighted_sum(jax.tree.map(lambda leaf: leaf[:length], ys))

    expected = jax.jit(jax.value_and_grad(looped, (0, 1)))(PARAMS, xs["move"])
    found = jax.jit(jax.value_and_grad(ran, (0, 1)))(PARAMS, dirty["move"])
    assert_close(found, expected)
    assert found[1][1][0].any() and not found[1][1][1:].any()  # only the first is read


def test_generate_equals_a_loop_in_numpy():
    """From prompts of several lengths with NaN in the padding, and from a carry."""
    lengths = np.array([9, 5, 1], np.int32)
    valid = np.arange(STEPS) < lengths[:, None]
    dirty = {**XS, "move": np.where(valid[..., None], XS["move"], np.nan)}
    carry = DRAWS.standard_normal((ROWS, FEATURES))
    run = functools.partial(generate, BATCH, next_input=next_stroke, steps=7)
    given = {"context": CONTEXT, "length": lengths, "carry": carry}
    found = jax.jit(run)(PARAMS, dirty, **given)
    assert found["pen"].dtype == np.int8 and found["move"].shape == (ROWS, 7, WIDTH)
    expected = []
    for row, length in enumerate(lengths):
        xs = {name: leaf[row, :length] for name, leaf in XS.items()}
        marks = np.ones(length, bool), np.zeros(length, bool)
        expected.append(by_hand(xs, CONTEXT["bias"][row], *marks, carry[row], steps=7))
    assert_close(found, stacked(expected))
    assert_close(run(PARAMS, dirty, **given), found)


def test_gradients_flow_through_what_is_generated():
    """Those of the mean fed back, against differences."""
    double = {"param_dtype": jnp.float64}
    layer = recur.chain(recur.scan(recur.elman(3, **double)), nn.Dense(2, **double))
    prompt = DRAWS.standard_normal((4, 2))
    params = random_like(jax.eval_shape(layer.init, KEY, prompt), 2)

    @jax.jit
    def total(prompt):
        return weighted_sum(generate(layer, params, prompt, next_input=lambda y, _: y, steps=5))

    gradient = jax.jit(jax.grad(total))(prompt)
    for place in np.ndindex(prompt.shape):
        moved = np.zeros_like(prompt)
        moved[place] = 1e-6
        difference = (total(prompt + moved) - total(prompt - moved)) / 2e-6
        assert abs(gradient[place] - difference) < 1e-8


TOKENS = np.array([[1, 2, 3], [4, 5, 0]], np.int32)
WORDS = recur.batch(recur.chain(nn.Embed(6, 4), recur.scan(recur.gru(5)), nn.Dense(6)))


@pytest.mark.parametrize("choose", [argmax, categorical])
def test_choosers_are_next_inputs_too(choose):
    params = random_like(jax.eval_shape(WORDS.init, KEY, TOKENS), 1, scale=2.0)
    given = {"key": KEY, "length": np.array([3, 2])}
    tokens = generate(WORDS, params, TOKENS, max_tokens=6, choose=choose, **given).tokens
    found = generate(WORDS, params, TOKENS, steps=6, next_input=choose, **given)
    np.testing.assert_array_equal(found, tokens)
    logits = free_running(WORDS, params, TOKENS, choose=choose, **given)
    assert_close(free_running(WORDS, params, TOKENS, next_input=choose, **given), logits)


def test_each_row_has_its_own_key():
    layer = recur.chain(recur.scan(recur.elman(3)), nn.Dense(4), lambda y: jnp.split(y, 2, -1))
    prompt = np.float32(DRAWS.standard_normal((2, 3, 2)))
    params = random_like(jax.eval_shape(layer.init, KEY, prompt[0]), 2)
    run = functools.partial(generate, next_input=gaussian(), steps=5)
    found = run(recur.batch(layer), params, prompt, key=KEY)
    for row, key in enumerate(jax.random.split(KEY, 2)):
        assert_close(run(layer, params, prompt[row], key=key), found[row], 1e-5)
    many = run(recur.batch(layer), params, np.repeat(prompt[:1], 2, axis=0), key=KEY)
    assert len(np.unique(many)) == many.size


def test_scheduled_sampling_is_in_between():
    """A rate of 1 is a call of the layer, a rate of 0 is free running."""
    given = {"context": CONTEXT, "key": KEY, "length": LENGTHS}
    run = functools.partial(scheduled_sampling, BATCH, PARAMS, XS, next_input=next_stroke, **given)
    assert_close(run(rate=1.0), BATCH(PARAMS, XS, **given))
    assert_close(run(rate=0.0), free_running(BATCH, PARAMS, XS, next_input=next_stroke, **given))


def test_what_is_returned_is_cast_to_the_inputs():
    """A roll of int8 stays int8; floats of 16 bits are sampled in float32."""
    rolls = recur.chain(lambda x: x.astype(jnp.float32), recur.scan(recur.elman(3)))
    for dtype, next_input in [(np.int8, bernoulli()), (jnp.bfloat16, lambda y, key: y)]:
        prompt = jnp.ones((2, 3), dtype)
        params = rolls.init(KEY, prompt)
        options = {"next_input": next_input, "key": KEY}
        assert generate(rolls, params, prompt, steps=4, **options).dtype == dtype
        assert free_running(rolls, params, prompt, **options).dtype == np.float32


DENSITIES = {
    "bernoulli": (bernoulli, 2, lambda y: y),
    "gaussian": (gaussian, 4, lambda y: jnp.split(y, 2, -1)),
    "gaussian_mixture": (
        gaussian_mixture,
        15,
        lambda y: (y[..., :3], *jnp.split(y[..., 3:].reshape(*y.shape[:-1], 6, 2), 2, -2)),
    ),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_is_compiled_once(name):
    """For all temperatures, keys and params."""
    make, width, split = DENSITIES[name]
    layer = recur.batch(recur.chain(recur.scan(recur.elman(3)), nn.Dense(width), split))
    prompt = np.ones((2, 3, 2), np.float32)
    params = layer.init(KEY, prompt)

    def run(n):
        options = {"next_input": make(0.5 + n), "key": jax.random.key(n)}
        generate(layer, params, prompt, steps=4, **options)
        free_running(layer, params, prompt, **options)
        scheduled_sampling(layer, params, prompt, rate=n / 9, **options)

    run(0)
    with counting_compilations() as compiled:
        run(1)
        run(2)
    assert not compiled
    assert make(0.5) == make(0.5) and hash(make(0.5)) == hash(make(0.5))


def test_rows_on_two_devices():
    def run(xs, context):
        made = generate(BATCH, PARAMS, xs, next_input=next_stroke, steps=3, context=context)
        return made, free_running(BATCH, PARAMS, xs, next_input=next_stroke, context=context)

    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
    split = PartitionSpec("rows")
    given = jax.tree.map(lambda leaf: leaf[:2], (XS, CONTEXT))
    sharded = jax.jit(jax.shard_map(run, mesh=mesh, in_specs=split, out_specs=split))
    assert_close(jax.device_get(sharded(*given)), jax.device_get(jax.jit(run)(*given)))
