r"""Captions pictures (one to many): a convolutional network encodes the picture, an RNN writes.

    python scripts/caption.py                                       scenes of shapes that it draws
    python scripts/caption.py --images FOLDER --captions FILE.tsv   lines of: file, tab, caption
    python scripts/caption.py --conditioning attention              one way of reading the picture
    python scripts/caption.py --run DIR                             resumes a run that was stopped
    python scripts/caption.py describe --run DIR --images FILE...   captions of other pictures

A caption begins with <start> and ends with <end>; beam search finds it. It is exact if it is one of
the captions of its picture, such as "a big red circle above a small blue cross". One test set has
pairs of things that no training scene has, and one has things of a size, a color and a shape that
no training scene has together. A decoder that reads the picture as one vector then mostly writes
what it has seen; attention errs less often. Without LayerNorm after the convolutional network and
without warm-up, the decoder that reads the picture at the first step did not learn at all.

Install: pip install -e ".[train,data,text,metrics,images]". Cost: about 4.5 minutes of CPU time,
so 2 to 3 minutes on two quiet cores (15 minutes on a busy machine, as measured). Result on 400
scenes of each kind, seed 0, two cores of an AMD EPYC:

                 weights    seen             unseen pairs     unseen things
                            exact    BLEU    exact    BLEU    exact    BLEU
    every-step   303,549    76.5 %   92.3    49.2 %   84.9     8.2 %   68.4
    first-step   303,549    40.2 %   75.1    10.8 %   64.4     0.0 %   53.6
    start        270,781    64.8 %   87.2    31.2 %   77.5     1.5 %   60.8
    attention    159,773    88.2 %   96.4    75.0 %   92.3    36.5 %   79.0
    blind                    0.0 %   11.6     0.0 %   16.1     0.0 %   10.7

"blind" does not read the picture; it is not part of the default. No number is published for these
scenes, and no photos were captioned.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import pathlib
import time
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from caption_data import KINDS, Picture, make_scenes, read_image, read_pictures
from caption_models import GRID, build_parts, join

import recur
from recur import diagnose, runs, train
from recur.decode import beam_search
from recur.sequences import Batch, Example, batches, bucket, make_batches, pad
from recur.text import Tokenizer, split_by_hash, words

SHOWN = 12  # pictures of each test set on its sheet, up to half of them with wrong captions
FORMATS = {f"exact, {name}": ".1%" for name in (*KINDS, "test")}
FORMATS |= {f"BLEU, {name}": ".1f" for name in (*KINDS, "test")} | {"seconds": ".0f"}


@dataclasses.dataclass(frozen=True)
class Options:
    """Train models that caption pictures, which differ in how they read the picture.

    Without --images it draws scenes of colored shapes. Two of the test sets have what no training
    scene has: certain pairs of things, and certain things of a size, a color and a shape. To
    caption pictures with a trained model: `caption.py describe --help`.
    """

    images: pathlib.Path | None = None
    """A folder of pictures. A tenth of them is validation data, and a tenth test data."""
    captions: pathlib.Path | None = None
    """A UTF-8 file with the name of a picture, a tab and a caption on each line. A picture may have
    several captions."""
    run: pathlib.Path | None = None
    """The folder of the run. A new folder starts a run; an existing one resumes its run with the
    same options. Default: runs/caption-1, -2 ..."""
    quick: bool = False
    """Whether to try the script, with a few updates of the last two models on little data."""

    conditioning: tuple[Literal["every-step", "first-step", "start", "attention", "blind"], ...] = (
        "every-step",
        "first-step",
        "start",
        "attention",
    )
    """How the decoder reads the picture: as one vector at every step, at the first step or in the
    initial state; by attention over a grid; or not at all (blind)."""
    cell: Literal["elman", "gru", "lstm"] = "gru"
    """The recurrent cell of the decoder."""
    features: runs.Size = 128
    """Units of the decoder, and size of the vector of a picture."""
    embedding: runs.Size = 32
    """Size of the word embedding."""
    channels: runs.Size = 64
    """Channels of the last convolutions; the first has half of them."""
    image_size: Literal[32, 64, 128, 256] = 32
    """Pixels of each side, to which pictures are resized."""
    min_count: runs.Size = 1
    """Words with a lower count in training are unknown."""
    max_length: runs.Size = 30
    """The maximum number of words of a caption; longer ones in the files are an error."""

    scenes: runs.Size = 12000
    """The number of training scenes, without --images."""
    epochs: runs.Count = 5
    """Number of epochs of each model."""
    batch_size: runs.Size = 64
    """Captions per update."""
    learning_rate: runs.Positive = 3e-3
    """Maximum learning rate of Adam, with warm-up and a cosine decay to 0."""
    clip: runs.Positive = 1.0
    """Maximum gradient norm."""
    dropout: runs.Rate = 0.0
    """Dropout rate of the features of the picture and the outputs of the decoder."""

    num_beams: Annotated[int, runs.between(1, 1000)] = 3
    """Hypotheses of the beam search; 1 for greedy search."""
    length_penalty: Annotated[float, runs.between(-10, 10)] = 0.0
    """Exponent of the length penalty of the beam search."""
    seed: runs.Seed = 0
    """Seed of weights, scenes, order and dropout."""
    report_every: runs.Count = 10
    """Updates between two log entries."""
    checkpoint_every: runs.Count = 500
    """Updates between two checkpoints; the last 3 and the best are kept."""


@dataclasses.dataclass(frozen=True)
class DescribeOptions:
    """Caption pictures with a model trained by `caption.py`."""

    run: pathlib.Path
    """The folder of the run."""
    images: tuple[pathlib.Path, ...]
    """The files of the pictures."""
    conditioning: Literal["every-step", "first-step", "start", "attention", "blind"] | None = None
    """The model of the run. Default: its last one."""


class Corpus(NamedTuple):
    """Pictures with captions.

    Attributes:
      training: to fit.
      valid: to choose the best checkpoint.
      tests: test sets by name.
    """

    training: list[Picture]
    valid: list[Picture]
    tests: dict[str, list[Picture]]


# --- Data ----------------------------------------------------------------------------------------


def read_corpus(options: Options) -> Corpus:
    """Reads the given pictures, or draws scenes."""
    if (options.images is None) != (options.captions is None):
        raise ValueError("--images: expected it together with --captions, got one of them.")
    if options.images is None:
        side, seed, count = options.image_size, options.seed, 100 if options.quick else 400
        training = make_scenes(2 * count if options.quick else options.scenes, side, seed)
        tests = {kind: make_scenes(count, side, seed + 2, kind) for kind in KINDS}
        return Corpus(training, make_scenes(count, side, seed + 1), tests)
    pictures = read_pictures(options.images, options.captions, options.image_size)
    training, held_out = split_by_hash(dict.fromkeys(pictures, ""), 5)  # a fifth
    valid, test = split_by_hash(held_out, 10)  # half of these
    parts = {"training": training, "validation": valid, "test": test}
    for part, names in parts.items():
        if not names:
            raise ValueError(
                f"{options.captions}: expected pictures for the {part} set, got none of "
                f"{len(pictures)}. Add pictures."
            )
    kept = ([pictures[name] for name in names] for names in parts.values())
    training, valid, test = (part[:200] if options.quick else part for part in kept)
    return Corpus(training, valid, {"test": test})


def encode(pictures: Sequence[Picture], vocabulary: Tokenizer, max_length: int) -> list[Example]:
    """Returns an example for each caption, of words from <start> to <end>."""
    examples = []
    for picture in pictures:
        for text, place in zip(picture.captions, picture.places, strict=False):
            ids = vocabulary.frame(vocabulary.encode(text))
            if len(ids) - 2 > max_length:
                raise ValueError(
                    f"{place}: expected a caption of at most {max_length} words, got "
                    f"{len(ids) - 2}. Increase --max-length."
                )
            steps = {"input": ids[:-1], "target": ids[1:]}
            examples.append(Example(steps, context=context_of(picture.image)))
    return examples


def context_of(image: np.ndarray) -> dict[str, np.ndarray]:
    """The context of the model: an image is a sequence of one step for its encoder."""
    return {"image": image[None]}


# --- Training and evaluation ---------------------------------------------------------------------


def make_losses(model: recur.Layer):
    """Makes `losses(params, batch, key)` -> nats of each word, by teacher forcing."""

    def losses(params, batch: Batch, key=None):
        logits = model(params, batch.steps["input"], **batch.layer_kwargs, key=key)
        return train.cross_entropy(logits, batch.steps["target"], batch.mask)

    return losses


def make_evaluate(model: recur.Layer, examples: list[Example], batch_size: int):
    """Makes `evaluate(params)` -> nats per word."""
    losses, data = make_losses(model), make_batches(examples, pad(), batch_size)
    measure = jax.jit(lambda params, batch: train.average(losses(params, batch), batch.mask))
    return lambda params: train.evaluate(lambda batch: measure(params, batch), data)


def make_caption(model: recur.Layer, vocabulary: Tokenizer, options: Options):
    """Makes `caption(params, images)` -> captions, by beam search."""
    rules = {
        "eos": vocabulary.end,
        "forbidden": [vocabulary.padding, vocabulary.start, vocabulary.unknown],
        "max_tokens": options.max_length + 1,
        "num_beams": options.num_beams,
        "length_penalty": options.length_penalty,
    }

    def caption(params, images):
        prompt = np.array([vocabulary.start], np.int32)
        examples = [Example(prompt, context=context_of(image)) for image in images]
        found = []
        for batch in make_batches(examples, pad(), min(len(examples), 100)):
            beams = beam_search(model, params, batch.steps, context=batch.context, **rules)
            rows = zip(np.asarray(beams.tokens[:, 0]), np.asarray(beams.length[:, 0]), strict=True)
            found += [vocabulary.decode(ids[:length]) for ids, length in rows]
        return found[: len(examples)]

    return caption


def learn(name: str, corpus: Corpus, vocabulary: Tokenizer, options: Options, part: runs.Run):
    """Trains a model, tests its best checkpoint and draws pictures; returns a row of the table."""
    training, valid = (encode(each, vocabulary, options.max_length) for each in corpus[:2])
    parts = build_parts(name, options, len(vocabulary))
    model = join(*parts)
    layout = bucket(count=1 if options.images is None else 3)
    stream = batches(training, layout, options.batch_size, seed=options.seed)
    steps = options.epochs * len(stream)
    rate = optax.warmup_cosine_decay_schedule(0.0, options.learning_rate, steps // 20, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(options.clip), optax.adam(rate))
    params_key, run_key = jax.random.split(jax.random.key(options.seed))
    (first,) = make_batches(training[:1], pad())
    params = model.init(params_key, first.steps["input"], context=first.context)
    state = part.restore(train.init_state(params, optimizer, run_key), stream)
    losses, evaluate = make_losses(model), make_evaluate(model, valid, options.batch_size)

    def loss(params, carry, batch, key):
        return train.masked_mean(losses(params, batch, key), batch.mask), (carry, {})

    began, done = time.monotonic(), int(state.step)
    with stream:
        part.fit(
            jax.jit(train.make_step(loss, optimizer), donate_argnums=0),
            state,
            stream,
            epochs=options.epochs,
            callbacks=[train.every_epoch(lambda it: {"valid_loss": evaluate(it.state.params)})],
            report_every=options.report_every,
            checkpoint_every=options.checkpoint_every,
            progress=runs.Progress(text=lambda found: f"{name}: loss {found['loss']:.3f}"),
            curves=runs.Curves("nats per word", {"training": "loss", "validation": "valid_loss"}),
        )
    seconds = time.monotonic() - began
    params = part.best_params(params)
    row = {"reads the picture": name, "weights": optax.tree.size(params)}
    row["valid nats per word"] = min(part.points("valid_loss")[1])
    row |= test(params, parts, corpus, vocabulary, options, part)
    return row if done else row | {"seconds": seconds}


def test(params, parts, corpus, vocabulary, options, part) -> dict[str, float]:
    """Captions the test sets, saves captions and pictures, and returns the scores."""
    caption, row = make_caption(join(*parts), vocabulary, options), {}
    for name, pictures in corpus.tests.items():
        texts = caption(params, [picture.image for picture in pictures])
        right = [text in it.captions for text, it in zip(texts, pictures, strict=True)]
        row[f"exact, {name}"] = float(np.mean(right))
        row[f"BLEU, {name}"] = train.bleu(texts, [it.captions for it in pictures]).value()
        found = sorted(zip(pictures, texts, right, strict=True), key=lambda each: each[2])
        lines = [f"{ok}\t{text}\t{' | '.join(it.captions)}\n" for it, text, ok in found]
        runs.write_text(part.folder / f"{name}.tsv", "is right\tcaption\tgiven\n" + "".join(lines))
        wrong = min(SHOWN // 2, right.count(False))
        shown = [*found[:wrong], *found[wrong:][wrong - SHOWN :]]
        images, texts, right = zip(*((it.image, text, ok) for it, text, ok in shown), strict=True)
        title = f"{part.folder.name}: {name}"
        figure = diagnose.image_grid(images, texts, right=right, title=title)
        runs.write_figure(part.folder / f"{name}.png", figure)
        if part.folder.name == "attention":
            few = [*shown[:2], *shown[-2:]]
            draw_attention(params, parts, few, vocabulary, part.folder / f"attention, {name}")
    return row


def draw_attention(params, parts, shown, vocabulary, folder: pathlib.Path) -> None:
    """Draws what the decoder attended to at each word of its captions."""
    encoder, decoder = parts
    viewer, params = join(encoder, decoder[:2]), params._replace(decoder=params.decoder[:2])
    folder.mkdir(exist_ok=True)
    for number, (picture, text, right) in enumerate(shown, start=1):
        ids = vocabulary.frame(vocabulary.encode(text))
        context = {"image": picture.image[None, None]}
        weights = viewer(params, ids[None, :-1], context=context).weights[0]
        grids = [np.ones((1, 1)), *np.asarray(weights).reshape(-1, GRID, GRID)]
        whole = f"a {'right' if right else 'wrong'} caption"
        titles = [whole, *(vocabulary.tokens[i] for i in ids[1:])]
        images = [picture.image] * len(grids)
        figure = diagnose.image_grid(images, titles, weights=grids, columns=6, title=text)
        runs.write_figure(folder / f"{number}.png", figure)


# --- Commands ------------------------------------------------------------------------------------


def learn_all(options: Options, run: runs.Run) -> None:
    """Trains a model of each kind, each in its part of the run, and compares them."""
    corpus = read_corpus(options)
    parts = (corpus.training, corpus.valid, *corpus.tests.values())
    run.check_data(pictures=[[(it.image, it.captions) for it in part] for part in parts])
    texts = [text for picture in corpus.training for text in picture.captions]
    vocabulary = words(texts, min_count=options.min_count)
    vocabulary.save(run.folder / "words.json")
    tests = ", ".join(f"{len(each):,} of {name}" for name, each in corpus.tests.items())
    print(
        f"{run}: {len(corpus.training):,} pictures to train, {len(corpus.valid):,} to validate; "
        f"test sets: {tests}; {len(vocabulary)} tokens."
    )
    rows = []
    for name in options.conditioning:
        with run.part(name, best="valid_loss") as part:
            found = part.results() or [learn(name, corpus, vocabulary, options, part)]
            part.save_results(found, FORMATS)
        rows += found
    table = run.save_results(rows, FORMATS)
    command = runs.command_line("describe", "--run", run, "--images", "FILE")
    print(f"\n{table}\n\nResults and pictures are in {run}. To caption a picture:\n  {command}")


def describe(options: DescribeOptions) -> None:
    """The subcommand `describe`."""
    if not options.images:
        raise ValueError("--images: expected at least one, got none.")
    run = runs.Run(options.run)
    begun = run.options(Options)
    name = options.conditioning or begun.conditioning[-1]
    vocabulary = Tokenizer.load(run.folder / "words.json")
    model = join(*build_parts(name, begun, len(vocabulary)))
    images = [read_image(path, begun.image_size) for path in options.images]
    begin = jnp.zeros((1, 1), int), {"image": jnp.stack(images[:1])[None]}
    like = jax.eval_shape(lambda: model.init(jax.random.key(0), begin[0], context=begin[1]))
    params = runs.Run(run.folder / name, best="valid_loss").best_params(like)
    texts = make_caption(model, vocabulary, begun)(params, images)
    for path, text in zip(options.images, texts, strict=True):
        print(f"{path}: {text}")


def main(arguments: list[str]) -> None:
    """Runs a subcommand."""
    if arguments[:1] == ["describe"]:
        describe(runs.parse_options(DescribeOptions, arguments[1:], "caption.py describe"))
        return
    options = runs.parse_options(Options, arguments, "caption.py", resume=True)
    if not options.conditioning:
        raise ValueError("--conditioning: expected at least one, got none.")
    if options.quick:
        options = dataclasses.replace(options, epochs=2, conditioning=options.conditioning[-2:])
    resuming = {"name": "runs/caption", "may_change": ["conditioning"]}
    with runs.start_run(options.run, options, **resuming) as run:
        learn_all(options, run)


if __name__ == "__main__":
    runs.run_command("caption", main)
