"""Ways to feed a decoder in training: with the teacher's tokens, with its own, or with both.

All are functions `(layer, params, tokens) -> logits` with the options of a layer, so that one can
stand where another did. `tokens` are the decoder's inputs as the teacher has them: the token that
stands in front of texts, then the targets but for the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur.decode.feed import feed
from recur.decode.generate import check_decoder
from recur.decode.sample import Chooser, argmax, multinomial
from recur.keys import check_key
from recur.types import Carry, Context, Layer, Params


def teacher_forcing(
    layer: Layer,
    params: Params,
    tokens: jax.Array,
    *,
    length: Any = None,
    valid: Any = None,
    reset: Any = None,
    carry: Carry = None,
    context: Context = None,
    key: jax.Array | None = None,
) -> jax.Array:
    """Feeds a decoder the teacher's tokens, whatever it would have said: one call of the layer.

        logits_t = layer(tokens_t | tokens_{1..t-1})

    Args:
      layer: a layer from int tokens to logits `[T, V]` that reads forwards, batched or not.
      params: its params.
      tokens: integer `[T]`, or `[B, T]` of a batched layer; those at invalid steps never matter.
      length: as of the layer.
      valid: as of the layer.
      reset: as of the layer.
      carry: the carry to start from; the layer's own start when not given.
      context: as of the layer.
      key: a typed key; the layer's noise is on when it is given.

    Returns:
      Logits `[T, V]` or `[B, T, V]`, zero at invalid steps.

    Raises:
      TypeError: when `layer` is not a layer, or the tokens are not integers.
      ValueError: when the layer reads backwards, or tokens or marks are of another shape.

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
    tokens = jnp.asarray(tokens)
    check_decoder(layer, tokens, "integer tokens", "teacher_forcing")
    marks = {"length": length, "valid": valid, "reset": reset}
    return layer(params, tokens, carry=carry, context=context, key=key, **marks)


def free_running(
    layer: Layer,
    params: Params,
    tokens: jax.Array,
    *,
    choose: Chooser = argmax,
    length: Any = None,
    valid: Any = None,
    reset: Any = None,
    carry: Carry = None,
    context: Context = None,
    key: jax.Array | None = None,
) -> jax.Array:
    """Feeds a decoder the tokens chosen of its own logits, as it will be when it is used.

        x_1 = tokens_1,    x_{t+1} = choose(logits_t),    logits_t = layer(x_t | x_{1..t-1})

    It is `scheduled_sampling` with a rate of 0, and differs from it only in that `choose` may do
    without a key.

    Args:
      layer: a layer from int tokens to logits `[T, V]` that reads forwards, batched or not.
      params: its params.
      tokens: integer `[T]`, or `[B, T]` of a batched layer; only the first ones that are read, of
        the sequence and behind each reset, matter.
      choose: a chooser, as of `recur.decode.sample`.
      length: as of the layer.
      valid: as of the layer; what was chosen last is read at the next step that counts.
      reset: as of the layer.
      carry: the carry to start from; the layer's own start when not given.
      context: as of the layer.
      key: a typed key; `choose` draws with it, and the layer's noise is on when it is given.

    Returns:
      Logits `[T, V]` or `[B, T, V]`, zero at invalid steps.

    Raises:
      TypeError: when `layer` is not a layer, the tokens are not integers, or a needed key is not
        there.
      ValueError: when the layer reads backwards, or tokens or marks are of another shape.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.decode import free_running
      >>> counter = recur.chain(lambda token: jax.nn.one_hot((token + 1) % 5, 5))
      >>> tokens = jnp.array([0, 3, 1])
      >>> params = counter.init(jax.random.key(0), tokens)
      >>> free_running(counter, params, tokens).argmax(-1).tolist()
      [1, 2, 3]
    """
    tokens = jnp.asarray(tokens)
    check_decoder(layer, tokens, "integer tokens", "free_running")
    given = {"carry": carry, "context": context, "key": key}
    marks = {"length": length, "valid": valid, "reset": reset}
    return feed(layer, params, tokens, lambda coin: False, choose, **given, **marks)


