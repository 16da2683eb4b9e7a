"""Weights of `jax.experimental.rnn`, the LSTM of cuDNN, in both directions."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from recur.checks import check_flag, check_whole
from recur.interop.gates import CUDNN, Stored, to_params
from recur.interop.lifted import lift_layers
from recur.interop.tensors import as_arrays
from recur.interop.torch_weights import stored_layers
from recur.layer import Layer
from recur.lift.bidirectional import Directions


def from_cudnn_weights(
    weights: Any,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
) -> tuple[Layer, Any]:
    """Converts the weights of `jax.experimental.rnn.lstm`, cuDNN's LSTM, to a layer with params.

    The layer reads one sequence `[T, I]`: pass it to `recur.batch` for `[B, T, I]`.

    Args:
      weights: one array `[N]` of all layers, as `jax.experimental.rnn.init_lstm_weight` returns it.
        The conversion is differentiable.
      input_size: as in `jax.experimental.rnn.lstm`.
      hidden_size: likewise.
      num_layers: likewise.
      bidirectional: likewise.

    Returns:
      A `Layer` over one sequence, and its params: a tuple if there are several layers, with
      `Directions` if it is bidirectional.

    Raises:
      ValueError: if weights have another size than these numbers need, or are NaN or infinite.
      TypeError: if weights are not floating-point.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from jax.experimental import rnn
      >>> weights = rnn.init_lstm_weight(jax.random.key(0), 3, 4, 1, False)
      >>> layer, params = recur.interop.from_cudnn_weights(weights, 3, 4)
      >>> layer(params, jnp.ones((5, 3))).shape
      (5, 4)
    """
    caller = "from_cudnn_weights"
    inputs = check_whole(f"{caller}: input_size", input_size, 1)
    features = check_whole(f"{caller}: hidden_size", hidden_size, 1)
    count = check_whole(f"{caller}: num_layers", num_layers, 1)
    directions = 1 + check_flag(f"{caller}: bidirectional", bidirectional)
    array = as_arrays(caller, {"weights": weights})["weights"]

    rows = 4 * features
    reads = [inputs if layer == 0 else directions * features for layer in range(count)]
    kernels = [s for read in reads for s in [(rows, read), (rows, features)] * directions]
    shapes = [*kernels, *[(rows,)] * len(kernels)]  # all kernels come before all biases
    sizes = [math.prod(shape) for shape in shapes]
    if array.shape != (sum(sizes),):
        raise ValueError(
            f"{caller}: expected weights [{sum(sizes)}] for input_size={inputs}, "
            f"hidden_size={features}, num_layers={count}, bidirectional={directions == 2}, got "
            f"{list(array.shape)}."
        )
    ends = [sum(sizes[:number]) for number in range(1, len(sizes))]
    flat = jnp.split(array, ends)
    parts = [part.reshape(shape) for part, shape in zip(flat, shapes, strict=True)]
    half = len(kernels)
    converted: list[Any] = [
        to_params(Stored("lstm", *parts[at : at + 2], *parts[half + at : half + at + 2]), CUDNN)
        for at in range(0, half, 2)
    ]
    if directions == 2:
        pairs = zip(converted[::2], converted[1::2], strict=True)
        converted = [Directions(*pair) for pair in pairs]
    return lift_layers(converted)


def to_cudnn_weights(params: Any) -> jax.Array:
    """Converts params to the weights of `jax.experimental.rnn.lstm`, cuDNN's LSTM.

    The inverse of `from_cudnn_weights`. Of the two biases of cuDNN the second one is zero.

    Args:
      params: of `lstm`, `Directions` of two of them, or a tuple of these, one for each layer, as a
        `recur.stack` or a `recur.chain` has.

    Returns:
      One array `[N]`.

    Raises:
      ValueError: if `jax.experimental.rnn.lstm` cannot compute the same: another cell, a
        projection, peepholes, a learned initial carry, or layers of different widths; or if a
        weight is NaN or infinite.
      TypeError: if the params are those of no cell that other libraries have.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> params = recur.scan(recur.lstm(4)).init(jax.random.key(0), jnp.ones((5, 3)))
      >>> recur.interop.to_cudnn_weights(params).shape
      (144,)
    """
    caller = "to_cudnn_weights"
    layers = [each for layer in stored_layers(params, CUDNN, caller) for each in layer]
    if layers[0].kind != "lstm":
        raise ValueError(
            f"{caller}: jax.experimental.rnn has only an LSTM, got the params of {layers[0].kind}."
        )
    kernels = [array for each in layers for array in (each.kernel, each.recurrent_kernel)]
    zeros = jnp.zeros(kernels[0].shape[0], kernels[0].dtype)
    biases = [b for each in layers for b in (each.bias, each.recurrent_bias)]
    both = [*kernels, *(zeros if bias is None else bias for bias in biases)]
    return jnp.concatenate([array.ravel() for array in both])
