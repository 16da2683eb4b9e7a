r"""Forecasts series: naive, AR, feed-forward AR, TCN, GRU, LSTM and minGRU, one and many steps.

    python scripts/forecast.py                     a noisy sine, and Mackey-Glass
    python scripts/forecast.py --data FILE.csv --season 12 --horizon 24      each column of a file
    python scripts/forecast.py --data FILE.csv --target Temp --covariates Wind --calendar

Install: pip install -e ".[train,data]". Cost: the default takes 200 seconds of CPU time on two
cores of an AMD EPYC, each command below 57 to 115. Results, seed 0, RMSE one step ahead
and over all n steps ahead, on the last fifth (of the sine, 600 points after 1,000):

                       sine       Mackey-Glass    sunspots     temperatures  shampoo   airline
    n                  600        84              24           30            3         12
    naive              .286  .97  .033    .333    20.1  43.9   2.48  3.62    161  147 52.5 102.3
    seasonal naive     .281  .28  .182    .157    45.4  45.0   3.74  3.77    269  266 46.1  50.1
    AR, BIC            .214  .76  .001    .134    18.3  34.1   2.23  3.08    110  119 17.7  17.0
    feed-forward AR    .224  .63  .012    .385    19.1  42.5   2.15  2.62    144  135 21.9  21.2
    TCN                .216  .53  .002    .011    18.2  33.3   2.20  2.64    123  130 19.6  23.6
    GRU                .214 1.11  .002    .068    19.6  32.8   2.13  2.61    140  132 17.6  20.0
    LSTM               .214 1.26  .003    .048    20.5  31.4   2.17  2.64    117  104 19.4  22.4
    minGRU             .217  .90  .018    .244    19.3  42.4   2.18  2.67    146  137 18.8  20.1

All predict the sine well one step ahead, and none on its own predictions: the medians decay to a
constant, those of the latent models too, which see 96 steps of a period of 628. Only the seasonal
naive forecast, which is given the period, is good there.

AR wins many steps ahead on airline passengers, and one step ahead on Mackey-Glass and shampoo
sales; one step ahead it is within 1 % of the best on sunspots, the sine and airline passengers.
Many steps ahead the LSTM is the best on sunspots and shampoo sales, and the TCN on Mackey-Glass.
Networks read the calendar of the temperatures, AR does not. The test part of shampoo sales has 7
values. Intervals of 80 % hold 62 to 85 % of the values of sunspots and temperatures many steps
ahead, those of networks and AR. The commands:

    temperatures  --season 365 --horizon 30 --calendar
    sunspots      --season 132 --horizon 24 --window 144
    shampoo       --season 12 --horizon 3 --window 8 --difference 1 --log --features 4 \
                  --dropout 0.2 --updates 150
    airline       --season 12 --horizon 12 --window 24 --difference 12 --log --features 8 \
                  --dropout 0.2 --updates 300
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import itertools
import pathlib
import re
from typing import Annotated, Any, Literal

import forecast_data as data
import forecast_models as models
import jax
import numpy as np
import optax

from recur import diagnose, runs, train
from recur.sequences import batches, pad, sliding

CHECKS = 25  # validations in a training


@dataclasses.dataclass(frozen=True)
class Options:
    """Train forecasters, and compare them on the last part of each series.

    All are fitted and scaled before the test part; their forecasts begin at many steps of it
    (rolling origin) and read all steps before. Gaps are read as the last value before them, and are
    neither trained on nor evaluated.
    """

    data: tuple[pathlib.Path, ...] = ()
    """CSV files with a header. The first column may be a date; a missing date of ISO 8601 is a gap,
    as are empty cells. By default the script makes its series."""
    date: str | None = None
    """The column of dates; by default the first, unless it holds numbers."""
    target: tuple[str, ...] = ()
    """The columns to forecast, each by its own model; by default all that are not named."""
    covariates: tuple[str, ...] = ()
    """Columns that are known in advance, which networks read."""
    calendar: bool = False
    """Whether networks read the phase of the season, as two harmonics."""
    season: runs.Size = 1
    """Steps after which the series of files repeat, such as 12 months."""
    horizon: runs.Size = 24
    """How many steps ahead to forecast the series of files."""
    test: Annotated[float, runs.between(0.01, 0.9)] = 0.2
    """The share of the last steps of files that is the test part."""
    difference: Annotated[int, runs.between(0, 10**6)] = 0
    """Predict the change since this number of steps before; 0 for the values themselves."""
    log: bool = False
    """Whether to predict logarithms, of positive series that grow by a percentage."""
    run: pathlib.Path | None = None
    """The folder of the run. A new folder starts a run; an existing one resumes its run with the
    same options. Default: runs/forecast-1, -2 ..."""
    quick: bool = False
    """Train some tiny models for a few updates on short series, to see that everything works."""

    models: tuple[
        Literal["naive", "seasonal naive", "AR", "feed-forward AR", "TCN", "GRU", "LSTM", "minGRU"],
        ...,
    ] = (*models.BASELINES, *models.NETWORKS)
    """The models to compare."""
    largest_order: runs.Size = 30
    """The largest order of AR; BIC selects it."""
    features: runs.Size = 32
    """Units of each layer of the TCN and of recurrent networks."""
    layers: Annotated[int, runs.between(1, 100)] = 1
    """The number of recurrent layers."""
    dropout: runs.Rate = 0.0
    """Dropout rate of the TCN and after the recurrent layers."""

    window: Annotated[int, runs.between(4, 10**6)] = 96
    """Steps of the training part that an update reads; the loss is that of the last three
    quarters. The TCN reads at least as many."""
    updates: runs.Count = 500
    """Total number of updates at most."""
    patience: runs.Count = 8
    """Validations without a lower loss after which training ends; there are 25 in all updates."""
    batch_size: runs.Size = 32
    """Windows per update."""
    learning_rate: runs.Positive = 5e-3
    """Maximum learning rate of Adam, with a cosine decay to 0."""
    paths: runs.Size = 201
    """Sampled paths from each origin."""
    origins: runs.Size = 40
    """The number of origins at most."""
    seed: runs.Seed = 0
    """Seed of weights, order, paths and generated series."""


def fit_network(options: Options, run: runs.Run, problem: data.Problem, name: str):
    """Trains a network in the folder of the run; returns it and its best params."""
    model = models.build_network(options, name)
    windows = sliding(models.make_windows(problem, options.window), options.window)
    stream = batches(windows, pad(), options.batch_size, seed=options.seed)
    params_key, run_key = jax.random.split(jax.random.key(options.seed))
    params = model.init(params_key, problem.inputs)
    schedule = optax.cosine_decay_schedule(options.learning_rate, options.updates)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    state = run.restore(train.init_state(params, optimizer, run_key), stream)
    print(f"{run.status(state)}; {optax.tree.size(params):,} weights")
    validate = models.make_validate(problem, model)
    with stream:
        run.fit(
            jax.jit(train.make_step(models.make_loss(model, options.window), optimizer)),
            state,
            stream,
            steps=options.updates,
            callbacks=[lambda report: {"valid_nats": validate(report.state.params)}],
            stop=train.early_stopping("valid_nats", options.patience),
            report_every=max(1, options.updates // CHECKS),
            progress=runs.Progress("window", options.batch_size, show_progress),
            curves=runs.Curves("nats", {"training": "nats", "validation": "valid_nats"}),
        )
    return model, run.best_params(params)


def show_progress(metrics: Any) -> str:
    """What the progress bar shows."""
    return f"nats {metrics['nats']:.3f}"


def compare(options: Options, run: runs.Run, series: data.Series) -> list[dict[str, Any]]:
    """Fits all models to a series, draws their forecasts, and returns their scores."""
    problem = data.prepare(series, options.window, options.difference, options.log)
    origins, slug = problem.origins(options.origins), re.sub(r"\W+", "-", series.name)
    rows, fans, ahead = [], {}, {}
    for number, name in enumerate(options.models):
        key = jax.random.fold_in(jax.random.key(options.seed), number)
        if name == "AR":
            found = models.ar(problem, origins, options.paths, options.largest_order, key)
        elif name in models.BASELINES:
            season = 1 if name == "naive" else series.season
            found = models.naive(problem, origins, options.paths, season)
        else:
            with run.part(f"{slug}-{name}".replace(" ", "-"), best="valid_nats") as part:
                fitted = fit_network(options, part, problem, name)
            found = models.forecast(problem, *fitted, origins, options.paths, key)
        scores = models.score(problem, found, origins)
        row = {"series": series.name, "model": name, "n": series.horizon}
        rows.append({**row, **scores, "note": found.note})
        back = np.exp if problem.is_log else np.asarray
        title = f"{name}, latent" if name in models.CELLS else name
        fans[title] = back(found.paths[0])
        ahead[title] = back(found.means[: series.horizon])
    begin = origins[0]
    figure = diagnose.forecast_fan(
        series.values[max(0, begin - 2 * series.horizon) : begin],
        fans,
        future=series.values[begin : begin + series.horizon],
        lines=ahead,
        title=f"{series.horizon} steps from {pathlib.PurePath(series.places[begin]).name}",
        y=series.name,
    )
    runs.write_figure(run.folder / f"{slug}.png", figure)
    return rows


def main(arguments: list[str]) -> None:
    """Runs the command."""
    options = runs.parse_options(Options, arguments, "forecast.py", resume=True)
    if options.quick:
        sizes = {"features": 4, "window": 16, "updates": 10, "paths": 21, "origins": 3}
        few = ("naive", "seasonal naive", "AR", "feed-forward AR", "GRU")
        chosen = few if options.models == Options.models else options.models
        options = dataclasses.replace(options, models=chosen, **sizes)
    if options.data:
        each = (data.read_series(path, options) for path in options.data)
        found = list(itertools.chain.from_iterable(each))
    else:
        makers = (data.noisy_sine, data.mackey_glass)[: 1 if options.quick else 2]
        found = [make(options.seed, options.quick) for make in makers]
    for series in found:
        data.prepare(series, options.window, options.difference, options.log)  # for its checks
    with runs.start_run(options.run, options, name="runs/forecast") as run:
        run.check_data(series=[(each.name, each.values, each.covariates) for each in found])
        rows = [row for series in found for row in compare(options, run, series)]
        table = run.save_results(rows)
        print(f"\n{table}\n\nResults and pictures are in {run}.")


if __name__ == "__main__":
    runs.run_command("forecast", main)
