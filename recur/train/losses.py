"""Masked cross-entropy and its weighted mean, perplexity and bits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from recur.arrays import as_array
from recur.checks import check_rate, known_value
from recur.dtypes import as_float, at_least_float32
from recur.ids import check_known_ids, is_inside
from recur.keys import is_key
from recur.masks import check_mask, zero_invalid


def cross_entropy(
    logits: jax.Array,
    targets: jax.Array,
    mask: jax.Array | None = None,
    *,
    class_weights: jax.Array | None = None,
    label_smoothing: float = 0.0,
) -> jax.Array:
    """Computes the cross-entropy (negative log likelihood) of each step, in nats.

        l_t = -sum_c w_c q_{t,c} log softmax(logits_t)_c,    and 0 where masked
        q_{t,c} = (1 - label_smoothing) [c = target_t] + label_smoothing / V

    By default this is `-log softmax(logits_t)[target_t]`. With class weights and label smoothing it
    is the loss of PyTorch with `reduction="none"`.

    Logits and targets at masked steps never affect values or gradients, even if they are NaN or
    outside the vocabulary. Logits of 16 bits are summed in float32. A target outside the vocabulary
    is an error where its value is known; inside a transformation its loss and gradient are 0.

    Args:
      logits: `[..., V]`.
      targets: integer `[...]`, each from 0 to V - 1 where the step counts.
      mask: bool `[...]`, True where the step counts; all steps by default.
      class_weights: w, `[V]`, 1 by default. For the mean of PyTorch, which divides by the weights
        of the targets, pass `weights=class_weights[targets]` to `masked_mean` instead.
      label_smoothing: from 0 to below 1, the probability that is spread evenly over all classes.

    Returns:
      `[...]`, nats. `masked_mean` takes the mean over the steps that count.

    Raises:
      TypeError: if logits are not floats, targets not integers, mask is not bool, or class weights
        are not real numbers.
      ValueError: if the shapes do not fit, a target that counts is known to be outside the
        vocabulary, or label_smoothing is not in [0, 1).

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import cross_entropy, masked_mean, perplexity
      >>> logits, targets = jnp.zeros((3, 4)), jnp.array([0, 3, -1])
      >>> losses = cross_entropy(logits, targets, mask=targets >= 0)
      >>> perplexity(masked_mean(losses, targets >= 0)).round(3).item()
      4.0

    References:
      Szegedy et al. 2016, Rethinking the Inception Architecture for Computer Vision,
      https://arxiv.org/abs/1512.00567
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
    if class_weights is not None:
        class_weights = check_class_weights("cross_entropy", class_weights, size)
    label_smoothing = check_rate("cross_entropy", "label_smoothing", label_smoothing)
    check_known_ids("cross_entropy", "targets that count", size=size, **given)
    counts = is_inside(targets, size) if mask is None else is_inside(targets, size) & mask
    logits, targets = zero_invalid(mask, at_least_float32(logits)), zero_invalid(counts, targets)
    if label_smoothing:
        labels = jax.nn.one_hot(targets, size, dtype=logits.dtype)
        labels = optax.smooth_labels(labels, label_smoothing)
        if class_weights is not None:
            labels = jnp.einsum("...c,c->...c", labels, class_weights.astype(labels.dtype))
        losses = optax.softmax_cross_entropy(logits, labels)
    else:
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        if class_weights is not None:
            losses = class_weights.astype(losses.dtype)[targets] * losses
    return zero_invalid(counts, losses)


