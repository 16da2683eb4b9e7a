"""Scripts run as a user's process does."""

import jax
import pytest


@pytest.fixture(autouse=True)
def usual(strict):
    """What a user's process has: 32 bits, and jax's usual promotion."""
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        yield
