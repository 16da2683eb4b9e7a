"""The loss of connectionist temporal classification (CTC), by Optax."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from recur.arrays import as_array
from recur.checks import check_whole, known_value
from recur.dtypes import at_least_float32
from recur.ids import check_known_ids, is_inside
from recur.manual_axes import has_explicit_axes
from recur.masks import zero_invalid
from recur.train.losses import check_mask


def ctc_loss(
    logits: jax.Array,
    targets: jax.Array,
    mask: jax.Array | None = None,
    target_mask: jax.Array | None = None,
    *,
    blank: int = 0,
) -> jax.Array:
    """Computes the CTC loss (connectionist temporal classification) of each sequence, in nats.

        l = -log sum_a prod_t softmax(logits_t)[a_t]

    over the alignments a whose symbols, after repetitions are merged and blanks are removed, are
    the targets. `optax.ctc_loss` computes it. Values at masked steps never affect values or
    gradients, even if they are NaN. Logits of 16 bits are summed in float32.

    An alignment needs a frame for each target, and one more for each target that equals the one
    before it. Too few frames are an error where targets and masks are known; inside a
    transformation the loss of that sequence is infinite, and its gradient is 0. The same holds for
    a target that is the blank or outside the vocabulary.

    Args:
      logits: `[..., T, V]`, of the symbols and the blank.
      targets: integer `[..., N]`, without blanks.
      mask: bool `[..., T]`, True where the frame counts; all frames by default.
      target_mask: bool `[..., N]`, True where the target counts; all targets by default. Targets
        are padded on the right.
      blank: the id of the blank.

    Returns:
      `[...]`, nats for each sequence. Divide by the number of targets for a loss per target.

    Raises:
      TypeError: if logits are not floats, targets not integers, or a mask is not bool.
      ValueError: if the shapes do not fit; if a target that counts is known to be the blank or
        outside the vocabulary, the targets are known to be longer than the frames allow, or the
        target mask is known not to be padding on the right.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import ctc_loss
      >>> logits, targets = jnp.zeros((2, 3)), jnp.array([1])  # 3 of 9 alignments: 11, 01, 10
      >>> round(jnp.exp(-ctc_loss(logits, targets)).item(), 3)
      0.333

    References:
      Graves et al. 2006, Connectionist Temporal Classification: Labelling Unsegmented Sequence Data
      with Recurrent Neural Networks, https://doi.org/10.1145/1143844.1143891
    """
    known_targets = targets
    logits, targets = as_array("ctc_loss: logits", logits), as_array("ctc_loss: targets", targets)
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(f"ctc_loss: expected logits as floats, got {logits.dtype}.")
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f"ctc_loss: expected integer targets, got {targets.dtype}.")
    *rows, frames, size = logits.shape if logits.ndim >= 2 else (0, 0)
    if not targets.ndim or list(targets.shape[:-1]) != rows or not frames:
        raise ValueError(
            "ctc_loss: expected logits of shape [..., T, V] with T > 0 and targets of shape "
            f"[..., N], got {list(logits.shape)} and {list(targets.shape)}."
        )
    blank = check_whole("ctc_loss: blank", blank, 0)
    if blank >= size:
        raise ValueError(f"ctc_loss: expected blank from 0 to {size - 1}, got {blank}.")
    known_mask: Any = np.ones((*rows, frames), bool) if mask is None else mask
    known_target_mask: Any = np.ones(targets.shape, bool) if target_mask is None else target_mask
    mask = check_mask(known_mask, (*rows, frames), "ctc_loss")
    target_mask = check_mask(known_target_mask, targets.shape, "ctc_loss", "target_mask")
    _check_known(known_targets, known_target_mask, known_mask, size, blank)

    if not has_explicit_axes(logits):
        return _losses(logits, targets, mask, target_mask, blank=blank)
    # Optax does not say how its arrays are sharded, so the compiler chooses.
    aval: Any = jax.typeof(logits)
    rows_sharding = NamedSharding(aval.sharding.mesh, PartitionSpec(*aval.sharding.spec[:-2]))
    compute: Any = partial(_losses, blank=blank)
    losses: Any = jax.sharding.auto_axes(compute, out_sharding=rows_sharding)
    return losses(logits, targets, mask, target_mask)


def _losses(logits, targets, mask, target_mask, *, blank):
    """The loss of each sequence, of checked arguments."""
    *rows, frames, size = logits.shape
    targets = zero_invalid(target_mask, targets.astype(jnp.int32))
    is_symbol = is_inside(targets, size) & (targets != blank)
    feasible = (is_symbol | ~target_mask).all(-1)
    feasible &= frames_needed(targets, target_mask) <= mask.sum(-1)
    logits = at_least_float32(zero_invalid(mask, logits))
    dtype, count = logits.dtype, math.prod(rows)
    if not targets.shape[-1]:  # Optax needs one target, which may be padding
        targets = jnp.zeros((*rows, 1), jnp.int32)
        target_mask = jnp.zeros((*rows, 1), bool)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        losses = optax.ctc_loss(
            logits.reshape(count, frames, size),
            1 - mask.reshape(count, frames).astype(dtype),
            targets.reshape(count, -1),
            1 - target_mask.reshape(count, -1).astype(dtype),
            blank_id=blank,
            log_epsilon=-1e30,  # below the log probability of any alignment
        )
    losses = losses.reshape(rows).astype(dtype)
    return jnp.where(feasible, losses, jnp.full_like(losses, jnp.inf))


def frames_needed(targets: jax.Array, mask: jax.Array) -> jax.Array:
    """The least number of frames that an alignment takes: one more for each repeated target."""
    repeated = (targets[..., 1:] == targets[..., :-1]) & mask[..., 1:]
    return mask.sum(-1) + repeated.sum(-1)


def _check_known(targets: Any, target_mask: Any, mask: Any, size: int, blank: int) -> None:
    """Checks the values of targets and masks that are not traced."""
    check_known_ids("ctc_loss", "targets that count", targets, size, mask=target_mask)
    targets, target_mask, mask = (known_value(each) for each in (targets, target_mask, mask))
    if target_mask is not None and (target_mask[..., 1:] & ~target_mask[..., :-1]).any():
        raise ValueError("ctc_loss: expected targets padded on the right, got a mask with holes.")
    if targets is None or target_mask is None:
        return
    if ((targets == blank) & target_mask).any():
        raise ValueError(f"ctc_loss: expected targets without the blank, {blank}, got {targets}.")
    if mask is None:
        return
    needed, frames = frames_needed(targets, target_mask), mask.sum(-1)
    for row in np.argwhere(needed > frames)[:1]:
        place = tuple(row.tolist())
        where = f" for row {', '.join(map(str, place))}" if place else ""
        raise ValueError(
            f"ctc_loss: expected at least {needed[place]} frames{where}, one for each target and "
            f"one between equal targets, got {frames[place]}. Leave the sequence out, or use fewer "
            "frames per step in the model."
        )
