"""Piano rolls, bool `[T, 88]`, the keys that are down in each frame: reading and writing.

Frames count beats, not seconds, so tempi are ignored. A roll does not distinguish a held note from
one that is repeated at once: `write_midi` holds it, and `read_midi` returns the roll that was
written.
"""

from __future__ import annotations

import io
import pathlib
import subprocess
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

KEYS, LOWEST = 88, 21  # A0 to C8, and the MIDI number of A0
SPLITS = {"training": "traindata", "validation": "validdata", "test": "testdata"}
MAT_READER = pathlib.Path(__file__).with_name("mat_reader.py")
IS_WRONG = 3  # the exit status of the reader for a file without valid rolls
PERCUSSION = 9  # channel 10, counted from 0
TICKS = 120  # per frame, in written files
VELOCITY = 80
MOST_FRAMES = 100_000  # of a piece
MOST_TICKS = 1 << 28  # the numbers of MIDI have four bytes of seven bits
MOST_MARKED = 4096  # consecutive bytes with the highest bit: more than any text has


class Note(NamedTuple):
    """A note in ticks."""

    number: int  # of MIDI: 60 is middle C
    begin: int
    end: int


# --- MATLAB files --------------------------------------------------------------------------------


def read_mat(path: pathlib.Path) -> dict[str, list[np.ndarray]]:
    """Reads the rolls of each split from a MATLAB file in the format of Boulanger-Lewandowski.

    It is read in a separate process, since some files crash the reader of SciPy.

    Raises:
      OSError: if it cannot be read.
      ValueError: if it is of another kind, or holds other values than rolls.
    """
    with path.open("rb"):
        pass  # the errors of a file that cannot be read
    done = subprocess.run([sys.executable, MAT_READER, path], capture_output=True)
    said = done.stderr.decode(errors="replace").splitlines()[-1:]
    if done.returncode == IS_WRONG:
        raise ValueError(*said)
    if done.returncode:
        raise ValueError(
            f"{path}: expected a MATLAB file (up to version 7) of piano rolls, got one at which "
            f"SciPy's reader fails ({''.join(said) or f'exit status {done.returncode}'})."
        )
    rolls: dict[str, list[np.ndarray]] = {}
    with np.load(io.BytesIO(done.stdout)) as arrays:
        for name, roll in arrays.items():
            rolls.setdefault(name.split("/")[0], []).append(roll)
    return rolls


def _what(error: Exception) -> str:
    return str(error) or type(error).__name__


def check_roll(roll: Any, place: str) -> np.ndarray:
    """Returns a roll as bools; a ValueError that names the place if it is invalid."""
    roll = np.asarray(roll)
    if roll.ndim != 2 or roll.shape[1] != KEYS:
        raise ValueError(
            f"{place}: expected a roll [T, {KEYS}], a column for each of a piano's keys, got "
            f"{list(roll.shape)}."
        )
    if len(roll) < 2:
        raise ValueError(
            f"{place}: expected at least 2 frames, since the first is not predicted, "
            f"got {len(roll)}."
        )
    if roll.dtype.kind not in "buif":
        raise ValueError(f"{place}: expected numbers, got {roll.dtype}.")
    others = roll[(roll != 0) & (roll != 1)]
    if others.size:
        raise ValueError(f"{place}: expected keys that are up or down, 0 or 1, got {others[0]}.")
    return roll.astype(bool)


# --- MIDI files ----------------------------------------------------------------------------------


