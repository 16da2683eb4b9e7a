r"""Trains word vectors by word2vec, prints nearest words and analogies, and draws a picture.

    python scripts/word2vec.py                        on the documentation of Python
    python scripts/word2vec.py --text FILE...         on your own text, one sentence per line
    python scripts/word2vec.py --model cbow           with continuous bag of words
    python scripts/word2vec.py --run DIR              resumes a run that was stopped
    python scripts/word2vec.py --run DIR --analogy is was are     "is" is to "was" as "are" is to?
    python scripts/word2vec.py --peer gensim          compared with gensim, on the same sentences

Install: pip install -e ".[text,train]", and ".[bench]" for the peer. Cost: a minute on two CPU
cores. Result, seed 0, on the documentation of CPython 3.11: "child" is near "children", "worker"
and "process". Compared with gensim, on the same sentences and with the same settings:

                                                skip-gram        cbow
                                                recur  gensim    recur  gensim
    random words that score below the true one  64.4%  64.5%     80.9%  80.3%
    mean of 1 / rank among 100 random words     0.139  0.140     0.263  0.261
    ten nearest shared with another gensim      50.6%  63.4%     43.1%  66.9%
    seconds of all cores together               82     26        47     10

The first two are on held-out sentences. gensim, in C, is three to five times as fast.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import importlib
import itertools
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optax

from recur import classic, runs, train
from recur.classic import Contexts, Word2Vec, WordVectors
from recur.diagnose import scatter
from recur.text import documentation, read_lines, sentences, words

OBJECTIVES = {"skip-gram": classic.skip_gram, "cbow": classic.cbow}
HELD_OUT_ONE_IN = 20  # sentences
RIVALS = 100  # random words that each held-out word is ranked among
RANKED = 5000  # held-out words, or all if there are fewer
COMPARED = 1000  # frequent words whose ten nearest are compared
DRAWN = 400  # frequent words in the picture, as far as their labels fit
SHOWN = range(100, 500, 40)  # words by frequency; the first hundred are function words


@dataclasses.dataclass(frozen=True)
class Options:
    """Train word vectors, and evaluate them."""

    text: tuple[pathlib.Path, ...] = ()
    """Text files, one sentence per line. Default: the documentation of Python."""
    run: pathlib.Path | None = None
    """The folder of the run. A new folder starts a run; an existing one resumes its run with the
    same options. Default: runs/word2vec-1, -2 ..."""
    analogy: tuple[tuple[str, str, str], ...] = ()
    """Analogies to solve, each of three words a b c: a is to b as c is to ..."""
    questions: pathlib.Path | None = None
    """A file of analogies for evaluation, four words per line, such as questions-words.txt."""
    peer: Literal["gensim"] | None = None
    """A library to train on the same sentences and to compare with."""

    model: Literal["skip-gram", "cbow"] = "skip-gram"
    """Whether a word is predicted from each word around it, or from their mean."""
    features: runs.Size = 100
    """Size of each vector."""
    window: runs.Size = 5
    """Maximum number of words on each side."""
    negatives: runs.Size = 5
    """Negative samples for each window."""
    sample: runs.Positive | None = 1e-3
    """Threshold of the frequency above which words are subsampled; None keeps all."""
    min_count: runs.Count = 5
    """Words with a lower count in the training sentences are left out."""

    epochs: runs.Count = 20
    """Number of epochs. Resume a finished run with more to continue it."""
    batch_size: runs.Size = 1024
    """Windows per update."""
    learning_rate: runs.Positive = 0.1
    """Initial learning rate of Adagrad, with linear decay to 0."""
    seed: runs.Seed = 0
    """Seed of vectors, windows and negatives."""
    report_every: runs.Count = 100
    """Updates between two log entries."""
    checkpoint_every: runs.Count = 1000
    """Updates between two checkpoints; the last 3 are kept."""


class Corpus(NamedTuple):
    """Sentences as arrays of ids, and the words in the order of ids, the most frequent first."""

    words: tuple[str, ...]
    training: list[np.ndarray]
    held_out: list[np.ndarray]


class Learned(NamedTuple):
    """A trained model and its training time."""

    params: Word2Vec
    seconds: dict[str, float]  # of the clock, and of all cores together


# --- Text ----------------------------------------------------------------------------------------


def read_sentences(options: Options) -> list[str]:
    """Reads the lines of the given files, or the sentences of Python's documentation."""
    if not options.text:
        return [each for text in documentation().values() for each in sentences(text)]
    return [line for path in options.text for line in read_lines(path) if line.strip()]


