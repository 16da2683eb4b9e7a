"""Every test runs in float64, with no implicit promotion of dtypes or ranks, on two CPU devices."""

import hypothesis
import jax
import pytest

jax.config.update("jax_num_cpu_devices", 2)
# The suite compiles many small programs and runs each of them once.
jax.config.update("jax_disable_most_optimizations", True)
# The same examples in every run: whoever changes what they test raises max_examples for a while.
hypothesis.settings.register_profile("suite", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True)
def strict():
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
    ):
        yield
