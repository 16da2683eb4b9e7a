"""The forecasters: runs, resuming, what they compute, and bad files."""

import importlib
import itertools
import json
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

SCRIPT = "forecast"
FAST = ["--models", "naive", "seasonal naive", "AR", "minGRU", "--quick"]


@pytest.fixture
def forecast():
    return importlib.import_module("forecast")


@pytest.fixture
def data():
    return importlib.import_module("forecast_data")


@pytest.fixture
def models():
    return importlib.import_module("forecast_models")


def write_days(path, count=120, gap=(), missing=()):
    """A daily series with a week, a covariate and gaps: empty cells, and missing dates."""
    draws, lines = np.random.default_rng(0), ["Date,Sales,Price"]
    for day in range(count):
        value = f"{10 + 3 * np.sin(2 * np.pi * day / 7) + draws.normal():.3f}"
        date = np.datetime64("2024-02-01") + day
        if day not in missing:
            lines.append(f"{date},{'' if day in gap else value},{draws.normal():.2f}")
    path.write_text("\n".join(lines))
    return path


def options_of(forecast, **values):
    return forecast.Options(**{"season": 7, "horizon": 5, "window": 16, **values})


# --- Runs -----------------------------------------------------------------------------------------


def test_the_noisy_sine_by_default(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = command("--quick")
    folder = tmp_path / "runs" / "forecast-1"
    assert "Results and pictures are in runs/forecast-1." in printed
    assert (folder / "noisy-sine.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "noisy-sine-feed-forward-AR" / "curve.png").exists()
    rows = {row["model"]: row for row in json.loads((folder / "results.json").read_text())}
    assert rows.keys() == {"naive", "seasonal naive", "AR", "feed-forward AR", "GRU"}
    assert rows["AR"]["RMSE 1"] < rows["naive"]["RMSE 1"] and rows["AR"]["note"] == "order 4"
    assert 0.15 < rows["AR"]["RMSE 1"] < 0.3 < rows["AR"]["RMSE n"]
    assert all(0 <= row["80 % n"] <= row["95 % n"] <= 1 for row in rows.values())


def test_stopped_and_resumed_it_gives_the_same_numbers(
    forecast, command, complaint, tmp_path, monkeypatch
):
    path = write_days(tmp_path / "days.csv", gap=[3, 50, 118], missing=[20, 21])
    options = ["--data", path, "--target", "Sales", "--covariates", "Price", "--calendar", *FAST]
    options += ["--season", 7, "--horizon", 5, "--difference", 7]
    calls = itertools.count()

    def stop_at_the_second_report(metrics):
        if next(calls) == 1:
            signal.raise_signal(signal.SIGINT)
        return ""

    with monkeypatch.context() as patch:
        patch.setattr(forecast, "show_progress", stop_at_the_second_report)
        patch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)
        assert "stopped. The same --run resumes" in complaint(*options, "--run", tmp_path / "a")
    assert "resumes after update" in command("--run", tmp_path / "a")
    command(*options, "--run", tmp_path / "b")
    for name in ("results.json", "days-minGRU/metrics.jsonl"):
        assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()
    write_days(path, count=119)
    assert "expected the series that the run was started with" in complaint("--run", tmp_path / "a")


# --- Files ----------------------------------------------------------------------------------------


def test_dates_gaps_and_covariates(forecast, data, tmp_path):
    path = write_days(tmp_path / "days.csv", gap=[3, 50], missing=[20, 21])
    options = options_of(forecast, target=("Sales",), covariates=("Price",), calendar=True)
    [series] = data.read_series(path, options)
    assert series.name == "days" and series.values.shape == (120,) and series.test == 24
    assert np.flatnonzero(np.isnan(series.values)).tolist() == [3, 20, 21, 50]
    assert series.places[19] == series.places[21] == f"{path}:21"
    assert series.places[22] == f"{path}:22"
    assert series.covariates.shape == (120, 5)
    assert (series.covariates[20:22, 0] == series.covariates[19, 0]).all()
    np.testing.assert_allclose(series.covariates[7:, 1:], series.covariates[:-7, 1:], atol=1e-9)
    several = data.read_series(path, options_of(forecast))
    assert [each.name for each in several] == ["days Sales", "days Price"]
    problem = data.prepare(series, 16, 0, False)
    assert (problem.levels[20:22] == series.values[19]).all() and not problem.known[[3, 20]].any()


@pytest.mark.parametrize(("unit", "ending"), [("M", ""), ("M", "-01"), ("D", "T00:00:00.000Z")])
def test_dates_count_months_or_have_times(forecast, data, tmp_path, unit, ending):
    path = tmp_path / "a.csv"
    dates = np.datetime64("2024-01", unit) + np.arange(60)
    path.write_text("Day,x\n" + "".join(f"{dates[n]}{ending},{n}\n" for n in range(60) if n != 7))
    [series] = data.read_series(path, options_of(forecast))
    assert series.values.shape == (60,) and np.flatnonzero(np.isnan(series.values)).tolist() == [7]


GOOD = "Month,Sales\n" + "".join(f"{n}-01,{n % 5 + n / 9}\n" for n in range(60))
CONSTANT = "Month,Sales\n" + "".join(f"{n}-01,{5 + (n > 48)}\n" for n in range(60))
DAYS = "Day,x\n2024-01-01,1\n2024-01-02,2\n"
GAPS = "Month,Sales\n" + "".join(f"{n}-01,{n % 5 if n < 48 else ''}\n" for n in range(60))
WRONG = [
    ("", [], "a.csv: expected a header and rows, got 0 rows."),
    ("x\n", [], "a.csv: expected a header and rows, got 1 rows."),
    ("Month,Sales\n1-01,3\n1-02\n", [], "a.csv:3: expected 2 columns, as the header has, got 1."),
    ("Month,Sales\n1-01,3\n\n1-02,3,4\n", [], "a.csv:4: expected 2 columns, as the header has"),
    ("Month,Sales\n1-01,three\n", [], "a.csv:2: expected a finite number in the column Sales, or"),
    ("Month,Sales\n1-01,inf\n", [], "a.csv:2: expected a finite number in the column Sales, or"),
    ("x,x\n1,2\n", [], "a.csv:1: expected different columns, got x, x."),
    ("Month\nJan\n", [], "a.csv:1: expected a column of numbers, got Month."),
    (GOOD, ["--target", "Temp"], "a.csv:1: expected the column Temp, got Month, Sales."),
    (GOOD, ["--covariates", "Wind"], "a.csv:1: expected the column Wind, got Month, Sales."),
    (GOOD, ["--date", "Day"], "a.csv:1: expected the column Day, got Month, Sales."),
    (DAYS + "2024-01-02,3\n", [], "a.csv:4: expected a date after 2024-01-02, got 2024-01-02."),
    (DAYS + "2024-02-31,3\n", [], "a.csv:4: expected a date, got '2024-02-31'."),
    (DAYS + "2024-1-3,3\n", [], "a.csv:4: expected a date, got '2024-1-3'."),
    (DAYS + ",3\n", [], "a.csv:4: expected a date, got ''."),
    (DAYS + "2031-02-01,3\n", [], "a.csv:2: expected dates at equal distances with few gaps, got"),
    (GOOD.replace("0-01,0.0", "0-01,"), [], "a.csv:2: expected a first value of a, got a gap."),
    (GOOD, ["--window", 64], "a.csv: a: expected at least 66 steps of training for --window 64"),
    (GOOD, ["--horizon", 20], "a test part of at least 20 for --horizon, got 41 and 12 of 60."),
    (GOOD, ["--season", 50], "a.csv: a: expected a --season below the 41 steps of training, got"),
    (GAPS, [], "a.csv: a: expected values in the test part, got gaps from"),
    (
        GAPS + "60-01,3\n",
        ["--season", 5],
        "a.csv: a: expected values that differ from those 5 steps",
    ),
    (CONSTANT, [], "varies in its training part, got a constant from"),
    (GOOD.replace("0-01,0.0", "0-01,-1"), ["--log"], "a.csv:2: expected values above 0 for --log"),
]


@pytest.mark.parametrize(("content", "arguments", "message"), WRONG)
def test_wrong_files(complaint, tmp_path, content, arguments, message):
    path = tmp_path / "a.csv"
    path.write_text(content)
    given = ["--data", path, "--window", 8, "--horizon", 4, "--run", tmp_path / "run"]
    assert message in complaint(*given, *arguments)
    assert not (tmp_path / "run").exists()


# --- Its own functions ----------------------------------------------------------------------------


def test_the_series_that_it_makes(data):
    sine = data.noisy_sine(0)
    assert len(sine.values) == 1600 and (sine.test, sine.horizon, sine.season) == (600, 600, 628)
    noise = sine.values - np.sin(0.01 * np.arange(1, 1601))
    assert abs(noise.mean()) < 0.02 and noise.std() == pytest.approx(0.2, abs=0.01)
    values = data.mackey_glass(0).values
    assert 0.2 < values.min() < 0.5 and 1.2 < values.max() < 1.4 and len(values) == 3000
    # The integral of the equation over ten units of time, by the trapezoidal rule of known values.
    slope = 0.2 * values[:-17] / (1 + values[:-17] ** 10) - 0.1 * values[17:]
    area = (slope[:-1] + slope[1:]) / 2
    sums = np.convolve(area, np.ones(10), "valid")
    np.testing.assert_allclose(sums, (values[27:] - values[17:-10]), atol=3e-3)


@pytest.mark.parametrize(("lag", "is_log"), [(0, False), (1, True), (7, False)])
def test_scaling_is_inverted_and_uses_the_training_part_only(forecast, data, tmp_path, lag, is_log):
    options = options_of(forecast, target=("Sales",))
    [series] = data.read_series(write_days(tmp_path / "a.csv", gap=[9]), options)
    problem = data.prepare(series, 16, lag, is_log)
    origins = problem.origins(6)
    assert origins[0] == problem.test == 96 and origins[-1] <= 115 and len(origins) <= 6
    paths = np.stack([problem.scaled[o : o + 5] for o in origins])[:, None]
    expected = np.stack([problem.levels[o : o + 5] for o in origins])[:, None]
    np.testing.assert_allclose(problem.restore(paths, origins), expected)
    other = series._replace(
        values=np.append(series.values[: problem.valid], np.arange(1.0, 40))[:120]
    )
    changed = data.prepare(other, 16, lag, is_log)
    assert (changed.mean, changed.std) == (problem.mean, problem.std)


@pytest.mark.parametrize("name", ["feed-forward AR", "TCN", "GRU"])
def test_networks_read_their_own_values_and_never_later_ones(
    forecast, data, models, tmp_path, name
):
    """With hardly any noise, a path is a loop that reads everything before each step."""
    options = options_of(forecast, target=("Sales",), calendar=True, features=3)
    [series] = data.read_series(write_days(tmp_path / "a.csv", 60), options)
    problem = data.prepare(series, 16, 1, False)
    model = models.build_network(options, name)
    params = model.init(jax.random.key(0), problem.inputs)
    *body, head = params
    head = jax.tree.map(lambda leaf: leaf.at[..., 1].set(0 if leaf.ndim > 1 else -30), head)
    params = (*body, head)
    origins = problem.origins(3)
    found = models.forecast(problem, model, params, origins, 2, jax.random.key(1))
    run = jax.jit(lambda xs: model(params, xs)[0][:, 0])
    for origin, paths in zip(origins, found.paths, strict=True):
        inputs = problem.inputs[problem.lag :].copy()
        now = origin - 1 - problem.lag
        level = problem.levels[origin - 1]
        for h in range(problem.series.horizon):
            value = float(run(inputs)[now + h])
            inputs[now + h + 1, 0] = value
            inputs[now + h + 2 :, 0] = np.nan  # unread
            level += value * problem.std + problem.mean
            np.testing.assert_allclose(paths[:, h], level, atol=5e-3)
    means = problem.restore(
        np.asarray(run(problem.inputs[1:]))[problem.test - 2 :, None, None],
        np.arange(problem.test, 60),
    )
    np.testing.assert_allclose(found.means, means[:, 0, 0], atol=1e-5)


def test_baselines_against_loops(forecast, data, models, tmp_path):
    options = options_of(forecast, target=("Sales",))
    [series] = data.read_series(write_days(tmp_path / "a.csv", gap=[9, 101]), options)
    problem = data.prepare(series, 16, 0, False)
    origins = problem.origins(4)
    found = models.naive(problem, origins, 101, 7)
    pairs = [(t, t - 7) for t in range(7, 96) if {t, t - 7}.isdisjoint({9})]
    std = np.sqrt(np.mean([(series.values[t] - series.values[s]) ** 2 for t, s in pairs]))
    for n, origin in enumerate(origins):
        for h in range(5):
            assert np.median(found.paths[n, :, h]) == pytest.approx(problem.levels[origin + h - 7])
            assert found.paths[n, :, h].std() == pytest.approx(std, rel=0.05)
    np.testing.assert_allclose(found.means, problem.levels[96 - 7 : -7])
    wide = models.naive(problem, origins, 101, 2).paths.std(1)
    np.testing.assert_allclose(wide[:, 4] / wide[:, 0], np.sqrt(3), rtol=1e-6)

    scores = models.score(problem, found, origins)
    known = [t for t in range(96, 120) if t != 101]
    errors = np.array([series.values[t] - problem.levels[t - 7] for t in known])
    scale = np.mean([abs(series.values[t] - series.values[s]) for t, s in pairs])
    assert scores["RMSE 1"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-5)
    assert scores["MASE 1"] == pytest.approx(abs(errors).mean() / scale, rel=1e-5)
    assert scores["80 % 1"] == pytest.approx(np.mean(abs(errors) <= 1.2816 * std))
    every = [(n, h) for n in range(4) for h in range(5) if origins[n] + h != 101]
    own = [found.paths[n, :, h] for n, h in every]
    targets = [series.values[origins[n] + h] for n, h in every]
    expected = [abs(np.median(p) - y) for p, y in zip(own, targets, strict=True)]
    assert scores["MAE n"] == pytest.approx(np.mean(expected), rel=1e-5)
    inside = [np.quantile(p, 0.025) <= y <= np.quantile(p, 0.975)
              for p, y in zip(own, targets, strict=True)]  # fmt: skip
    assert scores["95 % n"] == pytest.approx(np.mean(inside))


def test_ar_is_fitted_before_the_test_part(forecast, data, models, tmp_path):
    options = options_of(forecast, target=("Sales",))
    [series] = data.read_series(write_days(tmp_path / "a.csv"), options)
    later = series._replace(values=np.append(series.values[:100], np.arange(20.0)))
    found = []
    for each in (series, later):
        problem = data.prepare(each, 16, 0, False)
        found.append(models.ar(problem, np.array([96]), 50, 8, jax.random.key(0)))
    one, other = found
    assert one.note == other.note and one.note.startswith("order ")
    np.testing.assert_allclose(one.paths, other.paths)
    np.testing.assert_allclose(one.means[:5], other.means[:5])
    assert abs(one.means[5:] - other.means[5:]).max() > 1


def test_the_loss_leaves_out_gaps_and_the_first_quarter(forecast, data, models):
    options = options_of(forecast, window=8)
    model = models.build_network(options, "minGRU")
    windows = {"inputs": np.ones((2, 8, 1), np.float32), "targets": np.ones((2, 8, 1), np.float32),
               "known": np.ones((2, 8), bool)}  # fmt: skip
    params = model.init(jax.random.key(0), windows["inputs"][0])
    loss = jax.jit(models.make_loss(model, 8))
    sequences = importlib.import_module("recur.sequences")

    def of(windows):
        rows = [jax.tree.map(lambda leaf, n=n: leaf[n], windows) for n in range(2)]
        [batch] = sequences.make_batches(rows, sequences.pad())
        return float(loss(params, (), batch, None)[0])

    windows["known"][0, 5] = False
    expected = of(windows)
    changed = {**windows, "targets": windows["targets"].copy()}
    changed["targets"][:, :2] = 99
    changed["targets"][0, 5] = np.nan
    assert of(changed) == expected
    changed["targets"][1, 2] = 99
    assert of(changed) > expected + 1 and jnp.isfinite(of(changed))
