"""The series of `forecast.py`: CSV files, a noisy sine and Mackey-Glass, and their preparation."""

from __future__ import annotations

import csv
import math
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

GAPS = ("", "nan", "na", "?")
VALIDATION = 0.15  # of the steps before the test part


class Series(NamedTuple):
    """A series and what is to be predicted of it.

    Attributes:
      name: its name.
      values: `[T]`; NaN for gaps.
      covariates: `[T, K]`, known in advance.
      places: the file and the row of each step, for errors.
      season: the number of steps after which it repeats.
      horizon: how many steps ahead to forecast.
      test: how many of the last steps are the test part.
    """

    name: str
    values: np.ndarray
    covariates: np.ndarray
    places: Sequence[str]
    season: int
    horizon: int
    test: int


# --- Series that it makes -------------------------------------------------------------------------


def noisy_sine(seed: int, quick: bool = False) -> Series:
    """The series of Zhang et al., Dive into Deep Learning: 1,000 points, then 600 to predict.

    x_t = sin(0.01 t) + 0.2 e_t
    """
    steps = np.arange(1, 401 if quick else 1601)
    speed, ahead = (0.04, 150) if quick else (0.01, 600)
    values = np.sin(speed * steps) + 0.2 * np.random.default_rng(seed).standard_normal(len(steps))
    return _made("noisy sine", values, round(2 * math.pi / speed), ahead, ahead)


