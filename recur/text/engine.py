"""The one file that knows Hugging Face `tokenizers`: what cuts texts, finds ids, and counts."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, Literal

Split = Literal["space", "punctuation", "characters", "bytes", "bpe"]
OF_BYTES = ("bytes", "bpe")
# The library writes a byte as a printable character; what is none is one from U+0100 on.
_PRINTABLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
BYTES = tuple(chr(b if b in _PRINTABLE else 0x100 + _OTHERS.index(b)) for b in range(256))


def make_engine(
    split: Split,
    special: Sequence[str],
    unknown: str | None,
    entries: Sequence[str],
    merges: Sequence[tuple[str, str]],
    lowercase: bool,
) -> Any:
    """A `tokenizers.Tokenizer`: special tokens first, then entries; unknown pieces are V if None.

    However a text is cut, no piece of it is a special token: in here they have a space in front,
    and pieces with a space are of one character. The unknown has none, so that it is found.
    """
    hf = _library()
    ids = {name if name == unknown else f" {name}": i for i, name in enumerate(special)}
    ids |= {entry: i for i, entry in enumerate(entries, len(ids))}
    if unknown is None:
        ids["  "] = len(ids)
    stand_in = "  " if unknown is None else unknown

    if split in OF_BYTES:
        engine = hf.Tokenizer(hf.models.BPE(ids, list(merges)))
        engine.decoder = hf.decoders.ByteLevel()
        engine.pre_tokenizer = hf.pre_tokenizers.ByteLevel(
            add_prefix_space=False, use_regex=split == "bpe"
        )
    elif split == "characters":  # byte-pair encoding without pairs
        engine = hf.Tokenizer(hf.models.BPE(ids, [], unk_token=stand_in))
        engine.decoder = hf.decoders.Fuse()
    else:
        engine = hf.Tokenizer(hf.models.WordLevel(ids, stand_in))
        engine.pre_tokenizer = _words(split, unknown)
    if lowercase:
        engine.normalizer = hf.normalizers.Lowercase()
    return engine


def count_words(engine: Any, texts: Iterable[str]) -> list[str]:
    """The words of texts, the most frequent first and ties by code points; the engine is spent."""
    trainer = _library().trainers.WordLevelTrainer(
        vocab_size=sys.maxsize, show_progress=False, special_tokens=[]
    )
    engine.train_from_iterator(texts, trainer)
    vocabulary = engine.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def learn_merges(engine: Any, texts: Iterable[str], size: int) -> list[tuple[str, str]]:
    """The pairs that make `size` tokens of bytes, as many as come twice; the engine is spent."""
    trainer = _library().trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        initial_alphabet=list(BYTES),
        show_progress=False,
        special_tokens=[],
    )
    engine.train_from_iterator(texts, trainer)
    return [(left, right) for left, right in json.loads(engine.to_str())["model"]["merges"]]


def check_texts(asker: str, texts: Iterable[str]) -> Iterable[str]:
    """`texts`, when they are several; each is checked when it is read."""
    if isinstance(texts, str):
        raise TypeError(f"{asker}: expected several texts, got one string. Pass [text].")
    if not isinstance(texts, Iterable):
        raise TypeError(f"{asker}: expected several texts, got {type(texts).__name__}.")
    return texts


def checked_texts(texts: Iterable[str], asker: str) -> Iterator[str]:
    """Texts as they come, each of them checked."""
    for number, text in enumerate(check_texts(asker, texts)):
        if not isinstance(text, str):
            raise TypeError(
                f"{asker}: expected texts as strings, got {type(text).__name__} as number "
                f"{number}. Bytes are decoded first, and words of a list joined by spaces."
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{asker}: expected text, got half a surrogate pair, {text[error.start]!r}, at "
                f"{error.start} of text number {number}. Was a file read with another encoding?"
            ) from error
        yield text


def _words(split: Split, unknown: str | None) -> Any:
    hf = _library()
    if split == "space":
        return hf.pre_tokenizers.WhitespaceSplit()
    whole = "" if unknown is None else f"{_whole(unknown)}|"
    word = hf.Regex(rf"{whole}\w+(?:['’]\w+)*|[^\w\s]")
    return hf.pre_tokenizers.Split(word, "removed", invert=True)


def _whole(name: str) -> str:
    """A pattern of a name that no longer word begins with."""
    return re.escape(name) + (r"(?!\w)" if re.search(r"\w$", name) else "")


def _library() -> ModuleType:
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError('Tokenizers need a library: pip install "recur[text]".') from error
    return tokenizers
