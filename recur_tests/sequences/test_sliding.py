import numpy as np
import pytest

from recur.sequences import sliding


@pytest.mark.parametrize(("steps", "ahead", "stride"), [(3, 1, 1), (2, 4, 1), (3, 2, 3), (1, 1, 5)])
def test_windows_and_what_follows_them(steps, ahead, stride):
    series = {"a": np.arange(20), "b": np.arange(40.0).reshape(20, 2)}
    windows = sliding(series, steps, ahead=ahead, stride=stride)
    begins = windows.inputs["a"][:, 0]
    assert (np.diff(begins) == stride).all() and begins[0] < stride
    assert windows.targets["a"][-1, -1] == 19
    for begin, inputs, targets, wide in zip(
        begins, windows.inputs["a"], windows.targets["a"], windows.inputs["b"], strict=True
    ):
        assert inputs.tolist() == list(range(begin, begin + steps))
        assert targets.tolist() == list(range(begin + steps, begin + steps + ahead))
        assert (wide == series["b"][begin : begin + steps]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sliding(np.arange(5), 5), "a series of at least 6 steps, .* got 5"),
        (lambda: sliding(np.arange(5), 0), "sliding: steps: expected .* at least 1, got 0"),
        (lambda: sliding(np.arange(5), 2, ahead=0), "sliding: ahead: expected"),
        (lambda: sliding(np.arange(5), 2, stride=0), "sliding: stride: expected"),
        (lambda: sliding({"a": np.arange(5), "b": np.arange(4)}, 2), "expected a series of arrays"),
    ],
)
def test_wrong_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
