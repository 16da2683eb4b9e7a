r"""Trains word vectors by word2vec, prints nearest words and analogies, and draws a picture.

    python scripts/word2vec.py                        on the documentation of Python
    python scripts/word2vec.py --text FILE...         on your own text, one sentence per line
    python scripts/word2vec.py --model cbow           with continuous bag of words
    python scripts/word2vec.py --analogy is was are   "is" is to "was" as "are" is to ...
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

import dataclasses
import importlib.util
import itertools
import os
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optax
import running
from claims import new_folder

from recur.classic import (
    Contexts,
    ContextWindows,
    Word2Vec,
    WordVectors,
    cbow,
    init_word2vec,
    pca,
    skip_gram,
    unigram_noise,
    word2vec_loss,
)
from recur.diagnose import scatter
from recur.text import documentation, read_lines, sentences, words
from recur.train import Report, fit, init_state, make_step

OBJECTIVES = {"skip-gram": skip_gram, "cbow": cbow}
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
    """A new folder for vectors.npz and picture.png. Default: runs/word2vec-1, -2 ..."""
    analogy: tuple[tuple[str, str, str], ...] = ()
    """Analogies to solve, each of three words a b c: a is to b as c is to ..."""
    questions: pathlib.Path | None = None
    """A file of analogies for evaluation, four words per line, such as questions-words.txt."""
    peer: Literal["gensim"] | None = None
    """A library to train on the same sentences and to compare with."""

    model: Literal["skip-gram", "cbow"] = "skip-gram"
    """Whether a word is predicted from each word around it, or from their mean."""
    features: int = 100
    """Size of each vector."""
    window: int = 5
    """Maximum number of words on each side."""
    negatives: int = 5
    """Negative samples for each window."""
    sample: float | None = 1e-3
    """Threshold of the frequency above which words are subsampled; None keeps all."""
    min_count: int = 5
    """Words with a lower count in the training sentences are left out."""

    epochs: int = 20
    """Number of epochs."""
    batch_size: int = 1024
    """Windows per update."""
    learning_rate: float = 0.1
    """Initial learning rate of Adagrad, with linear decay to 0."""
    seed: int = 0
    """Seed of vectors, windows and negatives."""


class Corpus(NamedTuple):
    """Sentences as arrays of ids, and the words in the order of ids, the most frequent first."""

    words: tuple[str, ...]
    training: list[np.ndarray]
    held_out: list[np.ndarray]


class Learned(NamedTuple):
    """A trained model and its training time."""

    params: Any  # a `Word2Vec` of NumPy arrays
    seconds: float
    cpu_seconds: float  # of all cores together, of this process


def clock() -> np.ndarray:
    """The wall-clock time, and the CPU time of this process."""
    return np.array([time.monotonic(), time.process_time()])


# --- Text ----------------------------------------------------------------------------------------


def read_sentences(options: Options) -> list[str]:
    """Reads the lines of the given files, or the sentences of Python's documentation."""
    if not options.text:
        return [each for text in documentation().values() for each in sentences(text)]
    return [line for path in options.text for line in read_lines(path) if line.strip()]


def build_corpus(options: Options) -> Corpus:
    """Keeps words that are frequent enough, and holds out one sentence in twenty."""
    lines = read_sentences(options)
    held_out = lines[HELD_OUT_ONE_IN - 1 :: HELD_OUT_ONE_IN]
    training = [line for n, line in enumerate(lines, 1) if n % HELD_OUT_ONE_IN]
    vocabulary = words(training, split="punctuation", lowercase=True)
    ids = list(vocabulary.encode_all(training))
    counts = np.bincount(np.concatenate(ids), minlength=len(vocabulary))
    is_word = [
        any(map(str.isalpha, token)) and token not in vocabulary.specials
        for token in vocabulary.tokens
    ]
    kept = np.flatnonzero((counts >= options.min_count) & is_word)
    new_ids = np.full(len(vocabulary), -1, np.int32)
    new_ids[kept] = np.arange(len(kept))

    def keep(ids):
        return [found[found >= 0] for found in (new_ids[each] for each in ids)]

    names = tuple(vocabulary.tokens[i] for i in kept)
    corpus = Corpus(names, keep(ids), keep(vocabulary.encode_all(held_out)))
    if min(max(map(len, part), default=0) for part in corpus[1:]) < 2:
        raise ValueError(
            f"expected sentences with at least two words that occur {options.min_count} times, got "
            f"none in the {len(training)} for training or the {len(held_out)} held out. Pass more "
            "text, or a lower --min-count."
        )
    return corpus


# --- Training ------------------------------------------------------------------------------------


