"""Losses of predicted distributions of real values: Gaussians, their mixtures, and quantiles."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from recur.checks import is_number
from recur.masks import check_mask, expand_like, zero_invalid
from recur.train.losses import as_common_floats, check_known


def gaussian_nll(
    means: jax.Array, stddevs: jax.Array, targets: jax.Array, mask: jax.Array | None = None
) -> jax.Array:
    """Computes the Gaussian negative log-likelihood of each step, in nats.

        l_t = -sum_o log N(y_{t,o}; mu_{t,o}, sigma_{t,o}²),    and 0 where masked

    Values at masked steps never affect values or gradients, even if they are NaN. Arrays of 16 bits
    are cast to float32.

    Args:
      means: mu, `[..., O]`.
      stddevs: sigma, `[..., O]`, above 0; `jax.nn.softplus` or `jnp.exp` of a layer's output.
      targets: y, `[..., O]`.
      mask: bool `[...]`, True where the step counts; all steps by default.

    Returns:
      `[...]`, nats. `masked_mean` takes the mean over the steps that count.

    Raises:
      TypeError: if an array does not hold real numbers, or mask is not bool.
      ValueError: if the shapes do not fit, or a stddev that counts is known not to be above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import gaussian_nll
      >>> means, targets = jnp.zeros((2, 1)), jnp.array([[0.0], [2.0]])
      >>> losses = gaussian_nll(means, jnp.ones((2, 1)), targets)
      >>> [round(loss, 3) for loss in losses.tolist()]
      [0.919, 2.919]
    """
    name = "gaussian_nll"
    given = stddevs
    means, stddevs, targets = as_common_floats(name, means=means, stddevs=stddevs, targets=targets)
    _check_shapes(name, "[..., O]", targets.shape, means=means, stddevs=stddevs, targets=targets)
    mask = _check_steps(name, mask, targets.shape[:-1])
    check_known(f"{name}: expected stddevs above 0", given, mask, lambda value: value > 0)
    means, stddevs, targets = _zero_one_zero(mask, means, stddevs, targets)
    losses = -jax.scipy.stats.norm.logpdf(targets, means, stddevs).sum(-1)
    return zero_invalid(mask, losses)


def gaussian_mixture_nll(
    logits: jax.Array,
    means: jax.Array,
    stddevs: jax.Array,
    targets: jax.Array,
    mask: jax.Array | None = None,
) -> jax.Array:
    """Computes the negative log-likelihood of a mixture density network, in nats.

        l_t = -log sum_k softmax(logits_t)_k prod_o N(y_{t,o}; mu_{t,k,o}, sigma_{t,k,o}²)

    and 0 where masked. The sum over components is computed in log space, so no density underflows.
    Values at masked steps never affect values or gradients, even if they are NaN. Arrays of 16 bits
    are cast to float32.

    Args:
      logits: `[..., K]`, of the K components.
      means: mu, `[..., K, O]`.
      stddevs: sigma, `[..., K, O]`, above 0; `jax.nn.softplus` or `jnp.exp` of a layer's output.
      targets: y, `[..., O]`.
      mask: bool `[...]`, True where the step counts; all steps by default.

    Returns:
      `[...]`, nats. `masked_mean` takes the mean over the steps that count.

    Raises:
      TypeError: if an array does not hold real numbers, or mask is not bool.
      ValueError: if the shapes do not fit, or a stddev that counts is known not to be above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import gaussian_mixture_nll
      >>> means = jnp.array([[-1.0], [1.0]])
      >>> losses = gaussian_mixture_nll(jnp.zeros(2), means, jnp.ones((2, 1)), jnp.zeros(1))
      >>> round(losses.item(), 3)
      1.419

    References:
      Bishop 1994, Mixture Density Networks, Aston University, NCRG/94/004
    """
    name = "gaussian_mixture_nll"
    given = stddevs
    logits, means, stddevs, targets = as_common_floats(
        name, logits=logits, means=means, stddevs=stddevs, targets=targets
    )
    shape = (*logits.shape, *targets.shape[-1:])
    _check_shapes(name, "[..., K, O]", shape, means=means, stddevs=stddevs)
    _check_shapes(name, "[..., O]", (*logits.shape[:-1], *targets.shape[-1:]), targets=targets)
    mask = _check_steps(name, mask, targets.shape[:-1])
    check_known(f"{name}: expected stddevs above 0", given, mask, lambda value: value > 0)
    means, stddevs, targets = _zero_one_zero(mask, means, stddevs, targets)
    densities = jax.scipy.stats.norm.logpdf(targets[..., None, :], means, stddevs).sum(-1)
    shares = jax.nn.log_softmax(zero_invalid(mask, logits))
    return zero_invalid(mask, -jax.nn.logsumexp(shares + densities, axis=-1))


def quantile_loss(
    predicted: jax.Array,
    targets: jax.Array,
    mask: jax.Array | None = None,
    *,
    quantiles: tuple[float, ...],
) -> jax.Array:
    """Computes the quantile (pinball) loss of each step, the mean over quantiles.

        l_t = mean_i max(q_i (y_t - p_{t,i}), (q_i - 1) (y_t - p_{t,i})),    and 0 where masked

    Values at masked steps never affect values or gradients, even if they are NaN. Arrays of 16 bits
    are cast to float32.

    Args:
      predicted: p, `[..., Q]`, a prediction of each quantile.
      targets: y, `[...]`.
      mask: bool `[...]`, True where the step counts; all steps by default.
      quantiles: q, Q numbers above 0 and below 1, such as `(0.1, 0.5, 0.9)`.

    Returns:
      `[...]`. `masked_mean` takes the mean over the steps that count.

    Raises:
      TypeError: if an array does not hold real numbers, or mask is not bool.
      ValueError: if the shapes do not fit, or quantiles are not numbers between 0 and 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.train import quantile_loss
      >>> predicted, targets = jnp.zeros((2, 1)), jnp.array([1.0, -1.0])
      >>> quantile_loss(predicted, targets, quantiles=(0.75,)).tolist()
      [0.75, 0.25]

    References:
      Koenker & Bassett 1978, Regression Quantiles, https://doi.org/10.2307/1913643
    """
    name = "quantile_loss"
    is_list = isinstance(quantiles, (tuple, list)) and len(quantiles)
    if not is_list or not all(is_number(q) and 0 < q < 1 for q in quantiles):
        raise ValueError(
            f"{name}: expected quantiles as numbers above 0 and below 1, such as (0.1, 0.5, 0.9), "
            f"got {quantiles!r}."
        )
    predicted, targets = as_common_floats(name, predicted=predicted, targets=targets)
    _check_shapes(name, "[..., Q]", (*targets.shape, len(quantiles)), predicted=predicted)
    mask = _check_steps(name, mask, targets.shape)
    predicted, targets = zero_invalid(mask, (predicted, targets))
    levels = jnp.asarray(quantiles, predicted.dtype).reshape((1,) * targets.ndim + (-1,))
    errors = targets[..., None] - predicted
    return zero_invalid(mask, jnp.maximum(levels * errors, (levels - 1) * errors).mean(-1))


def _check_shapes(name: str, axes: str, shape: tuple[int, ...], **arrays: jax.Array) -> None:
    """Raises a ValueError unless all arrays have `shape`, with at least as many axes as named."""
    for argument, array in arrays.items():
        if array.shape != shape or array.ndim < axes.count(", "):
            raise ValueError(
                f"{name}: expected {argument} of shape {axes}, here {list(shape)}, got "
                f"{list(array.shape)}."
            )


def _check_steps(name: str, mask: jax.Array | None, shape: tuple[int, ...]) -> jax.Array | None:
    return None if mask is None else check_mask(mask, shape, name)


def _zero_one_zero(
    mask: jax.Array | None, means: jax.Array, stddevs: jax.Array, targets: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Means 0, stddevs 1 and targets 0 at masked steps, where the density has a gradient."""
    if mask is not None:
        stddevs = jnp.where(expand_like(mask, stddevs), stddevs, jnp.ones_like(stddevs))
    return zero_invalid(mask, means), stddevs, zero_invalid(mask, targets)
