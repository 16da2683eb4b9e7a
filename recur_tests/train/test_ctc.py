import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from recur.sequences import Padded
from recur.train import ctc_loss
from recur_tests.helpers import assert_close

DRAWS = np.random.default_rng(0)
FRAMES, SIZE = 5, 4
LOGITS = DRAWS.standard_normal((6, FRAMES, SIZE))
LABELS = [[1, 2], [3, 3], [2], [], [1, 2, 1], [2, 2, 1]]
TARGETS = np.array([label + [0] * (3 - len(label)) for label in LABELS])
TARGET_MASK = np.arange(3) < np.array([len(label) for label in LABELS])[:, None]
LENGTHS = np.array([5, 4, 1, 3, 3, 5])
MASK = np.arange(FRAMES) < LENGTHS[:, None]


def by_hand(logits, label, blank=0):
    """The sum over all alignments, `V ** T` of them."""
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    total = 0.0
    for alignment in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        merged = [symbol for symbol, _ in itertools.groupby(alignment)]
        if [symbol for symbol in merged if symbol != blank] == list(label):
            total += np.prod(probabilities[np.arange(len(logits)), alignment])
    return -np.log(total)


EXPECTED = np.array(
    [by_hand(LOGITS[row, : LENGTHS[row]], label) for row, label in enumerate(LABELS)]
)


def test_is_the_sum_over_all_alignments():
    assert_close(ctc_loss(LOGITS, TARGETS, MASK, TARGET_MASK), EXPECTED, 1e-9)
    assert_close(jax.jit(ctc_loss)(LOGITS, TARGETS, MASK, TARGET_MASK), EXPECTED, 1e-9)


def test_one_sequence_and_several_batch_axes():
    assert_close(ctc_loss(LOGITS[0], np.array(LABELS[0])), EXPECTED[0], 1e-9)
    arrays = (LOGITS, TARGETS, MASK, TARGET_MASK)
    nested = (each.reshape(2, 3, *each.shape[1:]) for each in arrays)
    assert_close(ctc_loss(*nested), EXPECTED.reshape(2, 3), 1e-9)
    assert_close(jax.vmap(ctc_loss)(*arrays), EXPECTED, 1e-9)
    assert_close(ctc_loss(LOGITS[0], np.zeros(0, int)), by_hand(LOGITS[0], []), 1e-9)


def test_targets_of_a_batch_are_padded():
    padded = Padded.stack([np.array(label, int) for label in LABELS[:3]])
    found = ctc_loss(LOGITS[:3], padded.steps, MASK[:3], padded.mask)
    assert_close(found, EXPECTED[:3], 1e-9)


def test_another_blank():
    found = ctc_loss(LOGITS[0], np.array([1, 0]), blank=3)
    assert_close(found, by_hand(LOGITS[0], [1, 0], blank=3), 1e-9)


def test_frames_are_masked_anywhere():
    mask = np.array([True, False, True, True, False])
    expected = by_hand(LOGITS[0][mask], [1, 2])
    assert_close(ctc_loss(LOGITS[0], np.array([1, 2]), mask), expected, 1e-9)


def test_padding_never_matters():
    def total(logits, targets):
        return ctc_loss(logits, targets, MASK, TARGET_MASK).sum()

    dirty = np.where(MASK[..., None], LOGITS, np.nan)
    wrong = np.where(TARGET_MASK, TARGETS, 99)
    value, gradient = jax.value_and_grad(total)(dirty, wrong)
    assert_close(value, EXPECTED.sum(), 1e-9)
    assert_close(gradient, jax.grad(total)(LOGITS, TARGETS), 1e-12)
    assert not gradient[~MASK].any() and gradient[MASK].any()


def test_gradients_are_differences():
    def total(logits):
        return ctc_loss(logits, TARGETS, MASK, TARGET_MASK).sum()

    jax.test_util.check_grads(total, (LOGITS,), order=1, modes=["rev"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("label", [[1, 1, 2, 1], [1, 2, 1, 2, 1, 2], [1, 0], [9], [-1]], ids=str)
def test_where_they_are_not_known_impossible_targets_have_an_infinite_loss(label):
    differentiate = jax.jit(jax.value_and_grad(ctc_loss))
    value, gradient = differentiate(LOGITS[0][:4], np.array(label))
    assert value == np.inf
    assert not gradient.any()


def test_improbable_targets_are_not_impossible():
    logits = np.zeros((3, 2))
    logits[:, 0] = 1e6  # the blank, and nothing else
    assert_close(ctc_loss(logits, np.array([1])), 1e6 - np.log(3), 1e-12)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_is_computed_in_at_least_float32(dtype):
    logits = jnp.asarray(LOGITS, dtype)
    found = ctc_loss(logits, TARGETS.astype(np.int8), MASK, TARGET_MASK)
    assert found.dtype == jnp.float32
    assert_close(found, ctc_loss(logits.astype(jnp.float32), TARGETS, MASK, TARGET_MASK), 1e-6)
    gradient = jax.grad(lambda logits: ctc_loss(logits, TARGETS, MASK, TARGET_MASK).sum())(logits)
    assert gradient.dtype == dtype and gradient.any()


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("masked", [True, False])
def test_rows_on_a_mesh(axis_type, masked):
    """Of automatic or explicit axes: loss and gradient are those on one device."""
    draws = np.random.default_rng(5)
    logits, targets = draws.standard_normal((4, 6, 5)), draws.integers(1, 5, (4, 2))
    masks = np.arange(6) < np.array([6, 5, 6, 4])[:, None] if masked else None

    def loss(logits, targets, masks):
        losses = ctc_loss(logits, targets, masks)
        return losses.sum(), losses

    run = jax.value_and_grad(loss, has_aux=True)
    (_, expected), gradient = run(logits, targets, masks)
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(axis_type,))
    by_rows = NamedSharding(mesh, PartitionSpec("rows"))
    placed = jax.device_put((logits, targets, masks), by_rows)
    with jax.set_mesh(mesh):
        for given in (placed, (placed[0], targets, masks)):
            (_, losses), found = jax.jit(run)(*given)
            assert losses.sharding.is_equivalent_to(by_rows, 1)
            assert_close((losses, found), (expected, gradient), 1e-12)
        assert_close(ctc_loss(*placed), expected, 1e-12)
