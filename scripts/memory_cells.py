"""The cells of memory.py: initialization and training of each, as in its paper.

Settings that did worse: on adding, an LSTM with a forget bias of 1 or 4 had learned nothing after
400 and 700 updates; an IRNN whose recurrent kernel has the same learning rate as the rest, 3e-4,
diverged in two runs of three; on temporal order, a GRU and a UGRNN with default initialization had
learned nothing after 2,000 updates, while those below need 300.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import normal

import recur
from recur import Cell, Layer, classic


class Recipe(NamedTuple):
    """The layer of a cell and its training settings."""

    layer: Callable[[int, int], Layer]  # of features, and of about how many steps to remember
    learning_rate: float = 3e-3  # the maximum
    clip: float = 1.0  # the maximum gradient norm
    recurrent: float = 1.0  # times the learning rate, for recurrent kernels
    patience: int = 1  # times the updates of the task, for cells with fast steps that learn slowly


def elman(features: int, delay: int) -> Layer:
    """The Elman network with an orthogonal initial recurrent kernel."""
    del delay
    return recur.scan(recur.elman(features))


def relu_elman(features: int, delay: int) -> Layer:
    """The Elman network with ReLU."""
    del delay
    return recur.scan(recur.elman(features, activation="relu"))


def irnn(features: int, delay: int) -> Layer:
    """The IRNN, initialized with the identity, by Le et al. 2015, https://arxiv.org/abs/1504.00941.

    The recurrent kernel acts at every step, so its learning rate is lower.
    """
    del delay
    identity = recur.cells.scaled_identity()
    start = {"recurrent_kernel_init": identity, "kernel_init": normal(0.03)}
    return recur.scan(recur.elman(features, activation="relu", **start))


def chrono(cell: Cell, delay: int, keep: str, write: str | None = None) -> Cell:
    """Chrono initialization: units initially remember over different times of 1 to `delay` steps.

    By Tallec & Ollivier 2018, https://arxiv.org/abs/1804.11188: a gate with bias b keeps the state
    for about e^b steps.
    """

    def init(key, x, context=None):
        params_key, bias_key = jax.random.split(key)
        params = cell.init(params_key, x, context)
        kept = jax.random.uniform(bias_key, params.bias[0].shape, minval=1, maxval=delay - 1)
        bias = params.bias._replace(**{keep: jnp.log(kept)})
        return params._replace(bias=bias._replace(**{write: -jnp.log(kept)}) if write else bias)

    return dataclasses.replace(cell, init=init)


def ugrnn(features: int, delay: int) -> Layer:
    """The update gate RNN with chrono initialization."""
    return recur.scan(chrono(recur.ugrnn(features), delay, keep="update"))


def lstm(features: int, delay: int) -> Layer:
    """The LSTM with chrono initialization."""
    return recur.scan(chrono(recur.lstm(features), delay, keep="forget", write="input"))


def gru(features: int, delay: int) -> Layer:
    """The gated recurrent unit with chrono initialization."""
    return recur.scan(chrono(recur.gru(features), delay, keep="update"))


def indrnn(features: int, delay: int) -> Layer:
    """Two layers of independent recurrent units, by Li et al. 2018."""
    del delay
    return recur.scan(recur.stack(recur.indrnn(features), recur.indrnn(features)))


def min_gru(features: int, delay: int) -> Layer:
    """Two layers of minGRU, whose gates depend only on the input, by Feng et al. 2024."""
    del delay
    first, second = recur.min_gru(features), recur.min_gru(features)
    return recur.chain(recur.scan(first), nn.Dense(features), "relu", recur.scan(second))


def lru(features: int, delay: int) -> Layer:
    """Linear recurrent units with slow decay, between two ReLUs, by Orvieto et al. 2023."""
    del delay
    cell = recur.lru(features, radius=(0.99, 0.999))
    return recur.chain(nn.Dense(features), "relu", recur.scan(cell), "relu")


def tcn(features: int, delay: int) -> Layer:
    """The temporal convolutional network by Bai et al. 2018; it reads twice the delay."""
    kernel_size = 7
    levels = classic.tcn_levels(2 * delay, kernel_size)
    return classic.tcn(max(1, features // 4), levels, kernel_size)


RECIPES = {
    "tanh": Recipe(elman, 1e-3),
    "relu": Recipe(relu_elman, 1e-3),
    "irnn": Recipe(irnn, 1e-3, clip=0.1, recurrent=0.15, patience=2),
    "ugrnn": Recipe(ugrnn),
    "lstm": Recipe(lstm),
    "gru": Recipe(gru),
    "indrnn": Recipe(indrnn, 1e-3, patience=2),
    "min_gru": Recipe(min_gru),
    "lru": Recipe(lru),
    "tcn": Recipe(tcn),
}
