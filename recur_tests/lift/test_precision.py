"""`jax.default_matmul_precision` reaches all products of a layer, wherever they run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur

XS = np.ones((2, 5, 3), np.float32)
CONTEXT = {"memory": np.ones((2, 6, 3), np.float32)}
LAYERS = {
    "lstm": recur.scan(recur.lstm(4)),
    "wide": recur.scan(recur.lstm(300)),
    "gru": recur.scan(recur.gru(4)),
    "gru before": recur.scan(recur.gru(4, reset="before")),
    "projected": recur.scan(recur.projected_lstm(4, 2)),
    "slstm": recur.scan(recur.slstm(4, heads=2)),
    "attend": recur.scan(recur.attend(recur.lstm(4), "memory")),
    "associative": recur.associative(recur.lru(4)),
    "newton": recur.newton(recur.elman(2)),
    "checkpoint": recur.checkpoint(recur.scan(recur.elman(4))),
    "relu": recur.scan(recur.elman(4, activation="relu")),
    "stack": recur.scan(recur.stack(recur.lstm(4), recur.mgu(4))),
}


@pytest.mark.parametrize("name", LAYERS)
def test_all_products_have_the_precision_of_the_context(name):
    """In the forward pass, the backward pass and a second derivative."""
    layer = recur.batch(LAYERS[name])
    context = CONTEXT if name == "attend" else None
    params = jax.eval_shape(lambda key: layer.init(key, XS, context=context), jax.random.key(0))

    def loss(params, xs):
        with jax.default_matmul_precision("highest"):
            ys = layer(params, xs, context=context)
        return sum((jnp.abs(y) ** 2).sum() for y in jax.tree.leaves(ys))

    def curvature(params, xs):
        return jax.jvp(jax.grad(loss), (params, xs), (params, xs))[1]

    for function in (loss, jax.grad(loss, (0, 1)), curvature):
        text = jax.jit(function).lower(params, XS).as_text()
        products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
        assert products
        assert all("HIGHEST" in line for line in products)
