"""Wrong inputs of texts and vocabularies: each is an error that says what was expected."""

import functools
import os

import pytest

from recur import text
from recur.text import (
    Characters,
    Specials,
    Tokenizer,
    bpe,
    characters,
    documentation,
    python_sources,
    read_columns,
    read_lines,
    read_pairs,
    read_text,
    sentences,
    split_by_hash,
    utf8_bytes,
    words,
)
from recur_tests.wrong_input import Row, check_five_rows, each_row

LETTERS = Characters("ban")
VOCABULARY = words(["to be or not to be"])
WITHOUT_UNKNOWN = words(["to be"], specials=Specials(unknown=None))


def rows(name, function, *cases):
    """Each case: positional and keyword arguments, the error, and its sentence."""
    return [
        Row(name, functools.partial(function, *args, **options), error, sentence)
        for args, options, error, sentence in cases
    ]


def no_texts(caller):
    as_strings = f"{caller}: expected texts as strings, got %s at index 0."
    return [
        (
            ("abc",),
            {},
            TypeError,
            f"{caller}: expected several texts, got one string. Pass [text].",
        ),
        ((None,), {}, TypeError, f"{caller}: expected several texts, got NoneType."),
        ((3,), {}, TypeError, f"{caller}: expected several texts, got int."),
        (([3],), {}, TypeError, as_strings % "int"),
        (([b"a"],), {}, TypeError, as_strings % "bytes"),
        (([["a"]],), {}, TypeError, as_strings % "list"),
        (
            (["\ud800"],),
            {},
            ValueError,
            f"{caller}: expected valid Unicode, got an unpaired surrogate",
        ),
    ]


def no_counts(caller, what):
    whole = f"{caller}: min_count: expected a whole number of at least 1, got "
    none = f"{caller}: expected texts with {what} that occur at least 2 times, got none."
    found = [((["a"],), {"min_count": 2}, ValueError, none)]
    return [*found, *(((["a"],), {"min_count": n}, ValueError, whole) for n in (0, 1.5, True))]


def no_sizes(caller, least, values):
    sentence = f"{caller}: size: expected a whole number of at least {least}, got "
    return [((["a b"], size), {}, ValueError, sentence) for size in values]


