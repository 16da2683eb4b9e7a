"""The models of handwrite.py: a network that writes, and one that reads what was written.

A step of the pen is float32 `[4]`: its move (dx, dy) in units of the standard deviation of all
moves, whether it ends a stroke, and whether it ends the text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import recur
from recur import train
from recur.combine import Memory
from recur.decode import gaussian_mixture
from recur.sequences import Batch
from recur.text import BOUNDARY

NARROWEST = 0.02  # the least standard deviation of a component
BEGIN = (0.0, 0.0, 1.0, 0.0)  # the step before the first


class Written(NamedTuple):
    """The output of the writer at a step.

    Attributes:
      mixture: logits `[K]`, means `[K, 2]` and standard deviations `[K, 2]` of the next move.
      pen: logits `[3]`: the stroke goes on, it ends, the text has ended.
      weights: the window weights over the characters, `[U]`; `[0]` without a text.
    """

    mixture: tuple[jax.Array, jax.Array, jax.Array]
    pen: jax.Array
    weights: jax.Array


def build_writer(options: Any, initial_step: float) -> recur.Layer:
    """LSTMs that all read the pen, the layer below and the window; a mixture density output.

    h_t^1 = LSTM(x_t, w_{t-1}),    h_t^l = LSTM(x_t, h_t^{l-1}, w_t),    y_t = [h_t^1 ... h_t^L] W

    The window w_t is that of `recur.soft_window`, from h_t^1. Without a text there is none.
    """
    first: Any = recur.lstm(options.features)
    if options.conditioned:
        first = recur.soft_window(first, "text", options.window, initial_step=initial_step)

    def begin(x, y):
        h, weights, w = y if options.conditioned else (y, x[..., :0], x[..., :0])
        return {"read": [x, w], "hidden": [h], "weights": weights}

    def deepen(below, h):
        return below | {"hidden": [*below["hidden"], h]}

    parts = [recur.parallel(lambda x: x, recur.scan(first), merge=begin)]
    for _ in range(options.layers - 1):
        layer = recur.chain(
            lambda below: jnp.concatenate([*below["read"], below["hidden"][-1]], -1),
            recur.scan(recur.lstm(options.features)),
        )
        parts.append(recur.parallel(lambda below: below, layer, merge=deepen))
    head = recur.chain(
        lambda below: jnp.concatenate(below["hidden"], -1), nn.Dense(5 * options.components + 3)
    )
    outputs = recur.parallel(head, lambda below: below["weights"], merge=split_outputs)
    return recur.batch(recur.chain(*parts, outputs))


def split_outputs(y: jax.Array, weights: jax.Array) -> Written:
    """Splits the output of the last layer."""
    count = (y.shape[-1] - 3) // 5
    logits, rest, pen = y[..., :count], y[..., count:-3], y[..., -3:]
    means, logs = jnp.split(rest.reshape(*rest.shape[:-1], count, 4), 2, axis=-1)
    return Written((logits, means, NARROWEST + jnp.exp(logs)), pen, weights)


def memory_of(context: Any, size: int) -> Any:
    """The context of the writer: the texts of a batch, one-hot; None without texts."""
    if not context:
        return None
    text = context["text"]
    return {"text": Memory(jax.nn.one_hot(text.steps, size), text.mask)}


def nll_of(model: recur.Layer, params: Any, batch: Batch, size: int) -> dict[str, jax.Array]:
    """The negative log-likelihoods of moves and pen of each step, in nats, `[B, T]`."""
    steps, mask = batch.steps, batch.mask
    ys = model(params, steps["input"], context=memory_of(batch.context, size), mask=mask)
    moves = train.gaussian_mixture_nll(*ys.mixture, steps["move"], mask & (steps["pen"] < 2))
    return {"moves": moves, "pen": train.cross_entropy(ys.pen, steps["pen"], mask)}


def next_step(bias: jax.Array, y: Written, key: jax.Array) -> jax.Array:
    """Samples the next step; a bias above 0 makes the writing neater (Graves 2013, section 5.4).

    With a text the pen does not end it, since `find_end` does.
    """
    of_move, of_pen = jax.random.split(key)
    logits, means, stddevs = y.mixture
    neater = (logits * (1 + bias), means, stddevs * jnp.exp(-bias))
    pens = y.pen.at[2].set(-jnp.inf) if y.weights.size else y.pen
    pen = jax.random.categorical(of_pen, pens * (1 + bias))
    return jnp.append(gaussian_mixture()(neater, of_move), jnp.stack([pen == 1, pen == 2]))


def find_end(pen: np.ndarray, weights: np.ndarray) -> int:
    """The number of steps until a text is written.

    It is at the first step where most weight is on the end of the text, as in the paper, or on the
    last character while the end is more likely than not.

    Args:
      pen: logits of the pen, `[T, 3]`.
      weights: the window weights over the characters and the end, `[T, U]`.
    """
    at, chances = weights.argmax(-1), np.exp(pen - np.logaddexp.reduce(pen, -1, keepdims=True))
    size = weights.shape[-1]
    has_ended = (at == size - 1) | ((at == size - 2) & (chances[:, 2] > 0.5))
    return int(has_ended.argmax()) if has_ended.any() else len(pen)


class Task(NamedTuple):
    """What is trained.

    Attributes:
      model: the model.
      init: `init(key, batch) -> params`.
      losses: `losses(params, batch, key)`, the mean loss of a batch.
    """

    model: recur.Layer
    init: Callable[[jax.Array, Batch], Any]
    losses: Callable[[Any, Batch, jax.Array | None], train.Average]


def make_writer(options: Any, size: int, initial_step: float) -> Task:
    """The writer, with its loss in nats per step, for so many characters."""
    model = build_writer(options, initial_step)

    def init(key, batch):
        return model.init(key, batch.steps["input"], context=memory_of(batch.context, size))

    def losses(params, batch, key):
        del key
        found = nll_of(model, params, batch, size)
        return train.average(found["moves"] + found["pen"], batch.mask)

    return Task(model, init, losses)


def make_reader(options: Any, size: int) -> Task:
    """The reader, with its loss in nats per character."""
    model = build_reader(options.features // 2, size)

    def losses(params, batch, key):
        logits = model(params, batch.steps, mask=batch.mask, key=key)
        text = jax.tree.map(lambda leaf: leaf[:, 0], batch.label)  # one in each row
        found = train.ctc_loss(logits, text.steps, batch.mask, text.mask, blank=BOUNDARY)
        return train.Average(found.sum(), text.length.sum().astype(found.dtype))

    return Task(model, lambda key, batch: model.init(key, batch.steps), losses)


def build_reader(features: int, size: int) -> recur.Layer:
    """A bidirectional GRU with the logits of the characters and the blank."""
    read = recur.bidirectional(
        recur.scan(recur.gru(features)), recur.scan(recur.gru(features), reverse=True)
    )
    return recur.batch(recur.chain(read, nn.Dropout(0.1), nn.Dense(size)))
