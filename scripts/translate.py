r"""Trains an encoder-decoder that translates sentences, with or without attention.

    python scripts/translate.py                           dates in many formats to ISO dates
    python scripts/translate.py --train SOURCE TARGET --valid SOURCE TARGET --test SOURCE TARGET
    python scripts/translate.py --run DIR                 resumes a run that was stopped
    python scripts/translate.py translate --run DIR       translates lines of standard input

Install: pip install -e ".[train,data,text,metrics]". Cost: the default takes 80 seconds of CPU
time, 3 minutes on two busy cores of an AMD EPYC.

Result of the default, seed 0, on 1,500 dates of days that are not in training (perplexity per
character, when the decoder reads the reference, and when it reads its own choices):

    model                            exact     teacher forcing     free running
    bahdanau, luong                  100.0 %   1.001               1.001
    cho (without attention)           65.4 %   1.110               1.341
    sutskever (without attention)      2.3 %   1.541               1.780

Multi30k, German to English, test_2016_flickr, seed 0, 5 epochs by the published recipe with 10
(published: LSTM encoder-decoder 43.8, GRU 37.5, attention 25.6; with masks 23.2 and BLEU 28.1, all
when the decoder reads its own choices):

    model        perplexity: teacher forcing, free running    BLEU: greedy, 5 beams
    sutskever                20.9              51.8                10.6     11.7
    cho                      14.4              38.6                16.8     17.7
    bahdanau                  8.3              26.6                31.1     33.2

    python scripts/translate.py --train SOURCE TARGET --valid SOURCE TARGET --test SOURCE TARGET \
        --tokens words --min-count 2 --bleu none --features 512 --embedding 256 --dropout 0.5 \
        --batch-size 128 --buckets 4 --epochs 5 --learning-rate 1e-3 --schedule constant \
        --teacher-forcing 0.5 --model bahdanau

    with --model cho, and --model sutskever --cell lstm --layers 2, for the other two

Each takes about 40 minutes of CPU time, 2.1 seconds for an update. BLEU is that of sacrebleu 2.6.0,
nrefs:1|case:mixed|eff:no|tok:none|smooth:exp, of texts in lower case.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import math
import pathlib
import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import numpy as np
import optax
import translate_data as data
import translate_models as models
from tqdm import tqdm
from translate_data import Languages, Pair

import recur
from recur import decode, diagnose, runs, train
from recur.sequences import Batch, Example, batches, bucket, make_batches, pad
from recur.text import Tokenizer

CURVES = {
    "training": "loss",
    "validation": "valid_loss",
    "validation, free running": "valid_free_loss",
}
WAYS = {"teacher forcing": "forced", "free running": "free"}


@dataclasses.dataclass(frozen=True)
class Options:
    """Train an encoder-decoder on pairs of sentences.

    Without --train it learns to write dates in ISO format: "May 3rd, 1987" is "1987-05-03". To
    translate lines with a trained model: `translate.py translate --help`.
    """

    train: tuple[pathlib.Path, ...] = ()
    """Two files of UTF-8 text, SOURCE TARGET, with a sentence per line."""
    valid: tuple[pathlib.Path, ...] = ()
    """Two files of pairs to choose the best checkpoint with."""
    test: tuple[pathlib.Path, ...] = ()
    """Two files of pairs to report the results of."""
    run: pathlib.Path | None = None
    """The folder of the run. A new folder starts a run; an existing one resumes its run with the
    same options. Default: runs/translate-1, -2 ..."""

    model: Literal["sutskever", "cho", "bahdanau", "luong"] = "bahdanau"
    """What the decoder receives from the encoder: its last state as the initial state (sutskever),
    or also at every step (cho); or attention over all its states, by an additive score with the
    previous state (bahdanau), or a multiplicative score with the present one (luong)."""
    input_feeding: bool = False
    """Whether the attentional output is part of the next input (luong only)."""
    cell: Literal["gru", "lstm"] = "gru"
    """The recurrent cell of encoder and decoder."""
    layers: Annotated[int, runs.between(1, 100)] = 1
    """The number of recurrent layers of encoder and decoder."""
    features: runs.Size = 64
    """Units of each layer, in each direction."""
    embedding: runs.Size = 32
    """Size of the embeddings."""
    dropout: runs.Rate = 0.0
    """Dropout rate of the embeddings, the outputs of layers and the readout."""
    reverse_source: bool = False
    """Whether the source is read from its end."""

    tokens: Literal["characters", "words", "bpe"] = "characters"
    """Tokens of both languages: characters, words separated by spaces, or byte-pair encoding."""
    min_count: runs.Size = 1
    """Words and characters with a lower count in training are unknown."""
    bpe_size: runs.Size = 8000
    """The vocabulary size of each language with --tokens bpe."""
    max_length: runs.Size = 50
    """The maximum number of tokens of a translation; longer ones in the files are an error."""

    epochs: runs.Count = 10
    """Total number of epochs. Resume a finished run with more to continue it."""
    batch_size: runs.Size = 64
    """Pairs per update."""
    buckets: Annotated[int, runs.between(1, 1000)] = 3
    """Number of shapes of batches; a training step is compiled for each."""
    learning_rate: runs.Positive = 5e-3
    """Maximum learning rate of Adam."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate schedule."""
    clip: runs.Positive = 1.0
    """Maximum gradient norm."""
    teacher_forcing: Annotated[float, runs.between(0, 1)] = 1.0
    """Probability that the decoder reads the given token rather than its own (scheduled sampling
    below 1)."""
    sampling_decay: runs.Positive | None = None
    """Time scale in updates of an inverse sigmoid decay of --teacher-forcing. Default: constant."""

    num_beams: Annotated[int, runs.between(2, 1000)] = 5
    """Hypotheses of the beam search; the results also have those of greedy search."""
    length_penalty: Annotated[float, runs.between(-10, 10)] = 1.0
    """Exponent of the length penalty of the beam search."""
    bleu: Literal["13a", "none", "intl", "char", "zh"] = "13a"
    """The tokenizer of sacrebleu; "none" for files that are tokenized."""
    seed: runs.Seed = 0
    """Seed of weights, order of pairs, dropout and made data."""
    report_every: runs.Count = 10
    """Updates between two log entries."""
    checkpoint_every: runs.Count = 500
    """Updates between two checkpoints; the last 3 and the best are kept."""
    quick: bool = False
    """Whether to make a few updates on little data, to try the script."""