NO_SPECIALS = [
    ({"specials": value}, f"expected specials as Specials(...), got {type(value).__name__}.")
    for value in (None, 3, "<unk>", ("<pad>",))
]
NOTHING = "expected texts, got none, or only empty ones."
OF_VOCABULARIES = [
    *rows("words", words, *no_texts("words"), *no_sizes("words", 5, (3, 1.5, "9", True))),
    *rows("words", words, *no_counts("words", "words")),
    *rows("characters", characters, *no_texts("characters")),
    *rows("characters", characters, *no_counts("characters", "characters")),
    *rows("characters", characters, *no_sizes("characters", 5, (3, 1.5, "9", True))),
    *rows("bpe", functools.partial(bpe, size=300), *no_texts("bpe")),
    *rows("bpe", bpe, *no_sizes("bpe", 259, (9, None, 300.5, "300", True))),
    *rows(
        "words",
        words,
        (([],), {}, ValueError, f"words: {NOTHING}"),
        (
            (["a b"], 99),
            {},
            ValueError,
            "of at most 6, since the texts have 2 different words and",
        ),
        ((["a"],), {"split": "x"}, ValueError, "expected split='space' or 'punctuation', got 'x'."),
        ((["a"],), {"split": None}, ValueError, "split='space' or 'punctuation', got None."),
        ((["a"],), {"lowercase": 1}, TypeError, "expected lowercase as True or False, got 1."),
        *(((["a"],), options, TypeError, sentence) for options, sentence in NO_SPECIALS),
    ),
    *rows(
        "characters",
        characters,
        (([],), {}, ValueError, f"characters: {NOTHING}"),
        ((["a"], 99), {}, ValueError, "of at most 5, since the texts have 1 different characters"),
        *(((["a"],), options, TypeError, sentence) for options, sentence in NO_SPECIALS),
    ),
    *rows(
        "bpe",
        bpe,
        (
            (["a"], 300),
            {},
            ValueError,
            "the texts have 256 different bytes and pairs that occur tw",
        ),
        ((["a"], 300), {"specials": Specials()}, ValueError, "no unknown token with split='bpe'"),
        *(((["a"], 300), options, TypeError, sentence) for options, sentence in NO_SPECIALS),
    ),
    *rows(
        "utf8_bytes",
        utf8_bytes,
        ((), {"specials": Specials()}, ValueError, "expected no unknown token with split='bytes'"),
        ((), {"specials": Specials("a b", None)}, ValueError, "special tokens without spaces, got"),
        (
            (),
            {"specials": Specials("a", None, "a")},
            ValueError,
            "each special token once, got 'a'",
        ),
        ((), {"specials": Specials(3, None)}, TypeError, "expected tokens as strings, got 3."),
        *(((), options, TypeError, sentence) for options, sentence in NO_SPECIALS),
    ),
]
INTEGERS = "expected integers of shape [n], got "
NO_IDS = [
    *((ids, TypeError, INTEGERS) for ids in ([1.5], "a", None, [[1]], 3, [True])),
    *((ids, ValueError, "expected ids from 0 to 7, for V = 8, got ") for ids in ([99], [0, -1])),
]
NO_TEXT = "expected texts as strings, got "
OF_TOKENIZER = [
    *(
        row
        for name in ("decode", "frame")
        for ids, error, sentence in NO_IDS
        for row in rows(
            "Tokenizer", getattr(VOCABULARY, name), ((ids,), {}, error, f"{name}: {sentence}")
        )
    ),
    *rows(
        "Tokenizer",
        VOCABULARY.encode,
        *(((value,), {}, TypeError, f"encode: {NO_TEXT}") for value in (None, 3, ["a"], b"a")),
    ),
    *rows("Tokenizer", lambda texts: [*VOCABULARY.encode_all(texts)], *no_texts("encode_all")),
    *rows("Tokenizer", VOCABULARY.encode_words, *no_texts("encode_words")),
    *rows(
        "Tokenizer",
        VOCABULARY.id_of,
        (
            ("bee",),
            {},
            ValueError,
            "id_of: expected one of the 8 tokens of the vocabulary, got 'bee'. Did you",
        ),
        *(((v,), {}, TypeError, f"a token as a string, got {v!r}.") for v in (3, None, ["be"])),
    ),
    *rows(
        "Tokenizer",
        WITHOUT_UNKNOWN.encode,
        (("a",), {}, ValueError, "no unknown token, got 'a' at"),
    ),
    *rows(
        "Tokenizer",
        Tokenizer,
        (("x", Specials(), ()), {}, ValueError, "Tokenizer: expected split as one of ('space', "),
        (("space", None, ()), {}, TypeError, "expected specials as Specials(...), got NoneType."),
        *(
            (("space", Specials(), value), {}, TypeError, f"entries as a tuple, got {value!r}.")
            for value in (None, "ab", ["a"], 3)
        ),
        (("space", Specials(), ("a",), 3), {}, TypeError, "expected merges as a tuple, got 3."),
        (("space", Specials(), ("a",), ("ab",)), {}, TypeError, "merges as pairs of entries, got"),
        (("space", Specials(), (3,)), {}, TypeError, "expected tokens as strings, got 3."),
        (("space", Specials(), ("a",), ()), {"lowercase": 1}, TypeError, "True or False, got 1."),
    ),
]
OF_CHARACTERS = [
    *rows(
        "Characters",
        Characters,
        *(
            ((value,), {}, TypeError, "Characters: expected text as a string, got ")
            for value in (None, 3, b"ab", ["a", "b"])
        ),
        (("aa",), {}, ValueError, "Characters: expected each character once, got 'a' again."),
    ),
    *rows(
        "Characters",
        Characters.of,
        (("banana",), {}, TypeError, "Characters.of: expected several texts, got one string. Pass"),
        ((None,), {}, TypeError, "Characters.of: expected several texts, got NoneType."),
        (([b"a"],), {}, TypeError, "Characters.of: expected text as a string, got bytes."),
        *(
            ((["a"], value), {}, ValueError, "min_count: expected a whole number of at least 1")
            for value in (0, 1.5, "a", True)
        ),
    ),
    *(
        row
        for name in ("encode", "unknown_in")
        for row in rows(
            "Characters",
            getattr(LETTERS, name),
            *(
                ((value,), {}, TypeError, f"{name}: expected text as a string, got ")
                for value in (None, 3, b"a", ["a"])
            ),
        )
    ),
    *rows(
        "Characters",
        LETTERS.decode,
        *(
            ((value,), {}, TypeError, "decode: expected a sequence of whole numbers, got ")
            for value in (None, 3, "ab", [1.5], [[1]], [True])
        ),
        *(
            ((value,), {}, ValueError, "decode: expected ids from 0 to 4, the size of the vocab")
            for value in ([5], [-1])
        ),
    ),
]
OF_OTHERS = [
    *rows(
        "sentences",
        sentences,
        *(
            ((value,), {}, TypeError, "sentences: expected text as a string, got ")
            for value in (None, 3, b"A b.", ["A."], {})
        ),
    ),
    *rows(
        "split_by_hash",
        split_by_hash,
        *(
            (
                ({"a": "b"}, value),
                {},
                ValueError,
                "one_in: expected a whole number of at least 2, g",
            )
            for value in (1, 1.5, 2.5, None, "2", True)
        ),
        *(
            ((value, 2), {}, TypeError, "expected a mapping of names to texts, got ")
            for value in (None, ["a"], "abc")
        ),
        (({1: "b"}, 2), {}, TypeError, "split_by_hash: expected names as strings, got 1."),
    ),
]
FILES = {
    "empty": b"",
    "binary": b"a\0b",
    "latin": b"a\tb\n\xff",
    "blank": b"\n \n",
    "text": b"a b\nc d\n",
    "uneven": b"a b\nc\n",
    "three": b"a\tb\tc\n",
    "half": b"a\t \n",
}
NO_FILE = "expected str, bytes or os.PathLike object, not "


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)


