"""Strings to ids: vocabularies, and texts out of files."""

from recur.text.characters import BOUNDARY, UNKNOWN, Characters
from recur.text.corpora import hold_out, python_sources, read_text

__all__ = [
    "BOUNDARY",
    "Characters",
    "UNKNOWN",
    "hold_out",
    "python_sources",
    "read_text",
]
