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

import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import word_models as models
from tqdm import tqdm
from word_models import Options, WordModel

import recur
from recur import runs, train
from recur.classic import additive, katz, kneser_ney
from recur.decode import argmax, beam_search, categorical, generate, temperature, top_k
from recur.sequences import Streams
from recur.text import Specials, Tokenizer, documentation, read_lines, sentences, split_by_hash

HELD_OUT_ONE_IN = 10  # texts of the documentation, for each of validation and test
Encoded = dict[str, list[np.ndarray]]  # documents of token ids by part: train, valid, test


@dataclasses.dataclass(frozen=True)
class GenerateOptions:
    """Generate sentences with a model trained by `word_lm.py`."""

    run: pathlib.Path
    """The folder of the run."""
    prompt: str = ""
    """The beginning of each sentence."""
    count: runs.Size = 5
    """Number of sentences; argmax writes one."""
    choose: Literal["categorical", "top-k", "argmax", "beam"] = "top-k"
    """Sample words, sample from the k most likely words, take the most likely word, or search for
    the most likely sentences."""
    temperature: runs.NonNegative = 1.0
    """Below 1 sharpens the distribution, above 1 flattens it; 0 takes the most likely word."""
    k: runs.Size = 20
    """Number of words that top-k samples from."""
    num_beams: runs.Size | None = None
    """Number of hypotheses in beam search, at least --count. Default: 20, or the size of a smaller
    vocabulary."""
    length_penalty: runs.Finite = 0.6
    """Length penalty of beam search; above 0 favors long sentences."""
    min_tokens: Annotated[int, runs.between(0, 10**6)] = 5
    """Minimum number of words in a sentence, including the prompt."""
    max_tokens: runs.Size = 40
    """Maximum number of words in a sentence, including the prompt."""
    seed: runs.Seed = 0
    """Seed of the samples."""


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
        return recur.text.words(
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


# --- Training ------------------------------------------------------------------------------------


def first_state(
    options: Options, model: WordModel, optimizer: optax.GradientTransformation
) -> train.TrainState:
    """The state before the first update."""
    params_key, run_key = jax.random.split(jax.random.key(options.seed))
    params = model.init(params_key)
    tokens = jax.ShapeDtypeStruct((options.batch_size, options.unroll), jnp.int32)
    carry = recur.batch(model.body).init_carry(params.body, tokens)
    return train.init_state(params, optimizer, run_key, carry)


def make_judge(
    model: WordModel, documents: list[np.ndarray]
) -> Callable[[train.TrainState], float]:
    """`judge(state)` -> the nats per word, ends of sentences included."""

    def losses(params, hs, window):
        to_logits = partial(model.logits, params)
        return train.chunked_cross_entropy(
            to_logits, hs, window.targets, window.mask, size=models.CHUNK
        )

    evaluate = train.make_document_loss(recur.batch(model.body), losses, documents)
    count = sum(len(document) - 1 for document in documents)

    def judge(state):
        params = models.weights_to_judge(state)
        return evaluate(params.body, params) / count

    return judge


def make_validate(model: WordModel, documents: list[np.ndarray]):
    """Makes a callback that computes the perplexity on validation."""
    judge = make_judge(model, documents)

    def validate(report):
        nats = judge(report.state)
        found = float(train.perplexity(nats))
        tqdm.write(f"epoch {report.epoch}: validation perplexity {found:.2f}")
        return {"valid_nats": nats, "valid_perplexity": found}

    return validate


def learn(options: Options, run: runs.Run) -> None:
    """Trains a model, in the folder of the run, and compares its best epoch with n-grams."""
    texts = read_texts(options)
    tokenizer = learn_words(options, texts["train"])
    run.check_data(text=texts, vocabulary=tokenizer.fingerprint)
    tokenizer.save(run.folder / "tokenizer.json")
    documents = {part: encode(tokenizer, of_part) for part, of_part in texts.items()}
    streams = Streams(documents["train"], options.batch_size, options.unroll, seed=options.seed)
    model = models.build_model(options, len(tokenizer))
    optimizer = models.build_optimizer(options, len(streams))
    state = run.restore(first_state(options, model, optimizer), streams)
    describe(options, run, state, tokenizer, documents)

    def show(metrics):
        return f"perplexity {math.exp(min(metrics['nats'], 99)):.1f}"

    fit = partial(
        run.fit,
        jax.jit(train.make_step(models.make_loss(options, model), optimizer), donate_argnums=0),
        batches=streams,
        epochs=options.epochs,
        callbacks=[train.every_epoch(make_validate(model, documents["valid"]))],
        report_every=options.report_every,
        checkpoint_every=options.checkpoint_every,
        progress=runs.Progress("word", options.batch_size * options.unroll, show),
        curves=runs.Curves("nats per word", {"training": "nats", "validation": "valid_nats"}),
    )
    if options.average_after is not None and not models.has_begun(state):
        state = fit(state=state, stop=make_stop(options.average_after))
        if state.step < options.epochs * len(streams):
            tqdm.write("weights are averaged from this epoch on")
            state = models.begin_average(state)
    state = fit(state=state)
    best = run.best_state(state)

    def perplexity(part):
        return float(train.perplexity(make_judge(model, documents[part])(best)))

    table = [*compare(documents, len(tokenizer)), row_of("this model", perplexity)]
    print(f"the best epoch: {int(best.step) // len(streams)}\n")
    saved = run.save_results(table, dict.fromkeys(("validation", "test"), ".2f"))
    print(f"{saved}\n\nResults are in {run}. To generate sentences:")
    print("  " + runs.command_line("generate", "--run", run))


def make_stop(patience: int) -> Callable[[train.Report], bool]:
    """Makes the condition to start averaging weights (NT-ASGD).

    It holds if the last validation is worse than the best one up to `patience` epochs before.
    """
    found: list[float] = []

    def stop(report):
        if "valid_perplexity" in report.metrics:
            found.append(report.metrics["valid_perplexity"])
        return len(found) > patience and found[-1] > min(found[:-patience])

    return stop


def describe(
    options: Options,
    run: runs.Run,
    state: train.TrainState,
    tokenizer: Tokenizer,
    documents: Encoded,
) -> None:
    """Prints a description of the run."""
    print(
        f"{run.status(state)}; "
        f"{options.preset}: {options.layers} x {options.cell} of {options.features} units, "
        f"{optax.tree.size(state.params):,} weights; {len(tokenizer):,} words."
    )
    for part, of_part in documents.items():
        predicted = np.concatenate([document[1:] for document in of_part])
        unknown = (predicted == tokenizer.unknown).mean()
        print(f"{part:6}{len(predicted):>10,} words to predict, {unknown:.1%} of them unknown")


def row_of(name: str, perplexity: Callable[[str], float]) -> dict[str, Any]:
    """A row of the table."""
    return {"perplexity": name, "validation": perplexity("valid"), "test": perplexity("test")}


def compare(documents: Encoded, size: int) -> list[dict[str, Any]]:
    """Perplexities of n-grams on the same words."""
    ngrams = {
        "unigrams": additive(documents["train"], 1, size),
        "3-grams, Katz": katz(documents["train"], 3, size),
        "5-grams, Kneser-Ney": kneser_ney(documents["train"], 5, size),
    }
    return [
        row_of(name, lambda part, model=model: model.perplexity(documents[part]))
        for name, model in ngrams.items()
    ]


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
    run = runs.Run(options.run, best="valid_perplexity")
    begun = run.options(Options)
    tokenizer = Tokenizer.load(run.folder / "tokenizer.json")
    run.check_data(vocabulary=tokenizer.fingerprint)
    prompt = begin_sentence(options, tokenizer)
    model = models.build_model(begun, len(tokenizer))
    best = run.best_state(first_state(begun, model, models.build_optimizer(begun, 1)))
    for ids in write_ids(options, tokenizer, prompt, model, models.weights_to_judge(best)):
        print(f"{options.prompt} {tokenizer.decode(ids)}".strip())


def main(arguments: list[str]) -> None:
    """Runs a subcommand."""
    if arguments[:1] == ["generate"]:
        generate_sentences(
            runs.parse_options(GenerateOptions, arguments[1:], "word_lm.py generate")
        )
        return
    preset = models.PRESETS[chosen_preset(arguments)]
    options = runs.parse_options(preset, arguments, "word_lm.py", resume=True)
    resuming = {"may_change": ["epochs"], "best": "valid_perplexity"}
    with runs.start_run(options.run, options, name="runs/word_lm", **resuming) as run:
        learn(options, run)


def chosen_preset(arguments: list[str]) -> str:
    """The preset on the command line, whose values are the defaults of all options."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        name = argument.removeprefix("--preset=") if "=" in argument else argument
        if (before == "--preset" or argument.startswith("--preset=")) and name in models.PRESETS:
            return name
    return "lecture"


if __name__ == "__main__":
    runs.run_command("word_lm", main)
