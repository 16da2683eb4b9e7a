"""Logging of the saturation of gates during training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur.checks import check_number
from recur.diagnose.named_over_time import named_over_time, numbered
from recur.layer import Layer, check_is_layer
from recur.train import Report
from recur.types import Context


def log_saturation(
    layer: Layer,
    xs: Any,
    *,
    threshold: float = 0.1,
    context: Context = None,
    length: Any = None,
) -> Callable[[Report], dict[str, float]]:
    """Makes a callback of `fit` that logs how saturated the gates are, on an example.

        closed/g      share of the values of gate g that are below the threshold
        open/g        share of those above 1 - threshold
        saturated/g   share of the values of a tanh candidate beyond 2 threshold - 1 or
                      1 - 2 threshold, where tanh is as flat as a sigmoid at these values

    Gates are the values in [0, 1] that cells name, and candidates the values "candidate" in
    [-1, 1]; other values are left out. Where several cells have a gate, its names are g/0, g/1, ...

    Args:
      layer: the model that is trained, whose params are `report.state.params`.
      xs: the example: inputs `[T, ...]`, or `[B, T, ...]` if the layer is batched.
      threshold: from 0 to 0.5.
      context: as in `Layer.run`.
      length: as in `Layer.run`; give full sequences for shares of all steps.

    Returns:
      A callback. `train.every(100, log_saturation(...))` calls it less often.

    Raises:
      TypeError: if layer is not a layer.
      ValueError: if the threshold is not from 0 to 0.5.

    Example:
      >>> import jax, jax.numpy as jnp, optax, recur
      >>> from recur.diagnose import log_saturation
      >>> from recur.train import Report, init_state
      >>> layer, xs = recur.scan(recur.gru(8)), jnp.zeros((20, 3))
      >>> state = init_state(layer.init(jax.random.key(0), xs), optax.sgd(0.1), jax.random.key(1))
      >>> log = log_saturation(layer, xs)
      >>> log(Report(10, 0, state, {}))["open/update"]  # a gate of 0.5, with inputs of zero
      0.0
    """
    check_is_layer(layer, "log_saturation", may_be_pooled=True)
    threshold = check_number("log_saturation: threshold", threshold)
    if not 0 <= threshold <= 0.5:
        raise ValueError(f"log_saturation: expected a threshold from 0 to 0.5, got {threshold}.")

    @jax.jit
    def measure(params):
        named = named_over_time(layer, params, xs, context=context, length=length)
        return {name: _shares(name, value, threshold) for name, value in numbered(named).items()}

    def log(report: Report) -> dict[str, float]:
        found = jax.device_get(measure(report.state.params))
        return {
            f"{kind}/{name}": float(share)
            for name, (is_bounded, shares) in found.items()
            for kind, share in (shares if is_bounded else {}).items()
        }

    return log


def _shares(name: str, value: jax.Array, threshold: float) -> tuple[jax.Array, dict[str, Any]]:
    """Whether a value is in its range, and the shares at the ends of it."""
    if name.split("/")[0] == "candidate":
        beyond = jnp.abs(value) > 1 - 2 * threshold
        return (jnp.abs(value) <= 1).all(), {"saturated": beyond.mean()}
    shares = {"closed": (value < threshold).mean(), "open": (value > 1 - threshold).mean()}
    return ((value >= 0) & (value <= 1)).all(), shares
