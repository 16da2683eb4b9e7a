"""Losses, and the numbers one reports of them: no step of padding is ever mixed in."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from recur.dtypes import precise
from recur.sequences.lengths import zero_invalid


def cross_entropy(logits: jax.Array, targets: jax.Array, valid: jax.Array | None = None):
    """The negative log likelihood of each step, in nats.

        l_t = -log softmax(logits_t)[target_t],    and 0 where not valid

    Logits and targets at invalid steps never matter, NaN and ids outside the vocabulary included,
    in values and in gradients. Logits of 16 bits are summed in float32.

    Args:
      logits: `[..., V]`.
      targets: integer `[...]`, each from 0 to V - 1 where valid.
      valid: bool `[...]`, which steps count; all of them when not given.

    Returns:
      `[...]`, nats. `masked_mean` takes the mean over the steps that count.

    Raises:
      TypeError: when targets are not integers, or valid is not bool.
      ValueError: when the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import cross_entropy, masked_mean, perplexity
      >>> logits, targets = jnp.zeros((3, 4)), jnp.array([0, 3, -1])
      >>> losses = cross_entropy(logits, targets, valid=targets >= 0)
      >>> perplexity(masked_mean(losses, targets >= 0)).round(3).item()
      4.0
    """
    logits, targets = jnp.asarray(logits), jnp.asarray(targets)
    check_targets(targets, logits, "cross_entropy")
    if valid is not None:
        valid = check_valid(valid, targets.shape, "cross_entropy")
    logits, targets = zero_invalid(valid, (precise(logits), targets))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return zero_invalid(valid, losses)


def masked_mean(values: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    """The mean over the steps that count; 0 when there are none.

        sum_t valid_t values_t / sum_t valid_t

    Args:
      values: float `[...]`; what stands at invalid steps never matters.
      valid: bool `[...]`; all steps count when not given.

    Returns:
      A scalar.

    Raises:
      TypeError: when valid is not bool.
      ValueError: when the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import masked_mean
      >>> masked_mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([True, True, False])).item()
      2.0
    """
    values = jnp.asarray(values)
    if valid is None:
        valid = jnp.ones(values.shape, bool)
    valid = check_valid(valid, values.shape, "masked_mean")
    return zero_invalid(valid, values).sum() / jnp.maximum(valid.sum(), 1).astype(values.dtype)


def perplexity(nats: jax.Array | float) -> jax.Array:
    """The perplexity of a mean loss, `exp(nats)`: as uncertain as a choice among so many.

    Args:
      nats: a mean cross-entropy, in nats a step.

    Returns:
      The perplexity.

    Example:
      >>> import math
      >>> from recur.train import perplexity
      >>> perplexity(math.log(100)).round().item()
      100.0
    """
    return jnp.exp(nats)


def bits(nats: jax.Array | float) -> jax.Array:
    """A loss in bits, `nats / log 2`: what a file costs an arithmetic coder.

    Args:
      nats: a loss, in nats.

    Returns:
      The loss, in bits.

    Example:
      >>> import math
      >>> from recur.train import bits
      >>> bits(math.log(256)).round().item()
      8.0
    """
    return jnp.asarray(nats) / jnp.log(2.0)


def check_targets(targets: jax.Array, rows: jax.Array, name: str) -> None:
    """Raises an error unless there is one integer for each row of logits, or of what gives them."""
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f"{name}: expected integer targets, got {targets.dtype}.")
    if targets.shape != rows.shape[:-1]:
        raise ValueError(
            f"{name}: expected targets of shape {list(rows.shape[:-1])}, one for each of the rows "
            f"{list(rows.shape)}, got {list(targets.shape)}."
        )


def check_valid(valid: jax.Array, shape: tuple[int, ...], name: str) -> jax.Array:
    """`valid` as an array, when it is one flag for each step."""
    valid = jnp.asarray(valid)
    if valid.dtype != jnp.bool_:
        raise TypeError(f"{name}: expected valid as bool flags, got {valid.dtype}.")
    if valid.shape != shape:
        raise ValueError(
            f"{name}: expected valid of the shape {list(shape)}, got {list(valid.shape)}."
        )
    return valid
