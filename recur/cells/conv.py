"""Convolutional recurrent cells, for video and other sequences of frames."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.call_repr import call_repr
from recur.cells.convolve import convolve
from recur.cells.gru import GRUGates
from recur.cells.initial import Initializer, Weight, gate_weights, optional
from recur.cells.lstm import LSTMGates, LSTMState, Peepholes
from recur.cells.parts import Activation, CarryPart, check_real, make_cell, sigmoid
from recur.checks import check_whole, describe
from recur.modules import activation as activation_of
from recur.structure import name
from recur.types import Cell


class ConvLSTMParams(NamedTuple):
    """Weights of `conv_lstm`.

    Attributes:
      kernel: input kernels W_i, W_f, W_g and W_o, each `[*kernel_size, C, F]`.
      recurrent_kernel: recurrent kernels U_i, U_f, U_g and U_o, each `[*kernel_size, F, F]`.
      bias: biases b_i, b_f, b_g and b_o, each `[F]`; None without biases.
      peephole: peephole weights p_i, p_f and p_o, each `[*space, F]`; None without peepholes.
    """

    kernel: LSTMGates
    recurrent_kernel: LSTMGates
    bias: LSTMGates | None
    peephole: Peepholes | None


class ConvGRUParams(NamedTuple):
    """Weights of `conv_gru`.

    Attributes:
      kernel: input kernels W_r, W_z and W_n, each `[*kernel_size, C, F]`.
      recurrent_kernel: recurrent kernels U_r, U_z and U_n, each `[*kernel_size, F, F]`.
      bias: biases b_r, b_z and b_n, each `[F]`; None without biases.
    """

    kernel: GRUGates
    recurrent_kernel: GRUGates
    bias: GRUGates | None


@call_repr
def conv_lstm(
    features: int,
    kernel_size: tuple[int, ...],
    *,
    peepholes: bool = False,
    activation: Activation = "tanh",
    use_bias: bool = True,
    forget_bias: float = 1.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    peephole_init: Initializer = zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """The convolutional LSTM (ConvLSTM), for video and other sequences of frames.

        i_t = sigmoid(x_t * W_i + h_{t-1} * U_i + b_i + c_{t-1} ⊙ p_i)
        f_t = sigmoid(x_t * W_f + h_{t-1} * U_f + b_f + c_{t-1} ⊙ p_f)
        g_t = φ(x_t * W_g + h_{t-1} * U_g + b_g)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        o_t = sigmoid(x_t * W_o + h_{t-1} * U_o + b_o + c_t ⊙ p_o)
        h_t = o_t ⊙ φ(c_t)
        y_t = h_t

    `*` is a convolution over space of stride 1 with zero padding ("same"), so frames keep their
    size; an even kernel gets one more zero after the frame than before it. Peepholes have a weight
    for each position, so with them all frames must have the same size; without them p = 0.

    Args:
      features: F, the channels of the state.
      kernel_size: the size of the kernels in each of 1, 2 or 3 spatial dimensions.
      peepholes: whether the gates read the cell state.
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether to add biases.
      forget_bias: added to the initial b_f; stored in the weights.
      kernel_init: initializer of W_i, W_f, W_g and W_o `[*kernel_size, C, F]`, each drawn with its
        own key.
      recurrent_kernel_init: initializer of U_i, U_f, U_g and U_o `[*kernel_size, F, F]`, likewise.
      bias_init: initializer of b_i, b_f, b_g and b_o `[F]`.
      peephole_init: initializer of p_i, p_f and p_o `[*space, F]`.
      dtype: dtype of the convolutions, h and y; by default what the weights and the input promote
        to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of c and of the gates; by default that of the convolutions, at least
        float32.

    Returns:
      A `Cell` with `ConvLSTMParams`; x is `[*space, C]`, the carry is `LSTMState` of `[*space, F]`
      each, y is `[*space, F]`.

    Raises:
      ValueError: if features is not a positive int, kernel_size is not 1, 2 or 3 positive ints, the
        activation is unknown, x is not `[*space, C]`, or its number of channels, or with peepholes
        its size, differs from that at init.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.conv_lstm(4, (3, 3)))
      >>> video = jnp.ones((5, 8, 6, 1))
      >>> layer(layer.init(jax.random.key(0), video), video).shape
      (5, 8, 6, 4)

    References:
      Shi et al. 2015, Convolutional LSTM Network: A Machine Learning Approach for Precipitation
      Nowcasting, https://arxiv.org/abs/1506.04214
    """
    size = _check_size(kernel_size, "conv_lstm")
    check = functools.partial(_check_frame, dimensions=len(size))
    phi = activation_of(activation)
    inits = kernel_init, recurrent_kernel_init, optional(bias_init, use_bias)
    weights = gate_weights(LSTMGates, features, inits, size, forget=forget_bias)
    weights.append(
        Weight(optional(peephole_init, peepholes, "peepholes"), ("*space", features), Peepholes)
    )
    shape = "*space", features
    carry = LSTMState._make([CarryPart(shape, is_sum=False), CarryPart(shape)])

    def peek(a, bound, gate, c):
        """Returns `a + c ⊙ p`."""
        if bound.peephole is None:
            return a
        p = getattr(bound.peephole, gate)
        if p.shape != c.shape:
            raise ValueError(
                f"conv_lstm: expected frames of size {list(p.shape[:-1])}, as at init, since "
                f"peepholes have a weight for each position; got {list(c.shape[:-1])}. Set "
                "peepholes=False, or call init with frames of this size."
            )
        return a + c * p.astype(c.dtype)

    def step(bound, state, x, key=None):
        h, c = state
        a = _from_input(x, bound, "conv_lstm") + convolve(h, bound.recurrent_kernel)
        a = LSTMGates(*jnp.split(a.astype(c.dtype), 4, axis=-1))
        i = sigmoid(peek(a.input, bound, "input", c), "input")
        f = sigmoid(peek(a.forget, bound, "forget", c), "forget")
        g = name(phi(a.candidate), "candidate")
        c = f * c + i * g
        o = sigmoid(peek(a.output, bound, "output", c), "output")
        h = (o * phi(c)).astype(h.dtype)
        return LSTMState(h, c), h

    def bind(params, x, *, key=None, context=None):
        bound = cell.bind(params, x)
        kernel, recurrent_kernel, bias = map(_joined, bound[:3])
        return ConvLSTMParams(kernel, recurrent_kernel, bias, bound.peephole)

    dtypes = dtype, param_dtype, carry_dtype
    cell = make_cell("conv_lstm", features, ConvLSTMParams, weights, carry, step, dtypes, check)
    return dataclasses.replace(cell, bind=bind)


@call_repr
def conv_gru(
    features: int,
    kernel_size: tuple[int, ...],
    *,
    activation: Activation = "tanh",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """The convolutional GRU (ConvGRU), for video and other sequences of frames.

        r_t = sigmoid(x_t * W_r + h_{t-1} * U_r + b_r)
        z_t = sigmoid(x_t * W_z + h_{t-1} * U_z + b_z)
        n_t = φ(x_t * W_n + (r_t ⊙ h_{t-1}) * U_n + b_n)
        h_t = z_t ⊙ h_{t-1} + (1 - z_t) ⊙ n_t
        y_t = h_t

    `*` is a convolution over space, as in `conv_lstm`. z is the share of the old state that is
    kept; in the paper it is the share that is replaced.

    Args:
      features: F, the channels of the state.
      kernel_size: the size of the kernels in each of 1, 2 or 3 spatial dimensions.
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether to add biases.
      kernel_init: initializer of W_r, W_z and W_n `[*kernel_size, C, F]`, each drawn with its own
        key.
      recurrent_kernel_init: initializer of U_r, U_z and U_n `[*kernel_size, F, F]`, likewise.
      bias_init: initializer of b_r, b_z and b_n `[F]`.
      dtype: dtype of the convolutions and of y; by default what the weights and the input promote
        to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of h, z and n; by default that of the convolutions, at least float32.

    Returns:
      A `Cell` with `ConvGRUParams`; x is `[*space, C]`, the carry is h `[*space, F]`, y is
      `[*space, F]`.

    Raises:
      ValueError: if features is not a positive int, kernel_size is not 1, 2 or 3 positive ints, the
        activation is unknown, x is not `[*space, C]`, or its number of channels differs from that
        at init.
      TypeError: if a dtype or x is not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.conv_gru(4, (3, 3)))
      >>> video = jnp.ones((5, 8, 6, 1))
      >>> layer(layer.init(jax.random.key(0), video), video).shape
      (5, 8, 6, 4)

    References:
      Ballas et al. 2016, Delving Deeper into Convolutional Networks for Learning Video
      Representations, https://arxiv.org/abs/1511.06432
    """
    size = _check_size(kernel_size, "conv_gru")
    check = functools.partial(_check_frame, dimensions=len(size))
    phi = activation_of(activation)
    inits = kernel_init, recurrent_kernel_init, optional(bias_init, use_bias)
    weights = gate_weights(GRUGates, features, inits, size)
    carry = CarryPart(("*space", features))

    def step(bound, state, x, key=None):
        h = state.astype(bound.kernel.dtype)
        u_r, u_z, u_n = jnp.split(_from_input(x, bound, "conv_gru"), 3, axis=-1)
        of_gates, of_candidate = bound.recurrent_kernel
        m_r, m_z = jnp.split(convolve(h, of_gates), 2, axis=-1)
        r = sigmoid(u_r + m_r, "reset")
        z = sigmoid((u_z + m_z).astype(state.dtype), "update")
        n = phi((u_n + convolve(r * h, of_candidate)).astype(state.dtype))
        n = name(n, "candidate")
        state = z * state + (1 - z) * n
        return state, state.astype(h.dtype)

    def bind(params, x, *, key=None, context=None):
        bound = cell.bind(params, x)
        *gates, candidate = bound.recurrent_kernel
        recurrent_kernel: Any = _joined(gates), candidate  # separate: r acts before its convolution
        return ConvGRUParams(_joined(bound.kernel), recurrent_kernel, _joined(bound.bias))

    dtypes = dtype, param_dtype, carry_dtype
    cell = make_cell("conv_gru", features, ConvGRUParams, weights, carry, step, dtypes, check)
    return dataclasses.replace(cell, bind=bind)


def _check_size(kernel_size: Any, cell: str) -> tuple[int, ...]:
    """Returns the kernel size as a tuple of ints."""
    if not isinstance(kernel_size, Sequence) or not 1 <= len(kernel_size) <= 3:
        raise ValueError(
            f"{cell}: kernel_size must be a tuple of 1, 2 or 3 sizes, one for each spatial "
            f"dimension, such as (3, 3) for images; got {kernel_size!r}."
        )
    return tuple(check_whole(f"{cell}: kernel_size", each, 1) for each in kernel_size)


def _check_frame(x: Any, cell: str, dimensions: int) -> tuple[int, ...]:
    """Returns the shape `[*space, C]` of the input of one step."""
    if len(getattr(x, "shape", ())) != dimensions + 1:
        raise ValueError(
            f"{cell}: expected one frame, x of shape [*space, C] with {dimensions} spatial "
            f"dimensions, as kernel_size has; got {describe(x)}. Run the cell over time with "
            "recur.scan, and the layer over a batch with recur.batch."
        )
    check_real(x, cell)
    return x.shape


def _joined(gates: Any) -> Any:
    """Concatenates the arrays of all gates along the channels, for one convolution."""
    return None if gates is None else jnp.concatenate(gates, axis=-1)


def _from_input(x: jax.Array, bound: Any, cell: str) -> jax.Array:
    """Computes `x * W + b` for all gates."""
    *size, channels, _ = bound.kernel.shape
    if _check_frame(x, cell, len(size))[-1] != channels:
        raise ValueError(f"{cell}: expected {channels} channels, as at init, got {x.shape[-1]}.")
    y = convolve(x.astype(bound.kernel.dtype), bound.kernel)
    return y if bound.bias is None else y + jnp.expand_dims(bound.bias, range(len(size)))
