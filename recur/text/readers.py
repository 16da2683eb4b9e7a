"""Readers of text files, line by line, so files may be larger than memory."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator, Sequence

from recur.checks import check_flag, check_ids

_CHUNK = 1 << 16  # bytes to read at once
_ID = re.compile(r"[1-9][0-9]*")
_NO_WORD = re.compile(
    r"[0-9]+[-.][0-9]+"
)  # 3-4, words written as one, and 3.1, a word not in the text


def read_lines(path: str | os.PathLike, encoding: str = "utf-8") -> Iterator[str]:
    r"""Reads a text file lazily, line by line.

    Args:
      path: the file.
      encoding: its encoding; a UTF-8 byte order mark is removed.

    Returns:
      An iterator of lines without line ends. Lines end only at `\n` or `\r\n`, not at a form feed
      or a Unicode separator as in `str.splitlines`. The iterator can be used once.

    Raises:
      OSError: if the file cannot be read.
      ValueError: if the encoding is unknown, or the file is empty or has only blank lines; also
        for bytes that are zero or invalid in the encoding, with the line and the column. All errors
        are raised during iteration, those of a line when it is reached.

    Example:
      >>> from recur.text import read_lines
      >>> list(read_lines(read_lines.__code__.co_filename))[2]
      'from __future__ import annotations'
    """
    try:
        "a".encode(encoding)  # fails for codecs that are not text encodings, such as "hex"
    except (LookupError, TypeError) as error:
        raise ValueError(f"{path}: expected the name of a text encoding: {error}.") from error
    with open(path, "rb") as file:
        name = codecs.lookup(encoding).name
        yield from _lines(file, path, "utf-8-sig" if name == "utf-8" else name)


def read_pairs(path: str | os.PathLike, encoding: str = "utf-8") -> Iterator[tuple[str, str]]:
    r"""Reads pairs of texts from a tab-separated file, such as sentences and translations.

    Blank lines, with only tabs and spaces, are skipped. Quotes have no special meaning.

    Args:
      path: the file.
      encoding: its encoding.

    Returns:
      An iterator of pairs, one for each line.

    Raises:
      OSError: if the file cannot be read.
      ValueError: as in `read_lines`, and if a line does not have two columns, or one is empty.

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
                    f"{path}:{number}: expected two columns separated by a tab, got {len(cells)}: "
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
    r"""Reads tagged sentences in the CoNLL format: one word per line, blank lines between them.

    Columns are separated by tabs, or by spaces in a line without a tab. All other characters are
    text, such as the wide space U+3000. Lines with only tabs and spaces are blank.

    Args:
      path: the file.
      columns: the columns to read, counted from 0, or from the last with -1.
      conllu: whether the file is CoNLL-U. Lines that begin with "#" are then comments, and the
        first column is the index of the word; ranges of words ("3-4") and words that are not in the
        text ("3.1") are skipped.
      encoding: its encoding.

    Returns:
      An iterator of sentences, each a tuple with a list of strings for each of `columns`. A word
      may contain spaces: `Tokenizer.encode_words` maps it to one id.

    Raises:
      OSError: if the file cannot be read.
      TypeError: if columns is not a sequence of ints, or conllu is not a bool.
      ValueError: as in `read_lines`, and if the lines of a sentence differ in their number of
        columns, a column is missing or empty, a line is not CoNLL-U, or there is no sentence.

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
        raise TypeError(f"read_columns: expected columns as ints, such as (0, 1), got {columns!r}.")
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
    """Yields the lines of an open file; errors name the path and the line."""
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
            f"{path}:{number}: {mistake} at column {len(last) + 1}. Pass the "
            "encoding of the file, or convert it, such as with iconv."
        )
    if last:
        yield last
    if blank and _is_blank(last):
        raise ValueError(
            f"{path}: expected a text, got {'an empty file' if empty else 'only blank lines'}."
        )


def _decode(decoder: codecs.IncrementalDecoder, data: bytes, encoding: str) -> tuple[str, str]:
    """Decodes bytes up to the first error; returns the text and a description of the error."""
    state = decoder.getstate()
    mistake = ""
    try:
        text = decoder.decode(data, final=not data)
    except UnicodeError as error:
        # UTF-16 and UTF-32 without a byte order mark; from Python 3.13 on a UnicodeDecodeError too.
        if not isinstance(error, UnicodeDecodeError) or "BOM" in error.reason:
            return "", f"expected text in {encoding}, got invalid bytes ({error})"
        decoder.setstate(state)
        # The decoded bytes begin with those left over from the last chunk, without a BOM.
        good = len(data) - len(error.object) + error.start
        text = decoder.decode(data[: max(0, good)])
        name = encoding.removesuffix("-sig")
        mistake = f"expected text in {name}, got the byte 0x{error.object[error.start]:02x}"
    if "\0" in text:
        text = text[: text.index("\0")]
        mistake = "expected text, got a zero byte, as in binary files,"
    return text, mistake


def _check_row(place: str, line: str, cells: list[str], width: int, columns: Sequence[int]) -> None:
    if len(cells) != width:
        raise ValueError(
            f"{place}: expected {width} columns, as in the first line of the sentence, got "
            f"{len(cells)}: {_short(line)}. Separate sentences by blank lines."
        )
    for column in columns:
        if not -width <= column < width:
            raise ValueError(
                f"{place}: expected a column {column}, counted from 0, got only {width} columns: "
                f"{_short(line)}."
            )
        if _is_blank(cells[column]):
            raise ValueError(f"{place}: expected text in column {column}, got {_short(line)}.")


def _is_word(place: str, cell: str) -> bool:
    """Whether the first cell of a CoNLL-U line is the index of a word."""
    if not _ID.fullmatch(cell) and not _NO_WORD.fullmatch(cell):
        raise ValueError(
            f"{place}: expected the index of a word in the first column, as in CoNLL-U, got "
            f"{_short(cell)}. Read other files with conllu=False."
        )
    return bool(_ID.fullmatch(cell))


def _is_blank(text: str) -> bool:
    """Whether a text has only tabs and spaces; other Unicode white space is text."""
    return not text.strip(" \t")


def _short(line: str) -> str:
    """Returns the repr of a line, truncated to 60 characters."""
    return repr(line if len(line) <= 60 else line[:57] + "...")
