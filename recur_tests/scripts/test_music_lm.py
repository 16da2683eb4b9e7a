"""The music model from the command line, and its results against their definitions."""

import functools
import importlib
import json
import pathlib
import signal
import typing

import jax
import numpy as np
import pytest

from recur_tests.scripts.test_piano_rolls import save_mat

SCRIPT = "music_lm"
TINY = ["--features", "3", "--epochs", "2", "--length", "5", "--given", "2", "--pieces", "2"]


@pytest.fixture(scope="module")
def music_lm(scripts):
    return importlib.import_module("music_lm")


@pytest.fixture(scope="module")
def music_data(scripts):
    return importlib.import_module("music_data")


@pytest.fixture
def command(command, music_lm, music_data, monkeypatch):
    """The script with few canons."""
    compose = music_data.compose_many
    monkeypatch.setattr(music_data, "compose_many", lambda seed, n: compose(seed, n, (6, 6)))
    monkeypatch.setattr(music_data, "COMPOSED", {"training": 3, "validation": 2, "test": 2})
    monkeypatch.setattr(music_lm, "LENGTHS", 1)
    return command


def pieces(*lengths, seed=0):
    draws = np.random.default_rng(seed)
    return [draws.random((length, 88)) < 0.1 for length in lengths]


# --- Numbers -------------------------------------------------------------------------------------


def nats(roll, chance_of):
    """The loss of each frame except the first, and of the first: key by key, by definition."""
    costs = []
    for t in range(len(roll)):
        before = roll[t - 1] if t else np.zeros(88, bool)
        chances = [chance_of(key, before[key]) for key in range(88)]
        costs.append(
            -sum(np.log(p if down else 1 - p) for p, down in zip(chances, roll[t], strict=True))
        )
    return costs[1:], costs[0]


def test_the_losses_of_the_baselines(music_lm, music_data):
    train, test = pieces(5, 9), pieces(4, 3, seed=1)
    rule = [np.arange(4.0), np.arange(5.0, 8.0)]
    music = {
        "training": [music_data.steps_of(roll) | {"rule": roll.sum(1)} for roll in train],
        "validation": [music_data.steps_of(train[0]) | {"rule": np.ones(5)}],
        "test": [music_data.steps_of(r) | {"rule": n} for r, n in zip(test, rule, strict=True)],
    }
    found = {row.pop("nats per frame"): row for row in music_lm.evaluate_baselines(music)}

    def often(key, before):
        del before
        return (sum(roll[:, key].sum() for roll in train) + 1) / (14 + 2)

    def after(key, before):
        downs = [
            roll[t, key]
            for roll in train
            for t in range(len(roll))
            if (roll[t - 1, key] if t else False) == before
        ]
        return (sum(downs) + 1) / (len(downs) + 2)

    for name, chance in (("marginals", often), ("one-step Markov", after)):
        later, first = zip(*(nats(roll, chance) for roll in test), strict=True)
        later = np.concatenate(later)
        assert found[name]["test"] == pytest.approx(later.mean(), rel=1e-5)
        expected = (later.sum() + sum(first)) / 7
        assert found[name]["first frames too"] == pytest.approx(expected, rel=1e-5)
    assert found["the composer's rule"]["test"] == (1 + 2 + 3 + 6 + 7) / 5
    assert found["the composer's rule"]["first frames too"] == (0 + 1 + 2 + 3 + 5 + 6 + 7) / 7


@pytest.fixture(scope="module")
def model(music_lm):
    """A model with large random weights, and its logits of the next frame in NumPy."""
    model = music_lm.build_model("tanh", 3)
    shape = jax.ShapeDtypeStruct((1, 1, 88), np.float32)
    params = model.init(jax.random.key(0), shape)
    params = music_lm.train.weight_noise(1.0)(jax.random.key(1), params)
    cell, dense = jax.tree.map(lambda w: np.asarray(w, np.float64), params)

    def next_logits(roll):
        h = np.zeros(3)
        for x in [np.zeros(88), *roll]:  # at first there is silence
            h = np.tanh(x @ cell.kernel + h @ cell.recurrent_kernel + cell.bias)
        return h @ dense["kernel"] + dense["bias"]

    return model, params, next_logits


