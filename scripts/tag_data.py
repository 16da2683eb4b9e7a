"""Tagged sentences: files in CoNLL columns, vocabularies, and examples."""

from __future__ import annotations

import pathlib
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from recur import runs
from recur.sequences import Example, Padded
from recur.text import Characters, Tokenizer, read_columns, read_lines, words

LETTERS = (1, 2, 3, 4)  # of the ends of a word
ENDINGS = 8192  # ends are hashed to so many ids
LONGEST = 16  # characters of a word; of a longer one, the first and the last eight count
_FILES = ("words.json", "characters.json", "tags.json")  # of a vocabulary


class Sentence(NamedTuple):
    """The words of a sentence and their tags; tags are empty in a file without them."""

    words: list[str]
    tags: list[str]


class Corpus(NamedTuple):
    """Tagged sentences."""

    training: list[Sentence]
    validation: list[Sentence]
    test: list[Sentence]


class Vocabulary(NamedTuple):
    """The words, characters and tags of the training sentences."""

    words: Tokenizer
    characters: Characters
    tags: tuple[str, ...]


def read_sentences(
    path: pathlib.Path, columns: Sequence[int], *, conllu: bool = False
) -> list[Sentence]:
    """Reads a file in columns: those of words and of tags, or that of words only."""
    found = read_columns(path, columns, conllu=conllu)
    return [Sentence(words, *(tags or [[]])) for words, *tags in found]


def read_corpus(
    files: Sequence[pathlib.Path], columns: Sequence[int], *, conllu: bool = False
) -> Corpus:
    """Reads three files, and checks that training has all tags of the others."""
    if len(files) != 3:
        raise ValueError(
            f"--files: expected three, for training, validation and test, got {len(files)}."
        )
    corpus = Corpus(*(read_sentences(path, columns, conllu=conllu) for path in files))
    known = {tag for sentence in corpus.training for tag in sentence.tags}
    for path, sentences in zip(files[1:], corpus[1:], strict=True):
        for tag in (tag for sentence in sentences for tag in sentence.tags):
            if tag not in known:
                raise ValueError(
                    f"{path}:{_row_with(tag, path, columns[1])}: expected a tag of {files[0]}, got "
                    f"{tag!r}, which is not there. Correct it, or choose another split."
                )
    return corpus


def _row_with(tag: str, path: pathlib.Path, column: int) -> int:
    """The first line of a file with this tag."""
    for row, line in enumerate(read_lines(path), start=1):
        cells = line.split("\t") if "\t" in line else line.split()
        if not line.startswith("#") and cells[column:][:1] == [tag]:
            return row
    return 0


def learn_vocabulary(sentences: Sequence[Sentence]) -> Vocabulary:
    """Collects the words, characters and tags of the training sentences."""
    texts = [" ".join(sentence.words) for sentence in sentences]
    tags = sorted({tag for sentence in sentences for tag in sentence.tags})
    return Vocabulary(words(texts), Characters.of(texts), tuple(tags))


def encode(vocabulary: Vocabulary, sentences: Sequence[Sentence]) -> list[Example]:
    """Converts sentences to examples: each step has a word, its ends, characters and tag."""
    tag_ids = {tag: number for number, tag in enumerate(vocabulary.tags)}

    def spell(word: str) -> np.ndarray:
        cut = word if len(word) <= LONGEST else word[: LONGEST // 2] + word[-LONGEST // 2 :]
        return vocabulary.characters.encode(cut)

    return [
        Example(
            {
                "word": vocabulary.words.encode_words(sentence.words),
                "endings": np.array([hash_endings(word) for word in sentence.words]),
                "characters": Padded.stack([spell(word) for word in sentence.words]),
                "tag": np.array(
                    [tag_ids[tag] for tag in sentence.tags] or [0] * len(sentence.words)
                ),
            }
        )
        for sentence in sentences
    ]


def hash_endings(word: str) -> list[int]:
    """Ids of the ends of a word, each with the kinds of its characters, such as "Aa-ing"."""
    kinds = {"A": str.isupper, "a": str.islower, "0": str.isdigit}
    kind = "".join(name for name, is_kind in kinds.items() if any(map(is_kind, word)))
    ends = [f"{kind}-{word[-count:].lower()}" for count in LETTERS]
    return [zlib.crc32(end.encode()) % ENDINGS for end in ends]


def as_columns(sentences: Iterable[Sequence[Sequence[str]]]) -> str:
    """Sentences in CoNLL columns: a word per line, and a blank line after each sentence."""
    lines = (["\t".join(row) for row in zip(*columns, strict=True)] for columns in sentences)
    return "".join("\n".join([*each, "", ""]) for each in lines)


def save_vocabulary(folder: pathlib.Path, vocabulary: Vocabulary) -> None:
    """Writes the words, characters and tags."""
    words, characters, tags = (folder / name for name in _FILES)
    vocabulary.words.save(words)
    runs.write_json(characters, vocabulary.characters.characters)
    runs.write_json(tags, list(vocabulary.tags))


def load_vocabulary(folder: pathlib.Path) -> Vocabulary:
    """Reads what `save_vocabulary` wrote."""
    words, characters, tags = (folder / name for name in _FILES)
    spelled = Characters(runs.read_json(characters, str))
    return Vocabulary(Tokenizer.load(words), spelled, tuple(runs.read_json(tags, list)))
