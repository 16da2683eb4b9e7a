"""Rolls from .mat and MIDI files and back, against files made byte by byte; and the canons."""

import importlib
import random
import struct
import sys

import numpy as np
import pytest


@pytest.fixture(scope="module")
def rolls(scripts):
    return importlib.import_module("piano_rolls")


@pytest.fixture(scope="module")
def canons(scripts):
    return importlib.import_module("canons")


def roll_of(frames, *notes):
    """A roll of notes (MIDI number, begin, end)."""
    roll = np.zeros((frames, 88), bool)
    for number, begin, end in notes:
        roll[begin:end, number - 21] = True
    return roll


def midi(*tracks, kind=1, division=480):
    """A MIDI file of tracks of (ticks to wait, bytes of a message), byte by byte."""
    data = b"MThd" + (6).to_bytes(4) + kind.to_bytes(2) + len(tracks).to_bytes(2)
    data += division.to_bytes(2, signed=True)
    for track in tracks:
        body = b"".join(variable(wait) + bytes(message) for wait, message in track)
        data += b"MTrk" + len(body).to_bytes(4) + body
    return data


def variable(number):
    """A number in groups of seven bits, all but the last marked."""
    groups = [number & 127]
    while number := number >> 7:
        groups.insert(0, number & 127 | 128)
    return bytes(groups)


END = (0xFF, 0x2F, 0)


# --- MIDI ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames_per_beat", [1, 4])
def test_what_is_written_is_read_to_the_frame(rolls, tmp_path, frames_per_beat):
    draws = np.random.default_rng(0)
    path = tmp_path / "x.mid"
    for frames in (1, 2, 30):
        roll = draws.random((frames, 88)) < 0.3
        roll[-1:], roll[0, [0, 87]] = frames == 1, True  # silent at the end; the outermost keys
        rolls.write_midi(path, roll, frames_per_beat, 77)
        found, left_out = rolls.read_midi(path, frames_per_beat)
        assert found.dtype == bool and np.array_equal(found, roll) and left_out == 0


def test_writes_these_bytes(rolls, tmp_path):
    rolls.write_midi(tmp_path / "x.mid", roll_of(4, (60, 1, 3), (64, 2, 3)), 2, 120)
    expected = midi(
        [
            (0, (0xFF, 0x51, 3, *(500_000).to_bytes(3))),
            (0, (0xC0, 0)),
            (120, (0x90, 60, 80)),
            (120, (64, 80)),  # the same kind of message: its first byte is left out
            (120, (0x80, 60, 80)),
            (0, (64, 80)),
            (120, END),
        ],
        kind=0,
        division=240,
    )
    assert (tmp_path / "x.mid").read_bytes() == expected


def test_reads_what_others_write(rolls, tmp_path):
    """Two tracks, percussion, tempi, notes that overlap, end by a note of no velocity, or never."""
    one = [
        (0, (0xFF, 0x51, 3, 9, 9, 9)),
        (0, (0x90, 60, 64)),
        (0, (0x90, 62, 64)),
        (100, (0x99, 40, 100)),  # percussion
        (20, (0x90, 61, 64)),  # frame 1
        (121, (0x90, 60, 0)),  # at 241: frame 2
        (0, (0x90, 62, 0)),
        (0, (0xFF, 0x51, 3, 1, 1, 1)),
        (0, (0x90, 20, 64)),  # below the piano
        (59, (0x80, 61, 64)),  # at 300: the middle of frame 2 is taken as 3
        (60, (0x80, 61, 64)),  # of nothing
        (0, (0x90, 109, 1)),  # above the piano
        (0, END),
    ]
    two = [
        (0, (0x90, 60, 64)),  # of the same channel: each track by itself
        (480, (0x90, 60, 64)),  # struck again at 4 while it is held
        (120, (0x80, 60, 0)),
        (0, (0x90, 72, 9)),
        (0, (0x80, 72, 0)),  # of no length: one frame
        (240, (0x91, 50, 9)),  # frame 7; never ended
        (119, END),  # at 959: frame 8
    ]
    (tmp_path / "x.mid").write_bytes(midi(one, two))
    found, left_out = rolls.read_midi(tmp_path / "x.mid", 4)
    expected = roll_of(8, (60, 0, 5), (62, 0, 2), (61, 1, 3), (72, 5, 6), (50, 7, 8))
    assert np.array_equal(found, expected) and left_out == 2


