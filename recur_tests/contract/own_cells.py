"""Cells as users write them, from plain functions."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

import recur
from recur.checks import from_context
from recur.types import Cell


def own_cell() -> Cell:
    """A rotation, whose gradient does not vanish, plus a function of the input."""

    def init(key, x):
        return {"angle": jax.random.normal(key), "in": jax.random.normal(key, (x.shape[0], 2))}

    def init_carry(params, x):
        return jnp.zeros(2)

    def step(params, h, x):
        c, s = jnp.cos(params["angle"]), jnp.sin(params["angle"])
        h = jnp.stack([c * h[0] - s * h[1], s * h[0] + c * h[1]]) + jnp.tanh(x @ params["in"])
        return h, h

    return recur.cell(init, init_carry, step)


def draw_kernels(key: jax.Array, x: jax.Array, features: int, gates: int = 1) -> dict:
    """Draws W, U and b of all gates, concatenated."""
    shapes = {"w": (x.shape[0],), "u": (features,), "b": ()}
    return {n: jax.random.normal(key, (*s, gates * features)) for n, s in shapes.items()}


def plain_cell(activation=jnp.tanh) -> Cell:
    """The simplest cell: h_t = tanh(x_t W + h_{t-1} U + b)."""

    def step(params, h, x):
        h = activation(x @ params["w"] + h @ params["u"] + params["b"])
        return h, h

    return recur.cell(lambda key, x: draw_kernels(key, x, 4), lambda params, x: jnp.zeros(4), step)


class WideState(NamedTuple):
    """The carry of `wide_lstm`."""

    cell: jax.Array
    hidden: jax.Array


def wide_lstm() -> Cell:
    """An LSTM with the pre-activations of its four gates in one array, as in most tutorials."""

    def step(params, state, x):
        a = x @ params["w"] + state.hidden @ params["u"] + params["b"]
        i, f, g, o = jnp.split(a, 4)
        c = jax.nn.sigmoid(f) * state.cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return WideState(c, h), h

    def init_carry(params, x):
        return WideState(jnp.zeros(3), jnp.zeros(3))

    return recur.cell(lambda key, x: draw_kernels(key, x, 3, gates=4), init_carry, step)


def leaky_integrator() -> Cell:
    """h_t = a ⊙ h_{t-1} + (1 - a) ⊙ x_t, with a = sigmoid(params): linear in its carry."""

    def init(key, x, context=None):
        return jax.random.normal(key, x.shape)

    def bind(params, x, *, key=None, context=None):
        return jax.nn.sigmoid(params)

    def init_carry(bound, x):
        return jnp.zeros(x.shape)

    def step(bound, h, x, key=None):
        h = bound * h + (1 - bound) * x
        return h, h

    return Cell(init, bind, init_carry, step)


def interpolating_cell() -> Cell:
    """h_t = h_{t-1} + z_t ⊙ (x_t - h_{t-1}), with z_t = sigmoid(x_t W): linear in its carry too."""

    def step(kernel, h, x):
        z = jax.nn.sigmoid(x @ kernel)
        h = h + z * (x - h)
        return h, jnp.tanh(h)

    def init(key, x):
        return jax.random.normal(key, 2 * x.shape)

    return recur.cell(init, lambda kernel, x: jnp.zeros(x.shape), step)


@jax.custom_vjp
def straight_through(a: jax.Array) -> jax.Array:
    """The sign, with the derivative of tanh (straight-through estimator)."""
    return jnp.sign(a)


def _straight_through_back(a, d):
    return ((1 - jnp.tanh(a) ** 2) * d,)


straight_through.defvjp(lambda a: (jnp.sign(a), a), _straight_through_back)


def branching_cell() -> Cell:
    """One of two products of the state by the sign of the input: control flow in the loop."""

    def step(params, h, x):
        def turn(h):
            return h @ params["u"]

        h = jnp.tanh(x @ params["w"] + jax.lax.cond(x[0] > 0, turn, lambda h: -h, h) + params["b"])
        return h, h

    return recur.cell(lambda key, x: draw_kernels(key, x, 4), lambda params, x: jnp.zeros(4), step)


def block_diagonal_cell() -> Cell:
    """Two heads of two units each: h_t = tanh(x_t W + h_{t-1} diag(U_1, U_2))."""

    def init(key, x, context=None):
        return {
            "w": jax.random.normal(key, (x.shape[0], 4)),
            "u": jax.random.normal(key, (2, 2, 2)),
        }

    def step(bound, h, x, key=None):
        m = jnp.einsum("hi,hij->hj", h.reshape(2, 2), bound["u"])
        h = jnp.tanh(x @ bound["w"] + m.ravel())
        return h, h

    return Cell(
        init=init,
        bind=lambda params, x, *, key=None, context=None: params,
        init_carry=lambda bound, x: jnp.zeros(4),
        step=step,
    )


def conditioned_cell() -> Cell:
    """A cell that reads a context: h_t = tanh(w ⊙ h_{t-1} + x_t + v)."""

    def bind(params, x, *, key=None, context=None):
        return params, from_context(context, "image", "conditioned_cell")

    def step(bound, h, x, key=None):
        params, image = bound
        h = jnp.tanh(params * h + x + image)
        return h, h

    return Cell(
        init=lambda key, x, context=None: jax.random.normal(key, x.shape),
        bind=bind,
        init_carry=lambda bound, x: jnp.zeros(x.shape),
        step=step,
    )
