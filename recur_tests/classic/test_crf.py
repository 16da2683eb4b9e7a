"""Linear-chain CRFs against all tag sequences, with lengths, masks, impossible tags and NaN."""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.classic import (
    CRF,
    bio_constraints,
    crf_decode,
    crf_log_likelihood,
    crf_marginals,
    init_crf,
)
from recur.sequences import Example, make_batches, pack
from recur_tests.helpers import assert_close, counting_compilations
from recur_tests.oracles.hidden_markov import all_paths

STEPS, SIZE = 5, 3
DRAWS = np.random.default_rng(0)
TRANSITIONS = 2 * DRAWS.standard_normal((8, SIZE, SIZE))
STARTS, ENDS = DRAWS.standard_normal((2, 8, SIZE))
SCORES = 2 * DRAWS.standard_normal((8, STEPS, SIZE))
TAGS = DRAWS.integers(0, SIZE, (8, STEPS))
MASKS = np.ones((8, STEPS), bool)
MASKS[1, 3:] = MASKS[2, 1:] = MASKS[3] = False  # lengths of 3, 1 and 0
MASKS[4, [0, 2]] = MASKS[5, [1, 4]] = False  # holes
TRANSITIONS[5, 0, 1] = TRANSITIONS[6, 0] = STARTS[6, 1] = ENDS[6, 2] = -np.inf
SCORES[6, 2, 2] = -np.inf
TAGS[6], TAGS[5] = [2, 1, 1, 2, 1], [2, 0, 0, 2, 1]  # possible
TRANSITIONS[7, 2, 0] = -np.inf
TAGS[7, 1:3] = [2, 0]  # impossible
IMPOSSIBLE = 7
both = pytest.mark.parametrize("parallel", [False, True], ids=["serial", "parallel"])


class Enumerated(NamedTuple):
    log_likelihood: float
    marginals: np.ndarray
    best: np.ndarray
    score: float


def enumerate_tags(transitions, start, end, scores, tags):
    """Everything about the steps that count, from the scores of all S^T tag sequences."""

    def score(paths):
        within = scores[np.arange(len(scores)), paths].sum(1)
        within = within + transitions[paths[:, :-1], paths[:, 1:]].sum(1)
        return within + start[paths[:, 0]] + end[paths[:, -1]]

    if not len(scores):
        return Enumerated(0.0, np.zeros((0, SIZE)), np.zeros(0, int), 0.0)
    paths = all_paths(SIZE, len(scores))
    every = score(paths)
    weights = np.exp(every)
    marginals = (
        np.array(
            [[weights[paths[:, t] == i].sum() for i in range(SIZE)] for t in range(len(scores))]
        )
        / weights.sum()
    )
    log_likelihood = score(tags[None])[0] - np.log(weights.sum())
    return Enumerated(log_likelihood, marginals, paths[every.argmax()], every.max())


def row_of(n):
    kept = MASKS[n]
    return TRANSITIONS[n], STARTS[n], ENDS[n], SCORES[n, kept], TAGS[n, kept]


EXPECTED = [enumerate_tags(*row_of(n)) for n in range(8)]


def rows():
    """Params, scores, tags and masks, with NaN and ids of no tag where masked."""
    scores = np.where(MASKS[..., None], SCORES, np.nan)
    return CRF(TRANSITIONS, STARTS, ENDS), scores, np.where(MASKS, TAGS, -100), MASKS


@functools.cache
def found(parallel):
    """Everything of all rows, in one program."""

    def everything(crf, scores, tags, mask):
        given = {"mask": mask, "parallel": parallel}

        def likelihood(crf, scores):
            return crf_log_likelihood(crf, scores, tags, **given)

        value, gradient = jax.value_and_grad(likelihood, (0, 1))(crf, scores)
        best = crf_decode(crf, scores, **given)
        return value, gradient, best, crf_marginals(crf, scores, **given)

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(everything))(*rows()))


@both
def test_the_log_likelihood_is_that_among_all_tag_sequences(parallel):
    expected = np.array([each.log_likelihood for each in EXPECTED])
    assert expected[IMPOSSIBLE] == -np.inf and np.isfinite(expected[:IMPOSSIBLE]).all()
    np.testing.assert_allclose(found(parallel)[0], expected, rtol=1e-12, atol=1e-12)