HELD = (0, (0x90, 60, 1)), (9, END)
NO_MIDI = {
    "a MIDI file, got another or a damaged file: EOFError": b"",
    "MThd not found": b"RIFF....",
    "or a damaged file: EOFError": midi(HELD)[:-5],
    "data byte must be in range": midi([(0, (0x90, 60, 200)), (9, END)]),
    "running status without last_status": midi([(0, (60, 1)), (9, END)]),
    "got tracks that do not sound together": midi(HELD, kind=2),
    "got frames of a film": midi(HELD, division=-6000),
    "a MIDI file that counts in beats": midi(HELD, division=0),
    "notes, got none": midi([(9, END)]),
    "notes, got none on the keys of a piano": midi([(0, (0x90, 9, 1)), (9, END)]),
    "at most 100,000 frames, got 2,236,962": midi([*HELD[:1], (2**28 - 1, END)]),
    "numbers of at most four bytes, got a longer one": midi([*HELD[:1], (2**28, END)]),
    "or a damaged file: expected numbers of at most four bytes": midi([(2**50_000, END)]),
}


@pytest.mark.parametrize("message", NO_MIDI)
def test_what_is_no_midi(rolls, tmp_path, message):
    (tmp_path / "song.mid").write_bytes(NO_MIDI[message])
    with pytest.raises(ValueError, match=f"song.mid: expected .*{message}"):
        rolls.read_midi(tmp_path / "song.mid", 4)


def test_damaged_midi_is_read_or_named(rolls, tmp_path):
    draws = random.Random(0)
    path = tmp_path / "song.mid"
    rolls.write_midi(path, np.random.default_rng(0).random((9, 88)) < 0.05, 1, 90)
    whole, outcomes = path.read_bytes(), set()
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(3):
            data[draws.randrange(len(data))] = draws.randrange(256)
        path.write_bytes(data[: draws.randrange(len(data), 2 * len(data))])
        try:
            outcomes.add(rolls.read_midi(path, 1)[0].shape[1])
        except ValueError as error:
            assert str(error).startswith(f"{path}: expected ")
            outcomes.add("named")
    assert outcomes == {88, "named"}


