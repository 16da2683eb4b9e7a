"""Weights of Keras' recurrent layers, in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from recur.combine import variational_dropout
from recur.interop.foreign import named
from recur.interop.gates import COUNTS, KERAS, Reset, Stored, Update, from_params, to_params
from recur.interop.lifted import lift_params
from recur.interop.tensors import as_arrays, check_shapes
from recur.layer import Layer
from recur.lift.bidirectional import Directions

KINDS = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "elman", "ConvLSTM": "lstm"}
MERGES: dict[Any, Any] = {
    "concat": "concatenate",
    "sum": "sum",
    "ave": "mean",
    "mul": jnp.multiply,
    None: lambda forward, backward: (forward, backward),
}
ACTIVATIONS = {"linear": "identity", "softsign": "soft_sign"}  # where names differ
SAME_NAMES = ("elu", "relu", "selu", "sigmoid", "silu", "softplus", "tanh")
ARRAYS = ("kernel", "recurrent_kernel", "bias")


def from_keras_weights(layer: Any, weights: Sequence[Any] | None = None) -> tuple[Layer, Any]:
    """Converts a recurrent layer of Keras to a layer with params that compute the same.

    `LSTM`, `GRU` with `reset_after` True or False, `SimpleRNN`, `Bidirectional` of them, and
    `ConvLSTM1D`, `ConvLSTM2D` and `ConvLSTM3D`, of any backend. The layer reads one sequence
    `[T, I]`: pass it to `recur.batch` for `[B, T, I]`. It returns the outputs of all steps, aligned
    with the inputs; Keras returns only the last one by default, and reverses them with
    `go_backwards`.

    Args:
      layer: a layer of Keras that has been built.
      weights: arrays in the order of `layer.get_weights()`; by default those of the layer. From
        arrays of JAX the conversion is differentiable.

    Returns:
      A `Layer` over one sequence, and its params. Dropout of the layer is on if a key is given.

    Raises:
      TypeError: if it is another layer, or a subclass of one.
      ValueError: if it has not been built, has an option that no cell here has, such as another
        `recurrent_activation` than "sigmoid", or if weights are missing, of other shapes, NaN or
        infinite.

    Example:
      >>> import keras, recur  # doctest: +SKIP
      >>> theirs = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(8)])  # doctest: +SKIP
      >>> layer, params = recur.interop.from_keras_weights(theirs.layers[0])  # doctest: +SKIP
      >>> layer  # doctest: +SKIP
      scan(gru(8))

    References:
      The equations are those of https://keras.io/api/layers/recurrent_layers/
    """
    caller = "from_keras_weights"
    kind = _kind_of(layer)
    is_bidirectional = kind == "Bidirectional"
    layers = [layer.forward_layer, layer.backward_layer] if is_bidirectional else [layer]
    kind = _kind_of(layers[0])
    if kind not in KINDS or _kind_of(layers[-1]) != kind:
        raise TypeError(
            f"{caller}: expected a layer LSTM, GRU, SimpleRNN or ConvLSTM of Keras, or a "
            f"Bidirectional of one, got {named(layer)}. Convert the layers of a model one by one."
        )
    if not layer.built:
        raise ValueError(
            f"{caller}: the layer {layer.name} has no weights yet. Call it, or build it: "
            "layer.build((None, None, input_size))."
        )
    weights = list(layer.weights if weights is None else weights)
    options = _options(layers[0], kind, caller)
    if is_bidirectional:
        _check_directions(layers, options, kind, caller)
    names = ARRAYS[: 2 + bool(layers[0].use_bias)]
    if len(weights) != len(names) * len(layers):
        raise ValueError(
            f"{caller}: expected {len(names) * len(layers)} arrays, {', '.join(names)} for each "
            f"direction, got {len(weights)}. Pass all of layer.get_weights()."
        )
    each = [weights[: len(names)], weights[len(names) :]][: len(layers)]
    pairs = zip(layers, each, strict=True)
    converted = [_convert(one, dict(zip(names, w, strict=True)), kind, caller) for one, w in pairs]
    if is_bidirectional:
        params: Any = Directions(*converted)
        merge = MERGES[layer.merge_mode]
    else:
        params, merge = converted[0], "concatenate"
    rates = {"inputs": layers[0].dropout, "recurrent": layers[0].recurrent_dropout}
    if kind == "ConvLSTM" and rates["recurrent"]:
        raise ValueError(
            f"{caller}: recurrent_dropout of a ConvLSTM is not supported. Set "
            "layer.recurrent_dropout = 0.0 first."
        )
    wrap = partial(variational_dropout, **rates)
    reverse = bool(layers[0].go_backwards)
    return lift_params(params, reverse=reverse, merge=merge, wrap=wrap, **options), params


def to_keras_weights(
    params: Any, *, reset: Reset = "after", update: Update = "keep"
) -> list[jax.Array]:
    """Converts params to the weights of `LSTM`, `GRU`, `SimpleRNN`, `ConvLSTM` or `Bidirectional`.

    The inverse of `from_keras_weights`: `layer.set_weights(weights)` of a Keras layer that has been
    built takes them.

    Args:
      params: of `lstm`, `gru`, `elman` or `conv_lstm`, or `Directions` of two of them. The
        module must have their activation, which is not stored in weights.
      reset: that of the `gru`; "before" is `reset_after=False` in Keras.
      update: that of the `gru`; "replace" is converted to Keras' sense.

    Returns:
      The arrays in the order of `layer.get_weights()`.

    Raises:
      ValueError: if Keras cannot compute the same: a projection, peepholes or a learned initial
        carry; or if a weight is NaN or infinite.
      TypeError: if the params are those of another cell.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> params = recur.scan(recur.gru(4)).init(jax.random.key(0), jnp.ones((5, 3)))
      >>> [array.shape for array in recur.interop.to_keras_weights(params)]
      [(3, 12), (4, 12), (2, 12)]
    """
    if isinstance(params, Directions):
        both = (to_keras_weights(each, reset=reset, update=update) for each in params)
        return [array for each in both for array in each]
    stored = from_params(params, KERAS, "to_keras_weights", reset, update)
    bias = stored.bias
    if bias is not None and stored.recurrent_bias is not None:
        if stored.kind == "gru" and reset == "after":
            bias = jnp.stack([bias, stored.recurrent_bias])
    arrays = (stored.kernel, stored.recurrent_kernel, bias)
    return [array for array in arrays if array is not None]


def _kind_of(layer: Any) -> str | None:
    """Returns the name of a layer's class in Keras, whichever package it comes from.

    A subclass has none, since its own `call` may compute something else.
    """
    name = type(layer).__name__.rstrip("123D")
    is_known = "keras" in type(layer).__module__ and (name in KINDS or name == "Bidirectional")
    return name if is_known else None


def _check_directions(
    layers: Sequence[Any], options: dict[str, Any], kind: str, caller: str
) -> None:
    """Raises a ValueError unless the layers of a `Bidirectional` are those of two directions."""
    forward, backward = layers
    same = ("use_bias", "dropout", "recurrent_dropout")
    differ = [name for name in same if getattr(forward, name) != getattr(backward, name)]
    if differ or _options(backward, kind, caller) != options:
        raise ValueError(f"{caller}: both directions must have the same options.")
    if forward.go_backwards:
        raise ValueError(
            f"{caller}: expected a forward layer with go_backwards=False, got True, with which "
            "Keras reverses the outputs of both directions. Exchange forward_layer and "
            "backward_layer."
        )


def _convert(layer: Any, weights: dict[str, Any], kind: str, caller: str) -> Any:
    """Returns the params of one direction."""
    arrays = as_arrays(caller, weights)
    kernel, count = arrays["kernel"], COUNTS[KINDS[kind]]
    features = layer.filters if kind == "ConvLSTM" else layer.units
    resets_after = kind == "GRU" and layer.reset_after
    columns = count * features
    space = kernel.shape[:-2]
    if kind == "ConvLSTM":
        space = tuple(layer.kernel_size)
        kernel_inputs = kernel.shape[-2:-1]
    else:
        kernel_inputs = kernel.shape[:1]
    shapes = {
        "kernel": (*space, *kernel_inputs, columns),
        "recurrent_kernel": (*space, features, columns),
        "bias": (2, columns) if resets_after else (columns,),
    }
    check_shapes(caller, arrays, {name: shapes[name] for name in arrays})
    bias = arrays.get("bias")
    biases = (bias[0], bias[1]) if resets_after and bias is not None else (bias, None)
    stored = Stored(KINDS[kind], kernel, arrays["recurrent_kernel"], *biases)
    return to_params(stored, KERAS)


def _options(layer: Any, kind: str, caller: str) -> dict[str, Any]:
    """Returns the options of the cell; refuses those that no cell here has."""
    if kind == "ConvLSTM":
        expected = {"padding": "same", "strides": 1, "dilation_rate": 1}
        for name, value in expected.items():
            given = getattr(layer.cell, name)
            given = set(given) if isinstance(given, (tuple, list)) else {given}
            if given != {value}:
                raise ValueError(
                    f"{caller}: expected {name}={value!r}, got {getattr(layer.cell, name)!r}. The "
                    "frames of recur.conv_lstm keep their size."
                )
        if layer.cell.data_format != "channels_last":
            raise ValueError(f'{caller}: expected data_format="channels_last".')
    if kind != "SimpleRNN" and _name(layer.recurrent_activation) != "sigmoid":
        raise ValueError(
            f'{caller}: expected recurrent_activation="sigmoid", as the gates here have, got '
            f"{_name(layer.recurrent_activation)!r}."
        )
    name = _name(layer.activation)
    if name not in (*SAME_NAMES, *ACTIVATIONS):
        known = ", ".join(sorted((*SAME_NAMES, *ACTIVATIONS)))
        raise ValueError(f"{caller}: expected an activation of {known}, got {name!r}.")
    options: dict[str, Any] = {}
    if name != "tanh":
        options["activation"] = ACTIVATIONS.get(name, name)
    if kind == "GRU" and not layer.reset_after:
        options["reset"] = "before"
    if layer.compute_dtype != layer.variable_dtype:
        options["dtype"] = jnp.dtype(layer.compute_dtype).type
    return options


def _name(function: Any) -> str:
    """Returns the name of an activation."""
    return getattr(function, "__name__", type(function).__name__)
