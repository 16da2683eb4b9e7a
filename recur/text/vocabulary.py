"""A vocabulary: the tokens of texts by id, and the way from a text to ids and back."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import itertools
import json
import os
import reprlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from recur.files import replacing
from recur.text.corpora import read_text
from recur.text.engine import Split, checked_texts, make_engine
from recur.text.tokenizer_checks import check_tokenizer

_FORMAT = {"format": "recur.text.Tokenizer", "version": 1}
_CHUNK = 1024  # texts that are encoded at once


class Specials(NamedTuple):
    """The special tokens, None where there is none. Their ids come first, in this order.

    Attributes:
      padding: fills rows up to one length.
      unknown: stands for whatever the vocabulary has not.
      start: begins a sentence.
      end: ends a sentence.

    Example:
      >>> from recur.text import Specials, words
      >>> words(["a b"], specials=Specials(padding=None, start=None, end="<eos>")).tokens
      ('<unk>', '<eos>', 'a', 'b')
    """

    padding: str | None = "<pad>"
    unknown: str | None = "<unk>"
    start: str | None = "<s>"
    end: str | None = "</s>"

    @property
    def names(self) -> tuple[str, ...]:
        """Those that there are, by id."""
        return tuple(name for name in self if name is not None)


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """A vocabulary and how texts are cut; `words`, `characters`, `utf8_bytes` and `bpe` make it.

    Two are equal when they give the same ids. What is typed like a special token is text like any
    other; only among words does the text's own "<unk>", as tokenized corpora have it, become the
    unknown token.

    Attributes:
      split: how texts are cut: at "space", around "punctuation" too, into "characters", "bytes", or
        byte pairs, "bpe".
      specials: the special tokens.
      entries: all others; their ids follow those of the special tokens.
      merges: of "bpe", the pairs of entries that become one, in their order.
      lowercase: whether texts are put into lower case first.

    Raises:
      TypeError: when specials are no `Specials`, entries or merges no tuples, a token no string, or
        lowercase no bool.
      ValueError: when tokens come twice, or do not fit to `split`.

    Example:
      >>> from recur.text import words
      >>> vocabulary = words(["to be or not to be"])
      >>> vocabulary.tokens
      ('<pad>', '<unk>', '<s>', '</s>', 'be', 'to', 'not', 'or')
      >>> ids = vocabulary.frame(vocabulary.encode("not to see"))
      >>> ids.tolist(), vocabulary.decode(ids)
      ([2, 6, 5, 1, 3], 'not to <unk>')
    """

    split: Split
    specials: Specials
    entries: tuple[str, ...]
    merges: tuple[tuple[str, str], ...] = ()
    lowercase: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.specials, Specials):
            came = type(self.specials).__name__
            raise TypeError(f"Tokenizer: expected specials as Specials(...), got {came}.")
        check_tokenizer(self.split, self.specials, self.entries, self.merges, self.lowercase)

    def __len__(self) -> int:
        """V, the special tokens included."""
        return len(self.tokens)

    @functools.cached_property
    def tokens(self) -> tuple[str, ...]:
        """The tokens by id. In those of bytes, each byte is written as a printable character."""
        return (*self.specials.names, *self.entries)

    @property
    def padding(self) -> int | None:
        """The id of the padding."""
        return self._special(self.specials.padding)

    @property
    def unknown(self) -> int | None:
        """The id of what the vocabulary has not."""
        return self._special(self.specials.unknown)

    @property
    def start(self) -> int | None:
        """The id of the token that begins a sentence."""
        return self._special(self.specials.start)

    @property
    def end(self) -> int | None:
        """The id of the token that ends a sentence."""
        return self._special(self.specials.end)

    def _special(self, name: str | None) -> int | None:
        return None if name is None else self.specials.names.index(name)

    def id_of(self, token: str) -> int:
        """The id of a token, as `tokens` has it; a ValueError when it is none."""
        if not isinstance(token, str):
            raise TypeError(f"id_of: expected a token as a string, got {token!r}.")
        if token not in self._ids:
            near = difflib.get_close_matches(token, self.tokens, n=1)
            raise ValueError(
                f"id_of: {token!r} is none of the {len(self)} tokens of the vocabulary."
                + "".join(f" Did you mean {other!r}?" for other in near)
            )
        return self._ids[token]

    def encode(self, text: str) -> np.ndarray:
        """The ids of a text, int32 `[n]`, without start and end.

        A ValueError says what the vocabulary has not, when it has no unknown token either.
        """
        return next(self._encode_all([text], "encode"))

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        """The ids of each text, as `encode` gives them, read as they are asked for."""
        return self._encode_all(texts, "encode_all")

    def encode_words(self, words: Iterable[str]) -> np.ndarray:
        """The ids of words that are cut already, as `read_columns` gives them, int32 `[n]`.

        Each is one token, spaces and marks in it included, so that tags stay beside their words. A
        ValueError says what the vocabulary has not, or that its tokens are no words.
        """
        if self.split not in ("space", "punctuation"):
            raise ValueError(f"encode_words: expected a vocabulary of words, got {self.split!r}.")
        ids = []
        for word in checked_texts(words, "encode_words"):
            entry = self.engine.normalizer.normalize_str(word) if self.lowercase else word
            found = self._ids.get(entry) if entry not in self.specials else None
            ids.append(self.unknown if found is None else found)
            if ids[-1] is None:
                raise ValueError(
                    f"encode_words: the vocabulary has neither {word!r}, word {len(ids) - 1}, nor "
                    "an unknown token to stand for it."
                )
        return np.array(ids, np.int32)

    def frame(self, ids: Any) -> np.ndarray:
        """Ids between the start and the end token, as far as there are such tokens."""
        start, end = (np.array([] if i is None else [i], np.int32) for i in (self.start, self.end))
        return np.concatenate([start, self._checked(ids, "frame"), end])

    def decode(self, ids: Any) -> str:
        """The text of ids `[n]`; of the special tokens only the unknown is shown.

        Words are joined by spaces; all else is what the ids were made of. Bytes that are no UTF-8
        together are shown as U+FFFD. A ValueError names an id that is not in the vocabulary.
        """
        ids = self._checked(ids, "decode")
        hidden = [i for i in (self.padding, self.start, self.end) if i is not None]
        return self.engine.decode(ids[~np.isin(ids, hidden)].tolist(), skip_special_tokens=False)

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of all that decides the ids, to tell a checkpoint's vocabulary from others."""
        return hashlib.sha256(json.dumps(self._fields()).encode()).hexdigest()

    def save(self, path: str | os.PathLike) -> None:
        """Writes one file of JSON, which is there as a whole or not at all.

        A ValueError names a file that is there and that `save` did not write.
        """
        if os.path.exists(path) and os.path.getsize(path) and _kind_of(path) != _FORMAT:
            raise ValueError(
                f"{path}: expected a new file, or one that Tokenizer.save wrote, got another one. "
                "Name another path."
            )
        content = json.dumps(_FORMAT | self._fields(), ensure_ascii=False, indent=0)
        with replacing(path) as file:
            file.write(content)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Tokenizer:
        """Reads what `save` wrote; a ValueError says what is wrong with a file that is another."""
        try:
            fields = json.loads(read_text(path))
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(
                f"{path}: expected the JSON of Tokenizer.save, got {error}."
            ) from error
        kind = {name: fields.pop(name, None) for name in _FORMAT} if type(fields) is dict else None
        if kind != _FORMAT:
            raise ValueError(
                f"{path}: expected the JSON of Tokenizer.save, {_FORMAT}, got "
                f"{kind or type(fields).__name__}."
            )
        try:
            fields["specials"] = Specials(**fields["specials"])
            for name in ("entries", "merges"):
                if type(fields[name]) is not list:
                    raise TypeError(f"expected a list of {name}, got {fields[name]!r}")
            fields["entries"] = tuple(fields["entries"])
            fields["merges"] = tuple((left, right) for left, right in fields["merges"])
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: expected the JSON of Tokenizer.save, got a file that was changed, or is "
                f"damaged ({type(error).__name__}: {error})."
            ) from error

    @functools.cached_property
    def engine(self) -> Any:
        """The `tokenizers.Tokenizer` that does the work."""
        return make_engine(
            self.split,
            self.specials.names,
            self.specials.unknown,
            self.entries,
            self.merges,
            self.lowercase,
        )

    def _fields(self) -> dict[str, Any]:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {"specials": self.specials._asdict()}

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        entries = enumerate(self.entries, len(self.specials.names))
        return {entry: i for i, entry in entries} | {
            name: i for i, name in enumerate(self.specials.names)
        }

    def _encode_all(self, texts: Iterable[str], asker: str) -> Iterator[np.ndarray]:
        checked = checked_texts(texts, asker)
        while chunk := list(itertools.islice(checked, _CHUNK)):
            for text, encoding in zip(chunk, self.engine.encode_batch_fast(chunk), strict=True):
                ids = np.array(encoding.ids, np.int32)
                if self.specials.unknown is None and (ids == len(self)).any():
                    raise self._lacks(text, asker)
                yield ids

    def _lacks(self, text: str, asker: str) -> ValueError:
        encoding = self.engine.encode(text)
        begin, end = encoding.offsets[encoding.ids.index(len(self))]
        return ValueError(
            f"{asker}: the vocabulary has neither {text[begin:end]!r}, at {begin} of "
            f"{reprlib.repr(text)}, nor an unknown token to stand for it."
        )

    def _checked(self, ids: Any, asker: str) -> np.ndarray:
        """Ids as an array, when they are ids of this vocabulary."""
        array = np.asarray(ids)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise TypeError(
                f"{asker}: expected whole numbers of shape [n], got {array.dtype} of shape "
                f"{list(array.shape)}. Of a batch, take row by row."
            )
        wrong = np.flatnonzero((array < 0) | (array >= len(self)))
        if wrong.size:
            raise ValueError(
                f"{asker}: expected ids from 0 to {len(self) - 1}, for V = {len(self)}, got "
                f"{array[wrong[0]]} at position {wrong[0]}."
            )
        return array.astype(np.int32)


def _kind_of(path: str | os.PathLike) -> dict[str, Any] | None:
    """The format and the version of a file of JSON; None if it is another."""
    try:
        fields = json.loads(read_text(path))
    except (ValueError, RecursionError):
        return None
    return {name: fields.get(name) for name in _FORMAT} if isinstance(fields, dict) else None
