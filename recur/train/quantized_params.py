"""Weight-only quantization: int8 weights with a floating-point scale for each output channel."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import check_leaves, known_value, leaf_name
from recur.dtypes import at_least_float32
from recur.train.penalties import Where, selected_weights
from recur.types import Params

_LARGEST = 127  # symmetric: -128 is not used


class QuantizedArray(NamedTuple):
    """An array in 8 bits, `values * scale`.

    Attributes:
      values: from -127 to 127, int8, in the shape of the array.
      scale: 1/127 of the largest absolute value of each output channel, in the dtype of the array;
        its second last axis has the size 1.
    """

    values: jax.Array
    scale: jax.Array


def quantize_params(params: Params, where: Where = None) -> Any:
    """Quantizes weights to int8 with a scale per output channel (weight-only, symmetric).

        s_j = max_i |w_ij| / 127,    q_ij = round(w_ij / s_j)

    over the inputs i, the second last axis of a kernel `[..., I, H]`. The error of a weight is at
    most s_j / 2. Files and memory are about four times smaller than with float32;
    `dequantize_params`, in the compiled step, returns weights that every layer and module accepts.
    Products and carries keep their dtypes.

    Args:
      params: a pytree of weights.
      where: which weights: a pytree of bools, or a function from params to one, such as `by_path`
        returns; all by default. Only floating-point arrays of at least two axes are quantized.

    Returns:
      The params with a `QuantizedArray` in place of each selected weight. `save_params` saves it;
      for `load_params`, make `like` by `jax.eval_shape(quantize_params, params)`.

    Raises:
      TypeError: if a leaf of params is not an array of numbers, or `where` selects by something
        other than bools.
      ValueError: if `where` has another structure than params, params are quantized already, or a
        weight is not finite; it names the weight. Traced weights are not checked.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.train import by_path, dequantize_params, quantize_params
      >>> layer, xs = recur.scan(recur.gru(4)), jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> quantized = quantize_params(params, by_path("*kernel"))
      >>> quantized.recurrent_kernel.reset.values.dtype
      dtype('int8')
      >>> step = jax.jit(lambda params, xs: layer(dequantize_params(params), xs))
      >>> bool(jnp.allclose(step(quantized, xs), layer(params, xs), atol=0.02))
      True

    References:
      Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient
      Integer-Arithmetic-Only Inference, https://arxiv.org/abs/1712.05877
    """
    leaves = jax.tree.leaves(params, is_leaf=_is_quantized)
    if any(map(_is_quantized, leaves)):
        raise ValueError(
            "quantize_params: expected params without quantized weights, got a QuantizedArray. "
            "Pass those of training, or of dequantize_params."
        )
    selected = selected_weights("quantize_params", params, where)

    def quantize(path, w, is_selected):
        w = jnp.asarray(w) if is_selected else w
        if not is_selected or w.ndim < 2 or not jnp.issubdtype(w.dtype, jnp.floating):
            return w
        known = known_value(w)
        if known is not None and not np.isfinite(known).all():
            raise ValueError(
                f"quantize_params: {leaf_name(path)!r}: expected finite weights, got NaN or "
                "infinity. Restore an earlier checkpoint."
            )
        return _quantize(w)

    return jax.tree_util.tree_map_with_path(quantize, params, selected)


def dequantize_params(params: Any) -> Params:
    """Converts quantized weights back to floating point; other weights are unchanged.

    Call it inside of the compiled function that uses the params, so that the weights are stored in
    8 bits, and XLA may convert them where they are multiplied.

    Args:
      params: from `quantize_params`, or params without quantized weights.

    Returns:
      The params, each `QuantizedArray` multiplied out in the dtype of its scale.

    Raises:
      TypeError: if a leaf is not an array of numbers.
      ValueError: if a scale does not fit its values.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import dequantize_params, quantize_params
      >>> quantized = quantize_params({"kernel": jnp.array([[127.0, 1.0], [50.4, -2.0]])})
      >>> dequantize_params(quantized)["kernel"].tolist()
      [[127.0, 1.0078740119934082], [50.0, -2.0]]
    """
    check_leaves("dequantize_params: params", params)

    def dequantize(path, value):
        if not _is_quantized(value):
            return value
        values, scale = map(jnp.asarray, value)
        if scale.shape != (*values.shape[:-2], 1, *values.shape[-1:]):
            raise ValueError(
                f"dequantize_params: {leaf_name(path)!r}: expected a scale of shape "
                f"{[*values.shape[:-2], 1, *values.shape[-1:]]} for values of shape "
                f"{list(values.shape)}, got {list(scale.shape)}."
            )
        return values.astype(scale.dtype) * scale

    return jax.tree_util.tree_map_with_path(dequantize, params, is_leaf=_is_quantized)


def _is_quantized(value: Any) -> bool:
    return isinstance(value, QuantizedArray)


def _quantize(w: jax.Array) -> QuantizedArray:
    """Quantizes one array; a channel of zeros has the scale 0."""
    wide = at_least_float32(w)
    scale = (jnp.abs(wide).max(-2, keepdims=True, initial=0.0) / _LARGEST).astype(w.dtype)
    divisor = at_least_float32(jnp.where(scale > 0, scale, jnp.ones_like(scale)))
    values = jnp.clip(jnp.round(wide / divisor), -_LARGEST, _LARGEST)
    return QuantizedArray(values.astype(jnp.int8), scale)
