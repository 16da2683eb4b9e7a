import itertools
import math

import numpy as np
import pytest

from recur.classic.ngrams import additive, katz, kneser_ney
from recur_tests.oracles import ngrams as oracle

SIZE = 5


def corpus(seed, lengths, size=SIZE):
    """Documents that begin with 0, which never comes again, of tokens that lean on the last one."""
    draws = np.random.default_rng(seed)
    shares = draws.dirichlet(np.full(size - 1, 0.4), size=size)

    def document(length):
        tokens = [0]
        for _ in range(length):
            tokens.append(1 + int(draws.choice(size - 1, p=shares[tokens[-1]])))
        return np.array(tokens, np.uint8)  # keys of n-grams do not fit this dtype

    return [document(length) for length in lengths]


LARGE = corpus(0, [60, 30, 10, 1, 2])
SMALL = corpus(1, [4, 3])
WITHOUT_START = [document[1:].astype(np.int64) for document in LARGE[:3]]
ALL_BEHIND_ALL = [np.random.default_rng(2).choice(SIZE, 300, p=[0.1, 0.1, 0.2, 0.3, 0.3])]
CORPORA = [LARGE, SMALL, WITHOUT_START, ALL_BEHIND_ALL]
MODELS = {
    "additive": (lambda *a: additive(*a, 1.5), lambda *a: oracle.additive(*a, 1.5)),
    "modified": (kneser_ney, lambda *a: oracle.kneser_ney(*a, "modified")),
    "one": (
        lambda *a: kneser_ney(*a, discounts="one"),
        lambda *a: oracle.kneser_ney(*a, "one"),
    ),
    "given": (
        lambda *a: kneser_ney(*a, discounts=0.6),
        lambda *a: oracle.kneser_ney(*a, 0.6),
    ),
    "katz": (katz, lambda *a: oracle.katz(*a, 5)),
    "katz, few": (
        lambda *a: katz(*a, largest=2, least=2),
        lambda *a: oracle.katz(*a, 2, 2),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_all_distributions_are_the_oracles(name):
    make, make_oracle = MODELS[name]
    for documents, order in itertools.product(CORPORA, [1, 2, 3, 4]):
        model, p = make(documents, order, SIZE), make_oracle(documents, order, SIZE)
        assert (model.order, model.size) == (order, SIZE)
        for length in range(order + 1):  # of which the last is cut
            contexts = list(itertools.product(range(SIZE), repeat=min(length, 3)))
            found = np.stack([model.probabilities(h) for h in contexts])
            expected = [[p(w, h) for w in range(SIZE)] for h in contexts]
            np.testing.assert_allclose(found, expected, rtol=1e-11)
            np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)
            assert (found > 0).all()


def test_the_corpora_meet_every_rule_of_the_discounts():
    met = set()
    for documents, order in itertools.product(CORPORA, [1, 2, 3, 4]):
        counts, lefts = oracle.count(documents, order)
        for k in range(1, order + 1):
            counted = counts[k] if k == order else lefts[k]
            met.add(oracle.kneser_ney_discounts(counted, "modified")[1])
            met.add("turing" if oracle.good_turing(counts[k], 5) else "none")
    assert met == {"modified", "one", "fixed", "turing", "none"}
    bigrams = oracle.count(ALL_BEHIND_ALL, 2)[0]
    assert any(len(oracle.after(bigrams, (h,))) == SIZE for h in range(SIZE))


@pytest.mark.parametrize("name", MODELS)
def test_nats_are_of_the_document_alone(name):
    model = MODELS[name][0](LARGE, 3, SIZE)
    documents = [*corpus(2, [20, 1]), np.array([3, 3, 4]), np.array([1, 0, 0, 2], np.uint64)]
    nats = model.nats(documents)
    assert [len(n) for n in nats] == [20, 1, 2, 3]
    for document, of_document in zip(documents, nats, strict=True):
        expected = [
            -math.log(model.probabilities(document[:t])[document[t]])
            for t in range(1, len(document))
        ]
        np.testing.assert_allclose(of_document, expected, rtol=1e-12)
    mean = sum(n.sum() for n in nats) / 26
    assert math.isclose(model.perplexity(documents), math.exp(mean), rel_tol=1e-12)


def test_kneser_ney_by_hand():
    """In 0 1 2 1 2: 1 follows 0 and 2, 2 follows only 1; 1 2 was seen twice."""
    model = kneser_ney([np.array([0, 1, 2, 1, 2])], 2, 3, discounts=0.5)
    np.testing.assert_allclose(model.probabilities([]), [1 / 9, 11 / 18, 5 / 18])
    np.testing.assert_allclose(model.probabilities([1]), [1 / 36, 11 / 72, 59 / 72])


def test_good_turing_by_hand():
    """6 tokens seen once, 2 twice, 1 thrice, 1 never: 6/13 is left, d_1 = 1/3 and d_2 = 1/2."""
    text = np.array([9, 1, 2, 3, 4, 5, 6, 7, 7, 8, 8, 0, 0, 0])
    p = katz([text], 1, 10, largest=2).probabilities([])
    expected = [3 / 13, *[1 / 39] * 6, 1 / 13, 1 / 13, 6 / 13]
    np.testing.assert_allclose(p, expected)


def test_good_turing_leaves_as_much_as_was_seen_once():
    """With n_r = 420 / (r (r + 1)) tokens seen r times r* / r is (r + 1) / (r + 2), s = 2 / 7."""
    counts = np.repeat([1, 2, 3, 4, 5, 6], [210, 70, 35, 21, 14, 10])
    text = np.repeat(np.arange(len(counts)), counts)
    p = katz([np.append(0, text)], 1, len(counts) + 2).probabilities([])
    ratios = np.where(counts > 5, 1, (7 * (counts + 1) / (counts + 2) - 2) / 5)
    np.testing.assert_allclose(p, np.append(counts * ratios, [105, 105]) / len(text))


def test_n_grams_at_a_start_are_counted_by_occurrence():
    """No token precedes a start, so n-grams there are counted by occurrence."""
    documents = [np.array([0, 1, 3])] * 3 + [np.array([0, 2, 3])]
    p = kneser_ney(documents, 3, 4, discounts=0.5).probabilities([0])
    shorter = kneser_ney(documents, 3, 4, discounts=0.5).probabilities([])
    np.testing.assert_allclose(p[1:3], [2.5 / 4, 0.5 / 4] + 0.25 * shorter[1:3])


def test_n_grams_longer_than_all_documents():
    documents = [np.array([0, 1, 2])]
    for make in (additive, katz):
        long, short = make(documents, 6, 3), make(documents, 3, 3)
        assert math.isclose(long.perplexity(documents), short.perplexity(documents))
    long = kneser_ney(documents, 6, 3)
    assert long.order == 6
    assert math.isclose(long.probabilities([0, 1, 0, 1, 2]).sum(), 1)


def test_large_vocabularies():
    draws = np.random.default_rng(4)
    size = 100_000  # 4 of its tokens side by side do not fit 64 bits
    text = draws.integers(0, size, 50)
    model = kneser_ney([np.concatenate([text, text])], 4, size)
    assert model.perplexity([text]) < 20
    p = model.probabilities(text[:10])
    assert p.argmax() == text[10] and math.isclose(p.sum(), 1) and p.min() > 0


def test_draws_what_is_likely():
    model = additive(LARGE, 2, SIZE, 0.1)
    text = model.sample([0], max_tokens=1000, seed=5)
    assert text.dtype == np.int64 and len(text) == 1000
    assert (text == model.sample([0], max_tokens=1000, seed=5)).all()
    followers = text[1:][text[:-1] == 2]
    shares = np.bincount(followers, minlength=SIZE) / len(followers)
    np.testing.assert_allclose(shares, model.probabilities([2]), atol=0.08)

    kept = model.sample([0], max_tokens=200, seed=5, forbidden=[1, 2])
    assert not {1, 2} & set(kept.tolist())
    stopped = model.sample([0], max_tokens=1000, seed=5, eos=int(text[7]))
    first = text.tolist().index(text[7])
    assert stopped.tolist() == text[:first].tolist()


TEXT = np.array([0, 1, 2])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: katz([], 2, 3), ValueError, "at least one document, got none"),
        (lambda: katz([np.ones(3)], 2, 3), TypeError, "document 0: expected integer .* float64"),
        (lambda: katz([TEXT, TEXT[:1]], 2, 3), ValueError, "document 1: .* 2 tokens.*shape .1."),
        (lambda: katz(TEXT, 2, 3), ValueError, "a single document in a list"),
        (
            lambda: kneser_ney([TEXT, TEXT], 2, 2),
            ValueError,
            "document 0: expected ids from 0 to 1.* got 2 at position 2",
        ),
        (lambda: additive([TEXT - 1], 2, 3), ValueError, "got -1 at position 0"),
        (lambda: additive([TEXT], 0, 3), ValueError, "additive: order: expected .* at least 1"),
        (lambda: kneser_ney([TEXT], 2, 0), ValueError, "kneser_ney: size: expected"),
        (lambda: katz([TEXT], 2, 3, largest=1), ValueError, "katz: largest: .* at least 2"),
        (lambda: katz([TEXT], 2, 3, least=0), ValueError, "katz: least: .* at least 1"),
        (lambda: additive([TEXT], 2, 3, 0.0), ValueError, "alpha above 0, got 0.0"),
        (lambda: kneser_ney([TEXT], 2, 3, discounts="two"), ValueError, "discounts .* 'two'"),
        (lambda: kneser_ney([TEXT], 2, 3, discounts=0.0), ValueError, "at most 1, got 0.0"),
        (lambda: katz([TEXT], 2, 3).nats([TEXT + 1]), ValueError, "document 0: .* got 3"),
        (lambda: katz([TEXT], 2, 3).probabilities([3]), ValueError, "context: .* 0 to 2.* got .3"),
        (lambda: katz([TEXT], 2, 3).probabilities([1.5]), TypeError, r"context: .* whole.*1.5"),
        (lambda: katz([TEXT], 2, 0), ValueError, "katz: size: expected a whole number"),
        (lambda: katz([[]], 2, 3), ValueError, "document 0: expected an array of at least 2"),
        (
            lambda: katz([TEXT], 2, 3).sample([9, 0], max_tokens=1),
            ValueError,
            r"context: .*\[9\]",
        ),
        (
            lambda: katz([TEXT], 2, 3).sample([0], max_tokens=1, eos=3),
            ValueError,
            r"eos: .*\[3\]",
        ),
        (
            lambda: katz([TEXT], 2, 3).sample([0], max_tokens=-1),
            ValueError,
            "max_tokens: .* whole .* -1",
        ),
        (
            lambda: katz([TEXT], 2, 3).sample([0], max_tokens=1, forbidden=[-1]),
            ValueError,
            "forbidden: expected ids from 0 to 2",
        ),
        (
            lambda: katz([TEXT], 2, 3).sample([0], max_tokens=1, forbidden=[0, 1, 2]),
            ValueError,
            "forbidden: all 3 tokens",
        ),
    ],
)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
