"""Corpora: text files, and the sources and documentation of Python, split reproducibly."""

from __future__ import annotations

import codecs
import hashlib
import inspect
import os
import pathlib
import re
import sysconfig
from collections.abc import Iterator, Mapping

from recur.checks import check_whole
from recur.text.prose import paragraphs_of

# Folders and files that are generated or of another kind: tables, tests and other packages.
_NO_SOURCE = {
    "__pycache__",
    "dist-packages",
    "encodings",
    "idle_test",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
}
_TABLES = {"html/entities.py", "stringprep.py"}

# Docstrings, and comments on their own lines. Other triple-quoted strings are mostly English too.
_EXPLANATION = re.compile(
    r"""("{3}|'{3})(.*?)\1|((?:^[ \t]*#[^\n]*\n)+)""", re.DOTALL | re.MULTILINE
)
_HASH = re.compile(r"^([ \t]*)#+ ?", re.MULTILINE)


def read_text(path: str | os.PathLike) -> str:
    r"""Reads a UTF-8 text file; errors name the line and the byte.

    Args:
      path: the file.

    Returns:
      The text, with line ends `\n`.

    Raises:
      OSError: if the file cannot be read.
      ValueError: if it is empty, binary or not UTF-8.

    Example:
      >>> from recur.text import read_text
      >>> "def read_text" in read_text(read_text.__code__.co_filename)
      True
    """
    data = pathlib.Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
    if not data:
        raise ValueError(f"{path}: expected a text, got an empty file.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}:{_line(data, error.start)}: expected a text in UTF-8, got the byte "
            f"0x{data[error.start]:02x}. Convert the file, such as with iconv -t UTF-8."
        ) from error
    if "\0" in text:
        raise ValueError(
            f"{path}:{_line(data, data.index(0))}: expected a text, got a binary file, with a zero "
            "byte."
        )
    return text.replace("\r\n", "\n")


def _line(data: bytes, position: int) -> int:
    """Returns the line number of a byte."""
    return data.count(b"\n", 0, position) + 1


def python_sources() -> dict[str, str]:
    """Returns the source code of Python's standard library, a corpus on every machine.

    Tests, encodings and generated tables are excluded.

    Returns:
      The texts by their relative paths, sorted.

    Raises:
      FileNotFoundError: if this Python is installed without its source.

    Example:
      >>> from recur.text import python_sources
      >>> "json/decoder.py" in python_sources()
      True
    """
    root = pathlib.Path(sysconfig.get_path("stdlib"))
    sources = {}
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        generated = name in _TABLES or path.name.startswith("_sysconfigdata")
        if not generated and path.stat().st_size and not _NO_SOURCE & set(name.split("/")[:-1]):
            sources[name] = read_text(path)
    if not sources:
        raise FileNotFoundError(
            f"{root}: expected the source of the standard library, got none. Use another Python, "
            "or your own text."
        )
    return sources


def documentation() -> dict[str, str]:
    """Returns Python's documentation in English, a corpus of sentences on every machine.

    It consists of the docstrings and comments of the standard library, and of the topics that
    `help` shows, if this Python has them. Text that is not English sentences is excluded, such as
    titles, tables, signatures and code; each sentence occurs once. Python 3.11 has 20,000
    sentences of 350,000 words and punctuation marks, 11,500 of them different.

    Returns:
      The texts by the path of the source, or by "topics/" and the topic, in a fixed order.
      Paragraphs are separated by blank lines, and sentences by spaces, as `sentences` splits them.

    Raises:
      FileNotFoundError: if this Python is installed without its source.

    Example:
      >>> from recur.text import documentation, sentences
      >>> texts = documentation()
      >>> sentences(texts["queue.py"])[0]
      'A multi-producer, multi-consumer queue.'
    """
    texts = {name: "\n\n".join(_explained(text)) for name, text in python_sources().items()}
    texts |= {f"topics/{name}": topic for name, topic in sorted(_topics().items())}
    seen: set[str] = set()
    kept = {}
    for name, text in texts.items():
        paragraphs = []
        for paragraph in paragraphs_of(text):
            paragraphs.append(" ".join(s for s in paragraph if s not in seen))
            seen.update(paragraph)
        kept[name] = "\n\n".join(filter(None, paragraphs))
    return {name: text for name, text in kept.items() if text}


def _explained(source: str) -> Iterator[str]:
    """Yields the docstrings and comments of a source file."""
    for found in _EXPLANATION.finditer(source):
        comment = found.group(3)
        yield _HASH.sub(r"\1", comment) if comment else inspect.cleandoc(found.group(2))


def _topics() -> Mapping[str, str]:
    """Returns the help topics of this Python, if it has them."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return {}
    return topics


def split_by_hash(texts: Mapping[str, str], one_in: int) -> tuple[dict[str, str], dict[str, str]]:
    """Splits texts into a training set and a held-out set by a hash of their names.

    The split of a text does not depend on the other texts, and is the same on every machine.

    Args:
      texts: texts by name.
      one_in: one text in `one_in` is held out on average.

    Returns:
      `(training, held_out)`.

    Raises:
      TypeError: if texts is not a mapping, or a name is not a string.
      ValueError: if one_in is not an int of at least 2.

    Example:
      >>> from recur.text import split_by_hash
      >>> training, held_out = split_by_hash({name: "..." for name in "abcdefgh"}, one_in=4)
      >>> sorted(held_out)
      ['d']
    """
    one_in = check_whole("split_by_hash: one_in", one_in, 2)
    if not isinstance(texts, Mapping):
        raise TypeError(
            f"split_by_hash: expected a mapping of names to texts, got {type(texts).__name__}."
        )
    for name in texts:
        if not isinstance(name, str):
            raise TypeError(f"split_by_hash: expected names as strings, got {name!r}.")

    def is_held_out(name):
        return int(hashlib.sha256(name.encode()).hexdigest(), 16) % one_in == 0

    training = {name: text for name, text in texts.items() if not is_held_out(name)}
    return training, {name: text for name, text in texts.items() if name not in training}
