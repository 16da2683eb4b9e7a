"""Initializers of the weights of cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import check_flag, check_initializer, check_number, drawn_by

Initializer = Callable[..., jax.Array]
Shape = Sequence[int | str]  # with "I" for the last axis of an input, "*space" for those before it


class GatedParams(NamedTuple):
    """Weights of `ugrnn`, `mgu`, `coupled_lstm` and `original_lstm`.

    Attributes:
      kernel: input kernels W, `[I, H]` for each gate, in the NamedTuple of the cell's gates.
      recurrent_kernel: recurrent kernels U, `[H, H]` for each gate.
      bias: biases b, `[H]` for each gate; None without biases.
      initial_carry: h_0 `[H]`, or an `LSTMState` of h_0 and c_0; None unless it is learned.
    """

    kernel: Any
    recurrent_kernel: Any
    bias: Any | None
    initial_carry: Any | None


class Weight(NamedTuple):
    """How to draw an array of a cell's weights, or one array for each gate.

    Attributes:
      init: an initializer; None leaves the weight out.
      shape: the shape of one array, such as ("I", 64).
      gates: the type of a NamedTuple with one array for each gate; None for a single array.
      added: a constant for each gate by name, which is added to its array.
      layers: the length of a tuple of these; None for one that is not in a tuple.
    """

    init: Initializer | None
    shape: Shape
    gates: Any = None
    added: Mapping[str, float] = {}
    layers: int | None = None

    def draw(self, key: jax.Array, x: Any, dtype: Any) -> Any:
        """Draws the array, or each gate's with its own key, for inputs of the shape of x."""
        if self.init is None:
            return None
        if self.layers is not None:
            one, keys = self._replace(layers=None), jax.random.split(key, self.layers)
            return tuple(one.draw(k, x, dtype) for k in keys)
        shape = fill_in(self.shape, x)
        if self.gates is None:
            return draw(self.init, key, shape, dtype)
        keys = jax.random.split(key, len(self.gates._fields))
        drawn = self.gates(*(draw(self.init, k, shape, dtype) for k in keys))
        return drawn._replace(**{gate: getattr(drawn, gate) + b for gate, b in self.added.items()})


def gate_weights(
    gates: Any,
    features: int,
    inits: Sequence[Initializer | None],
    size: Sequence[int] = (),
    **added: float,
) -> list[Weight]:
    """Returns the weights W `[*size, I, H]`, U `[*size, H, H]` and b `[H]` of each gate.

    Args:
      gates: the type of a NamedTuple with one array for each gate.
      features: H.
      inits: initializers of W, U and b; None for no b.
      size: the kernel size of a convolution.
      **added: a constant for each gate by name, which is added to its b.
    """
    shapes: Sequence[Shape] = [(*size, "I", features), (*size, features, features), (features,)]
    *kernels, bias = (Weight(i, shape, gates) for i, shape in zip(inits, shapes, strict=True))
    added = {gate: check_number(f"{gate}_bias", value) for gate, value in added.items()}
    return [*kernels, bias._replace(added=added)]


def fill_in(shape: Shape, x: Any) -> tuple[int, ...]:
    """Replaces the names in a shape by the sizes of an input x."""
    named = {"I": x.shape[-1:], "*space": x.shape[:-1]}
    return tuple(n for size in shape for n in (named[size] if isinstance(size, str) else (size,)))


def draw(init: Initializer, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Draws one array of `shape` and `dtype` with an initializer such as JAX's.

    It is drawn in at least float32, because `orthogonal` cannot factorize in bfloat16. An empty
    array, such as the kernel of an input of width 0, is not drawn: it has no fan-in.
    """
    if 0 in shape:
        return jnp.zeros(shape, dtype)
    wide = jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype
    return drawn_by(init, key, shape, wide).astype(dtype)


def optional(init: Initializer, is_used: bool, flag: str = "use_bias") -> Initializer | None:
    """Returns the initializer, or None if the argument called `flag` is False."""
    if not check_flag(flag, is_used):
        return None
    check_initializer(f"with {flag}=True", init)
    return init


def scaled_identity(scale: float = 1.0) -> Initializer:
    """Returns an initializer of kernels that are `scale` times the identity matrix.

    An Elman network of ReLU units with such a recurrent kernel is the IRNN, which sums its inputs
    over time before it is trained.

    Args:
      scale: the value on the diagonal.

    Returns:
      An initializer `(key, shape, dtype) -> array`; the shape must be `[H, H]`.

    Raises:
      ValueError: if scale is not a finite number; from the initializer, if the shape is not square.

    Example:
      >>> import recur
      >>> irnn = recur.elman(
      ...     100, activation="relu", recurrent_kernel_init=recur.cells.scaled_identity()
      ... )

    References:
      Le, Jaitly & Hinton 2015, A Simple Way to Initialize Recurrent Networks of Rectified Linear
      Units, https://arxiv.org/abs/1504.00941
    """
    scale = check_number("scaled_identity: scale", scale)

    def init(key, shape, dtype=jnp.float32):
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(
                f"scaled_identity: expected a square kernel [H, H], got {list(shape)}."
            )
        return scale * jnp.eye(shape[0], dtype=dtype)

    return init
