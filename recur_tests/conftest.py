"""Every test runs in float64, with no implicit promotion of dtypes or ranks, on two CPU devices."""

import gc
import os

import hypothesis
import jax
import pytest

jax.config.update("jax_num_cpu_devices", 2)
# The suite compiles many small programs and runs each of them once: what makes programs faster
# costs more than it gains, and these ways to generate code are the quick ones.
jax.config.update("jax_disable_most_optimizations", True)
QUICK_TO_COMPILE = ["--xla_cpu_parallel_codegen_split_count=1"]
if jax.__version_info__ < (0, 11):  # from then on XLA does not know the flag
    QUICK_TO_COMPILE += ["--xla_cpu_use_fusion_emitters=false"]
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *QUICK_TO_COMPILE])
# Nearly all that lives are programs, which live to the end: look for garbage among them less often.
gc.set_threshold(20_000, 20, 20)
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
