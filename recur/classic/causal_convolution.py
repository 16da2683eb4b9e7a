"""Causal convolutions over time, also with weight norm."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, zeros

from recur.call_repr import call_repr
from recur.cells.initial import Initializer, draw, optional
from recur.cells.parts import bind_in_dtype, input_width
from recur.checks import (
    PARAMS_REMEDY,
    check_flag,
    check_floating,
    check_initializer,
    check_params,
    check_whole,
)
from recur.classic.compact_steps import (
    StepOrder,
    compact,
    expand,
    find_steps,
    last_inputs,
    next_buffer,
)
from recur.dtypes import at_least_float32
from recur.keys import check_key, split
from recur.layer import Layer
from recur.lift.over_time import check_carry, step_of
from recur.manual_axes import vary_over
from recur.masks import add_leading_axis, step_count
from recur.types import Mask


class CausalConvParams(NamedTuple):
    """Weights of `causal_conv`; with weight norm, the kernel of a feature is `g K / norm(K)`.

    Attributes:
      kernel: K, `[kernel_size, C, F]`, the current step last.
      scale: g, `[F]`; None without weight norm.
      bias: b, `[F]`; None without biases.
    """

    kernel: jax.Array
    scale: jax.Array | None
    bias: jax.Array | None


@call_repr
def causal_conv(
    features: int,
    kernel_size: int,
    *,
    dilation: int = 1,
    weight_norm: bool = False,
    use_bias: bool = True,
    kernel_init: Initializer = lecun_normal(),
    bias_init: Initializer = zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Layer:
    """A dilated causal convolution over time, which can be fed in pieces (time-delay network).

        y_t = b + sum over k = 0 ... kernel_size - 1 of K_{kernel_size-1-k} x_{t - k dilation}

    Inputs before the first step of a sequence, or of a segment, are zero. Steps that do not count
    are skipped, as by a recurrent cell.

    Args:
      features: F.
      kernel_size: the number of inputs that a step reads. A size of 1 is a dense layer.
      dilation: the distance between these inputs, in steps.
      weight_norm: whether to learn the norm of the kernel of each feature separately.
      use_bias: whether to add b.
      kernel_init: initializer of K `[kernel_size, C, F]`.
      bias_init: initializer of b `[F]`.
      dtype: dtype of the products and of y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.

    Returns:
      A `Layer` with `CausalConvParams`; xs are `[T, C]`, ys are `[T, F]`, and the carry is the last
      `(kernel_size - 1) * dilation` inputs, `[..., C]`.

    Raises:
      ValueError: if a size is not a whole number of at least 1, or, when tracing, xs are not
        `[T, C]`, or not as wide as at init.
      TypeError: if a dtype or xs are not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.classic import causal_conv
      >>> layer = causal_conv(8, kernel_size=3, dilation=2)
      >>> xs = jnp.ones((6, 4))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> carry, ys = layer.run(params, xs)
      >>> carry.shape, ys.shape
      ((4, 4), (6, 8))

    References:
      Waibel et al. 1989, Phoneme Recognition Using Time-Delay Neural Networks,
      https://doi.org/10.1109/29.21701; Salimans & Kingma 2016, Weight Normalization,
      https://arxiv.org/abs/1602.07868
    """
    name = "causal_conv"
    features = check_whole(f"{name}: features", features, 1)
    kernel_size = check_whole(f"{name}: kernel_size", kernel_size, 1)
    dilation = check_whole(f"{name}: dilation", dilation, 1)
    check_flag(f"{name}: weight_norm", weight_norm)
    check_initializer(f"{name}: kernel_init", kernel_init)
    check_floating(name, dtype=dtype, param_dtype=param_dtype)
    inits = kernel_init, optional(bias_init, use_bias)

    def init(key, xs, context=None):
        shape = kernel_size, input_width(step_of(xs), name), features
        return draw_conv(check_key(key), shape, inits, weight_norm, param_dtype)

    def bind(params, xs, *, key=None, context=None):
        check_conv(name, params, (kernel_size, input_width(step_of(xs), name), features))
        return normalized(bind_in_dtype(dtype)(params, xs))

    def begin(bound, xs):
        return jnp.zeros(((kernel_size - 1) * dilation, xs.shape[-1]), bound.kernel.dtype)

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        steps, carry, xs = prepare(bound, carry, begin(bound, xs), xs, mask)
        after, ys = convolve_steps(bound, steps, carry, xs, dilation, all_carries)
        return after, expand(steps, mask, ys)

    def find_output_shape(bound, xs):
        y = jax.ShapeDtypeStruct((features,), bound.kernel.dtype)
        return add_leading_axis(y, step_count(xs))

    return Layer(init, bind, begin, apply, find_output_shape)


def draw_conv(
    key: Any, shape: tuple[int, ...], inits: Any, norm: bool, dtype: Any
) -> CausalConvParams:
    """Draws the weights of a convolution; weight norm starts with the norm of the kernel."""
    kernel_key, bias_key = split(key, 2)
    kernel = draw(inits[0], kernel_key, shape, dtype)
    bias = None if inits[1] is None else draw(inits[1], bias_key, shape[-1:], dtype)
    return CausalConvParams(kernel, _norms(kernel).astype(dtype) if norm else None, bias)


def _norms(kernel: jax.Array) -> jax.Array:
    """The norm of the kernel of each feature, `[F]`, in at least float32."""
    return jnp.sqrt(jnp.square(at_least_float32(kernel)).sum((0, 1)))


def normalized(params: CausalConvParams | None) -> CausalConvParams | None:
    """Returns weights whose kernel has the norms `scale`."""
    if params is None or params.scale is None:
        return params
    factor = at_least_float32(params.scale) / _norms(params.kernel)
    kernel = at_least_float32(params.kernel) * factor[None, None]
    return params._replace(kernel=kernel.astype(params.kernel.dtype), scale=None)


def prepare(
    bound: Any, carry: Any, initial: Any, xs: jax.Array, mask: Mask
) -> tuple[StepOrder, Any, jax.Array]:
    """Checks the carry; returns the steps that count, the carry and the compact inputs."""
    check_carry(carry, initial)
    [carry] = vary_over((bound, xs, mask, carry), (carry,))
    steps = find_steps(mask)
    return steps, carry, compact(steps, mask, xs.astype(jax.tree.leaves(bound)[0].dtype))


def convolve_steps(
    conv: Any, steps: StepOrder, buffer: jax.Array, xs: jax.Array, dilation: int, all_carries: bool
) -> tuple[jax.Array, jax.Array]:
    """Convolves compact inputs; returns the buffer after them, and the outputs."""
    if steps.segment is None and step_count(xs) != 1:
        ys = _convolve(conv, jnp.concatenate([buffer, xs]), dilation)
    else:  # with resets, since a convolution would read the steps before them, and in generation
        ys = convolve_inputs(conv, last_inputs(steps, buffer, xs, len(conv.kernel), dilation))
    return next_buffer(steps, buffer, xs, all_carries), ys


def _convolve(conv: Any, inputs: jax.Array, dilation: int) -> jax.Array:
    """The same as `convolve_inputs`, faster for many steps: it does not copy the inputs of each."""
    ys = jax.lax.conv_general_dilated(
        inputs[None],
        conv.kernel,
        window_strides=(1,),
        padding="VALID",
        rhs_dilation=(dilation,),
        dimension_numbers=("NWC", "WIO", "NWC"),
    )[0]
    return ys if conv.bias is None else ys + conv.bias[None]


def convolve_inputs(conv: Any, inputs: jax.Array) -> jax.Array:
    """One product for all inputs that a step reads, `[T, kernel_size, C] -> [T, F]`."""
    ys = jnp.einsum("tkc,kcf->tf", inputs, conv.kernel)
    return ys if conv.bias is None else ys + conv.bias[None]


def check_conv(name: str, params: Any, shape: tuple[int, ...] | None) -> None:
    """Raises an error unless the kernel has the given shape `[kernel_size, C, F]`."""
    if shape is None and params is None:
        return
    check_params(name, params, CausalConvParams)
    came = jnp.shape(params.kernel)
    if shape is None or len(came) != 3 or (came[0], came[2]) != (shape[0], shape[2]):
        raise TypeError(
            f"{name}: expected params.kernel as {list(shape or ())}, got {list(came)}. "
            f"{PARAMS_REMEDY}"
        )
    if came[1] != shape[1]:
        raise ValueError(f"{name}: expected inputs of width {came[1]}, as at init, got {shape[1]}.")
