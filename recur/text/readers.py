"""Readers of text files, line by line: files may be larger than memory."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator, Sequence

from recur.checks import check_flag, check_ids

_CHUNK = 1 << 16  # bytes that are read at once
_ID = re.compile(r"[1-9][0-9]*")
_NO_WORD = re.compile(r"[0-9]+[-.][0-9]+")  # 3-4, words written as one, and 3.1, a word unwritten


def read_lines(path: str | os.PathLike, encoding: str = "utf-8") -> Iterator[str]:
    r"""Reads a text line by line, as far as lines are asked for.

    Args:
      path: the file.
      encoding: how it was written; a byte order mark in front of UTF-8 is left out.

    Returns:
      An iterator of lines without their ends. They end at \n or \r\n, and nowhere else: not at a
      form feed or one of Unicode's separators, as `str.splitlines` has it. An iterator is spent
      after one reading: for another, ask again.

    Raises:
      OSError: when the file cannot be read.
      ValueError: when there is no such encoding, the file is empty or has nothing but blank lines;
        and, with the number of the line and the column, for bytes that are not of the encoding or
        are zero. All errors come when lines are asked for, those in a line when it is reached.

    Example:
      >>> from recur.text import read_lines
      >>> list(read_lines(read_lines.__code__.co_filename))[2]
      'from __future__ import annotations'
    """
    try:
        "a".encode(encoding)  # where a codec that is none of text, as "hex", is told from others
    except (LookupError, TypeError) as error:
        raise ValueError(f"{path}: expected the name of an encoding of text: {error}.") from error
    with open(path, "rb") as file:
        name = codecs.lookup(encoding).name
        yield from _lines(file, path, "utf-8-sig" if name == "utf-8" else name)


def read_pairs(path: str | os.PathLike, encoding: str = "utf-8") -> Iterator[tuple[str, str]]:
    r"""Reads pairs of texts, two columns with a tab between, as of a translation.

    Blank lines, of nothing but tabs and spaces, are skipped. There are no quotes: what stands in
    the columns is taken as it is.

    Args:
      path: the file.
      encoding: how it was written.

    Returns:
      An iterator of pairs, one a line.

    Raises:
      OSError: when the file cannot be read.
      ValueError: as of `read_lines`, and when a line has not two columns, or nothing in one.

    Example:
      >>> import pathlib, tempfile
      >>> from recur.text import read_pairs
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "pairs.tsv"
      ...     _ = path.write_text("a dog\tein Hund\na cat\teine Katze\n")
      ...     list(read_pairs(path))
      [('a dog', 'ein Hund'), ('a cat', 'eine Katze')]
    """
    for number, line in enumerate(read_lines(path, encoding), 1):
        if not _is_blank(line):
            cells = line.split("\t")
            if len(cells) != 2:
                raise ValueError(
                    f"{path}:{number}: expected two columns with a tab between, got {len(cells)}: "
                    f"{_short(line)}."
                )
            if any(map(_is_blank, cells)):
                raise ValueError(
                    f"{path}:{number}: expected text in both columns, got {_short(line)}."
                )
            yield cells[0], cells[1]


def read_columns(
    path: str | os.PathLike,
    columns: Sequence[int] = (0, 1),
    *,
    conllu: bool = False,
    encoding: str = "utf-8",
) -> Iterator[tuple[list[str], ...]]:
    r"""Reads sentences in columns, as of CoNLL: a word a line, and blank lines between.

    Columns are separated by tabs, or by spaces in a line without a tab. All else is text, such as
    the wide space U+3000; lines of nothing but tabs and spaces are blank.

    Args:
      path: the file.
      columns: which columns to read, counted from 0, or from the last with -1.
      conllu: whether the file is CoNLL-U, where lines that begin with "#" are comments, and the
        first column counts the words: ranges of words ("3-4") and words that are not in the text
        ("3.1") are skipped. In other files all these are words like any other.
      encoding: how it was written.

    Returns:
      An iterator of sentences, a list of strings for each of `columns`. A word may hold spaces:
      `Tokenizer.encode_words` gives each one id.

    Raises:
      OSError: when the file cannot be read.
      TypeError: when columns are no sequence of whole numbers, or conllu is no bool.
      ValueError: as of `read_lines`, and when a line has other columns than the first of its
        sentence, has not those asked for, has nothing in one, or is not of CoNLL-U; and when there
        is no sentence.

    Example:
      >>> import pathlib, tempfile
      >>> from recur.text import read_columns
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "tags.txt"
      ...     _ = path.write_text("Dogs NNS\nbark VBP\n\nCats NNS\n")
      ...     list(read_columns(path))
      [(['Dogs', 'bark'], ['NNS', 'VBP']), (['Cats'], ['NNS'])]
    """
    conllu = check_flag("read_columns: conllu", conllu)
    if isinstance(columns, str) or not isinstance(columns, Sequence) or not columns:
        raise TypeError(f"read_columns: expected columns as numbers, (0, 1), got {columns!r}.")
    columns = check_ids("read_columns: columns", columns)
    rows: list[list[str]] = []
    none_yet, width = True, 0
    for number, line in enumerate(read_lines(path, encoding), 1):
        place = f"{path}:{number}"
        if conllu and line.startswith("#"):
            continue
        if not _is_blank(line):
            cells = line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))
            width = len(cells) if not rows else width
            _check_row(place, line, cells, width, columns)
            if not conllu or _is_word(place, cells[0]):
                rows.append([cells[column] for column in columns])
        elif rows:
            yield tuple(map(list, zip(*rows, strict=True)))
            rows, none_yet = [], False
    if rows:
        yield tuple(map(list, zip(*rows, strict=True)))
    elif none_yet:
        raise ValueError(f"{path}: expected sentences in columns, got comments only.")


def _lines(file, path, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    number, begun, empty, blank, mistake = 1, [""], True, True, ""
    while not mistake:
        data = file.read(_CHUNK)
        text, mistake = _decode(decoder, data, encoding)
        empty &= not data
        *whole, rest = text.split("\n")
        for end in whole:
            line = "".join([*begun, end]).removesuffix("\r")
            blank &= _is_blank(line)
            yield line
            number, begun = number + 1, []
        begun.append(rest)
        if not data:
            break
    last = "".join(begun)
    if mistake:
        raise ValueError(
            f"{path}:{number}: {mistake} at column {len(last) + 1}. Name the "
            "encoding that the file has, or convert it (iconv)."
        )
    if last:
        yield last
    if blank and _is_blank(last):
        raise ValueError(
            f"{path}: expected a text, got {'an empty file' if empty else 'only blank lines'}."
        )


def _decode(decoder: codecs.IncrementalDecoder, data: bytes, encoding: str) -> tuple[str, str]:
    """The text of some bytes, up to a mistake in them, and what the mistake is."""
    state = decoder.getstate()
    mistake = ""
    try:
        text = decoder.decode(data, final=not data)
    except UnicodeDecodeError as error:
        decoder.setstate(state)
        # What is decoded begins with what was kept of the last chunk, and without a mark in front.
        good = len(data) - len(error.object) + error.start
        text = decoder.decode(data[: max(0, good)])
        name = encoding.removesuffix("-sig")
        mistake = f"expected text in {name}, got the byte 0x{error.object[error.start]:02x}"
    except UnicodeError as error:  # of UTF-16 and UTF-32 that do not say which way round they are
        text, mistake = "", f"expected text in {encoding}, got none ({error})"
    if "\0" in text:
        text = text[: text.index("\0")]
        mistake = "expected text, got a zero byte, as binary files have it,"
    return text, mistake


def _check_row(place: str, line: str, cells: list[str], width: int, columns: Sequence[int]) -> None:
    if len(cells) != width:
        raise ValueError(
            f"{place}: expected {width} columns, as the sentence began with, got {len(cells)}: "
            f"{_short(line)}. A blank line separates sentences."
        )
    for column in columns:
        if not -width <= column < width:
            raise ValueError(
                f"{place}: expected a column {column}, counted from 0, got {width} columns: "
                f"{_short(line)}."
            )
        if _is_blank(cells[column]):
            raise ValueError(f"{place}: expected text in column {column}, got {_short(line)}.")


def _is_word(place: str, cell: str) -> bool:
    """Whether a first cell of CoNLL-U numbers a word."""
    if not _ID.fullmatch(cell) and not _NO_WORD.fullmatch(cell):
        raise ValueError(
            f"{place}: expected the number of a word first, as CoNLL-U has it, got {_short(cell)}. "
            "Other columns are read with conllu=False."
        )
    return bool(_ID.fullmatch(cell))


def _is_blank(text: str) -> bool:
    """Whether nothing but separators is in a text; other white space of Unicode is text."""
    return not text.strip(" \t")


def _short(line: str) -> str:
    return repr(line if len(line) <= 60 else line[:57] + "...")
