"""Mistakes that a type checker finds; each line marked `error` must be one."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import recur

xs = jnp.ones((5, 3))
layer = recur.scan(recur.lstm(64))
params = layer.init(jax.random.key(0), xs)
layer(params, xs, lengths=3)  # error
layer.run(params, xs, valid=jnp.ones(5, bool))  # error
layer.init_carry(params, xs, contxt={})  # error
recur.scan(3)  # error
recur.scan(layer)  # error
recur.batch(recur.lstm(64))  # error
recur.lstm(64, activations="relu")  # error
print(layer.streams)  # error
