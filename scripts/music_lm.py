r"""Trains models of polyphonic music on piano rolls, and generates music as MIDI files.

    python scripts/music_lm.py                        on canons composed by the script
    python scripts/music_lm.py --mat FILE             on JSB Chorales, Nottingham ... (.mat)
    python scripts/music_lm.py --midi FILES FOLDERS   on your own MIDI files
    python scripts/music_lm.py generate --run DIR --cell gru --begin FILE.mid --temperature 0.9

A frame is the state of 88 keys, up or down. Given the previous frames, a model predicts each key
independently (Bernoulli), and the loss of a frame is the sum over keys. The table shows nats per
frame, the mean over all frames of a split except the first of each piece, as in the code of Chung
et al. 2014, https://arxiv.org/abs/1412.3555, whose results are in the column `published`. The
column `first frames too` includes first frames, predicted from silence. The epoch with the best
validation is evaluated.

Install: pip install -e ".[train,music]". Cost and result, seed 0, on two CPU cores:

    on canons, 3 minutes         on JSB Chorales, 14 minutes on a busy machine
                           test                        validation   test   published
    marginals              8.74       marginals             10.99  11.09
    one-step Markov        8.66       one-step Markov       10.15  10.49
    tanh, 128 units        2.75       tanh-100               8.50   8.61        9.10
    gru, 128 units         2.77       gru-46                 8.49   8.57        8.54
    lstm, 128 units        2.87       lstm-36                8.41   8.51        8.67
    the composer's rule    1.99

The composer's rule is a lower bound for models that predict each key independently. All numbers:
results/music-intel-xeon-2.5ghz-2-cores.md. In the folder of the run, midi/ has held-out pieces,
continuations of their beginnings by the models, and pieces generated from nothing. Since keys are
sampled independently, a voice with several likely next notes sometimes gets two of them, or none.

On JSB Chorales, at twice the learning rate for 60 to 120 epochs, a GRU reaches 8.83 nats on
validation without weight noise, and 8.62, 8.56 and 8.59 with noise of 0.075, 0.1 and 0.15.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import contextlib
import dataclasses
import itertools
import math
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import running
from bounds import BOUNDS, total_updates
from canons import FRAMES_PER_BEAT, compose_many
from claims import claimed, new_folder
from display import command_line
from flax import linen as nn
from piano_rolls import (
    KEYS,
    SPLITS,
    check_roll,
    find_midi,
    import_mido,
    read_mat,
    read_midi,
    sound_of,
    write_midi,
)
from saving import (
    is_of,
    read_arrays,
    read_json,
    read_metrics,
    write_arrays,
    write_json,
    write_picture,
    write_text,
)
from tqdm import tqdm

import recur
from recur import decode
from recur.diagnose import curves
from recur.sequences import Batch, Layout, batches, bucket, find_boundaries, make_batches, unpack
from recur.train import (
    JsonLines,
    Report,
    fit,
    init_state,
    make_step,
    masked_mean,
    weight_noise,
)

CELLS = {"tanh": recur.elman, "gru": recur.gru, "lstm": recur.lstm}
PUBLISHED = {  # by Chung et al. 2014, by the name of the file
    "JSB_Chorales": {"tanh": 9.10, "gru": 8.54, "lstm": 8.67},
    "Nottingham": {"tanh": 3.13, "gru": 3.23, "lstm": 3.20},
}
FEATURES = {"tanh": 100, "gru": 46, "lstm": 36}  # as published: about 20,000 weights each
COMPOSED = {"training": 300, "validation": 60, "test": 60}  # canons
LENGTHS = 3  # of batches; each is compiled
ROWS_JUDGED = 32  # of a batch in evaluation


class Recipe(NamedTuple):
    """Default options for a kind of music."""

    frames_per_beat: int
    features: dict[str, int]
    epochs: int
    noise: float


CANONS = Recipe(FRAMES_PER_BEAT, dict.fromkeys(CELLS, 128), epochs=40, noise=0.0)
MAT = Recipe(1, FEATURES, epochs=150, noise=0.1)
MIDI = Recipe(4, FEATURES, epochs=150, noise=0.1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WritingOptions:
    """Options of generation."""

    pieces: int = 3
    """Number of pieces of each kind to generate."""
    length: int = 96
    """Frames of each piece to generate."""
    given: int = 16
    """Frames of each held-out piece to continue."""
    temperature: float = 1.0
    """Below 1 sharpens the distribution, which gives fewer notes; above 1 flattens it. At 0 a key
    is down if its probability is above 0.5."""
    beats_per_minute: float = 90
    """Tempo."""
    seed: int = 0
    """Seed of canons, weights, noise, order and samples."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(WritingOptions):
    """Train recurrent networks to predict the next frame of music, and generate music.

    Without --mat or --midi they are trained on canons that the script composes. To generate more
    music: `music_lm.py generate --help`.
    """

    mat: pathlib.Path | None = None
    """A MATLAB file of piano rolls, with traindata, validdata and testdata."""
    midi: tuple[pathlib.Path, ...] = ()
    """MIDI files or folders; a tenth is held out for validation, and a tenth for the test."""
    frames_per_beat: int | None = None
    """Frames per quarter note. Default: 4 for MIDI files, otherwise 1."""
    run: pathlib.Path | None = None
    """A new folder for the results. Default: runs/music_lm-1, -2 ..."""

    cells: tuple[Literal["tanh", "gru", "lstm"], ...] = tuple(CELLS)
    """The recurrent cells."""
    features: int | None = None
    """Units of each cell. Default: as published, tanh 100, gru 46 and lstm 36; 128 for canons."""
    epochs: int | None = None
    """Number of epochs. Default: 40 for canons, otherwise 150."""
    batch_size: int = 8
    """Pieces per batch."""
    learning_rate: float = 5e-3
    """Maximum learning rate of Adam, with cosine decay to 0."""
    clip: float = 1.0
    """Maximum gradient norm."""
    noise: float | None = None
    """Standard deviation of the noise on all weights during training. Default: 0 for canons,
    otherwise 0.1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerateOptions(WritingOptions):
    """Generate music with a model trained by `music_lm.py`."""

    run: pathlib.Path
    """The folder of the run."""
    cell: Literal["tanh", "gru", "lstm"] = "gru"
    """The cell of the model."""
    begin: pathlib.Path | None = None
    """A MIDI file to continue, from its first note. Default: start from nothing."""
    to: pathlib.Path | None = None
    """A new folder for the music. Default: written-1, -2 ... in the folder of the run."""


class Music(NamedTuple):
    """Rolls, bool `[T, 88]` each, and reference results."""

    rolls: dict[str, list[np.ndarray]]  # training, validation and test
    published: dict[str, float]  # nats per frame of the test split, by cell
    foreseen: dict[str, list[np.ndarray]]  # nats of canons under the rule that composed them


# --- Music ---------------------------------------------------------------------------------------


def complete(options: Options) -> tuple[Options, dict[str, int]]:
    """Fills in the default options for the kind of music; also returns the units of each cell."""
    if options.mat and options.midi:
        raise ValueError("expected --mat or --midi, got both.")
    recipe = MAT if options.mat else MIDI if options.midi else CANONS
    said = {name: getattr(options, name) for name in ("frames_per_beat", "epochs", "noise")}
    missing = {name: getattr(recipe, name) for name, value in said.items() if value is None}
    features = {cell: options.features or recipe.features[cell] for cell in options.cells}
    return dataclasses.replace(options, **missing), features


def read_music(options: Options) -> Music:
    """Reads the given files, or composes canons."""
    if options.mat:
        return Music(read_mat(options.mat), PUBLISHED.get(options.mat.stem, {}), {})
    if options.midi:
        return Music(read_pieces(options.midi, options.frames_per_beat), {}, {})
    canons = {
        split: compose_many(options.seed + 1000 * number, count)
        for number, (split, count) in enumerate(COMPOSED.items())
    }
    rolls, foreseen = (
        {split: [getattr(each, name) for each in pieces] for split, pieces in canons.items()}
        for name in ("roll", "nats")
    )
    return Music(rolls, {}, foreseen)


def read_pieces(paths: tuple[pathlib.Path, ...], frames_per_beat: int) -> dict[str, list]:
    """Reads MIDI files, trims silence, and splits them, the same way each time."""
    rolls, left_out = [], 0
    files = find_midi(paths)
    if len(files) < len(SPLITS):
        raise ValueError(
            f"--midi: expected at least {len(SPLITS)} files, for training, validation and test, "
            f"got {len(files)}."
        )
    for file in files:
        roll, outside = read_midi(file, frames_per_beat)
        rolls.append(check_roll(without_silence(roll), str(file)))
        left_out += outside
    if left_out:
        print(f"{left_out} notes outside the {KEYS} keys of a piano are left out.")
    order = np.random.default_rng(0).permutation(len(rolls))
    held_out = max(1, len(rolls) // 10)
    ends = (0, held_out, 2 * held_out, len(rolls))
    test, validation, training = (
        [rolls[i] for i in order[a:b]] for a, b in itertools.pairwise(ends)
    )
    return {"training": training, "validation": validation, "test": test}


def without_silence(roll: np.ndarray) -> np.ndarray:
    """Trims the silence before the first note and after the last."""
    sounds = np.flatnonzero(roll.any(1))
    return roll[sounds[0] : sounds[-1] + 1]


def steps_of(roll: np.ndarray) -> dict[str, np.ndarray]:
    """The input of each step, the previous frame or at first silence, and its target."""
    return {"before": np.pad(roll[:-1], [(1, 0), (0, 0)]), "frame": roll}


# --- Baselines -----------------------------------------------------------------------------------


def count_keys(rolls: list[np.ndarray], by_last: bool) -> np.ndarray:
    """Probability of each key, `[2, 88]`: after a frame with the key up, and with it down."""
    steps = [steps_of(roll) for roll in rolls]
    before, frame = (np.concatenate([each[name] for each in steps]) for name in ("before", "frame"))
    groups = [~before, before] if by_last else [np.ones_like(before)] * 2
    return np.stack([((frame & g).sum(0) + 1) / (g.sum(0) + 2) for g in groups])


def nats_of_counts(chances: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Nats of each frame, `[T]`, under the probabilities of `count_keys`."""
    steps = steps_of(roll)
    chance = np.where(steps["before"], chances[1], chances[0])
    return -np.log(np.where(steps["frame"], chance, 1 - chance)).sum(1)


