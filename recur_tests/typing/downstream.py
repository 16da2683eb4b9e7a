"""A program that uses recur as a library does; type checkers read it, nothing runs it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import recur


def step(params: Any, carry: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A user's step."""
    h = jnp.tanh(x @ params["w"] + carry @ params["u"])
    return h, h


own: recur.Cell = recur.cell(
    init=lambda key, x: {"w": jnp.ones((3, 4)), "u": jnp.ones((4, 4))},
    init_carry=lambda params, x: jnp.zeros(4),
    step=step,
)
layer: recur.Layer = recur.batch(
    recur.chain(
        recur.scan(recur.lstm(64)),
        recur.scan(recur.residual(recur.variational_dropout(recur.gru(64), recurrent=0.2))),
        recur.bidirectional(recur.scan(own), recur.scan(own, reverse=True)),
    )
)
xs = jnp.ones((2, 5, 3))
params = layer.init(jax.random.key(0), xs)
ys = layer(params, xs, length=jnp.array([5, 2]), key=jax.random.key(1))
carry, ys = layer.run(params, xs, mask=jnp.ones((2, 5), bool), all_carries=True)
first = layer.init_carry(params, xs, context={"image": jnp.ones((2, 3))})
shown: str = repr(layer)
found: bool = recur.structure_of(own, jnp.ones(3)).linear
causal: bool = layer.is_causal
