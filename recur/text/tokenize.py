"""Vocabularies learned of texts: words, characters, bytes and pairs of bytes.

Which to take: `words` where words are what is modelled, and 1 in 20 or so may be unknown; `bpe`
where nothing may be, as in translation; `characters` and `utf8_bytes` where spelling is the point.
`recur.text.Characters` is for long texts of characters alone: it is NumPy and reads some 70 million
a second, where Hugging Face `tokenizers`, which does the work here, reads 1 to 3 million.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable
from typing import Literal

from recur.checks import check_whole
from recur.text.engine import BYTES, checked_texts, count_words, learn_merges
from recur.text.vocabulary import Specials, Tokenizer

_NO_UNKNOWN = Specials(unknown=None)
_WHAT = {"words": "words", "characters": "characters", "bpe": "bytes and pairs that come twice"}


def words(
    texts: Iterable[str],
    size: int | None = None,
    *,
    specials: Specials = Specials(),
    split: Literal["space", "punctuation"] = "space",
    lowercase: bool = False,
) -> Tokenizer:
    """Keeps the most frequent words of texts; all others become the unknown token.

    Decoded, words are joined by single spaces; cut at spaces, and not put into lower case, that is
    the text again where it had no other spaces and no unknown words.

    Args:
      texts: the texts, as lines of a file; they are read once and not kept.
      size: V, the special tokens included; None keeps every word. Of words that come equally often
        the first in the order of code points are kept.
      specials: the special tokens. Without an unknown one, what the vocabulary has not is an error.
      split: "space" cuts at white space only, for corpora that are tokenized already;
        "punctuation" cuts each punctuation mark off too, but for apostrophes within a word.
      lowercase: puts texts into lower case first.

    Returns:
      A `Tokenizer`, its entries the most frequent first.

    Raises:
      ImportError: without `tokenizers`.
      TypeError: when texts are not strings, or are one.
      ValueError: when there are no words, fewer than `size` asks for, or no room for any.

    Example:
      >>> from recur.text import words
      >>> vocabulary = words(["The cat sat.", "The dog isn't the cat."], 8, split="punctuation",
      ...                    lowercase=True)
      >>> vocabulary.tokens[4:]
      ('the', '.', 'cat', 'dog')
      >>> vocabulary.decode(vocabulary.encode("The dog sat."))
      'the dog <unk> .'
    """
    if split not in ("space", "punctuation"):
        raise ValueError(f"words: expected split='space' or 'punctuation', got {split!r}.")
    learner = Tokenizer(split, specials, (), lowercase=lowercase)
    if lowercase and specials.unknown and specials.unknown != specials.unknown.lower():
        raise ValueError(
            "words: expected the unknown token in lower case, as the texts will be, got "
            f"{specials.unknown!r}."
        )
    room = _room("words", learner, size)
    found = count_words(learner.engine, checked_texts(texts, "words"))
    return _keep("words", learner, found, room)


def characters(
    texts: Iterable[str], size: int | None = None, *, specials: Specials = Specials()
) -> Tokenizer:
    """Keeps the most frequent characters of texts, spaces and ends of lines among them.

    What has no unknown character is decoded to the very text that was encoded.

    Args:
      texts: the texts; they are read once and not kept.
      size: V, the special tokens included; None keeps every character. Of those that come equally
        often the first in the order of code points are kept.
      specials: the special tokens. Without an unknown one, what the vocabulary has not is an error.

    Returns:
      A `Tokenizer`, its entries the most frequent first.

    Raises:
      ImportError: without `tokenizers`.
      TypeError: when texts are not strings, or are one.
      ValueError: when there are no characters, fewer than `size` asks for, or no room for any.

    Example:
      >>> from recur.text import characters
      >>> vocabulary = characters(["banana"])
      >>> vocabulary.tokens
      ('<pad>', '<unk>', '<s>', '</s>', 'a', 'n', 'b')
      >>> vocabulary.decode(vocabulary.encode("nab!"))
      'nab<unk>'
    """
    learner = Tokenizer("characters", specials, ())
    room = _room("characters", learner, size)
    counts: collections.Counter[str] = collections.Counter()
    for text in checked_texts(texts, "characters"):
        counts.update(text)
    found = sorted(counts, key=lambda c: (-counts[c], c))
    return _keep("characters", learner, found, room)


def utf8_bytes(*, specials: Specials = _NO_UNKNOWN) -> Tokenizer:
    """The 256 bytes, in their order, for the UTF-8 of any text; nothing is unknown.

    Every text is decoded as it was.

    Args:
      specials: the special tokens, the unknown None.

    Returns:
      A `Tokenizer`. A byte's id is the byte and the number of special tokens.

    Raises:
      ImportError: without `tokenizers`.
      ValueError: when there is an unknown token.

    Example:
      >>> from recur.text import utf8_bytes
      >>> vocabulary = utf8_bytes()
      >>> len(vocabulary), vocabulary.encode("Aé").tolist()
      (259, [68, 198, 172])
      >>> vocabulary.decode([68, 198, 172])
      'Aé'
    """
    return Tokenizer("bytes", specials, BYTES)


def bpe(texts: Iterable[str], size: int, *, specials: Specials = _NO_UNKNOWN) -> Tokenizer:
    """Byte-pair encoding: the most frequent pair of neighbours in texts becomes a token.

    So it goes on, with bytes first and then with what was made of them, until there are `size`
    tokens. Pairs never reach from one word into the next; a space belongs to the word behind it.
    Every text is decoded as it was.

    Args:
      texts: the texts; they are read once, and each different word is kept.
      size: V, the special tokens and the 256 bytes included.
      specials: the special tokens, the unknown None.

    Returns:
      A `Tokenizer`, its entries the bytes and then the pairs in the order they were found. They are
      written as the library does, each byte as a character: "Ġ" is the space.

    Raises:
      ImportError: without `tokenizers`.
      TypeError: when texts are not strings, or are one.
      ValueError: when there is an unknown token, `size` has no room for the bytes, or there are
        fewer pairs that come twice.

    Example:
      >>> from recur.text import bpe
      >>> vocabulary = bpe(["the thin thing", "the theme"], 263)
      >>> [vocabulary.tokens[i] for i in vocabulary.encode("the thief")]
      ['the', 'Ġth', 'i', 'e', 'f']
      >>> vocabulary.decode(vocabulary.encode("the thief"))
      'the thief'

    References:
      Sennrich, Haddow & Birch 2016, Neural machine translation of rare words with subword units,
      https://arxiv.org/abs/1508.07909
    """
    learner = Tokenizer("bpe", specials, BYTES)
    room = check_whole("bpe: size", size, len(learner)) - len(specials.names)
    merges = learn_merges(learner.engine, checked_texts(texts, "bpe"), room)
    entries = list(dict.fromkeys([*BYTES, *(left + right for left, right in merges)]))
    _check_room("bpe", learner, len(entries), room)
    return dataclasses.replace(learner, entries=tuple(entries), merges=tuple(merges))


def _room(asker: str, learner: Tokenizer, size: int | None) -> int | None:
    """How many entries there may be beside the special tokens."""
    special = len(learner.specials.names)
    return None if size is None else check_whole(f"{asker}: size", size, special + 1) - special


def _keep(asker: str, learner: Tokenizer, found: list[str], room: int | None) -> Tokenizer:
    """The first entries of what was found, the unknown token, typed in the texts, not counted."""
    found = [entry for entry in found if entry != learner.specials.unknown]
    _check_room(asker, learner, len(found), room)
    return dataclasses.replace(learner, entries=tuple(found[:room]))


def _check_room(asker: str, learner: Tokenizer, found: int, room: int | None) -> None:
    special = len(learner.specials.names)
    if not found:
        raise ValueError(
            f"{asker}: expected texts, got none, or empty ones. An iterator is spent after one "
            "reading: make it again."
        )
    if room is not None and room > found:
        raise ValueError(
            f"{asker}: the texts have {found} different {_WHAT[asker]}, which makes size at most "
            f"{found + special} with the special tokens, got size={room + special}."
        )
