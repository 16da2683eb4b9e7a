"""Masked cross-entropy and its mean, perplexity and bits."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from recur.arrays import as_array
from recur.dtypes import as_float, at_least_float32
from recur.ids import check_known_ids, is_inside
from recur.keys import is_key
from recur.masks import zero_invalid


def cross_entropy(
    logits: jax.Array, targets: jax.Array, mask: jax.Array | None = None
) -> jax.Array:
    """Computes the cross-entropy (negative log likelihood) of each step, in nats.

        l_t = -log softmax(logits_t)[target_t],    and 0 where masked

    Logits and targets at masked steps never affect values or gradients, even if they are NaN or
    outside the vocabulary. Logits of 16 bits are summed in float32. A target outside the vocabulary
    is an error where its value is known; inside a transformation its loss and gradient are 0.

    Args:
      logits: `[..., V]`.
      targets: integer `[...]`, each from 0 to V - 1 where the step counts.
      mask: bool `[...]`, True where the step counts; all steps by default.

    Returns:
      `[...]`, nats. `masked_mean` takes the mean over the steps that count.

    Raises:
      TypeError: if logits are not floats, targets not integers, or mask is not bool.
      ValueError: if the shapes do not fit, or a target that counts is known to be outside the
        vocabulary.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import cross_entropy, masked_mean, perplexity
      >>> logits, targets = jnp.zeros((3, 4)), jnp.array([0, 3, -1])
      >>> losses = cross_entropy(logits, targets, mask=targets >= 0)
      >>> perplexity(masked_mean(losses, targets >= 0)).round(3).item()
      4.0
    """
    given = {"ids": targets, "mask": mask}
    logits = as_array("cross_entropy: logits", logits)
    targets = as_array("cross_entropy: targets", targets)
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(f"cross_entropy: expected logits as floats, got {logits.dtype}.")
    check_targets(targets, logits, "cross_entropy")
    if mask is not None:
        mask = check_mask(mask, targets.shape, "cross_entropy")
    size = logits.shape[-1]
    check_known_ids("cross_entropy", "targets that count", size=size, **given)
    counts = is_inside(targets, size) if mask is None else is_inside(targets, size) & mask
    logits, targets = zero_invalid(mask, at_least_float32(logits)), zero_invalid(counts, targets)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return zero_invalid(counts, losses)


def masked_mean(values: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Computes the masked mean, over the steps that count; 0 if there are none.

        sum_t mask_t values_t / sum_t mask_t

    Args:
      values: `[...]` of floats, integers or bools; those at masked steps never matter.
      mask: bool `[...]`, True where the step counts; all steps by default.

    Returns:
      A scalar of at least float32.

    Raises:
      TypeError: if values are not numbers, or mask is not bool.
      ValueError: if the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import masked_mean
      >>> masked_mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([True, True, False])).item()
      2.0
    """
    values = as_array("masked_mean: values", values)
    if is_key(values):
        raise TypeError(f"masked_mean: expected values as numbers, got {values.dtype}.")
    values = as_float(values)
    if mask is None:
        mask = jnp.ones(values.shape, bool)
    mask = check_mask(mask, values.shape, "masked_mean")
    return zero_invalid(mask, values).sum() / jnp.maximum(mask.sum(), 1).astype(values.dtype)


def perplexity(nats: jax.Array | float) -> jax.Array:
    """Computes the perplexity of a mean loss, `exp(nats)`.

    Args:
      nats: a mean cross-entropy, in nats per step.

    Returns:
      The perplexity.

    Raises:
      TypeError: if `nats` are not real numbers.

    Example:
      >>> import math
      >>> from recur.train import perplexity
      >>> perplexity(math.log(100)).round().item()
      100.0
    """
    return jnp.exp(_as_reals("perplexity: nats", nats))


def bits(nats: jax.Array | float) -> jax.Array:
    """Converts a loss from nats to bits, `nats / log 2`.

    Args:
      nats: a loss, in nats.

    Returns:
      The loss, in bits.

    Raises:
      TypeError: if `nats` are not real numbers.

    Example:
      >>> import math
      >>> from recur.train import bits
      >>> bits(math.log(256)).round().item()
      8.0
    """
    return _as_reals("bits: nats", nats) / jnp.log(2.0)


def _as_reals(name: str, value: jax.Array | float) -> jax.Array:
    array = as_array(name, value)
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer)):
        raise TypeError(f"{name}: expected real numbers, got {array.dtype}.")
    return array


def check_targets(targets: jax.Array, rows: jax.Array, name: str) -> None:
    """Raises an error unless there is one integer target for each row of `rows`."""
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f"{name}: expected integer targets, got {targets.dtype}.")
    if not rows.ndim:
        raise ValueError(f"{name}: expected a row of numbers for each target, got one number.")
    if targets.shape != rows.shape[:-1]:
        raise ValueError(
            f"{name}: expected targets of shape {list(rows.shape[:-1])}, one for each of the rows "
            f"{list(rows.shape)}, got {list(targets.shape)}."
        )


def check_mask(mask: jax.Array, shape: tuple[int, ...], name: str) -> jax.Array:
    """Returns `mask` as an array; raises an error unless it is one bool for each step."""
    mask = as_array(f"{name}: mask", mask)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"{name}: expected mask as bool flags, got {mask.dtype}.")
    if mask.shape != shape:
        raise ValueError(
            f"{name}: expected a mask of the shape {list(shape)}, got {list(mask.shape)}."
        )
    return mask
