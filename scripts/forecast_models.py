"""The models of `forecast.py`: naive forecasts, AR, and networks with a Gaussian head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from forecast_data import Problem

import recur
from recur import train
from recur.classic import autoregressive, causal_conv, gaussian_head, tcn, tcn_levels

BASELINES = ("naive", "seasonal naive", "AR")
NETWORKS = ("feed-forward AR", "TCN", "GRU", "LSTM", "minGRU")
CELLS = {"GRU": recur.gru, "LSTM": recur.lstm, "minGRU": recur.min_gru}
INTERVALS = {"80 %": 0.8, "95 %": 0.95}


class Forecasts(NamedTuple):
    """What a model predicts of the test part of a series, as levels.

    Attributes:
      means: one step ahead, `[test]`.
      stddevs: their standard deviations, `[test]`.
      paths: from each origin, `[O, N, horizon]`.
      note: what to say about the model, such as its order.
    """

    means: np.ndarray
    stddevs: np.ndarray
    paths: np.ndarray
    note: str = ""


# --- Baselines ------------------------------------------------------------------------------------


def naive(problem: Problem, origins: np.ndarray, paths: int, season: int) -> Forecasts:
    """Repeats the last season, with the spread of its errors before the test part.

    Its paths are the quantiles of the forecast, so that their median is the repeated value.
    """
    levels, horizon = problem.levels, problem.series.horizon
    both = ~np.isnan(problem.series.values)
    both = (both[season:] & both[:-season])[: problem.test - season]
    errors = (levels[season:] - levels[:-season])[: problem.test - season][both]
    std = np.sqrt(np.mean(errors**2))
    steps = np.arange(horizon)
    points = levels[origins[:, None] - season + steps % season]
    spread = std * np.sqrt(1 + steps // season)
    quantiles = np.asarray(jax.scipy.special.ndtri((np.arange(paths) + 0.5) / paths))
    means = levels[problem.test - season : -season]
    found = points[:, None] + spread * quantiles[:, None]
    return Forecasts(means, np.full(len(means), std), found)


def ar(problem: Problem, origins: np.ndarray, paths: int, largest: int, key: jax.Array):
    """AR by least squares before the test part, its order by BIC; it reads no covariates.

    The largest order is one with four times as many steps without gaps as coefficients.
    """
    scaled = np.float32(problem.scaled)[:, None]
    seen = np.where(problem.known[:, None], scaled, np.nan)[problem.lag : problem.test]
    known = ~np.isnan(seen[:, 0])
    orders = [
        n for n in range(min(largest, len(seen) - 1) + 1) if _runs(known, n + 1) >= 4 * (n + 1)
    ]
    order = autoregressive.select_order(seen, max(orders, default=0))
    model = autoregressive.fit(seen, order)
    begin = problem.test - order
    means = np.asarray(autoregressive.predict(model, scaled[begin:]))[:, 0]
    horizon = problem.series.horizon
    keys = jax.random.split(key, (len(origins), paths))
    history = np.stack([scaled[origin - order : origin] for origin in origins])
    draw = jax.vmap(lambda key, past: autoregressive.sample(model, key, horizon, past), (0, None))
    found = jax.jit(jax.vmap(draw))(keys, history)[..., 0]
    stddevs = np.full(len(means), float(np.sqrt(model.covariance[0, 0])))
    note = f"order {order}{', not stationary' * (not autoregressive.is_stationary(model))}"
    return restored(problem, origins, means, stddevs, found)._replace(note=note)


def _runs(known: np.ndarray, length: int) -> int:
    """How many parts of this length have no gap."""
    return int(np.lib.stride_tricks.sliding_window_view(known, length).all(1).sum())


def restored(problem: Problem, origins: Any, means: Any, stddevs: Any, paths: Any) -> Forecasts:
    """Forecasts as levels, of scaled ones."""
    every = np.arange(problem.test, len(problem.levels))
    means = problem.restore(np.asarray(means)[:, None, None], every)[:, 0, 0]
    return Forecasts(means, np.asarray(stddevs) * problem.std, problem.restore(paths, origins))


# --- Networks -------------------------------------------------------------------------------------


def build_network(options: Any, name: str) -> recur.Layer:
    """Builds a network from inputs `[T, 1 + K]` to the means and stddevs of the next step."""
    parts: list[Any]
    if name == "feed-forward AR":
        parts = [causal_conv(10, 4), "relu", causal_conv(10, 1), "relu"]
    elif name == "TCN":
        levels = tcn_levels(options.window, kernel_size=3)
        parts = [tcn(options.features, levels, 3, dropout=options.dropout)]
    else:
        parts = [recur.scan(CELLS[name](options.features)) for _ in range(options.layers)]
        parts += [nn.Dropout(options.dropout)] * bool(options.dropout)
    return recur.chain(*parts, gaussian_head(1))


def make_windows(problem: Problem, window: int) -> dict[str, np.ndarray]:
    """The training part as inputs, targets and whether they count, for `sliding`."""
    steps = slice(problem.lag, problem.valid)
    return {
        "inputs": problem.inputs[steps],
        "targets": np.float32(problem.scaled[1:, None])[steps],
        "known": problem.known[1:][steps],
    }


def make_loss(model: recur.Layer, window: int):
    """Makes the loss, nats per step; the first quarter of a window is only read."""
    batched, later = recur.batch(model), np.arange(window) >= window // 4

    def loss(params, carry, batch, key):
        steps = batch.steps
        means, stddevs = batched(params, steps["inputs"], mask=batch.mask, key=key)
        counts = batch.mask & steps["known"] & later
        losses = train.gaussian_nll(means, stddevs, steps["targets"], counts)
        mean = train.masked_mean(losses, counts)
        return mean, (carry, {"nats": mean})

    return loss


def make_validate(problem: Problem, model: recur.Layer) -> Callable[[Any], float]:
    """`validate(params)` -> nats per step of the validation part, each from all steps before it."""
    inputs = problem.inputs[problem.lag : problem.test - 1]
    part = slice(problem.valid, problem.test)
    targets, known = np.float32(problem.scaled[part, None]), problem.known[part]

    @jax.jit
    def validate(params):
        means, stddevs = (ys[-len(targets) :] for ys in model(params, inputs))
        losses = train.gaussian_nll(means, stddevs, targets, known)
        return train.masked_mean(losses, known)

    return lambda params: float(validate(params))


def forecast(
    problem: Problem, model: recur.Layer, params: Any, origins: np.ndarray, paths: int, key: Any
) -> Forecasts:
    """Reads the series once, with forecasts of one step; samples paths from each origin."""
    inputs, horizon, lag = problem.inputs, problem.series.horizon, problem.lag
    begin, apart = origins[0] - 1, int(np.diff(origins, append=origins[-1] + 1)[0])
    means, stddevs = (ys[begin - lag :, 0] for ys in jax.jit(model)(params, inputs[lag:]))
    pieces = inputs[begin : begin + apart * (len(origins) - 1)].reshape(-1, apart, inputs.shape[1])
    future = np.stack([inputs[origin - 1 :][:horizon] for origin in origins])

    def path(carry, future, key):
        """Feeds the network the values that it samples, and the known covariates."""

        def step(state, given):
            (carry, value), (known, key) = state, given
            xs = jnp.concatenate([value, known[1:]])[None]
            carry, (means, stddevs) = model.run(params, xs, carry=carry)
            value = means[0] + stddevs[0] * jax.random.normal(key, (1,))
            return (carry, value), value[0]

        keys = jax.random.split(key, horizon)
        return jax.lax.scan(step, (carry, future[0, :1]), (future, keys))[1]

    @jax.jit
    def sample(params, first, pieces, future, keys):
        carry, _ = model.run(params, first)

        def read(carry, piece):
            return model.run(params, piece, carry=carry)[0], carry

        carry, carries = jax.lax.scan(read, carry, pieces)
        carries = jax.tree.map(lambda each, last: jnp.append(each, last[None], 0), carries, carry)
        return jax.vmap(jax.vmap(path, (None, None, 0)))(carries, future, keys)

    keys = jax.random.split(key, (len(origins), paths))
    found = sample(params, inputs[lag:begin], pieces, future, keys)
    return restored(problem, origins, means, stddevs, found)


# --- Scores ---------------------------------------------------------------------------------------


def score(problem: Problem, found: Forecasts, origins: np.ndarray) -> dict[str, float]:
    """RMSE, MAE, MASE and coverage of medians, one step ahead and over all n steps ahead."""
    series, back = problem.series, np.exp if problem.is_log else lambda values: values
    history = np.where(np.isnan(series.values), 0, series.values)[: problem.test]
    known = ~np.isnan(series.values)
    naive = train.seasonal_naive_error(history, known[: problem.test], season=series.season)
    steps = origins[:, None] + np.arange(series.horizon)
    ends = {name: np.array([1 - share, 1 + share]) / 2 for name, share in INTERVALS.items()}
    levels = {
        "1": (
            np.arange(problem.test, len(series.values))[None],
            lambda q: (
                found.means[None] + found.stddevs * float(jax.scipy.special.ndtri(np.float64(q)))
            ),
        ),
        "n": (steps, lambda q: np.quantile(found.paths, q, axis=1)),
    }
    scores = {}
    for ahead, (places, quantile) in levels.items():
        targets, mask = np.nan_to_num(series.values[places]), known[places]
        median = back(quantile(0.5))
        scale = np.full(len(targets), naive)
        metrics = {
            "RMSE": train.rmse(median, targets, mask),
            "MAE": train.mae(median, targets, mask),
            "MASE": train.mase(median, targets, scale, mask),
        }
        for name, (low, high) in ends.items():
            bounds = back(quantile(low)), back(quantile(high))
            metrics[name] = train.interval_coverage(*bounds, targets, mask)
        scores |= {f"{name} {ahead}": metric.value().item() for name, metric in metrics.items()}
    return scores
