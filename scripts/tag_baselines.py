"""Taggers that are estimated by counting, and the evaluation of taggers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from tag_data import Vocabulary

from recur import train
from recur.classic import hidden_markov
from recur.sequences import Batch, Example, unpack

PSEUDO_COUNT = 0.001  # of the hidden Markov model

Tagger = Callable[[Batch], Any]  # returns the ids of tags, `[B, T]`


def count_tags(examples: Sequence[Example], vocabulary: Vocabulary) -> np.ndarray:
    """How often each word has each tag, `[V, S]`; the unknown word has those of single words."""
    counts = np.zeros((len(vocabulary.words), len(vocabulary.tags)))
    for example in examples:
        np.add.at(counts, (example.steps["word"], example.steps["tag"]), 1)
    counts[vocabulary.words.unknown] += counts[counts.sum(1) == 1].sum(0)
    return counts


def frequent_tagger(counts: np.ndarray) -> Tagger:
    """The tag that each word has most often in training."""
    best = counts.argmax(1)
    return lambda batch: best[batch.steps["word"]]


def markov_tagger(examples: Sequence[Example], counts: np.ndarray) -> Tagger:
    """A hidden Markov model of tags and words, estimated by counting; the Viterbi algorithm."""
    initial = np.full(counts.shape[1], PSEUDO_COUNT)
    transition = np.full((counts.shape[1], counts.shape[1]), PSEUDO_COUNT)
    for tags in (example.steps["tag"] for example in examples):
        initial[tags[0]] += 1
        np.add.at(transition, (tags[:-1], tags[1:]), 1)
    given = (initial, transition, counts.T + PSEUDO_COUNT)
    model = hidden_markov.from_probabilities(
        *(each / each.sum(-1, keepdims=True) for each in given)
    )

    def best(ids, length):
        scores = hidden_markov.observe(model, ids, length)
        return hidden_markov.viterbi(model.chain, scores, length)[0]

    best = jax.jit(jax.vmap(best))
    return lambda batch: best(batch.steps["word"], batch.length[:, 0])


def tag_all(tagger: Tagger, given: Sequence[Batch]) -> list[np.ndarray]:
    """The tags of all sentences, in their order."""
    found: dict[int, np.ndarray] = {}
    for batch in given:
        found |= unpack(tagger(batch), batch)
    return [found[number] for number in range(len(found))]


def evaluate(
    predicted: Sequence[np.ndarray], examples: Sequence[Example], vocabulary: Vocabulary
) -> dict[str, float]:
    """Accuracy, also of the words that training does not have, and the F1 score of spans."""
    found = np.concatenate(predicted)
    targets, ids = (np.concatenate([e.steps[name] for e in examples]) for name in ("tag", "word"))
    unseen = ids == vocabulary.words.unknown
    metrics = {
        "accuracy": train.accuracy(found, targets),
        "unseen words": train.accuracy(found, targets, unseen),
    }
    if has_spans(vocabulary.tags):
        reset = np.concatenate([np.arange(len(tags)) == 0 for tags in predicted])
        metrics["span F1"] = train.span_f1(found, targets, reset=reset, tags=vocabulary.tags)
    return {name: float(metric.value()) for name, metric in metrics.items()}


def has_spans(tags: Sequence[str]) -> bool:
    """Whether tags are O and B-X, I-X, as in BIO, or also E-X and S-X, as in IOBES."""
    return "O" in tags and all(tag == "O" or tag[:2] in ("B-", "I-", "E-", "S-") for tag in tags)
