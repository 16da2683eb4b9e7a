"""Teacher forcing, free running and scheduled sampling: how to feed a decoder in training.

All are functions `(layer, params, tokens) -> logits` with the options of a layer. They are
interchangeable, except that `scheduled_sampling` needs `rate` and `key`. `tokens` are the inputs of
the decoder under teacher forcing: the beginning-of-sequence token, then all targets but the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur.arrays import check_one_number
from recur.checks import check_function, is_number, known_value
from recur.decode.compiled import call_compiled
from recur.decode.feed import feed
from recur.decode.generate import check_tokens
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
    tokens = check_tokens(layer, tokens, "integer tokens", "teacher_forcing")
    mask = _make_mask(layer, tokens, length, mask, reset).valid
    check_known_ids("teacher_forcing", "tokens", tokens, None, mask=mask)
    return layer(params, tokens, carry=carry, context=context, mask=mask, reset=reset, key=key)


def free_running(
    layer: Layer,
    params: Params,
    tokens: jax.Array,
    *,
    choose: Chooser = argmax,
    carry: Carry = None,
    context: Context = None,
    length: Any = None,
    mask: Any = None,
    reset: Any = None,
    key: jax.Array | None = None,
) -> jax.Array:
    """Runs a decoder without teacher forcing: it reads the tokens chosen from its own logits.

        x_1 = tokens_1,    x_{t+1} = choose(logits_t),    logits_t = layer(x_t | x_{1..t-1})

    It is `scheduled_sampling` with a rate of 0, except that it needs no key if `choose` needs none.
    Outside of `jax.jit` it is compiled once for each layer, shape and chooser. The layer is bound
    once, before the loop.

    Args:
      layer: a causal layer from int tokens to logits `[T, V]`, batched or not.
      params: the params of the layer.
      tokens: as in `teacher_forcing`; only the first one, and the first one after each reset, are
        used.
      choose: a chooser, such as `argmax` or `top_k(5)`.
      carry: the carry to start from; the initial carry by default.
      context: the context of the layer.
      length: as in a call of the layer.
      mask: as in a call of the layer; the last chosen token is read at the next step that counts.
      reset: as in a call of the layer.
      key: a typed key to sample with, which also turns on the noise of the layer.

    Returns:
      Logits `[T, V]` or `[B, T, V]`, zero at masked steps.

    Raises:
      TypeError: if `layer` is not a layer, the tokens are not integers, or a needed key is missing.
      ValueError: if the layer is not causal, shapes do not match, or a token is below 0.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.decode import free_running
      >>> counter = recur.chain(lambda token: jax.nn.one_hot((token + 1) % 5, 5))
      >>> tokens = jnp.array([0, 3, 1])
      >>> params = counter.init(jax.random.key(0), tokens)
      >>> free_running(counter, params, tokens).argmax(-1).tolist()
      [1, 2, 3]
    """
    tokens = check_tokens(layer, tokens, "integer tokens", "free_running")
    check_context(context)
    check_function("free_running: choose", choose)
    key = None if key is None else check_key(key)
    steps = _make_mask(layer, tokens, length, mask, reset)
    given = (layer, params, tokens, choose, carry, context, steps, key)
    check_known_ids("free_running", "tokens", tokens, None, mask=_read_first(tokens, steps))
    return call_compiled(_free_running, *given)


def _free_running(layer, params, tokens, choose, carry, context, mask, key):
    return feed(layer, params, tokens, lambda coin: False, choose, carry, context, mask, key)


def scheduled_sampling(
    layer: Layer,
    params: Params,
    tokens: jax.Array,
    *,
    rate: float | jax.Array,
    choose: Chooser = categorical,
    carry: Carry = None,
    context: Context = None,
    length: Any = None,
    mask: Any = None,
    reset: Any = None,
    key: jax.Array,
) -> jax.Array:
    """Runs a decoder with scheduled sampling: it reads given tokens or its own choices at random.

        x_1 = tokens_1,    x_{t+1} = tokens_{t+1} with probability rate, else choose(logits_t)
        logits_t = layer(x_t | x_{1..t-1})

    A rate of 1 is teacher forcing, a rate of 0 is free running. The rate decays during training:
    the three schedules of the paper are `inverse_sigmoid_decay`, `optax.linear_schedule` and
    `optax.exponential_decay`. Gradients flow through the layer and not through the chosen tokens,
    as in the paper. The loss of `recur.train.make_step` does not receive the update count, so pass
    the rate as part of the batch.

    The key is split as in a call of the layer, so noise that is drawn once a sequence equals that
    of `teacher_forcing` with the same key. Each step of each row has its own random choice between
    given and chosen tokens, and its own sample.

    Args:
      layer: a causal layer from int tokens to logits `[T, V]`, batched or not.
      params: the params of the layer.
      tokens: integer `[T]`, or `[B, T]` of a batched layer, at least 0; tokens at masked steps have
        no effect. They are not checked inside a JAX transformation, and never against the size of
        the layer's vocabulary.
      rate: the probability of a given token, from 0 to 1; it may be traced. The first token of the
        sequence, and the first one after each reset, are always the given ones.
      choose: a chooser, such as `argmax` or `top_k(5)`.
      carry: the carry to start from; the initial carry by default.
      context: the context of the layer.
      length: as in a call of the layer.
      mask: as in a call of the layer; the last chosen token is read at the next step that counts.
      reset: as in a call of the layer.
      key: a typed key for the random choices, which also turns on the noise of the layer.

    Returns:
      Logits `[T, V]` or `[B, T, V]`, zero at masked steps.

    Raises:
      TypeError: if `layer` is not a layer, the tokens are not integers, the rate is not one number,
        `choose` is not a function, or the key is not a typed key.
      ValueError: if the layer is not causal, shapes do not match, the rate is not from 0 to 1, or a
        token is below 0.

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
    tokens = check_tokens(layer, tokens, "integer tokens", "scheduled_sampling")
    check_context(context)
    check_function("scheduled_sampling: choose", choose)
    _check_rate(rate)
    steps = _make_mask(layer, tokens, length, mask, reset)
    given = (layer, params, tokens, rate, choose, carry, context, steps, check_key(key))
    check_known_ids("scheduled_sampling", "tokens", tokens, None, mask=steps.valid)
    return call_compiled(_scheduled_sampling, *given)


def _scheduled_sampling(layer, params, tokens, rate, choose, carry, context, mask, key):
    def uses_teacher(coin):
        return jax.random.bernoulli(coin, jnp.asarray(rate, jnp.float32))

    return feed(layer, params, tokens, uses_teacher, choose, carry, context, mask, key)


def _make_mask(layer, tokens, length, mask, reset):
    flags = {"length": length, "mask": mask, "reset": reset}
    return make_mask(tokens, **flags, batch_axes=layer.batch_axes)


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
