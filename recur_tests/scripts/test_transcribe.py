"""Transcription from the command line: made signals, files, resumed runs, wrong files."""

import importlib
import json

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from recur.text import Characters

SCRIPT = "transcribe"
TINY = "--features 6 --buckets 1 --batch-size 4 --num-beams 2 --order 2".split()


@pytest.fixture(scope="module")
def data(scripts):
    return importlib.import_module("transcribe_data")


@pytest.fixture(scope="module")
def strokes(scripts):
    return importlib.import_module("strokes")


@pytest.fixture(scope="module")
def spoken(scripts):
    return importlib.import_module("spoken_digits")


def results(folder):
    return json.loads((folder / "results.json").read_text())


def write_csv(path, points):
    rows = [",".join(map(str, row)) for row in points]
    path.write_text("\n".join(["dx,dy,pen_up", *rows]) + "\n")
    return path


@pytest.fixture
def files(tmp_path, strokes):
    """TSV files of strokes, and the options with them."""
    rng = np.random.default_rng(0)
    options = ["--task", "handwriting"]
    for part, texts in {
        "train": ["ab", "ba", "a b", "bab"],
        "valid": ["ab"],
        "test": ["ba"],
    }.items():
        lines = []
        for number, text in enumerate(texts):
            name = f"{part}-{number}.csv"
            write_csv(tmp_path / name, strokes.draw_text(text, rng).tolist())
            lines.append(f"{name}\t{text}")
        (tmp_path / f"{part}.tsv").write_text("\n".join(lines) + "\n")
        options += [f"--{part}", tmp_path / f"{part}.tsv"]
    return options


# --- Runs ----------------------------------------------------------------------------------------


