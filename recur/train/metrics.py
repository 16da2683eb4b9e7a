"""Metrics as values that are merged over batches, and the evaluation of a model with them."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import check_function, describe
from recur.train.losses import masked_sums

M = TypeVar("M", bound="Metric")


class Metric:
    """Base class of metrics, which are pytrees of sums over the steps that count.

    `merge` adds the sums of two batches, and `value` computes the metric from them. So a metric of
    merged batches is that of all their steps, whatever the sizes of the batches. Because all leaves
    are sums, `jax.lax.psum(metric, axis_name)` merges over devices in `jax.shard_map`; under
    `jax.jit` with sharded batches nothing needs to be done.

    For a metric of your own, derive a frozen dataclass, register it with
    `jax.tree_util.register_dataclass`, and define `value`.

    Example:
      >>> import dataclasses, jax
      >>> from recur.train import Metric
      >>> @jax.tree_util.register_dataclass
      ... @dataclasses.dataclass(frozen=True)
      ... class Total(Metric):
      ...     total: jax.Array
      ...     def value(self):
      ...         return self.total
      >>> Total(2).merge(Total(3)).value()
      5
    """

    def merge(self: M, other: M) -> M:
        """Adds the sums of two metrics of the same kind.

        Args:
          other: the metric of other steps.

        Returns:
          The metric of all steps.

        Raises:
          TypeError: if the metrics differ in type or options.
          ValueError: if the shapes of their sums differ.
        """
        if _structure(self) != _structure(other):
            raise TypeError(
                "merge: expected two metrics of the same type and options, got "
                f"{describe(self)} and {describe(other)}."
            )
        if jax.tree.map(jnp.shape, self) != jax.tree.map(jnp.shape, other):
            raise ValueError(
                "merge: expected two metrics with sums of the same shapes, got "
                f"{describe(self)} and {describe(other)}."
            )
        return jax.tree.map(operator.add, self, other)

    def value(self) -> Any:
        """Computes the metric from its sums."""
        raise NotImplementedError


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Average(Metric):
    """A weighted mean, `transform(total / weight)`; NaN if nothing counts.

    Attributes:
      total: the weighted sum of the values, a float of at least 32 bits.
      weight: the sum of the weights, of the dtype of `total`; without weights, the number of steps.
      transform: a function applied to the mean, such as a square root; None for the mean itself.
    """

    total: Any
    weight: Any
    transform: Callable[[Any], Any] | None = dataclasses.field(
        default=None, metadata={"static": True}
    )

    def value(self) -> Any:
        """Returns the mean, or the transform of it."""
        mean = ratio(self.total, self.weight)
        return mean if self.transform is None else self.transform(mean)


def average(
    values: jax.Array,
    mask: jax.Array | None = None,
    weights: jax.Array | None = None,
    *,
    transform: Callable[[Any], Any] | None = None,
) -> Average:
    """Makes a metric of the masked and weighted average of values, such as losses.

        transform(sum_t mask_t w_t values_t / sum_t mask_t w_t)

    Args:
      values: `[...]`, such as the losses of `cross_entropy`; those at masked steps never matter.
      mask: bool `[...]`, True where the step counts; all steps by default.
      weights: w, `[...]`, at least 0; 1 by default. A step of weight 0 does not count.
      transform: a function applied to the average over all batches, such as `perplexity`. Metrics
        can be merged if they have the same function, so do not pass a lambda.

    Returns:
      An `Average`.

    Raises:
      TypeError: if values or weights are not numbers, mask is not bool, or transform is not a
        function.
      ValueError: if the shapes do not fit, or a weight is known to be negative.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import average
      >>> first, second = average(jnp.array([1.0, 2.0, 3.0])), average(jnp.array([6.0]))
      >>> first.merge(second).value().item()
      3.0
    """
    if transform is not None:
        check_function("average: transform", transform)
    return Average(*masked_sums("average", values, mask, weights), transform)


def ratio(total: Any, weight: Any) -> Any:
    """`total / weight`, NaN where the weight is 0; NumPy arrays and numbers stay on the host."""
    if any(isinstance(each, jax.Array) for each in (total, weight)):
        return jnp.where(weight == 0, jnp.nan, total / jnp.where(weight == 0, 1, weight))
    total, weight = np.asarray(total, float), np.asarray(weight, float)
    mean = np.divide(total, weight, out=np.full_like(total, np.nan), where=weight != 0)
    return mean[()]  # a number and not an array without axes


def accumulate(step: Callable[[Any], Any], batches: Iterable[Any]) -> Any:
    """Runs a step over batches and merges the metrics that it returns.

    The sums of the batches are added in float64 and int64 on the host, so counts are exact. The
    next batch is started before the sums of the last one are read.

    Args:
      step: `step(batch) -> metrics`, a metric or a pytree of metrics, such as a dict. Put it under
        `jax.jit` unless it computes metrics of texts.
      batches: a finite iterable of batches.

    Returns:
      The metrics of all batches, with NumPy arrays.

    Raises:
      TypeError: if `step` is not a function or does not return metrics, or batches are not
        iterable.
      ValueError: if there is no batch.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.train import accumulate, average
      >>> batches = [jnp.array([1.0, 2.0, 3.0]), jnp.array([6.0])]
      >>> accumulate(jax.jit(average), batches).value().item()
      3.0
    """
    return _accumulate("accumulate", step, batches)


def evaluate(step: Callable[[Any], Any], batches: Iterable[Any]) -> Any:
    """Evaluates metrics over batches, each step with its right weight.

    This is `accumulate`, and then the value of each metric.

    Args:
      step: `step(batch) -> metrics`, a metric or a pytree of metrics, such as a dict. Put it under
        `jax.jit` unless it computes metrics of texts.
      batches: a finite iterable of batches.

    Returns:
      The values, in the structure that `step` returns: floats, and NumPy arrays of metrics such as
      a confusion matrix.

    Raises:
      TypeError: if `step` is not a function or does not return metrics, or batches are not
        iterable.
      ValueError: if there is no batch.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.train import accuracy, evaluate
      >>> @jax.jit
      ... def step(batch):
      ...     predicted, targets = batch
      ...     return {"accuracy": accuracy(predicted, targets)}
      >>> first, second = jnp.array([1, 2, 3]), jnp.array([5])
      >>> evaluate(step, [(first, first), (second, second + 1)])
      {'accuracy': 0.75}
    """
    merged = _accumulate("evaluate", step, batches)

    def plain(value):
        array = np.asarray(value)
        return array if array.ndim else array.item()

    def value_of(metric):
        return jax.tree.map(plain, metric.value())

    return jax.tree.map(value_of, merged, is_leaf=_is_metric)


def _accumulate(caller: str, step: Callable[[Any], Any], batches: Iterable[Any]) -> Any:
    check_function(f"{caller}: step", step)
    if not isinstance(batches, Iterable):
        raise TypeError(f"{caller}: expected batches as an iterable, got {type(batches).__name__}.")
    merged = waiting = None
    for batch in batches:
        found = _check_metrics(caller, step(batch))
        merged, waiting = _merge(caller, merged, waiting), found
    if waiting is None:
        raise ValueError(f"{caller}: expected at least one batch, got none.")
    return _merge(caller, merged, waiting)


def _merge(caller: str, merged: Any, found: Any) -> Any:
    """Merges pytrees of metrics, the second one after a copy to the host; either may be None."""
    if found is None:
        return merged
    found = jax.tree.map(_to_host, found)
    if merged is None:
        return found
    before, after = (_structure(each, _is_metric) for each in (merged, found))
    if before != after:
        raise ValueError(
            f"{caller}: expected step to return the same metrics for every batch, got {before} and "
            f"{after}."
        )
    return jax.tree.map(lambda a, b: a.merge(b), merged, found, is_leaf=_is_metric)


def _to_host(leaf: Any) -> Any:
    """The leaf as a NumPy array of 64 bits; what is not an array stays as it is."""
    if not isinstance(leaf, (jax.Array, np.ndarray, np.generic)):
        return leaf
    array = np.asarray(leaf)
    if jnp.issubdtype(array.dtype, jnp.floating):
        return array.astype(np.float64)
    return array.astype(np.int64) if array.dtype.kind in "biu" else array


def _structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    return jax.tree.structure(tree, is_leaf=is_leaf)


def _is_metric(value: Any) -> bool:
    return callable(getattr(value, "merge", None)) and callable(getattr(value, "value", None))


def _check_metrics(caller: str, found: Any) -> Any:
    leaves = jax.tree.leaves(found, is_leaf=_is_metric)
    if not leaves or not all(map(_is_metric, leaves)):
        raise TypeError(
            f"{caller}: expected step to return metrics, such as "
            '{"loss": average(losses, mask)}, got ' + f"{describe(found)}."
        )
    return found
