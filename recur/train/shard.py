"""Data-parallel updates on one host: the rows of a batch are split over devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from recur.arrays import check_one_number
from recur.checks import check_function, check_leaves, check_optimizer
from recur.dtypes import as_float
from recur.keys import split
from recur.train.step import (
    Loss,
    TrainState,
    advance,
    check_state,
    checked_loss,
)

Gradient = Callable[[Any, Any, Any, jax.Array], tuple[tuple[jax.Array, Any], Any]]


def gradient_by_device(
    loss: Loss,
    *,
    devices: Sequence[Any] | None = None,
    weight: Callable[[Any], Any] | None = None,
) -> Gradient:
    """Computes the value and gradient of a loss, with the rows of a batch split over devices.

        value = sum_d w_d loss(params, rows_d) / sum_d w_d,    w_d = weight(rows_d)

    Each device runs its own program; the first device sums the results. This uses all cores of a
    CPU: XLA runs a small product on one thread, so two halves of a batch on two devices are faster
    than the whole batch on one device with two threads. Set the number of CPU devices before JAX
    starts, `jax.config.update("jax_num_cpu_devices", 2)`. On several GPUs or TPUs, shard the batch
    and use `jax.jit` of an ordinary step instead.

    Args:
      loss: as for `make_step`, a mean over rows or steps; the row axis of the carry and the batch
        is the first.
      devices: `jax.local_devices()` by default, those of this process.
      weight: `weight(batch) -> scalar`, the share of the rows in the mean, such as
        `batch.mask.sum()`; the number of rows by default.

    Returns:
      `(params, carry, batch, key) -> ((value, (carry, metrics)), gradient)`, as
      `jax.value_and_grad(loss, has_aux=True)` returns, on the first device. Metrics are averaged as
      the value is. The function is compiled inside; do not call it under `jax.jit`. Each device
      draws its own noise.

    Raises:
      TypeError: if an argument is of another type, or `weight` does not return one number.
      ValueError: if there is no device, or the rows do not divide evenly among devices.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.train import gradient_by_device
      >>> def loss(w, carry, batch, key):
      ...     return jnp.square(w * batch).mean(), (carry, {})
      >>> differentiate = gradient_by_device(loss, devices=jax.devices()[:1])
      >>> (value, _), gradient = differentiate(2.0, None, jnp.ones(4), jax.random.key(0))
      >>> value.item(), gradient.item()
      (4.0, 4.0)
    """
    devices = _as_devices(jax.local_devices() if devices is None else devices)
    if weight is not None:
        check_function("weight", weight)
    differentiate_loss = jax.value_and_grad(checked_loss(loss), has_aux=True)

    @jax.jit
    def of_part(params, carry, batch, key):
        share = _row_count(batch) if weight is None else weight(batch)
        check_one_number("weight", share)
        return differentiate_loss(params, carry, batch, key), jnp.asarray(share)

    @jax.jit
    def join(parts):
        shares = jnp.stack([as_float(share) for _, share in parts])
        total = shares.sum()
        equal = jnp.full_like(shares, 1 / len(parts))  # if all weights are 0
        shares = jnp.where(total == 0, equal, shares / jnp.where(total == 0, 1, total))

        def mean(*leaves):
            """The mean in the dtype of the leaves; a float for integers and bools."""
            values = jnp.stack([*map(as_float, leaves)])
            average = jnp.tensordot(shares.astype(values.dtype), values, 1)
            is_inexact = jnp.issubdtype(leaves[0].dtype, jnp.inexact)
            return average.astype(leaves[0].dtype) if is_inexact else average

        values, carries, metrics, gradients = zip(
            *((value, *rest, gradient) for ((value, rest), gradient), _ in parts), strict=True
        )
        carry = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *carries)
        value, metrics, gradient = (
            jax.tree.map(mean, *each) for each in (values, metrics, gradients)
        )
        return (value, (carry, metrics)), gradient

    def differentiate(params, carry, batch, key):
        check_leaves("carry", carry)
        check_leaves("batch", batch)
        rows = _split((carry, batch), len(devices))
        parts = [
            of_part(*jax.device_put((params, *part, part_key), device))
            for device, part, part_key in zip(devices, rows, split(key, len(devices)), strict=True)
        ]  # all devices start before the first result is awaited
        return join(jax.device_put(parts, devices[0]))

    return differentiate


def make_sharded_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    devices: Sequence[Any] | None = None,
    weight: Callable[[Any], Any] | None = None,
) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]:
    """Makes a data-parallel training step, with the rows of a batch split over devices.

        g_t = sum_d w_d ∇ loss(params_{t-1}, carry_{t-1,d}, batch_{t,d}, key_{t,d}) / sum_d w_d
        params_t = params_{t-1} + optimizer(g_t)

    Use it on a CPU with several cores; `gradient_by_device` explains why, and how to get several
    CPU devices.

    Args:
      loss: as for `make_step`, a mean over rows or steps; the row axis of the carry and the batch
        is the first.
      optimizer: any Optax transformation.
      devices: `jax.local_devices()` by default, those of this process.
      weight: `weight(batch) -> scalar`, the share of the rows in the mean, such as
        `batch.mask.sum()`; the number of rows by default.

    Returns:
      `step(state, batch) -> (state, metrics)`, as for `make_step`. It is compiled inside; do not
      call it under `jax.jit`.

    Raises:
      TypeError: if an argument is of another type, or `weight` does not return one number.
      ValueError: if there is no device, or the rows do not divide evenly among devices.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from recur.train import init_state, make_sharded_step
      >>> def loss(w, carry, batch, key):
      ...     return jnp.square(w - batch).mean(), (carry, {})
      >>> optimizer = optax.sgd(0.25)
      >>> step = make_sharded_step(loss, optimizer, devices=jax.devices()[:1])
      >>> state = init_state(jnp.asarray(4.0), optimizer, jax.random.key(0))
      >>> state, metrics = step(state, jnp.zeros(8))
      >>> state.params.item(), metrics["loss"].item()
      (2.0, 16.0)
    """
    differentiate = gradient_by_device(loss, devices=devices, weight=weight)
    check_optimizer(optimizer)
    update = jax.jit(lambda state, found: advance(optimizer, state, found))

    def step(state, batch):
        check_state(state)
        key = jax.random.fold_in(state.key, state.step)
        return update(state, differentiate(state.params, state.carry, batch, key))

    return step


def _as_devices(devices: Any) -> list[Any]:
    listed = list(devices) if isinstance(devices, Iterable) else [None]
    if not all(isinstance(device, jax.Device) for device in listed):
        raise TypeError(
            f"devices: expected a list of devices, such as jax.devices()[:2], got {devices!r}."
        )
    if not listed:
        raise ValueError("devices: expected at least one device, got none.")
    return listed


def _split(tree: Any, parts: int) -> list[Any]:
    """Splits the rows of all arrays of a tree into equal parts."""
    count = _row_count(tree)
    if count % parts:
        raise ValueError(
            f"expected rows that divide evenly among {parts} devices, got {count}. Choose another "
            "batch size, or fewer devices: devices=jax.devices()[:1]."
        )
    size = count // parts
    return [
        jax.tree.map(lambda leaf, at=at: leaf[at : at + size], tree) for at in range(0, count, size)
    ]


def _row_count(tree: Any) -> int:
    shapes = [list(jnp.shape(leaf)) for leaf in jax.tree.leaves(tree)]
    counts = {tuple(shape[:1]) for shape in shapes}
    if len(counts) != 1 or counts & {(), (0,)}:
        raise ValueError(
            "expected arrays with a first axis of the same number of rows, got the shapes "
            f"{shapes}."
        )
    return counts.pop()[0]