def test_finds_files(rolls, tmp_path):
    for name in ("b.mid", "a.MIDI", "c.txt", "deep/d.mid"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = rolls.find_midi([tmp_path / "c.txt", tmp_path])
    assert [path.name for path in found] == ["c.txt", "a.MIDI", "b.mid", "d.mid"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ValueError, match="empty: expected MIDI files, .mid or .midi, in this folder"
    ):
        rolls.find_midi([tmp_path / "empty"])
    with pytest.raises(FileNotFoundError, match="none.mid: expected a MIDI file or a folder"):
        rolls.find_midi([tmp_path / "none.mid"])


def test_without_mido(rolls, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(
        ImportError, match=r'MIDI files need mido: pip install "recur-jax\[music\]"'
    ):
        rolls.write_midi(tmp_path / "x.mid", roll_of(2), 1, 90)


# --- MATLAB --------------------------------------------------------------------------------------


def save_mat(path, **changes):
    """A file as the music of Boulanger-Lewandowski is in, but for some changes."""
    import scipy.io

    def cells(rolls):
        found = np.empty((1, len(rolls)), object)
        for number, roll in enumerate(rolls):
            found[0, number] = roll
        return found

    roll = roll_of(3, (60, 0, 2), (108, 2, 3)).astype(np.uint8)
    pieces = {"traindata": [roll, roll[:2]], "validdata": [roll], "testdata": [roll[1:]]}
    pieces |= changes
    kept = {key: cells(v) if isinstance(v, list) else v for key, v in pieces.items()}
    scipy.io.savemat(path, {key: value for key, value in kept.items() if value is not None})
    return roll


def test_reads_mat(rolls, tmp_path):
    roll = save_mat(tmp_path / "x.mat")
    found = rolls.read_mat(tmp_path / "x.mat")
    assert list(found) == ["training", "validation", "test"]
    for split, expected in (("training", [roll, roll[:2]]), ("test", [roll[1:]])):
        assert [each.tolist() for each in found[split]] == [
            each.astype(bool).tolist() for each in expected
        ]
        assert all(each.dtype == bool for each in found[split])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"testdata": None}, r"got \['traindata', 'validdata'\]: testdata is not there"),
        ({"testdata": np.ones((4, 88))}, "testdata: expected a cell array .* got float64"),
        ({"testdata": []}, "testdata: expected a cell array"),
        ({"traindata": [np.zeros((4, 87))]}, r"traindata, piece 1: expected a roll \[T, 88\].* 87"),
        ({"validdata": [np.zeros((1, 88))]}, "validdata, piece 1: expected at least 2 frames"),
        ({"validdata": [np.full((3, 88), 0.5)]}, "keys that are up or down, 0 or 1, got 0.5"),
        ({"validdata": [np.full((3, 88), np.nan)]}, "0 or 1, got nan"),
        ({"validdata": [np.full((3, 88), "x")]}, "validdata, piece 1: expected"),
    ],
)
def test_what_is_no_music(rolls, tmp_path, changes, message):
    save_mat(tmp_path / "x.mat", **changes)
    with pytest.raises(ValueError, match=f"x.mat: .*{message}"):
        rolls.read_mat(tmp_path / "x.mat")


@pytest.mark.parametrize(
    "data", [b"", b"just a text, and no matrices" * 9, b"MATLAB 7.3" + b"\0" * 114]
)
def test_what_is_no_mat(rolls, tmp_path, data):
    (tmp_path / "x.mat").write_bytes(data)
    with pytest.raises(ValueError, match="x.mat: expected a MATLAB file"):
        rolls.read_mat(tmp_path / "x.mat")


def element(kind, data):
    """A part of a MATLAB file: its kind, its size, and its bytes up to a multiple of eight."""
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def variable_of(kind, shape, data, name=b""):
    """A variable of a MATLAB file; of kind 1, an array of cells."""
    head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack("<2i", *shape))
    return element(14, head + element(1, name) + data)


def nested(depth):
    """A number in cells in cells ..."""
    inner = variable_of(6, (1, 1), element(9, struct.pack("<d", 1)))
    for _ in range(depth):
        inner = variable_of(1, (1, 1), inner)
    return inner


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (variable_of(1, (1, 400_000_000), b"", b"traindata"), "got: Unable to allocate 2.98 GiB"),
        (variable_of(6, (20_000, 20_000), element(9, b"")[:4], b"traindata"), "SciPy reads, got"),
        (nested(3000), "at which SciPy's reader fails|is not there"),
    ],
)
def test_files_that_lie_take_no_memory_and_crash_nothing(rolls, tmp_path, data, message):
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x100) + b"IM"
    (tmp_path / "x.mat").write_bytes(head + data)
    with pytest.raises(ValueError, match=f"x.mat: expected .*({message})"):
        rolls.read_mat(tmp_path / "x.mat")


def test_a_reader_that_crashes_is_told(rolls, tmp_path, monkeypatch):
    (tmp_path / "reader.py").write_text("import os; os.abort()")
    monkeypatch.setattr(rolls, "MAT_READER", tmp_path / "reader.py")
    save_mat(tmp_path / "x.mat")
    with pytest.raises(ValueError, match="x.mat: .* one at which SciPy's reader fails .*-6"):
        rolls.read_mat(tmp_path / "x.mat")