@dataclasses.dataclass(frozen=True)
class TranslateOptions:
    """Translate lines of standard input with a model trained by `translate.py`."""

    run: pathlib.Path
    """The folder of the run."""
    num_beams: Annotated[int, runs.between(1, 1000)] = 5
    """Hypotheses of the beam search; 1 for greedy search."""
    length_penalty: Annotated[float, runs.between(-10, 10)] = 1.0
    """Exponent of the length penalty of the beam search."""


class Corpus(NamedTuple):
    """Pairs of sentences."""

    training: list[Pair]
    valid: list[Pair]
    test: list[Pair]


# --- Data ----------------------------------------------------------------------------------------


def read_corpus(options: Options) -> Corpus:
    """Reads the given files, or makes dates: no day of one part is in another."""
    files = {"--train": options.train, "--valid": options.valid, "--test": options.test}
    if any(files.values()):
        corpus = Corpus(*(data.read_parallel(paths, name) for name, paths in files.items()))
    else:
        pairs = data.make_dates(2500, options.seed)
        corpus = Corpus(pairs[:-3000], pairs[-3000:-1500], pairs[-1500:])
    return Corpus(*(part[:100] for part in corpus)) if options.quick else corpus


# --- Training ------------------------------------------------------------------------------------


def make_update(options: Options, model: recur.Layer, optimizer: optax.GradientTransformation):
    """Makes the compiled training step, with teacher forcing or scheduled sampling."""
    decay = decode.inverse_sigmoid_decay(options.sampling_decay) if options.sampling_decay else None

    def loss(params, carry, inputs, key):
        batch, rate = inputs
        given = {**batch.layer_kwargs, "key": key}
        if options.teacher_forcing == 1 and not decay:
            logits = decode.teacher_forcing(model, params, batch.steps["input"], **given)
        else:
            given |= {"rate": rate, "choose": decode.argmax}
            logits = decode.scheduled_sampling(model, params, batch.steps["input"], **given)
        losses = train.cross_entropy(logits, batch.steps["target"], batch.mask)
        return train.masked_mean(losses, batch.mask), (carry, {})

    update = train.make_step(loss, optimizer)

    def step(state, batch):
        rate = options.teacher_forcing * (decay(state.step) if decay else 1.0)
        return update(state, (batch, rate))

    return jax.jit(step, donate_argnums=0)


def build_optimizer(options: Options, updates: int) -> optax.GradientTransformation:
    """Gradient clipping and Adam with its schedule."""
    rate: Any = options.learning_rate
    if options.schedule == "cosine":
        rate = optax.cosine_decay_schedule(rate, max(1, updates))
    return optax.chain(optax.clip_by_global_norm(options.clip), optax.adam(rate))


# --- Evaluation ----------------------------------------------------------------------------------


