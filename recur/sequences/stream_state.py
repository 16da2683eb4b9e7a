"""The position in a stream, which another stream refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recur.checks import check_whole


def read_position(asker: str, state: Any, identity: Mapping[str, Any], *names: str) -> list[int]:
    """The numbers called `names` in a state that `get_state` of the same stream returned.

    Args:
      asker: the function that was called, for the message.
      state: the identity of its stream and the numbers of the position.
      identity: what tells the stream from others, as JSON can hold it.
      *names: of whole numbers.

    Raises:
      TypeError: if the state is no mapping.
      ValueError: if it is that of another stream, or has not these numbers.
    """
    if not isinstance(state, Mapping):
        raise TypeError(
            f"{asker}: expected the dict that get_state returned, got {type(state).__name__}."
        )
    if missing := [name for name in (*identity, *names) if name not in state]:
        raise ValueError(
            f"{asker}: expected the state that get_state returned, got one without "
            f"{', '.join(missing)}."
        )
    if others := [name for name, own in identity.items() if state[name] != own]:
        expected, came = (
            ", ".join(f"{name} {values[name]!r}" for name in others) for values in (identity, state)
        )
        raise ValueError(
            f"{asker}: expected the state of a stream with {expected}, got one with {came}. Resume "
            "with the data and the options that the run began with."
        )
    return [check_whole(f"{asker}: {name}", state[name], 0) for name in names]
