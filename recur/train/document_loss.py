"""The loss of a language model over whole documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import check_function, check_whole
from recur.layer import Layer
from recur.sequences import Window, whole_rows
from recur.sequences.streams import check_documents
from recur.types import Mask


def make_document_loss(
    layer: Layer,
    losses: Callable[[Any, Any, Window], jax.Array],
    documents: Sequence[np.ndarray],
    *,
    width: int = 256,
) -> Callable[..., float]:
    """Makes the evaluation of a language model on documents, each read from its start.

        total = sum_d sum_t loss(y_t, d_{t+1}),    (h_t, y_t) = layer(h_{t-1}, d_t)

    The documents are arranged in rows without cutting any, and the rows are read window by window
    in one compiled loop, without noise. So memory does not grow with their length.

    Args:
      layer: a batched layer of tokens.
      losses: `losses(params, ys, window) -> [B, width]`, 0 at masked steps.
      documents: integer arrays of at least 2 tokens each, as for `Streams`.
      width: the number of steps whose outputs are in memory at a time.

    Returns:
      `loss(params, loss_params=None) -> float`: the sum over all predicted tokens. `params` are
      those of the layer; `loss_params` are passed to `losses`.

    Raises:
      TypeError: if the documents are not a list of integer arrays, or losses not a function.
      ValueError: if width is below 1, or a document has fewer than 2 tokens.

    Example:
      >>> import jax, numpy as np, recur
      >>> from flax import linen as nn
      >>> from recur.train import cross_entropy, make_document_loss
      >>> model = recur.batch(recur.chain(nn.Embed(8, 4), recur.scan(recur.gru(4)), nn.Dense(8)))
      >>> documents = [np.array([1, 2, 3]), np.array([4, 5])]
      >>> def losses(_, logits, window):
      ...     return cross_entropy(logits, window.targets, window.mask)
      >>> loss = make_document_loss(model, losses, documents)
      >>> params = model.init(jax.random.key(0), np.zeros((1, 3), int))
      >>> 4 < loss(params) < 9  # of three tokens; about log(8) each
      True
    """
    check_function("make_document_loss: losses", losses)
    width = check_whole("make_document_loss: width", width, 1)
    check_documents(documents)
    longest = max(map(len, documents))
    rows = whole_rows(documents, max(1, sum(map(len, documents)) // longest))
    pad = [(0, 0), (0, -rows.inputs.shape[1] % width)]
    windows = Window(
        *(np.pad(a, pad).reshape(len(a), -1, width).swapaxes(0, 1) for a in rows)  # [N, B, width]
    )

    @jax.jit
    def evaluate(params, loss_params, windows):
        bound = layer.bind(params, windows.inputs[0])

        def add(state, window):
            carry, total = state
            mask = Mask(reset=window.reset)
            carry, ys = layer.apply(bound, carry, window.inputs, mask, None)
            return (carry, total + losses(loss_params, ys, window).sum()), None

        state = (layer.begin(bound, windows.inputs[0]), jnp.zeros(()))
        return jax.lax.scan(add, state, windows)[0][1]

    return lambda params, loss_params=None: float(evaluate(params, loss_params, windows))
