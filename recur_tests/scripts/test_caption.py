"""Captions from the command line: scenes, files, runs that are resumed, and wrong files."""

import csv
import importlib
import json
import signal

import numpy as np
import pytest
from PIL import Image

from recur.train.state_arrays import digest_of_json

SCRIPT = "caption"
TINY = "--quick --channels 4 --features 8 --embedding 4 --num-beams 2".split()


@pytest.fixture(scope="module")
def caption(scripts):
    return importlib.import_module("caption")


@pytest.fixture(scope="module")
def data(scripts):
    return importlib.import_module("caption_data")


@pytest.fixture
def files(data, tmp_path):
    """A folder of pictures, and a list of their captions, as options."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    lines = []
    for number, picture in enumerate(data.make_scenes(40, 32, 0)):
        Image.fromarray(picture.image).resize((50, 30)).save(folder / f"{number}.png")
        lines += [f"{number}.png#{i}\t{text.title()}." for i, text in enumerate(picture.captions)]
    (tmp_path / "list.tsv").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return ["--images", folder, "--captions", tmp_path / "list.tsv"]


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# --- Scenes --------------------------------------------------------------------------------------


def test_captions_say_what_is_drawn_and_where(data):
    for picture in data.make_scenes(60, 32, 0):
        colored = picture.image.astype(int)
        for text in picture.captions:
            words = text.split()
            mask = np.abs(colored - data.COLORS[words[2]]).max(-1) < 45
            assert mask.sum() >= 8, text
        if len(picture.captions) == 1:
            y, x = (place.mean() / 32 for place in np.nonzero(mask))
            place = " ".join(words[4:])
            assert (y < 0.35) == ("top" in place) and (y > 0.65) == ("bottom" in place), text
            assert (x < 0.35) == ("left" in place) and (x > 0.65) == ("right" in place), text
            continue
        first, second = (text.split() for text in picture.captions)
        if first[2] == second[2]:
            continue  # one color: the mask has both
        center = {}
        for words in (first, second):
            mask = np.abs(colored - data.COLORS[words[2]]).max(-1) < 45
            center[words[2]] = [place.mean() for place in np.nonzero(mask)]
        (y, x), (other_y, other_x) = center[first[2]], center[second[2]]
        holds = {"above": y < other_y, "below": y > other_y}
        holds |= {"left": x < other_x, "right": x > other_x}
        assert holds[first[4]] and not holds[second[4]], picture.captions
        assert sorted(first[:4] + second[:4]) == sorted(second[-4:] + first[-4:])


def test_training_has_nothing_that_is_unseen(data):
    def things(picture):
        words = picture.captions[0].split()
        ends = [words[1:4], words[-3:]] if len(picture.captions) == 2 else [words[1:4]]
        return [tuple(end) for end in ends]

    seen, pairs, unseen = ([things(p) for p in data.make_scenes(400, 16, 0, k)] for k in data.KINDS)
    assert len(data.UNSEEN) == 8
    for scene in seen + pairs:
        assert not data.UNSEEN & set(scene)
    assert all(data.UNSEEN & set(scene) for scene in unseen)
    assert all(len(scene) == 2 for scene in pairs)
    assert not {tuple(sorted(it)) for it in pairs} & {tuple(sorted(it)) for it in seen}
    for place in range(3):  # each size, color and shape is known
        known = {thing[place] for scene in seen for thing in scene}
        assert known == {thing[place] for scene in unseen for thing in scene}


def test_scenes_depend_on_the_seed_alone(data):
    scenes = (data.make_scenes(3, 16, seed) for seed in (0, 0, 1))
    digests = [digest_of_json([(it.image, it.captions) for it in each]) for each in scenes]
    assert digests[0] == digests[1] != digests[2]


# --- Runs ----------------------------------------------------------------------------------------


def test_a_quick_run_and_other_pictures(command, data, tmp_path):
    folder = tmp_path / "run"
    printed = command(*TINY, "--conditioning", "start", "attention", "--run", folder)
    rows = json.loads((folder / "results.json").read_text())
    assert [row["reads the picture"] for row in rows] == ["start", "attention"]
    assert (folder / "table.md").read_text().strip() in printed
    for row in rows:
        part = folder / row["reads the picture"]
        for kind in data.KINDS:
            assert (part / f"{kind}.png").read_bytes().startswith(b"\x89PNG")
            lines = list(csv.DictReader(open(part / f"{kind}.tsv"), delimiter="\t"))
            right = [line["caption"] in line["given"].split(" | ") for line in lines]
            assert right == [line["is right"] == "True" for line in lines] and len(right) == 100
            assert row[f"exact, {kind}"] == np.mean(right)
    assert (folder / "attention" / "attention, seen" / "4.png").exists()
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path in paths:
        Image.new("L", (7, 9), 120).save(path)
    ask = ["describe", "--run", folder, "--images", *paths, "--conditioning"]
    assert [line.split(": ")[0] for line in command(*ask, "start").splitlines()] == list(
        map(str, paths)
    )


def test_a_run_on_files_is_resumed_to_the_same_numbers(
    caption, command, complaint, files, tmp_path, monkeypatch
):
    whole, folder = tmp_path / "whole", tmp_path / "run"
    given = [*TINY, *files, "--batch-size", "8", "--report-every", "1", "--conditioning", "blind"]
    command(*given, "--run", whole)
    batches = caption.batches

    class Stopping:
        """A stream that is stopped at its fourth batch."""

        def __init__(self, stream):
            self.stream, self.drawn = stream, 0

        def __getattr__(self, name):
            return getattr(self.stream, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.stream.close()

        def __len__(self):
            return len(self.stream)

        def __iter__(self):
            return self

        def __next__(self):
            self.drawn += 1
            if self.drawn == 4:
                signal.raise_signal(signal.SIGINT)
            return next(self.stream)

    monkeypatch.setattr(caption, "batches", lambda *a, **k: Stopping(batches(*a, **k)))
    assert "stopped. The same --run resumes" in complaint(*given, "--run", folder)
    monkeypatch.setattr(caption, "batches", batches)
    command("--run", folder)
    assert records(folder / "blind") == records(whole / "blind")
    (one,), (other,) = (json.loads((f / "results.json").read_text()) for f in (whole, folder))
    assert other == {name: value for name, value in one.items() if name != "seconds"}


# --- Wrong input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0.png", "list.tsv:2: expected the name of a file, a tab and a caption, got '0.png'."),
        ("0.png\ta\tb", "list.tsv:2: expected the name of a file, a tab and a caption, got '0"),
        ("0.png\t...", "list.tsv:2: expected the name of a file, a tab and a caption, got '0"),
        ("no.png\ta cat", "list.tsv:2: expected an image, got no such file: "),
        ("text.png\ta cat", "list.tsv:2: expected an image, got another file: "),
        ("half.png\ta cat", "list.tsv:2: expected an image, got another file: "),
        (".\ta cat", "list.tsv:2: expected an image, got another file: "),
        ("0.png\t" + "a " * 31, "list.tsv:2: expected a caption of at most 30 words, got 31."),
    ],
)
def test_a_wrong_line(complaint, files, tmp_path, line, message):
    (tmp_path / "pictures" / "text.png").write_text("no image")
    data = (tmp_path / "pictures" / "0.png").read_bytes()
    (tmp_path / "pictures" / "half.png").write_bytes(data[: len(data) // 2])
    first, *rest = files[3].read_text().splitlines()
    files[3].write_text("\n".join([first, line, *rest]))
    assert message in complaint(*TINY, *files, "--run", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_wrong_input(complaint, files, tmp_path):
    run = ["--run", tmp_path / "run"]
    for some in (files[:2], files[2:]):
        assert "expected it together with --captions" in complaint(*some, *run)
    assert "--conditioning: expected at least one" in complaint("--conditioning", *run)
    files[3].write_text("0.png\ta cat\n")
    assert "set, got none of 1. Add pictures" in complaint(*files, *run)
    files[3].write_bytes(b"0.png\t\xff\n")
    assert "list.tsv:1: expected text in utf-8, got the byte 0xff" in complaint(*files, *run)
    files[3].write_text("\n")
    assert "expected a text, got only blank lines" in complaint(*files, *run)
    ask = ["describe", *run, "--images", files[1] / "0.png"]
    assert "expected the folder of a run" in complaint(*ask)
    assert "--images: expected at least one" in complaint(*ask[:-1])
