"""`Padded`: sequences with their own lengths, alone, stacked and in batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.sequences import Padded


@pytest.mark.parametrize("dtype", [np.int8, np.float64, jnp.bfloat16])
def test_stack_pads_with_zeros_and_keeps_lengths_and_dtypes(dtype):
    sequences = [np.arange(1, n + 1).astype(dtype) for n in (2, 0, 3)]
    padded = Padded.stack(sequences)
    assert padded.steps.tolist() == [[1, 2, 0], [0, 0, 0], [1, 2, 3]]
    assert padded.steps.dtype == dtype
    assert padded.length.tolist() == [2, 0, 3] and padded.length.dtype == np.int32
    assert padded.mask.tolist() == [[True, True, False], [False] * 3, [True] * 3]


def test_stack_of_pytrees():
    padded = Padded.stack([{"x": np.ones((n, 2)), "id": np.arange(n)} for n in (1, 4)])
    assert padded.steps["x"].shape == (2, 4, 2) and padded.steps["id"].tolist()[0] == [0, 0, 0, 0]
    assert padded.steps["x"][0, 1:].sum() == 0


def test_masks():
    assert Padded(np.ones((3, 2))).mask.tolist() == [True] * 3
    assert Padded({"a": np.ones((3, 2))}, 2).mask.tolist() == [True, True, False]
    rows = Padded(jnp.ones((2, 3)), jnp.array([1, 3]))
    expected = [[True, False, False], [True, True, True]]
    assert rows.mask.tolist() == expected
    assert jax.jit(lambda padded: padded.mask)(rows).tolist() == expected
    assert jax.vmap(lambda padded: padded.mask)(rows).tolist() == expected


@pytest.mark.parametrize(
    ("sequences", "error", "message"),
    [
        (np.ones((2, 3)), TypeError, "Padded.stack: expected a list of arrays, got ndarray."),
        ("ab", TypeError, "Padded.stack: expected a list of arrays, got str."),
        ([], ValueError, "Padded.stack: expected at least one sequence, got none. For an example"),
        ([[1, 2], [3]], ValueError, "sequence 0: expected arrays .* Convert a list of numbers"),
        ([np.ones(2), np.float64(1)], ValueError, "sequence 1: expected arrays .C, .... with one"),
        (
            [np.ones((2, 3)), np.ones((2, 4))],
            ValueError,
            r"differ only in length, got float64\[2,3\] and float64\[2,4\] for sequence 1",
        ),
        ([np.ones(2), np.ones(2, int)], ValueError, "differ only in length"),
        ([{"a": np.ones(2)}, {"b": np.ones(2)}], ValueError, "differ only in length"),
        ([{"a": np.ones(2), "b": np.ones(3)}], ValueError, "sequence 0: expected arrays"),
    ],
)
def test_wrong_input(sequences, error, message):
    with pytest.raises(error, match=message):
        Padded.stack(sequences)
