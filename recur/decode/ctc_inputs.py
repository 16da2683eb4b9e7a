"""Checks of the logits and targets of connectionist temporal classification (CTC)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur.arrays import as_array
from recur.checks import check_whole, known_value
from recur.ids import check_known_ids
from recur.masks import check_mask


def check_ctc_logits(
    caller: str, logits: Any, mask: Any, blank: Any
) -> tuple[jax.Array, jax.Array, int]:
    """Returns logits `[..., T, V]`, the mask of the frames `[..., T]` and the id of the blank."""
    logits = as_array(f"{caller}: logits", logits)
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(f"{caller}: expected logits as floats, got {logits.dtype}.")
    if logits.ndim < 2 or not logits.shape[-2]:
        raise ValueError(
            f"{caller}: expected logits of shape [..., T, V] with T > 0, got {list(logits.shape)}."
        )
    blank, size = check_whole(f"{caller}: blank", blank, 0), logits.shape[-1]
    if blank >= size:
        raise ValueError(f"{caller}: expected blank from 0 to {size - 1}, got {blank}.")
    mask = np.ones(logits.shape[:-1], bool) if mask is None else mask
    return logits, check_mask(mask, logits.shape[:-1], caller), blank


def check_ctc_targets(
    caller: str, logits: jax.Array, targets: Any, mask: Any, target_mask: Any, blank: int
) -> tuple[jax.Array, jax.Array]:
    """Returns targets and their mask, `[..., N]`, of checked logits.

    Raises:
      ValueError: also if a known target is the blank or outside the vocabulary, or known targets
        are longer than the frames allow; it names the row.
    """
    known_targets, known_mask = targets, mask
    targets = as_array(f"{caller}: targets", targets)
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f"{caller}: expected integer targets, got {targets.dtype}.")
    *rows, frames, size = logits.shape
    if not targets.ndim or list(targets.shape[:-1]) != rows:
        raise ValueError(
            f"{caller}: expected logits of shape [..., T, V] with T > 0 and targets of shape "
            f"[..., N], got {list(logits.shape)} and {list(targets.shape)}."
        )
    known_target_mask: Any = np.ones(targets.shape, bool) if target_mask is None else target_mask
    target_mask = check_mask(known_target_mask, targets.shape, caller, "target_mask")
    known_mask = np.ones((*rows, frames), bool) if mask is None else mask
    _check_known(caller, known_targets, known_target_mask, known_mask, size, blank)
    return targets, target_mask


def frames_needed(targets: jax.Array, mask: jax.Array) -> jax.Array:
    """The least number of frames that an alignment takes: one more for each repeated target."""
    repeated = (targets[..., 1:] == targets[..., :-1]) & mask[..., 1:]
    return mask.sum(-1) + repeated.sum(-1)


def _check_known(
    caller: str, targets: Any, target_mask: Any, mask: Any, size: int, blank: int
) -> None:
    """Checks the values of targets and masks that are not traced."""
    check_known_ids(caller, "targets that count", targets, size, mask=target_mask)
    targets, target_mask, mask = (known_value(each) for each in (targets, target_mask, mask))
    if target_mask is not None and (target_mask[..., 1:] & ~target_mask[..., :-1]).any():
        raise ValueError(f"{caller}: expected targets padded on the right, got a mask with holes.")
    if targets is None or target_mask is None:
        return
    if ((targets == blank) & target_mask).any():
        raise ValueError(f"{caller}: expected targets without the blank, {blank}, got {targets}.")
    if mask is None:
        return
    needed, frames = frames_needed(targets, target_mask), mask.sum(-1)
    for row in np.argwhere(needed > frames)[:1]:
        place = tuple(row.tolist())
        where = f" for row {', '.join(map(str, place))}" if place else ""
        raise ValueError(
            f"{caller}: expected at least {needed[place]} frames{where}, one for each target and "
            f"one between equal targets, got {frames[place]}. Leave the sequence out, or use fewer "
            "frames per step in the model."
        )