def mackey_glass(seed: int, quick: bool = False) -> Series:
    """The chaotic series of Mackey & Glass 1977, https://doi.org/10.1126/science.267326.

    dx/dt = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x(t), by steps of 0.1 (Runge-Kutta of order 4,
    with the delayed value between two steps interpolated), read once per unit of time.
    """
    delay, inner, skipped, count = 170, 10, 300, 400 if quick else 3000
    start = 1.2 + 0.1 * np.random.default_rng(seed).standard_normal()
    xs = [start] * (delay + 1)

    def slope(x, late):
        return 0.2 * late / (1 + late**10) - 0.1 * x

    for _ in range((skipped + count) * inner):
        x, late, next_late = xs[-1], xs[-delay - 1], xs[-delay]
        middle = (late + next_late) / 2
        one = slope(x, late)
        two = slope(x + 0.05 * one, middle)
        three = slope(x + 0.05 * two, middle)
        four = slope(x + 0.1 * three, next_late)
        xs.append(x + 0.1 / 6 * (one + 2 * two + 2 * three + four))
    values = np.array(xs[delay + 1 :])[inner * skipped :: inner]
    return _made("Mackey-Glass", values, 50, 84, len(values) // 5 if not quick else 100)


def _made(name: str, values: np.ndarray, season: int, horizon: int, test: int) -> Series:
    places = [f"{name}, step {step}" for step in range(1, len(values) + 1)]
    return Series(name, values, np.zeros((len(values), 0)), places, season, horizon, test)


# --- Files ----------------------------------------------------------------------------------------


def read_series(path: pathlib.Path, options: Any) -> list[Series]:
    """Reads the series of a CSV file, one for each column that is no date and no covariate."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [(n, row) for n, row in enumerate(csv.reader(file), start=1) if any(row)]
    if len(rows) < 2:
        raise ValueError(f"{path}: expected a header and rows, got {len(rows)} rows.")
    header = [name.strip() for name in rows[0][1]]
    for number, row in rows[1:]:
        if len(row) != len(header):
            raise ValueError(
                f"{path}:{number}: expected {len(header)} columns, as the header has, got "
                f"{len(row)}."
            )
    if len(set(header)) < len(header):
        raise ValueError(f"{path}:1: expected different columns, got {', '.join(header)}.")
    table = {name: [row[n].strip() for _, row in rows[1:]] for n, name in enumerate(header)}
    places = [f"{path}:{number}" for number, _ in rows[1:]]
    date = options.date or (header[0] if not any(map(_is_number, table[header[0]])) else None)
    for name in filter(None, (date, *options.target, *options.covariates)):
        if name not in table:
            raise ValueError(f"{path}:1: expected the column {name}, got {', '.join(header)}.")
    target = options.target or [n for n in header if n != date and n not in options.covariates]
    if not target:
        raise ValueError(f"{path}:1: expected a column of numbers, got {', '.join(header)}.")
    columns = {name: _numbers(name, table[name], places) for name in (*target, *options.covariates)}
    if date:
        source = _steps_of_dates(table[date], places)
        columns = {
            name: np.where(source < 0, np.nan, each[source]) for name, each in columns.items()
        }
        places = [places[n] for n in np.maximum.accumulate(source)]
    count = len(places)
    known = [_filled(name, columns[name], places) for name in options.covariates]
    if options.calendar:
        angle = 2 * math.pi * np.arange(count) / options.season
        known += [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)]
    covariates = np.stack(known, 1) if known else np.zeros((count, 0))
    test = round(options.test * count)
    stem = path.stem if len(target) == 1 else ""
    return [
        Series(stem or f"{path.stem} {name}", columns[name], covariates, places, options.season,
               options.horizon, test)
        for name in target
    ]  # fmt: skip


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _numbers(name: str, texts: Sequence[str], places: Sequence[str]) -> np.ndarray:
    """Converts a column to numbers; NaN for gaps."""
    for text, place in zip(texts, places, strict=True):
        if not _is_number(text) and text.lower() not in GAPS:
            raise ValueError(
                f"{place}: expected a finite number in the column {name}, or nothing for a gap, "
                f"got {text!r}."
            )
    return np.array([math.nan if text.lower() in GAPS else float(text) for text in texts])


def _steps_of_dates(dates: Sequence[str], places: Sequence[str]) -> np.ndarray:
    """The row of each step, and -1 for missing dates; all rows if no date is of ISO 8601.

    Dates of the same day of each month count months.
    """
    iso = [re.fullmatch(r"\d{4}-\d\d(-\d\d([T ][\d:.]+Z?)?)?", date) for date in dates]
    if not any(iso):
        return np.arange(len(dates))
    times = []
    for date, place, match in zip(dates, places, iso, strict=True):
        try:
            times.append(np.datetime64(date.removesuffix("Z") if match else "none"))
        except ValueError as error:
            raise ValueError(f"{place}: expected a date, got {date!r}.") from error
    within = np.array(times) - np.array(times, "datetime64[M]")
    ticks = np.array(times, "datetime64[M]" if np.ptp(within) == 0 else None).astype(np.int64)
    apart = np.diff(ticks)
    for n in np.flatnonzero(apart <= 0):
        raise ValueError(f"{places[n + 1]}: expected a date after {dates[n]}, got {dates[n + 1]}.")
    step = np.gcd.reduce(apart) if len(apart) else 1
    count = (ticks[-1] - ticks[0]) // step + 1
    if count > 4 * len(dates):
        raise ValueError(
            f"{places[0]}: expected dates at equal distances with few gaps, got {len(dates)} dates "
            f"for {count} steps."
        )
    source = np.full(count, -1)
    source[(ticks - ticks[0]) // step] = np.arange(len(dates))
    return source


def _filled(name: str, values: np.ndarray, places: Sequence[str]) -> np.ndarray:
    """Fills gaps with the last value before them."""
    if np.isnan(values[0]):
        raise ValueError(f"{places[0]}: expected a first value of {name}, got a gap.")
    return values[np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))]


# --- What models see ------------------------------------------------------------------------------


class Problem(NamedTuple):
    """A series as models see it; nothing here but the test values depends on the test part.

    Attributes:
      series: the series.
      levels: its values, or their logarithms, with gaps filled by the last value, `[T]`.
      scaled: levels, or their differences, with the mean 0 and the variance 1 before validation.
      known: whether a step has no gap, `[T]`.
      inputs: what is read to predict each step but the first: the scaled value of the step before,
        and the covariates of the step itself, `[T - 1, 1 + K]`.
      lag: the difference is x_t - x_{t-lag}; 0 for none.
      mean: of the levels or differences.
      std: their standard deviation.
      valid: the first step of the validation part.
      test: the first step of the test part.
      is_log: whether levels are logarithms.
    """

    series: Series
    levels: np.ndarray
    scaled: np.ndarray
    known: np.ndarray
    inputs: np.ndarray
    lag: int
    mean: float
    std: float
    valid: int
    test: int
    is_log: bool

    def origins(self, most: int) -> np.ndarray:
        """The first steps of forecasts over the test part, at equal distances."""
        last = len(self.levels) - self.series.horizon
        return np.arange(self.test, last + 1, max(1, -(-(last + 1 - self.test) // most)))

    def restore(self, scaled: np.ndarray, origins: np.ndarray) -> np.ndarray:
        """From scaled paths `[O, N, S]` that begin at the origins to levels."""
        found = np.float64(scaled) * self.std + self.mean
        for h in range(found.shape[2] if self.lag else 0):
            before = self.levels[origins + h - self.lag, None]
            found[:, :, h] += before if h < self.lag else found[:, :, h - self.lag]
        return found


def prepare(series: Series, window: int, lag: int, is_log: bool) -> Problem:
    """Splits a series into training, validation and test part, and scales it by the first."""
    count, place, known = len(series.values), series.places, ~np.isnan(series.values)
    test = count - series.test
    valid = test - round(VALIDATION * test)
    name = f"{place[0].rsplit(':', 1)[0]}: {series.name}"
    if valid - lag < window + 2 or series.test < series.horizon:
        raise ValueError(
            f"{name}: expected at least {window + 2 + lag} steps of training for --window {window} "
            f"and a test part of at least {series.horizon} for --horizon, got {valid} and "
            f"{series.test} of {count}. Choose smaller ones."
        )
    if series.season >= valid:
        raise ValueError(f"{name}: expected a --season below the {valid} steps of training, got "
                         f"{series.season}.")  # fmt: skip
    levels = _filled(series.name, series.values, place)
    if is_log:
        for n in np.flatnonzero(levels <= 0):
            raise ValueError(f"{place[n]}: expected values above 0 for --log, got {levels[n]}.")
        levels = np.log(levels)
    changes = levels.copy()
    if lag:
        changes[lag:] -= levels[:-lag]
        known[lag:] &= known[:-lag]
        known[:lag] = False
    used = changes[:valid][known[:valid]]
    if not len(used) or np.ptp(used) <= 1e-12 * abs(used).max():
        raise ValueError(
            f"{name}: expected a series that varies in its training part, got a constant from "
            f"{place[lag]} to {place[valid - 1]}."
        )
    if not known[test:].any():
        raise ValueError(f"{name}: expected values in the test part, got gaps from {place[test]}.")
    errors = series.values[series.season : test] - series.values[: test - series.season]
    if not np.nansum(abs(errors)) > 0:
        raise ValueError(
            f"{name}: expected values that differ from those {series.season} steps before (the "
            f"differences scale MASE), got none before {place[test]}. Choose another --season."
        )
    mean, std = used.mean(), used.std()
    scaled = (changes - mean) / std
    scaled[:lag] = 0
    covariates = series.covariates
    if covariates.size:
        spread = covariates[:valid].std(0)
        covariates = (covariates - covariates[:valid].mean(0)) / np.where(spread > 0, spread, 1)
    inputs = np.float32(np.concatenate([scaled[:-1, None], covariates[1:]], 1))
    return Problem(series, levels, scaled, known, inputs, lag, mean, std, valid, test, is_log)