def test_a_model_is_evaluated_on_all_frames_of_all_pieces(music_lm, music_data, model):
    rolls = pieces(2, 6, 3, 6)
    music = dict.fromkeys(music_lm.SPLITS, [music_data.steps_of(roll) for roll in rolls])
    nats_of = functools.partial(music_lm.nats_of_model, model[0])
    found = music_lm.make_evaluate(nats_of, music)(model[1])
    costs = []
    for roll in rolls:
        logits = np.stack([model[2](roll[:t]) for t in range(len(roll))])
        costs.append(np.log1p(np.exp(np.where(roll, -logits, logits))).sum(1))
    later = np.concatenate([each[1:] for each in costs])
    assert found["test"] == found["training"] == pytest.approx(later.mean(), rel=1e-5)
    assert found["first frames too"] == pytest.approx(np.concatenate(costs).mean(), rel=1e-5)


@pytest.mark.parametrize("given", [0, 3])
def test_at_temperature_0_keys_are_down_if_that_is_likelier(music_lm, model, given):
    begin = np.stack(pieces(given, given))
    options = music_lm.WritingOptions(length=4, temperature=0)
    written = music_lm.continue_rolls(*model[:2], begin, options, jax.random.key(0))
    assert written.shape == (2, given + 4, 88) and written[:, given:].any()
    for start, roll in zip(begin, written, strict=True):
        for _ in range(4):
            start = np.concatenate([start, model[2](start)[None] > 0])
        assert np.array_equal(roll, start)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_keys_by_their_probabilities(music_lm, model, temperature):
    options = music_lm.WritingOptions(length=1, temperature=temperature)
    begin = np.zeros((4000, 0, 88), bool)
    drawn = music_lm.continue_rolls(*model[:2], begin, options, jax.random.key(1))
    chances = 1 / (1 + np.exp(-model[2]([]) / temperature))
    assert np.abs(drawn[:, 0].mean(0) - chances).max() < 0.04
    together = np.corrcoef(drawn[:, 0, :30].T.astype(float))[~np.eye(30, dtype=bool)]
    assert np.abs(together).max() < 0.1  # independently


# --- Runs ----------------------------------------------------------------------------------------


