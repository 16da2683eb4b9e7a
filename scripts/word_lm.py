r"""Trains a word-level language model, measures its perplexity, and generates sentences.

    python scripts/word_lm.py                      on the documentation that comes with Python
    python scripts/word_lm.py --preset zaremba-small --train FILE --valid FILE --test FILE
    python scripts/word_lm.py --run DIR            resumes a run that was stopped
    python scripts/word_lm.py generate --run DIR --min-tokens 8 --choose beam

Install: pip install -e ".[text,train]". Cost: two and a half minutes on two CPU cores.
Result, seed 0, on the documentation of CPython 3.11 with 8,000 words, perplexity on validation and
test: 92.5 and 100.0 (an LSTM, --cell lstm, 95.1 and 100.1); unigrams have 370 and 386, 3-grams with
Katz back-off 110.6 and 123.6, and 5-grams with modified Kneser-Ney 92.8 and 104.7. An LSTM with
--features 200 --embedding 200 --dropout 0.3 --epochs 10 reaches 82.6 and 88.3, and --preset
zaremba-small --vocabulary 8000 --dropout 0.4 --epochs 10, whose context includes the preceding
sentences, 70.5 and 76.2.

The small model of Zaremba, Sutskever & Vinyals 2014 on the Penn Treebank (ptb.train.txt and so on,
as prepared by Mikolov), seed 0, in 40 minutes on two CPU cores at 5,100 words per second: test
perplexity 114.3 at the best of 13 epochs, the sixth, with 118.4 on validation (119.0 at the end).
Published: 114.5 and 120.7. Modified Kneser-Ney 5-grams have 141.1 on the same words.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import contextlib
import dataclasses
import math
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import running
from bounds import total_updates
from claims import claimed
from display import command_line
from saving import read_metrics, write_json, write_picture
from tqdm import tqdm
from word_models import (
    CHUNK,
    PRESETS,
    Options,
    WordModel,
    begin_average,
    build_model,
    build_optimizer,
    has_begun,
    make_loss,
    weights_to_judge,
)

import recur
from recur.classic import additive, katz, kneser_ney
from recur.decode import argmax, beam_search, categorical, generate, temperature, top_k
from recur.diagnose import curves
from recur.sequences import Streams
from recur.text import (
    Specials,
    Tokenizer,
    documentation,
    read_lines,
    sentences,
    split_by_hash,
    words,
)
from recur.train import (
    Checkpoints,
    JsonLines,
    Report,
    Restored,
    TrainState,
    chunked_cross_entropy,
    fit,
    init_state,
    make_step,
    perplexity,
)

HELD_OUT_ONE_IN = 10  # texts of the documentation, for each of validation and test
Encoded = dict[str, list[np.ndarray]]  # documents of token ids by part: train, valid, test


@dataclasses.dataclass(frozen=True)
class GenerateOptions:
    """Generate sentences with a model trained by `word_lm.py`."""

    run: pathlib.Path
    """The folder of the run."""
    prompt: str = ""
    """The beginning of each sentence."""
    count: int = 5
    """Number of sentences; argmax writes one."""
    choose: Literal["categorical", "top-k", "argmax", "beam"] = "top-k"
    """Sample words, sample from the k most likely words, take the most likely word, or search for
    the most likely sentences."""
    temperature: float = 1.0
    """Below 1 sharpens the distribution, above 1 flattens it; 0 takes the most likely word."""
    k: int = 20
    """Number of words that top-k samples from."""
    num_beams: int | None = None
    """Number of hypotheses in beam search, at least --count. Default: 20, or the size of a smaller
    vocabulary."""
    length_penalty: float = 0.6
    """Length penalty of beam search; above 0 favors long sentences."""
    min_tokens: int = 5
    """Minimum number of words in a sentence, including the prompt."""
    max_tokens: int = 40
    """Maximum number of words in a sentence, including the prompt."""
    seed: int = 0
    """Seed of the samples."""


class Run(NamedTuple):
    """The parts of a run."""

    options: Options
    texts: dict[str, list[list[str]]]  # by part: texts, each a list of sentences
    tokenizer: Tokenizer
    documents: Encoded
    streams: Reading
    model: WordModel
    optimizer: optax.GradientTransformation


class Reading(Streams):
    """Streams whose position, as saved in checkpoints, includes the vocabulary of the model."""

    def __init__(self, documents, options: Options, tokenizer: Tokenizer):
        super().__init__(documents, options.batch_size, options.unroll, seed=options.seed)
        self._tokenizer = tokenizer

    def get_state(self) -> dict[str, Any]:
        """The position in the streams, and the vocabulary."""
        return {**super().get_state(), "vocabulary": self._tokenizer.fingerprint}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from the position that `get_state` returned."""
        check_vocabulary(state, self._tokenizer, "the checkpoint")
        super().set_state(state)