def find_midi(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Lists the given files, and the .mid and .midi files in the given folders, sorted.

    Raises:
      FileNotFoundError: if a path does not exist.
      ValueError: if a folder has no such files.
    """
    files = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: expected a MIDI file or a folder, got nothing there.")
        if not path.is_dir():
            files.append(path)
            continue
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in (".mid", ".midi"))
        if not found:
            raise ValueError(
                f"{path}: expected MIDI files, .mid or .midi, in this folder, got none."
            )
        files += found
    return files


def read_midi(path: pathlib.Path, frames_per_beat: int) -> tuple[np.ndarray, int]:
    """Reads the roll of a MIDI file; also returns the number of omitted notes outside 88 keys.

    All tracks and channels are merged, without percussion (channel 10) and pedals. A note begins
    and ends at the nearest frame, and has at least one. The roll is as long as the longest track.

    Raises:
      OSError: if the file cannot be read.
      ValueError: if it is not a MIDI file, is damaged, or has no notes.
    """
    data = path.read_bytes()
    mido = import_mido()
    try:
        file = mido.MidiFile(file=_MidiBytes(data))
    except Exception as error:  # mido raises errors of many types
        raise ValueError(
            f"{path}: expected a MIDI file, got another or a damaged file: {_what(error)}"
        ) from error
    if file.type == 2 or file.ticks_per_beat <= 0:
        other = "tracks that do not sound together" if file.type == 2 else "frames of a film"
        raise ValueError(f"{path}: expected a MIDI file that counts in beats, got {other}.")
    if any(message.time >= MOST_TICKS for track in file.tracks for message in track):
        raise ValueError(f"{path}: expected numbers of at most four bytes, got a longer one.")
    tracks = [_notes_of(track) for track in file.tracks]

    def frame_of(tick: int) -> int:
        return (2 * tick * frames_per_beat + file.ticks_per_beat) // (2 * file.ticks_per_beat)

    found = [
        (
            note.number - LOWEST,
            frame_of(note.begin),
            max(frame_of(note.begin) + 1, frame_of(note.end)),
        )
        for notes, _ in tracks
        for note in notes
    ]
    kept = [(key, begin, end) for key, begin, end in found if 0 <= key < KEYS]
    if not kept:
        raise ValueError(f"{path}: expected notes, got none on the keys of a piano.")
    frames = max(frame_of(max(end for _, end in tracks)), max(end for _, _, end in kept))
    if frames > MOST_FRAMES:
        raise ValueError(
            f"{path}: expected at most {MOST_FRAMES:,} frames, got {frames:,}. Lower "
            "--frames-per-beat, unless the file is damaged."
        )
    roll = np.zeros((frames, KEYS), bool)
    for key, begin, end in kept:
        roll[begin:end, key] = True
    return roll, len(found) - len(kept)


class _MidiBytes(io.BytesIO):
    """The bytes of a MIDI file; reading a number of too many bytes is an error.

    Mido reads numbers of any length, in a time that grows with the square of the length.
    """

    _marked = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._marked = self._marked + 1 if size == 1 and data >= b"\x80" else 0
        if self._marked > MOST_MARKED:
            raise ValueError("expected numbers of at most four bytes, got a longer one")
        return data


def _notes_of(track: Iterable[Any]) -> tuple[list[Note], int]:
    """The notes of a track without percussion, and its end."""
    now = 0
    begun: dict[tuple[int, int], int] = {}
    notes = []

    def end(voice: tuple[int, int]) -> None:
        if voice in begun:
            notes.append(Note(voice[1], begun.pop(voice), now))

    for message in track:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == PERCUSSION:
            continue
        voice = (message.channel, message.note)
        end(voice)  # also if it is struck again
        if message.type == "note_on" and message.velocity:
            begun[voice] = now
    for voice in list(begun):  # those without a note_off
        end(voice)
    return notes, now


def write_midi(
    path: pathlib.Path, roll: np.ndarray, frames_per_beat: int, beats_per_minute: float
) -> None:
    """Writes a roll for piano; a key that is down in consecutive frames is one note."""
    mido = import_mido()
    changes = np.diff(roll.astype(np.int8), axis=0, prepend=0, append=0)
    events: list[tuple[int, Any]] = [
        (0, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(beats_per_minute))),
        (0, mido.Message("program_change", program=0)),
    ]
    for frame, key in np.argwhere(changes):
        kind = "note_on" if changes[frame, key] > 0 else "note_off"
        message = mido.Message(kind, note=int(key) + LOWEST, velocity=VELOCITY)
        events.append((int(frame) * TICKS, message))
    events.append((len(roll) * TICKS, mido.MetaMessage("end_of_track")))
    track = mido.MidiTrack()
    last = 0
    for tick, message in events:
        track.append(message.copy(time=tick - last))
        last = tick
    mido.MidiFile(type=0, ticks_per_beat=frames_per_beat * TICKS, tracks=[track]).save(path)


def import_mido() -> Any:
    """Imports mido, or raises an ImportError that says how to install it."""
    try:
        import mido
    except ImportError as error:
        raise ImportError('MIDI files need mido: pip install "recur-jax[music]".') from error
    return mido


# --- Statistics ----------------------------------------------------------------------------------


def sound_of(rolls: Any) -> dict[str, float]:
    """Computes statistics of rolls."""
    rolls = [np.asarray(roll, bool) for roll in rolls]
    down = np.concatenate(rolls)
    begun = sum((roll & ~np.pad(roll[:-1], [(1, 0), (0, 0)])).sum() for roll in rolls)
    keys = np.flatnonzero(down.any(0)) + LOWEST
    return {
        "keys at once": float(down.sum() / len(down)),
        "frames a note": float(down.sum() / max(begun, 1)),
        "silent frames": float((~down.any(1)).mean()),
        "lowest": int(min(keys, default=0)),
        "highest": int(max(keys, default=0)),
    }