def build_corpus(lines: Sequence[str], min_count: int) -> Corpus:
    """Keeps words that are frequent enough, and holds out one sentence in twenty."""
    held_out = lines[HELD_OUT_ONE_IN - 1 :: HELD_OUT_ONE_IN]
    training = [line for n, line in enumerate(lines, 1) if n % HELD_OUT_ONE_IN]
    vocabulary = words(training, split="punctuation", lowercase=True)
    counts = np.bincount(np.concatenate(list(vocabulary.encode_all(training))))
    kept = [
        number
        for number, (token, count) in enumerate(zip(vocabulary.tokens, counts, strict=False))
        if count >= min_count and any(map(str.isalpha, token)) and token not in vocabulary.specials
    ]
    new_ids = np.full(len(vocabulary), -1, np.int32)
    new_ids[kept] = np.arange(len(kept))

    def encode(lines):
        return [ids[ids >= 0] for ids in (new_ids[each] for each in vocabulary.encode_all(lines))]

    names = tuple(vocabulary.tokens[number] for number in kept)
    corpus = Corpus(names, encode(training), encode(held_out))
    if min(max(map(len, part), default=0) for part in corpus[1:]) < 2:
        raise ValueError(
            f"expected sentences with at least two words that occur {min_count} times, got none in "
            f"the {len(training)} for training or the {len(held_out)} held out. Pass more text, or "
            "a lower --min-count."
        )
    return corpus


def read_questions(path: pathlib.Path, corpus: Corpus) -> list[list[str]]:
    """Reads analogies of words with a vector; lines that start with a colon are headings."""
    asked = []
    for number, line in enumerate(read_lines(path), 1):
        if line.strip() and not line.startswith(":"):
            asked.append(line.lower().split())
            if len(asked[-1]) != 4:
                raise ValueError(f"{path}:{number}: expected four words, got {line!r}.")
    known = [question for question in asked if set(question) <= set(corpus.words)]
    if not known:
        raise ValueError(
            f"{path}: expected analogies of the {len(corpus.words)} words of the text, got none "
            f"among {len(asked)}. Pass a longer text, or questions about this one."
        )
    return known


# --- Training ------------------------------------------------------------------------------------