def check_vocabulary(state: dict[str, Any], tokenizer: Tokenizer, where: Any) -> None:
    """Raises a ValueError unless the model of a checkpoint has this vocabulary."""
    if state["vocabulary"] != tokenizer.fingerprint:
        raise ValueError(
            f"{where}: expected a checkpoint of a model of this vocabulary, of {len(tokenizer)} "
            "tokens, got one of another. Restore the tokenizer.json that it was trained with."
        )


# --- Text ----------------------------------------------------------------------------------------


def read_texts(options: Options) -> dict[str, list[list[str]]]:
    """Reads the sentences of each text of each split, from files or Python's documentation."""
    files = {"train": options.train, "valid": options.valid, "test": options.test}
    if not any(files.values()):
        rest, test = split_by_hash(documentation(), HELD_OUT_ONE_IN)
        rest = {f"{name}?": text for name, text in rest.items()}
        train, valid = split_by_hash(rest, HELD_OUT_ONE_IN)
        parts = {"train": train, "valid": valid, "test": test}
        return {part: [sentences(text) for text in ts.values()] for part, ts in parts.items()}
    missing = [f"--{part}" for part, path in files.items() if path is None]
    if missing:
        raise ValueError(
            f"{', '.join(missing)}: expected a file for each of --train, --valid and --test, or "
            "for none of them."
        )
    return {part: [list(read_lines(path))] for part, path in files.items()}


def learn_words(options: Options, texts: list[list[str]]) -> Tokenizer:
    """Builds the vocabulary from the training text."""
    is_default = options.train is None
    ends = {"start": "<s>", "end": "</s>"} if options.sentences else {"start": None, "end": "<eos>"}
    try:
        return words(
            (sentence for text in texts for sentence in text),
            options.vocabulary,
            specials=Specials(padding=None, **ends),
            split="punctuation" if is_default else options.split,
            lowercase=is_default or options.lowercase,
        )
    except ValueError as error:
        if options.vocabulary is None:
            raise
        raise ValueError(f"--vocabulary: {error} None keeps every word.") from error


def encode(tokenizer: Tokenizer, texts: list[list[str]]) -> list[np.ndarray]:
    """Encodes documents: single sentences, or whole texts that start with an end token."""
    if tokenizer.start is not None:
        return [tokenizer.frame(ids) for text in texts for ids in tokenizer.encode_all(text)]
    end = np.array([tokenizer.end], np.int32)
    return [
        np.concatenate([end, *map(tokenizer.frame, tokenizer.encode_all(text))]) for text in texts
    ]


# --- The run -------------------------------------------------------------------------------------


def prepare(options: Options) -> Run:
    """Reads the text and builds the model; writes nothing."""
    texts = read_texts(options)
    tokenizer = learn_words(options, texts["train"])
    documents = {part: encode(tokenizer, of_part) for part, of_part in texts.items()}
    streams = Reading(documents["train"], options, tokenizer)
    model = build_model(options, len(tokenizer))
    optimizer = build_optimizer(options, len(streams))
    return Run(options, texts, tokenizer, documents, streams, model, optimizer)


def first_state(
    options: Options, model: WordModel, optimizer: optax.GradientTransformation
) -> TrainState:
    """The state before the first update."""
    params_key, run_key = jax.random.split(jax.random.key(options.seed))
    params = model.init(params_key)
    tokens = jax.ShapeDtypeStruct((options.batch_size, options.unroll), jnp.int32)
    carry = recur.batch(model.body).init_carry(params.body, tokens)
    return init_state(params, optimizer, run_key, carry)


def make_judge(model: WordModel, documents: list[np.ndarray]) -> Callable[[TrainState], float]:
    """`judge(state)` -> the perplexity over words and ends of sentences."""

    def losses(params, hs, window):
        to_logits = partial(model.logits, params)
        return chunked_cross_entropy(to_logits, hs, window.targets, window.mask, size=CHUNK)

    evaluate = running.make_evaluate(recur.batch(model.body), losses, documents)
    count = sum(len(document) - 1 for document in documents)

    def judge(state):
        params = weights_to_judge(state)
        return float(perplexity(evaluate(params.body, params) / count))

    return judge


def train(options: Options) -> None:
    """Trains a model, in the folder of the run."""
    with claimed(options.run, "runs/word_lm", goes_on=True) as folder:
        train_in_folder(dataclasses.replace(options, run=folder))