def test_canons_by_default_and_more_music_later(command, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = command(*TINY, "--cells", "tanh", "--noise", "0.1", "--batch-size", "2")
    run = pathlib.Path("runs/music_lm-1")
    assert "3 training, 2 validation, 2 test" in printed and f"--run {run} --cell tanh" in printed
    results = rows_of(run)
    assert list(results) == [
        "marginals",
        "one-step Markov",
        "the composer's rule",
        "tanh-3",
    ]
    assert results["the composer's rule"]["test"] < results["one-step Markov"]["test"]
    found = results["tanh-3"]
    assert f"| tanh-3 | {found['training']:.2f} |" in printed
    assert (run / "table.md").read_text() in printed and "| the test | " in printed
    log = records(run / "tanh")
    assert [record["step"] for record in log] == [2, 4]
    best = min(log, key=lambda record: record["validation"])
    assert found["epoch"] == best["step"] // 2
    assert found["validation"] == best["validation"]
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    names = [
        f"{kind}-{n}.mid"
        for kind in ("held-out", "tanh-continues", "tanh-from-nothing")
        for n in (1, 2)
    ]
    assert {*names} == {path.name for path in (run / "midi").iterdir()}

    read = importlib.import_module("piano_rolls").read_midi
    held_out, continued = (
        read(run / "midi" / f"{name}-1.mid", 1)[0] for name in ("held-out", "tanh-continues")
    )
    assert len(continued) == 2 + 5 and np.array_equal(continued[:2], held_out[:2])

    write = ["generate", "--run", run, "--cell", "tanh", "--pieces", "1", "--length", "5"]
    begin = ["--begin", run / "midi/held-out-1.mid", "--given", "3"]
    for options in ([], [], ["--seed", "1"], [*begin, "--temperature", "0"]):
        assert "| tanh |" in command(*write, *options)
    one, again, other, begun = (read(run / f"written-{n}/tanh-1.mid", 1)[0] for n in (1, 2, 3, 4))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert len(begun) == 8 and np.array_equal(begun[:3], held_out[:3])
    late = importlib.import_module("piano_rolls").write_midi
    late(pathlib.Path("late.mid"), np.pad(held_out, [(4, 0), (0, 0)]), 1, 90)
    command(*write, "--begin", "late.mid", "--given", "3", "--temperature", "0")
    assert np.array_equal(read(run / "written-5/tanh-1.mid", 1)[0], begun)
    assert "lstm: expected a checkpoint, got none yet" in complaint(*write, "--cell", "lstm")
    assert "expected a new folder, got one with other files" in complaint(*write, "--to", run)
    begun = (run / "options.json").read_text()
    for old, new, message in (
        ('"features": 3', '"features": "3"', "options.json: expected the options of a run"),
        ('_beat": 1', '_beat": 0', "--frames-per-beat: expected from 1 to 250, got 0"),
    ):
        (run / "options.json").write_text(begun.replace(old, new))
        assert message in complaint(*write)


def rows_of(run):
    rows = json.loads((run / "results.json").read_text())
    return {row["nats per frame"]: row for row in rows}


def records(part):
    return [json.loads(line) for line in (part / "metrics.jsonl").read_text().splitlines()]


def test_resumes_at_the_update_and_the_cell_where_it_was_stopped(
    music_lm, command, complaint, tmp_path, monkeypatch
):
    """Ctrl-C in the second epoch of the first cell; the numbers are those of a run without it."""
    run = [*TINY, "--noise", "0.1", "--batch-size", "2", "--cells"]
    command(*run, "tanh", "gru", "--run", tmp_path / "whole")
    updates, fit = [], music_lm.runs.Run.fit

    def counted_fit(part, step, *arguments, **options):
        def counted(state, batch):
            updates.append(int(state.step))
            if len(updates) == stop:
                signal.raise_signal(signal.SIGINT)
            return step(state, batch)

        return fit(part, counted, *arguments, **options)

    monkeypatch.setattr(music_lm.runs.Run, "fit", counted_fit)
    stop, folder = 3, tmp_path / "run"
    assert "music_lm: stopped. The same --run" in complaint(*run, "tanh", "--run", folder)
    assert len(records(folder / "tanh")) == 1
    record = folder / "tanh/checkpoints/update_3/record/metadata"
    assert "validation" not in record.read_text()  # which would make it the best epoch
    printed = command("--run", folder, "--cells", "tanh", "gru")
    assert updates == [0, 1, 2, 3, 0, 1, 2, 3]
    for cell in ("tanh", "gru"):
        assert records(folder / cell) == records(tmp_path / "whole" / cell)
    whole, resumed = rows_of(tmp_path / "whole"), rows_of(folder)
    seconds = whole["tanh-3"].pop("seconds"), whole["gru-3"].pop("seconds")
    assert "seconds" not in resumed["tanh-3"] and resumed["gru-3"].pop("seconds") != seconds
    assert resumed == whole
    again = command("--run", folder)  # nothing is trained again
    assert len(updates) == 8 and again.split("\n\n")[1:] == printed.split("\n\n")[1:]
    compose = importlib.import_module("music_data").compose_many
    monkeypatch.setattr("music_data.compose_many", lambda seed, n: compose(seed + 1, n))
    assert "expected the music that the run was started with" in complaint("--run", folder)


def test_learns_a_file_of_rolls(command, tmp_path):
    save_mat(tmp_path / "JSB_Chorales.mat")
    options = ["--cells", "lstm", "--frames-per-beat", "2", "--learning-rate", "0.05"]
    options += ["--clip", "10", "--seed", "1", "--epochs", "60", "--noise", "0"]
    options += ["--beats-per-minute", "120", "--batch-size", "2", *TINY[:2], *TINY[4:]]
    printed = command("--mat", tmp_path / "JSB_Chorales.mat", "--run", tmp_path / "run", *options)
    results = rows_of(tmp_path / "run")
    assert list(results) == ["marginals", "one-step Markov", "lstm-3"] and "| 8.67 |" in printed
    assert results["lstm-3"]["published"] == 8.67
    assert results["lstm-3"]["training"] < results["one-step Markov"]["training"] / 3


def test_reads_midi_files(music_data, tmp_path):
    for number, roll in enumerate(pieces(*range(6, 18))):
        roll[[0, -1]] = False  # silence, which is trimmed
        music_data.write_midi(tmp_path / f"{number}.mid", roll, 2, 90)
    music = music_data.read_music(None, [tmp_path], 2, 0)
    assert {split: len(each) for split, each in music.items()} == {
        "training": 10,
        "validation": 1,
        "test": 1,
    }
    every = [roll for each in music.values() for roll in music_data.rolls_of(each)]
    assert all(roll[[0, -1]].any(1).all() for roll in every)
    assert sorted(map(len, every)) == list(range(4, 16))
    again = music_data.read_music(None, [tmp_path], 2, 0)
    for split, each in music.items():
        for one, other in zip(each, again[split], strict=True):
            assert np.array_equal(one["frame"], other["frame"])
            assert not one["before"][0].any()
            assert np.array_equal(one["before"][1:], one["frame"][:-1])


def test_defaults_fit_the_music(music_lm):
    path = pathlib.Path("x")
    options = music_lm.complete(music_lm.Options(epochs=7, noise=0.0, midi=(path,)))
    assert (options.epochs, options.noise, options.frames_per_beat) == (7, 0.0, 4)
    features = {cell: music_lm.features_of(options, cell) for cell in options.cells}
    assert features == {"tanh": 100, "gru": 46, "lstm": 36}
    options = music_lm.complete(music_lm.Options(mat=path, cells=("gru",), features=7))
    assert options.noise == 0.1 and music_lm.features_of(options, "gru") == 7
    assert music_lm.features_of(music_lm.complete(music_lm.Options()), "lstm") == 128


def test_every_option_is_run_above(music_lm):
    text = pathlib.Path(__file__).read_text()
    for options in (music_lm.Options, music_lm.GenerateOptions):
        for name in typing.get_type_hints(options):
            assert f'"--{name.replace("_", "-")}"' in text


# --- Mishaps -------------------------------------------------------------------------------------


def test_what_cannot_be(complaint, tmp_path):
    run = ["--run", tmp_path / "run"]
    leasts = {"--batch-size": 1, "--given": 1, "--temperature": 0, "--epochs": 1}
    for option, least in leasts.items():
        found = complaint(*run, option, least - 1)
        assert f"{option}: expected " in found and f"{least}" in found
    assert "--given: expected at most the" in complaint(*run, "--given", 1000)
    (tmp_path / "a.mid").write_text("no music")
    (tmp_path / "empty").mkdir()
    both = complaint(*run, "--mat", tmp_path / "a.mat", "--midi", tmp_path / "a.mid")
    assert "expected --mat or --midi, got both" in both
    assert "a.mat" in complaint(*run, "--mat", tmp_path / "a.mat")  # not there
    assert "a.mid: expected a MATLAB file" in complaint(*run, "--mat", tmp_path / "a.mid")
    assert "at least 3 files" in complaint(*run, "--midi", tmp_path / "a.mid")
    assert "a.mid: expected a MIDI file" in complaint(*run, "--midi", *[tmp_path / "a.mid"] * 3)
    assert "empty: expected MIDI files" in complaint(*run, "--midi", tmp_path / "empty")
    assert "expected the folder of a run" in complaint("generate", *run)
    assert not (tmp_path / "run").exists()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("precious")
    assert "got one with other files" in complaint("--run", tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["thesis.tex"]


def test_a_loss_that_is_not_finite(complaint, tmp_path):
    large = ["--learning-rate", "1e38", "--clip", "1e9", "--batch-size", "1"]
    assert ": the loss is " in complaint("--run", tmp_path / "run", *TINY, *large)
