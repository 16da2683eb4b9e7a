"""Ctrl-C during the imports of a script: it ends at once, without a traceback.

Every script imports this file first, since the other imports take seconds;
`recur.runs.run_command` makes Ctrl-C raise KeyboardInterrupt again.
"""

from __future__ import annotations

import signal


def end_at_once() -> None:
    """Makes Ctrl-C end the program silently instead of raising KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
