"""Rows sharded over devices: each device computes its own rows, without gathers.

On meshes with automatic and with explicit axes. Measured in a process with four devices, by
`recur_tests.lift.sharded`.
"""

import json
import subprocess
import sys

import pytest

from recur_tests.lift.sharded import LAYERS, ROWS, SPREAD, STEPS


def measured(*kind):
    """For each layer, the cost and the gathers of its outputs and of its gradient."""
    command = [sys.executable, "-m", "recur_tests.lift.sharded", *kind]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_each_device_computes_its_rows(kind):
    """Each device does a quarter of the work, and the values are those of one device."""
    found = measured("rows", kind)
    assert len(found) == 2 * len(LAYERS)
    for name, of in found.items():
        assert of["share"] < 0.28, name
        assert not of["gathered"], name
        assert of["error"] < 1e-5, name


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_kernels_may_be_spread_too(kind):
    """Columns over two devices, rows over two.

    The loop gathers the state of one step, for its product with all of U's rows; the gradient of
    U needs the states of all steps once more. The rows stay where they are.
    """
    found = measured("kernels", kind)
    assert len(found) == 2 * len(SPREAD)
    for name, of in found.items():
        assert of["share"] < 0.30, name
        assert of["error"] < 1e-5, name
        sizes = {size for shape in of["gathered"] for size in shape}
        assert ROWS not in sizes, name
        assert STEPS not in sizes or "gradient" in name, name
