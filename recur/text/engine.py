"""Tokenization with Hugging Face `tokenizers`, which only this file imports."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, Literal

Split = Literal["space", "punctuation", "characters", "bytes", "bpe"]
OF_BYTES = ("bytes", "bpe")
# The library writes a byte as a printable character; others become characters from U+0100 on.
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
    """Makes a `tokenizers.Tokenizer` with special tokens first, then entries.

    Without an unknown token, unknown pieces get the id V. Inside the engine, special tokens begin
    with a space, so that no piece of a text equals one: pieces with a space have one character.
    Only the unknown token has no space, so that it is recognized in texts.
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


def count_words(engine: Any, texts: Iterable[str], min_count: int) -> list[str]:
    """Returns words of texts, the most frequent first, then by code points; trains the engine."""
    trainer = _library().trainers.WordLevelTrainer(
        vocab_size=sys.maxsize, min_frequency=min_count, show_progress=False, special_tokens=[]
    )
    engine.train_from_iterator(texts, trainer)
    vocabulary = engine.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def learn_merges(engine: Any, texts: Iterable[str], size: int) -> list[tuple[str, str]]:
    """Learns merges up to `size` tokens, of pairs that occur twice; trains the engine."""
    trainer = _library().trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        initial_alphabet=list(BYTES),
        show_progress=False,
        special_tokens=[],
    )
    engine.train_from_iterator(texts, trainer)
    return [(left, right) for left, right in json.loads(engine.to_str())["model"]["merges"]]


def check_texts(caller: str, texts: Iterable[str]) -> Iterable[str]:
    """Returns `texts` if it is an iterable and not one string."""
    if isinstance(texts, str):
        raise TypeError(f"{caller}: expected several texts, got one string. Pass [text].")
    if not isinstance(texts, Iterable):
        raise TypeError(f"{caller}: expected several texts, got {type(texts).__name__}.")
    return texts


def checked_texts(texts: Iterable[str], caller: str) -> Iterator[str]:
    """Yields texts, and checks each of them when it is read."""
    for number, text in enumerate(check_texts(caller, texts)):
        if not isinstance(text, str):
            raise TypeError(
                f"{caller}: expected texts as strings, got {type(text).__name__} at index "
                f"{number}. Decode bytes, or join a list of words with spaces."
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{caller}: expected valid Unicode, got an unpaired surrogate, "
                f"{text[error.start]!r}, at position {error.start} of the text at index {number}. "
                "Read the file with its own encoding."
            ) from error
        yield text


def _words(split: Split, unknown: str | None) -> Any:
    """Makes the pre-tokenizer of words."""
    hf = _library()
    if split == "space":
        return hf.pre_tokenizers.WhitespaceSplit()
    whole = "" if unknown is None else f"{_whole(unknown)}|"
    word = hf.Regex(rf"{whole}\w+(?:['’]\w+)*|[^\w\s]")
    return hf.pre_tokenizers.Split(word, "removed", invert=True)


def _whole(name: str) -> str:
    """Returns a pattern that matches a name, but not as the beginning of a longer word."""
    return re.escape(name) + (r"(?!\w)" if re.search(r"\w$", name) else "")


def _library() -> ModuleType:
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(
            'Tokenizer needs Hugging Face tokenizers: pip install "recur-jax[text]".'
        ) from error
    return tokenizers
