r"""Transcribes unsegmented signals, speech and handwriting, by a recurrent network and CTC.

    python scripts/transcribe.py                         spoken digits, which it makes
    python scripts/transcribe.py --task handwriting      words by hand, which it makes
    python scripts/transcribe.py --train a.tsv --valid b.tsv --test c.tsv
    python scripts/transcribe.py transcribe --run DIR --files FILE.wav ...

Each line of a TSV file is a sound file (or one of strokes), a tab and its transcript.

Install: pip install -e ".[train,data,text,audio]". Cost: the default takes 125 seconds of CPU time
on an AMD EPYC, with LSTMs 106, handwriting 80, files 65 (8 to 12 minutes on two cores while other
programs used them). Results, seed 0: character and word error rates on test sets of other speakers
or writers, 150 signals each.

    test set                  greedy           16 beams         and a language model
                              CER      WER     CER      WER     CER      WER
    speech: new speakers      0.3 %    1.3 %   0.3 %    1.0 %   0.1 %    0.3 %
      and 1.3 to 1.5 x speed  3.1 %   11.9 %   2.9 %   10.9 %   1.1 %    2.9 %
      and 0.6 to 0.75 x       3.7 %   11.2 %   3.2 %    9.6 %   0.6 %    2.1 %
      and more noise         27.3 %   76.2 %  26.3 %   73.1 %  15.4 %   36.6 %
    --cell lstm: new speakers 0.3 %    1.3 %   0.2 %    1.0 %   0.1 %    0.3 %
      and 1.3 to 1.5 x speed  2.2 %    8.8 %   1.9 %    7.7 %   0.3 %    0.5 %
      and 0.6 to 0.75 x       1.2 %    7.8 %   1.4 %    8.6 %   0.2 %    0.5 %
      and more noise         23.3 %   58.7 %  22.9 %   58.0 %  15.5 %   30.0 %
    handwriting: new writers  0.3 %    3.0 %   0.3 %    3.0 %   0.1 %    0.8 %
      and shakier             0.5 %    3.5 %   0.5 %    3.5 %   0.1 %    0.3 %
    WAV files: new voices     5.1 %   13.2 %   5.1 %   13.5 %   3.1 %    3.5 %

In training the speed is from 0.85 to 1.2, and the noise from 0.005 to 0.1 of the speech; "more
noise" is from 0.2 to 0.4. The language model counts 6-grams of characters of the training
transcripts. No option was chosen by these results. The WAV files, of 22,050 samples per second, are
900 utterances of one to four digits by 71 voices of espeak-ng in three dialects, tested on 14 other
voices, with --epochs 16.

Made signals are much easier than real ones: on lines of IAM-OnDB, bidirectional LSTMs with CTC and
a language model of words had 79.7 % of words right (Graves et al. 2009, A Novel Connectionist
System for Unconstrained Handwriting Recognition). It was not at hand, nor were recordings of
people.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import strokes
import transcribe_data as data
from flax import linen as nn

import recur
from recur import diagnose, runs, train
from recur.classic import kneser_ney, ngram_cell
from recur.decode import LanguageModel, ctc_align, ctc_beam_search, ctc_greedy
from recur.sequences import Batch, Example, batches, bucket, find_boundaries, make_batches, pad
from recur.text import BOUNDARY, Characters

CELLS = {"gru": recur.gru, "lstm": recur.lstm}
PICTURES = 2  # posteriorgrams of each test set
CURVES = {"training": "loss", "validation": "valid_loss"}
READERS = {"speech": data.read_speech, "handwriting": data.read_strokes}


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a bidirectional recurrent network by CTC, and transcribe signals it has not seen.

    Without --train it makes its data: spoken digits, or words by hand. To transcribe a file:
    `transcribe.py transcribe --help`.
    """

    task: Literal["speech", "handwriting"] = "speech"
    """What the signals are: sounds, of which it computes log-mel features, or pen strokes."""
    train: pathlib.Path | None = None
    """A TSV file: on each line a file, relative to it, a tab and a transcript. Of speech: WAV, FLAC
    and others, of any rate. Of handwriting: XML as in IAM-OnDB, or CSV with dx,dy,pen_up."""
    valid: pathlib.Path | None = None
    """The same, to choose the best checkpoint with."""
    test: pathlib.Path | None = None
    """The same, to report the results of."""
    run: pathlib.Path | None = None
    """The folder of the run. A new folder starts a run; an existing one resumes its run with the
    same options. Default: runs/transcribe-1, -2 ..."""
    quick: bool = False
    """Train a tiny model on a few examples, to see that everything works."""

    examples: runs.Size = 1500
    """The number of training examples to make; each test set has a tenth of it."""
    stack: Annotated[int, runs.between(1, 100)] = 2
    """How many steps of the signal are one frame of the model."""
    cell: Literal["gru", "lstm"] = "gru"
    """The recurrent cell."""
    layers: Annotated[int, runs.between(1, 100)] = 1
    """The number of bidirectional layers."""
    features: runs.Size = 96
    """Units of each layer and direction."""
    dropout: runs.Rate = 0.2
    """Dropout rate of the outputs of each layer."""

    epochs: runs.Count = 12
    """Total number of epochs. Resume a finished run with more to continue it."""
    batch_size: runs.Size = 16
    """Signals per update."""
    learning_rate: runs.Positive = 4e-3
    """Maximum learning rate of Adam."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate schedule: cosine decay to 0 over all epochs, or constant."""
    buckets: Annotated[int, runs.between(1, 1000)] = 3
    """The number of lengths to which batches are padded; each is compiled once."""
    seed: runs.Seed = 0
    """Seed of weights, dropout, order and made data."""

    num_beams: runs.Size = 16
    """Prefixes of the beam search; the results also have those of greedy decoding."""
    order: Annotated[int, runs.between(1, 20)] = 6
    """The longest n-grams of the language model of characters, of the training transcripts."""
    weight: runs.NonNegative = 0.5
    """The weight of the language model."""
    bonus: runs.Finite = 0.5
    """What each character adds to the score, beside a language model that favors short texts."""