def make_evaluate(model: recur.Layer):
    """Makes `evaluate(params, batches)` -> nats per token, and by position, for two ways to decode.

    With teacher forcing the decoder reads the reference; when it runs free, its own choices. Both
    are compared with the reference.
    """
    ways = {"forced": decode.teacher_forcing, "free": decode.free_running}

    @jax.jit
    def measure(params, batch: Batch):
        found = {}
        for way, feed in ways.items():
            logits = feed(model, params, batch.steps["input"], **batch.layer_kwargs)
            losses = train.cross_entropy(logits, batch.steps["target"], batch.mask)
            count = batch.mask.sum(0).astype(losses.dtype)
            found[way] = train.average(losses, batch.mask)
            found[f"{way} by position"] = train.Average(losses.sum(0), count)
        return found

    return lambda params, batches: train.evaluate(lambda batch: measure(params, batch), batches)


def make_translate(model: recur.Layer, languages: Languages, options: Options, rows: int):
    """Makes `translate(params, texts, num_beams, length_penalty)`, for as many rows at a time."""
    prompt = np.array([languages.target.start], np.int32)
    rules = {"max_tokens": options.max_length, "eos": languages.target.end}
    rules["forbidden"] = [languages.target.padding, languages.target.start]

    def translate(params, texts, num_beams, length_penalty=0.0):
        filled = [*texts, *texts[:1] * (-len(texts) % rows)]  # an empty row would not end
        sources = [data.encode_source(text, languages, options) for text in filled]
        examples = [Example(prompt, context={"source": source}) for source in sources]
        longest = max(len(source.steps) for source in sources)
        layout = pad((1, 2 ** math.ceil(math.log2(longest))))  # few shapes to compile
        search = {"num_beams": num_beams, "length_penalty": length_penalty, **rules}
        found = []
        for batch in make_batches(examples, layout, rows):
            beams = decode.beam_search(model, params, batch.steps, context=batch.context, **search)
            best = zip(np.asarray(beams.tokens[:, 0]), np.asarray(beams.length[:, 0]), strict=True)
            found += [languages.target.decode(tokens[:length]) for tokens, length in best]
        return found[: len(texts)]

    return translate


def make_validate(evaluate: Callable, translate: Callable, valid: list[Batch], pairs: list[Pair]):
    """Makes a callback with the validation losses, which prints two translations."""

    def validate(report):
        found = evaluate(report.state.params, valid)
        texts = translate(report.state.params, [pair.source for pair in pairs[:2]], 1)
        for pair, text in zip(pairs, texts, strict=False):
            tqdm.write(f"{pair.source}\n  -> {text}")
        return {"valid_loss": found["forced"], "valid_free_loss": found["free"]}

    return validate


def score(options: Options, found: dict[str, Any], searched: dict[str, list[str]], pairs):
    """The row of results, and the signature of BLEU."""
    from sacrebleu.metrics.bleu import BLEU

    row: dict[str, Any] = {"test": options.model}
    row |= {f"perplexity, {name}": math.exp(found[way]) for name, way in WAYS.items()}
    references = [pair.target for pair in pairs]
    scorer = BLEU(tokenize=options.bleu, force=True)  # no warning if the files are tokenized
    for name, texts in searched.items():
        row[f"BLEU, {name}"] = scorer.corpus_score(texts, [references]).score
        row[f"exact, {name}"] = float((np.array(texts) == np.array(references)).mean())
    return row, str(scorer.get_signature())


def draw_attention(options, languages, params, pairs: Iterable[Pair], folder) -> None:
    """Draws what the decoder attends to at each token of the given translations."""
    viewer, parts = models.build_viewer(options, languages)
    params = params._replace(decoder=params.decoder[:parts])
    folder.mkdir(exist_ok=True)
    examples = data.encode(pairs, languages, options)
    (batch,) = make_batches(examples, pad())
    weights = viewer(params, batch.steps["input"], **batch.layer_kwargs).weights
    for number, example in enumerate(examples):
        ids = example.context["source"].steps, example.steps["target"]
        columns, rows = map(data.show, languages, ids)
        values = weights[number, : len(rows), : len(columns)]
        figure = diagnose.heatmap(values, rows, columns, x="source", y="translation", high=1.0)
        runs.write_figure(folder / f"{number + 1}.png", figure)


# --- Commands ------------------------------------------------------------------------------------


