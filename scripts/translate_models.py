"""The encoder-decoders of `translate.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

import recur
from recur.combine import Feedback
from recur.sequences import Padded, pool

CELLS = {"gru": recur.gru, "lstm": recur.lstm}


class Start(nn.Module):
    """Makes the initial carry of the decoder of the last carries of the encoder.

    Without attention it is the carry of the encoder; otherwise a Dense layer and tanh of it, with
    both directions of a bidirectional encoder.
    """

    options: Any
    is_recurrent: tuple[bool, ...]  # the parts of the decoder

    @nn.compact
    def __call__(self, carry):
        """Returns an entry for each part of the decoder."""
        last = [self.start(part) for part in carry if jax.tree.leaves(part)]
        if self.options.input_feeding:
            last[-1] = Feedback(last[-1], jnp.zeros(self.options.features))
        states = iter(last)
        return tuple(next(states) if it else () for it in self.is_recurrent)

    def start(self, last):
        """The carry of one layer of the decoder, of the last carry of that of the encoder."""
        options = self.options
        if options.model == "sutskever":
            return last
        directions = (last,) if options.model == "cho" else tuple(last)
        return jax.tree.map(
            lambda *parts: nn.tanh(nn.Dense(options.features)(jnp.concatenate(parts))), *directions
        )


def build_parts(options: Any, languages: Any) -> tuple[recur.Layer, list[Any]]:
    """The encoder, and the parts of the decoder; attention is the first or the last layer."""
    drop = [nn.Dropout(options.dropout)] if options.dropout else []
    attends = options.model in ("bahdanau", "luong")
    cell = CELLS[options.cell](options.features)

    encoder = [nn.Embed(len(languages.source), options.embedding), *drop]
    for number in range(options.layers):
        layer = recur.scan(cell)
        if attends:
            layer = recur.bidirectional(layer, recur.scan(cell, reverse=True))
        encoder += [*(drop if number else []), layer]

    decoder = [nn.Embed(len(languages.target), options.embedding), *drop]
    for number in range(options.layers):
        decoder += drop if number else []
        if options.model == "cho":
            decoder.append(recur.scan(recur.condition(cell, "memory")))
        elif options.model == "bahdanau" and number == 0:
            decoder += [recur.scan(recur.attend(cell, "memory", query="state")), read_both]
        elif options.model == "luong" and number == options.layers - 1:
            score, feed = "multiplicative", options.input_feeding
            attending = recur.attend(cell, "memory", score=score, feed_input=feed)
            decoder += [recur.scan(attending), lambda attended: attended.output]
        else:
            decoder.append(recur.scan(cell))
    readout = [nn.Dense(options.embedding), nn.tanh, *drop, nn.Dense(len(languages.target))]
    encoder = recur.chain(*encoder)
    if options.model == "cho":
        encoder = recur.pooled(encoder, pool.last)
    return encoder, [*decoder, *readout]


def read_both(attended):
    """The output of the cell and the context vector."""
    return jnp.concatenate([attended.output, attended.context])


def join(options: Any, encoder: recur.Layer, decoder: Sequence[Any]) -> recur.Layer:
    """The encoder-decoder, for a batch."""
    start = Start(options, tuple(isinstance(part, recur.Layer) for part in decoder))
    return recur.batch(recur.encoder_decoder(encoder, recur.chain(*decoder), start=start))


def build(options: Any, languages: Any) -> recur.Layer:
    """The whole model."""
    return join(options, *build_parts(options, languages))


def build_viewer(options: Any, languages: Any) -> tuple[recur.Layer, int]:
    """The model up to its attention, which it returns, and how many parts of the decoder it has."""
    encoder, decoder = build_parts(options, languages)
    places = [number for number, part in enumerate(decoder) if isinstance(part, recur.Layer)]
    end = places[0 if options.model == "bahdanau" else -1] + 1
    return join(options, encoder, decoder[:end]), end


def init(model: recur.Layer, key: jax.Array) -> Any:
    """Draws the params of a model."""
    context = {"source": Padded(jnp.zeros((1, 1), int), jnp.ones(1, int))}
    return model.init(key, jnp.zeros((1, 1), int), context=context)
