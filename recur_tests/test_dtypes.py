import jax.numpy as jnp
import numpy as np
import pytest

from recur.dtypes import as_float, at_least_float32


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("bfloat16", "float32"),
        ("float16", "float32"),
        ("float8_e4m3fn", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("int16", "int16"),
        ("bool", "bool"),
        ("complex64", "complex64"),
    ],
)
def test_only_narrow_floats_are_widened(given, found):
    values = np.array([0, 1, 3]).astype(jnp.dtype(given))
    for leaf in at_least_float32({"numpy": values, "jax": jnp.asarray(values)}).values():
        assert leaf.dtype == found
        assert np.array_equal(leaf, values.astype(found))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("bool", "float64"),
        ("int8", "float64"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("complex64", "complex64"),
    ],
)
def test_as_float(given, found):
    values = np.array([0, 1, 3]).astype(jnp.dtype(given))
    array = as_float(jnp.asarray(values))
    assert array.dtype == found
    assert np.array_equal(array, values.astype(found))