def learn(options: Options, corpus: Corpus, folder: pathlib.Path) -> Learned:
    """Trains a model with recur, and saves its vectors at each report.

    The optimizer is Adagrad, since a batch contains a frequent word a hundred times and a rare one
    hardly ever. Plain SGD was slightly worse after as many updates at a rate of 0.025, and diverged
    at 0.1. Adam was as good, with one more array in memory.
    """
    contexts = Contexts(
        corpus.training,
        options.batch_size,
        window=options.window,
        sample=options.sample,
        seed=options.seed,
    )
    windows = options.epochs * contexts.windows_per_epoch
    steps = max(1, windows // options.batch_size)  # 1 for a short text
    optimizer = optax.adagrad(optax.linear_schedule(options.learning_rate, 0.0, steps))
    noise = unigram_noise(contexts.counts)
    loss = word2vec_loss(OBJECTIVES[options.model], noise, options.negatives)
    params_key, run_key = jax.random.split(jax.random.key(options.seed))
    params = init_word2vec(params_key, len(corpus.words), options.features)
    began = clock()

    def show(report: Report) -> None:
        done = report.step * options.batch_size
        print(
            f"epoch {done / contexts.windows_per_epoch:5.2f}   loss {report.metrics['nats']:.3f}   "
            f"{done / (clock() - began)[0]:,.0f} words per second",
            flush=True,
        )

    def keep(report: Report) -> None:
        as_vectors(corpus, report.state.params).save(folder / "vectors.npz")

    state = fit(
        jax.jit(make_step(loss, optimizer), donate_argnums=0),
        init_state(params, optimizer, run_key),
        contexts,
        steps=steps,
        callbacks=[show, keep],
        report_every=max(1, steps // 10),
    )
    return Learned(jax.tree.map(np.asarray, state.params), *(clock() - began))


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
    taken = clock() - began
    places = [model.wv.key_to_index[word] for word in corpus.words]
    return Learned(Word2Vec(model.wv.vectors[places], model.syn1neg[places]), *taken)


# --- Evaluation ----------------------------------------------------------------------------------


def held_out_scores(options: Options, corpus: Corpus, params: Word2Vec) -> tuple[float, float]:
    """Ranks the true words of held-out sentences among random words, by their scores.

    Returns the share of random words that score below the true one, and the mean of 1 / rank. The
    random words have the frequencies of the training text, so that frequency alone does not help.
    """
    count = min(RANKED, sum(map(len, corpus.held_out)))
    windows = next(Contexts(corpus.held_out, count, window=options.window, sample=None))
    counts = np.bincount(np.concatenate(corpus.training), minlength=len(corpus.words))
    draws = np.random.default_rng(0)
    rivals = draws.choice(len(counts), (len(windows.centers), RIVALS), p=counts / counts.sum())
    hidden, row = predictors(options, windows, params)
    below, reciprocal = [], []
    for part in np.array_split(np.arange(len(row)), max(1, len(row) // 1000)):
        center, others = windows.centers[row[part]], rivals[row[part]]
        true = np.einsum("nd,nd->n", hidden[part], params.output[center])[:, None]
        false = np.einsum("nd,nkd->nk", hidden[part], params.output[others])
        counted = others != center[:, None]
        above = ((false > true) + 0.5 * (false == true)) * counted
        below.append(1 - above.sum(1) / np.maximum(counted.sum(1), 1))
        reciprocal.append(1 / (1 + above.sum(1)))
    return float(np.concatenate(below).mean()), float(np.concatenate(reciprocal).mean())


def predictors(
    options: Options, windows: ContextWindows, params: Word2Vec
) -> tuple[np.ndarray, np.ndarray]:
    """The vectors that predict centers, `[N, D]`, and the window of each, `[N]`."""
    if options.model == "skip-gram":
        row, column = np.nonzero(windows.mask)
        return params.input[windows.contexts[row, column]], row
    weights = windows.mask / windows.mask.sum(1, keepdims=True)
    hidden = np.einsum("bc,bcd->bd", weights, params.input[windows.contexts])
    return hidden, np.arange(len(hidden))


def read_questions(path: pathlib.Path) -> list[tuple[str, ...]]:
    """Reads analogies, four words per line; lines that start with a colon are headings."""
    found = []
    for number, line in enumerate(read_lines(path), 1):
        if line.strip() and not line.startswith(":"):
            found.append(tuple(line.lower().split()))
            if len(found[-1]) != 4:
                raise ValueError(f"{path}:{number}: expected four words, got {line!r}.")
    return found


def right_answers(vectors: WordVectors, questions: Sequence[Sequence[str]]) -> float:
    """The share of analogies that are solved."""
    right = [vectors.analogy(a, b, c)[0][0] == d for a, b, c, d in questions]
    return float(np.mean(right))


def shared_neighbours(one: WordVectors, other: WordVectors) -> float:
    """The share of the ten nearest words of frequent words that two models have in common."""

    def nearest(vectors, word):
        return {near for near, _ in vectors.nearest(word)}

    shares = [
        len(nearest(one, word) & nearest(other, word)) / len(nearest(one, word))
        for word in one.words[:COMPARED]
    ]
    return float(np.mean(shares))


def measure(
    options: Options, corpus: Corpus, learned: Learned, questions: Sequence[Sequence[str]]
) -> dict[str, str]:
    """The results of a model in the table."""
    below, reciprocal = held_out_scores(options, corpus, learned.params)
    found = {
        "seconds": f"{learned.seconds:.0f}",
        "seconds of all cores together": f"{learned.cpu_seconds:.0f}",
        "held out: random words that score below the true one": f"{below:.1%}",
        f"held out: mean of 1 / rank among {RIVALS} random words": f"{reciprocal:.3f}",
    }
    if questions:
        name = f"right answers to {len(questions):,} analogies"
        found[name] = f"{right_answers(as_vectors(corpus, learned.params), questions):.1%}"
    return found


def compare(
    options: Options, corpus: Corpus, ours: Learned, questions: Sequence[Sequence[str]]
) -> dict[str, dict[str, str]]:
    """The results of each library; the peer is trained twice, to compare two seeds."""
    table = {"recur": measure(options, corpus, ours, questions)}
    if options.peer:
        theirs, again = (learn_with_gensim(options, corpus, options.seed + n) for n in (0, 1))
        table["gensim"] = measure(options, corpus, theirs, questions)
        for name, learned in (("recur", ours), ("gensim", theirs)):
            found = (as_vectors(corpus, each.params) for each in (learned, again))
            shared = shared_neighbours(*found)
            table[name]["ten nearest shared with gensim of another seed"] = f"{shared:.1%}"
    return table


def as_vectors(corpus: Corpus, params: Word2Vec) -> WordVectors:
    """The word vectors of a model."""
    return WordVectors(corpus.words, params.input)


# --- The run -------------------------------------------------------------------------------------


def check(options: Options) -> None:
    """Checks options before the text is read."""
    if options.peer and importlib.util.find_spec(options.peer) is None:
        raise ValueError(
            f"--peer {options.peer}: expected it to be installed, got none. Install it: "
            'pip install -e ".[bench]"'
        )


def known_questions(options: Options, corpus: Corpus) -> list[tuple[str, ...]]:
    """Reads the questions whose words all have a vector."""
    if options.questions is None:
        return []
    asked, known = read_questions(options.questions), set(corpus.words)
    kept = [question for question in asked if known.issuperset(question)]
    if not kept:
        raise ValueError(
            f"{options.questions}: expected analogies of the {len(known)} words of the text, got "
            f"none among {len(asked)}. Pass a longer text, or questions about this one."
        )
    return kept


def known_analogies(options: Options, corpus: Corpus) -> list[tuple[str, ...]]:
    """The analogies to solve; an error before training if a word has no vector."""
    analogies = [tuple(word.lower() for word in each) for each in options.analogy]
    words_only = WordVectors(corpus.words, np.zeros((len(corpus.words), 1)))
    for word in itertools.chain.from_iterable(analogies):
        words_only[word]  # a ValueError if it has none
    return analogies


def print_nearest(vectors: WordVectors) -> None:
    """Prints the nearest words of some frequent words."""
    print("\nThe nearest words, by cosine:")
    for word in [vectors.words[n] for n in SHOWN if n < len(vectors)] or vectors.words[:5]:
        print(f"  {word:<12} {', '.join(near for near, _ in vectors.nearest(word, 6))}")


def print_analogies(vectors: WordVectors, analogies: Sequence[tuple[str, ...]]) -> None:
    """Prints the answers to analogies."""
    for a, b, c in analogies:
        answers = ", ".join(word for word, _ in vectors.analogy(a, b, c, 5))
        print(f"\n{a} is to {b} as {c} is to: {answers}")


def print_table(table: dict[str, dict[str, str]]) -> None:
    """Prints a table in Markdown."""
    print(f"\n| | {' | '.join(table)} |\n|---|{'---|' * len(table)}")
    for name in table["recur"]:
        print(f"| {name} | {' | '.join(column[name] for column in table.values())} |")


def run(options: Options) -> None:
    """Trains and evaluates word vectors."""
    check(options)
    corpus = build_corpus(options)
    questions = known_questions(options, corpus)
    analogies = known_analogies(options, corpus)
    folder = new_folder(options.run, "runs/word2vec")
    print(
        f"{folder}: {sum(map(len, corpus.training)):,} words in {len(corpus.training):,} "
        f"sentences, {len(corpus.words):,} distinct ones; {len(corpus.held_out):,} held-out "
        "sentences."
    )
    learned = learn(options, corpus, folder)
    vectors = as_vectors(corpus, learned.params)
    print_nearest(vectors)
    print_analogies(vectors, analogies)
    title = f"The {min(DRAWN, len(vectors))} most frequent words, {options.model}"
    picture = scatter(pca(vectors.unit[:DRAWN]), vectors.words[:DRAWN], title=title)
    picture.savefig(folder / "picture.png")
    print_table(compare(options, corpus, learned, questions))
    print(f"\nResults are in {folder}: vectors.npz and picture.png.")


def main(arguments: list[str]) -> None:
    """Runs the script."""
    run(running.parse(Options, arguments, "word2vec.py"))


if __name__ == "__main__":
    running.run_script("word2vec", main, sys.argv[1:], running.IS_KEPT)
