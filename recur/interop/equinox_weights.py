"""Weights of `eqx.nn.LSTMCell` and `eqx.nn.GRUCell`, in both directions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from recur.interop.foreign import named
from recur.interop.gates import EQUINOX, Reset, Stored, Update, from_params, to_params
from recur.interop.lifted import lift_params
from recur.interop.tensors import as_arrays, check_shapes
from recur.layer import Layer


def from_equinox_weights(cell: Any) -> tuple[Layer, Any]:
    """Converts an `eqx.nn.LSTMCell` or `eqx.nn.GRUCell` to a layer with params.

    The layer reads one sequence `[T, I]`. To run a cell of Equinox with its own weights, use
    `from_equinox`.

    Args:
      cell: a module, which holds its weights. The conversion is differentiable.

    Returns:
      A `Layer` over one sequence, and its params.

    Raises:
      TypeError: if it is another module.
      ValueError: if weights are missing, of other shapes, NaN or infinite.

    Example:
      >>> import equinox as eqx, jax, jax.numpy as jnp, recur
      >>> cell = eqx.nn.GRUCell(3, 4, key=jax.random.key(0))
      >>> layer, params = recur.interop.from_equinox_weights(cell)
      >>> x = jnp.ones(3)
      >>> bool(jnp.allclose(layer(params, x[None])[0], cell(x, jnp.zeros(4)), atol=1e-6))
      True
    """
    import equinox as eqx

    caller = "from_equinox_weights"
    kind = {eqx.nn.LSTMCell: "lstm", eqx.nn.GRUCell: "gru"}.get(type(cell))
    if kind is None:
        raise TypeError(
            f"{caller}: expected an eqx.nn.LSTMCell or eqx.nn.GRUCell, got {named(cell)}."
        )
    inputs, features = cell.input_size, cell.hidden_size
    rows = features * {"lstm": 4, "gru": 3}[kind]
    shapes: dict[str, tuple[int, ...]] = {
        "weight_ih": (rows, inputs),
        "weight_hh": (rows, features),
    }
    if cell.use_bias:
        shapes |= {"bias": (rows,)} | ({"bias_n": (features,)} if kind == "gru" else {})
    arrays = as_arrays(caller, {name: getattr(cell, name) for name in shapes})
    check_shapes(caller, arrays, shapes)
    second = None
    if "bias_n" in arrays:
        second = jnp.zeros(rows, arrays["bias_n"].dtype).at[2 * features :].set(arrays["bias_n"])
    stored = Stored(kind, arrays["weight_ih"], arrays["weight_hh"], arrays.get("bias"), second)
    params = to_params(stored, EQUINOX)
    return lift_params(params), params


def to_equinox_weights(params: Any, *, reset: Reset = "after", update: Update = "keep") -> Any:
    """Converts params to an `eqx.nn.LSTMCell` or `eqx.nn.GRUCell` with these weights.

    The inverse of `from_equinox_weights`.

    Args:
      params: of `lstm` or `gru`. The
        module must have their activation, which is not stored in weights.
      reset: that of the `gru`; Equinox has only "after".
      update: that of the `gru`; "replace" is converted to Equinox's sense.

    Returns:
      The module.

    Raises:
      ValueError: if Equinox cannot compute the same: an `elman`, a GRU with `reset="before"`, a
        projection, peepholes or a learned initial carry; or if a weight is NaN or infinite.
      TypeError: if the params are those of another cell.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> params = recur.scan(recur.lstm(4)).init(jax.random.key(0), jnp.ones((5, 3)))
      >>> cell = recur.interop.to_equinox_weights(params)
      >>> hidden, _ = cell(jnp.ones(3), (jnp.zeros(4), jnp.zeros(4)))
      >>> hidden.shape
      (4,)
    """
    import equinox as eqx

    caller = "to_equinox_weights"
    stored = from_params(params, EQUINOX, caller, reset, update)
    if stored.kind == "elman":
        raise ValueError(f"{caller}: Equinox has no cell of this kind, only LSTMCell and GRUCell.")
    make = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}[stored.kind]
    (_, inputs), features = stored.kernel.shape, stored.recurrent_kernel.shape[1]
    has_bias = stored.bias is not None
    cell = eqx.filter_eval_shape(make, inputs, features, has_bias, key=jax.random.key(0))
    new = {"weight_ih": stored.kernel, "weight_hh": stored.recurrent_kernel}
    if has_bias:
        new["bias"] = stored.bias
        if stored.kind == "gru":
            new["bias_n"] = stored.recurrent_bias[2 * features :]
    return eqx.tree_at(lambda c: [getattr(c, name) for name in new], cell, list(new.values()))
