"""Statistics of gates and states: time constants, saturation, dead units, effective rank."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from recur.arrays import as_array
from recur.checks import check_number, known_value
from recur.dtypes import as_float


def time_constants(forget: Any) -> jax.Array:
    """Time constants of forget gates or decays, in steps: how long a unit remembers.

        τ = -1 / log f

    A state that is multiplied by f at each step falls to 1 / e, about 37 percent, after τ steps.

    Args:
      forget: gates or decays, of values in [0, 1], any shape.

    Returns:
      Time constants of the same shape: 0 where f = 0, inf where f = 1.

    Raises:
      TypeError: if forget is not an array of numbers.
      ValueError: if a known value is not in [0, 1].

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.diagnose import time_constants
      >>> print(time_constants(jnp.array([0.0, 0.5, 0.99, 1.0])).round(1))
      [ 0.   1.4 99.5  inf]

    References:
      Tallec & Ollivier 2018, Can recurrent neural networks warp time?,
      https://arxiv.org/abs/1804.11188
    """
    return 1 / jnp.abs(jnp.log(_shares("time_constants: forget", forget)))


def saturation(gates: Any, threshold: float = 0.1) -> tuple[jax.Array, jax.Array]:
    """Shares of the time for which each gate is nearly closed, and nearly open.

        left_i = share of t with g_{t,i} < threshold,  right_i = share with g_{t,i} > 1 - threshold

    Args:
      gates: gates in [0, 1], `[..., H]`; all axes but the last are steps.
      threshold: from 0 to 0.5.

    Returns:
      `(left, right)`, `[H]` each.

    Raises:
      TypeError: if gates is not an array of numbers.
      ValueError: if a known value is not in [0, 1], gates is a scalar or has no steps, or the
        threshold is not from 0 to 0.5.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.diagnose import saturation
      >>> left, right = saturation(jnp.array([[0.01, 0.5], [0.03, 0.99]]))
      >>> left.tolist(), right.tolist()
      ([1.0, 0.0], [0.0, 0.5])

    References:
      Karpathy, Johnson & Fei-Fei 2016, Visualizing and understanding recurrent networks,
      section 4.2, https://arxiv.org/abs/1506.02078
    """
    threshold = check_number("saturation: threshold", threshold)
    if not 0 <= threshold <= 0.5:
        raise ValueError(f"saturation: expected a threshold from 0 to 0.5, got {threshold}.")
    gates = _rows("saturation: gates", _shares("saturation: gates", gates))
    return (gates < threshold).mean(0), (gates > 1 - threshold).mean(0)


def dead_units(states: Any, tolerance: float = 1e-6) -> jax.Array:
    """Finds units whose state is the same at all steps, such as those of a ReLU that is never on.

    Args:
      states: `[..., H]`; all axes but the last are steps.
      tolerance: the largest range of a dead unit.

    Returns:
      bool `[H]`.

    Raises:
      TypeError: if states is not an array of numbers.
      ValueError: if states is a scalar or has no steps, or the tolerance is negative.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.diagnose import dead_units
      >>> dead_units(jnp.array([[0.0, 1.0], [0.0, 2.0]])).tolist()
      [True, False]
    """
    tolerance = check_number("dead_units: tolerance", tolerance)
    if tolerance < 0:
        raise ValueError(f"dead_units: expected a tolerance of at least 0, got {tolerance}.")
    states = _rows("dead_units: states", as_array("dead_units: states", states))
    return jnp.ptp(states, axis=0) <= tolerance


def effective_rank(states: Any) -> jax.Array:
    """Effective rank of states: how many dimensions a recurrent network uses.

        p_i = σ_i / sum_j σ_j,    rank = exp(-sum_i p_i log p_i)

    where σ are the singular values of the centred states.

    Args:
      states: `[..., H]`; all axes but the last are steps.

    Returns:
      A number from 1 to H; 0 if all states are the same.

    Raises:
      TypeError: if states is not an array of numbers.
      ValueError: if states is a scalar or has no steps.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.diagnose import effective_rank
      >>> on_a_line = jnp.outer(jnp.arange(5.0), jnp.ones(3))
      >>> round(effective_rank(on_a_line).item(), 3)
      1.0

    References:
      Roy & Vetterli 2007, The effective rank: a measure of effective dimensionality,
      https://infoscience.epfl.ch/record/110188/files/RoyV07.pdf
    """
    states = as_float(_rows("effective_rank: states", as_array("effective_rank: states", states)))
    values = jnp.linalg.svd(states - states.mean(0, keepdims=True), compute_uv=False)
    shares = values / jnp.where(values.sum() > 0, values.sum(), 1)
    entropy = -jnp.where(shares > 0, shares * jnp.log(jnp.where(shares > 0, shares, 1)), 0).sum()
    return jnp.where(values.sum() > 0, jnp.exp(entropy), 0)


def _shares(name: str, values: Any) -> jax.Array:
    """Values that must be in [0, 1]."""
    values = as_array(name, values)
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(f"{name}: expected real numbers from 0 to 1, got {values.dtype}.")
    known = known_value(values)
    if known is not None and ((known < 0) | (known > 1)).any():
        raise ValueError(
            f"{name}: expected values from 0 to 1, got {known.min():.4g} to {known.max():.4g}. "
            "Pass the gates, not what is before their sigmoid."
        )
    return values


def _rows(name: str, values: jax.Array) -> jax.Array:
    """Values `[steps, H]` of `[..., H]`."""
    if not values.ndim or not values.size:
        raise ValueError(f"{name}: expected [..., H] with steps, got {list(values.shape)}.")
    return values.reshape(-1, values.shape[-1])
