"""Shared code of cells: how to make one from weights and a step; checks, products and gates."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, get_args, get_type_hints

import jax
import jax.numpy as jnp

from recur.cells.initial import Initializer, Shape, Weight, fill_in
from recur.checks import (
    PARAMS_REMEDY,
    check_floating,
    check_initializer,
    check_params,
    check_whole,
    describe,
)
from recur.dtypes import at_least_float32
from recur.keys import check_key, split_like
from recur.structure import name
from recur.types import Cell, CellStep


def check_real(x: Any, cell: str) -> None:
    """Raises a TypeError if x is complex."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(
            f"{cell}: expected a real input, got {x.dtype}. Concatenate its parts: "
            "jnp.concatenate([x.real, x.imag], axis=-1)."
        )


def input_width(x: Any, cell: str) -> int:
    """Returns the width I of an input `[I]` of one step."""
    if not hasattr(x, "shape"):
        raise ValueError(
            f"{cell}: expected x as one array of shape [I], got {describe(x)}. Stack a list of "
            "steps with jnp.stack, transform the output of the cell below with recur.readout, or "
            "the input with recur.readin."
        )
    if len(x.shape) != 1:
        remedy = (
            "Run the cell over time with recur.scan, and the layer over a batch with recur.batch; "
            "embed tokens as vectors first, such as with flax.linen.Embed."
            if x.shape
            else "An axis is missing: xs must be [T, I], or [B, T, I] if the layer is batched."
        )
        raise ValueError(
            f"{cell}: expected one step of one sequence, x of shape [I], got {list(x.shape)}. "
            f"{remedy}"
        )
    check_real(x, cell)
    return x.shape[0]


Activation = str | Callable[..., jax.Array]


@dataclasses.dataclass(frozen=True)
class CarryPart:
    """An array that is the carry of a cell, or a part of it.

    Attributes:
      shape: its shape, as in a `Weight`.
      init: initializer of a learned initial value; None for zeros.
      is_sum: whether it sums over time. It is then in `carry_dtype`, by default at least float32,
        because a sum in 16 bits stops growing when its terms round to zero.
      is_complex: whether it is complex; the dtypes are then those of each part.
    """

    shape: Shape
    init: Initializer | None = None
    is_sum: bool = True
    is_complex: bool = False

    def zeros(self, x: Any, dtype: Any, carry_dtype: Any) -> jax.Array:
        """Returns the array of zeros, for inputs of the shape of x."""
        zeros = jnp.zeros(fill_in(self.shape, x), dtype)
        if self.is_sum:
            zeros = at_least_float32(zeros) if carry_dtype is None else zeros.astype(carry_dtype)
        if self.is_complex:
            zeros = at_least_float32(zeros)  # there are no complex numbers of half precision
            zeros = jax.lax.complex(zeros, zeros)
        return zeros


def make_cell(
    label: str,
    features: int | str,
    record: Callable[..., Any],
    weights: Sequence[Weight],
    carry: Any,
    step: CellStep,
    dtypes: tuple[Any, Any, Any],
    check: Callable[[Any, str], Any] = input_width,
) -> Cell:
    """Makes a cell from its weights, its carry and its step.

    Args:
      label: the name of the cell, for errors.
      features: H, which is checked; "I" if it is the width of the input.
      record: makes params of the drawn weights: a NamedTuple, whose last field is `initial_carry`
        if that can be learned, or a function whose annotation names the NamedTuple it returns.
      weights: how to draw the weights.
      carry: a `CarryPart`, or a pytree of them; all have an initializer, or none has.
      step: the step.
      dtypes: dtype, param_dtype and carry_dtype.
      check: `check(x, label)` raises an error unless the cell can read x.
    """
    if features != "I":
        check_whole(f"{label}: features", features, 1)
    dtype, param_dtype, carry_dtype = dtypes
    check_floating(label, dtype=dtype, param_dtype=param_dtype, carry_dtype=carry_dtype)
    hints = get_type_hints(record)
    kind = hints.get("return", record)
    by_field = dict(zip(inspect.signature(record).parameters, weights, strict=False))
    optional = {field for field in by_field if type(None) in get_args(hints.get(field))}
    for field, weight in by_field.items():
        if weight.init is not None or field not in optional:
            check_initializer(f"{label}: the initializer of {field}", weight.init)
    for part in jax.tree.leaves(carry):
        if part.init is not None:
            check_initializer(f"{label}: initial_carry_init", part.init)

    def init(key, x, context=None):
        check(x, label)
        *keys, of_carry = jax.random.split(check_key(key), len(weights) + 1)
        drawn = [w.draw(k, x, param_dtype) for w, k in zip(weights, keys, strict=True)]
        if "initial_carry" in getattr(record, "_fields", ()):
            drawn.append(draw_initial_carry(of_carry, x))
        return record(*drawn)

    def draw_initial_carry(key, x):
        def draw_part(part, key):
            return Weight(part.init, part.shape).draw(key, x, param_dtype)

        drawn = jax.tree.map(draw_part, carry, split_like(key, carry))
        return drawn if jax.tree.leaves(drawn) else None

    def init_carry(bound, x):
        of_products = jax.tree.leaves(bound)[0].dtype
        zeros = jax.tree.map(lambda part: part.zeros(x, of_products, carry_dtype), carry)
        learned = getattr(bound, "initial_carry", None)
        if learned is None:
            return zeros
        return jax.tree.map(lambda leaf, zero: leaf.astype(zero.dtype), learned, zeros)

    def bind(params, x, *, key=None, context=None):
        check(x, label)
        check_params(label, params, kind)
        check_arrays(params, label, by_field, optional)
        return bind_in_dtype(dtype)(params, x, key=key, context=context)

    return Cell(init, bind, init_carry, step)


