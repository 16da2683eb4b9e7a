import collections
import functools
import math

import numpy as np
import pytest

from recur.train import (
    bleu,
    character_error_rate,
    edit_distance,
    evaluate,
    token_error_rate,
    word_error_rate,
)

DRAWS = np.random.default_rng(0)
WORDS = "the cat sat on a mat and then it ran away , quickly .".split()


def sentence(least=1):
    return " ".join(DRAWS.choice(WORDS, DRAWS.integers(least, 12)))


REFERENCES = [sentence() for _ in range(50)]
HYPOTHESES = [
    " ".join(word for word in reference.split() if DRAWS.random() < 0.8) if row % 3 else sentence()
    for row, reference in enumerate(REFERENCES)
]


def distance_by_hand(first, second):
    @functools.cache
    def distance(i, j):
        if i == 0 or j == 0:
            return i + j
        same = distance(i - 1, j - 1) + (first[i - 1] != second[j - 1])
        return min(same, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(first), len(second))


def test_the_edit_distance_is_that_of_the_recursion():
    for _ in range(200):
        first, second = ("".join(DRAWS.choice(list("abc"), DRAWS.integers(0, 9))) for _ in range(2))
        assert edit_distance(first, second) == distance_by_hand(first, second)
        assert edit_distance(second, first) == edit_distance(first, second)


def test_tokens_are_any_values_with_a_hash():
    assert edit_distance([1, (2, 3), "a"], [1, "a"]) == 1
    assert edit_distance(np.array([1, 2, 3]), [1, 3]) == 1
    assert edit_distance([], [1, 2]) == 2 and edit_distance([], []) == 0


def test_error_rates_are_edits_by_length():
    words = [(h.split(), r.split()) for h, r in zip(HYPOTHESES, REFERENCES, strict=True)]
    expected = sum(distance_by_hand(*pair) for pair in words) / sum(len(r) for _, r in words)
    assert word_error_rate(HYPOTHESES, REFERENCES).value() == pytest.approx(expected, 1e-12)
    assert token_error_rate(*zip(*words, strict=True)).value() == pytest.approx(expected, 1e-12)
    edits = sum(map(edit_distance, HYPOTHESES, REFERENCES))
    expected = edits / sum(map(len, REFERENCES))
    assert character_error_rate(HYPOTHESES, REFERENCES).value() == pytest.approx(expected, 1e-12)


def test_edits_of_an_empty_reference_count():
    found = word_error_rate(["a b", "c"], ["", "c d"])
    assert found.value() == 1.5
    assert math.isnan(word_error_rate(["a"], [""]).value())


METRICS = {
    "words": word_error_rate,
    "characters": character_error_rate,
    "tokens": token_error_rate,
    "bleu": bleu,
}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_batches_of_unequal_sizes_are_as_one(metric):
    if metric is bleu:
        pytest.importorskip("sacrebleu")
    ends = [0, 1, 7, 8, 30, 50]
    batches = [(HYPOTHESES[a:b], REFERENCES[a:b]) for a, b in zip(ends[:-1], ends[1:], strict=True)]
    batches.append(([], []))
    found = evaluate(lambda batch: metric(*batch), batches)
    assert found == metric(HYPOTHESES, REFERENCES).value()


def test_jiwer():
    jiwer = pytest.importorskip("jiwer")
    spaced = [f"  {text}  " for text in HYPOTHESES]
    for hypotheses in (HYPOTHESES, spaced):
        for ours, theirs in ((word_error_rate, jiwer.wer), (character_error_rate, jiwer.cer)):
            expected = theirs(reference=REFERENCES, hypothesis=hypotheses)
            assert ours(hypotheses, REFERENCES).value() == pytest.approx(expected, 1e-12)


def bleu_by_hand(hypotheses, references):
    """Papineni et al. 2002, of a corpus of words with one or more references."""
    correct, total, length, closest = np.zeros(4), np.zeros(4), 0, 0
    for hypothesis, texts in zip(hypotheses, references, strict=True):
        tokens, others = hypothesis.split(), [text.split() for text in texts]
        length += len(tokens)
        closest += min((abs(len(o) - len(tokens)), len(o)) for o in others)[1]
        for n in range(1, 5):
            grams = [
                collections.Counter(tuple(t[i : i + n]) for i in range(len(t) - n + 1))
                for t in (tokens, *others)
            ]
            most = functools.reduce(lambda a, b: a | b, grams[1:])
            correct[n - 1] += (grams[0] & most).total()
            total[n - 1] += grams[0].total()
    return 100 * min(1, math.exp(1 - closest / length)) * np.exp(np.log(correct / total).mean())


def several_references():
    return [[text, sentence(), sentence()][: 1 + row % 3] for row, text in enumerate(REFERENCES)]


def test_bleu_is_that_of_the_paper():
    pytest.importorskip("sacrebleu")
    references = several_references()
    found = bleu(HYPOTHESES, references, tokenize="none").value()
    assert found == pytest.approx(bleu_by_hand(HYPOTHESES, references), 1e-9)
    found = bleu(HYPOTHESES, REFERENCES, tokenize="none").value()
    assert found == pytest.approx(bleu_by_hand(HYPOTHESES, [[r] for r in REFERENCES]), 1e-9)


@pytest.mark.parametrize(
    "options", [{}, {"tokenize": "char"}, {"lowercase": True}, {"tokenize": "intl"}], ids=str
)
def test_sacrebleu(options):
    metrics = pytest.importorskip("sacrebleu.metrics")
    texts = [text.replace("the", "The").replace(" ,", ",") for text in HYPOTHESES]
    expected = metrics.BLEU(**options).corpus_score(texts, [REFERENCES]).score
    first, second = (
        bleu(texts[rows], REFERENCES[rows], **options) for rows in (slice(13), slice(13, None))
    )
    assert first.merge(second).value() == pytest.approx(expected, 1e-12)


def test_bleu_of_few_words_is_smoothed():
    metrics = pytest.importorskip("sacrebleu.metrics")
    hypothesis, reference = "the cat sat on it", "the cat ran on a mat"
    expected = metrics.BLEU().corpus_score([hypothesis], [[reference]]).score
    assert bleu([hypothesis], [reference]).value() == expected > 0