def test_quick_run_on_speech_and_a_file(command, tmp_path, spoken):
    folder = tmp_path / "run"
    command("--quick", "--run", folder)
    rows = results(folder)
    assert [row["test set"] for row in rows] == ["new speakers", "and noisier"]
    assert all(row["CER, greedy"] > 0 for row in rows)
    for picture in ("curve.png", "new-speakers/1.png", "and-noisier/1.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    header, *lines = (folder / "new-speakers/transcripts.tsv").read_text().splitlines()
    assert header.split("\t")[:2] == ["transcript", "greedy"] and len(lines) == 10

    rng = np.random.default_rng(0)
    signal = spoken.speak("one two", spoken.draw_speaker(rng), rng)
    stereo = np.repeat(np.column_stack([signal, signal]), 2, axis=0)  # of twice the rate
    soundfile.write(tmp_path / "a.wav", stereo, 2 * spoken.RATE)
    printed = command("transcribe", "--run", folder, "--files", tmp_path / "a.wav")
    assert printed.startswith(f"{tmp_path}/a.wav\t")


def test_a_resumed_run_has_the_results_of_an_uninterrupted_one(command, files, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    command(*files, *TINY, "--epochs", "2", "--schedule", "constant", "--run", whole)
    command(*files, *TINY, "--epochs", "1", "--schedule", "constant", "--run", parts)
    command("--run", parts, "--epochs", "2")
    assert results(whole) == results(parts) and results(whole)[0]["test set"] == "test.tsv"


# --- Made signals --------------------------------------------------------------------------------


def test_strokes_of_a_text(strokes):
    rng = np.random.default_rng(0)
    points = strokes.draw_text("i x", rng)
    assert points.dtype == np.float32 and points.shape[1] == 3
    assert points[0, :2].tolist() == [0, 0] and points[-1, 2] == 1
    assert set(points[:, 2]) == {0, 1} and points[:, 2].sum() == 4  # i and its dot, two of an x
    lines = strokes.to_lines(points)
    assert len(lines) == 4 and sum(map(len, lines)) == len(points)
    assert lines[2][:, 0].min() > lines[0][:, 0].max() + 0.5  # a space is between them
    neat = strokes.draw_writer(rng)._replace(slant=0, spread=0, tremor=0, size=1.0, width=1.0)
    assert np.ptp(strokes.to_lines(strokes.draw_text("l", rng, neat))[0][:, 1]) == pytest.approx(2)
    slanted = strokes.to_lines(strokes.draw_text("l", rng, neat._replace(slant=0.5)))[0]
    assert slanted[0, 0] > slanted[len(slanted) // 2, 0] + 0.4
    for text, sentence in (("aB", "got 'B', which is number 2"), (" ", "a text with a letter")):
        with pytest.raises(ValueError, match=sentence):
            strokes.draw_text(text, rng)
    assert all(len(strokes.draw_text(letter, rng)) > 4 for letter in strokes.ALPHABET.strip())


def test_spoken_digits(spoken, data):
    """Formants are where they should be, faster speech is shorter, and noise is noise."""
    rng = np.random.default_rng(0)
    speaker = spoken.Speaker(120.0, 1.0, {name: np.ones(3) for name in spoken.SOUNDS})
    signal = spoken.speak("three", speaker, rng, noise=0.0)
    assert signal.dtype == np.float32 and np.abs(signal).max() < 2
    spectrum = np.abs(np.fft.rfft(signal[len(signal) // 2 :])) ** 2  # iy
    frequency = np.fft.rfftfreq(len(signal) - len(signal) // 2, 1 / spoken.RATE)

    def energy(low, high):
        return spectrum[(frequency > low) & (frequency < high)].sum()

    assert energy(200, 400) > 10 * energy(800, 1600) and energy(2000, 3300) > energy(800, 1600)
    lengths = [len(spoken.speak("three one", speaker, rng, speed=speed)) for speed in (0.5, 2.0)]
    assert lengths[0] > 1.5 * lengths[1]
    for word in spoken.WORDS:
        assert 0.2 < len(spoken.speak(word, speaker, rng)) / spoken.RATE < 1.5
    made, again = data.make_speech(10, 3), data.make_speech(10, 3)
    np.testing.assert_array_equal(made.training[7].steps, again.training[7].steps)
    assert not np.array_equal(made.training[0].steps, made.valid[0].steps)


def test_made_texts_of_parts_are_of_other_words(data):
    made = data.make_handwriting(10, 0)
    assert all(len(item.text) <= data.LONGEST for item in made.training)
    assert set(made.tests) == {"new writers", "and shakier"}
    mean = np.hypot(*made.training[0].steps[:, :2].T).mean()
    assert mean == pytest.approx(1, 1e-3)


# --- Files ---------------------------------------------------------------------------------------

STROKE = '<Stroke><Point x="1" y="5"/><Point x="4" y="1"/></Stroke>'
DOT = '<Stroke><Point x="4" y="2"/></Stroke>'


def test_xml_of_strokes(tmp_path, data):
    path = tmp_path / "a.xml"
    path.write_text(f"<Session><StrokeSet>{STROKE}{DOT}</StrokeSet></Session>")
    found = data.read_strokes(path)
    moves = np.array([[0, 0, 0], [3, 4, 1], [0, -1, 1]])  # y is downwards in the file
    np.testing.assert_allclose(found, moves / [2, 2, 1], 1e-4)


def test_frames_and_labels(data):
    items = [data.Item(np.arange(10.0).reshape(5, 2), "aba", "here")]
    assert data.make_encoder(items, 2, "zc").vocabulary.unknown_in("abcz") == ""
    encoder = data.make_encoder(items, 2)
    frames = encoder.frames(items[0].steps)
    assert frames.shape == (3, 4) and not frames[2, 2:].any()
    scaled = (items[0].steps - 4.0 - [0, 1]) / np.std([0, 2, 4, 6, 8])
    np.testing.assert_allclose(frames[0], scaled[:2].ravel(), 1e-5)
    (example,) = encoder(items)
    assert Characters("ab").decode(example.label.steps.tolist()) == "aba"


def test_the_loss_is_per_character(scripts, data):
    script = importlib.import_module(SCRIPT)
    rng = np.random.default_rng(0)
    items = [data.Item(rng.random((count, 2)), text, "") for count, text in ((6, "ab"), (4, "a"))]
    examples = data.make_encoder(items, 1)(items)
    (batch,) = script.make_batches(examples, script.pad(8), 3)
    logits = jnp.zeros((3, 8, 4))
    # 6 frames with "ab": each way to place both; of 4 ids, alike
    found = script.losses_of(logits, batch)
    ways = {("ab", 6): 70, ("a", 4): 10}  # paths that collapse to the text
    total = sum(-np.log(n / 4.0**count) for (_, count), n in ways.items())
    assert found.value() == pytest.approx(total / 3, 1e-4)


LINE = "a.csv\tab"
WRONG = [
    ("a.csv ab", "bad.tsv:1: expected a file, a tab and a transcript, got 'a.csv ab'."),
    (f"{LINE}\na.csv\t", "bad.tsv:2: expected a file, a tab and a transcript"),
    ("none.csv\tab", "bad.tsv:1: "),
    ("empty.csv\tab", "empty.csv:1: expected the columns dx,dy,pen_up"),
    ("down.csv\tab", "down.csv:3: expected strokes that end with pen_up 1, got"),
    ("text.csv\tab", "text.csv:2: expected three numbers, got ['1', 'x', '0']."),
    ("half.csv\tab", "half.csv:2: expected two numbers and 0 or 1, got ['1', '2', '0.5']."),
    ("none.xml\tab", "none.xml: expected at least one Stroke, got none."),
    ("up.xml\tab", "up.xml: expected at least one Stroke, got points without strokes: the pen"),
    ("stroke.xml\tab", "stroke.xml: stroke 2: expected at least one Point, got none."),
    ("point.xml\tab", "point.xml: stroke 1: expected points with numbers x and y, got 'y'."),
    ("nan.xml\tab", "nan.xml: stroke 1: expected points with numbers x and y, got 'nan'."),
    ("not.xml\tab", "not.xml: expected XML with strokes, got"),
    (f"{LINE}\na.csv\tabc", "bad.tsv:2 (a.csv): expected characters of the training transcripts"),
    (f"{LINE}\na.csv\t{40 * 'ab'}", "bad.tsv:2 (a.csv): expected at least 80 frames for 'abab"),
    (f"{LINE}\na.csv\t{9 * 'a'}", "bad.tsv:2 (a.csv): expected at least 17 frames for 'aaaaaaaaa'"),
]


@pytest.mark.parametrize(("lines", "sentence"), WRONG)
def test_wrong_files_of_strokes(complaint, files, tmp_path, lines, sentence):
    write_csv(tmp_path / "a.csv", [(0, 0, 0), (1, 0, 0), *13 * [(0, 1, 0)], (0, 1, 1)])
    (tmp_path / "empty.csv").write_text("")
    write_csv(tmp_path / "down.csv", [(0, 0, 1), (1, 1, 0)])
    write_csv(tmp_path / "text.csv", [(1, "x", 0)])
    write_csv(tmp_path / "half.csv", [(1, 2, 0.5)])
    (tmp_path / "none.xml").write_text("<Session/>")
    (tmp_path / "up.xml").write_text('<Session><Point x="1" y="1"/></Session>')
    (tmp_path / "stroke.xml").write_text(f"<Session>{STROKE}<Stroke/></Session>")
    (tmp_path / "point.xml").write_text('<Session><Stroke><Point x="1"/></Stroke></Session>')
    (tmp_path / "nan.xml").write_text('<Session><Stroke><Point x="nan" y="1"/></Stroke></Session>')
    (tmp_path / "not.xml").write_text("strokes")
    (tmp_path / "bad.tsv").write_text(lines + "\n")
    changed = [tmp_path / "bad.tsv" if each == tmp_path / "test.tsv" else each for each in files]
    assert sentence in complaint(*changed, *TINY, "--run", tmp_path / "run")


SOUNDS = [
    (np.zeros(0), "bad.tsv:1: {path}: expected a sound, got no samples."),
    (np.zeros(150), "bad.tsv:1: {path}: expected a sound of at least 0.025 seconds, one window"),
    (np.sign(np.sin(np.arange(9000))), "bad.tsv:1: {path}: expected at most 1% of the samples at"),
    (None, "bad.tsv:1: {path}: expected a sound file, such as WAV or FLAC, got one that"),
    (0.1 * np.sin(np.arange(800)), "bad.tsv:1 (a.wav): expected at least 6 frames for 'three'"),
]


@pytest.mark.parametrize(("samples", "sentence"), SOUNDS)
def test_wrong_sounds(complaint, tmp_path, samples, sentence):
    path = tmp_path / "a.wav"
    if samples is None:
        path.write_text("no sound")
    else:
        soundfile.write(path, samples, 8000)
    (tmp_path / "bad.tsv").write_text("a.wav\tthree\n")
    given = [
        option
        for part in ("train", "valid", "test")
        for option in (f"--{part}", tmp_path / "bad.tsv")
    ]
    found = complaint(*given, *TINY, "--run", tmp_path / "run")
    assert sentence.format(path=path) in found


def test_wrong_options(complaint, tmp_path):
    run = ["--run", tmp_path / "run"]
    found = complaint("--train", "a.tsv", *run)
    assert "--train, --valid and --test: expected three files, or none of them." in found
    assert "a.tsv" in complaint("--train", "a.tsv", "--valid", "b.tsv", "--test", "c.tsv", *run)