def test_files_that_are_not_there(rolls, tmp_path):
    for read in (rolls.read_mat, lambda path: rolls.read_midi(path, 1)):
        with pytest.raises(FileNotFoundError, match="none"):
            read(tmp_path / "none")


def test_numbers_of_a_sound(rolls):
    found = rolls.sound_of([roll_of(4, (60, 0, 3), (61, 2, 3)), roll_of(1, (60, 0, 1))])
    assert found == {
        "keys at once": 1.0,
        "frames a note": 5 / 3,
        "silent frames": 0.2,
        "lowest": 60,
        "highest": 61,
    }
    assert rolls.sound_of([roll_of(2)])["highest"] == 0


# --- Canons --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(canons):
    return canons.compose_many(7, 30)


def test_followers_sing_what_the_leader_sang(many):
    white = [(tone - 21) % 12 for tone in (60, 62, 64, 65, 67, 69, 71)]
    for roll, _ in many:
        assert 32 <= len(roll) <= 64 and len(roll) % 4 == 0 and roll.any(1).all()
        assert (roll[:2].sum(1) == 1).all() and (roll.sum(1) <= 3).all()
        assert not np.delete(roll, [key for key in range(88) if key % 12 in white], axis=1).any()
        lower = np.pad(roll, [(0, 0), (0, 12)])[:, 12:]  # all an octave lower
        assert ((roll[2:] & ~lower[:-2]).sum(1) <= 1).all()  # the leader alone is new
        assert (lower[:2] <= roll[2:4]).all()  # it is imitated,
        assert (lower[2:-2] & ~roll[4:]).sum(1).max() <= 1  # and so is the first follower


def test_what_a_canon_costs_who_knows_the_rule(many):
    """At first all ten notes are alike; then the leader moves by chance, with weights by hand."""
    scale = [72, 74, 76, 77, 79, 81, 83, 84, 86, 88]
    leaps = {1: 8, 2: 4, 3: 2, 4: 1, 5: 0.5, 7: 0.5}
    for roll, nats in many:
        first, second = (scale.index(np.flatnonzero(roll[t])[0] + 21) for t in (0, 1))
        assert nats[0] == pytest.approx(-np.log(0.1) - 9 * np.log(0.9))
        weights = np.array([leaps.get(abs(degree - first), 0) for degree in range(10)])
        chances = 0.95 * weights / weights.sum()
        chances[first] = 0.05
        sung = np.arange(10) == second
        assert nats[1] == pytest.approx(-np.log(np.where(sung, chances, 1 - chances)).sum())


def test_what_is_sure_costs_nothing(canons, monkeypatch):
    """A leader that never moves costs its first note; what follows is known."""
    monkeypatch.setattr(canons, "MOVES", 0.0)
    roll, nats = canons.compose(np.random.default_rng(0), 3)
    assert not nats[1:].any() and nats[0] > 3
    assert roll[:2].any(0).sum() == 1 and roll[4:].any(0).sum() == 3


def test_leaders_look_for_consonance(canons):
    """From degree 4 above a voice at -3: a second and a seventh are a twentieth as likely."""
    chances = canons.leader_chances(4, [-3])
    assert chances.sum() == pytest.approx(1) and chances[4] == pytest.approx(1 - 0.95)
    assert chances[3] == chances[5] == pytest.approx(8 * 0.05 * chances[2] / 4)
    assert chances[2] == chances[6]  # a sixth, a third


def test_the_same_seed_gives_the_same_canons(canons, many):
    again, other = canons.compose_many(7, 2), canons.compose_many(8, 2)
    assert all(np.array_equal(a.roll, b.roll) for a, b in zip(again, many, strict=False))
    assert not np.array_equal(other[0].roll[:32], many[0].roll[:32])
