"""A signal to one of two processes ends the runs of both at the same update."""

import signal
import socket
import subprocess
import sys
import time

import pytest

from recur.train.signals import agreed

SETUP = """
import sys, time
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_cpu_collectives_implementation", "gloo")
port, rank = sys.argv[1], int(sys.argv[2])
jax.distributed.initialize(f"localhost:{port}", 2, rank)
"""
AGREE = """
from recur.train.signals import agreed
print("agreed", [agreed(flag) for flag in (False, rank == 0, rank == 1, True)])
"""
FIT = """
from recur.train import fit, init_state, make_step
mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
rows = NamedSharding(mesh, PartitionSpec("rows"))
everywhere = NamedSharding(mesh, PartitionSpec())

def batches():
    while True:
        time.sleep(0.01 * (1 + rank))  # one process waits for the other
        yield jax.make_array_from_process_local_data(rows, np.full(2, 1.0 + rank, np.float32))

def loss(w, carry, batch, key):
    return jnp.square(w - batch).mean(), (carry, {})

def show(report):
    print(report.step, report.last, report.interrupted, len(report.unread), flush=True)

optimizer = optax.sgd(0.1)
step = jax.jit(make_step(loss, optimizer), out_shardings=everywhere)
state = init_state(jnp.zeros(()), optimizer, jax.random.key(0))
try:
    fit(step, state, batches(), steps=100_000, callbacks=[show], report_every=5)
except KeyboardInterrupt:
    print("interrupted")
"""


class Processes:
    """Two processes that run a script, each of which writes its output to a file."""

    def __init__(self, script, folder):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        self.until = time.monotonic() + 120
        self.files = [folder / f"output-{rank}" for rank in range(2)]
        self.processes = []
        for rank, path in enumerate(self.files):
            command = [sys.executable, "-c", SETUP + script, str(port), str(rank)]
            with path.open("w") as file:
                options = {"stdout": file, "stderr": subprocess.STDOUT}
                self.processes.append(subprocess.Popen(command, **options))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in self.processes:
            process.kill()
            process.wait()

    def wait_for(self, line):
        """Waits until each process has written a line."""
        while not all(line in path.read_text().splitlines() for path in self.files):
            ended = any(process.poll() is not None for process in self.processes)
            assert not ended and time.monotonic() < self.until, self.texts()
            time.sleep(0.02)

    def ended(self):
        """The lines that each has written, once both have ended without an error."""
        codes = [p.wait(max(self.until - time.monotonic(), 0.1)) for p in self.processes]
        assert codes == [0, 0], self.texts()
        return [text.splitlines() for text in self.texts()]

    def texts(self):
        return [path.read_text() for path in self.files]


def test_a_flag_of_any_process_counts(tmp_path):
    with Processes(AGREE, tmp_path) as processes:
        first, second = processes.ended()
    assert first[-1] == second[-1] == "agreed [False, True, True, True]"


def test_one_process_agrees_with_itself():
    assert [agreed(flag) for flag in (False, True)] == [False, True]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_process_ends_both_at_the_same_update(number, tmp_path):
    with Processes(FIT, tmp_path) as processes:
        processes.wait_for("5 False False 0")
        processes.processes[1].send_signal(number)
        first, second = processes.ended()
    assert first[-2:] == second[-2:] and first[-1] == "interrupted"
    update, *marks = first[-2].split()
    assert int(update) % 5 == 0 and marks == ["True", "True", "0"]
