"""Metrics of predicted classes: accuracy, top-k accuracy, confusion matrix and F1 score."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from recur.arrays import as_array
from recur.checks import check_whole
from recur.ids import check_known_ids, is_inside
from recur.masks import zero_invalid
from recur.train.losses import check_targets, check_weights, mask_or_all, masked_sums
from recur.train.metrics import Average, Metric, ratio


def accuracy(
    predicted: jax.Array,
    targets: jax.Array,
    mask: jax.Array | None = None,
    weights: jax.Array | None = None,
) -> Average:
    """Computes the accuracy, the share of steps whose predicted class is the target.

    Args:
      predicted: logits, floats `[..., V]`, of which the largest is the predicted class; or the
        predicted classes, integer `[...]`. Steps with NaN logits are wrong.
      targets: integer `[...]`.
      mask: bool `[...]`, True where the step counts; all steps by default.
      weights: `[...]`, at least 0; 1 by default.

    Returns:
      An `Average`.

    Raises:
      TypeError: if predicted or targets have another dtype, mask is not bool, or weights are not
        real numbers.
      ValueError: if the shapes do not fit, a weight is known to be negative, or there are logits
        and a target that counts is known to be outside the vocabulary.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import accuracy
      >>> logits = jnp.array([[0.0, 1.0], [3.0, 2.0], [5.0, 4.0]])
      >>> accuracy(logits, jnp.array([1, 1, -1]), jnp.array([True, True, False])).value().item()
      0.5
    """
    predicted, targets = as_classes("accuracy", predicted, targets, mask)
    return Average(*masked_sums("accuracy", predicted == targets, mask, weights))


def top_k_accuracy(
    logits: jax.Array,
    targets: jax.Array,
    mask: jax.Array | None = None,
    weights: jax.Array | None = None,
    *,
    k: int,
) -> Average:
    """Computes the top-k accuracy, the share of steps whose target is among the k largest logits.

    Of equal logits, those of lower index come first, as for `jax.lax.top_k`.

    Args:
      logits: floats `[..., V]`. Steps whose target has a NaN logit are wrong.
      targets: integer `[...]`.
      mask: bool `[...]`, True where the step counts; all steps by default.
      weights: `[...]`, at least 0; 1 by default.
      k: how many classes are predicted.

    Returns:
      An `Average`.

    Raises:
      TypeError: if logits are not floats, targets not integers, mask is not bool, or weights are
        not real numbers.
      ValueError: if the shapes do not fit, k is below 1, a weight is known to be negative, or a
        target that counts is known to be outside the vocabulary.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import top_k_accuracy
      >>> logits = jnp.array([[0.0, 1.0, 2.0], [3.0, 2.0, 1.0]])
      >>> top_k_accuracy(logits, jnp.array([1, 2]), k=2).value().item()
      0.5
    """
    k = check_whole("top_k_accuracy: k", k, 1)
    given = targets
    logits = as_array("top_k_accuracy: logits", logits)
    targets = as_array("top_k_accuracy: targets", targets)
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(f"top_k_accuracy: expected logits as floats, got {logits.dtype}.")
    check_targets(targets, logits, "top_k_accuracy")
    mask_or_all(mask, targets.shape, "top_k_accuracy")
    size = logits.shape[-1]
    check_known_ids("top_k_accuracy", "targets that count", given, size, mask=mask)
    is_class = is_inside(targets, size)
    targets = zero_invalid(is_class, wide(targets))
    chosen = jnp.take_along_axis(logits, targets[..., None], -1)
    classes = jnp.arange(size, dtype=targets.dtype).reshape((1,) * targets.ndim + (size,))
    is_after = (logits < chosen) | ((logits == chosen) & (classes >= targets[..., None]))
    rank = (~is_after).sum(-1)  # V if the target's logit is NaN
    hits = is_class & (rank < min(k, size))
    return Average(*masked_sums("top_k_accuracy", hits, mask, weights))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ConfusionMatrix(Metric):
    """Counts of targets and predicted classes.

    Attributes:
      counts: `[V, V]`, rows are targets, columns are predicted classes; int32, or floats if there
        are weights.
    """

    counts: Any

    def value(self) -> Any:
        """Returns the counts."""
        return self.counts


def confusion_matrix(
    predicted: jax.Array,
    targets: jax.Array,
    mask: jax.Array | None = None,
    weights: jax.Array | None = None,
    *,
    num_classes: int,
) -> ConfusionMatrix:
    """Computes the confusion matrix, with a row for each target and a column for each prediction.

    Args:
      predicted: logits, floats `[..., V]`, or the predicted classes, integer `[...]`.
      targets: integer `[...]`.
      mask: bool `[...]`, True where the step counts; all steps by default.
      weights: `[...]`, at least 0; 1 by default.
      num_classes: V. A class outside is not counted where its value is not known.

    Returns:
      A `ConfusionMatrix`.

    Raises:
      TypeError: if predicted or targets have another dtype, mask is not bool, or weights are not
        real numbers.
      ValueError: if the shapes do not fit, a weight is known to be negative, or a class that counts
        is known to be outside the vocabulary.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import confusion_matrix
      >>> predicted, targets = jnp.array([0, 1, 1, 1]), jnp.array([0, 0, 1, 1])
      >>> confusion_matrix(predicted, targets, num_classes=2).value().tolist()
      [[1, 1], [0, 2]]
    """
    predicted, targets, mask, weights = _prepare(
        "confusion_matrix", predicted, targets, mask, weights, num_classes
    )
    mask = mask & is_inside(predicted, num_classes) & is_inside(targets, num_classes)
    cells = targets * num_classes + predicted
    counts = count_classes(cells, mask, weights, num_classes**2)
    return ConfusionMatrix(counts.reshape(num_classes, num_classes))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class F1Score(Metric):
    """Counts for precision, recall and F1 score, by class or by type of span.

        precision = correct / predicted,    recall = correct / actual
        F1 = 2 correct / (predicted + actual)

    Attributes:
      correct: `[V]`, predictions that are right; int32, or floats if there are weights.
      predicted: `[V]`, predictions of each class.
      actual: `[V]`, targets of each class.
      average: `"macro"` or `"micro"`, which mean `value` takes.
      names: the names of the classes or types; empty if they have none.
    """

    correct: Any
    predicted: Any
    actual: Any
    average: str = dataclasses.field(default="macro", metadata={"static": True})
    names: tuple[str, ...] = dataclasses.field(default=(), metadata={"static": True})

    def value(self) -> Any:
        """Returns the F1 score: macro, the mean over classes that occur; or micro, of the sums."""
        if self.average == "micro":
            correct, both = self.correct.sum(-1), (self.predicted + self.actual).sum(-1)
            return ratio(2 * correct, both)
        both = self.predicted + self.actual
        absent = (both == 0).astype(both.dtype)  # classes that do not occur add 0 / 1
        scores = ratio(2 * self.correct, both + absent)
        return ratio(scores.sum(-1), (1 - absent).sum(-1).astype(scores.dtype))

    def precision(self) -> Any:
        """Returns the precision of each class, `[V]`; NaN for a class that is never predicted."""
        return ratio(self.correct, self.predicted)

    def recall(self) -> Any:
        """Returns the recall of each class, `[V]`; NaN for a class that is never a target."""
        return ratio(self.correct, self.actual)

    def f1(self) -> Any:
        """Returns the F1 score of each class, `[V]`; NaN for a class that does not occur."""
        return ratio(2 * self.correct, self.predicted + self.actual)


def f1_score(
    predicted: jax.Array,
    targets: jax.Array,
    mask: jax.Array | None = None,
    weights: jax.Array | None = None,
    *,
    num_classes: int,
    average: str = "macro",
) -> F1Score:
    """Computes the F1 score over classes, macro or micro.

        F1_c = 2 correct_c / (predicted_c + actual_c),    macro: mean_c F1_c over classes that occur

    Args:
      predicted: logits, floats `[..., V]`, or the predicted classes, integer `[...]`.
      targets: integer `[...]`.
      mask: bool `[...]`, True where the step counts; all steps by default.
      weights: `[...]`, at least 0; 1 by default.
      num_classes: V. A class outside is not counted where its value is not known.
      average: `"macro"`, the mean of the scores of all classes that occur as a target or a
        prediction; or `"micro"`, the score of the sums over classes.

    Returns:
      An `F1Score`. Its methods have precision, recall and F1 score of each class.

    Raises:
      TypeError: if predicted or targets have another dtype, mask is not bool, or weights are not
        real numbers.
      ValueError: if the shapes do not fit, a weight is known to be negative, a class that counts is
        known to be outside the vocabulary, or average has another value.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import f1_score
      >>> predicted, targets = jnp.array([0, 1, 1, 1]), jnp.array([0, 0, 1, 1])
      >>> score = f1_score(predicted, targets, num_classes=2)
      >>> round(score.value().item(), 3), score.recall().tolist()
      (0.733, [0.5, 1.0])
    """
    check_average("f1_score", average)
    predicted, targets, mask, weights = _prepare(
        "f1_score", predicted, targets, mask, weights, num_classes
    )
    is_correct = mask & (predicted == targets)
    correct = count_classes(targets, is_correct, weights, num_classes)
    found = count_classes(predicted, mask, weights, num_classes)
    return F1Score(correct, found, count_classes(targets, mask, weights, num_classes), average)


def as_classes(
    caller: str, predicted: Any, targets: Any, mask: Any, size: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """Checks predicted and target classes, and returns both as integers of at least 32 bits.

    The class of NaN logits is -1. Known classes are from 0 to `size` - 1, the width of logits.
    """
    given = {"targets": targets, "predicted classes": predicted}
    predicted = as_array(f"{caller}: predicted", predicted)
    targets = as_array(f"{caller}: targets", targets)
    mask_or_all(mask, targets.shape, caller)
    if jnp.issubdtype(predicted.dtype, jnp.floating):
        check_targets(targets, predicted, caller)
        del given["predicted classes"]
        if size not in (None, predicted.shape[-1]):
            raise ValueError(
                f"{caller}: expected logits of {size} classes, [..., {size}], got "
                f"{list(predicted.shape)}."
            )
        size = predicted.shape[-1]
        best = jnp.argmax(predicted, axis=-1)
        predicted = jnp.where(jnp.isnan(predicted).any(-1), -1, best)
    elif not jnp.issubdtype(predicted.dtype, jnp.integer):
        raise TypeError(
            f"{caller}: expected predicted as logits, floats [..., V], or as integer classes "
            f"[...], got {predicted.dtype}."
        )
    else:
        check_targets(targets, predicted[..., None], caller)
    if size is not None:
        for what, ids in given.items():
            check_known_ids(caller, f"{what} that count", ids, size, mask=mask)
    return wide(predicted), wide(targets)


def wide(ids: jax.Array) -> jax.Array:
    """Casts integers to the default dtype, of 32 or 64 bits."""
    return ids.astype(jnp.result_type(int))


def count_classes(
    classes: jax.Array, mask: jax.Array, weights: jax.Array | None, size: int
) -> jax.Array:
    """Sums the weights of each class from 0 to `size` - 1; counts in int32 without weights."""
    mask = mask & is_inside(classes, size)
    counts = mask.astype(jnp.int32) if weights is None else zero_invalid(mask, weights)
    places = zero_invalid(mask, classes)

    def count(places, counts):
        return jnp.zeros(size, counts.dtype).at[places.ravel()].add(counts.ravel())

    if any(jax.typeof(places).sharding.spec):  # a mesh with explicit axes: count row by row
        return jax.vmap(count)(places, counts).sum(0)
    return count(places, counts)


def check_average(caller: str, average: Any) -> None:
    """Raises a ValueError unless `average` is "macro" or "micro"."""
    if average not in ("macro", "micro"):
        raise ValueError(f'{caller}: expected average as "macro" or "micro", got {average!r}.')


def _prepare(
    caller: str, predicted: Any, targets: Any, mask: Any, weights: Any, num_classes: Any
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """Checks all arguments, and returns classes, the mask and weights as arrays."""
    size = check_whole(f"{caller}: num_classes", num_classes, 1)
    predicted, targets = as_classes(caller, predicted, targets, mask, size)
    if weights is not None:
        weights = check_weights(weights, mask, targets.shape, caller)
    return predicted, targets, mask_or_all(mask, targets.shape, caller), weights
