"""The music model from the command line, and its results against their definitions."""

import importlib
import json
import pathlib
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


@pytest.fixture
def command(command, music_lm, monkeypatch):
    """The script with few canons."""
    compose = music_lm.compose_many
    monkeypatch.setattr(music_lm, "compose_many", lambda seed, n: compose(seed, n, (6, 6)))
    monkeypatch.setattr(music_lm, "LENGTHS", 1)
    monkeypatch.setattr(music_lm, "COMPOSED", {"training": 3, "validation": 2, "test": 2})
    return command


def pieces(*lengths, seed=0):
    draws = np.random.default_rng(seed)
    return [draws.random((length, 88)) < 0.1 for length in lengths]


# --- Numbers -------------------------------------------------------------------------------------


def nats(roll, chance_of):
    """The cost of each frame but the first, and of the first: key by key, as it is defined."""
    costs = []
    for t in range(len(roll)):
        before = roll[t - 1] if t else np.zeros(88, bool)
        chances = [chance_of(key, before[key]) for key in range(88)]
        costs.append(
            -sum(np.log(p if down else 1 - p) for p, down in zip(chances, roll[t], strict=True))
        )
    return costs[1:], costs[0]


def test_what_the_test_costs_who_counts_keys(music_lm):
    train, test = pieces(5, 9), pieces(4, 3, seed=1)
    rolls = {"training": train, "validation": train, "test": test}
    found = music_lm.baselines(music_lm.Music(rolls, {}, {}))

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
        assert found[name]["test"] == pytest.approx(later.mean())
        assert found[name]["first frames too"] == pytest.approx((later.sum() + sum(first)) / 7)


@pytest.fixture(scope="module")
def model(music_lm):
    """A model whose weights are all drawn at large, and what it says of the frame behind others."""
    model = music_lm.build_model("tanh", 3)
    shape = jax.ShapeDtypeStruct((1, 1, 88), np.float32)
    params = model.init(jax.random.key(0), shape)
    params = music_lm.weight_noise(1.0)(jax.random.key(1), params)
    cell, dense = jax.tree.map(lambda w: np.asarray(w, np.float64), params)

    def next_logits(roll):
        h = np.zeros(3)
        for x in [np.zeros(88), *roll]:  # at first there is silence
            h = np.tanh(x @ cell.kernel + h @ cell.recurrent_kernel + cell.bias)
        return h @ dense["kernel"] + dense["bias"]

    return model, params, next_logits


def test_a_model_is_judged_by_all_frames_of_all_pieces(music_lm, model):
    rolls = pieces(2, 6, 3, 6)
    splits = dict.fromkeys(music_lm.SPLITS, rolls)
    nats = music_lm.make_judge(model[0], music_lm.bucket((6,)), splits)
    found = music_lm.judge(lambda split: nats(model[1], split))
    costs = []
    for roll in rolls:
        logits = np.stack([model[2](roll[:t]) for t in range(len(roll))])
        costs.append(np.log1p(np.exp(np.where(roll, -logits, logits))).sum(1))
    later = np.concatenate([each[1:] for each in costs])
    assert found["test"] == found["training"] == pytest.approx(later.mean(), rel=1e-5)
    assert found["first frames too"] == pytest.approx(np.concatenate(costs).mean(), rel=1e-5)


@pytest.mark.parametrize("given", [0, 3])
def test_writes_what_is_likelier_than_not(music_lm, model, given):
    begin = np.stack(pieces(given, given))
    written = music_lm.make_writer(model[0], 4, temperature=0)(model[1], begin, jax.random.key(0))
    assert written.shape == (2, given + 4, 88) and written[:, given:].any()
    for start, roll in zip(begin, written, strict=True):
        for _ in range(4):
            start = np.concatenate([start, model[2](start)[None] > 0])
        assert np.array_equal(roll, start)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_keys_as_they_are_likely(music_lm, model, temperature):
    write = music_lm.make_writer(model[0], 1, temperature)
    drawn = write(model[1], np.zeros((4000, 0, 88), bool), jax.random.key(1))
    chances = 1 / (1 + np.exp(-model[2]([]) / temperature))
    assert np.abs(drawn[:, 0].mean(0) - chances).max() < 0.04
    together = np.corrcoef(drawn[:, 0, :30].T.astype(float))[~np.eye(30, dtype=bool)]
    assert np.abs(together).max() < 0.1  # each by itself


# --- Runs ----------------------------------------------------------------------------------------