@both
def test_the_best_tags_are_the_best_of_all(parallel):
    tags, score = found(parallel)[2]
    assert tags.dtype == np.int32 and not tags[~MASKS].any()
    for n, expected in enumerate(EXPECTED):
        np.testing.assert_array_equal(tags[n, MASKS[n]], expected.best)
        assert_close(score[n], np.float64(expected.score), 1e-12)


@both
def test_marginals_are_those_over_all_tag_sequences(parallel):
    marginals = found(parallel)[3]
    assert not marginals[~MASKS].any()
    for n, expected in enumerate(EXPECTED):
        assert_close(marginals[n, MASKS[n]], expected.marginals, 1e-12)


@both
def test_gradients_are_the_differences(parallel):
    """Of the enumeration; zero where masked, where the score is -inf, and of impossible tags."""
    crf, of_scores = found(parallel)[1]
    assert not of_scores[~MASKS].any()
    step = 1e-6
    for n in range(8):
        gradients = [leaf[n] for leaf in crf] + [of_scores[n, MASKS[n]]]
        *leaves, _ = row_of(n)
        for which, gradient in enumerate(gradients):
            for place in np.ndindex(gradient.shape):
                if n == IMPOSSIBLE or not np.isfinite(leaves[which][place]):
                    expected = 0.0
                else:
                    expected = (moved(n, which, place, step) - moved(n, which, place, -step)) / (
                        2 * step
                    )
                assert abs(gradient[place] - expected) < 1e-8


def moved(n, which, place, by):
    """The log likelihood of a row after a change of one of its numbers."""
    leaves = [leaf.copy() for leaf in row_of(n)]
    leaves[which][place] += by
    return enumerate_tags(*leaves).log_likelihood


@both
def test_lengths_are_masks(parallel):
    """Alone, outside of jit, as a mask of the first steps."""
    crf, scores, tags = CRF(TRANSITIONS[1], STARTS[1], ENDS[1]), *(each[1] for each in rows()[1:3])
    value = crf_log_likelihood(crf, scores, tags, 3, parallel=parallel)
    assert_close(value, found(parallel)[0][1], 1e-12)
    best, score = crf_decode(crf, scores, 3, parallel=parallel)
    np.testing.assert_array_equal(best, found(parallel)[2][0][1])
    marginals = crf_marginals(crf, scores, 3, parallel=parallel)
    assert_close(marginals, found(parallel)[3][1], 1e-12)
    whole = crf_log_likelihood(crf, SCORES[1, :3], TAGS[1, :3], parallel=parallel)
    assert_close(value, whole, 1e-12)
    none = crf_log_likelihood(crf, SCORES[1, :0], TAGS[1, :0], parallel=parallel)
    assert none == 0


def packed_rows():
    """Rows of several sequences: resets and masks at random, some resets where masked."""
    draws = np.random.default_rng(3)
    resets, masks = draws.random((12, 9)) < 0.4, draws.random((12, 9)) < 0.8
    resets[0], masks[0], masks[1] = True, True, False
    resets[2], resets[3, 1:] = False, False
    return 2 * draws.standard_normal((12, 9, SIZE)), draws.integers(0, SIZE, (12, 9)), masks, resets


@both
@pytest.mark.parametrize("masked", [True, False])
def test_sequences_in_a_row_are_apart(parallel, masked):
    """Log likelihood, gradients, best tags and marginals of a packed row are those of its parts."""
    crf = CRF(TRANSITIONS[5], STARTS[5], ENDS[5])
    scores, tags, masks, resets = packed_rows()
    if not masked:
        masks[:] = True
    dirty = np.where(masks[..., None], scores, np.nan)
    rows = (crf, dirty, np.where(masks, tags, -100), masks if masked else None, resets)

    def everything(crf, scores, tags, mask, reset):
        given = {"mask": mask, "reset": reset, "parallel": parallel}

        def likelihood(crf, scores):
            return crf_log_likelihood(crf, scores, tags, **given)

        best = crf_decode(crf, scores, **given)
        values = jax.value_and_grad(likelihood, (0, 1))(crf, scores)
        return values, best, crf_marginals(crf, scores, **given)

    run = jax.jit(jax.vmap(everything, (None, 0, 0, 0 if masked else None, 0)))
    (values, gradients), (best, best_scores), marginals = jax.tree.map(np.asarray, run(*rows))
    of_crf, of_scores = gradients
    assert not best[~masks].any() and not marginals[~masks].any() and not of_scores[~masks].any()
    alone = jax.jit(jax.value_and_grad(crf_log_likelihood, (0, 1)))
    for n in range(12):
        number = np.cumsum(resets[n])
        parts = [np.flatnonzero(masks[n] & (number == k)) for k in range(10)]
        parts = [part for part in parts if len(part)]
        expected = [enumerate_tags(*crf, scores[n, part], tags[n, part]) for part in parts]
        assert_close(values[n], np.float64(sum(each.log_likelihood for each in expected)), 1e-12)
        assert_close(best_scores[n], np.float64(sum(each.score for each in expected)), 1e-12)
        for part, each in zip(parts, expected, strict=True):
            np.testing.assert_array_equal(best[n, part], each.best)
            assert_close(marginals[n, part], each.marginals, 1e-12)
        if np.isfinite(values[n]):
            found = [alone(crf, scores[n, part], tags[n, part])[1] for part in parts]
            total = jax.tree.map(lambda leaf, n=n: np.zeros_like(leaf[n]), of_crf)
            for part, (of_params, of_part) in zip(parts, found, strict=True):
                total = jax.tree.map(np.add, total, of_params)
                assert_close(of_scores[n, part], np.asarray(of_part), 1e-10)
            assert_close(jax.tree.map(lambda leaf, n=n: leaf[n], of_crf), total, 1e-10)
        else:
            assert not of_scores[n].any()
    assert np.isfinite(values).sum() == 5 and (values == -np.inf).any()


