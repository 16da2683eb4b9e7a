"""Gradients, the Jacobian and the gates of a model on one example, kept in a file."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.diagnose.gradient_flow import gradient_by_lag
from recur.diagnose.named_over_time import named_over_time, numbered
from recur.diagnose.one_row import one_row
from recur.diagnose.recurrent_jacobians import step_jacobians
from recur.files import replacing
from recur.layer import Layer, check_is_layer
from recur.masks import step_count
from recur.types import Context, Params

DIAGNOSIS = "diagnosis.npz"  # in the folder of a run
_LARGEST = 1536  # numbers of a carry whose Jacobian is computed


class Diagnosis(NamedTuple):
    """A model on one example, as `diagnose_example` returns it.

    Attributes:
      labels: a text for each step.
      gradient_by_lag: norms [T] of the gradient of the loss at the last step with respect to
        earlier carries; None of a layer that reads backward.
      jacobian_eigenvalues: eigenvalues of dh_T / dh_{T-1}, complex [N]; None of a layer that reads
        backward, and of a carry that is complex or has more than 1,536 numbers.
      gates: gates and other named values, [T, H] each, by name.
    """

    labels: tuple[str, ...]
    gradient_by_lag: np.ndarray | None
    jacobian_eigenvalues: np.ndarray | None
    gates: dict[str, np.ndarray]

    def save(self, path: str | os.PathLike) -> None:
        """Writes an `.npz` file of NumPy, whole or not at all.

        Args:
          path: the file; its folder must exist.
        """
        arrays: dict[str, Any] = {"labels": np.array(self.labels, str)}
        for name in ("gradient_by_lag", "jacobian_eigenvalues"):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        arrays |= {f"{_GATES}{name}": values for name, values in self.gates.items()}
        with replacing(path, "wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Diagnosis:
        """Reads a file that `save` wrote.

        Args:
          path: the file.

        Returns:
          The diagnosis.

        Raises:
          ValueError: if the file is not of this kind.
          OSError: if it cannot be read.
        """
        try:
            with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return cls(
                tuple(arrays.pop("labels").tolist()),
                arrays.pop("gradient_by_lag", None),
                arrays.pop("jacobian_eigenvalues", None),
                {name.removeprefix(_GATES): values for name, values in arrays.items()},
            )
        except OSError:
            raise
        except Exception as error:
            raise ValueError(f"{path}: expected a file of a Diagnosis, got another.") from error


_GATES = "gates/"


def diagnose_example(
    layer: Layer,
    params: Params,
    xs: Any,
    loss: Callable[[Any], jax.Array] | None = None,
    *,
    labels: Sequence[str] | None = None,
    context: Context = None,
) -> Diagnosis:
    """Computes gradients by lag, a Jacobian and the gates of a model on one held-out example.

    `recur.runs.Run.save_diagnosis` keeps them in the folder of a run, for its report.

    Args:
      layer: the model, over one sequence or batched. If it reads backward, only gates are computed.
      params: its params.
      xs: one example, inputs `[T, ...]` without a batch axis.
      loss: `loss(y) -> scalar`, of the output of the last step; the sum of the output by default.
      labels: a text for each step, such as its character; the numbers of the steps by default.
      context: named values that do not change over time, without a batch axis.

    Returns:
      A `Diagnosis`.

    Raises:
      TypeError: if layer is not a layer, the loss is not a function, or labels are not strings.
      ValueError: if the layer is pooled or has no carry, the loss is not a scalar, or there is not
        one label per step.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.diagnose import diagnose_example
      >>> layer, xs = recur.batch(recur.scan(recur.gru(8))), jnp.ones((5, 3))
      >>> found = diagnose_example(layer, layer.init(jax.random.key(0), xs[None]), xs)
      >>> found.gradient_by_lag.shape, found.jacobian_eigenvalues.shape, sorted(found.gates)
      ((5,), (8,), ['candidate', 'reset', 'update'])
    """
    caller = "diagnose_example"
    check_is_layer(layer, caller)
    layer = one_row(layer)
    texts = _check_labels(caller, labels, step_count(xs))
    carry = jax.eval_shape(lambda: layer.init_carry(params, xs, context=context))
    if not jax.tree.leaves(carry):
        raise ValueError(f"{caller}: expected a recurrent layer, got one without a carry.")
    norms, eigenvalues = None, None
    if layer.is_causal:
        of_loss = _sum if loss is None else loss
        found = gradient_by_lag(layer, params, xs, of_loss, context=context)
        norms = np.asarray(found)
        eigenvalues = _last_eigenvalues(layer, params, xs, carry, context)
    named = numbered(jax.device_get(named_over_time(layer, params, xs, context=context)))
    rows = {name: _without_rows(values) for name, values in named.items()}
    gates = {name: v for name, v in rows.items() if v.ndim == 2 and len(v) == len(texts)}
    return Diagnosis(texts, norms, eigenvalues, gates)


def _without_rows(values: np.ndarray) -> np.ndarray:
    """Named values without the axis of the only row of a batch."""
    return values[:, 0] if values.ndim == 3 and values.shape[1] == 1 else values


def _last_eigenvalues(layer, params, xs, carry, context) -> np.ndarray | None:
    """Eigenvalues of the Jacobian of the last step, by NumPy, since JAX has them on CPUs only."""
    leaves = jax.tree.leaves(carry)
    is_real = all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves)
    if not is_real or sum(leaf.size for leaf in leaves) > _LARGEST:
        return None
    before = None
    if step_count(xs) > 1:
        first = jax.tree.map(lambda x: x[:-1], xs)
        before, _ = layer.run(params, first, context=context)
    last = jax.tree.map(lambda x: x[-1:], xs)
    jacobians = step_jacobians(layer, params, last, carry=before, context=context)
    return np.linalg.eigvals(np.asarray(jacobians[0], np.float64)).astype(np.complex64)


def _sum(y: Any) -> jax.Array:
    return functools.reduce(jnp.add, [leaf.sum() for leaf in jax.tree.leaves(y)])


def _check_labels(caller: str, labels: Any, count: int) -> tuple[str, ...]:
    if labels is None:
        return tuple(map(str, range(count)))
    if isinstance(labels, str) or not hasattr(labels, "__len__"):
        raise TypeError(
            f"{caller}: expected labels as a sequence of strings, got {type(labels).__name__}."
        )
    if len(labels) != count:
        raise ValueError(
            f"{caller}: expected a label for each of {count} steps, got {len(labels)}."
        )
    return tuple(map(str, labels))
