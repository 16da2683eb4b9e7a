import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from recur.train import (
    Average,
    F1Score,
    Metric,
    accumulate,
    accuracy,
    average,
    confusion_matrix,
    evaluate,
    f1_score,
    interval_coverage,
    mae,
    mase,
    perplexity,
    rmse,
    span_f1,
    top_k_accuracy,
    word_error_rate,
)
from recur_tests.helpers import assert_close

DRAWS = np.random.default_rng(0)
ROWS, STEPS, SIZE = 12, 6, 5
LOGITS = DRAWS.standard_normal((ROWS, STEPS, SIZE))
TARGETS = DRAWS.integers(0, SIZE, (ROWS, STEPS))
MASK = np.arange(STEPS) < DRAWS.integers(1, STEPS + 1, ROWS)[:, None]
WEIGHTS = DRAWS.random((ROWS, STEPS))
NUMBERS, FORECASTS = DRAWS.standard_normal((2, ROWS, STEPS))
SCALE = DRAWS.uniform(0.5, 2, ROWS)
BATCH = (LOGITS, TARGETS, MASK, WEIGHTS, NUMBERS, FORECASTS, SCALE)
TAGS = ("O", "B-X", "I-X", "B-Y", "I-Y")


def step(batch):
    logits, targets, mask, weights, numbers, forecasts, scale = batch
    spans = span_f1(logits, targets, mask, tags=TAGS)
    return {
        "loss": average(numbers, mask, weights),
        "perplexity": average(numbers, mask, transform=perplexity),
        "accuracy": accuracy(logits, targets, mask, weights),
        "top": top_k_accuracy(logits, targets, mask, k=2),
        "confusion": confusion_matrix(logits, targets, mask, num_classes=SIZE),
        "f1": f1_score(logits, targets, mask, weights, num_classes=SIZE),
        "texts": {"spans": spans},
        "rmse": rmse(forecasts, numbers, mask, weights),
        "mae": mae(forecasts, numbers, mask),
        "mase": mase(forecasts, numbers, scale, mask),
        "coverage": interval_coverage(forecasts, forecasts + 1, numbers, mask),
    }


def parts(*sizes):
    """The rows of the batch in pieces."""
    ends = np.cumsum(sizes)
    return [
        jax.tree.map(lambda leaf, end=end, size=size: leaf[end - size : end], BATCH)
        for end, size in zip(ends, sizes, strict=True)
    ]


def whole():
    return jax.tree.map(np.asarray, evaluate(step, [BATCH]))


def assert_equal(found):
    assert_close(jax.tree.map(np.asarray, found), whole(), 1e-6)


@pytest.mark.parametrize("sizes", [(6, 6), (1, 11), (5, 2, 4, 1), (1,) * ROWS], ids=str)
def test_batches_of_unequal_sizes_are_as_one(sizes):
    assert_equal(evaluate(jax.jit(step), parts(*sizes)))


def test_merging_on_the_device_is_the_same():
    first, second = parts(4, 8)

    @jax.jit
    def merged(first, second):
        metrics = step(first), step(second)
        return jax.tree.map(
            lambda a, b: a.merge(b), *metrics, is_leaf=lambda leaf: isinstance(leaf, Metric)
        )

    found = merged(first, second)
    values = {name: found[name].value() for name in found if name != "texts"}
    expected = whole()
    del expected["texts"]
    assert_close(jax.tree.map(np.asarray, values), expected, 1e-6)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_rows_on_two_devices_are_as_on_one(kind):
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(kind,))
    placed = jax.device_put(parts(8, 4), NamedSharding(mesh, PartitionSpec("rows")))
    assert_equal(evaluate(jax.jit(step), placed))


def test_metrics_are_summed_over_devices_by_psum():
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
    rows = PartitionSpec("rows")

    @jax.jit
    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(rows,), out_specs=PartitionSpec())
    def summed(batch):
        return jax.lax.psum(step(batch), "rows")

    assert_equal(evaluate(summed, parts(2, 10)))


def test_each_device_may_run_its_own_program():
    placed = [
        jax.device_put(part, device)
        for part, device in zip(parts(5, 7), jax.devices(), strict=True)
    ]
    assert_equal(evaluate(jax.jit(step), placed))


