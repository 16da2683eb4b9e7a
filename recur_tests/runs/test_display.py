"""Errors of printing never end a run."""

import io
import os

import pytest

from recur.runs.display import Display


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_what_cannot_be_shown_is_replaced(encoding):
    console = io.TextIOWrapper(io.BytesIO(), encoding)
    text = "für 你 \ud800\n"
    print(text, end="", file=Display(console), flush=True)
    assert console.buffer.getvalue() == text.encode(encoding, "replace")


def test_a_closed_pipe_and_a_full_disk_end_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1, closefd=False) as pipe:
        shown = Display(pipe)
        print("x" * 100_000, file=shown, flush=True)
        shown.flush()
        assert shown.fileno() == writing and not shown.isatty()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # so that it can be closed
    os.close(writing)