def scheduled_sampling(
    layer: Layer,
    params: Params,
    tokens: jax.Array,
    *,
    rate: float | jax.Array,
    key: jax.Array,
    choose: Chooser = multinomial,
    length: Any = None,
    valid: Any = None,
    reset: Any = None,
    carry: Carry = None,
    context: Context = None,
) -> jax.Array:
    """Feeds a decoder the teacher's tokens at some steps, and its own at others.

        x_1 = tokens_1,    x_{t+1} = tokens_{t+1} with probability rate, else choose(logits_t)
        logits_t = layer(x_t | x_{1..t-1})

    With a rate of 1 it is teacher forcing, with 0 free running. From update to update the rate
    falls by a schedule: `inverse_sigmoid_decay`, `optax.linear_schedule` or
    `optax.exponential_decay`, the three of the paper. Errors flow back through the layer, and not
    through what was chosen, as in the paper.

    In a loss of `recur.train.make_step`, which is not told the number of the update, the rate comes
    with the batch.

    The key is split as the layer's own call does, so that noise drawn once a sequence is that of
    teacher forcing with the same key. What is left is split for noise of steps and for choices;
    each row, and of it each step, has a coin and a draw of its own.

    Args:
      layer: a layer from int tokens to logits `[T, V]` that reads forwards, batched or not.
      params: its params.
      tokens: integer `[T]`, or `[B, T]` of a batched layer; those at invalid steps never matter.
      rate: the probability of a teacher's token, from 0 to 1; it may be traced. The first token of
        the sequence, and that behind each reset, is always the teacher's.
      key: a typed key, for coins and choices; the layer's noise is on.
      choose: a chooser, as of `recur.decode.sample`.
      length: as of the layer.
      valid: as of the layer; what was chosen last is read at the next step that counts.
      reset: as of the layer.
      carry: the carry to start from; the layer's own start when not given.
      context: as of the layer.

    Returns:
      Logits `[T, V]` or `[B, T, V]`, zero at invalid steps.

    Raises:
      TypeError: when `layer` is not a layer, the tokens are not integers, or there is no typed key.
      ValueError: when the layer reads backwards, tokens or marks are of another shape, or the rate
        is not one number from 0 to 1.

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
    tokens = jnp.asarray(tokens)
    check_decoder(layer, tokens, "integer tokens", "scheduled_sampling")
    _check_rate(rate)
    given = {"carry": carry, "context": context, "key": check_key(key)}
    marks = {"length": length, "valid": valid, "reset": reset}

    def is_taught(coin):
        return jax.random.bernoulli(coin, jnp.asarray(rate, jnp.float32))

    return feed(layer, params, tokens, is_taught, choose, **given, **marks)


def inverse_sigmoid_decay(k: float) -> Callable[[Any], jax.Array]:
    """A schedule for `scheduled_sampling`: from near 1 down to 0, steepest around k log k.

        rate_i = k / (k + exp(i / k))

    Args:
      k: at least 1, in updates; the larger, the slower.

    Returns:
      `schedule(count) -> rate`, as Optax's are.

    Raises:
      ValueError: when k is below 1.

    Example:
      >>> from recur.decode import inverse_sigmoid_decay
      >>> schedule = inverse_sigmoid_decay(1000)
      >>> [f"{schedule(update):.3f}" for update in (0, 6908, 20_000)]
      ['0.999', '0.500', '0.000']

    References:
      Bengio, Vinyals, Jaitly & Shazeer 2015, Scheduled Sampling for Sequence Prediction with
      Recurrent Neural Networks, section 2.4, https://arxiv.org/abs/1506.03099
    """
    if not k >= 1:
        raise ValueError(f"inverse_sigmoid_decay: expected k of at least 1, got {k}.")

    def schedule(count):
        updates = jnp.asarray(count, jnp.result_type(float))
        return jax.nn.sigmoid(math.log(k) - updates / k)  # as the equation, but never inf / inf

    return schedule


def _check_rate(rate: Any) -> None:
    if jnp.shape(rate) != ():
        raise ValueError(
            f"scheduled_sampling: expected one rate, got the shape {list(jnp.shape(rate))}."
        )
    if not isinstance(rate, jax.core.Tracer) and not 0 <= rate <= 1:
        raise ValueError(
            "scheduled_sampling: expected a rate from 0, always the model's own token, to 1, "
            f"always the teacher's, got {rate}."
        )
