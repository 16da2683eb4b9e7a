r"""Trains models of polyphonic music on piano rolls, and generates music as MIDI files.

    python scripts/music_lm.py                        on canons composed by the script
    python scripts/music_lm.py --mat FILE             on JSB Chorales, Nottingham ... (.mat)
    python scripts/music_lm.py --midi FILES FOLDERS   on your own MIDI files
    python scripts/music_lm.py --run DIR              resumes a run that was stopped
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
    tanh, 128 units        2.77       tanh-100               8.50   8.61        9.10
    gru, 128 units         2.77       gru-46                 8.49   8.57        8.54
    lstm, 128 units        2.87       lstm-36                8.41   8.51        8.67
    the composer's rule    1.99

The composer's rule is a lower bound for models that predict each key independently. All numbers:
results/music-*.md. In the folder of the run, midi/ has held-out pieces,
continuations of their beginnings by the models, and pieces generated from nothing. Since keys are
sampled independently, a voice with several likely next notes sometimes gets two of them, or none.

On JSB Chorales, at twice the learning rate for 60 to 120 epochs, a GRU reaches 8.83 nats on
validation without weight noise, and 8.62, 8.56 and 8.59 with noise of 0.075, 0.1 and 0.15.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from canons import FRAMES_PER_BEAT
from flax import linen as nn
from music_data import Music, Piece, read_music, rolls_of, without_silence, write_pieces
from piano_rolls import KEYS, SPLITS, import_mido, read_midi, sound_of

import recur
from recur import decode, diagnose, runs, train
from recur.sequences import Batch, Layout, batches, bucket, find_boundaries, make_batches

CELLS = {"tanh": recur.elman, "gru": recur.gru, "lstm": recur.lstm}
PUBLISHED = {  # by Chung et al. 2014, by the name of the file
    "JSB_Chorales": {"tanh": 9.10, "gru": 8.54, "lstm": 8.67},
    "Nottingham": {"tanh": 3.13, "gru": 3.23, "lstm": 3.20},
}
FEATURES = {"tanh": 100, "gru": 46, "lstm": 36}  # as published: about 20,000 weights each
FEATURES_FOR_CANONS = 128
DEFAULTS = {  # by the kind of music
    "canons": {"frames_per_beat": FRAMES_PER_BEAT, "epochs": 40, "noise": 0.0},
    "mat": {"frames_per_beat": 1, "epochs": 150, "noise": 0.1},
    "midi": {"frames_per_beat": 4, "epochs": 150, "noise": 0.1},
}
LENGTHS = 3  # of batches; each is compiled
ROWS_EVALUATED = 32  # of a batch in evaluation
FORMATS = dict.fromkeys((*SPLITS, "first frames too", "published"), ".2f") | {"seconds": ".0f"}
Evaluate = Callable[..., dict[str, float]]
FRAMES = jax.ShapeDtypeStruct((1, 1, KEYS), jnp.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WritingOptions:
    """Options of generation."""

    pieces: runs.Size = 3
    """Number of pieces of each kind to generate."""
    length: runs.Size = 96
    """Frames of each piece to generate."""
    given: runs.Size = 16
    """Frames of each held-out piece to continue."""
    temperature: runs.NonNegative = 1.0
    """Below 1 sharpens the distribution, which gives fewer notes; above 1 flattens it. At 0 a key
    is down if its probability is above 0.5."""
    beats_per_minute: Annotated[float, runs.between(4, 1000)] = 90
    """Tempo."""
    seed: runs.Seed = 0
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
    frames_per_beat: Annotated[int, runs.between(1, 250)] | None = None
    """Frames per quarter note. Default: 4 for MIDI files, otherwise 1."""
    run: pathlib.Path | None = None
    """The folder of the run. A new folder starts a run; an existing one resumes its run with the
    same options, except for other cells. Default: runs/music_lm-1, -2 ..."""

    cells: tuple[Literal["tanh", "gru", "lstm"], ...] = tuple(CELLS)
    """The recurrent cells."""
    features: runs.Size | None = None
    """Units of each cell. Default: as published, tanh 100, gru 46 and lstm 36; 128 for canons."""
    epochs: runs.Count | None = None
    """Number of epochs. Default: 40 for canons, otherwise 150."""
    batch_size: runs.Size = 8
    """Pieces per batch."""
    learning_rate: runs.Positive = 5e-3
    """Maximum learning rate of Adam, with cosine decay to 0."""
    clip: runs.Positive = 1.0
    """Maximum gradient norm."""
    noise: runs.NonNegative | None = None
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


def complete(options: Options) -> Options:
    """Fills in the default options for the kind of music."""
    if options.mat and options.midi:
        raise ValueError("expected --mat or --midi, got both.")
    kind = "mat" if options.mat else "midi" if options.midi else "canons"
    defaults = DEFAULTS[kind].items()
    missing = {name: value for name, value in defaults if getattr(options, name) is None}
    return dataclasses.replace(options, **missing)


# --- Evaluation ----------------------------------------------------------------------------------


def layout_of(music: Music) -> Layout:
    """The layout of batches, with a few lengths for all splits."""
    lengths = [len(roll) for pieces in music.values() for roll in rolls_of(pieces)]
    return bucket(find_boundaries(lengths, LENGTHS))


def make_evaluate(nats_of: Callable[[Any, Batch], jax.Array], music: Music) -> Evaluate:
    """`evaluate(params, splits)` -> mean nats per frame of each split, without first frames.

    `nats_of(params, batch)` is the loss of each frame, `[B, T]`. The test is also evaluated with
    first frames.
    """
    layout = layout_of(music)
    laid_out = {
        split: make_batches(pieces, layout, ROWS_EVALUATED) for split, pieces in music.items()
    }

    @jax.jit
    def step(params, batch):
        nats, mask = nats_of(params, batch), jnp.asarray(batch.mask)
        later = mask.at[:, 0].set(False)
        return {"later": train.average(nats, later), "all": train.average(nats, mask)}

    def evaluate(params, splits=tuple(SPLITS)):
        of_batch = functools.partial(step, params)
        found = {split: train.evaluate(of_batch, laid_out[split]) for split in splits}
        with_first = {"first frames too": found["test"]["all"]} if "test" in found else {}
        return {split: each["later"] for split, each in found.items()} | with_first

    return evaluate


def count_keys(pieces: list[Piece], by_last: bool) -> np.ndarray:
    """Probability of each key, `[2, 88]`: after a frame with the key up, and with it down."""
    before, frame = (np.concatenate([p[name] for p in pieces]) for name in ("before", "frame"))
    groups = [~before, before] if by_last else [np.ones_like(before)] * 2
    return np.stack([((frame & g).sum(0) + 1) / (g.sum(0) + 2) for g in groups])


def nats_of_counts(chances: np.ndarray, batch: Batch) -> jax.Array:
    """The loss of each frame under the probabilities of `count_keys`."""
    chance = jnp.where(batch.steps["before"], chances[1], chances[0])
    return -jnp.log(jnp.where(batch.steps["frame"], chance, 1 - chance)).sum(-1)


def evaluate_baselines(music: Music) -> list[dict[str, Any]]:
    """Rows for the frequencies of keys, a Markov model of each key, and the rule of canons."""
    evaluate_counts = make_evaluate(nats_of_counts, music)
    found = {
        name: evaluate_counts(count_keys(music["training"], by_last))
        for name, by_last in (("marginals", False), ("one-step Markov", True))
    }
    if "rule" in music["test"][0]:
        found["the composer's rule"] = make_evaluate(lambda _, b: b.steps["rule"], music)(None)
    return [{"nats per frame": name, **row} for name, row in found.items()]


# --- One model -----------------------------------------------------------------------------------


def features_of(options: Options, cell: str) -> int:
    """The number of units of a cell."""
    default = FEATURES[cell] if options.mat or options.midi else FEATURES_FOR_CANONS
    return options.features or default


def build_model(cell: str, features: int) -> recur.Layer:
    """A recurrent layer and a logit for each key, for a batch of pieces."""
    return recur.batch(recur.chain(recur.scan(CELLS[cell](features)), nn.Dense(KEYS)))


def load_model(cell: str, options: Options, folder: pathlib.Path) -> tuple[recur.Layer, Any]:
    """A trained model of a run and its params, of the epoch with the best validation."""
    model = build_model(cell, features_of(options, cell))
    outline = jax.eval_shape(model.init, jax.random.key(0), FRAMES)
    return model, runs.Run(folder / cell, best="validation").best_params(outline)


def nats_of_model(model: recur.Layer, params: Any, batch: Batch) -> jax.Array:
    """The loss of each frame, `[B, T]`, summed over keys."""
    logits = model(params, batch.steps["before"].astype(jnp.float32), **batch.layer_kwargs)
    keys = batch.steps["frame"].astype(jnp.float32)
    return optax.sigmoid_binary_cross_entropy(logits, keys).sum(-1)


def learn(cell: str, music: Music, options: Options, part: runs.Run) -> dict[str, Any]:
    """Trains a model, and evaluates its best epoch; returns a row of the table."""
    model = build_model(cell, features_of(options, cell))
    nats_of = functools.partial(nats_of_model, model)
    evaluate = make_evaluate(nats_of, music)
    disturb = train.weight_noise(options.noise)

    def loss(params, carry, batch, key):
        return train.masked_mean(nats_of(disturb(key, params), batch), batch.mask), (carry, {})

    def validate(report):
        return evaluate(report.state.params, ["validation"])

    source, layout = music["training"], layout_of(music)
    with batches(source, layout, options.batch_size, seed=options.seed) as stream:
        per_epoch = len(stream)
        rate = optax.warmup_cosine_decay_schedule(
            0, options.learning_rate, per_epoch, options.epochs * per_epoch + 1
        )
        optimizer = optax.chain(optax.clip_by_global_norm(options.clip), optax.adam(rate))
        params_key, run_key = jax.random.split(jax.random.key(options.seed))
        params = model.init(params_key, FRAMES)
        state = part.restore(train.init_state(params, optimizer, run_key), stream)
        began = time.monotonic()
        part.fit(
            jax.jit(train.make_step(loss, optimizer)),
            state,
            stream,
            epochs=options.epochs,
            callbacks=[train.every_epoch(validate)],
            report_every=per_epoch,
            progress=runs.Progress(text=lambda found: f"{cell}, {found['loss']:.2f} nats"),
            curves=None,
        )
    seconds = time.monotonic() - began
    updates, values = part.points("validation")
    published = PUBLISHED.get(options.mat.stem if options.mat else "", {})
    row = {
        "nats per frame": f"{cell}-{features_of(options, cell)}",
        **evaluate(part.best_params(params)),
        **({"published": published[cell]} if published else {}),
        "weights": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "epoch": updates[int(np.argmin(values))] // per_epoch,
    }
    return row if state.step else row | {"seconds": seconds}


# --- Generation ---------------------------------------------------------------------------------


def continue_rolls(
    model: recur.Layer, params: Any, begin: np.ndarray, options: WritingOptions, key: jax.Array
) -> np.ndarray:
    """Generates continuations of the rolls `begin`, bool `[B, T, 88]`, T >= 0."""
    before = jnp.pad(jnp.asarray(begin, jnp.float32), [(0, 0), (1, 0), (0, 0)])
    rules = {"next_input": decode.bernoulli(options.temperature), "steps": options.length}
    frames = decode.generate(model, params, before, **rules, key=key)
    return np.concatenate([begin, np.asarray(frames, bool)], axis=1)


def write_music(
    options: WritingOptions,
    frames_per_beat: int,
    model: recur.Layer,
    params: Any,
    begins: dict[str, np.ndarray],
    folder: pathlib.Path,
) -> list[np.ndarray]:
    """Generates continuations of each beginning, `[B, T, 88]`, and writes them as MIDI files."""
    written = []
    for number, (name, begin) in enumerate(begins.items()):
        key = jax.random.fold_in(jax.random.key(options.seed), number)
        written.append(continue_rolls(model, params, begin, options, key))
        write_pieces(folder, name, written[-1], frames_per_beat, options.beats_per_minute)
    return written


def begin_pieces(options: WritingOptions, rolls: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The beginnings to continue, `[B, T, 88]`: some frames of pieces, or none."""
    given = [roll[: options.given] for roll in rolls if len(roll) >= options.given]
    if not given:
        raise ValueError(
            f"--given: expected at most the {max(map(len, rolls))} frames of the longest piece, "
            f"got {options.given}."
        )
    nothing = np.zeros((options.pieces, 0, KEYS), bool)
    return {"continues": np.stack(given[: options.pieces]), "from-nothing": nothing}


