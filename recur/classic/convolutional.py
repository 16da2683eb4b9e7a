"""The temporal convolutional network (TCN)."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import variance_scaling, zeros

from recur.call_repr import call_repr
from recur.cells.initial import Initializer
from recur.cells.parts import bind_in_dtype, input_width
from recur.checks import (
    PARAMS_REMEDY,
    check_floating,
    check_initializer,
    check_params,
    check_rate,
    check_whole,
)
from recur.classic.causal_convolution import (
    CausalConvParams,
    check_conv,
    convolve_inputs,
    convolve_steps,
    draw_conv,
    normalized,
    prepare,
)
from recur.classic.compact_steps import expand
from recur.combine.dropout import draw_mask
from recur.keys import check_key, split
from recur.layer import Layer
from recur.lift.over_time import step_of
from recur.masks import add_leading_axis, step_count


class TCNBlockParams(NamedTuple):
    """Weights of a residual block of `tcn`.

    Attributes:
      first: `CausalConvParams` of the first convolution, with weight norm.
      second: those of the second one.
      shortcut: those of the convolution of size 1 around both; None if the widths are equal.
    """

    first: CausalConvParams
    second: CausalConvParams
    shortcut: CausalConvParams | None


class _BoundBlock(NamedTuple):
    """Kernels of a block, and the dropout masks of its two convolutions, each `[F]` or None."""

    first: Any
    second: Any
    shortcut: Any
    dropout: Any


@call_repr
def tcn(
    features: int,
    levels: int,
    kernel_size: int,
    *,
    dropout: float = 0.0,
    kernel_init: Initializer = variance_scaling(1 / 3, "fan_in", "uniform"),
    bias_init: Initializer = zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Layer:
    """The temporal convolutional network (TCN): dilated causal convolutions in residual blocks.

        z = dropout(relu(conv_1(x))),    v = dropout(relu(conv_2(z))),    y = relu(v + shortcut(x))

    for each level l = 0 ... levels - 1, where both are a `causal_conv` with weight norm and the
    dilation 2^l, and the shortcut is the identity, or a convolution of size 1 if the widths differ.
    A step reads `receptive_field(levels, kernel_size)` steps. The network takes length, mask and
    reset, and can be fed in pieces, like a recurrent layer.

    Dropout drops whole channels of a sequence, the same at all steps. It is on when a key is given.

    Args:
      features: F, the channels of each level.
      levels: the number of blocks.
      kernel_size: the number of inputs that each convolution reads.
      dropout: dropout rate of the channels.
      kernel_init: initializer of the kernels `[kernel_size, C, F]`; by default small, as
        in PyTorch, so that the outputs of many levels stay in range.
      bias_init: initializer of the biases `[F]`.
      dtype: dtype of the products and of y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.

    Returns:
      A `Layer` whose params are a tuple of `TCNBlockParams`; xs are `[T, C]`, ys are `[T, F]`, and
      the carry is a pair for each block: the last `(kernel_size - 1) * 2^l` inputs of its
      convolutions.

    Raises:
      ValueError: if a size is not a whole number of at least 1, dropout is not in [0, 1), or, when
        tracing, xs are not `[T, C]`, or not as wide as at init.
      TypeError: if a dtype or xs are not real, or an option or params have the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.classic import receptive_field, tcn
      >>> layer = recur.batch(tcn(8, levels=3, kernel_size=3, dropout=0.1))
      >>> xs = jnp.ones((2, 20, 4))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs, length=jnp.array([20, 7])).shape, receptive_field(3, 3)
      ((2, 20, 8), 29)

    References:
      Bai, Kolter & Koltun 2018, An Empirical Evaluation of Generic Convolutional and Recurrent
      Networks for Sequence Modeling, https://arxiv.org/abs/1803.01271
    """
    features = check_whole("tcn: features", features, 1)
    levels = check_whole("tcn: levels", levels, 1)
    kernel_size = check_whole("tcn: kernel_size", kernel_size, 1)
    dropout = check_rate("tcn", "dropout", dropout)
    check_floating("tcn", dtype=dtype, param_dtype=param_dtype)
    for each, given in {"kernel_init": kernel_init, "bias_init": bias_init}.items():
        check_initializer(f"tcn: {each}", given)
    conv = partial(draw_conv, inits=(kernel_init, bias_init), dtype=param_dtype)

    def shapes(xs):
        width = input_width(step_of(xs), "tcn")
        for level in range(levels):
            around = (1, width, features) if width != features else None
            yield (kernel_size, width, features), (kernel_size, features, features), around, level
            width = features

    def init(key, xs, context=None):
        blocks = []
        for block_key, (one, two, around, _) in zip(
            split(check_key(key), levels), shapes(xs), strict=True
        ):
            first, second, last = split(block_key, 3)
            shortcut = around and conv(last, around, norm=False)
            blocks.append(
                TCNBlockParams(conv(first, one, norm=True), conv(second, two, norm=True), shortcut)
            )
        return tuple(blocks)

    def bind(params, xs, *, key=None, context=None):
        if not isinstance(params, tuple) or len(params) != levels:
            is_tuple = isinstance(params, tuple)
            came = f"a tuple of {len(params)}" if is_tuple else type(params).__name__
            raise TypeError(
                f"tcn: expected params as a tuple of {levels} blocks, got {came}. {PARAMS_REMEDY}"
            )
        for block, (*of_block, _) in zip(params, shapes(xs), strict=True):
            check_params("tcn", block, TCNBlockParams)
            for each, shape in zip(block, of_block, strict=True):
                check_conv("tcn", each, shape)
        blocks = bind_in_dtype(dtype)(params, xs)
        noise: Any = [(None, None)] * levels
        if dropout and key is not None:
            mask = jax.ShapeDtypeStruct((features,), blocks[0].first.kernel.dtype)
            noise = draw_mask(key, dropout, [(mask, mask)] * levels, "tcn")
        return tuple(
            _BoundBlock(normalized(one), normalized(two), normalized(around), masks)
            for (one, two, around), masks in zip(blocks, noise, strict=True)
        )

    def begin(bound, xs):
        dtype = bound[0].first.kernel.dtype
        return tuple(
            tuple(jnp.zeros(((size - 1) * 2**level, width), dtype) for size, width, _ in (one, two))
            for one, two, _, level in shapes(xs)
        )

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        steps, carry, xs = prepare(bound, carry, begin(bound, xs), xs, mask)
        after = []
        for level, (block, buffers) in enumerate(zip(bound, carry, strict=True)):
            ys, pair = xs, []
            for n, conv in enumerate((block.first, block.second)):
                buffer, ys = convolve_steps(conv, steps, buffers[n], ys, 2**level, all_carries)
                ys = jax.nn.relu(ys)
                if block.dropout[n] is not None:
                    ys = ys * block.dropout[n][None]
                pair.append(buffer)
            after.append(tuple(pair))
            shortcut = block.shortcut
            xs = jax.nn.relu(
                ys + (xs if shortcut is None else convolve_inputs(shortcut, xs[:, None]))
            )
        return tuple(after), expand(steps, mask, xs)

    def find_output_shape(bound, xs):
        y = jax.ShapeDtypeStruct((features,), bound[0].first.kernel.dtype)
        return add_leading_axis(y, step_count(xs))

    return Layer(init, bind, begin, apply, find_output_shape)


def receptive_field(levels: int, kernel_size: int) -> int:
    """Computes the receptive field of a `tcn`: how many steps, up to the current one, it reads.

        1 + 2 (kernel_size - 1) (2^levels - 1)

    Args:
      levels: the number of blocks.
      kernel_size: the size of the kernels.

    Returns:
      The number of steps.

    Raises:
      ValueError: if a number is not a whole number of at least 1.

    Example:
      >>> from recur.classic import receptive_field
      >>> receptive_field(levels=8, kernel_size=7)
      3061
    """
    levels = check_whole("receptive_field: levels", levels, 1)
    kernel_size = check_whole("receptive_field: kernel_size", kernel_size, 1)
    return 1 + 2 * (kernel_size - 1) * (2**levels - 1)


def tcn_levels(steps: int, kernel_size: int) -> int:
    """Computes the smallest number of levels with which a `tcn` reads as many steps.

    Args:
      steps: the number of steps, up to the current one.
      kernel_size: the size of the kernels, at least 2.

    Returns:
      The smallest `levels` with `receptive_field(levels, kernel_size) >= steps`.

    Raises:
      ValueError: if steps is not a whole number of at least 1, or kernel_size of at least 2.

    Example:
      >>> from recur.classic import receptive_field, tcn_levels
      >>> tcn_levels(784, kernel_size=7), receptive_field(7, 7)
      (7, 1525)
    """
    steps = check_whole("tcn_levels: steps", steps, 1)
    kernel_size = check_whole("tcn_levels: kernel_size", kernel_size, 2)
    return next(n for n in itertools.count(1) if receptive_field(n, kernel_size) >= steps)
