"""The models of classify.py: recurrent layers, a readout of all steps, and what they look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

import recur
from recur.sequences import pool

CELLS: dict[str, Callable[[int], recur.Cell]] = {
    "elman": recur.elman,
    "gru": recur.gru,
    "lstm": recur.lstm,
    "min_gru": recur.min_gru,
    "conv_gru": lambda features: recur.conv_gru(features, (3, 3)),
    "conv_lstm": lambda features: recur.conv_lstm(features, (3, 3)),
}


def build_parts(options: Any, encoder: Any) -> list[Any]:
    """The parts of the model up to the outputs of each step; the first embeds a step."""
    embed: Any = "identity"
    if encoder.vocabulary is not None:
        embed = nn.Embed(len(encoder.vocabulary), options.embedding)
    whole_step = (-3, -2, -1) if options.task == "frames" else (-1,)
    parts: list[Any] = [embed, nn.Dropout(options.step_dropout, broadcast_dims=whole_step)]
    is_convolutional = options.cell.startswith("conv")
    if options.task == "frames" and not is_convolutional:
        convolutions = [nn.Conv(16, (3, 3), 2), nn.relu, nn.Conv(32, (3, 3), 2), nn.relu]
        parts.append(nn.Sequential([*convolutions, jnp.ravel, nn.Dense(options.features), nn.relu]))
    for _ in range(options.layers):
        cell = CELLS[options.cell](options.features)
        layer = recur.scan(cell)
        if options.bidirectional:
            layer = recur.bidirectional(layer, recur.scan(cell, reverse=True))
        parts.append(layer)
    if is_convolutional:
        parts.append(lambda frame: frame.mean((0, 1)))
    return parts


def build_model(options: Any, encoder: Any, parts: Sequence[Any] | None = None) -> recur.Layer:
    """The parts, by default all of them, pooling over time, and logits, for a batch."""
    parts = build_parts(options, encoder) if parts is None else parts
    pools = {
        "last": pool.ends if options.bidirectional else pool.last,
        "mean": pool.mean,
        "max": pool.max,
        "attention": pool.attention,
    }
    head = nn.Sequential([nn.Dropout(options.dropout), nn.Dense(len(encoder.classes))])
    scores = make_scores(options) if options.readout == "attention" else None
    layer = recur.pooled(recur.chain(*parts), pools[options.readout], head, scores=scores)
    return recur.batch(layer)


def make_scores(options: Any) -> nn.Module:
    """The network that gives the attention score of a step."""
    return nn.Sequential([nn.Dense(options.features), nn.tanh, nn.Dense(1)])


def make_step_weights(options: Any, encoder: Any) -> Callable[[Any, Any], jax.Array]:
    """Makes `step_weights(params, batch)` `[B, T]`: how much each step matters to the prediction.

        attention:         a_t, the weight of the step in the pooled vector
        other readouts:    sum_i x_{t,i} d log p(predicted class) / d x_{t,i}

    The second is the derivative by a factor of the embedded step x_t: above 0 if the step speaks
    for the predicted class.
    """
    embed, *others = build_parts(options, encoder)
    embed_all = recur.batch(recur.chain(embed))
    if options.readout == "attention":
        attend = recur.pooled(
            recur.chain(embed, *others),
            lambda ys, scores, mask: jax.nn.softmax(scores, where=mask),
            scores=make_scores(options),
        )
        return jax.jit(
            lambda params, batch: recur.batch(attend)(
                params._replace(head=()), batch.steps, mask=batch.mask
            )
        )
    read = build_model(options, encoder, others)

    def step_weights(params, batch):
        xs = embed_all(params.layer[:1], batch.steps, mask=batch.mask)

        def log_chance(xs):
            logits = read(params._replace(layer=params.layer[1:]), xs, mask=batch.mask)
            return jax.nn.log_softmax(logits).max(-1).sum()

        return (xs * jax.grad(log_chance)(xs)).sum(range(2, xs.ndim))

    return jax.jit(step_weights)
