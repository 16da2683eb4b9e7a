"""Optax's own transformations mix dtypes."""

import jax
import pytest


@pytest.fixture
def lenient(strict):
    with jax.numpy_dtype_promotion("standard"):
        yield