def masked_mean(
    values: jax.Array, mask: jax.Array | None = None, weights: jax.Array | None = None
) -> jax.Array:
    """Computes the masked and weighted mean, over the steps that count; 0 if there are none.

        sum_t mask_t w_t values_t / sum_t mask_t w_t

    Args:
      values: `[...]` of floats, integers or bools; those at masked steps never matter.
      mask: bool `[...]`, True where the step counts; all steps by default.
      weights: w, `[...]`, at least 0; 1 by default. A step of weight 0 does not count.

    Returns:
      A scalar of at least float32.

    Raises:
      TypeError: if values or weights are not numbers, or mask is not bool.
      ValueError: if the shapes do not fit, or a weight is known to be negative.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import masked_mean
      >>> mask = jnp.array([True, True, False])
      >>> masked_mean(jnp.array([1.0, 3.0, jnp.nan]), mask).item()
      2.0
      >>> masked_mean(jnp.array([1.0, 3.0, jnp.nan]), mask, jnp.array([1.0, 3.0, 1.0])).item()
      2.5
    """
    total, weight = masked_sums("masked_mean", values, mask, weights)
    return total / jnp.where(weight == 0, jnp.ones_like(weight), weight)


def masked_sums(
    caller: str, values: jax.Array, mask: jax.Array | None, weights: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Returns the weighted sum of the values that count, and the sum of their weights."""
    values = as_array(f"{caller}: values", values)
    if is_key(values):
        raise TypeError(f"{caller}: expected values as numbers, got {values.dtype}.")
    values = as_float(values)
    counts = mask_or_all(mask, values.shape, caller)
    if weights is None:
        return zero_invalid(counts, values).sum(), counts.sum().astype(values.dtype)
    weights = check_weights(weights, mask, values.shape, caller).astype(values.dtype)
    counts = counts & (weights != 0)
    counted: jax.Array = zero_invalid(counts, weights)
    return (counted * zero_invalid(counts, values)).sum(), counted.sum()


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


def as_common_floats(caller: str, **arrays: jax.Array) -> list[jax.Array]:
    """Converts named arrays of real numbers to the widest float among them, at least float32."""
    reals = [_as_reals(f"{caller}: {name}", array) for name, array in arrays.items()]
    floats = [at_least_float32(each) for each in reals if jnp.issubdtype(each.dtype, jnp.floating)]
    dtypes = [each.dtype for each in floats] or [jnp.result_type(float)]
    dtype = functools.reduce(np.promote_types, dtypes)
    return [each.astype(dtype) for each in reals]


def check_class_weights(caller: str, weights: jax.Array, size: int) -> jax.Array:
    """Returns class weights as an array; raises an error unless there is one for each class."""
    weights = _as_reals(f"{caller}: class_weights", weights)
    if weights.shape != (size,):
        raise ValueError(
            f"{caller}: expected class_weights of shape [{size}], one for each class, got "
            f"{list(weights.shape)}."
        )
    return weights


def check_weights(
    weights: jax.Array, mask: jax.Array | None, shape: tuple[int, ...], caller: str
) -> jax.Array:
    """Returns `weights` as floats; raises an error unless there is one >= 0 for each step."""
    given = weights
    weights = as_float(_as_reals(f"{caller}: weights", weights))
    if weights.shape != shape:
        raise ValueError(
            f"{caller}: expected weights of the shape {list(shape)}, got {list(weights.shape)}."
        )
    check_known(f"{caller}: expected weights of at least 0", given, mask, lambda value: value >= 0)
    return weights


def check_known(
    expected: str, values: Any, mask: Any, is_right: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Raises a ValueError that names the place, unless known values are right where they count.

    Args:
      expected: the beginning of the message.
      values: as the user gave them: `jnp.asarray` of known values is a tracer in jit.
      mask: bool, of the leading axes of values, True where they count; all count by default.
      is_right: from values to flags of the same shape.
    """
    known, counted = known_value(values), known_value(True if mask is None else mask)
    if known is None or counted is None:
        return
    counted = counted.reshape(counted.shape + (1,) * (known.ndim - counted.ndim))
    wrong = np.argwhere(~is_right(known) & counted)
    if len(wrong):
        place = tuple(wrong[0].tolist())
        where = f" at {list(place)}" if place else ""
        raise ValueError(f"{expected}, got {known[place]}{where}.")


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


def mask_or_all(
    mask: jax.Array | None, shape: tuple[int, ...], name: str, argument: str = "mask"
) -> jax.Array:
    """Returns `mask` as `check_mask` does, or True at each step if there is none."""
    return jnp.ones(shape, bool) if mask is None else check_mask(mask, shape, name, argument)
