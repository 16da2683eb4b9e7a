"""The cells of memory.py: how each is started and trained, after the paper that it is known by.

What was tried and does worse: of adding, an LSTM with a forget bias of 1 or 4 had learned nothing
after 400 and 700 updates; an IRNN whose recurrent kernel learns as fast as the rest, at 3e-4,
exploded in two runs of three; of temporal order, a GRU and a UGRNN as they come had learned
nothing after 2,000 updates, where those below need 300.
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
from recur import Cell, Layer


class Recipe(NamedTuple):
    """How a cell is used and trained."""

    layer: Callable[[int, int], Layer]  # of a width, and of about how many steps to remember
    learning_rate: float = 3e-3  # at its highest
    clip: float = 1.0  # the highest norm of a gradient
    recurrent: float = 1.0  # times that rate, for recurrent kernels
    patience: int = 1  # times the updates of the task: such cells are quick, and learn slowly


def elman(features: int, delay: int) -> Layer:
    """The simple network, its recurrent kernel orthogonal at first."""
    del delay
    return recur.scan(recur.elman(features))


def relu_elman(features: int, delay: int) -> Layer:
    """The same with ReLU."""
    del delay
    return recur.scan(recur.elman(features, activation="relu"))


def irnn(features: int, delay: int) -> Layer:
    """The same that starts as a sum over time, by Le et al. 2015, https://arxiv.org/abs/1504.00941.

    One update of a recurrent kernel acts at every step, so it is given a lower rate.
    """
    del delay
    identity = recur.cells.scaled_identity()
    start = {"recurrent_kernel_init": identity, "kernel_init": normal(0.03)}
    return recur.scan(recur.elman(features, activation="relu", **start))


def chrono(cell: Cell, delay: int, keep: str, write: str | None = None) -> Cell:
    """The cell whose units remember 1 to `delay` steps at first, each another number.

    By Tallec & Ollivier 2018, https://arxiv.org/abs/1804.11188 (chrono initialisation): from a bias
    b a gate keeps what was there for about e^b steps.
    """

    def init(key, x, context=None):
        params_key, bias_key = jax.random.split(key)
        params = cell.init(params_key, x, context)
        kept = jax.random.uniform(bias_key, params.bias[0].shape, minval=1, maxval=delay - 1)
        bias = params.bias._replace(**{keep: jnp.log(kept)})
        return params._replace(bias=bias._replace(**{write: -jnp.log(kept)}) if write else bias)

    return dataclasses.replace(cell, init=init)


def ugrnn(features: int, delay: int) -> Layer:
    """The update gate RNN, by its chrono start."""
    return recur.scan(chrono(recur.ugrnn(features), delay, keep="update"))


def lstm(features: int, delay: int) -> Layer:
    """The LSTM, by its chrono start."""
    return recur.scan(chrono(recur.lstm(features), delay, keep="forget", write="input"))


def gru(features: int, delay: int) -> Layer:
    """The gated recurrent unit, by its chrono start."""
    return recur.scan(chrono(recur.gru(features), delay, keep="update"))


def indrnn(features: int, delay: int) -> Layer:
    """Units that meet in the layer above alone: two layers, by Li et al. 2018."""
    del delay
    return recur.scan(recur.stack(recur.indrnn(features), recur.indrnn(features)))


def min_gru(features: int, delay: int) -> Layer:
    """Gates that see the input of their layer alone: two layers, by Feng et al. 2024."""
    del delay
    first, second = recur.min_gru(features), recur.min_gru(features)
    return recur.chain(recur.scan(first), nn.Dense(features), "relu", recur.scan(second))


def lru(features: int, delay: int) -> Layer:
    """Complex units that turn and hardly decay, between two ReLUs, by Orvieto et al. 2023."""
    del delay
    cell = recur.lru(features, radius=(0.99, 0.999))
    return recur.chain(nn.Dense(features), "relu", recur.scan(cell), "relu")


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
}
