"""Weights of the recurrent cells of Flax Linen and Flax NNX, in both directions."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from recur.cells import ConvLSTMParams
from recur.checks import check_flag, known_value
from recur.interop.foreign import named
from recur.interop.gates import (
    COUNTS,
    FLAX,
    FLAX_CONV,
    Reset,
    Stored,
    Update,
    from_params,
    to_params,
)
from recur.interop.lifted import lift_params
from recur.interop.tensors import as_arrays, check_names, check_shapes
from recur.layer import Layer
from recur.lift.bidirectional import Directions

CELLS = {
    "LSTMCell": "lstm",
    "OptimizedLSTMCell": "lstm",
    "GRUCell": "gru",
    "SimpleCell": "elman",
    "ConvLSTMCell": "lstm",
}
EXPECTED = "LSTMCell, OptimizedLSTMCell, GRUCell or SimpleCell, or an RNN or Bidirectional of one"


def from_linen_weights(module: Any, params: Mapping[str, Any]) -> tuple[Layer, Any]:
    """Converts a recurrent module of Flax Linen to a layer with params that compute the same.

    `LSTMCell`, `OptimizedLSTMCell`, `GRUCell`, `SimpleCell`, `ConvLSTMCell`, and `RNN` and
    `Bidirectional` of them. The layer reads one sequence `[T, I]`: pass it to `recur.batch` for
    `[B, T, I]`. Its outputs are aligned with the inputs, as with `keep_order=True`. To run a cell
    of Linen with its own weights, use `from_linen`.

    Args:
      module: a module of Linen.
      params: its variables, or their collection "params". The conversion is differentiable.

    Returns:
      A `Layer` over one sequence, and its params.

    Raises:
      TypeError: if it is another module, or params are not a mapping.
      ValueError: if the module has an option that no cell here has, such as another `gate_fn` than
        sigmoid, or if weights are missing, unexpected, of other shapes, NaN or infinite.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> rnn, xs = nn.RNN(nn.GRUCell(4)), jnp.ones((5, 3))
      >>> variables = rnn.init(jax.random.key(0), xs)
      >>> layer, params = recur.interop.from_linen_weights(rnn, variables)
      >>> bool(jnp.allclose(layer(params, xs), rnn.apply(variables, xs), atol=1e-6))
      True
    """
    from flax import linen as nn

    caller = "from_linen_weights"
    if not isinstance(params, Mapping):
        raise TypeError(f"{caller}: expected params as a mapping, got {named(params)}.")
    params = params.get("params", params)
    return _from_flax(module, params, nn, caller)


def to_linen_weights(
    params: Any, *, reset: Reset = "after", update: Update = "keep"
) -> dict[str, Any]:
    """Converts params to those of a `GRUCell`, `SimpleCell`, `ConvLSTMCell` or LSTM of Flax Linen.

    The inverse of `from_linen_weights`. `nn.RNN(cell)` takes them as `{"cell": weights}`. Linen's
    cells have biases, which are zero if the params have none.

    Args:
      params: of `lstm`, `gru`, `elman` or `conv_lstm`, or `Directions` of two for `Bidirectional`.
        The module must have their activation, which is not stored in weights.
      reset: that of the `gru`; Linen has only "after".
      update: that of the `gru`; "replace" is converted to Linen's sense.

    Returns:
      The collection "params" of the cell, as nested dicts.

    Raises:
      ValueError: if Linen cannot compute the same: `reset="before"`, a projection, peepholes or a
        learned initial carry; or if a weight is NaN or infinite.
      TypeError: if the params are those of another cell.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> params = recur.scan(recur.lstm(4)).init(jax.random.key(0), jnp.ones((5, 3)))
      >>> sorted(recur.interop.to_linen_weights(params))
      ['hf', 'hg', 'hi', 'ho', 'if', 'ig', 'ii', 'io']
    """
    if isinstance(params, Directions):
        both = (to_linen_weights(each, reset=reset, update=update) for each in params)
        pairs = zip(("forward_rnn", "backward_rnn"), both, strict=True)
        return {name: {"cell": weights} for name, weights in pairs}
    is_conv = isinstance(params, ConvLSTMParams)
    library = FLAX_CONV if is_conv else FLAX
    stored = _with_biases(from_params(params, library, "to_linen_weights", reset, update))
    if is_conv:
        return {
            "ih": {"kernel": stored.kernel, "bias": stored.bias},
            "hh": {"kernel": stored.recurrent_kernel, "bias": jnp.zeros_like(stored.bias)},
        }
    return _named(stored, is_joined=False)


def from_nnx_weights(module: Any, weights: Mapping[str, Any] | None = None) -> tuple[Layer, Any]:
    """Converts a recurrent module of Flax NNX to a layer with params that compute the same.

    `LSTMCell`, `OptimizedLSTMCell`, `GRUCell`, `SimpleCell`, and `RNN` and `Bidirectional` of them.
    The layer reads one sequence `[T, I]`: pass it to `recur.batch` for `[B, T, I]`. Its outputs are
    aligned with the inputs, as with `keep_order=True`. To run a cell of NNX with its own weights,
    use `from_nnx`.

    Args:
      module: a module of NNX.
      weights: its parameters as nested dicts, `nnx.to_pure_dict(nnx.state(module, nnx.Param))`; by
        default those of the module. The conversion is differentiable.

    Returns:
      A `Layer` over one sequence, and its params.

    Raises:
      TypeError: if it is another module.
      ValueError: if the module has an option that no cell here has, such as another `gate_fn` than
        sigmoid, or if weights are missing, unexpected, of other shapes, NaN or infinite.

    Example:
      >>> import jax.numpy as jnp, recur
      >>> from flax import nnx
      >>> rnn, xs = nnx.RNN(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0))), jnp.ones((2, 5, 3))
      >>> layer, params = recur.interop.from_nnx_weights(rnn)
      >>> bool(jnp.allclose(recur.batch(layer)(params, xs), rnn(xs), atol=1e-6))
      True
    """
    from flax import nnx

    caller = "from_nnx_weights"
    if weights is None and isinstance(module, nnx.Module):
        weights = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    return _from_flax(module, weights, nnx, caller)


def to_nnx_weights(
    params: Any, *, optimized: bool = False, reset: Reset = "after", update: Update = "keep"
) -> dict[str, Any]:
    """Converts params to those of a `GRUCell`, `SimpleCell`, `LSTMCell` of Flax NNX.

    The inverse of `from_nnx_weights`: `nnx.update(module, weights)` takes them. NNX's cells have
    biases, which are zero if the params have none.

    Args:
      params: of `lstm`, `gru` or `elman`, or `Directions` of two for `Bidirectional`.
        The module must have their activation, which is not stored in weights.
      optimized: whether an LSTM is an `OptimizedLSTMCell`, which joins all gates.
      reset: that of the `gru`; NNX has only "after".
      update: that of the `gru`; "replace" is converted to NNX' sense.

    Returns:
      The parameters of the cell, as nested dicts.

    Raises:
      ValueError: if NNX cannot compute the same: a GRU with a `recurrent_bias` that is not zero,
        since NNX's GRU has no such bias, `reset="before"`, a projection, peepholes or a learned
        initial carry; or if a weight is NaN or infinite.
      TypeError: if the params are those of another cell.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import nnx
      >>> params = recur.scan(recur.gru(4)).init(jax.random.key(0), jnp.ones((5, 3)))
      >>> cell = nnx.GRUCell(3, 4, rngs=nnx.Rngs(0))
      >>> nnx.update(cell, recur.interop.to_nnx_weights(params))
    """
    check_flag("to_nnx_weights: optimized", optimized)
    if isinstance(params, Directions):
        options: Any = {"optimized": optimized, "reset": reset, "update": update}
        both = (to_nnx_weights(each, **options) for each in params)
        pairs = zip(("forward_rnn", "backward_rnn"), both, strict=True)
        return {name: {"cell": weights} for name, weights in pairs}
    caller = "to_nnx_weights"
    stored = _with_biases(from_params(params, FLAX, caller, reset, update))
    weights = _named(stored, is_joined=optimized or stored.kind != "lstm")
    if stored.kind == "gru":
        c = known_value(stored.recurrent_bias)
        if c is None or c.any():
            raise ValueError(
                f"{caller}: expected a recurrent_bias of zeros, since NNX's GRU has no bias inside "
                f"its reset, got {'a traced one' if c is None else 'others'}. Use Linen's GRU, "
                "which has one: to_linen_weights."
            )
    return {"if_" if name == "if" else name: weight for name, weight in weights.items()}


def _from_flax(module: Any, weights: Any, library: Any, caller: str) -> tuple[Layer, Any]:
    """Converts a module of Linen or NNX; `library` is `flax.linen` or `flax.nnx`."""
    options: dict[str, Any] = {}
    if isinstance(module, library.Bidirectional):
        rnns = (module.forward_rnn, module.backward_rnn)
        names = ("forward_rnn", "backward_rnn")
        inside = [_entry(weights, names, name, caller) for name in names]
        cells = [_cell_of(rnn, library, caller) for rnn in rnns]
        converted = (
            _convert(cell, _entry(each, ["cell"], "cell", caller), library, f"{caller}: {name}")
            for cell, each, name in zip(cells, inside, names, strict=True)
        )
        (forward, options), (backward, others) = converted
        if options != others:
            raise ValueError(f"{caller}: both directions must have the same options.")
        default = inspect.signature(library.Bidirectional.__init__).parameters["merge_fn"].default
        if module.merge_fn is not default:
            options["merge"] = module.merge_fn
        params: Any = Directions(forward, backward)
    else:
        cell = module
        if isinstance(module, library.RNN):
            cell = _cell_of(module, library, caller)
            weights = _entry(weights, ["cell"], "cell", caller)
        params, options = _convert(cell, weights, library, caller)
        if cell is not module and module.reverse:
            options["reverse"] = True
    return lift_params(params, **options), params


def _entry(weights: Any, names: Sequence[str], name: str, caller: str) -> Any:
    """Returns an entry of a mapping that must have these names."""
    check_names(caller, weights if isinstance(weights, Mapping) else [], names)
    return weights[name]


def _cell_of(rnn: Any, library: Any, caller: str) -> Any:
    """Returns the cell of an `RNN`."""
    if not isinstance(rnn, library.RNN):
        raise TypeError(f"{caller}: expected an RNN of a cell, got {named(rnn)}.")
    return rnn.cell


def _convert(cell: Any, weights: Any, library: Any, caller: str) -> tuple[Any, dict[str, Any]]:
    """Returns the params and the options of one cell."""
    name = type(cell).__name__
    if name not in CELLS or type(cell) is not getattr(library, name, None):
        raise TypeError(f"{caller}: expected a {EXPECTED}, got {named(cell)}.")
    tensors = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(weights)
    }
    arrays = as_arrays(caller, {key.replace("if_/", "if/"): each for key, each in tensors.items()})
    options = _options(cell, name, caller)
    kind = CELLS[name]
    if name == "ConvLSTMCell":
        biases = ["ih/bias", "hh/bias"] if cell.use_bias else []
        check_names(caller, arrays, ["ih/kernel", "hh/kernel", *biases])
        stored = Stored._make([kind, arrays["ih/kernel"], arrays["hh/kernel"], None, None, None])
        if biases:
            stored = stored._replace(bias=arrays[biases[0]], recurrent_bias=arrays[biases[1]])
        return to_params(stored, FLAX_CONV), options
    return to_params(_stored(arrays, kind, caller), FLAX), options


def _options(cell: Any, name: str, caller: str) -> dict[str, Any]:
    """Returns the options of a cell; refuses those that no cell here has."""
    from flax import linen as nn

    expected: dict[str, tuple[Any, ...]] = {
        "gate_fn": (nn.sigmoid, jax.nn.sigmoid),
        "residual": (False,),
        "carry_init": (None, nn.initializers.zeros_init()),
    }
    if name == "ConvLSTMCell":
        expected |= {"padding": ("SAME",), "strides": (None, 1, (1,), (1, 1), (1, 1, 1))}
    for option, values in expected.items():
        given = getattr(cell, option, values[0])
        if given not in values:
            raise ValueError(
                f"{caller}: {name} with {option}={given!r} has no equal here. Run it with its own "
                "weights: recur.interop.from_linen or from_nnx."
            )
    phi = getattr(cell, "activation_fn", jnp.tanh)
    options = {} if phi in (jnp.tanh, nn.tanh) else {"activation": phi}
    return options if cell.dtype is None else {**options, "dtype": cell.dtype}


def _names(kind: str, is_joined: bool) -> tuple[list[str], list[str]]:
    """Returns the names of the Dense modules that read the input, and the state."""
    if is_joined:
        return ["dense_i"], ["dense_h"]
    letters = {"lstm": FLAX.lstm, "gru": FLAX.gru, "elman": [""]}[kind]
    return [f"i{letter}" for letter in letters], [f"h{letter}" for letter in letters]


def _stored(arrays: dict[str, jax.Array], kind: str, caller: str) -> Stored:
    """Joins the arrays of all gates, after checks of names and shapes."""
    is_joined = any(name.startswith("dense") for name in arrays)
    inner, outer = _names(kind, is_joined)
    with_bias = outer if kind == "lstm" else inner
    has_second = kind == "gru" and not is_joined
    kernels = [f"{name}/kernel" for name in (*inner, *outer)]
    biases = [f"{name}/bias" for name in (*with_bias, *(["hn"] if has_second else []))]
    check_names(caller, arrays, [*kernels, *biases])
    inputs, features = (arrays[f"{names[0]}/kernel"].shape[0] for names in (inner, outer))
    columns = features * COUNTS[kind] // len(inner)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(biases, (columns,))
    shapes |= dict.fromkeys(kernels[: len(inner)], (inputs, columns))
    shapes |= dict.fromkeys(kernels[len(inner) :], (features, columns))
    check_shapes(caller, arrays, shapes)

    def joined(names, leaf):
        return jnp.concatenate([arrays[f"{name}/{leaf}"] for name in names], axis=-1)

    second = None
    bias = joined(with_bias, "bias")
    if kind == "gru":
        second = jnp.zeros_like(bias)
        if has_second:
            second = second.at[2 * features :].set(arrays["hn/bias"])
    return Stored(kind, joined(inner, "kernel"), joined(outer, "kernel"), bias, second)


def _named(stored: Stored, is_joined: bool) -> dict[str, dict[str, jax.Array]]:
    """Splits the arrays of all gates into the modules of a cell: the inverse of `_stored`."""
    inner, outer = _names(stored.kind, is_joined)
    with_bias = outer if stored.kind == "lstm" else inner
    weights: dict[str, dict[str, jax.Array]] = {}
    for names, array, leaf in (
        (inner, stored.kernel, "kernel"),
        (outer, stored.recurrent_kernel, "kernel"),
        (with_bias, stored.bias, "bias"),
    ):
        for name, part in zip(names, jnp.split(array, len(names), axis=-1), strict=True):
            weights.setdefault(name, {})[leaf] = part
    if stored.kind == "gru" and not is_joined:
        weights["hn"]["bias"] = jnp.split(stored.recurrent_bias, 3)[2]
    return weights


def _with_biases(stored: Stored) -> Stored:
    """Returns weights with biases, which are zero if there are none."""
    if stored.bias is not None:
        return stored
    zeros = jnp.zeros(stored.kernel.shape[-1], stored.kernel.dtype)
    return stored._replace(bias=zeros, recurrent_bias=zeros)
