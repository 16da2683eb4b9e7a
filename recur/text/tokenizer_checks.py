"""Checks that the attributes of a `Tokenizer` are consistent."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any, get_args

from recur.text.engine import BYTES, OF_BYTES, Split


def check_tokenizer(
    split: Any,
    specials: Any,
    entries: Sequence[str],
    merges: Sequence[tuple[str, str]],
    lowercase: bool,
) -> None:
    """Raises an error unless the attributes of a `Tokenizer` are consistent."""
    if split not in get_args(Split):
        raise ValueError(f"Tokenizer: expected split as one of {get_args(Split)}, got {split!r}.")
    for what, given in (("entries", entries), ("merges", merges)):
        if not isinstance(given, tuple):
            raise TypeError(f"Tokenizer: expected {what} as a tuple, got {given!r:.60}.")
    for pair in merges:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"Tokenizer: expected merges as pairs of entries, got {pair!r}.")
    for token in (*specials.names, *entries):
        if not isinstance(token, str):
            raise TypeError(f"Tokenizer: expected tokens as strings, got {token!r}.")
    if not isinstance(lowercase, bool):
        raise TypeError(f"Tokenizer: expected lowercase as True or False, got {lowercase!r}.")
    for name in specials.names:
        if name.split() != [name]:
            raise ValueError(f"Tokenizer: expected special tokens without spaces, got {name!r}.")
    if split in OF_BYTES and specials.unknown is not None:
        raise ValueError(
            f"Tokenizer: expected no unknown token with split={split!r}, since no byte is unknown, "
            f"got {specials.unknown!r}. Pass Specials(unknown=None)."
        )
    for what, names in (("special token", specials.names), ("entry", entries)):
        twice = [name for name, count in collections.Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"Tokenizer: expected each {what} once, got {twice[0]!r} again.")
    if split in OF_BYTES:
        fit = _are_of_bytes(entries, merges)
    else:  # words without spaces, or characters
        pieces = [len(e) == 1 if split == "characters" else e and " " not in e for e in entries]
        fit = all(pieces) and specials.unknown not in entries and not merges
    if not fit:
        raise ValueError(f"Tokenizer: expected entries and merges that match split={split!r}.")


def _are_of_bytes(entries: Sequence[str], merges: Sequence[tuple[str, str]]) -> bool:
    """Whether the entries are the bytes and the results of the merges."""
    made = {left + right for left, right in merges}
    halves = (half for pair in merges for half in pair)
    fit = entries[:256] == BYTES and {*entries[256:]} == made - {*BYTES}
    return fit and {*entries}.issuperset(halves)
