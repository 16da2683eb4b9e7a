"""Initial values of a cell's arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import check_flag, check_initializer, check_number, drawn_by

Initializer = Callable[..., jax.Array]
Shape = Sequence[int | str]  # with "I" for the last axis of an input, "*space" for those before it


class GatedParams(NamedTuple):
    """Weights of gated cells that have no others, with one array a gate.

    They are `ugrnn`, `mgu`, `coupled_lstm` and `original_lstm`.
    """

    kernel: Any  # W: [I, H] each
    recurrent_kernel: Any  # U: [H, H] each
    bias: Any | None  # b: [H] each
    initial_carry: Any | None  # h_0: [H], or the `LSTMState` h_0 and c_0, if learned


class Weight(NamedTuple):
    """How to draw an array of a cell's weights, or one array for each gate.

    Attributes:
      init: an initialiser; None leaves the weight out.
      shape: of one array, such as ("I", 64).
      gates: the type of a NamedTuple with one array a gate; None for a single array.
      added: by the name of a gate, a constant that is added to its array.
      layers: how many of these there are, as a tuple; None for one.
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
    """The weights W `[*size, I, H]`, U `[*size, H, H]` and b `[H]` of each gate.

    Args:
      gates: the type of a NamedTuple with one array a gate.
      features: H.
      inits: initialisers of W, U and b; None for no b.
      size: of the kernels of a convolution.
      **added: by the name of a gate, a constant that is added to its b.
    """
    shapes: Sequence[Shape] = [(*size, "I", features), (*size, features, features), (features,)]
    *kernels, bias = (Weight(i, shape, gates) for i, shape in zip(inits, shapes, strict=True))
    added = {gate: check_number(f"{gate}_bias", value) for gate, value in added.items()}
    return [*kernels, bias._replace(added=added)]


def fill_in(shape: Shape, x: Any) -> tuple[int, ...]:
    """A shape with the sizes of an input x in the place of their names."""
    named = {"I": x.shape[-1:], "*space": x.shape[:-1]}
    return tuple(n for size in shape for n in (named[size] if isinstance(size, str) else (size,)))


def draw(init: Initializer, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Draws one array of `shape` and `dtype` by an initialiser of `jax.nn.initializers`.

    It is drawn in at least float32, because orthogonal has no bfloat16 factorisation. An empty
    array, such as the kernel of an input of width 0, has no fan-in to draw from.
    """
    if 0 in shape:
        return jnp.zeros(shape, dtype)
    wide = jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype
    return drawn_by(init, key, shape, wide).astype(dtype)


def optional(init: Initializer, is_used: bool, flag: str = "use_bias") -> Initializer | None:
    """The initialiser, or None where the argument called `flag` leaves the array out."""
    if not check_flag(flag, is_used):
        return None
    check_initializer(f"with {flag}=True", init)
    return init


def scaled_identity(scale: float = 1.0) -> Initializer:
    """An initialiser that makes a kernel `scale` times the identity.

    An Elman network of ReLU units with such a recurrent kernel is the IRNN, which at first sums its
    inputs over time.

    Args:
      scale: the eigenvalue of the kernel.

    Returns:
      An initialiser `(key, shape, dtype) -> array`; the shape must be `[H, H]`.

    Raises:
      ValueError: if scale is not a finite number; from the initialiser, if the shape is not square.

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
            raise ValueError(f"the identity needs a square kernel [H, H], got {list(shape)}.")
        return scale * jnp.eye(shape[0], dtype=dtype)

    return init