@dataclasses.dataclass(frozen=True)
class TranscribeOptions:
    """Transcribe files with a model trained by `transcribe.py`."""

    run: pathlib.Path
    """The folder of the run."""
    files: tuple[pathlib.Path, ...]
    """Sound files, or files of strokes."""


# --- Data ----------------------------------------------------------------------------------------


def read_data(options: Options) -> data.Made:
    """Reads the given files, or makes signals."""
    given = (options.train, options.valid, options.test)
    if not any(given):
        make = {"speech": data.make_speech, "handwriting": data.make_handwriting}[options.task]
        made = make(options.examples, options.seed)
        few = dict([*made.tests.items()][:: 3 if options.quick else 1])
        return made._replace(tests=few)
    if not all(given):
        raise ValueError("--train, --valid and --test: expected three files, or none of them.")
    training, valid, test = (data.read_items(path, READERS[options.task]) for path in given)
    return data.Made(training, valid, {options.test.name: test})


# --- Model and training --------------------------------------------------------------------------


def build_model(options: Options, size: int) -> recur.Layer:
    """Bidirectional layers and the logits of the characters and the blank, for a batch."""
    parts: list[Any] = []
    for _ in range(options.layers):
        layer = recur.scan(CELLS[options.cell](options.features))
        back = recur.scan(CELLS[options.cell](options.features), reverse=True)
        parts += [recur.bidirectional(layer, back), nn.Dropout(options.dropout)]
    return recur.batch(recur.chain(*parts, nn.Dense(size)))


def losses_of(logits: jax.Array, batch: Batch) -> train.Average:
    """The CTC loss, in nats per character."""
    targets = jax.tree.map(lambda leaf: leaf[:, 0], batch.label)  # one sequence in each row
    losses = train.ctc_loss(logits, targets.steps, batch.mask, targets.mask, blank=BOUNDARY)
    return train.Average(losses.sum(), targets.length.sum().astype(losses.dtype))


def make_loss(model: recur.Layer):
    """Makes the loss of a batch."""

    def loss(params, carry, batch, key):
        logits = model(params, batch.steps, mask=batch.mask, key=key)
        return losses_of(logits, batch).value(), (carry, {})

    return loss


# --- Decoding and evaluation ---------------------------------------------------------------------


def fit_language_model(options: Options, vocabulary: Characters, texts: Sequence[str]):
    """Counts the n-grams of characters of the training transcripts, as a layer."""
    ids = [np.pad(vocabulary.encode(text), 1, constant_values=BOUNDARY) for text in texts]
    layer = recur.scan(ngram_cell(kneser_ney(ids, options.order, len(vocabulary))))
    params = layer.init(jax.random.key(0), jnp.zeros(1, int))
    return LanguageModel(layer, params, options.weight, options.bonus)


