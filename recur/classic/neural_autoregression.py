"""Neural autoregressive models of series: a feed-forward network, and a latent state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.cells.parts import Activation
from recur.checks import check_cell, check_whole
from recur.classic.causal_convolution import causal_conv
from recur.layer import Layer
from recur.lift.chain import chain
from recur.lift.scan import scan
from recur.modules import activation as activation_of
from recur.types import Cell

_LEAST_STDDEV = 1e-4


@call_repr
def mlp_autoregression(
    width: int,
    *,
    embedding: int = 4,
    features: Sequence[int] = (10, 10),
    activation: Activation = "relu",
) -> Layer:
    """A feed-forward autoregressive model: an MLP that reads the last values of a series.

        y_t = MLP(x_{t-embedding+1}, ..., x_t),    the prediction of x_{t+1}

    Values before the first step are zero. The carry is the last `embedding - 1` values, so that
    `recur.decode.generate` feeds it its own predictions.

    Args:
      width: D, the number of values per step.
      embedding: the number of steps that it reads (embedding dimension).
      features: the sizes of the hidden layers.
      activation: their activation, a name in `recur.modules.ACTIVATIONS` or any elementwise
        function.

    Returns:
      A `Layer`; xs and ys are `[T, D]`.

    Raises:
      ValueError: if a size is not a whole number of at least 1, or the activation is unknown.
      TypeError: if the features are not a sequence, or the activation is not a function.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.classic import mlp_autoregression
      >>> layer = mlp_autoregression(1)
      >>> xs = jnp.sin(0.01 * jnp.arange(1000.0))[:, None]
      >>> layer(layer.init(jax.random.key(0), xs), xs).shape
      (1000, 1)

    References:
      Zhang et al. 2023, Dive into Deep Learning, section 9.1,
      https://d2l.ai/chapter_recurrent-neural-networks/sequence.html
    """
    name = "mlp_autoregression"
    width = check_whole(f"{name}: width", width, 1)
    embedding = check_whole(f"{name}: embedding", embedding, 1)
    if isinstance(features, str) or not isinstance(features, Sequence):
        raise TypeError(
            f"{name}: expected features as a sequence of sizes, such as (10, 10), got {features!r}."
        )
    sizes = [check_whole(f"{name}: features", each, 1) for each in features]
    phi = activation_of(activation)
    parts: list[Any] = []
    for size, reach in zip([*sizes, width], [embedding, *(1 for _ in sizes)], strict=True):
        parts += [causal_conv(size, reach), phi]
    return chain(*parts[:-1])


@call_repr
def latent_autoregression(cell: Cell, width: int) -> Layer:
    """A latent autoregressive model: a recurrent cell with a Gaussian head.

        h_t = cell(h_{t-1}, x_t),    p(x_{t+1} | x_1 ... x_t) = N(μ(h_t), diag σ²(h_t))

    `recur.train.gaussian_nll` is its loss, and `recur.decode.generate` with `gaussian()` samples
    paths.

    Args:
      cell: any cell.
      width: D, the number of values per step.

    Returns:
      A `Layer`; xs are `[T, D]`, and ys are `(means, stddevs)`, each `[T, D]`.

    Raises:
      TypeError: if `cell` is not a cell.
      ValueError: if width is not a whole number of at least 1.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.classic import latent_autoregression
      >>> from recur.decode import gaussian, generate
      >>> layer = latent_autoregression(recur.gru(8), width=1)
      >>> xs = jnp.sin(jnp.arange(10.0))[:, None]
      >>> params = layer.init(jax.random.key(0), xs)
      >>> path = generate(
      ...     layer, params, xs, next_input=gaussian(), steps=5, key=jax.random.key(1)
      ... )
      >>> path.shape
      (5, 1)

    References:
      Graves 2013, Generating Sequences With Recurrent Neural Networks,
      https://arxiv.org/abs/1308.0850
    """
    check_cell(cell, "latent_autoregression")
    width = check_whole("latent_autoregression: width", width, 1)
    return chain(scan(cell), gaussian_head(width))


@call_repr
def gaussian_head(width: int) -> Layer:
    """A linear layer that outputs the means and standard deviations of Gaussians, for a `chain`.

        μ_t = W_1 x_t + b_1,    σ_t = softplus(W_2 x_t + b_2) + 0.0001

    Args:
      width: D.

    Returns:
      A `Layer`; xs are `[T, C]`, and ys are `(means, stddevs)`, each `[T, D]`.

    Raises:
      ValueError: if width is not a whole number of at least 1.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.classic import gaussian_head, tcn
      >>> layer = recur.chain(tcn(8, levels=2, kernel_size=2), gaussian_head(3))
      >>> xs = jnp.ones((5, 3))
      >>> means, stddevs = layer(layer.init(jax.random.key(0), xs), xs)
      >>> means.shape, bool((stddevs > 0).all())
      ((5, 3), True)

    References:
      Bishop 1994, Mixture Density Networks, Aston University, NCRG/94/004
    """
    width = check_whole("gaussian_head: width", width, 1)

    def to_gaussian(y):
        means, widths = jnp.split(y, 2, axis=-1)
        return means, jax.nn.softplus(widths) + _LEAST_STDDEV

    return chain(causal_conv(2 * width, 1), to_gaussian)
