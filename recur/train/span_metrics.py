"""Precision, recall and F1 score of spans of tags, counted as conlleval and seqeval count them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from recur.masks import check_mask
from recur.train.classification_metrics import (
    F1Score,
    as_classes,
    check_average,
    count_classes,
)
from recur.train.losses import mask_or_all

_PREFIXES = {"O": 0, "B": 1, "I": 2, "M": 2, "E": 3, "L": 3, "S": 4, "U": 4}
_OUTSIDE, _BEGIN, _, _END, _SINGLE = range(5)


def span_f1(
    predicted: jax.Array,
    targets: jax.Array,
    mask: jax.Array | None = None,
    reset: jax.Array | None = None,
    *,
    tags: Sequence[str],
    average: str = "micro",
) -> F1Score:
    """Computes the F1 score of spans from BIO tags, for named entities or chunks (CoNLL).

        F1 = 2 correct / (predicted + actual)

    A predicted span is correct if a target span has the same type and the same first and last step.
    Spans are counted as by the program conlleval and by seqeval in its default mode: a span begins
    at `B` or `S`, at another type, and after `O`, `E` or `S`; so an `I` after `O` begins a span.

    Args:
      predicted: logits, floats `[..., T, V]`, or the predicted tags, integer `[..., T]`.
      targets: integer `[..., T]`.
      mask: bool `[..., T]`, True where the step counts; all steps by default. A masked step is
        outside of all spans.
      reset: bool `[..., T]`, True at the first step of each sequence, for rows with several; no
        span crosses it.
      tags: the names of the V tags, such as `("O", "B-PER", "I-PER")`. Prefixes are those of IOB1,
        IOB2 (BIO), IOBES, BILOU and BMES.
      average: `"micro"`, the score of all spans; or `"macro"`, the mean of the scores of all types
        that occur.

    Returns:
      An `F1Score` with a class for each type of span. Its methods have precision, recall and F1
      score of each type.

    Raises:
      TypeError: if predicted or targets have another dtype, or mask or reset is not bool.
      ValueError: if the shapes do not fit, a tag that counts is known to be outside the vocabulary,
        a name is not that of a tag, or average has another value.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import span_f1
      >>> tags = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
      >>> targets = jnp.array([[1, 2, 0, 3], [3, 4, 4, 0]])
      >>> predicted = jnp.array([[1, 2, 0, 1], [3, 4, 0, 0]])
      >>> round(span_f1(predicted, targets, tags=tags).value().item(), 3)
      0.333

    References:
      Tjong Kim Sang & Buchholz 2000, Introduction to the CoNLL-2000 Shared Task: Chunking,
      https://aclanthology.org/W00-0726
    """
    check_average("span_f1", average)
    prefixes, types, names = _tables(tags)
    predicted, targets = as_classes("span_f1", predicted, targets, mask, len(tags))
    if not targets.ndim:
        raise ValueError("span_f1: expected targets of shape [..., T], got one number.")
    shape = targets.shape
    mask = mask_or_all(mask, shape, "span_f1")
    if reset is None:
        reset = jnp.zeros(shape, bool)
    else:
        reset = check_mask(reset, shape, "span_f1", "reset")

    def by_tag(table):
        return jnp.expand_dims(table, range(len(shape)))

    def spans_of(ids):
        """Where spans start, their types, and by start the last step of each."""
        is_tag = mask[..., None] & (ids[..., None] == by_tag(jnp.arange(len(tags))))
        prefix = jnp.where(is_tag, by_tag(prefixes), _OUTSIDE).sum(-1)
        kind = jnp.where(is_tag, by_tag(types) + 1, 0).sum(-1) - 1
        before = jnp.where(reset, _OUTSIDE, _shifted(prefix, _OUTSIDE))
        after_end = (before == _OUTSIDE) | (before == _END) | (before == _SINGLE)
        begins = (prefix == _BEGIN) | (prefix == _SINGLE) | after_end
        is_in = prefix != _OUTSIDE
        starts = is_in & (begins | (kind != _shifted(kind, -1)))
        stops = starts | ~is_in
        stops = jnp.concatenate([stops[..., 1:], jnp.ones_like(stops[..., :1])], -1)
        last = jnp.where(stops, jax.lax.broadcasted_iota(int, shape, len(shape) - 1), shape[-1])
        return starts, kind, jax.lax.cummin(last, axis=last.ndim - 1, reverse=True)

    starts, kind, last = spans_of(predicted)
    target_starts, target_kind, target_last = spans_of(targets)
    correct = starts & target_starts & (kind == target_kind) & (last == target_last)
    return F1Score(
        count_classes(kind, correct, None, len(names)),
        count_classes(kind, starts, None, len(names)),
        count_classes(target_kind, target_starts, None, len(names)),
        average,
        names,
    )


def _shifted(values: jax.Array, first: int) -> jax.Array:
    """Each step's value moved to the next step."""
    return jnp.concatenate([jnp.full_like(values[..., :1], first), values[..., :-1]], -1)


def _tables(tags: Any) -> tuple[jax.Array, jax.Array, tuple[str, ...]]:
    """By tag its prefix, as a number, and its type, as an index into the sorted names of types."""
    if isinstance(tags, str) or not isinstance(tags, Sequence) or not tags:
        raise ValueError(
            'span_f1: expected tags as the names of tags, such as ("O", "B-PER", "I-PER"), got '
            f"{tags!r}."
        )
    pairs = []
    for tag in tags:
        prefix, dash, kind = tag.partition("-") if isinstance(tag, str) else ("", "", "")
        if prefix not in _PREFIXES or (prefix == "O" and dash):
            raise ValueError(
                "span_f1: expected each tag as O or a prefix and a type, such as B-PER, with the "
                f"prefix B, I, E, S, L, M or U, got {tag!r}."
            )
        pairs.append((_PREFIXES[prefix], kind or "_"))
    names = tuple(sorted({kind for prefix, kind in pairs if prefix != _OUTSIDE}))
    types = [names.index(kind) if prefix != _OUTSIDE else -1 for prefix, kind in pairs]
    return jnp.array([prefix for prefix, _ in pairs]), jnp.array(types), names