def make_decoders(options: Options, language_model: LanguageModel, longest: int):
    """Makes the decoders by name: `decode(logits, mask)` -> tokens `[B, N]`, lengths `[B]`."""
    search = {"num_beams": options.num_beams, "max_tokens": longest, "blank": BOUNDARY}
    beams = f"{options.num_beams} beams"

    def best(found):
        return found.tokens[:, 0], found.length[:, 0]

    return {
        "greedy": lambda *of: ctc_greedy(*of, blank=BOUNDARY)[:2],
        beams: lambda *of: best(ctc_beam_search(*of, **search)),
        f"{beams}, language model": lambda *of: best(
            ctc_beam_search(*of, language_model=language_model, **search)
        ),
    }


def decode(decoder: Any, vocabulary: Characters, logits: jax.Array, batch: Batch) -> dict[int, str]:
    """The transcripts of a batch, by the number of the example."""
    tokens, lengths = map(np.asarray, decoder(logits, batch.mask))
    rows = enumerate(batch.number[:, 0].tolist())
    return {n: vocabulary.decode(tokens[row, : lengths[row]]) for row, n in rows if n >= 0}


def make_validate(run_model, vocabulary: Characters, valid: list[Batch], texts: list[str], greedy):
    """Makes a callback with the validation loss and the character error rate of greedy decoding."""
    compute_losses = jax.jit(losses_of)

    def validate(report):
        def measure(batch):
            logits = run_model(report.state.params, batch)
            found = decode(greedy, vocabulary, logits, batch)
            rate = train.character_error_rate([*found.values()], [texts[n] for n in found])
            return {"valid_loss": compute_losses(logits, batch), "valid_cer": rate}

        return train.evaluate(measure, valid)

    return validate


def evaluate(run_model, params, vocabulary, parts: dict[str, list[Batch]], items, decoders):
    """The rows of results, and the transcripts of each test set by each decoder."""
    rows, written = [], {}
    for name, part in parts.items():
        row: dict[str, Any] = {"test set": name}
        logits = [run_model(params, batch) for batch in part]
        texts = [item.text for item in items[name]]
        for title, decoder in decoders.items():
            found: dict[int, str] = {}
            for each, batch in zip(logits, part, strict=True):
                found |= decode(decoder, vocabulary, each, batch)
            written[name, title] = guesses = [found[n] for n in range(len(texts))]
            row[f"CER, {title}"] = float(train.character_error_rate(guesses, texts).value())
            row[f"WER, {title}"] = float(train.word_error_rate(guesses, texts).value())
        rows.append(row)
    return rows, written


def draw(run_model, params, vocabulary: Characters, examples: Sequence[Example], items, task: str):
    """Draws what the model emits over time, and the forced alignment, for some examples."""
    [batch] = make_batches(examples, pad())
    logits = run_model(params, batch)
    targets = jax.tree.map(lambda leaf: leaf[:, 0], batch.label)
    aligned = ctc_align(logits, targets.steps, batch.mask, targets.mask, blank=BOUNDARY)
    symbols = ["", "?", *vocabulary.characters.replace(" ", "␣")]
    for row, item in enumerate(items):
        frames, count = int(batch.length[row, 0]), int(targets.length[row])
        steps = item.steps
        if task == "handwriting":  # the height of the pen, where it is down
            height = item.steps[:, 1].cumsum()
            steps = np.where(np.roll(item.steps[:, 2], 1) > 0.5, np.nan, height)
        yield diagnose.posteriorgram(
            np.asarray(jax.nn.softmax(logits[row, :frames])),
            symbols,
            targets=targets.steps[row, :count],
            begin=aligned.begin[row, :count],
            end=aligned.end[row, :count],
            steps=steps,
            title=item.text,
        )


# --- Commands ------------------------------------------------------------------------------------


