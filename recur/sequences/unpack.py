"""Recovery of the sequences from the rows of a batch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import check_whole
from recur.masks import check_known_length, expand_like, zero_invalid
from recur.sequences.layout import Batch, TimeMajorBatch, swap_time
from recur.sequences.ragged import trim


def unpack(tree: Any, batch: Batch) -> dict[int, Any]:
    """Splits values computed for each step into one array per sequence, on the host.

        pieces[number[b, s]] = tree[b, begin[b, s] : begin[b, s] + length[b, s]]

    Args:
      tree: arrays of `[B, T, ...]`, such as the outputs of a layer; `[T, B, ...]` for a
        `TimeMajorBatch`.
      batch: the batch from which it was computed, of any layout.

    Returns:
      A dict from the index of each sequence to its values `[length, ...]`, in NumPy; a `Padded` is
      as long as its longest sequence. Join the dicts of several batches with `|`.

    Raises:
      TypeError: if `batch` is not a batch.
      ValueError: if the arrays are not `[B, T, ...]`.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import make_batches, pack, unpack
      >>> [batch] = make_batches([np.array([1, 2]), np.array([3]), np.array([4, 5])], pack(3))
      >>> {number: piece.tolist() for number, piece in unpack(10 * batch.steps, batch).items()}
      {0: [10, 20], 1: [30], 2: [40, 50]}
    """
    tree, batch = _rows_first(tree, batch, "unpack")
    tree, batch = jax.device_get((tree, batch))
    pieces = {}
    for row, slot in np.argwhere(batch.present):
        begin, length = batch.begin[row, slot], batch.length[row, slot]
        piece = jax.tree.map(lambda leaf, r=row, b=begin, n=length: leaf[r, b : b + n], tree)
        pieces[int(batch.number[row, slot])] = trim(piece)
    return pieces


def segments(tree: Any, batch: Batch, steps: int | None = None) -> tuple[Any, jax.Array]:
    """Separates the sequences of packed rows into a padded batch, on the device.

        values[b, s, t] = tree[b, begin[b, s] + t] where t < length[b, s], and 0 elsewhere

    `segments(losses, batch)[0].sum(-1)` sums the losses of steps to losses of sequences, and the
    functions of `recur.sequences.pool` take the values and the mask.

    Args:
      tree: arrays of `[B, T, ...]`, or `[T, B, ...]` for a `TimeMajorBatch`.
      batch: the batch from which it was computed, of any layout.
      steps: L, at least the length of the longest sequence; T by default.

    Returns:
      The values, each `[B, S, L, ...]`, and their mask, bool `[B, S, L]`.

    Raises:
      TypeError: if `batch` is not a batch.
      ValueError: if the arrays are not `[B, T, ...]`, steps is below 1, or a sequence of known
        length is longer; if lengths are traced, longer sequences are cut.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import make_batches, pack, segments
      >>> [batch] = make_batches([np.array([1, 2]), np.array([3])], pack(4, slots=2))
      >>> values, mask = segments(batch.steps, batch, steps=2)
      >>> values.tolist(), mask.sum(-1).tolist()
      ([[[1, 2], [3, 0]]], [[2, 1]])
    """
    tree, batch = _rows_first(tree, batch, "segments")
    steps = batch.mask.shape[1] if steps is None else steps
    steps = check_whole("segments: steps", steps, 1)
    check_known_length(batch.length, steps)
    offset = jnp.arange(steps, dtype=jnp.int32)[None, None]
    mask = offset < jnp.asarray(batch.length)[..., None]
    values = _at(tree, jnp.asarray(batch.begin)[..., None] + offset)
    return zero_invalid(mask, values), mask


def last_steps(tree: Any, batch: Batch, empty: Any = None) -> Any:
    """Returns the values at the last step of each sequence.

        ends[b, s] = tree[b, begin[b, s] + length[b, s] - 1]

    Applied to the carries of `layer.run(params, xs, **batch.layer_kwargs, all_carries=True)`, it
    returns the last carry of each sequence, if the layer reads forward.

    Args:
      tree: arrays of `[B, T, ...]`, or `[T, B, ...]` for a `TimeMajorBatch`.
      batch: the batch from which it was computed, of any layout.
      empty: the values of sequences without steps, each `[B, ...]`, such as the carries that rows
        start from; zeros by default.

    Returns:
      The values, each `[B, S, ...]`.

    Raises:
      TypeError: if `batch` is not a batch.
      ValueError: if the arrays are not `[B, T, ...]`.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import last_steps, make_batches, pack
      >>> [batch] = make_batches([np.array([1, 2]), np.array([3])], pack(4, slots=2))
      >>> last_steps(batch.steps, batch).tolist()
      [[2, 3]]
    """
    tree, batch = _rows_first(tree, batch, "last_steps")
    length = jnp.asarray(batch.length)
    return _fill_empty(_at(tree, jnp.asarray(batch.begin) + length - 1), length, empty)


def first_steps(tree: Any, batch: Batch, empty: Any = None) -> Any:
    """Returns the values at the first step of each sequence.

        ends[b, s] = tree[b, begin[b, s]]

    Applied to the carries of `layer.run(params, xs, **batch.layer_kwargs, all_carries=True)`, it
    returns the last carry of each sequence, if the layer reads backward.

    Args:
      tree: arrays of `[B, T, ...]`, or `[T, B, ...]` for a `TimeMajorBatch`.
      batch: the batch from which it was computed, of any layout.
      empty: as in `last_steps`.

    Returns:
      The values, each `[B, S, ...]`.

    Raises:
      TypeError: if `batch` is not a batch.
      ValueError: if the arrays are not `[B, T, ...]`.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import first_steps, make_batches, pack
      >>> [batch] = make_batches([np.array([1, 2]), np.array([3])], pack(4, slots=2))
      >>> first_steps(batch.steps, batch).tolist()
      [[1, 3]]
    """
    tree, batch = _rows_first(tree, batch, "first_steps")
    return _fill_empty(_at(tree, jnp.asarray(batch.begin)), jnp.asarray(batch.length), empty)


def _at(tree: Any, steps: jax.Array) -> Any:
    """Returns `tree[b, steps[b, ...]]`; steps outside a row are clipped to its ends."""

    def of_row(leaf, steps):
        return leaf.at[steps].get(mode="clip")

    return jax.tree.map(lambda leaf: jax.vmap(of_row)(jnp.asarray(leaf), steps), tree)


def _fill_empty(tree: Any, length: jax.Array, empty: Any) -> Any:
    if empty is None:
        return zero_invalid(length > 0, tree)

    def fill(leaf, instead):
        if jnp.shape(instead) != leaf.shape[:1] + leaf.shape[2:]:
            raise ValueError(
                f"empty: expected one entry per row, of shape "
                f"{[*leaf.shape[:1], *leaf.shape[2:]]}, got {list(jnp.shape(instead))}."
            )
        return jnp.where(expand_like(length > 0, leaf), leaf, jnp.expand_dims(instead, 1))

    return jax.tree.map(fill, tree, empty)


def _rows_first(tree: Any, batch: Batch, caller: str) -> tuple[Any, Batch]:
    """Checks the arrays of a batch, and returns both with the batch axis first."""
    if not isinstance(batch, Batch):
        raise TypeError(
            f"{caller}: expected a Batch, as make_batches and batches return, got "
            f"{type(batch).__name__}."
        )
    if not jax.tree.leaves(tree):
        raise ValueError(f"{caller}: expected arrays [B, T, ...], got none.")
    axes = "T, B" if isinstance(batch, TimeMajorBatch) else "B, T"
    for leaf in jax.tree.leaves(tree):
        if jnp.shape(leaf)[:2] != batch.mask.shape:
            raise ValueError(
                f"{caller}: expected arrays [{axes}, ...] with the batch's [{axes}] = "
                f"{list(batch.mask.shape)}, got the shape {list(jnp.shape(leaf))}."
            )
    if not isinstance(batch, TimeMajorBatch):
        return tree, batch
    return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), tree), swap_time(batch)
