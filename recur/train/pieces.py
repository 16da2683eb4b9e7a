"""Losses of large vocabularies, whose logits are never all there at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from recur.checks import check_whole
from recur.dtypes import precise
from recur.sequences.lengths import zero_invalid
from recur.train.losses import check_targets, check_valid, cross_entropy


def cross_entropy_in_pieces(
    to_logits: Callable[[jax.Array], jax.Array],
    hs: jax.Array,
    targets: jax.Array,
    valid: jax.Array | None = None,
    *,
    size: int = 1024,
) -> jax.Array:
    """`cross_entropy` of logits that are never all there at once, for large vocabularies.

        l_t = -log softmax(to_logits(h_t))[target_t],    and 0 where not valid

    Steps are taken `size` at a time, and their logits computed again on the way back, so that
    `[size, V]` is held where the plain loss holds `[T, V]`; for the price of one more product. The
    values and gradients are those of `cross_entropy(to_logits(hs), targets, valid)`, also with
    respect to what `to_logits` closes over.

    Args:
      to_logits: `[size, H] -> [size, V]`, each row by itself: a Dense layer, or the transpose of an
        embedding.
      hs: `[..., H]`; what stands at invalid steps never matters.
      targets: integer `[...]`, each from 0 to V - 1 where valid.
      valid: bool `[...]`, which steps count; all of them when not given.
      size: how many steps, of all rows together, have logits at a time.

    Returns:
      `[...]`, nats. `masked_mean` takes the mean over the steps that count.

    Raises:
      TypeError: when targets are not integers, or valid is not bool.
      ValueError: when the shapes do not fit, or size is below 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import cross_entropy_in_pieces, masked_mean
      >>> embedding = jnp.ones((50_000, 4))
      >>> hs, targets = jnp.ones((2, 300, 4)), jnp.zeros((2, 300), int)
      >>> losses = cross_entropy_in_pieces(lambda h: h @ embedding.T, hs, targets, size=100)
      >>> jnp.exp(masked_mean(losses)).round(-2).item()
      50000.0
    """
    pieces, shape = _cut("cross_entropy_in_pieces", hs, targets, valid, size)
    logits_of, closed = _take_apart(to_logits, pieces)

    @partial(jax.checkpoint, prevent_cse=False)  # within a loop nothing is merged
    def losses_of(piece):
        h, targets, valid = piece
        return cross_entropy(logits_of(closed, zero_invalid(valid, h)), targets, valid)

    losses = jax.lax.map(losses_of, pieces)
    return losses.reshape(-1)[: math.prod(shape)].reshape(shape)


def summed_cross_entropy(
    to_logits: Callable[[jax.Array], jax.Array],
    hs: jax.Array,
    targets: jax.Array,
    valid: jax.Array | None = None,
    *,
    size: int = 1024,
) -> jax.Array:
    """The sum of `cross_entropy_in_pieces`, whose logits are computed but once.

        value = sum_t l_t,    l_t = -log softmax(to_logits(h_t))[target_t] where valid

    Each piece leaves its gradient behind on the way forward, while its logits are still there: that
    of a sum needs no more to be known. So training costs what the plain loss does, and still only
    `[size, V]` is held. Divide it by the number of words, or of rows, for a mean.

    Args:
      to_logits: `[size, H] -> [size, V]`, each row by itself.
      hs: `[..., H]`; what stands at invalid steps never matters.
      targets: integer `[...]`, each from 0 to V - 1 where valid.
      valid: bool `[...]`, which steps count; all of them when not given.
      size: how many steps, of all rows together, have logits at a time.

    Returns:
      A scalar, nats. It has a gradient, in reverse mode; no second one.

    Raises:
      TypeError: when targets are not integers, or valid is not bool.
      ValueError: when the shapes do not fit, or size is below 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.train import summed_cross_entropy
      >>> hs, targets = jnp.ones((2, 300, 4)), jnp.zeros((2, 300), int)
      >>> def loss(kernel):
      ...     return summed_cross_entropy(lambda h: h @ kernel, hs, targets, size=100) / 600
      >>> value, gradient = jax.value_and_grad(loss)(jnp.zeros((4, 1000)))
      >>> jnp.exp(value).round().item(), gradient.shape
      (1000.0, (4, 1000))

    References:
      Hsu et al. 2024, Liger Kernel: Efficient Triton Kernels for LLM Training,
      https://arxiv.org/abs/2410.10989
    """
    pieces, _ = _cut("summed_cross_entropy", hs, targets, valid, size)
    logits_of, closed = _take_apart(to_logits, pieces)

    def of_piece(closed, h, targets, valid):
        logits = logits_of(closed, zero_invalid(valid, h))
        return cross_entropy(logits, targets, valid).sum()

    @jax.custom_vjp
    def total(closed, pieces):
        return jax.lax.map(lambda piece: of_piece(closed, *piece), pieces).sum()

    def forward(closed, pieces):
        def add(sums, piece):
            value, (d_closed, d_h) = jax.value_and_grad(of_piece, (0, 1))(closed, *piece)
            return jax.tree.map(jnp.add, sums, (value, d_closed)), d_h

        value = jax.eval_shape(total, closed, pieces)
        zeros = jax.tree.map(jnp.zeros_like, (jnp.zeros((), value.dtype), closed))
        (value, d_closed), d_hs = jax.lax.scan(add, zeros, pieces)
        return value, (d_closed, d_hs)

    def backward(found, g):
        d_closed, d_hs = jax.tree.map(lambda d: d * g.astype(d.dtype), found)
        return d_closed, (d_hs, None, None)

    total.defvjp(forward, backward)
    return total(closed, pieces)


def _take_apart(to_logits: Callable[[jax.Array], jax.Array], pieces: tuple) -> tuple:
    """`logits_of(closed, h)`, and what `to_logits` closes over that has a gradient.

    It is held in 32 bits at least, so that its gradient adds up over pieces in 32 bits.
    """
    hs = pieces[0]
    logits_of, given = jax.closure_convert(to_logits, jnp.zeros(hs.shape[1:], hs.dtype))

    def of_closed(closed, h):
        return logits_of(h, *(one.astype(of.dtype) for one, of in zip(closed, given, strict=True)))

    return of_closed, precise(given)


def _cut(
    name: str, hs: jax.Array, targets: jax.Array, valid: jax.Array | None, size: int
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], tuple[int, ...]]:
    """hs, targets and valid, `[pieces, size, ...]` each, and the shape that steps had before."""
    size = check_whole(f"{name}: size", size, 1)
    hs, targets = jnp.asarray(hs), jnp.asarray(targets)
    check_targets(targets, hs, name)
    if valid is None:
        valid = jnp.ones(targets.shape, bool)
    valid = check_valid(valid, targets.shape, name)
    count = targets.size
    pieces = -(-count // size)

    def cut(leaf):
        flat = leaf.reshape(count, *leaf.shape[targets.ndim :])
        padding = [(0, pieces * size - count)] + [(0, 0)] * (flat.ndim - 1)
        return jnp.pad(flat, padding).reshape(pieces, size, *flat.shape[1:])

    return (cut(hs), cut(targets), cut(valid)), targets.shape
