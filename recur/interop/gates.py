"""How libraries store the weights of recurrent cells: one table, and the functions that read it.

All of them store the same equations, and differ in the order of the gates, in whether gates are
rows or columns, in the number of biases, and in the sense of a GRU's update gate.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from recur.cells import (
    ConvLSTMParams,
    ElmanParams,
    GRUGates,
    GRUParams,
    LSTMGates,
    LSTMParams,
    ProjectedLSTMParams,
)
from recur.interop.foreign import named
from recur.interop.tensors import check_finite

Reset = Literal["after", "before"]
Update = Literal["keep", "replace"]


class Library(NamedTuple):
    """How a library stores recurrent weights.

    Attributes:
      title: its name, for messages.
      lstm: the order of the LSTM's gates, by their letters in `lstm`.
      gru: the order of the GRU's gates, by their letters in `gru`.
      in_rows: whether kernels are `[4H, I]` with gates in rows, in place of `[I, 4H]`.
      resets: where its GRU may reset: "after" or "before" the product.
      update: whether z is the share of the old state to "keep" or to "replace".
      added_to_forget: a constant that its LSTM adds to b_f at each step.
      has_conv: whether it has a convolutional LSTM.
      has_projection: whether it has an LSTM with a projection.
    """

    title: str
    lstm: str
    gru: str
    in_rows: bool
    resets: tuple[Reset, ...] = ("after",)
    update: Update = "keep"
    added_to_forget: float = 0.0
    has_conv: bool = False
    has_projection: bool = False


PYTORCH = Library("PyTorch", "ifgo", "rzn", in_rows=True, has_projection=True)
CUDNN = Library("cuDNN", "ifgo", "rzn", in_rows=True)
EQUINOX = Library("Equinox", "ifgo", "rzn", in_rows=True)
KERAS = Library("Keras", "ifgo", "zrn", in_rows=False, resets=("after", "before"), has_conv=True)
FLAX = Library("Flax", "ifgo", "rzn", in_rows=False)
FLAX_CONV = FLAX._replace(lstm="igfo", added_to_forget=1.0, has_conv=True)  # Linen's ConvLSTMCell
HAIKU = Library("Haiku", "igfo", "zrn", False, ("before",), "replace", added_to_forget=1.0)

GATES: dict[str, Any] = {"lstm": LSTMGates, "gru": GRUGates}
LETTERS = {
    "lstm": {"i": "input", "f": "forget", "g": "candidate", "o": "output"},
    "gru": {"r": "reset", "z": "update", "n": "candidate"},
}
COUNTS = {"lstm": 4, "gru": 3, "elman": 1}  # of the gates
KINDS: dict[type, str] = {
    ConvLSTMParams: "lstm",
    ElmanParams: "elman",
    GRUParams: "gru",
    LSTMParams: "lstm",
    ProjectedLSTMParams: "lstm",
}


class Stored(NamedTuple):
    """The weights of one cell as a library stores them.

    Attributes:
      kind: "lstm", "gru" or "elman".
      kernel: input kernels of all gates, `[I, kH]`, or `[kH, I]` in rows.
      recurrent_kernel: recurrent kernels of all gates, `[H, kH]` or `[kH, H]`.
      bias: biases of all gates, `[kH]`; None without biases.
      recurrent_bias: the second bias of all gates, `[kH]`; None where there is one bias.
      projection: kernel of the projection, `[H, P]`, or `[P, H]` in rows; or None.
    """

    kind: str
    kernel: jax.Array
    recurrent_kernel: jax.Array
    bias: Any
    recurrent_bias: Any = None
    projection: Any = None


def split_gates(array: jax.Array, kind: str, library: Library) -> Any:
    """Splits an array of all gates into one array for each, with gates as the last axis."""
    array = array.T if library.in_rows else array
    if kind == "elman":
        return array
    letters = getattr(library, kind)
    parts = jnp.split(array, len(letters), axis=-1)
    names = (LETTERS[kind][letter] for letter in letters)
    return GATES[kind](**dict(zip(names, parts, strict=True)))


def join_gates(gates: Any, kind: str, library: Library) -> jax.Array:
    """Joins the arrays of all gates in the order of a library."""
    if kind != "elman":
        names = (LETTERS[kind][letter] for letter in getattr(library, kind))
        gates = jnp.concatenate([getattr(gates, name) for name in names], axis=-1)
    return gates.T if library.in_rows else gates


def to_params(stored: Stored, library: Library) -> Any:
    """Returns the params of `lstm`, `projected_lstm`, `gru` or `elman` for stored weights."""
    kind, projection = stored.kind, stored.projection
    split: list[Any] = [
        None if array is None else split_gates(array, kind, library) for array in stored[1:5]
    ]
    kernel, recurrent_kernel, bias, second = split
    both = bias if second is None else jax.tree.map(jnp.add, bias, second)
    if kind == "elman":
        return ElmanParams(kernel, recurrent_kernel, both, None)
    if kind == "gru":
        if second is None:
            return GRUParams(kernel, recurrent_kernel, bias, None, None)
        both = both._replace(candidate=bias.candidate)
        return GRUParams(kernel, recurrent_kernel, both, second.candidate, None)
    both = add_to_forget(both, kernel, library.added_to_forget)
    if kernel.input.ndim > 2:
        return ConvLSTMParams(kernel, recurrent_kernel, both, None)
    if projection is None:
        return LSTMParams(kernel, recurrent_kernel, both, None, None)
    projection = projection.T if library.in_rows else projection
    return ProjectedLSTMParams(kernel, recurrent_kernel, both, projection, None)


def from_params(
    params: Any, library: Library, caller: str, reset: Reset = "after", update: Update = "keep"
) -> Stored:
    """Returns weights as a library stores them, with a second bias where it has two.

    Args:
      params: of `lstm`, `projected_lstm`, `gru` or `elman`.
      library: the library.
      caller: the public function, for messages.
      reset: that of `gru`.
      update: that of `gru`.

    Raises:
      TypeError: if the params are those of another cell.
      ValueError: if the library cannot compute the same, or a weight is NaN.
    """
    kind = _check_params(params, library, caller)
    check_finite(caller, params)
    params = jax.tree.map(jnp.asarray, params)
    bias, second, projection = params.bias, None, None
    if kind == "lstm":
        bias = add_to_forget(bias, params.kernel, -library.added_to_forget)
    if kind == "gru":
        params = check_gru(params, library, caller, reset, update)
        bias = params.bias
    if bias is not None:
        second = jax.tree.map(jnp.zeros_like, bias)
        if kind == "gru" and reset == "after":
            second = second._replace(candidate=params.recurrent_bias)
    if isinstance(params, ProjectedLSTMParams):
        projection = params.projection.T if library.in_rows else params.projection
    arrays = (params.kernel, params.recurrent_kernel, bias, second)
    joined: list[Any] = [
        None if each is None else join_gates(each, kind, library) for each in arrays
    ]
    return Stored._make([kind, *joined, projection])


def add_to_forget(bias: Any, kernel: Any, value: float) -> Any:
    """Returns the biases of an LSTM with a constant added to b_f, which needs biases."""
    if not value:
        return bias
    if bias is None:
        bias = jax.tree.map(lambda array: jnp.zeros(array.shape[-1], array.dtype), kernel)
    return bias._replace(forget=bias.forget + value)


def check_gru(
    params: GRUParams, library: Library, caller: str, reset: Reset, update: Update
) -> GRUParams:
    """Returns the params of a GRU in the library's sense of z; refuses the other reset."""
    for name, value, known in (
        ("reset", reset, ("after", "before")),
        ("update", update, ("keep", "replace")),
    ):
        if value not in known:
            raise ValueError(
                f'{caller}: {name} must be "{known[0]}" or "{known[1]}", got {value!r}.'
            )
    if params.bias is not None and (params.recurrent_bias is None) != (reset == "before"):
        has = "have no recurrent_bias" if reset == "after" else "have a recurrent_bias"
        other = "before" if reset == "after" else "after"
        raise ValueError(
            f'{caller}: reset="{reset}" was given, but the params {has}, as those of recur.gru('
            f'..., reset="{other}") do. Pass the options of the cell: reset="{other}".'
        )
    if reset not in library.resets:
        raise ValueError(
            f"{caller}: the GRU of {library.title} resets {library.resets[0]} the product with the "
            f"recurrent kernel, and this one resets {reset} it. No weights make them equal."
        )
    if update == library.update:
        return params

    # sigmoid(-a) = 1 - sigmoid(a), so the negative weights of z swap its sense.
    def negate(gates):
        return None if gates is None else gates._replace(update=-gates.update)

    kernel, recurrent_kernel, bias = map(negate, params[:3])
    return params._replace(kernel=kernel, recurrent_kernel=recurrent_kernel, bias=bias)


def _check_params(params: Any, library: Library, caller: str) -> str:
    """Returns the kind of a cell by the type of its params; refuses what the library lacks."""
    kind = KINDS.get(type(params))
    if kind is None:
        raise TypeError(
            f"{caller}: expected the params of recur.lstm, projected_lstm, gru or elman, got "
            f"{named(params)}. Convert the entries of a chain one by one: params[1]."
        )
    if getattr(params, "initial_carry", None) is not None:
        raise ValueError(
            f"{caller}: the params hold a learned initial carry, which {library.title} does not "
            "store as a weight. Pass it there as the initial state, and convert "
            "params._replace(initial_carry=None)."
        )
    if getattr(params, "peephole", None) is not None:
        raise ValueError(f"{caller}: the LSTM of {library.title} has no peepholes.")
    if isinstance(params, ProjectedLSTMParams) and not library.has_projection:
        raise ValueError(f"{caller}: the LSTM of {library.title} has no projection.")
    if isinstance(params, ConvLSTMParams) and not library.has_conv:
        raise ValueError(f"{caller}: {library.title} has no convolutional LSTM of this kind.")
    return kind