def learn(options: Options, run: runs.Run) -> None:
    """Trains a model, in the folder of the run."""
    made = read_data(options)
    letters = "" if options.train else strokes.ALPHABET  # of all texts that it makes
    encoder = data.make_encoder(made.training, options.stack, letters)
    vocabulary = encoder.vocabulary
    parts = {"training": made.training, "validation": made.valid, **made.tests}
    run.check_data(data=[[(item.steps, item.text) for item in part] for part in parts.values()])
    runs.write_json(run.folder / "encoder.json", as_json(encoder))
    examples = {name: encoder(part) for name, part in parts.items()}
    training = examples.pop("training")
    held_out = pad(max(len(each.steps) for part in examples.values() for each in part))
    tests = {name: make_batches(part, held_out, 32) for name, part in examples.items()}
    valid = tests.pop("validation")

    layout = bucket(find_boundaries([len(each.steps) for each in training], options.buckets))
    stream = batches(training, layout, options.batch_size, seed=options.seed)
    model = build_model(options, len(vocabulary))
    params_key, run_key = jax.random.split(jax.random.key(options.seed))
    params = model.init(params_key, training[0].steps[None])
    rate: Any = options.learning_rate
    if options.schedule == "cosine":
        rate = optax.cosine_decay_schedule(rate, max(1, options.epochs * len(stream)))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    state = run.restore(train.init_state(params, optimizer, run_key), stream)
    print(
        f"{run.status(state)}; {options.layers} x bidirectional {options.cell} of "
        f"{options.features} units, {optax.tree.size(params):,} weights; {len(training):,} signals "
        f"of {np.mean([len(each.steps) for each in training]):.0f} frames, {len(vocabulary)} "
        "symbols."
    )
    texts = [item.text for item in made.training]
    longest = 2 * max(map(len, texts))
    decoders = make_decoders(options, fit_language_model(options, vocabulary, texts), longest)
    run_model = jax.jit(lambda params, batch: model(params, batch.steps, mask=batch.mask))
    own = [item.text for item in made.valid]
    validate = make_validate(run_model, vocabulary, valid, own, decoders["greedy"])
    with stream:
        run.fit(
            jax.jit(train.make_step(make_loss(model), optimizer), donate_argnums=0),
            state,
            stream,
            epochs=options.epochs,
            callbacks=[train.every_epoch(validate)],
            progress=runs.Progress("signal", options.batch_size, show_progress),
            curves=runs.Curves("nats per character", CURVES),
        )
    params = run.best_params(params)
    rows, written = evaluate(run_model, params, vocabulary, tests, made.tests, decoders)
    for name, items in made.tests.items():
        folder = run.folder / name.replace(" ", "-")
        folder.mkdir(exist_ok=True)
        columns = [[item.text for item in items], *(written[name, title] for title in decoders)]
        lines = ["\t".join(["transcript", *decoders]), *map("\t".join, zip(*columns, strict=True))]
        runs.write_text(folder / "transcripts.tsv", "\n".join(lines) + "\n")
        shown = examples[name][:PICTURES], items[:PICTURES]
        figures = draw(run_model, params, vocabulary, *shown, options.task)
        for number, figure in enumerate(figures, start=1):
            runs.write_figure(folder / f"{number}.png", figure)
    table = run.save_results(rows, {name: ".1%" for name in rows[0] if name != "test set"})
    command = runs.command_line("transcribe", "--run", run, "--files", "FILE")
    print(f"\n{table}\n\nResults and pictures are in {run}. To transcribe files:\n  {command}")


def show_progress(metrics: Any) -> str:
    """What the progress bar shows."""
    return f"{metrics['loss']:.3f} nats/char"


def as_json(encoder: data.Encoder) -> dict[str, Any]:
    """An encoder as values for JSON."""
    scale = {"mean": encoder.mean.tolist(), "std": encoder.std.tolist()}
    return {"characters": encoder.vocabulary.characters, **scale, "stack": encoder.stack}


def transcribe_files(options: TranscribeOptions) -> None:
    """The subcommand `transcribe`."""
    run = runs.Run(options.run, best="valid_loss")
    begun = run.options(Options)
    saved = runs.read_json(run.folder / "encoder.json", dict)
    scale = (np.array(saved[name], np.float32) for name in ("mean", "std"))
    encoder = data.Encoder(Characters(saved["characters"]), *scale, saved["stack"])
    model = build_model(begun, len(encoder.vocabulary))
    frames = jnp.zeros((1, 1, begun.stack * len(encoder.mean)))
    params = run.best_params(jax.eval_shape(model.init, jax.random.key(0), frames))
    for path in options.files:
        steps = encoder.frames(READERS[begun.task](path))
        found = ctc_beam_search(model(params, steps[None])[0], num_beams=begun.num_beams)
        text = encoder.vocabulary.decode(found.tokens[0, : int(found.length[0])].tolist())
        print(f"{path}\t{text}", flush=True)


def main(arguments: list[str]) -> None:
    """Runs a subcommand."""
    if arguments[:1] == ["transcribe"]:
        name = "transcribe.py transcribe"
        return transcribe_files(runs.parse_options(TranscribeOptions, arguments[1:], name))
    options = runs.parse_options(Options, arguments, "transcribe.py", resume=True)
    if options.quick:
        tiny = {"examples": 40, "features": 8, "epochs": min(2, options.epochs), "buckets": 1}
        options = dataclasses.replace(options, **tiny, num_beams=4)
    may_change = ["epochs", "num_beams", "order", "weight", "bonus"]
    resuming = {"may_change": may_change, "best": "valid_loss"}
    with runs.start_run(options.run, options, name="runs/transcribe", **resuming) as run:
        learn(options, run)


if __name__ == "__main__":
    runs.run_command("transcribe", main)