def test_canons_by_default_and_more_music_later(command, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = command(*TINY, "--cells", "tanh", "--noise", "0.1", "--batch-size", "2")
    run = pathlib.Path("runs/music_lm-1")
    assert "3 training, 2 validation, 2 test" in printed and f"--run {run} --cell tanh" in printed
    results = json.loads((run / "results.json").read_text())
    assert list(results["nats"]) == [
        "marginals",
        "one-step Markov",
        "the composer's rule",
        "tanh-3",
    ]
    assert (
        results["nats"]["the composer's rule"]["test"] < results["nats"]["one-step Markov"]["test"]
    )
    found = results["nats"]["tanh-3"]
    assert f"| tanh-3 | {found['training']:.2f} |" in printed
    log = [json.loads(line) for line in (run / "tanh.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == [2, 4]
    best = min(log, key=lambda record: record["validation"])
    assert found["epoch"] == best["step"] // 2
    assert found["validation"] == pytest.approx(best["validation"])  # that of the best is kept
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
    assert "with a trained lstm, got one with tanh" in complaint(*write, "--cell", "lstm")
    begun, kept = (run / "options.json").read_text(), (run / "tanh.npz").read_bytes()
    for old, new in {
        '"tanh": 3': '"tanh": "3"',
        '"features"': '"f"',
        '_beat": 1': '_beat": 0',
    }.items():
        (run / "options.json").write_text(begun.replace(old, new))
        assert "options.json: expected f" in complaint(*write)
    (run / "options.json").write_text(begun)
    (run / "tanh.npz").write_bytes(kept[: len(kept) // 2])
    assert "tanh.npz: expected the weights of this model, got a damaged" in complaint(*write)
    (run / "tanh.npz").write_bytes(kept)
    assert "expected a new folder, got one with other files" in complaint(*write, "--to", run)


def test_learns_a_file_of_rolls(command, tmp_path):
    save_mat(tmp_path / "JSB_Chorales.mat")
    options = ["--cells", "lstm", "--frames-per-beat", "2", "--learning-rate", "0.05"]
    options += ["--clip", "10", "--seed", "1", "--epochs", "60", "--noise", "0"]
    options += ["--beats-per-minute", "120", "--batch-size", "2", *TINY[:2], *TINY[4:]]
    printed = command("--mat", tmp_path / "JSB_Chorales.mat", "--run", tmp_path / "run", *options)
    results = json.loads((tmp_path / "run/results.json").read_text())["nats"]
    assert list(results) == ["marginals", "one-step Markov", "lstm-3"] and "| 8.67 |" in printed
    assert results["lstm-3"]["published"] == 8.67
    assert results["lstm-3"]["training"] < results["one-step Markov"]["training"] / 3


def test_reads_midi_files(music_lm, tmp_path):
    for number, roll in enumerate(pieces(*range(6, 18))):
        roll[[0, -1]] = False  # silence, which is left out
        music_lm.write_midi(tmp_path / f"{number}.mid", roll, 2, 90)
    options = music_lm.Options(midi=(tmp_path,), frames_per_beat=2)
    rolls = music_lm.read_music(options).rolls
    assert {split: len(each) for split, each in rolls.items()} == {
        "training": 10,
        "validation": 1,
        "test": 1,
    }
    every = [roll for each in rolls.values() for roll in each]
    assert all(roll[[0, -1]].any(1).all() for roll in every)
    assert sorted(map(len, every)) == list(range(4, 16))
    again = music_lm.read_music(options).rolls
    assert all(map(np.array_equal, rolls["training"], again["training"]))


def test_what_is_not_asked_for_suits_the_music(music_lm):
    path = pathlib.Path("x")
    options, features = music_lm.complete(music_lm.Options(epochs=7, noise=0.0, midi=(path,)))
    assert (options.epochs, options.noise, options.frames_per_beat) == (7, 0.0, 4)
    assert features == {"tanh": 100, "gru": 46, "lstm": 36}
    options, features = music_lm.complete(music_lm.Options(mat=path, cells=("gru",), features=7))
    assert options.noise == 0.1 and features == {"gru": 7}


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
    assert "expected a new folder, got one with other files" in complaint(
        "--run", tmp_path / "thesis"
    )
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["thesis.tex"]


def test_a_loss_that_is_not_finite(music_lm, complaint, monkeypatch, tmp_path):
    def fit(*arguments, **options):
        raise FloatingPointError("update 3: the loss is nan.")

    monkeypatch.setattr(music_lm, "fit", fit)
    assert "update 3: the loss is nan" in complaint("--run", tmp_path, *TINY)
