"""Tokenizers, vocabularies, and readers of text files."""

from recur.serialization import register_namedtuples
from recur.text.characters import BOUNDARY, UNKNOWN, Characters
from recur.text.corpora import documentation, python_sources, read_text, split_by_hash
from recur.text.prose import sentences
from recur.text.readers import read_columns, read_lines, read_pairs
from recur.text.tokenize import Specials, Tokenizer, bpe, characters, utf8_bytes, words

register_namedtuples()

__all__ = [
    "BOUNDARY",
    "Characters",
    "Specials",
    "Tokenizer",
    "UNKNOWN",
    "bpe",
    "characters",
    "documentation",
    "python_sources",
    "read_columns",
    "read_lines",
    "read_pairs",
    "read_text",
    "sentences",
    "split_by_hash",
    "utf8_bytes",
    "words",
]
