"""Ctrl-C while a script imports what it needs: it ends at once, without a traceback.

Every script imports this file first, for the other imports take seconds.
"""

from __future__ import annotations

import signal


def end_at_once() -> None:
    """Ctrl-C ends the program in silence, where it would have raised KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_again() -> None:
    """Takes back `end_at_once`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
