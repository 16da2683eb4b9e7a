"""The training step, a pure function `(state, batch) -> (state, metrics)`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from recur.arguments import check_takes
from recur.checks import check_function, check_leaves, check_optimizer, describe
from recur.keys import check_key
from recur.train.recorded_norms import find_norms
from recur.types import Carry, Params

Loss = Callable[[Params, Carry, Any, jax.Array], tuple[jax.Array, tuple[Carry, dict[str, Any]]]]


class TrainState(NamedTuple):
    """The state of a training run, as `init_state` makes it.

    Attributes:
      step: the number of updates done, int32.
      params: the parameters.
      optimizer: the state of the Optax transformation.
      carry: the carry of the layer for the next window; None if each batch has whole sequences.
      key: the key of the run, into which each update folds `step`.
    """

    step: jax.Array
    params: Params
    optimizer: Any
    carry: Carry
    key: jax.Array


def init_state(
    params: Params, optimizer: optax.GradientTransformation, key: jax.Array, carry: Carry = None
) -> TrainState:
    """Initializes the training state.

    Args:
      params: from the `init` of a layer.
      optimizer: an Optax transformation.
      key: a typed key, for the noise of all updates.
      carry: the carry at the first window, for truncated backpropagation through time over
        streams.

    Returns:
      A `TrainState`.

    Raises:
      TypeError: if `key` is not a typed key, `optimizer` is not an Optax transformation, or a leaf
        of params or of the carry is not an array.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from recur.train import init_state
      >>> init_state({"w": jnp.ones(3)}, optax.sgd(0.1), jax.random.key(0)).step.item()
      0
    """
    check_optimizer(optimizer)
    check_leaves("params", params)
    check_leaves("carry", carry)
    return TrainState(
        jnp.zeros((), jnp.int32), params, optimizer.init(params), carry, check_key(key)
    )


def make_step(
    loss: Loss, optimizer: optax.GradientTransformation
) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]:
    """Makes a training step from a loss and an optimizer.

        g_t = ∇ loss(params_{t-1}, carry_{t-1}, batch_t, key_t)
        params_t = params_{t-1} + optimizer(g_t)

    The carry that the loss returns is a constant in the next update: no gradient flows through it.

    Args:
      loss: `loss(params, carry, batch, key) -> (value, (carry, metrics))`, with a scalar value, the
        carry for the next update, and a dict of scalars to report, which may be empty. If no carry
        is needed, return the given one, which is None.
      optimizer: an Optax transformation.

    Returns:
      `step(state, batch) -> (state, metrics)`, a pure function for `jax.jit`; `donate_argnums=0`
      saves the memory of one state. Metrics are `loss`, `gradient_norm` (before clipping by the
      optimizer), those of the loss, and those that an optimizer made by `record_norms` records.

    Raises:
      TypeError: if `loss` is not a function, or `optimizer` is not an Optax transformation; when
        tracing, if the loss does not return `(value, (carry, metrics))`, or the state is not a
        `TrainState`.
      ValueError: when tracing, if its value is not a scalar.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from recur.train import init_state, make_step
      >>> def loss(w, carry, batch, key):
      ...     return jnp.square(w - batch), (carry, {})
      >>> optimizer = optax.sgd(0.25)
      >>> step = jax.jit(make_step(loss, optimizer))
      >>> state = init_state(jnp.asarray(4.0), optimizer, jax.random.key(0))
      >>> state, metrics = step(state, 0.0)
      >>> state.params.item(), metrics["loss"].item(), metrics["gradient_norm"].item()
      (2.0, 16.0, 8.0)
    """
    differentiate = jax.value_and_grad(checked_loss(loss), has_aux=True)
    check_optimizer(optimizer)

    def step(state, batch):
        check_state(state)
        key = jax.random.fold_in(state.key, state.step)
        return advance(optimizer, state, differentiate(state.params, state.carry, batch, key))

    return step


def checked_loss(loss: Loss) -> Loss:
    """Wraps a loss with a check of its return value."""
    check_function("loss", loss)
    check_takes("loss", loss, ("params", "carry", "batch", "key"))

    @functools.wraps(loss)
    def checked(params, carry, batch, key):
        returned = loss(params, carry, batch, key)
        if _is_pair(returned) and _is_pair(returned[1]):
            value, (_, metrics) = returned
            if isinstance(metrics, Mapping):
                _check_scalar(value)
                check_leaves("loss: metrics", metrics)
                return returned
        raise TypeError(
            "loss: expected it to return (value, (carry, metrics)), with metrics as a dict, got "
            f"{describe(returned)}. Without a carry and metrics: return value, (carry, {{}})."
        )

    return checked


def _is_pair(value: Any) -> bool:
    """Whether `value` is a tuple or list of two; `case (_, _)` matches arrays of NumPy 2.5."""
    return isinstance(value, (tuple, list)) and len(value) == 2


def _check_scalar(value: Any) -> None:
    is_array = isinstance(value, jax.Array | np.ndarray | np.generic | float)
    if not is_array or jnp.shape(value) != ():
        raise ValueError(
            f"loss: expected a scalar as its value, got {describe(value)}. Take the mean over the "
            "steps that count: recur.train.masked_mean(losses, mask)."
        )
    if not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        raise TypeError(f"loss: expected a float as its value, got {describe(value)}.")


def check_state(state: Any, name: str = "state") -> None:
    """Raises a TypeError unless `state` is a TrainState."""
    if not isinstance(state, TrainState):
        raise TypeError(
            f"{name}: expected a TrainState, as init_state makes it, got {type(state).__name__}."
        )


def advance(
    optimizer: optax.GradientTransformation, state: TrainState, found: Any
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Applies an update, given the values and gradient that `value_and_grad` returned."""
    (value, (carry, metrics)), gradient = found
    updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
    after = TrainState(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        optimizer=optimizer_state,
        carry=carry,
        key=state.key,
    )
    norm = optax.tree.norm(gradient)
    norms = find_norms(optimizer_state)
    return after, {"loss": value, "gradient_norm": norm, **norms, **metrics}
