"""Wrong inputs of `recur.runs`: each is an error that says what was expected."""

import contextlib
import dataclasses
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import optax

from recur import runs
from recur.runs import Run, Size, markdown_table, new_folder, parse_options, read_json, start_run
from recur.train import init_state, make_step
from recur_tests.wrong_input import Row, check_five_rows, each_row


@dataclasses.dataclass(frozen=True)
class Options:
    """Of a run."""

    run: pathlib.Path | None = None
    features: Size = 3


def in_folder(use, files=None):
    """Calls `use` with a folder that has these files."""

    def call():
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (files or {}).items():
                (pathlib.Path(folder) / name).write_text(text)
            return use(pathlib.Path(folder))

    return call


def started(folder, *options, **settings):
    with start_run(folder, *options, **settings) as run:
        return run


def restarted(first, second, **settings):
    """Starts a run twice, with other options."""

    def use(folder):
        started(folder / "run", first)
        started(folder / "run", second, **settings)

    return in_folder(use)


def fitted(**arguments):
    def use(folder):
        optimizer = optax.sgd(0.1)
        step = make_step(lambda w, carry, x, key: (w * x, (carry, {})), optimizer)
        state = init_state(jnp.ones(()), optimizer, jax.random.key(0))
        with start_run(folder / "run") as run:
            run.fit(step, state, [1.0], **({"progress": None, "steps": 1} | arguments))

    return in_folder(use)


OTHER = {"thesis.tex": "precious"}
BEGUN = {"options.json": "{}"}
TABLES = [
    Row("markdown_table", lambda value=value: markdown_table(value), error, sentence)
    for value, error, sentence in (
        ([], ValueError, "markdown_table: expected at least one row, got none."),
        ((), ValueError, "expected at least one row"),
        (3, TypeError, "markdown_table: expected dicts, one for each row, got int."),
        (None, TypeError, "markdown_table: expected dicts, one for each row, got NoneType."),
        ([3], TypeError, "markdown_table: expected dicts, one for each row, got a list of int."),
        ({"a": 1}, TypeError, "markdown_table: expected dicts, one for each row, got dict."),
    )
]
STARTS = [
    Row("start_run", in_folder(started, OTHER), ValueError, "got one with other files. Name"),
    Row("start_run", in_folder(started, BEGUN), ValueError, "got one with other files. Name"),
    Row(
        "start_run",
        restarted({"rate": 1}, {"rate": 2}),
        ValueError,
        "expected the rate of the run that is there, 1, got 2. Leave the option out",
    ),
    Row(
        "start_run",
        restarted({"rate": 1}, {}),
        ValueError,
        "expected the rate of the run that is there, 1, got None.",
    ),
    Row(
        "start_run",
        restarted({}, {}, resume=False),
        ValueError,
        "expected a new folder, got one with other files. Name another.",
    ),
    Row(
        "start_run",
        in_folder(lambda folder: started(folder / "run", 3)),
        TypeError,
        "start_run: options: expected a dataclass or a dict, got int.",
    ),
    Row(
        "start_run",
        in_folder(lambda folder: started(folder / "run", Options)),
        TypeError,
        "start_run: options: expected a dataclass or a dict, got type.",
    ),
]
RUNS = [
    Row("Run", fitted(steps=None), ValueError, "fit: expected either steps or epochs, got None"),
    Row("Run", fitted(steps=-1), ValueError, "fit: steps: expected a whole number of at least 0"),
    Row("Run", fitted(checkpoint_every=0), ValueError, "every: expected a whole number of at"),
    Row("Run", fitted(callbacks=[3]), TypeError, "fit: a callback: expected a function, got int."),
    Row("Run", lambda: Run("none").options(Options), ValueError, "none: expected the folder of"),
    Row("Run", lambda: Run("none").last("loss"), ValueError, "metrics.jsonl: expected loss, got"),
    Row("Run", lambda: Run("none").best_params(3.0), ValueError, "expected a checkpoint, got none"),
    Row("Run", lambda: Run("none").restore(3), ValueError, "a run that was started, by start_run."),
]
FILES = [
    Row(
        "read_json",
        in_folder(lambda folder: read_json(folder / "a"), {"a": text}),
        ValueError,
        sentence,
    )
    for text, sentence in {
        "": "a: expected JSON, got a damaged file",
        "{": "a: expected JSON, got a damaged file",
        "[" * 100_000: "a: expected JSON, got a damaged file",
        "[3]": "a: expected JSON of a dict, got list.",
        "null": "a: expected JSON of a dict, got NoneType.",
    }.items()
]
COMMANDS = [
    Row(
        "parse_options",
        lambda arguments=arguments: parse_options(Options, arguments, "test.py"),
        ValueError,
        sentence,
    )
    for arguments, sentence in (
        (["--features", "0"], "--features: expected from 1 to 1,000,000, got 0."),
        (["--features", "-3"], "--features: expected from 1 to 1,000,000, got -3."),
    )
] + [
    Row(
        "parse_options",
        in_folder(
            lambda folder: parse_options(Options, ["--run", str(folder)], "test.py", resume=True),
            {"options.json": text},
        ),
        ValueError,
        sentence,
    )
    for text, sentence in {
        "[3]": "options.json: expected JSON of a dict, got list.",
        '{"features": "3"}': "expected the options of a run of this script, got features = '3'.",
        '{"features": 0}': "options.json: --features: expected from 1 to 1,000,000, got 0.",
        '{"units": 3}': "expected the options of a run of this script, got units = 3.",
    }.items()
]
FOLDERS = [
    Row(
        "new_folder",
        in_folder(lambda folder: new_folder(folder, "x"), {name: "a"}),
        ValueError,
        "expected a new folder, got one with other files. Name another.",
    )
    for name in ("a.txt", "options.json", "b", "results.json", "curve.png")
]
ROWS = [*TABLES, *STARTS, *RUNS, *FILES, *COMMANDS, *FOLDERS]


@each_row(ROWS)
def test_wrong_input(row):
    with contextlib.chdir(tempfile.gettempdir()):
        row.check()


def test_every_public_function_has_five_rows():
    writers = (runs.write_text, runs.write_json, runs.write_figure)  # test_run_files
    ranges = (runs.between, runs.check_options)  # test_options
    check_five_rows(runs, ROWS, [*writers, *ranges, runs.command_line, runs.run_command])
