"""A fast character vocabulary in NumPy."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Iterable

import numpy as np

from recur.checks import check_ids, check_whole
from recur.text.engine import check_texts

BOUNDARY = 0  # the start and the end of a text
UNKNOWN = 1  # any character that is not in the vocabulary
_SPECIAL = 2
_CODE_POINTS = 0x110000


@dataclasses.dataclass(frozen=True)
class Characters:
    """A vocabulary of characters, with ids after those of `BOUNDARY` (0) and `UNKNOWN` (1).

    Attributes:
      characters: the characters in the order of their ids, each once.

    Raises:
      TypeError: if `characters` is not a string.
      ValueError: if a character occurs twice.

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
    def of(cls, texts: Iterable[str], min_count: int = 1) -> Characters:
        """Builds a vocabulary of the characters that occur at least `min_count` times in texts.

        The most frequent characters come first.
        """
        min_count = check_whole("Characters.of: min_count", min_count, 1)
        counts: collections.Counter[str] = collections.Counter()
        for text in check_texts("Characters.of", texts):
            counts.update(_check_text("Characters.of", text))
        frequent = [c for c, count in counts.items() if count >= min_count]
        return cls("".join(sorted(frequent, key=lambda c: (-counts[c], c))))

    def __len__(self) -> int:
        """Returns the size V, including the special ids."""
        return _SPECIAL + len(self.characters)

    def encode(self, text: str) -> np.ndarray:
        """Returns the ids of a text, int32 `[len(text)]`; `UNKNOWN` for unknown characters."""
        text = _check_text("encode", text)
        return self._ids[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")]

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of ids, with nothing for `BOUNDARY` and U+FFFD for `UNKNOWN`.

        Raises:
          ValueError: if ids are not in the vocabulary.
        """
        table = ["", "\N{REPLACEMENT CHARACTER}", *self.characters]
        ids = list(ids) if isinstance(ids, Iterable) else ids
        return "".join(table[i] for i in check_ids("decode", ids, len(self)))

    def unknown_in(self, text: str) -> str:
        """Returns the characters of a text that are not in the vocabulary, sorted."""
        text = _check_text("unknown_in", text)
        return "".join(sorted(set(text) - set(self.characters)))

    @functools.cached_property
    def _ids(self) -> np.ndarray:
        ids = np.full(_CODE_POINTS, UNKNOWN, np.int32)
        for number, character in enumerate(self.characters, start=_SPECIAL):
            ids[ord(character)] = number
        return ids


def _check_text(caller: str, text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{caller}: expected text as a string, got {type(text).__name__}.")
    return text
