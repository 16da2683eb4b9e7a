"""The way back: from the rows of a batch to the sequences in them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import check_whole
from recur.sequences.layout import Batch
from recur.sequences.lengths import beside, check_known_length, zero_invalid


def unpack(tree: Any, batch: Batch) -> dict[int, Any]:
    """Cuts what was computed for each step into one piece a sequence, on the host.

        pieces[number[b, s]] = tree[b, begin[b, s] : begin[b, s] + length[b, s]]

    Args:
      tree: arrays of `[B, T, ...]`, such as the outputs of a layer.
      batch: the batch it was computed from, of any layout.

    Returns:
      For the number of each sequence its own `[length, ...]`, in NumPy. The dicts of all batches
      make one with `|`.

    Raises:
      ValueError: when the arrays are not `[B, T, ...]`.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import lay_out, pack, unpack
      >>> [batch] = lay_out([np.array([1, 2]), np.array([3]), np.array([4, 5])], pack(3))
      >>> {number: piece.tolist() for number, piece in unpack(10 * batch.steps, batch).items()}
      {0: [10, 20], 1: [30], 2: [40, 50]}
    """
    _check_rows(tree, batch, "unpack")
    tree, batch = jax.device_get((tree, batch))
    pieces = {}
    for row, slot in np.argwhere(batch.present):
        begin, length = batch.begin[row, slot], batch.length[row, slot]
        piece = jax.tree.map(lambda leaf, r=row, b=begin, n=length: leaf[r, b : b + n], tree)
        pieces[int(batch.number[row, slot])] = piece
    return pieces


def segments(tree: Any, batch: Batch, steps: int | None = None) -> tuple[Any, jax.Array]:
    """Lays the sequences of each row out as a padded batch, on the device.

        values[b, s, t] = tree[b, begin[b, s] + t] where t < length[b, s], and 0 elsewhere

    Losses of steps become losses of sequences by `segments(losses, batch)[0].sum(-1)`, and the
    functions of `recur.sequences.pool` take what it returns.

    Args:
      tree: arrays of `[B, T, ...]`.
      batch: the batch it was computed from, of any layout.
      steps: L, at least the longest sequence's length; T when not given.

    Returns:
      The values, `[B, S, L, ...]` each, and bool `[B, S, L]`, which of them are real.

    Raises:
      ValueError: when the arrays are not `[B, T, ...]`, steps is below 1, or a sequence is longer,
        where lengths have values yet: inside of a transformation the rest would be cut off.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import lay_out, pack, segments
      >>> [batch] = lay_out([np.array([1, 2]), np.array([3])], pack(4, slots=2))
      >>> values, valid = segments(batch.steps, batch, steps=2)
      >>> values.tolist(), valid.sum(-1).tolist()
      ([[[1, 2], [3, 0]]], [[2, 1]])
    """
    _check_rows(tree, batch, "segments")
    steps = batch.valid.shape[1] if steps is None else steps
    check_whole("segments: steps", steps, 1)
    check_known_length(batch.length, steps)
    offset = jnp.arange(steps, dtype=jnp.int32)[None, None]
    valid = offset < jnp.asarray(batch.length)[..., None]
    values = _at(tree, jnp.asarray(batch.begin)[..., None] + offset)
    return zero_invalid(valid, values), valid


def last_steps(tree: Any, batch: Batch, empty: Any = None) -> Any:
    """What was computed at the last step of each sequence.

        ends[b, s] = tree[b, begin[b, s] + length[b, s] - 1]

    Of the carries of `layer.trajectory(params, xs, **batch.marks)` these are the last carries of
    the sequences, for a layer that reads forwards.

    Args:
      tree: arrays of `[B, T, ...]`.
      batch: the batch it was computed from, of any layout.
      empty: `[B, ...]` each, what stands for sequences without steps, such as the carries that rows
        start from; zeros when not given.

    Returns:
      `[B, S, ...]` each.

    Raises:
      ValueError: when the arrays are not `[B, T, ...]`.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import last_steps, lay_out, pack
      >>> [batch] = lay_out([np.array([1, 2]), np.array([3])], pack(4, slots=2))
      >>> last_steps(batch.steps, batch).tolist()
      [[2, 3]]
    """
    _check_rows(tree, batch, "last_steps")
    length = jnp.asarray(batch.length)
    return _fill_empty(_at(tree, jnp.asarray(batch.begin) + length - 1), length, empty)


def first_steps(tree: Any, batch: Batch, empty: Any = None) -> Any:
    """What was computed at the first step of each sequence.

        ends[b, s] = tree[b, begin[b, s]]

    Of the carries of `layer.trajectory(params, xs, **batch.marks)` these are the last carries of
    the sequences, for a layer that reads backwards.

    Args:
      tree: arrays of `[B, T, ...]`.
      batch: the batch it was computed from, of any layout.
      empty: as of `last_steps`.

    Returns:
      `[B, S, ...]` each.

    Raises:
      ValueError: when the arrays are not `[B, T, ...]`.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import first_steps, lay_out, pack
      >>> [batch] = lay_out([np.array([1, 2]), np.array([3])], pack(4, slots=2))
      >>> first_steps(batch.steps, batch).tolist()
      [[1, 3]]
    """
    _check_rows(tree, batch, "first_steps")
    return _fill_empty(_at(tree, jnp.asarray(batch.begin)), jnp.asarray(batch.length), empty)


def _at(tree: Any, steps: jax.Array) -> Any:
    """`tree[b, steps[b, ...]]`, with what lies outside of a row moved into it."""

    def of_row(leaf, steps):
        return leaf.at[steps].get(mode="clip")

    return jax.tree.map(lambda leaf: jax.vmap(of_row)(jnp.asarray(leaf), steps), tree)


def _fill_empty(tree: Any, length: jax.Array, empty: Any) -> Any:
    if empty is None:
        return zero_invalid(length > 0, tree)

    def fill(leaf, instead):
        if jnp.shape(instead) != leaf.shape[:1] + leaf.shape[2:]:
            raise ValueError(
                f"empty: expected the shape {[*leaf.shape[:1], *leaf.shape[2:]]}, one entry a row, "
                f"got {list(jnp.shape(instead))}."
            )
        return jnp.where(beside(length > 0, leaf), leaf, jnp.expand_dims(instead, 1))

    return jax.tree.map(fill, tree, empty)


def _check_rows(tree: Any, batch: Batch, asker: str) -> None:
    for leaf in jax.tree.leaves(tree):
        if jnp.shape(leaf)[:2] != batch.valid.shape:
            raise ValueError(
                f"{asker}: expected arrays of {list(batch.valid.shape)} rows and steps, as the "
                f"batch has, got the shape {list(jnp.shape(leaf))}."
            )
