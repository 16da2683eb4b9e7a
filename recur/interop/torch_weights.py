"""Weights of `torch.nn.LSTM`, `GRU` and `RNN`, in both directions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.interop.foreign import named
from recur.interop.gates import (
    COUNTS,
    PYTORCH,
    Library,
    Reset,
    Stored,
    Update,
    from_params,
    to_params,
)
from recur.interop.lifted import lift_layers
from recur.interop.tensors import as_arrays, check_names, check_shapes
from recur.layer import Layer
from recur.lift.bidirectional import Directions

KINDS: tuple[str, ...] = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
NAME = re.compile(r"weight_ih(_l(\d+))?(_reverse)?")


class _Options(NamedTuple):
    """What a module knows and its tensors do not."""

    nonlinearity: str
    dropout: float


def from_torch_weights(
    weights: Any, *, prefix: str = "", nonlinearity: str = "tanh"
) -> tuple[Layer, Any]:
    """Converts `torch.nn.LSTM`, `GRU` or `RNN` to a layer with params that compute the same.

    Several layers, `bidirectional=True`, `proj_size`, `bias=False` and the modules `LSTMCell`,
    `GRUCell` and `RNNCell` are converted too. The layer reads one sequence `[T, I]`: pass it to
    `recur.batch` for `[B, T, I]`. It is a `recur.scan` or `recur.bidirectional`, or the
    `recur.chain` of one for each layer of PyTorch.

    Args:
      weights: a module, or its state dict: a mapping of names such as "weight_hh_l0" to tensors or
        arrays. From arrays of JAX the conversion is differentiable, so `jax.grad` returns
        gradients with the names and shapes of PyTorch.
      prefix: the name of the module in a larger model, such as "encoder.lstm"; all other tensors
        are ignored.
      nonlinearity: "tanh" or "relu" for the state dict of an `RNN`; read from a module itself.

    Returns:
      A `Layer` over one sequence, and its params. Dropout of the module is on if a key is given.

    Raises:
      ValueError: if tensors are missing, unexpected, of other shapes, NaN or infinite, or are
        float64 while JAX has only float32.
      TypeError: if weights are neither a module nor a mapping, or are not floating-point.

    Example:
      >>> import numpy as np, recur
      >>> shapes = {"weight_ih_l0": (12, 3), "weight_hh_l0": (12, 4), "bias_ih_l0": (12,)}
      >>> weights = {name: np.ones(s, "float32") for name, s in shapes.items()}
      >>> weights["bias_hh_l0"] = weights["bias_ih_l0"]
      >>> layer, params = recur.interop.from_torch_weights(weights)
      >>> layer
      scan(gru(4))
      >>> layer(params, np.ones((5, 3), "float32")).shape
      (5, 4)

    References:
      The equations are those of https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html
    """
    caller = "from_torch_weights"
    tensors, options = _read(weights, prefix, nonlinearity, caller)
    arrays = as_arrays(caller, tensors)
    stored, is_bidirectional = _arrange(arrays, caller)
    converted = [to_params(each, PYTORCH) for each in stored]
    if is_bidirectional:
        converted = [
            Directions(*pair) for pair in zip(converted[::2], converted[1::2], strict=True)
        ]
    cell = {"activation": options.nonlinearity} if stored[0].kind == "elman" else {}
    return lift_layers(converted, options.dropout, **cell)


def to_torch_weights(
    params: Any, *, prefix: str = "", reset: Reset = "after", update: Update = "keep"
) -> dict[str, jax.Array]:
    """Converts params to the state dict of `torch.nn.LSTM`, `GRU` or `RNN`.

    The inverse of `from_torch_weights`. Of the two biases of PyTorch the second one is zero, except
    that of a GRU's candidate. `{k: torch.from_dlpack(v) for k, v in weights.items()}` makes tensors
    for `load_state_dict`.

    Args:
      params: of `lstm`, `projected_lstm`, `gru` or `elman`; `Directions` of two of them; or a tuple
        of these, one for each layer, as a `recur.stack` or a `recur.chain` has. The
        module must have their activation, which is not stored in weights.
      prefix: the name of the module in a larger model, which is put before each name.
      reset: that of the `gru`; PyTorch has only "after".
      update: that of the `gru`; "replace" is converted to PyTorch's sense.

    Returns:
      A dict of names such as "weight_hh_l0" to arrays.

    Raises:
      ValueError: if PyTorch cannot compute the same: `reset="before"`, peepholes, a learned initial
        carry, or layers of different kinds or widths; or if a weight is NaN or infinite.
      TypeError: if the params are those of another cell.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> params = recur.scan(recur.lstm(4)).init(jax.random.key(0), jnp.ones((5, 3)))
      >>> weights = recur.interop.to_torch_weights(params)
      >>> {name: array.shape for name, array in weights.items()}  # doctest: +NORMALIZE_WHITESPACE
      {'weight_ih_l0': (16, 3), 'weight_hh_l0': (16, 4), 'bias_ih_l0': (16,),
       'bias_hh_l0': (16,)}
    """
    layers = stored_layers(params, PYTORCH, "to_torch_weights", reset, update)
    before = f"{prefix}." if prefix else ""
    return {
        f"{before}{kind}_l{number}{suffix}": array
        for number, layer in enumerate(layers)
        for suffix, stored in zip(("", "_reverse"), layer, strict=False)
        for kind, array in zip(KINDS, stored[1:], strict=True)
        if array is not None
    }


def stored_layers(
    params: Any, library: Library, caller: str, reset: Reset = "after", update: Update = "keep"
) -> list[list[Stored]]:
    """Returns the weights of each layer and direction; all layers must be alike, as in PyTorch."""
    is_deep = isinstance(params, tuple) and not hasattr(params, "_fields")
    entries = [each for each in params if jax.tree.leaves(each)] if is_deep else [params]
    layers = [list(each) if isinstance(each, Directions) else [each] for each in entries]
    stored = [[from_params(p, library, caller, reset, update) for p in each] for each in layers]
    if not stored:
        raise ValueError(f"{caller}: expected params of at least one layer, got {params!r}.")
    first = stored[0][0]
    for number, layer in enumerate(stored):
        for each in layer:
            if (len(layer), *_alike(each)) != (len(stored[0]), *_alike(first)):
                raise ValueError(
                    f"{caller}: a module of {library.title} has layers of one kind and width, got "
                    f"{_titled(stored[0])} and, as layer {number}, {_titled(layer)}. Convert the "
                    "layers one by one: params[0]."
                )
        width = _width(first) * len(layer)
        if number and each.kernel.shape[1] != width:
            raise ValueError(
                f"{caller}: layer {number} reads {each.kernel.shape[1]} numbers, but layer "
                f"{number - 1} returns {width}. Pass layers that follow each other directly."
            )
    return stored


def _alike(stored: Stored) -> tuple[Any, ...]:
    """Returns what all layers of a module share."""
    projection = None if stored.projection is None else stored.projection.shape
    return stored.kind, stored.recurrent_kernel.shape, stored.bias is None, projection


def _width(stored: Stored) -> int:
    """Returns the width of the outputs."""
    return stored.recurrent_kernel.shape[1]


def _titled(layer: list[Stored]) -> str:
    """Describes a layer for a message."""
    each = layer[0]
    biases = "without biases" if each.bias is None else "with biases"
    directions = "in one direction" if len(layer) == 1 else "in both directions"
    return f"{each.kind}({_width(each)}) {biases} {directions}"


def _read(weights: Any, prefix: str, nonlinearity: str, caller: str) -> tuple[dict, _Options]:
    """Returns the tensors under a prefix by name, and the options of a module."""
    if not isinstance(prefix, str):
        raise TypeError(f"{caller}: prefix must be a string, got {prefix!r}.")
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f'{caller}: nonlinearity must be "tanh" or "relu", got {nonlinearity!r}.')
    options = _Options(nonlinearity, 0.0)
    if hasattr(weights, "state_dict") and not isinstance(weights, type):
        module = _submodule(weights, prefix, caller)
        nonlinearity = getattr(module, "nonlinearity", nonlinearity)
        options = _Options(nonlinearity, float(getattr(module, "dropout", 0.0)))
        return dict(module.state_dict()), options
    if not isinstance(weights, Mapping):
        raise TypeError(
            f"{caller}: expected a module such as torch.nn.LSTM or its state dict, got "
            f"{named(weights)}."
        )
    start = f"{prefix}." if prefix else ""
    inside = {str(n).removeprefix(start): w for n, w in weights.items() if str(n).startswith(start)}
    if prefix and not inside:
        raise ValueError(
            f"{caller}: no tensor has the prefix {prefix!r}; the names are "
            f"{', '.join(map(str, weights)) or 'none'}."
        )
    return inside, options


def _submodule(module: Any, prefix: str, caller: str) -> Any:
    """Returns the module that has the name `prefix` in a larger one."""
    try:
        return module.get_submodule(prefix) if prefix else module
    except AttributeError as error:
        names = ", ".join(name for name, _ in module.named_children()) or "none"
        raise ValueError(
            f"{caller}: no module has the name {prefix!r}; the names are {names}."
        ) from error


def _arrange(arrays: dict[str, jax.Array], caller: str) -> tuple[list[Stored], bool]:
    """Returns the weights by layer and direction, after checks of names and shapes."""
    found = [match for match in map(NAME.fullmatch, arrays) if match]
    if not found or "weight_hh" not in str(list(arrays)):
        raise ValueError(
            f"{caller}: expected the tensors of a torch.nn.LSTM, GRU or RNN, such as weight_ih_l0 "
            f"and weight_hh_l0, got {', '.join(arrays) or 'none'}. Pass prefix= for a larger model."
        )
    is_bidirectional = any(match[3] for match in found)
    count = 1 + max(int(match[2] or 0) for match in found)
    count = min(count, len(found) + 1)  # with more than that, a layer is missing in any case
    layers = [""] if found[0][1] is None else [f"_l{number}" for number in range(count)]
    suffixes = [f"{at}{way}" for at in layers for way in ("", "_reverse")[: 1 + is_bidirectional]]
    has_bias = any(name.startswith("bias") for name in arrays)
    has_projection = any(name.startswith("weight_hr") for name in arrays)
    used = [*KINDS[:2], *(KINDS[2:4] if has_bias else ()), *(KINDS[4:] if has_projection else ())]
    names = {suffix: [f"{kind}{suffix}" for kind in used] for suffix in suffixes}
    check_names(caller, arrays, [name for each in names.values() for name in each])

    kind, rows, features, width = _sizes(arrays, suffixes[0], has_projection, caller)
    inputs = arrays[f"weight_ih{suffixes[0]}"].shape[-1]
    stored = []
    for number, suffix in enumerate(suffixes):
        is_first = number < len(suffixes) // len(layers)
        reads = inputs if is_first else width * (1 + is_bidirectional)
        shapes = [(rows, reads), (rows, width), (rows,), (rows,), (width, features)]
        by_kind: dict[str, tuple[int, ...]] = dict(zip(KINDS, shapes, strict=True))
        check_shapes(caller, arrays, {f"{each}{suffix}": by_kind[each] for each in used})
        stored.append(Stored._make([kind, *(arrays.get(f"{each}{suffix}") for each in KINDS)]))
    return stored, is_bidirectional


def _sizes(
    arrays: dict[str, jax.Array], suffix: str, has_projection: bool, caller: str
) -> tuple[str, int, int, int]:
    """Returns the kind, the rows of a kernel, H, and the width of the outputs."""
    shape = arrays[f"weight_hh{suffix}"].shape
    features = jnp.shape(arrays[f"weight_hr{suffix}"])[-1] if has_projection else shape[-1]
    for kind, count in COUNTS.items():
        if len(shape) == 2 and shape[0] == count * features:
            return kind, shape[0], features, shape[1]
    raise ValueError(
        f"{caller}: weight_hh{suffix}: expected the shape [4H, H] of an LSTM, [3H, H] of a GRU or "
        f"[H, H] of an RNN, got {list(shape)}."
    )
