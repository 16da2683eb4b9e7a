"""Ctrl-C and SIGTERM: collected, agreed between processes, or delayed until a block ends."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import jax
import numpy as np

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def first_signal_collected() -> Iterator[list[int]]:
    """Collects the first SIGINT or SIGTERM in a list; a second one is handled as before."""
    came: list[int] = []

    def handle(number, restore):
        came.append(number)
        restore()

    with _handled_by(handle):
        yield came


def agreed(flag: bool) -> bool:
    """Whether the flag of any process of `jax.distributed` is true; each process must call this."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental.multihost_utils import process_allgather

    return bool(process_allgather(np.asarray(flag)).any())


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Delays signals until the block ends."""
    came: list[int] = []
    with _handled_by(lambda number, restore: came.append(number)):
        yield
    if came:
        signal.raise_signal(came[0])


@contextlib.contextmanager
def _handled_by(handle: Callable[[int, Callable[[], None]], None]) -> Iterator[None]:
    """Calls `handle(number, restore)` at a signal; only the main thread may handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _NUMBERS}

    def restore():
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in _NUMBERS:
        signal.signal(number, lambda number, frame: handle(number, restore))
    try:
        yield
    finally:
        restore()
