"""Checks of a saved stream state: it must come from the same stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recur.checks import check_whole


def read_position(caller: str, state: Any, identity: Mapping[str, Any], *names: str) -> list[int]:
    """Reads the position from a state that `get_state` of the same stream returned.

    Args:
      caller: the function that was called, for the message.
      state: the identity of its stream and the numbers of the position.
      identity: the data and options that identify the stream, JSON serializable.
      *names: the names of the numbers of the position.

    Returns:
      The numbers with these names.

    Raises:
      TypeError: if the state is not a mapping.
      ValueError: if it is from another stream, or one of these numbers is missing.
    """
    if not isinstance(state, Mapping):
        raise TypeError(
            f"{caller}: expected the dict that get_state returned, got {type(state).__name__}."
        )
    if missing := [name for name in (*identity, *names) if name not in state]:
        raise ValueError(
            f"{caller}: expected the state that get_state returned, got one without "
            f"{', '.join(missing)}."
        )
    if others := [name for name, own in identity.items() if state[name] != own]:
        expected, came = (
            ", ".join(f"{name} {values[name]!r}" for name in others) for values in (identity, state)
        )
        raise ValueError(
            f"{caller}: expected the state of a stream with {expected}, got one with {came}. "
            "Resume with the data and options of the original run."
        )
    return [check_whole(f"{caller}: {name}", state[name], 0) for name in names]
