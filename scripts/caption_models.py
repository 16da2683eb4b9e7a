"""The models of caption.py: a convolutional network, and decoders that read its features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

import recur
from recur.sequences import pool

CELLS = {"elman": recur.elman, "gru": recur.gru, "lstm": recur.lstm}
MOMENTS = {"every-step": "every step", "first-step": "first step", "start": "initial carry"}
GRID = 8  # cells of each side of the grid of features
SCORE_FEATURES = 32  # of attention


class Cnn(nn.Module):
    """Convolutions with ReLU, from an image to a vector `[D]`, or to a grid of vectors `[S, D]`.

    LayerNorm keeps the vector at a scale at which the gates of the decoder do not saturate.
    """

    channels: int
    features: int
    to_grid: bool

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Encodes an image `[H, W, 3]`."""
        x = image.astype(jnp.float32) / 127.5 - 1
        while x.shape[0] > GRID:
            channels = self.channels if x.shape[0] == 2 * GRID else max(1, self.channels // 2)
            x = nn.relu(nn.Conv(channels, (3, 3), strides=2)(x))
        x = nn.relu(nn.Conv(self.channels, (3, 3), strides=1 if self.to_grid else 2)(x))
        if self.to_grid:
            place = self.param("place", nn.initializers.normal(0.1), x.shape)
            return nn.LayerNorm()(x + place).reshape(GRID * GRID, -1)
        return nn.LayerNorm()(nn.Dense(self.features)(x.ravel()))


def build_parts(reads: str, options: Any, tokens: int) -> tuple[recur.Layer, list[Any]]:
    """The encoder, and the parts of the decoder, of which the second is recurrent.

    With "every-step" and an Elman cell, the decoder is h_t = tanh(x_t W + h_{t-1} U + v K + b).
    """
    drop = [nn.Dropout(options.dropout)] if options.dropout else []
    cnn = Cnn(options.channels, options.features, reads == "attention")
    encoder = recur.pooled(recur.chain(cnn, *drop), pool.last)  # an image is a sequence of one step
    cell, both = CELLS[options.cell](options.features), []
    if reads == "attention":
        cell = recur.attend(cell, "features", query="state", features=SCORE_FEATURES)
        both = [lambda attended: jnp.concatenate([attended.output, attended.context])]
    elif reads in MOMENTS:
        cell = recur.condition(cell, "features", MOMENTS[reads])
    embed, logits = nn.Embed(tokens, options.embedding), nn.Dense(tokens)
    return encoder, [embed, recur.scan(cell), *both, *drop, logits]


def join(encoder: recur.Layer, decoder: Sequence[Any]) -> recur.Layer:
    """The encoder-decoder, for a batch; each picture is encoded once."""
    decoder = recur.chain(*decoder)
    return recur.batch(recur.encoder_decoder(encoder, decoder, source="image", memory="features"))