@both
def test_packed_rows_of_a_batch(parallel):
    """The layout `pack`, with lengths, against each sequence alone."""
    draws = np.random.default_rng(4)
    lengths = (4, 2, 1, 3, 5)
    examples = [
        {"scores": draws.standard_normal((n, SIZE)), "tags": draws.integers(0, SIZE, n)}
        for n in lengths
    ]
    [batch] = make_batches([Example(each) for each in examples], pack(8, slots=4), batch_size=2)
    crf = CRF(TRANSITIONS[0], STARTS[0], ENDS[0])

    def row(scores, tags, mask, reset):
        return crf_log_likelihood(crf, scores, tags, mask=mask, reset=reset, parallel=parallel)

    assert (batch.reset.sum(1) > 1).any()
    found = jax.vmap(row)(batch.steps["scores"], batch.steps["tags"], batch.mask, batch.reset)
    alone = [crf_log_likelihood(crf, **each) for each in examples]
    assert_close(found.sum(), sum(alone), 1e-12)


@both
def test_no_nan_is_formed_on_the_way(parallel):
    """Where the tags are impossible, or all tags are."""
    free = CRF(TRANSITIONS[7], STARTS[7], ENDS[7])
    nothing = free._replace(end=np.full(SIZE, -np.inf))
    with jax.debug_nans(True):
        for crf, reset in itertools.product((free, nothing), (None, np.arange(STEPS) == 3)):

            def total(crf, scores, reset=reset):
                return crf_log_likelihood(crf, scores, TAGS[7], reset=reset, parallel=parallel)

            value, gradient = jax.value_and_grad(total, (0, 1))(crf, SCORES[7])
            assert value == -np.inf
            assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))
        assert crf_decode(nothing, SCORES[7], parallel=parallel)[1] == -np.inf
        assert not crf_marginals(nothing, SCORES[7], parallel=parallel).any()


@both
def test_an_unknown_tag_in_a_transformation_is_impossible(parallel):
    crf = CRF(TRANSITIONS[0], STARTS[0], ENDS[0])
    for outside in (-1, -100, SIZE, 2**31 - 1):
        tags = TAGS[0].copy()
        tags[2] = outside
        with pytest.raises(ValueError, match=f"tags from 0 to 2, got {outside} at step 2"):
            crf_log_likelihood(crf, SCORES[0], tags)
        run = functools.partial(crf_log_likelihood, parallel=parallel)
        assert jax.jit(run)(crf, SCORES[0], tags) == -np.inf


@both
def test_resets_in_float32_over_many_steps(parallel):
    draws = np.random.default_rng(2)
    scores, tags = 5 * draws.standard_normal((500, SIZE)), draws.integers(0, SIZE, 500)
    crf, reset = CRF(TRANSITIONS[0], STARTS[0], ENDS[0]), draws.random(500) < 0.1
    run = jax.jit(jax.value_and_grad(functools.partial(crf_log_likelihood, parallel=parallel)))
    expected, gradient = jax.device_get(run(crf, scores, tags, reset=reset))
    short = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (crf, scores))
    value, found = jax.device_get(run(*short, tags, reset=reset))
    assert value.dtype == jnp.float32 and abs(value / expected - 1) < 1e-6
    for ours, exact in zip(found, gradient, strict=True):
        assert abs(ours - exact).max() < 1e-5 * max(1, abs(exact).max())