def mean_of(nats: list[np.ndarray], since: int) -> float:
    """The mean over the frames of all pieces, from frame `since` of each."""
    return float(np.concatenate([each[since:] for each in nats]).mean())


def judge(nats_of: Callable[[str], list[np.ndarray]]) -> dict[str, float]:
    """Results of a table row; `nats_of(split)` returns the nats of the frames of each piece."""
    later = {split: mean_of(nats_of(split), 1) for split in SPLITS}
    return later | {"first frames too": mean_of(nats_of("test"), 0)}


def baselines(music: Music) -> dict[str, dict[str, float]]:
    """Results of the frequencies of keys, of a Markov model of each key, and of the rule."""
    rows = {}
    for name, by_last in (("marginals", False), ("one-step Markov", True)):
        chances = count_keys(music.rolls["training"], by_last)
        rows[name] = judge(
            lambda split, c=chances: [nats_of_counts(c, r) for r in music.rolls[split]]
        )
    if music.foreseen:
        rows["the composer's rule"] = judge(lambda split: music.foreseen[split])
    return rows


# --- One model -----------------------------------------------------------------------------------


def build_model(cell: str, features: int) -> recur.Layer:
    """A recurrent layer and a logit for each key, for a batch of pieces."""
    return recur.batch(recur.chain(recur.scan(CELLS[cell](features)), nn.Dense(KEYS)))


