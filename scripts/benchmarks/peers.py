"""A layer of LSTM, GRU or Elman units in each library, as in its documentation."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from benchmarks.report import Skip
from flax import linen as nn
from jax import lax

import recur

GATES = {"lstm": 4, "gru": 3, "elman": 1}


class Model(NamedTuple):
    """A model in JAX: `outputs(params, xs)` maps `[B, T, D]` to `[B, T, H]`."""

    params: Any
    outputs: Callable[[Any, jax.Array], jax.Array]


def of_recur(cell: str, xs: jax.Array, features: int, key: jax.Array) -> Model:
    """`recur.scan` over a batch."""
    layer = recur.batch(recur.scan(getattr(recur, cell)(features)))
    return Model(layer.init(key, xs), layer)


def of_lax(cell: str, xs: jax.Array, features: int, key: jax.Array) -> Model:
    """A hand-written `lax.scan`: one kernel for all gates, all products inside the step."""
    draw = jax.nn.initializers.lecun_normal()
    w_key, u_key = jax.random.split(key)
    width = GATES[cell] * features
    params = {
        "w": draw(w_key, (xs.shape[-1], width)),
        "u": draw(u_key, (features, width)),
        "b": jnp.zeros(width),
    }

    def lstm(params, carry, x):
        h, c = carry
        i, f, g, o = jnp.split(x @ params["w"] + h @ params["u"] + params["b"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def gru(params, h, x):
        xr, xz, xn = jnp.split(x @ params["w"] + params["b"], 3, axis=-1)
        hr, hz, hn = jnp.split(h @ params["u"], 3, axis=-1)
        r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
        h = (1 - z) * jnp.tanh(xn + r * hn) + z * h
        return h, h

    def elman(params, h, x):
        h = jnp.tanh(x @ params["w"] + h @ params["u"] + params["b"])
        return h, h

    step = {"lstm": lstm, "gru": gru, "elman": elman}[cell]

    def outputs(params, xs):
        zeros = jnp.zeros((xs.shape[0], features))
        start = (zeros, zeros) if cell == "lstm" else zeros
        _, ys = lax.scan(lambda carry, x: step(params, carry, x), start, xs.swapaxes(0, 1))
        return ys.swapaxes(0, 1)

    return Model(params, outputs)


def of_linen(cell: str, xs: jax.Array, features: int, key: jax.Array) -> Model:
    """`RNN` of Flax Linen."""
    cells = {"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell, "elman": nn.SimpleCell}
    model = nn.RNN(cells[cell](features))
    return Model(model.init(key, xs), model.apply)


def of_nnx(cell: str, xs: jax.Array, features: int, key: jax.Array) -> Model:
    """`RNN` of Flax NNX."""
    from flax import nnx

    cells = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell, "elman": nnx.SimpleCell}
    model = nnx.RNN(cells[cell](xs.shape[-1], features, rngs=nnx.Rngs(key)))
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    return Model(params, lambda params, xs: nnx.merge(graph, params, rest, copy=True)(xs))


def of_haiku(cell: str, xs: jax.Array, features: int, key: jax.Array) -> Model:
    """`dynamic_unroll` of Haiku; its `VanillaRNN` uses relu, the others use tanh."""
    import haiku as hk

    def unroll(xs):
        core = {"lstm": hk.LSTM, "gru": hk.GRU, "elman": hk.VanillaRNN}[cell](features)
        return hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[0]), time_major=False)[0]

    model = hk.without_apply_rng(hk.transform(unroll))
    return Model(model.init(key, xs), model.apply)


def of_equinox(cell: str, xs: jax.Array, features: int, key: jax.Array) -> Model:
    """Cells of Equinox in a `lax.scan` over one sequence, with `vmap` over the batch."""
    import equinox as eqx

    cells = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}
    if cell not in cells:
        raise Skip("Equinox has no such cell")
    params, static = eqx.partition(cells[cell](xs.shape[-1], features, key=key), eqx.is_array)

    def outputs(params, xs):
        model = eqx.combine(params, static)
        zeros = jnp.zeros(features)

        def step(carry, x):
            carry = model(x, carry)
            return carry, carry[0] if cell == "lstm" else carry

        def one(xs):
            return lax.scan(step, (zeros, zeros) if cell == "lstm" else zeros, xs)[1]

        return jax.vmap(one)(xs)

    return Model(params, outputs)


def of_keras(cell: str, xs: jax.Array, features: int, key: jax.Array) -> Model:
    """A Keras layer on JAX, without state."""
    os.environ["KERAS_BACKEND"] = "jax"  # read when Keras is imported
    import keras

    cells = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "elman": keras.layers.SimpleRNN}
    keras.utils.set_random_seed(int(jax.random.randint(key, (), 0, 2**30)))
    layer = cells[cell](features, return_sequences=True)
    layer.build(xs.shape)
    rest = [each.value for each in layer.non_trainable_variables]

    def outputs(params, xs):
        return layer.stateless_call(params, rest, xs)[0]

    return Model([each.value for each in layer.trainable_variables], outputs)


def of_cudnn(cell: str, xs: jax.Array, features: int, key: jax.Array) -> Model:
    """`jax.experimental.rnn`."""
    from jax.experimental import rnn

    if cell != "lstm" or jax.default_backend() != "gpu":
        raise Skip("an LSTM on a GPU only")
    batch, count, width = xs.shape
    sizes = {"input_size": width, "hidden_size": features, "num_layers": 1, "bidirectional": False}
    lengths = jnp.full(batch, count, jnp.int32)
    zeros = jnp.zeros((1, batch, features))

    def outputs(params, xs):
        return rnn.lstm(xs, zeros, zeros, params, lengths, dropout=0.0, **sizes)[0]

    return Model(rnn.init_lstm_weight(key, **sizes), outputs)


JAX_PEERS: dict[str, Callable[..., Model]] = {
    "Flax Linen": of_linen,
    "Flax NNX": of_nnx,
    "Haiku": of_haiku,
    "Equinox": of_equinox,
    "Keras on JAX": of_keras,
    "jax.experimental.rnn (cuDNN)": of_cudnn,
}


def of_torch(
    cell: str, shape: Sequence[int], features: int, seed: int
) -> tuple[Callable[[], None], Callable[[], None]]:
    """PyTorch: functions that run the forward pass and the gradient to completion."""
    import torch

    cuda = jax.default_backend() == "gpu" and torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True  # as JAX and cuDNN do by default
    torch.manual_seed(seed)
    cells = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "elman": torch.nn.RNN}
    layer = cells[cell](shape[-1], features, batch_first=True).to(device)
    xs = torch.randn(shape, device=device)
    wait = torch.cuda.synchronize if cuda else lambda: None

    def forward():
        with torch.no_grad():
            layer(xs)
        wait()

    def gradient():
        layer.zero_grad()
        layer(xs)[0].square().mean().backward()
        wait()

    return forward, gradient