def test_small_dtypes():
    """16 bits are computed in float32; tags may be of int8."""
    short = jax.tree.map(lambda leaf: jnp.asarray(leaf[0], jnp.bfloat16), rows()[0])
    scores = jnp.asarray(SCORES[0], jnp.bfloat16)
    value = crf_log_likelihood(short, scores, TAGS[0].astype(np.int8))
    assert value.dtype == jnp.float32
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (short, scores))
    assert_close(value.astype(float), crf_log_likelihood(*wide, TAGS[0]), 1e-6)
    assert crf_decode(short, scores)[1].dtype == jnp.float32


@both
def test_float32_over_many_steps(parallel):
    draws = np.random.default_rng(1)
    scores, tags = 5 * draws.standard_normal((500, SIZE)), draws.integers(0, SIZE, 500)
    run = jax.jit(jax.value_and_grad(functools.partial(crf_log_likelihood, parallel=parallel)))
    crf = CRF(TRANSITIONS[0], STARTS[0], ENDS[0])
    expected, gradient = jax.device_get(run(crf, scores, tags))
    short = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (crf, scores))
    value, found = jax.device_get(run(*short, tags))
    assert value.dtype == jnp.float32 and abs(value / expected - 1) < 1e-6
    for ours, exact in zip(found, gradient, strict=True):
        assert abs(ours - exact).max() < 1e-5 * max(1, abs(exact).max())


@both
def test_outside_of_jit_it_is_compiled_once(parallel):
    crf = CRF(TRANSITIONS[0], STARTS[0], ENDS[0])

    def run(n):
        for given in (
            {"length": n},
            {"mask": np.arange(STEPS) % 2 < n},
            {"length": n, "reset": np.arange(STEPS) == n},
        ):
            crf_log_likelihood(crf, SCORES[0], TAGS[0], parallel=parallel, **given)
            crf_decode(crf, SCORES[0], parallel=parallel, **given)
            crf_marginals(crf, SCORES[0], parallel=parallel, **given)

    run(1)
    with counting_compilations() as compiled:
        run(2)
    assert not compiled


def test_bio_constraints_leave_the_valid_tag_sequences():
    names = ["I-B", "O", "B-A", "I-A", "B-B"]
    crf = bio_constraints(names)

    def is_valid(tags):
        before = "O"
        for tag in tags:
            if tag[0] == "I" and before not in (f"B-{tag[2:]}", tag):
                return False
            before = tag
        return True

    for path in all_paths(5, 3):
        value = crf_log_likelihood(crf, np.zeros((3, 5)), path)
        assert np.isfinite(value) == is_valid([names[tag] for tag in path])


def test_a_tagger_learns_what_only_neighbors_tell():
    """Tags alternate; scores of a layer without memory cannot know it, and the transitions do."""
    tags = np.tile([0, 1, 0, 1, 0, 1], (4, 1))
    tags[2:] = 1 - tags[2:]
    words = np.where(np.arange(6) == 0, tags, 2)  # only the first word determines its tag
    lengths = np.array([6, 4, 5, 6])
    tagger = recur.batch(recur.chain(nn.Embed(3, 4), nn.Dense(2)))
    params = {"tagger": tagger.init(jax.random.key(0), words), "crf": init_crf(2)}
    rows = jax.vmap(crf_log_likelihood, in_axes=(None, 0, 0, 0))

    @jax.jit
    def train(params):
        def loss(params):
            scores = tagger(params["tagger"], words, length=lengths)
            return -rows(params["crf"], scores, tags, lengths).mean()

        def update(params, _):
            value, gradient = jax.value_and_grad(loss)(params)
            return jax.tree.map(lambda p, g: p - 0.5 * g, params, gradient), value

        return jax.lax.scan(update, params, length=100)

    params, losses = train(params)
    assert losses[0] > 3 and losses[-1] < 0.1
    scores = tagger(params["tagger"], words)
    best, _ = jax.vmap(crf_decode, in_axes=(None, 0, 0))(params["crf"], scores, lengths)
    inside = np.arange(6) < lengths[:, None]
    np.testing.assert_array_equal(best, np.where(inside, tags, 0))