def test_padding_never_matters():
    logits, targets, mask, *rest = BATCH
    dirty = (
        np.where(mask[..., None], logits, np.nan),
        np.where(mask, targets, 99),
        mask,
        *(np.where(mask, each, np.nan) for each in rest[:3]),
        rest[3],
    )
    assert_equal(evaluate(step, [dirty]))
    assert_equal(evaluate(jax.jit(step), [dirty]))


def test_an_ensemble_has_a_value_for_each_member():
    several = jax.tree.map(lambda leaf: np.stack([leaf, leaf[::-1]]), BATCH)
    found = evaluate(jax.jit(jax.vmap(step)), [several])
    both = jax.tree.map(lambda value: np.stack([value, value]), whole())
    assert_close(jax.tree.map(np.asarray, found), both, 1e-6)
    assert found["f1"].shape == (2,)


def test_weights_of_zero_are_a_mask():
    masked = accuracy(LOGITS, TARGETS, MASK)
    weighted = accuracy(LOGITS, TARGETS, None, MASK.astype(float))
    assert masked.value() == weighted.value()


def test_narrow_values_are_counted_in_at_least_32_bits():
    ones = np.ones(70_000, np.int8)
    assert accuracy(ones, ones).weight == 70_000
    assert average(ones.astype(np.float16)).total == 70_000
    assert average(jnp.asarray(ones, jnp.bfloat16)).weight == 70_000
    assert f1_score(ones, ones, num_classes=2).correct.tolist() == [0, 70_000]
    assert confusion_matrix(ones, ones, num_classes=2).counts.dtype == jnp.int32
    weights = jnp.ones(70_000, jnp.bfloat16)
    assert f1_score(ones, ones, None, weights, num_classes=2).actual.tolist() == [0, 70_000]
    wide = np.full(3, 200, np.uint8)
    assert confusion_matrix(wide, wide, num_classes=201).counts[200, 200] == 3


def test_counts_beyond_float32_are_exact():
    many = Average(np.float32(2**24), np.float32(2**24))
    one = Average(np.float32(0), np.float32(1))
    found = accumulate(lambda batch: batch, [many, one, one, one])
    assert found.weight == 2**24 + 3 and found.total == 2**24
    counts = F1Score(*[np.array([2**31 - 1], np.int32)] * 3)
    assert accumulate(lambda batch: batch, [counts, counts]).correct == [2**32 - 2]


def test_nothing_that_counts_is_not_a_number():
    nothing = np.zeros_like(MASK)
    metrics = step((LOGITS, TARGETS, nothing, *BATCH[3:]))
    found = evaluate(lambda batch: metrics, [None])
    assert not found.pop("confusion").any()
    assert all(np.isnan(value) for value in jax.tree.leaves(found))


def test_batches_are_started_before_the_last_result_is_read():
    log = []

    class Late(Metric):
        def merge(self, other):
            log.append("merge")
            return self

        def value(self):
            return 1

    def start(batch):
        log.append(batch)
        return Late()

    assert evaluate(start, iter("abcd")) == 1
    assert log == ["a", "b", "c", "merge", "d", "merge", "merge"]


def test_metrics_of_texts_and_of_arrays_together():
    texts = [(["a b"], ["a b c"]), (["d"], ["d"])]

    def of_texts(batch):
        right = np.array([h == r for h, r in zip(*batch, strict=True)])
        return {"wer": word_error_rate(*batch), "exact": average(right)}

    assert evaluate(of_texts, texts) == {"wer": 0.25, "exact": 0.5}


def test_values_are_plain():
    found = evaluate(jax.jit(step), [BATCH])
    assert type(found["accuracy"]) is float and type(found["confusion"]) is np.ndarray


def test_a_metric_of_ones_own():
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True)
    class Largest:
        greatest: jax.Array

        def merge(self, other):
            return Largest(np.maximum(self.greatest, other.greatest))

        def value(self):
            return {"greatest": self.greatest}

    found = evaluate(jax.jit(lambda batch: Largest(batch.max())), [np.arange(3), np.arange(2)])
    assert found == {"greatest": 2}
