"""A tokenizer: the tokens of a vocabulary by id, encoding and decoding."""

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
_CHUNK = 1024  # texts to encode at once


class Specials(NamedTuple):
    """The special tokens of a `Tokenizer`, whose ids come first in this order.

    Attributes:
      padding: the padding token, or None.
      unknown: the token of everything outside the vocabulary, or None.
      start: the beginning-of-sequence token, or None.
      end: the end-of-sequence token, or None.

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
        """The special tokens that are not None, in the order of their ids."""
        return tuple(name for name in self if name is not None)


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """A tokenizer with its vocabulary; `words`, `characters`, `utf8_bytes` and `bpe` make one.

    Tokenizers are equal if they give the same ids. Special tokens that occur in a text are ordinary
    text. Only in word tokenizers does "<unk>" in a text, as in tokenized corpora, become the
    unknown token.

    Attributes:
      split: how texts are split: at "space", also around "punctuation", into "characters", into
        "bytes", or by byte-pair encoding, "bpe".
      specials: the special tokens.
      entries: all other tokens; their ids follow those of the special tokens.
      merges: pairs of entries that are merged, in order, with split="bpe".
      lowercase: whether texts are converted to lower case first.

    Raises:
      TypeError: if specials is not a `Specials`, entries or merges is not a tuple, a token is not a
        string, or lowercase is not a bool.
      ValueError: if a token occurs twice, or does not match `split`.

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
        """Returns the size V, including the special tokens."""
        return len(self.tokens)

    @functools.cached_property
    def tokens(self) -> tuple[str, ...]:
        """The tokens by id; in byte tokens, each byte is written as a printable character."""
        return (*self.specials.names, *self.entries)

    @property
    def padding(self) -> int | None:
        """The id of the padding token, or None."""
        return self._special(self.specials.padding)

    @property
    def unknown(self) -> int | None:
        """The id of the unknown token, or None."""
        return self._special(self.specials.unknown)

    @property
    def start(self) -> int | None:
        """The id of the beginning-of-sequence token, or None."""
        return self._special(self.specials.start)

    @property
    def end(self) -> int | None:
        """The id of the end-of-sequence token, or None."""
        return self._special(self.specials.end)

    def _special(self, name: str | None) -> int | None:
        return None if name is None else self.specials.names.index(name)

    def id_of(self, token: str) -> int:
        """Returns the id of a token, written as in `tokens`.

        Raises:
          ValueError: if the token is not in the vocabulary.
        """
        if not isinstance(token, str):
            raise TypeError(f"id_of: expected a token as a string, got {token!r}.")
        if token not in self._ids:
            near = difflib.get_close_matches(token, self.tokens, n=1)
            raise ValueError(
                f"id_of: expected one of the {len(self)} tokens of the vocabulary, got {token!r}."
                + "".join(f" Did you mean {other!r}?" for other in near)
            )
        return self._ids[token]

    def encode(self, text: str) -> np.ndarray:
        """Returns the ids of a text, int32 `[n]`, without start and end tokens.

        Raises:
          ValueError: if a part of the text is unknown, and there is no unknown token.
        """
        return next(self._encode_all([text], "encode"))

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        """Encodes several texts lazily, each as in `encode`."""
        return self._encode_all(texts, "encode_all")

    def encode_words(self, words: Iterable[str]) -> np.ndarray:
        """Returns the ids of a list of words, such as from `read_columns`, int32 `[n]`.

        Each word becomes one token, even if it contains spaces or punctuation, so that words and
        tags stay aligned.

        Raises:
          ValueError: if a word is unknown and there is no unknown token, or the tokens are not
            words.
        """
        if self.split not in ("space", "punctuation"):
            raise ValueError(f"encode_words: expected a word tokenizer, got split={self.split!r}.")
        ids = []
        for word in checked_texts(words, "encode_words"):
            entry = self.engine.normalizer.normalize_str(word) if self.lowercase else word
            found = self._ids.get(entry) if entry not in self.specials else None
            ids.append(self.unknown if found is None else found)
            if ids[-1] is None:
                raise ValueError(
                    "encode_words: expected words in the vocabulary, since there is no unknown "
                    f"token, got {word!r} at index {len(ids) - 1}."
                )
        return np.array(ids, np.int32)

    def frame(self, ids: Any) -> np.ndarray:
        """Adds the start and the end token to ids, if there are such tokens."""
        start, end = (np.array([] if i is None else [i], np.int32) for i in (self.start, self.end))
        return np.concatenate([start, self._checked(ids, "frame"), end])

    def decode(self, ids: Any) -> str:
        """Returns the text of ids `[n]`; of the special tokens only the unknown token is shown.

        Words are joined with spaces; other tokens are concatenated. Invalid UTF-8 becomes U+FFFD.

        Raises:
          ValueError: if an id is not in the vocabulary.
        """
        ids = self._checked(ids, "decode")
        hidden = [i for i in (self.padding, self.start, self.end) if i is not None]
        return self.engine.decode(ids[~np.isin(ids, hidden)].tolist(), skip_special_tokens=False)

    @property
    def fingerprint(self) -> str:
        """A SHA-256 hash of all attributes, to compare with the vocabulary of a checkpoint."""
        return hashlib.sha256(json.dumps(self._fields()).encode()).hexdigest()

    def save(self, path: str | os.PathLike) -> None:
        """Writes the tokenizer to a JSON file, atomically.

        Raises:
          ValueError: if the path has a file that `save` did not write.
        """
        if os.path.exists(path) and os.path.getsize(path) and _kind_of(path) != _FORMAT:
            raise ValueError(
                f"{path}: expected a new file, or one that Tokenizer.save wrote, got another file. "
                "Pass another path."
            )
        content = json.dumps(_FORMAT | self._fields(), ensure_ascii=False, indent=0)
        with replacing(path) as file:
            file.write(content)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Tokenizer:
        """Reads a file that `save` wrote.

        Raises:
          ValueError: if the file is damaged, or was not written by `save`.
        """
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
        """The `tokenizers.Tokenizer` of Hugging Face that encodes and decodes."""
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

    def _encode_all(self, texts: Iterable[str], caller: str) -> Iterator[np.ndarray]:
        checked = checked_texts(texts, caller)
        while chunk := list(itertools.islice(checked, _CHUNK)):
            for text, encoding in zip(chunk, self.engine.encode_batch_fast(chunk), strict=True):
                ids = np.array(encoding.ids, np.int32)
                if self.specials.unknown is None and (ids == len(self)).any():
                    raise self._unknown_error(text, caller)
                yield ids

    def _unknown_error(self, text: str, caller: str) -> ValueError:
        encoding = self.engine.encode(text)
        begin, end = encoding.offsets[encoding.ids.index(len(self))]
        return ValueError(
            f"{caller}: expected text in the vocabulary, since there is no unknown token, got "
            f"{text[begin:end]!r} at position {begin} of {reprlib.repr(text)}."
        )

    def _checked(self, ids: Any, caller: str) -> np.ndarray:
        """Returns ids as an array; raises an error unless they are ids of this vocabulary."""
        array = np.asarray(ids)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise TypeError(
                f"{caller}: expected integers of shape [n], got {array.dtype} of shape "
                f"{list(array.shape)}. Pass the rows of a batch one by one."
            )
        wrong = np.flatnonzero((array < 0) | (array >= len(self)))
        if wrong.size:
            raise ValueError(
                f"{caller}: expected ids from 0 to {len(self) - 1}, for V = {len(self)}, got "
                f"{array[wrong[0]]} at position {wrong[0]}."
            )
        return array.astype(np.int32)


def _kind_of(path: str | os.PathLike) -> dict[str, Any] | None:
    """Returns the format and the version of a JSON file; None if it is not one."""
    try:
        fields = json.loads(read_text(path))
    except (ValueError, RecursionError):
        return None
    return {name: fields.get(name) for name in _FORMAT} if isinstance(fields, dict) else None
