"""What a report is made of: sections with tables and pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, NamedTuple


class Picture(NamedTuple):
    """A picture.

    Attributes:
      name: the name of its file, without a suffix.
      caption: what it shows.
      png: the bytes of a PNG file.
      is_wide: whether it needs the whole width of a page.
      is_photo: whether its colors mean something, so that they are not inverted on dark pages.
    """

    name: str
    caption: str
    png: bytes
    is_wide: bool = False
    is_photo: bool = False


class Table(NamedTuple):
    """A table of texts; the last columns are numbers.

    Attributes:
      header: the names of the columns.
      rows: the rows.
      numbers: how many of the last columns are numbers.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: int


class Section(NamedTuple):
    """A section of a report.

    Attributes:
      title: its title.
      text: a paragraph.
      pictures: its pictures.
      tables: its tables.
    """

    title: str
    text: str = ""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()


def drawn(name: str, figure: Any, caption: str, *, is_wide: bool = False) -> Picture:
    """Makes a picture of a figure."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Picture(name, caption, file.getvalue(), is_wide)


def short(value: float) -> str:
    """Formats a number with four digits."""
    return f"{value:.4g}"