def generate_music(options: GenerateOptions) -> None:
    """The subcommand `generate`."""
    begun = complete(runs.Run(options.run).options(Options))
    model, params = load_model(options.cell, begun, options.run)
    begin = np.zeros((options.pieces, 0, KEYS), bool)
    if options.begin:
        roll, _ = read_midi(options.begin, begun.frames_per_beat)
        begin = np.stack([without_silence(roll)[: options.given]] * options.pieces)
    folder = runs.new_folder(options.to, str(options.run / "written"))
    begins = {options.cell: begin}
    [written] = write_music(options, begun.frames_per_beat, model, params, begins, folder)
    sound = {"music": options.cell, **sound_of(written)}
    print(f"{runs.markdown_table([sound])}\n\n{folder}")


# --- The run -------------------------------------------------------------------------------------


def learn_all(options: Options, run: runs.Run) -> None:
    """Trains every cell in its part of the run, compares them, and generates music."""
    import_mido()  # an ImportError now, and not after training
    music = read_music(options.mat, options.midi, options.frames_per_beat, options.seed)
    data = {
        split: [np.packbits(roll).tobytes().hex() for roll in rolls_of(pieces)]
        for split, pieces in music.items()
    }
    run.check_data(music=data)
    held_out, folder, beats = rolls_of(music["test"]), run.folder / "midi", options.frames_per_beat
    begins = begin_pieces(options, held_out)
    write_pieces(folder, "held-out", held_out[: options.pieces], beats, options.beats_per_minute)
    counts = ", ".join(f"{len(music[split])} {split}" for split in SPLITS)
    frames = sum(map(len, rolls_of(music["training"])))
    print(f"{run}: pieces: {counts}; {frames:,} training frames.")
    rows, lines = evaluate_baselines(music), {}
    sounds = [{"music": "the test", **sound_of(held_out)}]
    for cell in options.cells:
        with run.part(cell, best="validation") as part:
            [row] = part.results() or [learn(cell, music, options, part)]
            part.save_results([row], FORMATS)
            lines[cell] = part.points("validation")
        model, params = load_model(cell, options, run.folder)
        named = {f"{cell}-{name}": begin for name, begin in begins.items()}
        written = write_music(options, beats, model, params, named, folder)
        sounds.append({"music": row["nats per frame"], **sound_of(written[1])})
        rows.append(row)
        print(f"{row['nats per frame']}: {row['test']:.2f} nats per frame of the test", flush=True)
    figure = diagnose.curves(lines, y="validation, nats per frame")
    runs.write_figure(run.folder / "curves.png", figure)
    table = f"{run.save_results(rows, FORMATS)}\n\n{runs.markdown_table(sounds)}\n"
    runs.write_text(run.folder / "table.md", table)
    write = runs.command_line("generate", "--run", run, "--cell", options.cells[-1])
    print(f"\n{table}\nListen: {folder}. To generate more:\n  {write}")


def main(arguments: list[str]) -> None:
    """Runs a subcommand."""
    if arguments[:1] == ["generate"]:
        generate_music(runs.parse_options(GenerateOptions, arguments[1:], "music_lm.py generate"))
        return
    options = complete(runs.parse_options(Options, arguments, "music_lm.py", resume=True))
    if not options.cells:
        raise ValueError("--cells: expected at least one, got none.")
    may_change = ["cells"]
    with runs.start_run(options.run, options, name="runs/music_lm", may_change=may_change) as run:
        learn_all(options, run)


if __name__ == "__main__":
    runs.run_command("music_lm", main)
