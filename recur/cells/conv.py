"""Recurrence over frames: gated cells whose products are convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.cells.convolve import convolve
from recur.cells.gru import GRUGates
from recur.cells.initial import Initializer, draw_bias, draw_each
from recur.cells.lstm import LSTMGates, LSTMState, Peepholes
from recur.cells.parts import casting
from recur.checks import check_whole
from recur.keys import check_key
from recur.modules import activation as activation_of
from recur.types import Cell


class ConvLSTMParams(NamedTuple):
    """Weights of `conv_lstm`."""

    kernel: LSTMGates  # W: [*kernel_size, C, F] each
    recurrent_kernel: LSTMGates  # U: [*kernel_size, F, F] each
    bias: LSTMGates | None  # b: [F] each
    peephole: Peepholes | None  # p: [*space, F] each


class ConvGRUParams(NamedTuple):
    """Weights of `conv_gru`."""

    kernel: GRUGates  # W: [*kernel_size, C, F] each
    recurrent_kernel: GRUGates  # U: [*kernel_size, F, F] each
    bias: GRUGates | None  # b: [F] each


def conv_lstm(
    features: int,
    kernel_size: tuple[int, ...],
    *,
    peepholes: bool = False,
    activation: str | Callable = "tanh",
    use_bias: bool = True,
    forget_bias: float = 1.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    peephole_init: Initializer = zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """The LSTM whose products are convolutions, for video and other frames.

        i_t = sigmoid(x_t * W_i + h_{t-1} * U_i + b_i + c_{t-1} ⊙ p_i)
        f_t = sigmoid(x_t * W_f + h_{t-1} * U_f + b_f + c_{t-1} ⊙ p_f)
        g_t = φ(x_t * W_g + h_{t-1} * U_g + b_g)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        o_t = sigmoid(x_t * W_o + h_{t-1} * U_o + b_o + c_t ⊙ p_o)
        h_t = o_t ⊙ φ(c_t)
        y_t = h_t

    `*` is a convolution over space, of stride 1 and with zeros around the frame, so that frames
    keep their size; an even kernel reaches one place further behind than before. Peepholes are
    weights of every place, so that with them frames are of one size; p = 0 without them.

    Args:
      features: F, the channels of the state.
      kernel_size: one size for each of 1, 2 or 3 dimensions of space.
      peepholes: whether the gates see the cell state.
      activation: φ, a name of `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether there are biases.
      forget_bias: what is added to the initial b_f; it is stored in the weights.
      kernel_init: of W_i, W_f, W_g and W_o `[*kernel_size, C, F]`, each drawn apart.
      recurrent_kernel_init: of U_i, U_f, U_g and U_o `[*kernel_size, F, F]`, each drawn apart.
      bias_init: of b_i, b_f, b_g and b_o `[F]`.
      peephole_init: of p_i, p_f and p_o `[*space, F]`.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A `Cell` with `ConvLSTMParams`; the carry is `LSTMState` of `[*space, F]` each, x is
      `[*space, C]`, y is `[*space, F]`.

    Raises:
      ValueError: when kernel_size is not 1, 2 or 3 whole numbers, the activation is unknown, x is
        not `[*space, C]`, or it has other channels, or with peepholes another size, than at init.

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
    phi = activation_of(activation)

    def init(key, x, context=None):
        del context
        *space, channels = _check_frame(x, len(size), "conv_lstm")
        w, u, b, p = jax.random.split(check_key(key), 4)
        fed, fed_back = (*size, channels, features), (*size, features, features)
        return ConvLSTMParams(
            kernel=draw_each(LSTMGates, kernel_init, w, fed, param_dtype),
            recurrent_kernel=draw_each(LSTMGates, recurrent_kernel_init, u, fed_back, param_dtype),
            bias=draw_bias(LSTMGates, bias_init, b, (features,), param_dtype, forget=forget_bias)
            if use_bias
            else None,
            peephole=init_peephole(p, (*space, features)) if peepholes else None,
        )

    def init_peephole(key, shape):
        return draw_each(Peepholes, peephole_init, key, shape, param_dtype)

    def bind(params, x, *, key=None, context=None):
        bound = casting(dtype)(params, x, key=key, context=context)
        return ConvLSTMParams(*map(_joined, bound[:3]), bound.peephole)

    def start(bound, x):
        h = _blank(bound, x, features)
        return LSTMState(hidden=h, cell=h)

    def peek(bound, gate, c):
        if not peepholes:
            return 0
        seen = getattr(bound.peephole, gate)
        if seen.shape != c.shape:
            raise ValueError(
                "conv_lstm: peepholes are weights of every place, for frames of size "
                f"{list(seen.shape[:-1])}; got {list(c.shape[:-1])}. Do without, or init for these."
            )
        return c * seen

    def step(bound, state, x, key=None):
        del key
        both = _from_input(x, bound, "conv_lstm") + convolve(state.hidden, bound.recurrent_kernel)
        a = LSTMGates(*jnp.split(both, 4, axis=-1))
        i = jax.nn.sigmoid(a.input + peek(bound, "input", state.cell))
        f = jax.nn.sigmoid(a.forget + peek(bound, "forget", state.cell))
        c = f * state.cell + i * phi(a.candidate)
        o = jax.nn.sigmoid(a.output + peek(bound, "output", c))
        h = o * phi(c)
        return LSTMState(hidden=h, cell=c), h

    return Cell(init, bind, start, step)


def conv_gru(
    features: int,
    kernel_size: tuple[int, ...],
    *,
    activation: str | Callable = "tanh",
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """The GRU whose products are convolutions, for video and other frames.

        r_t = sigmoid(x_t * W_r + h_{t-1} * U_r + b_r)
        z_t = sigmoid(x_t * W_z + h_{t-1} * U_z + b_z)
        n_t = φ(x_t * W_n + (r_t ⊙ h_{t-1}) * U_n + b_n)
        h_t = z_t ⊙ h_{t-1} + (1 - z_t) ⊙ n_t
        y_t = h_t

    `*` is a convolution over space, as in `conv_lstm`; z is what is kept, in the paper replaced.

    Args:
      features: F, the channels of the state.
      kernel_size: one size for each of 1, 2 or 3 dimensions of space.
      activation: φ, a name of `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether there are biases.
      kernel_init: of W_r, W_z and W_n `[*kernel_size, C, F]`, each drawn apart.
      recurrent_kernel_init: of U_r, U_z and U_n `[*kernel_size, F, F]`, each drawn apart.
      bias_init: of b_r, b_z and b_n `[F]`.
      dtype: what is computed in; by default what the weights and the input promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A `Cell` with `ConvGRUParams`; x is `[*space, C]`, the carry and y are h `[*space, F]`.

    Raises:
      ValueError: when kernel_size is not 1 to 3 whole numbers, activation is an unknown name, or x
        is not `[*space, C]` or has other channels than at init.

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
    phi = activation_of(activation)

    def init(key, x, context=None):
        del context
        channels = _check_frame(x, len(size), "conv_gru")[-1]
        w, u, b = jax.random.split(check_key(key), 3)
        fed, fed_back = (*size, channels, features), (*size, features, features)
        return ConvGRUParams(
            kernel=draw_each(GRUGates, kernel_init, w, fed, param_dtype),
            recurrent_kernel=draw_each(GRUGates, recurrent_kernel_init, u, fed_back, param_dtype),
            bias=draw_each(GRUGates, bias_init, b, (features,), param_dtype) if use_bias else None,
        )

    def bind(params, x, *, key=None, context=None):
        bound = casting(dtype)(params, x, key=key, context=context)
        *before, candidate = bound.recurrent_kernel
        fed_back = _joined(before), candidate  # which waits for the reset
        return ConvGRUParams(_joined(bound.kernel), fed_back, _joined(bound.bias))

    def start(bound, x):
        return _blank(bound, x, features)

    def step(bound, h, x, key=None):
        del key
        u = GRUGates(*jnp.split(_from_input(x, bound, "conv_gru"), 3, axis=-1))
        before, candidate = bound.recurrent_kernel
        m_r, m_z = jnp.split(convolve(h, before), 2, axis=-1)
        r, z = jax.nn.sigmoid(u.reset + m_r), jax.nn.sigmoid(u.update + m_z)
        n = phi(u.candidate + convolve(r * h, candidate))
        h = z * h + (1 - z) * n
        return h, h

    return Cell(init, bind, start, step)