def learn(options: Options, corpus: Corpus, run: runs.Run) -> Learned:
    """Trains a model with recur, in the folder of the run.

    The optimizer is Adagrad, since a batch contains a frequent word a hundred times and a rare one
    hardly ever. Plain SGD was slightly worse after as many updates at a rate of 0.025, and diverged
    at 0.1. Adam was as good, with one more array in memory.
    """
    settings = {"window": options.window, "sample": options.sample, "seed": options.seed}
    contexts = Contexts(corpus.training, options.batch_size, **settings)
    steps = max(1, options.epochs * contexts.windows_per_epoch // options.batch_size)
    optimizer = optax.adagrad(optax.linear_schedule(options.learning_rate, 0.0, steps))
    noise = classic.unigram_noise(contexts.counts)
    loss = classic.word2vec_loss(OBJECTIVES[options.model], noise, options.negatives)
    params_key, run_key = jax.random.split(jax.random.key(options.seed))
    params = classic.init_word2vec(params_key, len(corpus.words), options.features)
    begun = run.restore(train.init_state(params, optimizer, run_key), contexts)
    done, began = int(begun.step), clock()
    state = run.fit(
        jax.jit(train.make_step(loss, optimizer), donate_argnums=0),
        begun,
        contexts,
        steps=steps,
        report_every=options.report_every,
        checkpoint_every=options.checkpoint_every,
        progress=runs.Progress(
            "word", options.batch_size, lambda found: f"{found['nats']:.3f} nats"
        ),
        curves=runs.Curves("nats", {"training": "nats"}),
    )
    seconds = {} if done else seconds_since(began)  # those of a resumed run are not known
    return Learned(jax.tree.map(np.asarray, state.params), seconds)


def learn_with_gensim(options: Options, corpus: Corpus, seed: int) -> Learned:
    """Trains gensim on the same words and sentences, with the same settings."""
    import gensim  # of the extra `bench`

    began = clock()
    model = gensim.models.Word2Vec(
        [[corpus.words[i] for i in sentence] for sentence in corpus.training],
        sg=int(options.model == "skip-gram"),
        vector_size=options.features,
        window=options.window,
        negative=options.negatives,
        sample=options.sample or 0,
        min_count=1,  # the corpus has left out the rare ones
        epochs=options.epochs,
        seed=seed,
        workers=os.cpu_count(),
    )
    seconds = seconds_since(began)
    places = [model.wv.key_to_index[word] for word in corpus.words]
    return Learned(Word2Vec(model.wv.vectors[places], model.syn1neg[places]), seconds)


def clock() -> tuple[float, float]:
    """The wall-clock time, and the CPU time of this process."""
    return time.monotonic(), time.process_time()


def seconds_since(began: tuple[float, float]) -> dict[str, float]:
    """The seconds since then, as columns of the table."""
    return dict(zip(("seconds", "of all cores"), np.subtract(clock(), began), strict=True))


# --- Evaluation ----------------------------------------------------------------------------------


def rank_held_out(options: Options, corpus: Corpus, params: Word2Vec) -> dict[str, float]:
    """Ranks the true words of held-out sentences among random words, by their scores.

    The random words have the frequencies of the training text, so that frequency alone does not
    help.
    """
    count = min(RANKED, sum(map(len, corpus.held_out)))
    windows = next(Contexts(corpus.held_out, count, window=options.window, sample=None))
    counts = np.bincount(np.concatenate(corpus.training), minlength=len(corpus.words))
    draws = np.random.default_rng(0)
    rivals = draws.choice(len(counts), (count, RIVALS), p=counts / counts.sum())
    hidden, mask = params.input[windows.contexts], windows.mask  # [B, C, D] and [B, C]
    if options.model == "cbow":
        weights = mask / mask.sum(1, keepdims=True)
        hidden, mask = np.einsum("bc,bcd->bd", weights, hidden)[:, None], mask.any(1)[:, None]
    candidates = np.concatenate([windows.centers[:, None], rivals], axis=1)
    scores = hidden @ params.output[candidates].swapaxes(1, 2)  # [B, C, 1 + RIVALS]
    true, false = scores[..., :1], scores[..., 1:]
    is_other = (rivals != windows.centers[:, None])[:, None]
    above = (((false > true) + 0.5 * (false == true)) * is_other).sum(-1)
    below = 1 - above / np.maximum(is_other.sum(-1), 1)
    return {"random words below": below[mask].mean(), "1 / rank": (1 / (1 + above))[mask].mean()}


def shared_neighbours(one: WordVectors, other: WordVectors) -> float:
    """The share of the ten nearest words of frequent words that two models have in common."""

    def nearest(vectors, word):
        return {near for near, _ in vectors.nearest(word)}

    shares = [
        len(nearest(one, word) & nearest(other, word)) / len(nearest(one, word))
        for word in one.words[:COMPARED]
    ]
    return float(np.mean(shares))


def compare(
    options: Options, corpus: Corpus, ours: Learned, questions: Sequence[Sequence[str]]
) -> list[dict[str, Any]]:
    """A row of results for each library; the peer is trained twice, to compare two seeds."""
    models = {"recur": ours}
    if options.peer:
        models["gensim"] = learn_with_gensim(options, corpus, options.seed)
        again = learn_with_gensim(options, corpus, options.seed + 1)
    rows = []
    for name, (params, seconds) in models.items():
        row = {options.model: name, **rank_held_out(options, corpus, params)}
        vectors = WordVectors(corpus.words, params.input)
        if questions:
            right = [vectors.analogy(a, b, c)[0][0] == d for a, b, c, d in questions]
            row[f"of {len(questions):,} analogies"] = np.mean(right)
        if options.peer:
            other = WordVectors(corpus.words, again.params.input)
            row["nearest shared"] = shared_neighbours(vectors, other)
        rows.append({**row, **seconds})
    return rows


# --- The run -------------------------------------------------------------------------------------


def describe(vectors: WordVectors, analogies: Sequence[Sequence[str]]) -> None:
    """Prints the nearest words of some frequent words, and the answers to analogies."""
    print("\nThe nearest words, by cosine:")
    for word in [vectors.words[n] for n in SHOWN if n < len(vectors)] or vectors.words[:5]:
        print(f"  {word:<12} {', '.join(near for near, _ in vectors.nearest(word, 6))}")
    for a, b, c in analogies:
        answers = ", ".join(word for word, _ in vectors.analogy(a, b, c, 5))
        print(f"\n{a} is to {b} as {c} is to: {answers}")


def learn_and_compare(options: Options, run: runs.Run) -> None:
    """Trains and evaluates word vectors, in the folder of the run."""
    lines = read_sentences(options)
    run.check_data(text=lines)
    corpus = build_corpus(lines, options.min_count)
    questions = read_questions(options.questions, corpus) if options.questions else []
    analogies = [[word.lower() for word in each] for each in options.analogy]
    known = WordVectors(corpus.words, np.zeros((len(corpus.words), 1)))
    for word in itertools.chain(*analogies):
        known[word]  # an error now, not after the training
    print(
        f"{run}: {sum(map(len, corpus.training)):,} words in {len(corpus.training):,} sentences, "
        f"{len(corpus.words):,} distinct ones; {len(corpus.held_out):,} held-out sentences."
    )
    learned = learn(options, corpus, run)
    vectors = WordVectors(corpus.words, learned.params.input)
    vectors.save(run.folder / "vectors.npz")
    title = f"The {min(DRAWN, len(vectors))} most frequent words, {options.model}"
    picture = scatter(classic.pca(vectors.unit[:DRAWN]), vectors.words[:DRAWN], title=title)
    runs.write_figure(run.folder / "picture.png", picture)
    describe(vectors, analogies)
    rows = compare(options, corpus, learned, questions)
    shares = {name: ".1%" for name in rows[-1] if name.startswith(("random", "of ", "nearest"))}
    table = run.save_results(rows, {"seconds": ".0f", **shares, "of all cores": ".0f"})
    print(f"\n{table}\n\nResults are in {run}: vectors.npz, picture.png and table.md.")


def main(arguments: list[str]) -> None:
    """Runs the script."""
    options = runs.parse_options(Options, arguments, "word2vec.py", resume=True)
    if options.peer:
        importlib.import_module(options.peer)  # an error now, not after the training
    may_change = ["epochs", "analogy", "questions", "peer"]
    with runs.start_run(options.run, options, name="runs/word2vec", may_change=may_change) as run:
        learn_and_compare(options, run)


if __name__ == "__main__":
    runs.run_command("word2vec", main)
