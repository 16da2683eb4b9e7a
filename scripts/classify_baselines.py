"""What classify.py is measured against: counts, n-grams of each class, and the Bayes classifier."""

from __future__ import annotations

from typing import Any

import classify_data as data
import numpy as np

from recur.classic import additive, kneser_ney


def baselines(task: str, encoder: Any, split: data.Split) -> dict[str, np.ndarray]:
    """The classes of the test set that other classifiers predict, by their names."""
    training, test = encoder(split.training), encoder(split.test)
    labels = np.array([example.label for example in training])
    counts = np.bincount(labels)
    found = {"most frequent class": np.full(len(test), counts.argmax())}
    if task == "dna":
        best = [encoder.classes.index(data.bayes_class(item.value)) for item in split.test]
        found["Bayes classifier, the bound"] = np.array(best)
    if encoder.vocabulary is not None:
        size, frame = len(encoder.vocabulary), encoder.vocabulary.frame
        is_words = encoder.vocabulary.split == "punctuation"
        logs = np.log(counts / counts.sum())[:, None].repeat(len(test), 1)
        for label in range(len(counts)):
            own = [frame(training[n].steps) for n in np.flatnonzero(labels == label)]
            fitted = additive(own, 1, size, alpha=size) if is_words else kneser_ney(own, 5, size)
            nats = fitted.nats([frame(example.steps) for example in test])
            logs[label] -= [each.sum() for each in nats]
        found["naive Bayes" if is_words else "5-grams"] = logs.argmax(0)
    return found
