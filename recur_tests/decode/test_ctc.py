"""CTC decoding against enumeration of all alignments, in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import recur
from recur.classic import kneser_ney, ngram_cell
from recur.decode import LanguageModel, ctc_align, ctc_beam_search, ctc_greedy
from recur.train import ctc_loss
from recur_tests.helpers import assert_close

DRAWS = np.random.default_rng(0)
ROWS, FRAMES, SIZE = 4, 4, 4
LOGITS = 1.5 * DRAWS.standard_normal((ROWS, FRAMES, SIZE))
LENGTHS = np.array([4, 3, 2, 4])
MASK = np.arange(FRAMES) < LENGTHS[:, None]
DIRTY = np.where(MASK[..., None], LOGITS, np.nan)
LABELS = [[1, 2], [3, 3], [2], [2, 2, 1]]
TARGETS = np.array([label + [99] * (3 - len(label)) for label in LABELS])
TARGET_MASK = np.arange(3) < np.array([len(label) for label in LABELS])[:, None]
ALL = 130  # more than there are prefixes of 3 symbols in 4 frames


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def collapse(alignment, blank=0):
    return tuple(s for s, _ in itertools.groupby(alignment) if s != blank)


def alignments(logits, blank=0):
    """Each alignment, its transcript and its log-probability: `V ** T` of them."""
    log_p = log_softmax(logits)
    for alignment in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        found = log_p[np.arange(len(logits)), alignment].sum()
        yield alignment, collapse(alignment, blank), found


def transcripts(logits, blank=0):
    """The log-probability of each transcript."""
    totals = {}
    for _, transcript, log_p in alignments(logits, blank):
        totals[transcript] = np.logaddexp(totals.get(transcript, -np.inf), log_p)
    return totals


EXACT = [transcripts(LOGITS[row, :count]) for row, count in enumerate(LENGTHS)]


def as_dict(beams):
    """The transcripts of one row, and their scores and log-likelihoods."""
    rows = zip(*(np.asarray(each) for each in beams), strict=True)
    return {
        tuple(tokens[:length].tolist()): (score, log_likelihood)
        for tokens, length, score, log_likelihood in rows
        if score > -np.inf
    }


def test_greedy_takes_the_best_symbol_of_each_frame():
    found = ctc_greedy(DIRTY, MASK)
    for row, count in enumerate(LENGTHS):
        best, transcript, log_p = max(alignments(LOGITS[row, :count]), key=lambda each: each[2])
        assert best == tuple(LOGITS[row, :count].argmax(-1))
        length = found.length[row]
        assert tuple(found.tokens[row, :length].tolist()) == transcript
        assert not found.tokens[row, length:].any()
        assert_close(found.log_likelihood[row], log_p, 1e-9)


def test_greedy_merges_over_masked_frames_and_takes_another_blank():
    frames = np.array([1, 1, 2, 1, 3, 1, 0, 0])
    mask = np.array([True, True, False, True, True, True, True, False])
    found = ctc_greedy(np.eye(4)[frames], mask, blank=3)
    assert found.tokens.tolist() == [1, 1, 0, 0, 0, 0, 0, 0] and found.length == 3
    assert ctc_greedy(np.eye(4)[frames], ~mask).tokens.tolist() == [2] + 7 * [0]
    nothing = ctc_greedy(np.full((2, 4), np.nan), np.zeros(2, bool))
    assert nothing.length == 0 and nothing.log_likelihood == 0


def test_wide_beams_find_every_transcript_and_its_exact_probability():
    found = ctc_beam_search(DIRTY, MASK, num_beams=ALL, num_return=ALL)
    for row, exact in enumerate(EXACT):
        one = as_dict(jax.tree.map(lambda leaf, row=row: leaf[row], found))
        assert one.keys() == exact.keys()
        assert_close(np.array([one[y][1] for y in exact]), np.array([*exact.values()]), 1e-9)
        scores = np.asarray(found.score[row])
        assert (np.diff(scores[np.isfinite(scores)]) <= 0).all()

    narrow = ctc_beam_search(LOGITS.astype(np.float32), MASK, num_beams=ALL)
    assert narrow.score.dtype == jnp.float32
    for row, exact in enumerate(EXACT):
        best = max(exact, key=exact.get)
        assert tuple(narrow.tokens[row, 0, : narrow.length[row, 0]].tolist()) == best
        assert_close(narrow.log_likelihood[row, 0], exact[best], 1e-5)


def test_narrow_beams_never_overestimate_and_hold_no_transcript_twice():
    for beams in (1, 3, 8):
        found = ctc_beam_search(DIRTY, MASK, num_beams=beams, num_return=beams)
        for row, exact in enumerate(EXACT):
            one = jax.tree.map(lambda leaf, row=row: leaf[row], found)
            distinct = as_dict(one)
            assert len(distinct) == np.isfinite(one.score).sum() >= 1
            assert all(log_p <= exact[y] + 1e-9 for y, (_, log_p) in distinct.items())
    # A prefix that was dropped comes back without its parent becoming a second copy of it.
    logits = 3 * np.random.default_rng(3).standard_normal((40, 3))
    found = ctc_beam_search(logits, num_beams=6, num_return=6)
    assert len(as_dict(found)) == np.isfinite(found.score).sum()


def test_beams_of_another_blank_a_limit_and_several_batch_axes():
    exact = transcripts(LOGITS[0], blank=2)
    found = as_dict(ctc_beam_search(LOGITS[0], num_beams=ALL, num_return=ALL, blank=2))
    assert found.keys() == exact.keys()
    assert_close(np.array([found[y][1] for y in exact]), np.array([*exact.values()]), 1e-9)
    short = as_dict(ctc_beam_search(LOGITS[0], num_beams=ALL, num_return=ALL, max_tokens=2))
    expected = {y: log_p for y, log_p in EXACT[0].items() if len(y) <= 2}
    assert short.keys() == expected.keys()
    assert_close(np.array([short[y][1] for y in expected]), np.array([*expected.values()]), 1e-9)

    whole = ctc_beam_search(LOGITS, MASK, num_beams=3)
    nested = ctc_beam_search(
        LOGITS.reshape(2, 2, FRAMES, SIZE), MASK.reshape(2, 2, FRAMES), num_beams=3
    )
    traced = jax.jit(lambda logits, mask: ctc_beam_search(logits, mask, num_beams=3))(LOGITS, MASK)
    for leaf, in_axes, in_jit in zip(whole, nested, traced, strict=True):
        assert_close(in_axes.reshape(leaf.shape), leaf, 1e-12)
        assert_close(in_jit, leaf, 1e-12)


TEXTS = [np.array([0, 1, 2, 1, 2, 3, 0]), np.array([0, 2, 2, 1, 0]), np.array([0, 0])]


def test_language_models_by_shallow_fusion():
    network = recur.chain(nn.Embed(SIZE, 3), recur.scan(recur.gru(5)), nn.Dense(SIZE))
    grams = kneser_ney(TEXTS, order=3, size=SIZE)
    table = recur.scan(ngram_cell(grams))

    def by_network(params, text):
        logits = np.asarray(network(params, jnp.asarray(text[:-1])), np.float64)
        return log_softmax(logits)[np.arange(len(text) - 1), text[1:]].sum()

    def by_table(params, text):
        with np.errstate(divide="ignore"):
            return -grams.nats([np.array(text)])[0].sum()

    for layer, log_p_of, used in (
        (network, by_network, recur.batch(network)),
        (table, by_table, table),
    ):
        params = layer.init(jax.random.key(1), jnp.zeros(2, int))
        model = LanguageModel(used, params, weight=0.7, bonus=0.4)
        options = {"num_beams": ALL, "num_return": ALL, "language_model": model}
        found = ctc_beam_search(DIRTY[:2], MASK[:2], **options)
        for row, exact in enumerate(EXACT[:2]):
            one = as_dict(jax.tree.map(lambda leaf, row=row: leaf[row], found))
            expected = {
                y: log_p + 0.7 * log_p_of(params, [0, *y, 0]) + 0.4 * len(y)
                for y, log_p in exact.items()
            }
            expected = {y: score for y, score in expected.items() if score > -np.inf}
            assert one.keys() == expected.keys()
            scores = np.array([one[y][0] for y in expected])
            assert_close(scores, np.array([*expected.values()]), 1e-5)
            assert_close(one[(1,)][1], exact[(1,)], 1e-9)


def test_a_weight_of_0_is_no_language_model():
    layer = recur.scan(ngram_cell(kneser_ney(TEXTS, order=2, size=SIZE)))
    model = LanguageModel(layer, layer.init(jax.random.key(0), jnp.zeros(1, int)), weight=0.0)
    without = ctc_beam_search(LOGITS[0], num_beams=5)
    for leaf, expected in zip(
        ctc_beam_search(LOGITS[0], num_beams=5, language_model=model), without, strict=True
    ):
        assert_close(leaf, expected, 1e-9)


def aligned_by_hand(logits, label):
    """The best alignment of a label, all its alignments summed, and the posteriors."""
    of_label = [(a, p) for a, transcript, p in alignments(logits) if transcript == tuple(label)]
    best, highest = max(of_label, key=lambda each: each[1])
    total = np.log(sum(np.exp(p) for _, p in of_label))
    posterior = np.zeros((len(logits), len(label)))
    for alignment, p in of_label:
        for frame, number in enumerate(target_of(alignment)):
            if number >= 0:
                posterior[frame, number] += np.exp(p - total)
    return target_of(best), highest, total, posterior


def target_of(alignment):
    """The number of the target at each frame, -1 for blanks."""
    numbers, number, before = [], -1, 0
    for symbol in alignment:
        number += symbol not in (0, before)
        numbers.append(-1 if symbol == 0 else number)
        before = symbol
    return numbers


def test_alignment_is_the_best_path_and_posteriors_are_sums_over_all():
    found = ctc_align(DIRTY, TARGETS, MASK, TARGET_MASK)
    for row, (label, count) in enumerate(zip(LABELS, LENGTHS, strict=True)):
        target, highest, total, posterior = aligned_by_hand(LOGITS[row, :count], label)
        assert found.target[row].tolist() == target + [-1] * (FRAMES - count)
        assert_close(found.path_log_likelihood[row], highest, 1e-9)
        assert_close(found.log_likelihood[row], total, 1e-9)
        expected = np.zeros((FRAMES, 3))
        expected[:count, : len(label)] = posterior
        assert_close(found.posterior[row], expected, 1e-9)
        for number in range(3):
            frames = [t for t, n in enumerate(target) if n == number]
            begin, end = (frames[0], frames[-1] + 1) if frames else (0, 0)
            assert (found.begin[row, number], found.end[row, number]) == (begin, end)
    assert_close(found.log_likelihood, -ctc_loss(DIRTY, TARGETS, MASK, TARGET_MASK), 1e-9)


def test_alignments_have_gradients_and_keep_nan():
    def total(logits):
        found = jax.jit(ctc_align)(logits, TARGETS, MASK, TARGET_MASK)
        return (found.log_likelihood + found.posterior.sum((1, 2))).sum()

    def loss(logits):
        return ctc_loss(logits, TARGETS, MASK, TARGET_MASK).sum()

    only = jax.grad(
        lambda logits: ctc_align(logits, TARGETS, MASK, TARGET_MASK).log_likelihood.sum()
    )
    assert_close(only(DIRTY), -jax.grad(loss)(DIRTY), 1e-9)
    jax.test_util.check_grads(total, (LOGITS,), 1, ["rev"])
    too_short = jax.grad(lambda logits: jax.jit(ctc_align)(logits, np.array([3, 3])).log_likelihood)
    assert not too_short(LOGITS[0, :2]).any()
    assert np.isnan(ctc_align(np.full((3, 4), np.nan), [1]).log_likelihood)


def test_long_alignments_keep_their_precision():
    draws = np.random.default_rng(1)
    logits, targets = draws.standard_normal((3, 300, 6)), draws.integers(1, 6, (3, 40))
    exact = ctc_align(logits, targets)
    found = ctc_align(logits.astype(np.float32), targets.astype(np.int8))
    assert_close(exact.log_likelihood, -ctc_loss(logits, targets), 1e-9)
    assert_close(found.posterior, exact.posterior, 1e-4)
    assert_close(found.log_likelihood, exact.log_likelihood, 1e-5)
    assert found.posterior.dtype == jnp.float32
    path = np.where(exact.target < 0, 0, np.take_along_axis(targets, exact.target, axis=1))
    assert [collapse(row) for row in path.tolist()] == [*map(tuple, targets.tolist())]
    log_p = np.take_along_axis(log_softmax(logits), path[..., None], axis=-1).sum((1, 2))
    assert_close(exact.path_log_likelihood, log_p, 1e-9)


def test_frames_are_masked_anywhere_and_the_blank_is_any_id():
    mask = np.array([True, False, True, True])
    whole = ctc_align(np.where(mask[:, None], LOGITS[0], np.nan), [1, 2], mask)
    part = ctc_align(LOGITS[0][mask], [1, 2])
    assert_close(whole.posterior[mask], part.posterior, 1e-12)
    assert whole.target[mask].tolist() == part.target.tolist() and whole.target[1] == -1
    order = np.array([3, 1, 2, 0])
    other = ctc_align(LOGITS[0][:, order], [1, 0], blank=3)
    plain = ctc_align(LOGITS[0], [1, 3])
    assert_close(other.log_likelihood, plain.log_likelihood, 1e-12)
    assert other.target.tolist() == plain.target.tolist()
    nothing = ctc_align(LOGITS[0], np.zeros(0, int))
    assert_close(nothing.log_likelihood, log_softmax(LOGITS[0])[:, 0].sum(), 1e-9)


def test_targets_that_do_not_fit_have_no_alignment_inside_jit():
    found = jax.jit(ctc_align)(LOGITS[0, :2], np.array([3, 3]))
    assert found.log_likelihood == found.path_log_likelihood == -np.inf
    assert found.target.tolist() == [-1, -1] and not found.posterior.any()
    assert not found.begin.any() and not found.end.any()
    outside = jax.jit(ctc_align)(LOGITS[0], np.array([7]))
    assert outside.log_likelihood == -np.inf and not outside.posterior.any()
