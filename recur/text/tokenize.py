"""Tokenizers trained on texts: words, characters, bytes and byte-pair encoding (BPE).

Which to choose: `words` for models of words, where about 1 in 20 may be unknown; `bpe` where no
word may be unknown, such as in translation; `characters` and `utf8_bytes` for models of spelling.
They use Hugging Face `tokenizers`, which encodes 1 to 3 million characters a second. For long texts
of characters, `recur.text.Characters` uses NumPy and encodes about 70 million a second.
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
_WHAT = {"words": "words", "characters": "characters", "bpe": "bytes and pairs that occur twice"}


def words(
    texts: Iterable[str],
    size: int | None = None,
    *,
    min_count: int = 1,
    specials: Specials = Specials(),
    split: Literal["space", "punctuation"] = "space",
    lowercase: bool = False,
) -> Tokenizer:
    """Trains a word tokenizer: keeps the most frequent words, others become the unknown token.

    `decode` joins words with single spaces. With split="space" and without lowercase this restores
    the text, if it has only single spaces and no unknown words.

    Args:
      texts: the texts, such as lines of a file; they are read once and not kept.
      size: V, including the special tokens; None keeps every word. Words with the same frequency
        are ordered by code points.
      min_count: words that occur less often are left out.
      specials: the special tokens. Without an unknown token, unknown words raise an error.
      split: "space" splits only at white space, for corpora that are already tokenized;
        "punctuation" also separates punctuation marks, except apostrophes inside a word.
      lowercase: whether to convert texts to lower case first.

    Returns:
      A `Tokenizer` with the most frequent entries first.

    Raises:
      ImportError: if `tokenizers` is not installed.
      TypeError: if texts is one string, or does not contain strings.
      ValueError: if there are fewer words than `size` needs, or none that occurs `min_count` times,
        or size has no room for one.

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
            "words: expected the unknown token in lower case, since lowercase=True, got "
            f"{specials.unknown!r}."
        )
    room = _room("words", learner, size)
    min_count = check_whole("words: min_count", min_count, 1)
    found = count_words(learner.engine, checked_texts(texts, "words"), min_count)
    return _keep("words", learner, found, room, min_count)


def characters(
    texts: Iterable[str],
    size: int | None = None,
    *,
    min_count: int = 1,
    specials: Specials = Specials(),
) -> Tokenizer:
    """Trains a character tokenizer: keeps the most frequent characters, including white space.

    Text without unknown characters is decoded exactly.

    Args:
      texts: the texts; they are read once and not kept.
      size: V, including the special tokens; None keeps every character. Characters with the same
        frequency are ordered by code points.
      min_count: characters that occur less often are left out.
      specials: the special tokens. Without an unknown token, unknown characters raise an error.

    Returns:
      A `Tokenizer` with the most frequent entries first.

    Raises:
      ImportError: if `tokenizers` is not installed.
      TypeError: if texts is one string, or does not contain strings.
      ValueError: if there are fewer characters than `size` needs, or none that occurs `min_count`
        times, or size has no room for one.

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
    min_count = check_whole("characters: min_count", min_count, 1)
    counts: collections.Counter[str] = collections.Counter()
    for text in checked_texts(texts, "characters"):
        counts.update(text)
    frequent = [c for c, count in counts.items() if count >= min_count]
    found = sorted(frequent, key=lambda c: (-counts[c], c))
    return _keep("characters", learner, found, room, min_count)


def utf8_bytes(*, specials: Specials = _NO_UNKNOWN) -> Tokenizer:
    """Makes a byte tokenizer: the tokens are the 256 bytes of UTF-8, so none is unknown.

    Every text is decoded exactly.

    Args:
      specials: the special tokens, without an unknown token.

    Returns:
      A `Tokenizer`. The id of a byte is its value plus the number of special tokens.

    Raises:
      ImportError: if `tokenizers` is not installed.
      ValueError: if specials has an unknown token.

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
    """Trains a byte-pair encoding (BPE) of bytes.

    The most frequent pair of adjacent tokens becomes a token, starting from bytes, until there are
    `size` tokens. Pairs do not cross words; a space belongs to the word after it. Every text is
    decoded exactly.

    Args:
      texts: the texts; they are read once, and each different word is kept in memory.
      size: V, including the special tokens and the 256 bytes.
      specials: the special tokens, without an unknown token.

    Returns:
      A `Tokenizer` whose entries are the bytes, then the pairs in the order in which they were
      merged. They are written as in Hugging Face `tokenizers`, each byte as a character: "Ġ" is the
      space.

    Raises:
      ImportError: if `tokenizers` is not installed.
      TypeError: if texts is one string, or does not contain strings.
      ValueError: if specials has an unknown token, `size` has no room for the bytes, or there are
        too few pairs that occur twice.

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


def _room(caller: str, learner: Tokenizer, size: int | None) -> int | None:
    """Returns the number of entries that fit into `size` with the special tokens."""
    special = len(learner.specials.names)
    return None if size is None else check_whole(f"{caller}: size", size, special + 1) - special


def _keep(
    caller: str, learner: Tokenizer, found: list[str], room: int | None, min_count: int
) -> Tokenizer:
    """Keeps the first entries found, without the unknown token if it occurs in the texts."""
    found = [entry for entry in found if entry != learner.specials.unknown]
    if not found and min_count > 1:
        raise ValueError(
            f"{caller}: expected texts with {_WHAT[caller]} that occur at least {min_count} times, "
            "got none. Pass a smaller min_count."
        )
    _check_room(caller, learner, len(found), room)
    return dataclasses.replace(learner, entries=tuple(found[:room]))


def _check_room(caller: str, learner: Tokenizer, found: int, room: int | None) -> None:
    special = len(learner.specials.names)
    if not found:
        raise ValueError(
            f"{caller}: expected texts, got none, or only empty ones. An iterator can be read only "
            "once: make it again."
        )
    if room is not None and room > found:
        raise ValueError(
            f"{caller}: expected size of at most {found + special}, since the texts have {found} "
            f"different {_WHAT[caller]} and there are {special} special tokens, got size="
            f"{room + special}."
        )
