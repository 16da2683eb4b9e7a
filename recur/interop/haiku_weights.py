"""Weights of `hk.LSTM`, `hk.GRU` and `hk.VanillaRNN`, in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from recur.interop.foreign import named
from recur.interop.gates import HAIKU, Reset, Stored, Update, from_params, to_params
from recur.interop.lifted import lift_params
from recur.interop.tensors import as_arrays, check_names, check_shapes
from recur.layer import Layer

NAMES = {
    "lstm": ("linear/w", "linear/b"),
    "gru": ("w_i", "w_h", "b"),
    "elman": ("linear/w", "linear/b", "linear_1/w", "linear_1/b"),
}


def from_haiku_weights(params: Mapping[str, Any], *, prefix: str = "") -> tuple[Layer, Any]:
    """Converts the params of an `hk.LSTM`, `hk.GRU` or `hk.VanillaRNN` to a layer with its params.

    The layer reads one sequence `[T, I]`: pass it to `recur.batch` for `[B, T, I]`. To run a core
    of Haiku with its own weights, use `from_haiku`.

    Args:
      params: the params of Haiku: a mapping of module names to mappings of arrays. The conversion
        is differentiable.
      prefix: the name of the core in a larger model, such as "encoder/~/lstm"; all other modules
        are ignored. By default the params are those of one core.

    Returns:
      A `Layer` over one sequence, and its params. An LSTM of Haiku adds 1 to its forget gate at
      each step; here it is part of the bias.

    Raises:
      TypeError: if params are not a mapping of mappings of floating-point arrays.
      ValueError: if arrays are missing, unexpected, of other shapes, NaN or infinite.

    Example:
      >>> import haiku as hk, jax, jax.numpy as jnp, recur
      >>> core = hk.transform(lambda xs: hk.dynamic_unroll(hk.GRU(4), xs, jnp.zeros(4))[0])
      >>> xs = jnp.ones((5, 3))
      >>> theirs = core.init(jax.random.key(0), xs)
      >>> layer, params = recur.interop.from_haiku_weights(theirs)
      >>> layer
      scan(gru(4, reset='before', update='replace'))
      >>> bool(jnp.allclose(layer(params, xs), core.apply(theirs, None, xs), atol=1e-6))
      True
    """
    caller = "from_haiku_weights"
    arrays = as_arrays(caller, _tensors(params, prefix, caller))
    kind = "gru" if "w_i" in arrays else "elman" if "linear_1/w" in arrays else "lstm"
    expected = NAMES[kind]
    if kind == "elman" and "linear_1/b" not in arrays:
        expected = expected[:3]  # with double_bias=False
    check_names(caller, arrays, expected)
    shapes: tuple[tuple[int, ...], ...]
    if kind == "lstm":
        rows, columns = _two(arrays["linear/w"])
        features = columns // 4
        shapes = ((max(rows, features), 4 * features), (4 * features,))
    elif kind == "gru":
        features = _two(arrays["w_h"])[0]
        inputs = _two(arrays["w_i"])[0]
        shapes = (inputs, 3 * features), (features, 3 * features), (3 * features,)
    else:
        inputs, features = _two(arrays["linear/w"])
        shapes = (inputs, features), (features,), (features, features), (features,)
    check_shapes(caller, arrays, dict(zip(expected, shapes, strict=False)))
    if kind == "lstm":
        weight = arrays["linear/w"]
        kernels = jnp.split(weight, [weight.shape[0] - features])  # x comes before h
        stored = Stored(kind, kernels[0], kernels[1], arrays["linear/b"])
        return _lifted(stored)
    if kind == "gru":
        stored = Stored(kind, arrays["w_i"], arrays["w_h"], arrays["b"])
        return _lifted(stored, reset="before", update="replace")
    weights = (arrays["linear/w"], arrays["linear_1/w"], arrays["linear/b"])
    return _lifted(Stored(kind, *weights, arrays.get("linear_1/b")), activation="relu")


def to_haiku_weights(
    params: Any, *, name: str | None = None, reset: Reset = "after", update: Update = "keep"
) -> dict[str, dict[str, jax.Array]]:
    """Converts params to those of an `hk.LSTM`, `hk.GRU` or `hk.VanillaRNN`.

    The inverse of `from_haiku_weights`. Haiku's cores have biases, which are zero if the params
    have none. `hk.VanillaRNN` has the activation "relu", which the `elman` must have too.

    Args:
      params: of `lstm`, `gru` or `elman`.
      name: the name of the core in a larger model; by default "lstm", "gru" or "vanilla_rnn".
      reset: that of the `gru`; Haiku has only "before".
      update: that of the `gru`; "keep" is converted to Haiku's sense.

    Returns:
      The params of Haiku.

    Raises:
      ValueError: if Haiku cannot compute the same: a GRU with `reset="after"`, a projection,
        peepholes or a learned initial carry; or if a weight is NaN or infinite.
      TypeError: if the params are those of another cell.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.gru(4, reset="before"))
      >>> params = layer.init(jax.random.key(0), jnp.ones((5, 3)))
      >>> jax.tree.map(jnp.shape, recur.interop.to_haiku_weights(params, reset="before"))
      {'gru': {'b': (12,), 'w_h': (4, 12), 'w_i': (3, 12)}}
    """
    caller = "to_haiku_weights"
    if name is not None and not isinstance(name, str):
        raise TypeError(f"{caller}: name must be a string, got {name!r}.")
    stored = from_params(params, HAIKU, caller, reset, update)
    kernel, recurrent_kernel, bias = stored[1:4]
    if bias is None:
        bias = jnp.zeros(kernel.shape[-1], kernel.dtype)
    if stored.kind == "gru":
        return {name or "gru": {"w_i": kernel, "w_h": recurrent_kernel, "b": bias}}
    if stored.kind == "lstm":
        weight = jnp.concatenate([kernel, recurrent_kernel])
        return {f"{name or 'lstm'}/linear": {"w": weight, "b": bias}}
    name = name or "vanilla_rnn"
    return {
        f"{name}/linear": {"w": kernel, "b": bias},
        f"{name}/linear_1": {"w": recurrent_kernel, "b": jnp.zeros_like(bias)},
    }


def _lifted(stored: Stored, **options: Any) -> tuple[Layer, Any]:
    params = to_params(stored, HAIKU)
    return lift_params(params, **options), params


def _tensors(params: Any, prefix: str, caller: str) -> dict[str, Any]:
    """Returns the arrays of one core by their names after the name of the core."""
    if not isinstance(prefix, str):
        raise TypeError(f"{caller}: prefix must be a string, got {prefix!r}.")
    if not isinstance(params, Mapping) or not all(isinstance(w, Mapping) for w in params.values()):
        raise TypeError(
            f"{caller}: expected the params of Haiku, a mapping of module names to mappings of "
            f"arrays, got {named(params)}."
        )
    flat = {f"{module}/{name}": w for module, ws in params.items() for name, w in ws.items()}
    if prefix:
        start = f"{prefix}/"
        inside = {n.removeprefix(start): w for n, w in flat.items() if n.startswith(start)}
        if not inside:
            raise ValueError(
                f"{caller}: no module has the name {prefix!r}; the names are {', '.join(params)}."
            )
        return inside
    *parents, _ = next(iter(flat), "none").split("/")
    if parents and parents[-1] in ("linear", "linear_1"):
        parents.pop()
    return {name.removeprefix("/".join([*parents, ""])): w for name, w in flat.items()}


def _two(array: jax.Array) -> tuple[int, ...]:
    """Returns the shape of a matrix, or zeros for another array, which no shape equals."""
    return array.shape if array.ndim == 2 else (0, 0)
