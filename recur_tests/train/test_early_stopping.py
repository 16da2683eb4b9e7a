import numpy as np
import pytest

from recur.train import Report, early_stopping


def stops(values, **options):
    """After which of the values the run stops."""
    stop = early_stopping("valid", **options)
    return [stop(Report(n, n - 1, None, {"valid": value})) for n, value in enumerate(values, 1)]


def brute_force(values, patience, min_delta):
    """By definition: the last `patience` values improve on no best before them."""
    found = []
    for end in range(1, len(values) + 1):
        best, since = np.inf, 0
        for value in values[:end]:
            improved = value < best - min_delta
            best, since = (value, 0) if improved else (best, since + 1)
        found.append(since >= patience)
    return found


@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize("min_delta", [0.0, 0.5])
def test_equals_the_definition(patience, min_delta):
    values = np.random.default_rng(patience).normal(size=40).tolist()
    expected = brute_force(values, patience, min_delta)
    assert stops(values, patience=patience, min_delta=min_delta) == expected
    assert any(expected) and not all(expected)


def test_values_before_a_resume_count():
    values = [3.0, 2.0, 2.5, 2.6, 1.0]
    whole = stops(values, patience=2)
    assert whole == [False, False, False, True, False]
    for at in range(len(values)):
        assert stops(values[at:], patience=2, seen=values[:at]) == whole[at:]


def test_nan_is_no_improvement():
    assert stops([1.0, np.nan, np.nan], patience=2) == [False, False, True]


def test_an_equal_value_is_no_improvement():
    assert stops([1.0, 1.0], patience=1) == [False, True]


def test_reports_without_the_metric_do_not_count():
    stop = early_stopping("valid", patience=1)
    assert not stop(Report(1, 0, None, {"valid": 1.0}))
    assert not stop(Report(2, 1, None, {"loss": 2.0}))
    assert stop(Report(3, 2, None, {"valid": 1.0}))


def test_a_metric_of_an_ensemble():
    with pytest.raises(TypeError, match="expected 'valid' as one number, got an array"):
        stops([np.ones(2)], patience=1)
