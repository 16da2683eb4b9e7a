"""Characters to ids and back."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Iterable

import numpy as np

from recur.checks import check_ids, check_whole
from recur.text.engine import check_texts

BOUNDARY = 0  # stands in front of every text and behind it
UNKNOWN = 1  # any character that the vocabulary has not
_SPECIAL = 2
_CODE_POINTS = 0x110000


@dataclasses.dataclass(frozen=True)
class Characters:
    """A vocabulary of characters, their ids in the order given, behind `BOUNDARY` and `UNKNOWN`.

    Attributes:
      characters: the characters, each once.

    Raises:
      TypeError: when they are no string.
      ValueError: when a character comes twice.

    Example:
      >>> from recur.text import Characters
      >>> vocabulary = Characters.of(["banana"])
      >>> len(vocabulary), vocabulary.encode("ban").tolist()
      (5, [4, 2, 3])
      >>> vocabulary.decode([0, 4, 2, 3, 1, 0])
      'ban�'
    """

    characters: str

    def __post_init__(self) -> None:
        _check_text("Characters", self.characters)
        if len(set(self.characters)) != len(self.characters):
            twice = collections.Counter(self.characters).most_common(1)[0][0]
            raise ValueError(f"Characters: expected each character once, got {twice!r} again.")

    @classmethod
    def of(cls, texts: Iterable[str], at_least: int = 1) -> Characters:
        """The characters that come `at_least` so often in texts, the most frequent first."""
        at_least = check_whole("Characters.of: at_least", at_least, 1)
        counts: collections.Counter[str] = collections.Counter()
        for text in check_texts("Characters.of", texts):
            counts.update(_check_text("Characters.of", text))
        frequent = [c for c, count in counts.items() if count >= at_least]
        return cls("".join(sorted(frequent, key=lambda c: (-counts[c], c))))

    def __len__(self) -> int:
        """V, the special ids included."""
        return _SPECIAL + len(self.characters)

    def encode(self, text: str) -> np.ndarray:
        """int32 `[len(text)]`, `UNKNOWN` for a character that the vocabulary has not."""
        text = _check_text("encode", text)
        return self._ids[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")]

    def decode(self, ids: Iterable[int]) -> str:
        """The characters of ids, nothing for `BOUNDARY` and U+FFFD for `UNKNOWN`.

        A ValueError names ids that are not in the vocabulary.
        """
        table = ["", "\N{REPLACEMENT CHARACTER}", *self.characters]
        ids = list(ids) if isinstance(ids, Iterable) else ids
        return "".join(table[i] for i in check_ids("decode", ids, len(self)))

    def unknown_in(self, text: str) -> str:
        """The characters of a text that the vocabulary has not, sorted."""
        text = _check_text("unknown_in", text)
        return "".join(sorted(set(text) - set(self.characters)))

    @functools.cached_property
    def _ids(self) -> np.ndarray:
        ids = np.full(_CODE_POINTS, UNKNOWN, np.int32)
        for number, character in enumerate(self.characters, start=_SPECIAL):
            ids[ord(character)] = number
        return ids


def _check_text(asker: str, text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{asker}: expected text as a string, got {type(text).__name__}.")
    return text