def train_in_folder(options: Options) -> None:
    """Trains a model, in a folder that is locked."""
    run = prepare(options)
    per_epoch = run.len(streams)
    steps = total_updates(options.epochs, per_epoch)
    running.begin_folder(
        options,
        run.texts,
        run.tokenizer.fingerprint,
        lambda folder: run.tokenizer.save(folder / "tokenizer.json"),
    )
    with Checkpoints(options.run / "checkpoints", best="valid_perplexity") as checkpoints:
        state = first_state(options, run.model, run.optimizer)
        begun = running.resume(options, checkpoints, state, run.streams, steps)
        done = int(begun.state.step)
        describe(run, begun.state)
        began = time.monotonic()
        state = learn(run, begun, checkpoints)
        seconds = time.monotonic() - began
    best = running.best_checkpoint(options.run, "valid_perplexity", like=state).state
    read = (int(state.step) - done) * options.batch_size * options.unroll
    if read:
        print(f"{read:,} words in {seconds:.0f} s with validation, {read / seconds:,.0f} a second")
    table = compare(run, best)
    write_json(options.run / "results.json", table)
    print(f"the best epoch: {int(best.step) // per_epoch}\n")
    print_table(table)
    print(f"\nResults are in {options.run}. To generate sentences:")
    print("  " + command_line("word_lm.py", "generate", "--run", options.run))


def describe(run: Run, state: TrainState) -> None:
    """Prints a description of the run."""
    options, tokenizer = run.options, run.tokenizer
    weights = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    print(
        f"{options.run}: {f'resumes after update {state.step}' if state.step else 'a new run'}; "
        f"{options.preset}: {options.layers} x {options.cell} of {options.features} units, "
        f"{weights:,} weights; {len(tokenizer):,} words."
    )
    for part, documents in run.documents.items():
        predicted = np.concatenate([document[1:] for document in documents])
        unknown = (predicted == tokenizer.unknown).mean()
        print(f"{part:6}{len(predicted):>10,} words to predict, {unknown:.1%} of them unknown")


