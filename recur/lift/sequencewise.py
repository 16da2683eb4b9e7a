"""A layer that applies a module to the whole sequence at once, such as a convolution over time."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.checks import describe
from recur.keys import check_key
from recur.layer import Layer
from recur.lift.stepwise import begin_without_carry, bind_nothing
from recur.masks import is_known, step_count, zero_invalid
from recur.modules import as_module
from recur.types import Cell, Mask


@call_repr
def sequencewise(module: Any) -> Layer:
    """Applies a module to the whole sequence at once, such as a convolution over time (TCN, CNN).

        ys = module(xs),    with x_t = 0 before and y_t = 0 after it where the step is masked

    `chain` applies a module to each step; here it gets all steps, `[T, ...]`, of one sequence.
    Masked steps are zero, like the zeros with which a convolution pads the ends, so padding has no
    effect on values and gradients. A module that mixes steps twice, such as `nn.Sequential` of two
    convolutions with biases, sees other values than zeros in between: pass each convolution to
    `chain` as its own `sequencewise`. A module that normalizes over time, or attends to all steps,
    counts the masked ones too, as zeros.

    The layer has no carry, so it cannot be fed in pieces, even if the module is causal: its
    direction is "bidirectional".

    Args:
      module: a module of Flax Linen, Flax NNX or Equinox, or a function, from `[T, ...]` to
        `[T, ...]`, such as `nn.Conv(32, (3,), padding="CAUSAL")`.

    Returns:
      A `Layer` with the params of the module.

    Raises:
      TypeError: if the module cannot be applied, or is a layer or a cell.
      ValueError: when tracing, if the number of steps changes, xs have too many axes for a
        convolution, or there are resets, since the module would mix the sequences of a packed row.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> model = recur.chain(
      ...     recur.sequencewise(nn.Conv(8, (3,), padding="CAUSAL")), "relu",
      ...     recur.sequencewise(nn.Conv(8, (3,), padding="CAUSAL", kernel_dilation=2)), "relu",
      ... )
      >>> xs = jnp.ones((6, 4))
      >>> model(model.init(jax.random.key(0), xs), xs, length=3).shape
      (6, 8)

    References:
      Bai, Kolter & Koltun 2018, An Empirical Evaluation of Generic Convolutional and Recurrent
      Networks for Sequence Modeling, https://arxiv.org/abs/1803.01271
    """
    if isinstance(module, (Layer, Cell)):
        raise TypeError(
            "sequencewise: expected a module or a function of the whole sequence, got a "
            f"{type(module).__name__.lower()}. Put a layer into recur.chain as it is, and lift a "
            "cell with recur.scan."
        )
    whole = as_module(module)

    def run(params, xs, key=None):
        _check_rank(module, xs)
        if is_known(step_count(xs)) and step_count(xs) == 0:  # Flax does not convolve nothing
            one = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype), xs)
            ys = jax.eval_shape(whole.apply, params, one)
            return jax.tree.map(lambda y: jnp.zeros((0, *y.shape[1:]), y.dtype), ys)
        ys = whole.apply(params, xs, key=key)
        _check_steps(xs, ys)
        return ys

    def init(key, xs, context=None):
        del context
        step_count(xs)
        _check_rank(module, xs)
        return whole.init(check_key(key), xs)

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        del all_carries  # the carry is empty
        _check_no_resets(mask)
        ys = run(bound, zero_invalid(mask.valid, xs), key)
        return carry, zero_invalid(mask.valid, ys)

    def find_output_shape(bound, xs):
        return jax.eval_shape(run, bound, xs)

    return Layer(
        init,
        bind_nothing,
        begin_without_carry,
        apply,
        find_output_shape,
        direction="bidirectional",
    )


def _check_rank(module: Any, xs: Any) -> None:
    """Raises a ValueError if a convolution of Flax would take the time axis for a batch axis."""
    kernel = getattr(module, "kernel_size", None)
    axes = 1 if isinstance(kernel, int) else len(kernel or ())
    shape = getattr(xs, "shape", ())
    if axes and len(shape) != axes + 1:
        raise ValueError(
            f"sequencewise: expected xs with {axes + 1} axes, [T, ..., I], for a convolution over "
            f"{axes}, got the shape {list(shape)}. For a batch of sequences, wrap the layer in "
            "recur.batch."
        )


def _check_steps(xs: Any, ys: Any) -> None:
    """Raises a ValueError unless outputs have as many steps as inputs."""
    count = step_count(xs)
    shapes = [tuple(getattr(leaf, "shape", ())) for leaf in jax.tree.leaves(ys)]
    if not shapes or any(shape[:1] != (count,) for shape in shapes):
        raise ValueError(
            f"sequencewise: expected outputs with the {count} steps of the inputs, got "
            f'{describe(ys)}. Use a stride of 1, and padding="SAME" or "CAUSAL".'
        )


def _check_no_resets(mask: Mask) -> None:
    if mask.reset is not None:
        raise ValueError(
            "sequencewise: expected one sequence, got resets, so that a row holds several, which "
            "the module would mix. Use pad or bucket instead of pack."
        )
