"""Autoregressive models of series (AR and vector AR), fitted by least squares."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import check_flag, check_number, check_whole, known_value
from recur.classic.lagged import as_series, center, check_complete, lagged
from recur.classic.log_space import common_dtype
from recur.keys import check_key

__all__ = [
    "Autoregression",
    "Criteria",
    "Forecast",
    "criteria",
    "fit",
    "forecast",
    "interval",
    "is_stationary",
    "predict",
    "roots",
    "sample",
    "select_order",
]


class Autoregression(NamedTuple):
    """An autoregressive model of order p of D values: AR(p), or vector AR (VAR) if D > 1.

        x_t = c + A_1 x_{t-1} + ... + A_p x_{t-p} + e_t,    e_t ~ N(0, Σ)

    Attributes:
      coefficients: A, `[p, D, D]`; at [k - 1, i, j] the effect of x_{t-k,j} on x_{t,i}.
      intercept: c, `[D]`.
      covariance: Σ, `[D, D]`.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import Autoregression
      >>> random_walk = Autoregression(jnp.ones((1, 1, 1)), jnp.zeros(1), jnp.ones((1, 1)))
    """

    coefficients: jax.Array
    intercept: jax.Array
    covariance: jax.Array


class Criteria(NamedTuple):
    """Information criteria of the orders 0 ... P; the lower, the better.

    Attributes:
      aic: Akaike's criterion, `[P + 1]`.
      bic: the Bayesian criterion of Schwarz, `[P + 1]`.
    """

    aic: jax.Array
    bic: jax.Array


class Forecast(NamedTuple):
    """A Gaussian forecast of S steps.

    Attributes:
      mean: `[S, D]`.
      covariance: of the error of each step, `[S, D, D]`.
    """

    mean: jax.Array
    covariance: jax.Array


def fit(series: Any, order: int, *, unbiased: bool = False) -> Autoregression:
    """Fits an autoregressive model (AR or vector AR) by least squares, with an intercept.

    A step is used only if it and the p steps before it have no gap. If the coefficients are not
    unique, as for a constant series, they are the smallest.

    Args:
      series: `[T, D]`; gaps are NaN.
      order: p, at least 0.
      unbiased: whether the covariance divides the squared errors by n - 1 - p D, as VAR of
        statsmodels does, or by n, as its AutoReg does. n is the number of steps that are used.

    Returns:
      An `Autoregression`.

    Raises:
      TypeError: if the series does not hold real numbers, or unbiased is not a bool.
      ValueError: if order is not a whole number, the series is not `[T, D]` or holds infinity, or
        fewer steps can be used than there are coefficients for each value.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import autoregressive
      >>> halving = jnp.array([[8.0], [4.0], [2.0], [1.0], [0.5]])
      >>> autoregressive.fit(halving, order=1).coefficients.round(3).item()
      0.5

    References:
      Lütkepohl 2005, New Introduction to Multiple Time Series Analysis, chapter 3,
      https://doi.org/10.1007/978-3-540-27752-1
    """
    series = as_series("fit", series)
    order = check_whole("fit: order", order, 0)
    unbiased = check_flag("fit: unbiased", unbiased)
    width = series.shape[1]
    lags, targets, seen = lagged("fit", series, order)
    check_complete("fit", seen, 1 + order * width + unbiased)
    xs, x_mean, scale = center(lags, seen)
    ys, y_mean, _ = center(targets, seen)
    weights = jnp.zeros((0, width), ys.dtype)
    if order:
        weights = jnp.linalg.lstsq(xs / scale, ys)[0] / scale.T
    errors = ys - xs @ weights
    free = seen.sum() - (1 + order * width if unbiased else 0)
    coefficients = jnp.swapaxes(weights.reshape(order, width, width), 1, 2)
    intercept = (y_mean - x_mean @ weights)[0]
    return Autoregression(coefficients, intercept, errors.T @ errors / free.astype(errors.dtype))


def criteria(series: Any, largest: int) -> Criteria:
    """Computes the information criteria AIC and BIC of all orders of an autoregressive model.

        aic_p = log det Σ_p + 2 k_p / n,    bic_p = log det Σ_p + log(n) k_p / n,
        k_p = D (1 + p D)

    Σ_p divides by n. All orders predict the same n steps, those that have no gap in the P steps
    before them, so that their criteria can be compared.

    Args:
      series: `[T, D]`; gaps are NaN.
      largest: P, the largest order.

    Returns:
      `Criteria`.

    Raises:
      TypeError: if the series does not hold real numbers.
      ValueError: if largest is not a whole number, the series is not `[T, D]` or holds infinity, or
        too few steps can be used.

    Example:
      >>> import jax
      >>> from recur.classic import autoregressive
      >>> noise = jax.random.normal(jax.random.key(0), (100, 1))
      >>> autoregressive.criteria(noise, largest=3).bic.argmin().item()
      0
    """
    series = as_series("criteria", series)
    largest = check_whole("criteria: largest", largest, 0)
    width = series.shape[1]
    lags, targets, seen = lagged("criteria", series, largest)
    check_complete("criteria", seen, 2 + largest * width)
    xs, _, scale = center(lags, seen)
    ys, _, _ = center(targets, seen)
    # Row i of the last columns is the part of the targets that only the lags from i on explain.
    factor = jnp.linalg.qr(jnp.concatenate([xs / scale, ys], 1), mode="r")[:, largest * width :]
    n = seen.sum().astype(ys.dtype)
    logs = []
    for order in range(largest + 1):
        errors = factor[order * width :]
        logs.append(jnp.linalg.slogdet(errors.T @ errors / n)[1])
    counts = width * (1 + width * jnp.arange(largest + 1)).astype(ys.dtype)
    return Criteria(jnp.stack(logs) + 2 * counts / n, jnp.stack(logs) + jnp.log(n) * counts / n)


def select_order(series: Any, largest: int, criterion: Literal["aic", "bic"] = "bic") -> int:
    """Selects the order of an autoregressive model by AIC or BIC, on a common sample.

    Args:
      series: `[T, D]`; gaps are NaN.
      largest: the largest order to try.
      criterion: "aic" or "bic", as `criteria` computes them.

    Returns:
      The order with the lowest criterion.

    Raises:
      TypeError: if the series does not hold real numbers.
      ValueError: if criterion is another name, and as for `criteria`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.classic import Autoregression, autoregressive
      >>> model = Autoregression(jnp.array([[[0.9]]]), jnp.zeros(1), jnp.ones((1, 1)))
      >>> series = autoregressive.sample(model, jax.random.key(0), 200, history=jnp.zeros((1, 1)))
      >>> autoregressive.select_order(series, largest=5)
      1
    """
    if criterion not in ("aic", "bic"):
        raise ValueError(f'select_order: expected criterion "aic" or "bic", got {criterion!r}.')
    return int(getattr(criteria(series, largest), criterion).argmin())


def predict(model: Autoregression, series: Any) -> jax.Array:
    """Predicts each step of a series from the p steps before it (one step ahead).

    Args:
      model: an `Autoregression`.
      series: `[T, D]`; gaps are NaN.

    Returns:
      `[T - p, D]`, for the steps after the first p; NaN where one of the p steps before is a gap.

    Raises:
      TypeError: if `model` is not an `Autoregression`, or the series does not hold real numbers.
      ValueError: if the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import Autoregression, autoregressive
      >>> random_walk = Autoregression(jnp.ones((1, 1, 1)), jnp.zeros(1), jnp.ones((1, 1)))
      >>> autoregressive.predict(random_walk, jnp.array([[3.0], [5.0], [4.0]])).ravel().tolist()
      [3.0, 5.0]
    """
    model, series = _with_series("predict", model, series)
    order, width, _ = model.coefficients.shape
    lags, _, _ = lagged("predict", series, order, zeroed=False)
    lags = lags.reshape(len(lags), order, width)
    return jnp.einsum("kij,tkj->ti", model.coefficients, lags) + model.intercept[None]


def forecast(model: Autoregression, history: Any, steps: int) -> Forecast:
    """Forecasts the steps after a series: the mean, and the covariance of its error.

        Σ(h) = Σ(h - 1) + Ψ_{h-1} Σ Ψ_{h-1}ᵀ,    Ψ_h = A_1 Ψ_{h-1} + ... + A_p Ψ_{h-p},    Ψ_0 = I

    The model is taken as known: the covariance is that of the noise, without the uncertainty of the
    coefficients.

    Args:
      model: an `Autoregression`.
      history: `[T, D]`, T ≥ p, without gaps in the last p steps.
      steps: S, the number of steps to forecast.

    Returns:
      A `Forecast`; `interval` computes its prediction intervals.

    Raises:
      TypeError: if `model` is not an `Autoregression`, or history does not hold real numbers.
      ValueError: if the shapes do not fit, steps is below 1, or history has a gap in the last p
        steps.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import Autoregression, autoregressive
      >>> random_walk = Autoregression(jnp.ones((1, 1, 1)), jnp.zeros(1), jnp.ones((1, 1)))
      >>> found = autoregressive.forecast(random_walk, jnp.array([[4.0]]), steps=3)
      >>> found.mean.ravel().tolist(), found.covariance.ravel().tolist()
      ([4.0, 4.0, 4.0], [1.0, 2.0, 3.0])

    References:
      Lütkepohl 2005, New Introduction to Multiple Time Series Analysis, section 2.2,
      https://doi.org/10.1007/978-3-540-27752-1
    """
    model, last = _with_history("forecast", model, history)
    steps = check_whole("forecast: steps", steps, 1)
    order, width, _ = model.coefficients.shape

    def step(carry, _):
        last, effects, covariance, effect = carry
        covariance = covariance + effect @ model.covariance @ effect.T
        effects = jnp.concatenate([effect[None], effects])[:order]
        effect = jnp.einsum("kij,kjl->il", model.coefficients, effects)
        last, x = _next(model, last, jnp.zeros_like(model.intercept))
        return (last, effects, covariance, effect), Forecast(x, covariance)

    none = jnp.zeros_like(model.covariance)
    begin = last, jnp.zeros_like(model.coefficients), none, jnp.eye(width, dtype=none.dtype)
    return jax.lax.scan(step, begin, length=steps)[1]


def interval(forecast: Forecast, coverage: float = 0.95) -> tuple[jax.Array, jax.Array]:
    """Computes the prediction interval of each step and value of a forecast.

    Args:
      forecast: a `Forecast`.
      coverage: the probability that a value is within its interval, above 0 and below 1.

    Returns:
      `(lower, upper)`, each `[S, D]`.

    Raises:
      TypeError: if `forecast` is not a `Forecast`.
      ValueError: if coverage is out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic.autoregressive import Forecast, interval
      >>> lower, upper = interval(Forecast(jnp.zeros((1, 1)), jnp.ones((1, 1, 1))), 0.95)
      >>> round(lower.item(), 2), round(upper.item(), 2)
      (-1.96, 1.96)
    """
    if not isinstance(forecast, Forecast):
        raise TypeError(f"interval: expected a Forecast, got {type(forecast).__name__}.")
    if not 0 < check_number("interval: coverage", coverage) < 1:
        raise ValueError(f"interval: expected coverage above 0 and below 1, got {coverage!r}.")
    variances = jnp.diagonal(forecast.covariance, axis1=-2, axis2=-1)
    width = jax.scipy.special.ndtri((1 + coverage) / 2).astype(variances.dtype)
    margin = width * jnp.sqrt(variances)
    return forecast.mean - margin, forecast.mean + margin


def sample(model: Autoregression, key: jax.Array, steps: int, history: Any) -> jax.Array:
    """Samples a path of the steps after a series.

    For many paths, use `jax.vmap` over keys.

    Args:
      model: an `Autoregression`.
      key: a typed key.
      steps: S.
      history: `[T, D]`, T ≥ p, without gaps in the last p steps.

    Returns:
      `[S, D]`.

    Raises:
      TypeError: if `model` is not an `Autoregression`, `key` not a typed key, or history does not
        hold real numbers.
      ValueError: if the shapes do not fit, steps is below 1, or history has a gap in the last p
        steps.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.classic import Autoregression, autoregressive
      >>> count = Autoregression(jnp.ones((1, 1, 1)), jnp.ones(1), jnp.zeros((1, 1)))
      >>> autoregressive.sample(count, jax.random.key(0), 3, jnp.zeros((1, 1))).ravel().tolist()
      [1.0, 2.0, 3.0]
    """
    model, last = _with_history("sample", model, history)
    shape = check_whole("sample: steps", steps, 1), len(model.intercept)
    values, vectors = jnp.linalg.eigh(model.covariance)
    root = vectors * jnp.sqrt(jnp.maximum(values, 0))[None]
    noise = jax.random.normal(check_key(key), shape, root.dtype) @ root.T
    return jax.lax.scan(lambda last, e: _next(model, last, e), last, noise)[1]


def roots(model: Autoregression) -> np.ndarray:
    """Computes the roots of the characteristic polynomial of an autoregressive model.

        det(I - A_1 z - ... - A_p z^p) = 0

    Args:
      model: an `Autoregression`, not inside `jax.jit`.

    Returns:
      Complex `[p D]`, from the greatest to the smallest modulus; infinite where the degree is less
      than p D.

    Raises:
      TypeError: if `model` is not an `Autoregression`.
      ValueError: if its shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import Autoregression, autoregressive
      >>> model = Autoregression(jnp.array([[[0.5]]]), jnp.zeros(1), jnp.ones((1, 1)))
      >>> autoregressive.roots(model).tolist()
      [(2+0j)]
    """
    coefficients = np.asarray(check_model("roots", model).coefficients, float)
    order, width, _ = coefficients.shape
    size = order * width
    companion = np.eye(size, k=-width)
    if order:
        companion[:width] = np.moveaxis(coefficients, 0, 1).reshape(width, size)
    values = np.linalg.eigvals(companion).astype(complex)
    found = np.full(size, complex(np.inf))
    np.divide(1, values, out=found, where=abs(values) > 0)
    return found[np.argsort(-abs(found))]


def is_stationary(model: Autoregression) -> bool:
    """Checks whether a model is stationary: all its `roots` are outside the unit circle.

    Args:
      model: an `Autoregression`, not inside `jax.jit`.

    Returns:
      Whether it is.

    Raises:
      TypeError: if `model` is not an `Autoregression`.
      ValueError: if its shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import Autoregression, autoregressive
      >>> random_walk = Autoregression(jnp.ones((1, 1, 1)), jnp.zeros(1), jnp.ones((1, 1)))
      >>> autoregressive.is_stationary(random_walk)
      False
    """
    return bool((abs(roots(model)) > 1).all())


def check_model(caller: str, model: Any) -> Autoregression:
    """Checks a model and returns it with arrays of one dtype, at least float32."""
    if not isinstance(model, Autoregression):
        raise TypeError(f"{caller}: expected an Autoregression, got {type(model).__name__}.")
    shapes = [jnp.shape(leaf) for leaf in model]
    width = shapes[1][:1]
    if [*shapes[0][1:], *shapes[1], *shapes[2]] != [*width * 5] or len(shapes[0]) != 3:
        came = ", ".join(str(list(shape)) for shape in shapes)
        raise ValueError(
            f"{caller}: expected coefficients [p, D, D], intercept [D] and covariance [D, D], got "
            f"{came}."
        )
    return common_dtype(model)


def _with_series(caller: str, model: Any, series: Any) -> tuple[Autoregression, jax.Array]:
    """Checks a model and a series of its width; returns both in one dtype."""
    model, series = check_model(caller, model), as_series(caller, series)
    if series.shape[1] != len(model.intercept):
        raise ValueError(
            f"{caller}: expected a series [T, {len(model.intercept)}], as the model has, got "
            f"{list(series.shape)}."
        )
    return common_dtype((model, series))


def _with_history(caller: str, model: Any, history: Any) -> tuple[Autoregression, jax.Array]:
    """Checks a model and a history; returns the model and the last p steps."""
    model, history = _with_series(caller, model, history)
    order = len(model.coefficients)
    if len(history) < order:
        raise ValueError(
            f"{caller}: expected a history of at least the {order} steps that the model reads, got "
            f"{len(history)}."
        )
    last = history[len(history) - order :]
    known = known_value(last)
    if known is not None and np.isnan(known).any():
        raise ValueError(
            f"{caller}: expected no gap in the last {order} steps of the history, which the model "
            f"reads, got NaN. End the history before the gap, or fill it."
        )
    return model, last


def _next(model: Autoregression, last: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The next step after the last p, and the last p then."""
    x = jnp.einsum("kij,kj->i", model.coefficients, last[::-1]) + model.intercept + noise
    return jnp.concatenate([last, x[None]])[1:] if len(last) else last, x
