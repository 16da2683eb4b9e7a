"""Cells as users write them: plain functions, and each kind of structure by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import recur
from recur.checks import from_context
from recur.types import AffineCell, Cell, GatedCell


def own_cell() -> Cell:
    """A user's plain functions: a rotation, whose gradient does not vanish."""

    def init(key, x):
        return {"angle": jax.random.normal(key), "in": jax.random.normal(key, (x.shape[0], 2))}

    def start(params, x):
        return jnp.zeros(2)

    def step(params, h, x):
        c, s = jnp.cos(params["angle"]), jnp.sin(params["angle"])
        h = jnp.stack([c * h[0] - s * h[1], s * h[0] + c * h[1]]) + jnp.tanh(x @ params["in"])
        return h, h

    return recur.cell(init, start, step)


def leaky_integrator() -> AffineCell:
    """h_t = a ⊙ h_{t-1} + (1 - a) ⊙ x_t, with a = sigmoid(params)."""

    def init(key, x, context=None):
        return jax.random.normal(key, x.shape)

    def bind(params, x, *, key=None, context=None):
        return jax.nn.sigmoid(params)

    def start(bound, x):
        return jnp.zeros(x.shape)

    def coefficients(bound, x, key=None):
        return bound, (1 - bound) * x

    def read(bound, h, x, key=None):
        return h

    return AffineCell(init, bind, start, coefficients, read)


def block_diagonal_cell() -> GatedCell:
    """Two heads of two units each: h_t = tanh(x_t W + h_{t-1} diag(U_1, U_2))."""

    def init(key, x, context=None):
        return {
            "w": jax.random.normal(key, (x.shape[0], 4)),
            "u": jax.random.normal(key, (2, 2, 2)),
        }

    def gates(bound, h, u, m):
        h = jnp.tanh(u + m)
        return h, h

    return GatedCell(
        init=init,
        bind=lambda params, x, *, key=None, context=None: params,
        start=lambda bound, x: jnp.zeros(4),
        project=lambda bound, x, key=None: x @ bound["w"],
        hidden=lambda bound, h: h,
        kernels=lambda bound: bound["u"],
        gates=gates,
        read=lambda bound, v, x, key=None: v,
    )


def conditioned_cell() -> Cell:
    """A cell that reads a context: h_t = tanh(h_{t-1} + x_t + v)."""

    def bind(params, x, *, key=None, context=None):
        return params, from_context(context, "image", "conditioned_cell")

    def step(bound, h, x, key=None):
        params, image = bound
        h = jnp.tanh(params * h + x + image)
        return h, h

    return Cell(
        init=lambda key, x, context=None: jax.random.normal(key, x.shape),
        bind=bind,
        start=lambda bound, x: jnp.zeros(x.shape),
        step=step,
    )
