"""One update as one pure step, `(state, batch) -> (state, metrics)`: a recurrence too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from recur.keys import check_key
from recur.types import Carry, Params

Loss = Callable[[Params, Carry, Any, jax.Array], tuple[jax.Array, tuple[Carry, dict[str, Any]]]]


class TrainState(NamedTuple):
    """All that an update hands to the next, and so all that a checkpoint must hold."""

    step: jax.Array  # int32, updates done
    params: Params
    optimizer: Any  # the state of the Optax transformation
    carry: Carry  # of the layer, handed across windows; None where sequences are whole
    key: jax.Array  # of the run; each update folds its step into it


def init_state(
    params: Params, optimizer: optax.GradientTransformation, key: jax.Array, carry: Carry = None
) -> TrainState:
    """The state before the first update.

    Args:
      params: from a layer's `init`.
      optimizer: any Optax transformation.
      key: a typed key, for all noise of the run.
      carry: the carry with which the first window starts, for truncated backpropagation through
        time over streams.

    Returns:
      A `TrainState`.

    Raises:
      TypeError: when `key` is not a typed key.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from recur.train import init_state
      >>> init_state({"w": jnp.ones(3)}, optax.sgd(0.1), jax.random.key(0)).step.item()
      0
    """
    return TrainState(
        jnp.zeros((), jnp.int32), params, optimizer.init(params), carry, check_key(key)
    )


def make_step(
    loss: Loss, optimizer: optax.GradientTransformation
) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]:
    """Makes the update of a loss and an optimizer.

        g_t = ∇ loss(params_{t-1}, carry_{t-1}, batch_t, key_t)
        params_t = params_{t-1} + optimizer(g_t)

    The carry that the loss returns is handed to the next update as a constant: no error flows back
    through it.

    Args:
      loss: `loss(params, carry, batch, key) -> (value, (carry, metrics))`, with a scalar value, the
        carry to hand on, and a dict of further scalars to report, which may be empty. Where there
        is nothing to hand on, it returns the carry that came, None.
      optimizer: any Optax transformation.

    Returns:
      `step(state, batch) -> (state, metrics)`, pure, for you to `jit`: `donate_argnums=0` saves the
      memory of one state. Metrics are `loss`, `gradient_norm` (before the optimizer clips it) and
      those of the loss.

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
    differentiate = jax.value_and_grad(loss, has_aux=True)

    def step(state, batch):
        key = jax.random.fold_in(state.key, state.step)
        return advance(optimizer, state, differentiate(state.params, state.carry, batch, key))

    return step


def advance(
    optimizer: optax.GradientTransformation, state: TrainState, found: Any
) -> tuple[TrainState, dict[str, jax.Array]]:
    """The state and the metrics after an update by `found`, as `value_and_grad` of a loss gives."""
    (value, (carry, metrics)), gradient = found
    updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
    after = TrainState(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        optimizer=optimizer_state,
        carry=carry,
        key=state.key,
    )
    return after, {"loss": value, "gradient_norm": optax.tree.norm(gradient), **metrics}
