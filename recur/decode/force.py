"""Teacher forcing, free running and scheduled sampling: how to feed a decoder in training.

All are functions `(layer, params, tokens) -> logits` with the options of a layer. They are
interchangeable, except that `scheduled_sampling` needs `rate` and `key`. `tokens` are the inputs of
the decoder under teacher forcing: the beginning-of-sequence token, then all targets but the last.
With `next_input` they are any inputs; teacher forcing is then a call of the layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur.arrays import check_one_number
from recur.checks import is_number, known_value
from recur.decode.compiled import call_compiled
from recur.decode.feed import feed
from recur.decode.next_input import NextInput, check_decoder_inputs, make_next_input
from recur.decode.prompt import check_tokens
from recur.decode.sample import Chooser, argmax, categorical
from recur.ids import check_known_ids
from recur.keys import check_key
from recur.layer import Layer, check_context
from recur.masks import make_mask
from recur.types import Carry, Context, Mask, Params


def teacher_forcing(
    layer: Layer,
    params: Params,
    tokens: jax.Array,
    *,
    carry: Carry = None,
    context: Context = None,
    length: Any = None,
    mask: Any = None,
    reset: Any = None,
    key: jax.Array | None = None,
) -> jax.Array:
    """Runs a decoder with teacher forcing: it reads the given tokens, not its own choices.

        logits_t = layer(tokens_t | tokens_{1..t-1})

    Args:
      layer: a causal layer from int tokens to logits `[T, V]`, batched or not.
      params: the params of the layer.
      tokens: integer `[T]`, or `[B, T]` of a batched layer, at least 0; tokens at masked steps have
        no effect. They are not checked inside a JAX transformation, and never against the size of
        the layer's vocabulary.
      carry: the carry to start from; the initial carry by default.
      context: the context of the layer.
      length: as in a call of the layer.
      mask: as in a call of the layer.
      reset: as in a call of the layer.
      key: a typed key, which turns on the noise of the layer, such as dropout.

    Returns:
      Logits `[T, V]` or `[B, T, V]`, zero at masked steps.

    Raises:
      TypeError: if `layer` is not a layer, or the tokens are not integers.
      ValueError: if the layer is not causal, shapes do not match, or a token is below 0.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.decode import teacher_forcing
      >>> counter = recur.chain(lambda token: jax.nn.one_hot((token + 1) % 5, 5))
      >>> tokens = jnp.array([0, 3, 1])
      >>> params = counter.init(jax.random.key(0), tokens)
      >>> teacher_forcing(counter, params, tokens).argmax(-1).tolist()
      [1, 4, 2]

    References:
      Williams & Zipser 1989, A Learning Algorithm for Continually Running Fully Recurrent Neural
      Networks, https://doi.org/10.1162/neco.1989.1.2.270
    """
    otherwise = " For inputs that are not tokens, call the layer."
    tokens = check_tokens(layer, tokens, "integer tokens", "teacher_forcing", otherwise)
    mask = _make_mask(layer, tokens, length, mask, reset).valid
    check_known_ids("teacher_forcing", "tokens", tokens, None, mask=mask)
    return layer(params, tokens, carry=carry, context=context, mask=mask, reset=reset, key=key)


def free_running(
    layer: Layer,
    params: Params,
    tokens: Any,
    *,
    choose: Chooser = argmax,
    next_input: NextInput | None = None,
    carry: Carry = None,
    context: Context = None,
    length: Any = None,
    mask: Any = None,
    reset: Any = None,
    key: jax.Array | None = None,
) -> jax.Array:
    """Runs a decoder without teacher forcing: it reads inputs made from its own outputs.

        x_1 = tokens_1,    x_{t+1} = choose(logits_t),    logits_t = layer(x_t | x_{1..t-1})

    With `next_input` the inputs need not be tokens, nor the outputs logits:

        x_{t+1} = next_input(y_t, key_t),    y_t = layer(x_t | x_{1..t-1})

    It is `scheduled_sampling` with a rate of 0, except that it needs no key if the choice needs
    none. Gradients flow through `next_input`, but not through chosen tokens. Outside of `jax.jit`
    it is compiled once for each layer, shape and chooser. The layer is bound once, before the loop.

    Args:
      layer: a causal layer from int tokens to logits `[T, V]`, batched or not; with `next_input`,
        any causal layer.
      params: the params of the layer.
      tokens: as in `teacher_forcing`, or with `next_input` any inputs of the layer, a pytree of
        arrays `[T, ...]` or `[B, T, ...]`; only the first one, and the first one after each reset,
        are used.
      choose: a chooser, such as `argmax` or `top_k(5)`.
      next_input: `next_input(y, key) -> x` from the output of one step of one sequence, a pytree,
        to the next input, such as `gaussian()` or a function of your own. Every row and step has
        its own key, or None without `key`. x is cast to the dtypes of the inputs.
      carry: the carry to start from; the initial carry by default.
      context: the context of the layer.
      length: as in a call of the layer.
      mask: as in a call of the layer; the last chosen input is read at the next step that counts.
      reset: as in a call of the layer.
      key: a typed key to sample with, which also turns on the noise of the layer.

    Returns:
      Logits `[T, V]` or `[B, T, V]`, or with `next_input` the outputs of the layer; zero at masked
      steps.

    Raises:
      TypeError: if `layer` is not a layer, the tokens are not integers, `next_input` does not
        return an input of the layer, or a needed key is missing.
      ValueError: if the layer is not causal, shapes do not match, a token is below 0, or both
        `choose` and `next_input` are given.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.decode import free_running
      >>> counter = recur.chain(lambda token: jax.nn.one_hot((token + 1) % 5, 5))
      >>> tokens = jnp.array([0, 3, 1])
      >>> params = counter.init(jax.random.key(0), tokens)
      >>> free_running(counter, params, tokens).argmax(-1).tolist()
      [1, 2, 3]

      A layer that halves its input, and reads what it returned:

      >>> halve = recur.chain(lambda x: x / 2)
      >>> xs = jnp.array([8.0, 0.0, 0.0])
      >>> free_running(halve, ((),), xs, next_input=lambda y, key: y).tolist()
      [4.0, 2.0, 1.0]
    """
    caller, choice = "free_running", (choose, argmax, next_input)
    xs = check_decoder_inputs(caller, layer, tokens, "integer tokens", *choice)
    check_context(context)
    key = None if key is None else check_key(key)
    steps = _make_mask(layer, xs, length, mask, reset)
    if next_input is None:
        check_known_ids(caller, "tokens", xs, None, mask=_read_first(xs, steps))
    given = (layer, params, xs, choose, next_input, carry, context, steps, key)
    return call_compiled(_free_running, *given)


def _free_running(layer, params, xs, choose, next_input, carry, context, mask, key):
    next_input = make_next_input("free_running", layer, xs, choose, next_input)
    return feed(layer, params, xs, lambda coin: False, next_input, carry, context, mask, key)


def scheduled_sampling(
    layer: Layer,
    params: Params,
    tokens: Any,
    *,
    rate: float | jax.Array,
    choose: Chooser = categorical,
    next_input: NextInput | None = None,
    carry: Carry = None,
    context: Context = None,
    length: Any = None,
    mask: Any = None,
    reset: Any = None,
    key: jax.Array,
) -> jax.Array:
    """Runs a decoder with scheduled sampling: it reads given inputs or its own choices at random.

        x_1 = tokens_1,    x_{t+1} = tokens_{t+1} with probability rate, else choose(logits_t)
        logits_t = layer(x_t | x_{1..t-1})

    A rate of 1 is teacher forcing, a rate of 0 is free running. The rate decays during training:
    the three schedules of the paper are `inverse_sigmoid_decay`, `optax.linear_schedule` and
    `optax.exponential_decay`. Gradients flow through the layer and not through the chosen tokens,
    as in the paper; they flow through `next_input`, unless it stops them. The loss of
    `recur.train.make_step` does not receive the update count, so pass the rate as part of the
    batch.

    The key is split as in a call of the layer, so noise that is drawn once a sequence equals that
    of `teacher_forcing` with the same key. Each step of each row has its own random choice between
    given and chosen tokens, and its own sample.

    Args:
      layer: a causal layer from int tokens to logits `[T, V]`, batched or not; with `next_input`,
        any causal layer.
      params: the params of the layer.
      tokens: as in `teacher_forcing`, or with `next_input` any inputs of the layer, a pytree of
        arrays `[T, ...]` or `[B, T, ...]`.
      rate: the probability of a given token, from 0 to 1; it may be traced. The first token of the
        sequence, and the first one after each reset, are always the given ones.
      choose: a chooser, such as `argmax` or `top_k(5)`.
      next_input: `next_input(y, key) -> x`, as in `free_running`.
      carry: the carry to start from; the initial carry by default.
      context: the context of the layer.
      length: as in a call of the layer.
      mask: as in a call of the layer; the last chosen input is read at the next step that counts.
      reset: as in a call of the layer.
      key: a typed key for the random choices, which also turns on the noise of the layer.

    Returns:
      Logits `[T, V]` or `[B, T, V]`, or with `next_input` the outputs of the layer; zero at masked
      steps.

    Raises:
      TypeError: if `layer` is not a layer, the tokens are not integers, the rate is not one number,
        `choose` is not a function, `next_input` does not return an input of the layer, or the key
        is not a typed key.
      ValueError: if the layer is not causal, shapes do not match, the rate is not from 0 to 1, a
        token is below 0, or both `choose` and `next_input` are given.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.decode import argmax, scheduled_sampling
      >>> counter = recur.chain(lambda token: jax.nn.one_hot((token + 1) % 5, 5))
      >>> tokens, key = jnp.array([0, 3, 1]), jax.random.key(0)
      >>> params = counter.init(key, tokens)
      >>> for rate in (1.0, 0.0):
      ...     options = {"rate": rate, "key": key, "choose": argmax}
      ...     print(scheduled_sampling(counter, params, tokens, **options).argmax(-1).tolist())
      [1, 4, 2]
      [1, 2, 3]

    References:
      Bengio, Vinyals, Jaitly & Shazeer 2015, Scheduled Sampling for Sequence Prediction with
      Recurrent Neural Networks, https://arxiv.org/abs/1506.03099
    """
    caller, choice = "scheduled_sampling", (choose, categorical, next_input)
    xs = check_decoder_inputs(caller, layer, tokens, "integer tokens", *choice)
    check_context(context)
    _check_rate(rate)
    steps = _make_mask(layer, xs, length, mask, reset)
    if next_input is None:
        check_known_ids(caller, "tokens", xs, None, mask=steps.valid)
    given = (layer, params, xs, rate, choose, next_input, carry, context, steps, check_key(key))
    return call_compiled(_scheduled_sampling, *given)


def _scheduled_sampling(layer, params, xs, rate, choose, next_input, carry, context, mask, key):
    next_input = make_next_input("scheduled_sampling", layer, xs, choose, next_input)

    def uses_teacher(coin):
        return jax.random.bernoulli(coin, jnp.asarray(rate, jnp.float32))

    return feed(layer, params, xs, uses_teacher, next_input, carry, context, mask, key)


def _make_mask(layer, xs, length, mask, reset):
    flags = {"length": length, "mask": mask, "reset": reset}
    return make_mask(xs, **flags, batch_axes=layer.batch_axes)


def _read_first(tokens: jax.Array, steps: Mask) -> jax.Array:
    """Returns the steps at which free running reads a given token: the first, and resets."""
    valid = jnp.ones(tokens.shape, bool) if steps.valid is None else steps.valid
    first = valid & (valid.cumsum(-1) == 1)
    return first if steps.reset is None else first | (valid & steps.reset)


def inverse_sigmoid_decay(k: float) -> Callable[[Any], jax.Array]:
    """Makes the inverse sigmoid decay of the rate of `scheduled_sampling`.

        rate_i = k / (k + exp(i / k))

    It decays from k / (k + 1) to 0, and is 1/2 at i = k log k.

    Args:
      k: the time scale in updates, at least 1; the larger, the slower the decay.

    Returns:
      `schedule(count) -> rate`, as in Optax.

    Raises:
      ValueError: if k is not a finite number of at least 1.

    Example:
      >>> from recur.decode import inverse_sigmoid_decay
      >>> schedule = inverse_sigmoid_decay(1000)
      >>> [f"{schedule(update):.3f}" for update in (0, 6908, 20_000)]
      ['0.999', '0.500', '0.000']

    References:
      Bengio, Vinyals, Jaitly & Shazeer 2015, Scheduled Sampling for Sequence Prediction with
      Recurrent Neural Networks, section 2.4, https://arxiv.org/abs/1506.03099
    """
    if not is_number(k) or not 1 <= k < math.inf:
        raise ValueError(f"inverse_sigmoid_decay: expected k as a number of at least 1, got {k!r}.")

    def schedule(count):
        updates = jnp.asarray(count, jnp.result_type(float))
        return jax.nn.sigmoid(math.log(k) - updates / k)  # as the equation, but never inf / inf

    return schedule


def _check_rate(rate: Any) -> None:
    check_one_number("scheduled_sampling: rate", rate)
    known = known_value(rate)
    if known is not None and not 0 <= known <= 1:
        raise ValueError(
            "scheduled_sampling: expected a rate from 0 (free running) to 1 (teacher forcing), got "
            f"{rate}."
        )
