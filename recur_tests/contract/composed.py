"""The registry of layers that combine layers and modules, each made of one cell of width 3."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import recur
from recur.layer import Layer
from recur.sequences import Padded, pool
from recur.types import Cell
from recur_tests.contract.cases import dense

SOURCE = np.sin(np.arange(12.0)).reshape(4, 3)
SOURCE[3] = np.nan  # padding


def with_context(layer: Layer, context: Any) -> Layer:
    """The layer with its own context, the same for all rows."""
    own = {"context": context}
    return dataclasses.replace(
        layer,
        init=lambda key, xs, context=None: layer.init(key, xs, **own),
        bind=lambda params, xs, key=None, context=None: layer.bind(params, xs, key=key, **own),
    )


def conv(**options: Any) -> nn.Conv:
    """A convolution over time."""
    return nn.Conv(3, (3,), param_dtype=jnp.float64, **options)


def parallel(cell: Cell) -> Layer:
    return recur.parallel(recur.scan(cell), dense(3), recur.scan(cell), merge="mean")


def inner(cell: Cell) -> Layer:
    """Each number of a step is a step of an inner sequence, the last of which is padding."""

    def split(x):
        return Padded(jnp.asarray(x)[:, None].at[2].set(jnp.nan), jnp.array(2))

    return recur.chain(split, recur.inner(recur.scan(cell), pool.mean), recur.scan(cell))


def sequencewise(cell: Cell) -> Layer:
    causal = recur.sequencewise(conv(padding="CAUSAL"))
    return recur.chain(recur.sequencewise(conv()), "tanh", causal, recur.scan(cell))


def encoder_decoder(cell: Cell) -> Layer:
    decoder = recur.scan(recur.attend(cell, "memory", param_dtype=jnp.float64))
    model = recur.encoder_decoder(
        recur.bidirectional(recur.scan(cell), recur.scan(cell, reverse=True)),
        recur.chain(decoder, lambda attended: attended.output),
    )
    return with_context(model, {"source": Padded(SOURCE, np.array(3))})


def pooled(cell: Cell) -> Layer:
    return recur.pooled(recur.scan(cell), pool.attention, dense(2), scores=dense(1))


COMPOSED = {each.__name__: each for each in (parallel, inner, sequencewise, encoder_decoder)}
# These refuse resets, since a packed row holds several sequences.
NO_RESETS = ("sequencewise", "pooled")
