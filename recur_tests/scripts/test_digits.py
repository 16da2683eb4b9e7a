"""Digits from the command line: drawings, idx files, runs that are resumed, and wrong files."""

import gzip
import importlib
import json
import signal
import struct

import jax
import numpy as np
import pytest

SCRIPT = "digits"
TINY = "--quick --features 6 --steps 6 --batch-size 8 --report-every 2".split()
NAMES = [f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


@pytest.fixture(scope="module")
def digits(scripts):
    return importlib.import_module("digits")


@pytest.fixture(scope="module")
def data(scripts):
    return importlib.import_module("digits_data")


def packed(data):
    """A gzip file without the time, since names of tests must not depend on it."""
    return gzip.compress(data, mtime=0)


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return packed(header + array.tobytes())


@pytest.fixture
def mnist(tmp_path):
    """A folder of files like those of MNIST, of 40 and 12 pictures of 5 by 4 pixels."""
    draws = np.random.default_rng(0)
    folder = tmp_path / "mnist"
    folder.mkdir()
    for part, count in (("train", 40), ("t10k", 12)):
        images = draws.integers(0, 256, (count, 5, 4), np.uint8)
        labels = draws.integers(0, 10, count, np.uint8)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    return folder


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_reads_what_was_written(data, mnist):
    split = data.read_mnist(mnist)
    assert [len(part.labels) for part in split] == [36, 4, 12]
    images = gzip.decompress((mnist / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    both = np.concatenate([split.training.images, split.valid.images])
    assert both.tobytes() == images and both.shape == (40, 5, 4)


def test_drawn_digits_differ_by_class_and_seed(data):
    one, again, other = (data.make_digits(400, seed) for seed in (0, 0, 1))
    assert (one.images == again.images).all() and (one.images != other.images).any()
    assert one.images.shape == (400, data.SIDE, data.SIDE) and set(one.labels) == set(range(10))
    means = np.stack([one.images[one.labels == digit].mean(0) for digit in range(10)])
    away = np.square(other.images[:, None] - means).sum((2, 3))
    assert (away.argmin(1) == other.labels).mean() > 0.6  # the nearest mean, of other drawings


def test_sequences_by_rows_and_pixels(data):
    few = data.make_digits(3, 0)
    rows, pixels = data.Sequences(few, "rows"), data.Sequences(few, "pixels")
    assert (rows[1].steps == few.images[1]).all() and rows[1].label == few.labels[1]
    assert (pixels[2].steps[:, 0] == few.images[2].ravel()).all()
    order = np.random.default_rng(0).permutation(data.SIDE**2)
    permuted = data.Sequences(few, "pixels", order)
    for number in range(3):
        assert (permuted[number].steps[np.argsort(order)] == pixels[number].steps).all()
    assert pixels.lengths.tolist() == [256] * 3 and rows.lengths.tolist() == [16] * 3
    whole = data.Sequences(few, "image")
    assert (whole[1].steps == few.images[1].reshape(1, 256)).all()
    assert whole.lengths.tolist() == [1] * 3


def test_an_image_is_one_step_of_a_feed_forward_network(digits, command, mnist, tmp_path):
    command(*TINY, "--data", mnist, "--by", "image", "--run", tmp_path / "run")
    [row] = json.loads((tmp_path / "run" / "results.json").read_text())
    assert row["cell"] == "mlp" and row["weights"] == 20 * 6 + 6 + 6 * 6 + 6 + 6 * 10 + 10


@pytest.mark.parametrize("by", ["rows", "pixels"])
def test_a_quick_run(digits, command, mnist, tmp_path, by):
    folder = tmp_path / "run"
    given = ["--data", mnist, "--by", by, "--cells", "lru", "irnn", "--run", folder]
    printed = command(*TINY, *given, *["--permuted"] * (by == "pixels"))
    rows = json.loads((folder / "results.json").read_text())
    assert [row["cell"] for row in rows] == ["lru", "irnn"]
    assert (folder / "table.md").read_text().strip() in printed
    published = rows[1]["published, by pixels"]
    assert published.startswith("82.0" if by == "pixels" else "97.0")
    for path in ("curves.png", "lru/answers.png", "irnn/beliefs.png"):
        assert (folder / path).read_bytes().startswith(b"\x89PNG")
    options = digits.runs.Run(folder).options(digits.Options)
    split = digits.read_digits(options)
    test = digits.as_sequences(split.test, options)
    steps = {"rows": (5, 4), "pixels": (20, 1)}[by]
    assert test[0].steps.shape == steps
    layers = digits.build_layers("irnn", 6, steps[0])
    model = digits.recur.pooled(digits.recur.chain(*layers), digits.pool.last, digits.nn.Dense(10))
    like = jax.eval_shape(model.init, jax.random.key(0), test[0].steps)
    params = digits.runs.Run(folder / "irnn", best="valid_error").best_params(like)
    right = 0
    for number, label in enumerate(split.test.labels):  # against NumPy
        h, (cell,) = np.zeros(6), (part for part in params.layer if jax.tree.leaves(part))
        for x in test[number].steps.astype(float) / 128 - 0.25:
            h = np.maximum(x @ cell.kernel + h @ cell.recurrent_kernel + cell.bias, 0)
        right += (h @ params.head["kernel"] + params.head["bias"]).argmax() == label
    assert rows[1]["test accuracy"] == pytest.approx(right / 12)


def test_a_stopped_run_is_resumed_to_the_same_numbers(
    digits, command, complaint, mnist, tmp_path, monkeypatch
):
    whole, folder = tmp_path / "whole", tmp_path / "run"
    given = [*TINY, "--cells", "min_gru", "--data", mnist]
    command(*given, "--run", whole)
    make_batches, evaluated = digits.make_batches, []

    def stopping(*arguments):
        evaluated.append(1)
        if len(evaluated) == 2:
            signal.raise_signal(signal.SIGINT)
        return make_batches(*arguments)

    monkeypatch.setattr(digits, "make_batches", stopping)
    assert "stopped. The same --run resumes" in complaint(*given, "--run", folder)
    monkeypatch.setattr(digits, "make_batches", make_batches)
    command("--run", folder)
    assert records(folder / "min_gru") == records(whole / "min_gru")
    (one,), (other,) = (json.loads((f / "results.json").read_text()) for f in (whole, folder))
    assert other == {name: value for name, value in one.items() if name != "updates per second"}


def test_a_run_that_diverges_is_a_row(command, mnist, tmp_path):
    given = [*TINY, "--cells", "irnn", "--steps", "40", "--learning-rate", "1e38"]
    for _ in range(2):  # the second time, it is not trained again
        printed = command(*given, "--data", mnist, "--run", tmp_path / "run")
        assert "loss is" in printed


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (0, b"P5 28 28", "expected a whole gzip file, got another: Not a gzipped file"),
        (0, idx(np.zeros((9, 5, 4), np.uint8))[:-12], "expected a whole gzip file, got another"),
        (
            2,
            packed(b"picture"),
            "an idx file of bytes with 3 axes, got one that begins with",
        ),
        (1, idx(np.zeros((9, 1), np.uint8)), "an idx file of bytes with 1 axes, got one that begi"),
        (1, packed(bytes([0, 0, 8, 1, 0, 0, 0, 9, 1])), "of an array of shape [9], got 1."),
        (1, idx(np.zeros(39, np.uint8)), "expected a label for each of 40 images, got 39."),
        (3, idx(np.arange(12, dtype=np.uint8)), "from 0 to 9, got 10 for image 10."),
    ],
)
def test_a_wrong_file(complaint, mnist, tmp_path, name, content, message):
    path = mnist / f"{NAMES[name]}-ubyte.gz"
    path.write_bytes(content)
    found = complaint("--data", mnist, "--run", tmp_path / "run")
    assert f"{path}: expected " in found and message in found
    assert not (tmp_path / "run").exists()


def test_other_wrong_input(complaint, mnist, tmp_path):
    run = ["--run", tmp_path / "run"]
    assert "--permuted: expected it with --by pixels, got rows" in complaint("--permuted", *run)
    assert "got mlp with --by rows" in complaint("--cells", "gru", "mlp", *run)
    assert "got gru with --by image" in complaint("--by", "image", "--cells", "gru", *run)
    few = {
        name: idx(np.zeros((3, 5, 4)[: 3 if "images" in name else 1], np.uint8)) for name in NAMES
    }
    for name, content in few.items():
        (mnist / f"{name}-ubyte.gz").write_bytes(content)
    assert "at least 10 training digits" in complaint("--data", mnist, *run)
    (mnist / f"{NAMES[2]}-ubyte.gz").unlink()
    assert f"{NAMES[2]}-ubyte.gz" in complaint("--data", mnist, *run)