def learn(run: Run, begun: Restored, checkpoints: Checkpoints) -> TrainState:
    """Trains epoch by epoch, with a validation after each, which may start weight averaging."""
    options, state, unread = run.options, begun.state, begun.unread
    done = int(state.step)
    per_epoch = run.len(streams)
    judge = make_judge(run.model, run.documents["valid"])
    progress = running.Progress(
        "word",
        options.batch_size * options.unroll,
        options.epochs * per_epoch,
        done,
        lambda metrics: f"perplexity {math.exp(min(metrics['nats'], 99)):.1f}",
    )

    def validate(report: Report) -> dict[str, float] | None:
        if not report.last or report.interrupted:
            return None
        found = judge(report.state)
        tqdm.write(f"epoch {report.step // per_epoch}: validation perplexity {found:.2f}")
        return {"valid_perplexity": found}

    metrics = options.run / "metrics.jsonl"
    callbacks = [
        progress,
        validate,
        JsonLines(metrics, step=done),
        checkpoints.callback(options.checkpoint_every, run.streams),
    ]
    step = jax.jit(make_step(make_loss(options, run.model), run.optimizer), donate_argnums=0)
    with running.at_the_end(lambda: draw_curves(options.run)), contextlib.closing(progress):
        for epoch in range(done // per_epoch, options.epochs):
            if is_time_to_average(options, read_metrics(metrics)) and not has_begun(state):
                tqdm.write("weights are averaged from this epoch on")
                state = begin_average(state)
            state = fit(
                step,
                state,
                run.streams,
                steps=(epoch + 1) * per_epoch,
                callbacks=callbacks,
                report_every=options.report_every,
                unread=unread,
            )
            unread = ()
    return state


def is_time_to_average(options: Options, records: list[dict[str, float]]) -> bool:
    """Whether the last validation is worse than the best one `average_after` epochs before."""
    found = [record["valid_perplexity"] for record in records if "valid_perplexity" in record]
    patience = options.average_after
    return patience is not None and len(found) > patience and found[-1] > min(found[:-patience])


def compare(run: Run, best: TrainState) -> dict[str, dict[str, float]]:
    """Perplexities on validation and test, of the model and of n-grams on the same words."""
    documents, size = run.documents, len(run.tokenizer)
    models = {
        "unigrams": additive(documents["train"], 1, size),
        "3-grams, Katz": katz(documents["train"], 3, size),
        "5-grams, Kneser-Ney": kneser_ney(documents["train"], 5, size),
    }
    table = {
        name: {part: model.perplexity(documents[part]) for part in ("valid", "test")}
        for name, model in models.items()
    }
    found = {part: make_judge(run.model, documents[part])(best) for part in ("valid", "test")}
    return {**table, "this model": found}


def print_table(table: dict[str, dict[str, float]]) -> None:
    """Prints a table in Markdown."""
    print("| perplexity | validation | test |\n|---|---|---|")
    for name, found in table.items():
        print(f"| {name} | {found['valid']:.2f} | {found['test']:.2f} |")


def draw_curves(folder: pathlib.Path) -> None:
    """Draws the perplexity over updates."""
    records = read_metrics(folder / "metrics.jsonl", "nats")
    valid = [(r["step"], r["valid_perplexity"]) for r in records if "valid_perplexity" in r]
    trained = [(r["step"], math.exp(min(r["nats"], 9.3))) for r in records]
    lines = {"training": trained, "validation": valid}
    drawn = {name: tuple(zip(*points, strict=True)) for name, points in lines.items() if points}
    if drawn:
        figure = curves(drawn, y="perplexity", title=folder.name)
        write_picture(folder / "curve.png", figure)


# --- Generation ----------------------------------------------------------------------------------


def begin_sentence(options: GenerateOptions, tokenizer: Tokenizer) -> np.ndarray:
    """Encodes the prompt, and checks that it leaves words to generate."""
    ids = tokenizer.encode(options.prompt)
    if (ids == tokenizer.unknown).any():
        raise ValueError(
            f"--prompt: expected words of the vocabulary, got {options.prompt!r}, of which "
            f"the model has {tokenizer.decode(ids)!r}. Leave the others out."
        )
    if options.max_tokens <= len(ids) or options.max_tokens < options.min_tokens:
        raise ValueError(
            f"--max-tokens: expected at least --min-tokens, {options.min_tokens}, and more than "
            f"the {len(ids)} words of the prompt, got {options.max_tokens}."
        )
    return ids


def write_ids(
    options: GenerateOptions,
    tokenizer: Tokenizer,
    prompt: np.ndarray,
    model: WordModel,
    params: Any,
) -> Iterator[np.ndarray]:
    """Generates the ids of sentences, without the prompt."""
    shared = {
        "max_tokens": options.max_tokens - len(prompt),
        "min_tokens": max(0, options.min_tokens - len(prompt)),
        "eos": tokenizer.end,
        "forbidden": [i for i in (tokenizer.unknown, tokenizer.start) if i is not None],
    }
    first = tokenizer.end if tokenizer.start is None else tokenizer.start
    prompt = np.array([first, *prompt], np.int32)
    layer, body = model.decoding_layer(params), (params.body, ())
    if options.choose == "beam":
        usual = max(options.count, min(20, len(tokenizer)))
        beams = {"num_beams": options.num_beams or usual, "num_return": options.count}
        beams["length_penalty"] = options.length_penalty
        found = beam_search(layer, body, prompt[None], **beams, **shared)
        found = jax.tree.map(lambda of_rows: of_rows[0], found)
    else:
        drawn = temperature(options.temperature, categorical) if options.temperature else argmax
        choose = {"argmax": argmax, "top-k": top_k(options.k, drawn), "categorical": drawn}
        rows = np.tile(prompt, (1 if options.choose == "argmax" else options.count, 1))
        key = jax.random.key(options.seed)
        found = generate(layer, body, rows, choose=choose[options.choose], key=key, **shared)
    for ids, length in zip(*jax.device_get((found.tokens, found.length)), strict=True):
        yield ids[:length]


def generate_sentences(options: GenerateOptions) -> None:
    """The subcommand `generate`."""
    begun = running.begun_options(Options, options.run, "word_lm.py")
    tokenizer = Tokenizer.load(options.run / "tokenizer.json")
    running.check_corpus(options.run, {"vocabulary": tokenizer.fingerprint})
    prompt = begin_sentence(options, tokenizer)
    model = build_model(begun, len(tokenizer))
    like = first_state(begun, model, build_optimizer(begun, 1))
    restored = running.best_checkpoint(options.run, "valid_perplexity", like)
    check_vocabulary(restored.stream, tokenizer, options.run)
    for ids in write_ids(options, tokenizer, prompt, model, weights_to_judge(restored.state)):
        print(f"{options.prompt} {tokenizer.decode(ids)}".strip())


def main(arguments: list[str]) -> None:
    """Runs a subcommand."""
    if arguments[:1] == ["generate"]:
        generate_sentences(running.parse(GenerateOptions, arguments[1:], "word_lm.py generate"))
    else:
        preset = PRESETS[chosen_preset(arguments)]
        train(running.parse_options(preset, arguments, "word_lm.py", may_change=("epochs",)))


def chosen_preset(arguments: list[str]) -> str:
    """The preset on the command line, whose values are the defaults of all options."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        name = argument.removeprefix("--preset=") if "=" in argument else argument
        if (before == "--preset" or argument.startswith("--preset=")) and name in PRESETS:
            return name
    return "lecture"


if __name__ == "__main__":
    running.run_script("word_lm", main, sys.argv[1:], running.GOES_ON)
