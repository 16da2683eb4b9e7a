import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.train import interval_coverage, mae, mase, rmse, seasonal_naive_error
from recur_tests.helpers import assert_close

DRAWS = np.random.default_rng(0)
PREDICTED, TARGETS = DRAWS.standard_normal((2, 4, 7))
MASK = DRAWS.random((4, 7)) < 0.6
WEIGHTS = DRAWS.random((4, 7))
HISTORY = DRAWS.standard_normal((4, 20))
HISTORY_MASK = np.arange(20) < np.array([20, 3, 9, 13])[:, None]


def mean_of(values, weights):
    return (weights * values)[MASK].sum() / weights[MASK].sum()


each_weights = pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["counts", "weights"])


@each_weights
def test_equal_the_formulas(weights):
    w = np.ones_like(WEIGHTS) if weights is None else weights
    errors, arguments = TARGETS - PREDICTED, (PREDICTED, TARGETS, MASK, weights)
    assert_close(rmse(*arguments).value(), np.sqrt(mean_of(errors**2, w)), 1e-12)
    assert_close(mae(*arguments).value(), mean_of(abs(errors), w), 1e-12)
    inside = (PREDICTED - 0.3 <= TARGETS) & (TARGETS <= PREDICTED + 1)
    found = interval_coverage(PREDICTED - 0.3, PREDICTED + 1, TARGETS, MASK, weights)
    assert_close(found.value(), mean_of(inside, w), 1e-12)


def test_bounds_are_inside():
    assert interval_coverage(TARGETS, TARGETS, TARGETS).value() == 1


def test_the_root_is_taken_of_all_batches():
    first, second = rmse(np.zeros(3), np.zeros(3)), rmse(np.zeros(1), np.full(1, 4.0))
    assert first.merge(second).value() == 2


@each_weights
def test_steps_of_several_numbers(weights):
    predicted, targets = DRAWS.standard_normal((2, 4, 7, 3))
    w = np.ones_like(WEIGHTS) if weights is None else weights
    dirty = np.where(MASK[..., None], predicted, np.nan)
    errors = targets - predicted
    found = rmse(dirty, targets, MASK, weights).value()
    assert_close(found, np.sqrt(mean_of((errors**2).mean(-1), w)), 1e-12)
    found = mae(predicted, targets, None, weights).value()
    assert_close(found, (w[..., None] * abs(errors)).sum() / w.sum() / 3, 1e-12)
    assert_close(mae(predicted, targets).value(), abs(errors).mean(), 1e-12)
    rows = np.array([True, False, True, True])
    assert_close(mae(predicted, targets, rows).value(), abs(errors)[rows].mean(), 1e-12)


@pytest.mark.parametrize("season", [1, 4, 25])
def test_the_seasonal_naive_error(season):
    for mask in (np.ones_like(HISTORY_MASK), HISTORY_MASK, DRAWS.random((4, 20)) < 0.7):
        expected = np.full(4, np.nan)
        for row in range(4):
            errors = [
                abs(HISTORY[row, t] - HISTORY[row, t - season])
                for t in range(season, 20)
                if mask[row, t] and mask[row, t - season]
            ]
            if errors:
                expected[row] = np.mean(errors)
        dirty = np.where(mask, HISTORY, np.nan)
        assert_close(seasonal_naive_error(dirty, mask, season=season), expected, 1e-12)


@each_weights
def test_the_mean_absolute_scaled_error(weights):
    w = np.ones_like(WEIGHTS) if weights is None else weights
    scale = seasonal_naive_error(HISTORY, HISTORY_MASK, season=2)
    expected = mean_of(abs(TARGETS - PREDICTED) / np.asarray(scale)[:, None], w)
    assert_close(mase(PREDICTED, TARGETS, scale, MASK, weights).value(), expected, 1e-12)


def test_a_naive_forecast_of_one_step_has_the_error_one():
    steps = HISTORY[0]
    scale = seasonal_naive_error(steps)
    assert_close(mase(steps[:-1], steps[1:], scale).value(), 1.0, 1e-12)


def test_a_series_without_a_scale_is_masked():
    mask = MASK & np.array([True, False, True, True])[:, None]
    scale = np.array([1.0, np.nan, 2.0, 3.0])
    found = mase(PREDICTED, TARGETS, scale, mask).value()
    expected = (abs(TARGETS - PREDICTED) / scale[:, None])[mask].mean()
    assert_close(found, expected, 1e-12)


@pytest.mark.parametrize("metric", [rmse, mae])
def test_dtypes(metric):
    targets = np.array([1, 2, 250], np.uint8)
    assert metric(np.array([2.0, 3.0, 249.0], np.float16), targets).value() == 1
    many = jnp.full(3000, 10, jnp.bfloat16)
    assert metric(many, jnp.zeros(3000, jnp.bfloat16)).value() == 10
    assert metric(many, jnp.zeros(3000, jnp.bfloat16)).total.dtype == jnp.float32
    assert jax.jit(metric)(many, many).value() == 0


@each_weights
def test_scikit_learn(weights):
    metrics = pytest.importorskip("sklearn.metrics")
    options = {"sample_weight": None if weights is None else weights[MASK]}
    pair = TARGETS[MASK], PREDICTED[MASK]
    expected = metrics.root_mean_squared_error(*pair, **options)
    assert_close(rmse(PREDICTED, TARGETS, MASK, weights).value(), expected, 1e-12)
    expected = metrics.mean_absolute_error(*pair, **options)
    assert_close(mae(PREDICTED, TARGETS, MASK, weights).value(), expected, 1e-12)