def _check_size(kernel_size: Any, name: str) -> tuple[int, ...]:
    if not isinstance(kernel_size, Sequence) or not 1 <= len(kernel_size) <= 3:
        raise ValueError(
            f"{name}: kernel_size is a tuple of 1, 2 or 3 sizes, one for each dimension of space, "
            f"as (3, 3) for images; got {kernel_size!r}."
        )
    return tuple(check_whole(f"{name}: kernel_size", each, 1) for each in kernel_size)


def _check_frame(x: Any, dimensions: int, name: str) -> tuple[int, ...]:
    """The shape `[*space, C]` of one step."""
    if len(x.shape) != dimensions + 1:
        raise ValueError(
            f"{name} reads one frame, x of shape [*space, C], where space has the {dimensions} "
            f"dimensions of kernel_size; got {list(x.shape)}. Lift the cell over time with "
            "recur.scan, and the layer over rows with recur.batch."
        )
    return x.shape


def _joined(gates: Any) -> jax.Array | None:
    """The arrays of all gates side by side, so that one convolution serves them all."""
    return None if gates is None else jnp.concatenate(gates, axis=-1)


def _blank(bound: Any, x: Any, features: int) -> jax.Array:
    """A state of zeros, in the dtype of the weights, bound or not."""
    return jnp.zeros((*x.shape[:-1], features), jax.tree.leaves(bound.kernel)[0].dtype)


def _from_input(x: jax.Array, bound: Any, name: str) -> jax.Array:
    """`x * W + b` of all gates."""
    *size, channels, _ = bound.kernel.shape
    if _check_frame(x, len(size), name)[-1] != channels:
        raise ValueError(f"{name} was initialised for {channels} channels, got {x.shape[-1]}.")
    y = convolve(x.astype(bound.kernel.dtype), bound.kernel)
    return y if bound.bias is None else y + jnp.expand_dims(bound.bias, range(len(size)))
