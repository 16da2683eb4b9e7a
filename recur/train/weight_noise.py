"""Noise on weights: functions `(key, params) -> params`, applied once per batch.

All rows of a batch share the noisy weights. With separate noise for each row, inside `batch`, each
row would have its own recurrent kernel, and the products of rows in the loop could not be merged.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from recur.checks import check_rate, is_number
from recur.combine.dropout import draw_mask
from recur.keys import split_like
from recur.train.penalties import Where, selected_weights
from recur.types import Params

WeightNoise = Callable[[jax.Array | None, Params], Params]


def weight_drop(rate: float, where: Where) -> WeightNoise:
    """Drops weights at random, the same ones for all steps and rows of a batch (DropConnect).

        w ← w ⊙ d,    d ~ bernoulli(1 - p) / (1 - p)

    Kept weights are scaled up, as in dropout, so that the expectation of each weight is unchanged.
    The gradient of a dropped weight is zero. AWD-LSTM applies it to recurrent kernels.

    Args:
      rate: p.
      where: which weights: a pytree of bools, or a function from params to one, such as `by_path`
        returns; None for all. Only floating-point weights are changed.

    Returns:
      `drop(key, params) -> params`, with the same dtypes; if key is None, params unchanged.

    Raises:
      ValueError: if the rate is not in [0, 1).
      TypeError: from `drop`, if the key is not a typed key, or params or `where` are invalid, as
        for `l1`.

    Example:
      >>> import jax, jax.numpy as jnp, optax, recur
      >>> from recur.train import by_path, init_state, make_step, weight_drop
      >>> layer = recur.batch(recur.scan(recur.lstm(8)))
      >>> drop = weight_drop(0.5, by_path("*recurrent_kernel"))
      >>> def loss(params, carry, xs, key):
      ...     drop_key, key = jax.random.split(key)
      ...     params = drop(drop_key, params)  # once per batch, not once per row
      ...     return jnp.square(layer(params, xs, key=key)).mean(), (carry, {})
      >>> optimizer, xs = optax.sgd(0.1), jnp.ones((4, 5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> state = init_state(params, optimizer, jax.random.key(1))
      >>> state, metrics = jax.jit(make_step(loss, optimizer))(state, xs)
      >>> unchanged = state.params.recurrent_kernel.forget == params.recurrent_kernel.forget
      >>> bool(0.2 < unchanged.mean() < 0.8)
      True

    References:
      Wan et al. 2013, Regularization of Neural Networks using DropConnect,
      https://proceedings.mlr.press/v28/wan13.html
      Merity, Keskar & Socher 2018, Regularizing and Optimizing LSTM Language Models,
      https://arxiv.org/abs/1708.02182
    """
    rate = check_rate("weight_drop", "rate", rate)
    caller = "weight_drop"
    return _noise_on(caller, where, lambda key, w: w * draw_mask(key, rate, w, caller))


def weight_noise(stddev: float, where: Where = None) -> WeightNoise:
    """Adds Gaussian noise to weights, the same for all steps and rows of a batch.

        w ← w + ε,    ε ~ N(0, σ²)

    Use it as `weight_drop`. The gradient is taken at the noisy weights.

    Args:
      stddev: σ.
      where: which weights, as for `weight_drop`; all by default.

    Returns:
      `add(key, params) -> params`, with the same dtypes; if key is None, params unchanged.

    Raises:
      ValueError: if stddev is not a finite number of at least 0.
      TypeError: from `add`, if the key is not a typed key, or params or `where` are invalid, as for
        `l1`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.train import weight_noise
      >>> params = {"kernel": jnp.zeros(1000), "bias": jnp.zeros(1000)}
      >>> noisy = weight_noise(0.1)(jax.random.key(0), params)
      >>> round(float(noisy["kernel"].std()), 2), bool((noisy["kernel"] == noisy["bias"]).any())
      (0.1, False)

    References:
      Graves 2011, Practical Variational Inference for Neural Networks,
      https://papers.nips.cc/paper/2011/hash/7eb3c8be3d411e8ebfab08eba5f49632-Abstract.html
      Jim, Giles & Horne 1996, An Analysis of Noise in Recurrent Neural Networks: Convergence and
      Generalization, https://doi.org/10.1109/72.548170
    """
    if not is_number(stddev) or not 0 <= stddev < math.inf:
        raise ValueError(f"weight_noise: expected stddev of at least 0, got {stddev!r}.")
    stddev = float(stddev)

    def add(key, w):
        return w + stddev * jax.random.normal(key, w.shape, w.dtype)

    return _noise_on("weight_noise", where, add)


def _noise_on(
    caller: str, where: Where, noise: Callable[[jax.Array, jax.Array], jax.Array]
) -> WeightNoise:
    """Applies noise to the selected weights, with a key for each."""

    def apply(key, params):
        if key is None:
            return params

        selected = selected_weights(caller, params, where)

        def each(w, key, is_selected):
            is_number = jnp.issubdtype(jax.typeof(w).dtype, jnp.inexact)
            return noise(key, jnp.asarray(w)) if is_selected and is_number else w

        return jax.tree.map(each, params, split_like(key, params), selected)

    return apply