def reader(read):
    return lambda *args, **options: [*read(*args, **options)]


READERS = {"read_lines": read_lines, "read_pairs": read_pairs, "read_columns": read_columns}
OF_READERS = [
    *(
        row
        for name, read in READERS.items()
        for row in rows(
            name,
            reader(read),
            (("none",), {}, FileNotFoundError, "No such file or directory: 'none'"),
            ((None,), {}, TypeError, f"{NO_FILE}NoneType"),
            ((3.5,), {}, TypeError, f"{NO_FILE}float"),
            (("empty",), {}, ValueError, "empty: expected a text, got an empty file."),
            (("blank",), {}, ValueError, "blank: expected a text, got only blank lines."),
            (
                ("binary",),
                {},
                ValueError,
                "binary:1: expected text, got a zero byte, as in binary fi",
            ),
            (
                ("latin",),
                {},
                ValueError,
                "latin:2: expected text in utf-8, got the byte 0xff at col",
            ),
            *(
                (
                    ("text",),
                    {"encoding": e},
                    ValueError,
                    "text: expected the name of a text encoding: ",
                )
                for e in ("klingon", "hex", None, 3)
            ),
        )
    ),
    *rows(
        "read_pairs",
        reader(read_pairs),
        (
            ("text",),
            {},
            ValueError,
            "text:1: expected two columns separated by a tab, got 1: 'a b'",
        ),
        (
            ("three",),
            {},
            ValueError,
            "expected two columns separated by a tab, got 3: 'a\\tb\\tc'.",
        ),
        (("half",), {}, ValueError, "half:1: expected text in both columns, got 'a\\t '."),
    ),
    *rows(
        "read_columns",
        reader(read_columns),
        (("uneven",), {}, ValueError, "uneven:2: expected 2 columns, as in the first line of the"),
        (
            ("text", (0, 5)),
            {},
            ValueError,
            "text:1: expected a column 5, counted from 0, got only ",
        ),
        (
            ("text",),
            {"conllu": True},
            ValueError,
            "expected the index of a word in the first column",
        ),
        (("text",), {"conllu": "yes"}, TypeError, "conllu: expected True or False, got 'yes'."),
        *(
            (("text", columns), {}, TypeError, "expected columns as ints, such as (0, 1), got ")
            for columns in (3, "ab", None, ())
        ),
        *(
            (("text", columns), {}, TypeError, "columns: expected a sequence of whole numbers, got")
            for columns in ((0.5,), (True,), ("a",))
        ),
    ),
    *rows(
        "read_text",
        read_text,
        (("none",), {}, FileNotFoundError, "No such file or directory: 'none'"),
        ((None,), {}, TypeError, "NoneType"),
        ((3,), {}, TypeError, "int"),
        (("empty",), {}, ValueError, "empty: expected a text, got an empty file."),
        (("binary",), {}, ValueError, "binary:1: expected a text, got a binary file, with a zero"),
        (("latin",), {}, ValueError, "latin:2: expected a text in UTF-8, got the byte 0xff."),
    ),
    *rows(
        "Tokenizer",
        Tokenizer.load,
        (("none",), {}, FileNotFoundError, "No such file or directory: 'none'"),
        (("text",), {}, ValueError, "text: expected the JSON of Tokenizer.save, got "),
        (("empty",), {}, ValueError, "empty: expected a text, got an empty file."),
        ((None,), {}, TypeError, "NoneType"),
    ),
    *rows(
        "Tokenizer",
        VOCABULARY.save,
        (("text",), {}, ValueError, "text: expected a new file, or one that Tokenizer.save wrote"),
        ((os.curdir,), {}, IsADirectoryError, "Is a directory"),
    ),
]
ROWS = [*OF_VOCABULARIES, *OF_TOKENIZER, *OF_CHARACTERS, *OF_OTHERS, *OF_READERS]


@pytest.mark.usefixtures("folder")
@each_row(ROWS)
def test_wrong_input(row):
    row.check()


def test_every_function_has_five():
    check_five_rows(text, ROWS, besides=[documentation, python_sources])