def learn(options: Options, run: runs.Run) -> None:
    """Trains a model, in the folder of the run."""
    if options.quick:
        options = dataclasses.replace(options, epochs=min(options.epochs, 2), buckets=1)
    corpus = read_corpus(options)
    texts = zip(*(pair[:2] for pair in corpus.training), strict=True)
    languages = Languages(*(data.make_tokenizer(language, options) for language in texts))
    run.check_data(pairs=corpus, languages=[each.fingerprint for each in languages])
    for name, tokenizer in languages._asdict().items():
        tokenizer.save(run.folder / f"{name}.json")
    training, *others = (data.encode(part, languages, options) for part in corpus)
    valid, test = data.make_alike(*others, batch_size=options.batch_size)
    stream = batches(training, bucket(count=options.buckets), options.batch_size, seed=options.seed)
    model = models.build(options, languages)
    optimizer = build_optimizer(options, options.epochs * len(stream))
    params_key, run_key = jax.random.split(jax.random.key(options.seed))
    params = models.init(model, params_key)
    state = run.restore(train.init_state(params, optimizer, run_key), stream)
    print(
        f"{run.status(state)}; "
        f"{options.model} with {options.layers} x {options.cell} of {options.features} units, "
        f"{optax.tree.size(params):,} weights; {len(training):,} pairs, "
        f"{len(languages.source):,} and {len(languages.target):,} tokens."
    )
    evaluate = make_evaluate(model)
    translate = make_translate(model, languages, options, min(100, len(corpus.test)))
    validate = make_validate(evaluate, translate, valid, corpus.valid)
    with stream:
        run.fit(
            make_update(options, model, optimizer),
            state,
            stream,
            epochs=options.epochs,
            callbacks=[train.every_epoch(validate)],
            report_every=options.report_every,
            checkpoint_every=options.checkpoint_every,
            progress=runs.Progress("pair", options.batch_size),
            curves=runs.Curves("nats per token", CURVES),
        )
    params = run.best_params(params)
    sources = [pair.source for pair in corpus.test]
    many, penalty = options.num_beams, options.length_penalty
    searched = {
        "greedy": translate(params, sources, 1),
        f"{many} beams": translate(params, sources, many, penalty),
    }
    runs.write_text(run.folder / "translations.txt", "\n".join(searched[f"{many} beams"]) + "\n")
    if options.model in ("bahdanau", "luong"):
        shown = map(Pair, sources[:6], searched["greedy"][:6])
        draw_attention(options, languages, params, shown, run.folder / "attention")
    found = evaluate(params, test)
    row, signature = score(options, found, searched, corpus.test)
    table = run.save_results([row], {name: ".1%" for name in row if name.startswith("exact")})
    print(f"\n{table}\n\nBLEU: {signature}\n\n{save_positions(run, found, others[-1], signature)}")
    command = runs.command_line("translate", "--run", run)
    print(f"\nResults are in {run}. To translate lines of standard input:\n  {command}")


def save_positions(run: runs.Run, found: dict[str, Any], test: list[Example], signature: str):
    """Saves and draws the loss by position, up to that of nine in ten translations' ends."""
    last = int(np.quantile([len(example.steps["input"]) for example in test], 0.9))
    places = list(range(1, last + 1))
    nats = {name: found[f"{way} by position"][:last].tolist() for name, way in WAYS.items()}
    runs.write_json(run.folder / "positions.json", {"bleu": signature, "nats": nats})
    labels = {"x": "position in the translation", "y": "nats per token", "title": "test"}
    figure = diagnose.curves({name: (places, values) for name, values in nats.items()}, **labels)
    runs.write_figure(run.folder / "positions.png", figure)
    rows = [{"position": n, **{name: nats[name][n - 1] for name in nats}} for n in places]
    return runs.markdown_table(rows[:: max(1, last // 6)])


def translate_lines(options: TranslateOptions) -> None:
    """The subcommand `translate`."""
    run = runs.Run(options.run, best="valid_loss")
    begun = run.options(Options)
    languages = Languages(*(Tokenizer.load(run.folder / f"{n}.json") for n in Languages._fields))
    model = models.build(begun, languages)
    params = run.best_params(jax.eval_shape(lambda: models.init(model, jax.random.key(0))))
    translate = make_translate(model, languages, begun, 1)
    penalty = options.length_penalty if options.num_beams > 1 else 0.0
    for line in sys.stdin:
        text = line.strip()
        found = translate(params, [text], options.num_beams, penalty) if text else [""]
        print(found[0], flush=True)


def main(arguments: list[str]) -> None:
    """Runs a subcommand."""
    if arguments[:1] == ["translate"]:
        name = "translate.py translate"
        return translate_lines(runs.parse_options(TranslateOptions, arguments[1:], name))
    options = runs.parse_options(Options, arguments, "translate.py", resume=True)
    if options.input_feeding and options.model != "luong":
        raise ValueError(f"--input-feeding: expected --model luong, got {options.model}.")
    resuming = {"may_change": ["epochs", "num_beams", "length_penalty"], "best": "valid_loss"}
    with runs.start_run(options.run, options, name="runs/translate", **resuming) as run:
        learn(options, run)


if __name__ == "__main__":
    runs.run_command("translate", main)