def check_arrays(
    params: Any, cell: str, weights: Mapping[str, Weight], optional: AbstractSet[str]
) -> None:
    """Raises a TypeError unless the fields of params hold the arrays that `init` draws.

    Optional fields, such as biases, may be None.
    """
    for field, weight in weights.items():
        value = getattr(params, field)
        if value is None and field in optional:
            continue
        if value is None or weight.init is None:
            raise _not_drawn(cell, field, "arrays" if value is None else "None", value)
        if weight.layers is not None and len(value) != weight.layers:
            raise _not_drawn(cell, field, f"a tuple of {weight.layers} layers", value)
        for one in (value,) if weight.layers is None else value:
            if weight.gates is not None and not isinstance(one, weight.gates):
                raise _not_drawn(cell, field, weight.gates.__name__, one)
            for array in jax.tree.leaves(one):
                if not _has_shape(array, weight.shape):
                    shape = ", ".join(map(str, weight.shape))
                    raise _not_drawn(cell, field, f"[{shape}]", array)


def _not_drawn(cell: str, field: str, expected: str, value: Any) -> TypeError:
    came = list(value.shape) if hasattr(value, "shape") else type(value).__name__
    came = f"a tuple of {len(value)}" if type(value) is tuple else came
    return TypeError(f"{cell}: expected params.{field} as {expected}, got {came}. {PARAMS_REMEDY}")


def _has_shape(array: Any, shape: Shape) -> bool:
    """Whether an array has a shape, except for the sizes that depend on the input."""
    came = jnp.shape(array)
    if shape[0] != "*space" and len(came) != len(shape):
        return False
    pairs = zip(reversed(shape), reversed(came), strict=False)
    return all(isinstance(size, str) or size == n for size, n in pairs)


def bind_in_dtype(dtype: Any) -> Callable[..., Any]:
    """Returns a `bind` that casts weights to `dtype`; if None, to what they and x promote to."""

    def bind(params, x, *, key=None, context=None):
        floats = [leaf.dtype for leaf in jax.tree.leaves(params)]
        if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating):
            floats.append(x.dtype)
        return cast(params, jnp.result_type(*floats) if dtype is None else dtype)

    return bind


def cast(tree: Any, dtype: Any) -> Any:
    """Casts all arrays of a pytree."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


def check_input(x: jax.Array, kernel: jax.Array, cell: str) -> jax.Array:
    """Casts an input `[I]` to the dtype of the kernel `[I, ...]`, and checks its width."""
    if input_width(x, cell) != kernel.shape[0]:
        raise ValueError(
            f"{cell}: expected inputs of width {kernel.shape[0]}, as at init, got {x.shape[0]}."
        )
    return x.astype(kernel.dtype)


def linear(x: jax.Array, kernel: jax.Array, bias: jax.Array | None, cell: str) -> jax.Array:
    """Computes `x @ kernel + bias` for an input `[I]`, in the dtype of the kernel."""
    return plus(check_input(x, kernel, cell) @ kernel, bias)


def linear_each(x: jax.Array, kernels: Any, biases: Any, cell: str) -> Any:
    """Computes `linear` for each gate of a NamedTuple of kernels; `biases` likewise, or None."""
    x = check_input(x, kernels[0], cell)
    if biases is None:
        return jax.tree.map(lambda kernel: x @ kernel, kernels)
    return jax.tree.map(lambda kernel, bias: x @ kernel + bias, kernels, biases)


def pre_activations(bound: Any, x: jax.Array, h: jax.Array, dtype: Any, cell: str) -> Any:
    """Computes `x W + b + h U` for each gate in the dtype of the kernels; casts it to `dtype`."""
    u = linear_each(x, bound.kernel, bound.bias, cell)
    a = jax.tree.map(lambda u, kernel: u + h @ kernel, u, bound.recurrent_kernel)
    return cast(a, dtype)


def plus(x: jax.Array, bias: jax.Array | None) -> jax.Array:
    """Returns `x + bias`, if there is a bias."""
    return x if bias is None else x + bias


def sigmoid(a: jax.Array, gate: str) -> jax.Array:
    """Computes the sigmoid of a pre-activation, and names it as a gate with `recur.name`."""
    return name(jax.nn.sigmoid(a), gate)