def nats_of_frames(model: recur.Layer, params: Any, batch: Batch) -> jax.Array:
    """The loss of each frame, `[B, T]`, summed over keys."""
    logits = model(params, batch.steps["before"].astype(jnp.float32), **batch.layer_kwargs)
    keys = batch.steps["frame"].astype(jnp.float32)
    return optax.sigmoid_binary_cross_entropy(logits, keys).sum(-1)


def make_judge(model: recur.Layer, layout: Layout, rolls: dict[str, list[np.ndarray]]):
    """`nats(params, split)` -> the loss of every frame, `[T]` for each piece."""
    of_batch = jax.jit(lambda params, batch: nats_of_frames(model, params, batch))
    laid_out = {
        split: make_batches([steps_of(roll) for roll in pieces], layout, ROWS_JUDGED)
        for split, pieces in rolls.items()
    }

    def nats(params, split):
        found = {}
        for batch in laid_out[split]:
            found |= unpack(np.asarray(of_batch(params, batch), np.float64), batch)
        return [found[number] for number in range(len(found))]

    return nats


def learn(
    model: recur.Layer,
    nats: Callable[[Any, str], list[np.ndarray]],
    layout: Layout,
    music: Music,
    options: Options,
    log: pathlib.Path,
) -> tuple[Any, dict[str, Any]]:
    """Trains a model; returns and saves the params of the best validation, with its epoch."""
    pieces = [steps_of(roll) for roll in music.rolls["training"]]
    per_epoch = len(make_batches(pieces, layout, options.batch_size))
    steps = total_updates(options.epochs, per_epoch)
    rate = optax.warmup_cosine_decay_schedule(0, options.learning_rate, per_epoch, steps + 1)
    optimizer = optax.chain(optax.clip_by_global_norm(options.clip), optax.adam(rate))
    params_key, run_key = jax.random.split(jax.random.key(options.seed))
    frames = jax.ShapeDtypeStruct((options.batch_size, 1, KEYS), jnp.float32)
    params = model.init(params_key, frames)
    disturb = weight_noise(options.noise)
    best = {"nats": math.inf, "epoch": 0, "params": params}

    def loss(params, carry, batch, key):
        costs = nats_of_frames(model, disturb(key, params), batch)
        return masked_mean(costs, batch.mask), (carry, {})

    def validate(report: Report) -> dict[str, float]:
        found = mean_of(nats(report.state.params, "validation"), 1)
        if found < best["nats"]:
            best.update(nats=found, epoch=report.step // per_epoch, params=report.state.params)
            write_arrays(log.with_suffix(".npz"), jax.tree.leaves(report.state.params))
        return {"validation": found}

    began = time.monotonic()
    stream = batches(pieces, layout, options.batch_size, seed=options.seed)
    with (
        contextlib.closing(stream),
        tqdm(total=options.epochs, desc=log.stem, unit="epoch", leave=False) as bar,
    ):
        fit(
            jax.jit(make_step(loss, optimizer)),
            init_state(params, optimizer, run_key),
            stream,
            steps=steps,
            callbacks=[validate, JsonLines(log), lambda report: bar.update() and None],
            report_every=per_epoch,
        )
    found = {"epoch": best["epoch"], "seconds": time.monotonic() - began}
    return best["params"], found


# --- Generation ---------------------------------------------------------------------------------


def make_writer(model: recur.Layer, length: int, temperature: float):
    """`write(params, begin, key)` -> continuations of the rolls `begin`, `[B, T, 88]`, T ≥ 0."""
    draw_keys = decode.bernoulli(temperature)

    def write(params, begin, key):
        before = jnp.pad(jnp.asarray(begin, jnp.float32), [(0, 0), (1, 0), (0, 0)])
        frames = decode.generate(model, params, before, next_input=draw_keys, steps=length, key=key)
        return np.concatenate([begin, np.asarray(frames, bool)], axis=1)

    return write


def write_music(
    options: WritingOptions,
    folder: pathlib.Path,
    model: recur.Layer,
    params: Any,
    begins: dict[str, np.ndarray],
    frames_per_beat: int,
) -> dict[str, np.ndarray]:
    """Generates continuations of each beginning, `[B, T, 88]`, and writes them as MIDI files."""
    write = make_writer(model, options.length, options.temperature)
    written = {}
    for number, (name, begin) in enumerate(begins.items()):
        key = jax.random.fold_in(jax.random.key(options.seed), number)
        written[name] = write(params, begin, key)
        write_files(folder, name, written[name], frames_per_beat, options.beats_per_minute)
    return written


def write_files(
    folder: pathlib.Path, name: str, rolls: Any, frames_per_beat: int, beats_per_minute: float
) -> None:
    """Writes rolls as name-1.mid, -2 ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, roll in enumerate(rolls, start=1):
        write_midi(folder / f"{name}-{number}.mid", roll, frames_per_beat, beats_per_minute)


# --- The run -------------------------------------------------------------------------------------

COLUMNS = (*SPLITS, "first frames too", "published", "weights", "epoch", "seconds")
HEADER = f"| nats per frame | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}"
FORMATS = {"weights": ",d", "epoch": "d", "seconds": ".0f"}


def row_of(name: str, found: dict[str, Any]) -> str:
    """A row of the table."""
    cells = [
        format(found[column], FORMATS.get(column, ".2f")) if column in found else ""
        for column in COLUMNS
    ]
    return f"| {name} | {' | '.join(cells)} |"


def train(options: Options) -> None:
    """Trains all cells, and writes and prints each result at once."""
    if not options.cells:
        raise ValueError("--cells: expected at least one, got none.")
    import_mido()  # an ImportError now, and not after training
    options, features = complete(options)
    music = read_music(options)
    begins = begin_pieces(options, music.rolls["test"])
    with claimed(options.run, "runs/music_lm") as folder:
        train_in_folder(options, folder, music, features, begins)


def train_in_folder(
    options: Options,
    folder: pathlib.Path,
    music: Music,
    features: dict[str, int],
    begins: dict[str, np.ndarray],
) -> None:
    """Trains all cells, in a folder that is locked."""
    held_out = music.rolls["test"][: options.pieces]
    beats = (options.frames_per_beat, options.beats_per_minute)
    write_files(folder / "midi", "held-out", held_out, *beats)
    begun = dataclasses.asdict(options) | {"features": features}
    write_json(folder / "options.json", begun)

    results = baselines(music)
    sounds = {"the test": sound_of(music.rolls["test"])}
    frames = sum(len(roll) for roll in music.rolls["training"])
    counts = ", ".join(f"{len(music.rolls[split])} {split}" for split in SPLITS)
    print(f"{folder}: pieces: {counts}; {frames:,} training frames.\n\n{HEADER}")
    for name, found in results.items():
        print(row_of(name, found), flush=True)
    with running.at_the_end(lambda: draw(folder, options.cells)):
        for cell in options.cells:
            model, name = build_model(cell, features[cell]), f"{cell}-{features[cell]}"
            results[name], written = study(cell, model, music, options, folder, begins)
            sounds[name] = sound_of(written)
            print(row_of(name, results[name]), flush=True)
            write_json(folder / "results.json", {"nats": results, "sounds": sounds})
    heard = table_of(sounds)
    table = [HEADER, *(row_of(name, found) for name, found in results.items()), "", *heard]
    write_text(folder / "table.md", "\n".join(table) + "\n")
    print("\n".join(["", *heard, "", f"Listen: {folder / 'midi'}. To generate more:"]))
    write = command_line("music_lm.py", "generate", "--run", folder, "--cell", options.cells[-1])
    print(f"  {write}")


def begin_pieces(options: WritingOptions, rolls: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The beginnings to continue, `[B, T, 88]`: some frames of pieces, or none."""
    given = [roll[: options.given] for roll in rolls if len(roll) >= options.given]
    if not given:
        longest = max(map(len, rolls))
        raise ValueError(
            f"--given: expected at most the {longest} frames of the longest piece, got "
            f"{options.given}."
        )
    nothing = np.zeros((options.pieces, 0, KEYS), bool)
    return {"continues": np.stack(given[: options.pieces]), "from-nothing": nothing}


def study(
    cell: str,
    model: recur.Layer,
    music: Music,
    options: Options,
    folder: pathlib.Path,
    begins: dict[str, np.ndarray],
) -> tuple[dict[str, Any], np.ndarray]:
    """Trains, evaluates and samples a cell; returns its row and the music from nothing."""
    lengths = [len(roll) for rolls in music.rolls.values() for roll in rolls]
    layout = bucket(find_boundaries(lengths, LENGTHS))
    nats = make_judge(model, layout, music.rolls)
    params, found = learn(model, nats, layout, music, options, folder / f"{cell}.jsonl")
    judged = judge(lambda split: nats(params, split))
    weights = sum(leaf.size for leaf in jax.tree.leaves(params))
    published = {"published": music.published[cell]} if cell in music.published else {}
    begins = {f"{cell}-{name}": begin for name, begin in begins.items()}
    beats = options.frames_per_beat
    written = write_music(options, folder / "midi", model, params, begins, beats)
    row = {**judged, **published, "weights": weights, **found}
    return row, written[f"{cell}-from-nothing"]


def generate(options: GenerateOptions) -> None:
    """The subcommand `generate`."""
    path, kept = options.run / "options.json", options.run / f"{options.cell}.npz"
    if not path.exists() or not kept.exists():
        there = sorted(file.stem for file in options.run.glob("*.npz"))
        raise ValueError(
            f"{options.run}: expected the folder of a run with a trained {options.cell}, got "
            f"{'one with ' + ', '.join(there) if there else 'none'}."
        )
    beats, features = begun_numbers(path, options.cell)
    model = build_model(options.cell, features)
    shape = jax.ShapeDtypeStruct((1, 1, KEYS), jnp.float32)
    outline = jax.eval_shape(lambda: model.init(jax.random.key(0), shape))
    leaves, structure = jax.tree.flatten(outline)
    params = jax.tree.unflatten(structure, read_arrays(kept, leaves))
    begin = np.zeros((options.pieces, 0, KEYS), bool)
    if options.begin:
        roll, _ = read_midi(options.begin, beats)
        begin = np.stack([without_silence(roll)[: options.given]] * options.pieces)
    folder = new_folder(options.to, str(options.run / "written"))
    written = write_music(options, folder, model, params, {options.cell: begin}, beats)
    print("\n".join([*table_of({options.cell: sound_of(written[options.cell])}), "", str(folder)]))


def begun_numbers(path: pathlib.Path, cell: str) -> tuple[int, int]:
    """Frames per beat and units of a cell, from the saved options of a run."""
    begun = read_json(path)
    features = begun.get("features")
    found = {
        "frames_per_beat": begun.get("frames_per_beat"),
        "features": features.get(cell) if isinstance(features, dict) else features,
    }
    for name, value in found.items():
        if not is_of(int, value) or not BOUNDS[name].holds(value):
            raise ValueError(
                f"{path}: expected {name} {BOUNDS[name].what}, as a run of this script writes it, "
                f"got {value!r:.60}."
            )
    return found["frames_per_beat"], found["features"]


def table_of(sounds: dict[str, dict[str, float]]) -> list[str]:
    """Statistics of music, as the lines of a table."""
    names = list(next(iter(sounds.values())))
    lines = [f"| music | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for music, sound in sounds.items():
        lines.append(f"| {music} | {' | '.join(f'{sound[name]:.4g}' for name in names)} |")
    return lines


def draw(folder: pathlib.Path, cells: tuple[str, ...]) -> None:
    """Draws the validation loss over updates."""
    logs = {
        cell: read_metrics(path, "validation")
        for cell in cells
        if (path := folder / f"{cell}.jsonl").exists()
    }
    lines = {
        cell: ([r["step"] for r in records], [r["validation"] for r in records])
        for cell, records in logs.items()
        if records
    }
    if lines:
        write_picture(folder / "curves.png", curves(lines, y="validation, nats per frame"))


def main(arguments: list[str]) -> None:
    """Runs a subcommand."""
    if arguments[:1] == ["generate"]:
        generate(running.parse(GenerateOptions, arguments[1:], "music_lm.py generate"))
    else:
        train(running.parse(Options, arguments, "music_lm.py"))


if __name__ == "__main__":
    running.run_script("music_lm", main, sys.argv[1:], running.IS_KEPT)
