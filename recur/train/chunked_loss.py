"""Cross-entropy for large vocabularies, computed in chunks of steps to bound the memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from recur.arrays import as_array
from recur.checks import check_function, check_rate, check_whole, describe
from recur.dtypes import as_float, at_least_float32
from recur.ids import check_known_ids
from recur.masks import check_mask, zero_invalid
from recur.train.losses import check_class_weights, check_targets, cross_entropy


def chunked_cross_entropy(
    to_logits: Callable[[jax.Array], jax.Array],
    hs: jax.Array,
    targets: jax.Array,
    mask: jax.Array | None = None,
    *,
    class_weights: jax.Array | None = None,
    label_smoothing: float = 0.0,
    size: int = 1024,
) -> jax.Array:
    """Computes `cross_entropy` in chunks of steps, which bounds the memory for logits.

        l_t = cross_entropy(to_logits(h_t), target_t),    and 0 where masked

    The logits of `size` steps are computed at a time, and again in the backward pass, so that
    `[size, V]` numbers are held instead of `[T, V]`, at the cost of one more product. Values and
    gradients are those of `cross_entropy(to_logits(hs), targets, mask)`, also with respect to
    arrays that `to_logits` closes over, and with class weights and label smoothing.

    Args:
      to_logits: `[size, H] -> [size, V]`, each row independently: a Dense layer, or the transpose
        of an embedding.
      hs: `[..., H]`; those at masked steps never matter.
      targets: as for `cross_entropy`.
      mask: bool `[...]`, True where the step counts; all steps by default.
      class_weights: `[V]`, as for `cross_entropy`.
      label_smoothing: as for `cross_entropy`.
      size: the number of steps in a chunk, over all rows.

    Returns:
      `[...]`, nats. `masked_mean` takes the mean over the steps that count.

    Raises:
      TypeError: if `to_logits` is not a function or does not return floats `[size, V]`, targets are
        not integers, mask is not bool, or class weights are not real numbers.
      ValueError: if the shapes do not fit, size is below 1, label_smoothing is not in [0, 1), or a
        target that counts is known to be outside the vocabulary.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import chunked_cross_entropy, masked_mean
      >>> embedding = jnp.ones((50_000, 4))
      >>> hs, targets = jnp.ones((2, 300, 4)), jnp.zeros((2, 300), int)
      >>> losses = chunked_cross_entropy(lambda h: h @ embedding.T, hs, targets, size=100)
      >>> jnp.exp(masked_mean(losses)).round(-2).item()
      50000.0
    """
    caller = "chunked_cross_entropy"
    chunks, shape, vocabulary = _cut(caller, to_logits, hs, targets, mask, size)
    options = _check_options(caller, class_weights, label_smoothing, vocabulary)
    logits_of, closed = _convert_closure(to_logits, chunks)

    @partial(jax.checkpoint, prevent_cse=False)  # common subexpressions are not merged in a loop
    def losses_of(chunk):
        h, targets, mask = chunk
        return cross_entropy(logits_of(closed, zero_invalid(mask, h)), targets, mask, **options)

    losses = jax.lax.map(losses_of, chunks)
    return losses.reshape(-1)[: math.prod(shape)].reshape(shape)


def chunked_cross_entropy_sum(
    to_logits: Callable[[jax.Array], jax.Array],
    hs: jax.Array,
    targets: jax.Array,
    mask: jax.Array | None = None,
    *,
    class_weights: jax.Array | None = None,
    label_smoothing: float = 0.0,
    size: int = 1024,
) -> jax.Array:
    """Computes the sum of the cross-entropy in chunks, with each logit computed only once.

        value = sum_t l_t,    l_t = cross_entropy(to_logits(h_t), target_t) where mask_t

    The gradient of each chunk is computed in the forward pass, while its logits are in memory; the
    cotangent of a sum is one number, which scales the gradient later. So a training step does as
    much work as with `cross_entropy`, but holds only `[size, V]` numbers. Divide the sum by the
    number of tokens, or of rows, for a mean.

    Args:
      to_logits: `[size, H] -> [size, V]`, each row independently.
      hs: `[..., H]`; those at masked steps never matter.
      targets: as for `cross_entropy`.
      mask: bool `[...]`, True where the step counts; all steps by default.
      class_weights: `[V]`, as for `cross_entropy`.
      label_smoothing: as for `cross_entropy`.
      size: the number of steps in a chunk, over all rows.

    Returns:
      A scalar, nats. It has a first derivative, in reverse mode only.

    Raises:
      TypeError: if `to_logits` is not a function or does not return floats `[size, V]`, targets are
        not integers, mask is not bool, or class weights are not real numbers.
      ValueError: if the shapes do not fit, size is below 1, label_smoothing is not in [0, 1), or a
        target that counts is known to be outside the vocabulary.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.train import chunked_cross_entropy_sum
      >>> hs, targets = jnp.ones((2, 300, 4)), jnp.zeros((2, 300), int)
      >>> def loss(kernel):
      ...     return chunked_cross_entropy_sum(lambda h: h @ kernel, hs, targets, size=100) / 600
      >>> value, gradient = jax.value_and_grad(loss)(jnp.zeros((4, 1000)))
      >>> jnp.exp(value).round().item(), gradient.shape
      (1000.0, (4, 1000))

    References:
      Hsu et al. 2024, Liger Kernel: Efficient Triton Kernels for LLM Training,
      https://arxiv.org/abs/2410.10989
    """
    caller = "chunked_cross_entropy_sum"
    chunks, _, vocabulary = _cut(caller, to_logits, hs, targets, mask, size)
    options = _check_options(caller, class_weights, label_smoothing, vocabulary)
    logits_of, closed = _convert_closure(to_logits, chunks)
    closed = closed, options.pop("class_weights")  # both have gradients

    def loss_of(closed, h, targets, mask):
        closed, class_weights = closed
        logits = logits_of(closed, zero_invalid(mask, h))
        return cross_entropy(logits, targets, mask, class_weights=class_weights, **options).sum()

    @jax.custom_vjp
    def total(closed, chunks):
        return jax.lax.map(lambda chunk: loss_of(closed, *chunk), chunks).sum()

    def forward(closed, chunks):
        def add(sums, chunk):
            value, (d_closed, d_h) = jax.value_and_grad(loss_of, (0, 1))(closed, *chunk)
            return jax.tree.map(jnp.add, sums, (value, d_closed)), d_h

        value = jax.eval_shape(total, closed, chunks)
        zeros = jax.tree.map(jnp.zeros_like, (jnp.zeros((), value.dtype), closed))
        (value, d_closed), d_hs = jax.lax.scan(add, zeros, chunks)
        return value, (d_closed, d_hs)

    def backward(gradients, g):
        d_closed, d_hs = jax.tree.map(lambda d: d * g.astype(d.dtype), gradients)
        return d_closed, (d_hs, None, None)

    total.defvjp(forward, backward)
    return total(closed, chunks)


def _check_options(
    caller: str, class_weights: jax.Array | None, label_smoothing: float, vocabulary: int
) -> dict[str, Any]:
    """The options of `cross_entropy`, with class weights of at least float32."""
    if class_weights is not None:
        class_weights = as_float(check_class_weights(caller, class_weights, vocabulary))
    label_smoothing = check_rate(caller, "label_smoothing", label_smoothing)
    return {"class_weights": class_weights, "label_smoothing": label_smoothing}


def _convert_closure(to_logits: Callable[[jax.Array], jax.Array], chunks: tuple) -> tuple:
    """`logits_of(closed, h)` and the arrays that `to_logits` closes over and that have a gradient.

    These are at least float32, so that their gradients are summed over chunks in 32 bits.
    """
    hs = chunks[0]
    logits_of, closed = jax.closure_convert(to_logits, jnp.zeros(hs.shape[1:], hs.dtype))

    def of_closed(wide, h):
        return logits_of(h, *(w.astype(c.dtype) for w, c in zip(wide, closed, strict=True)))

    return of_closed, at_least_float32(closed)


def _cut(
    name: str,
    to_logits: Callable[[jax.Array], jax.Array],
    hs: jax.Array,
    targets: jax.Array,
    mask: jax.Array | None,
    size: int,
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], tuple[int, ...], int]:
    """Returns hs, targets and mask as `[chunks, size, ...]`, the shape of steps, and V."""
    size = check_whole(f"{name}: size", size, 1)
    given = {"ids": targets, "mask": mask}
    check_function(f"{name}: to_logits", to_logits)
    hs, targets = as_array(f"{name}: hs", hs), as_array(f"{name}: targets", targets)
    check_targets(targets, hs, name)
    if mask is None:
        mask = jnp.ones(targets.shape, bool)
    mask = check_mask(mask, targets.shape, name)
    logits = jax.eval_shape(
        lambda h: as_array(f"{name}: what to_logits returns", to_logits(h)),
        jax.ShapeDtypeStruct((size, hs.shape[-1]), hs.dtype),
    )
    is_floating = jnp.issubdtype(logits.dtype, jnp.floating)
    if not is_floating or logits.ndim != 2 or len(logits) != size:
        raise TypeError(
            f"{name}: expected to_logits to return floats [{size}, V], a row for each of {size} "
            f"steps, got {describe(logits)}."
        )
    check_known_ids(name, "targets that count", size=logits.shape[-1], **given)
    count = targets.size
    chunks = -(-count // size)

    def cut(leaf):
        flat = leaf.reshape(count, *leaf.shape[targets.ndim :])
        padding = [(0, chunks * size - count)] + [(0, 0)] * (flat.ndim - 1)
        return jnp.pad(flat, padding).reshape(chunks, size, *flat.shape[1:])

    return (cut(hs), cut(targets), cut(mask)), targets.shape, logits.shape[-1]
