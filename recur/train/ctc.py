"""The loss of connectionist temporal classification (CTC), by Optax."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from recur.decode.ctc_inputs import check_ctc_logits, check_ctc_targets, frames_needed
from recur.dtypes import at_least_float32
from recur.ids import is_inside
from recur.manual_axes import has_explicit_axes
from recur.masks import zero_invalid


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
    known_mask = mask
    logits, mask, blank = check_ctc_logits("ctc_loss", logits, mask, blank)
    given = (logits, targets, known_mask, target_mask, blank)
    targets, target_mask = check_ctc_targets("ctc_loss", *given)

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
