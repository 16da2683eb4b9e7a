"""Sentence pairs of `translate.py` and their tokens: parallel files, or dates and ISO format."""

from __future__ import annotations

import datetime
import pathlib
import random
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from recur.sequences import Batch, Example, Padded, make_batches, pad
from recur.text import Tokenizer, bpe, characters, read_lines, words


class Pair(NamedTuple):
    """A sentence, its translation, and the place of both for messages."""

    source: str
    target: str
    place: str = ""


def read_parallel(paths: Sequence[pathlib.Path], option: str) -> list[Pair]:
    """Reads two files with a sentence per line, the second with the translations of the first.

    Raises:
      ValueError: unless there are two files of as many lines, none of them blank.
    """
    if len(paths) != 2:
        raise ValueError(f"{option}: expected two files, SOURCE TARGET, got {len(paths)}.")
    sources, targets = (list(read_lines(path)) for path in paths)
    if len(sources) != len(targets):
        raise ValueError(
            f"{paths[1]}: expected as many lines as in {paths[0]}, {len(sources):,}, got "
            f"{len(targets):,}."
        )
    for path, lines in zip(paths, (sources, targets), strict=True):
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                raise ValueError(f"{path}:{number}: expected a sentence, got a blank line.")
    numbered = enumerate(zip(sources, targets, strict=True), start=1)
    return [Pair(*pair, f"{paths[1]}:{number}") for number, pair in numbered]


class Languages(NamedTuple):
    """The tokenizers of both languages."""

    source: Tokenizer
    target: Tokenizer


def make_tokenizer(texts: Sequence[str], options: Any) -> Tokenizer:
    """Trains the tokenizer of a language."""
    if options.tokens == "bpe":
        return bpe(texts, options.bpe_size)
    make = {"words": words, "characters": characters}[options.tokens]
    return make(texts, min_count=options.min_count)


def encode_source(text: str, languages: Languages, options: Any) -> Padded:
    """Returns the ids of a sentence to translate, with the end token, as the encoder reads them."""
    ids = languages.source.encode(text)
    ids = np.append(ids[::-1] if options.reverse_source else ids, languages.source.end)
    return Padded(ids.astype(np.int32))


def encode(pairs: Iterable[Pair], languages: Languages, options: Any) -> list[Example]:
    """Returns examples with the steps of the decoder, and the source in the context."""
    examples = []
    for pair in pairs:
        ids = languages.target.frame(languages.target.encode(pair.target))
        if pair.place and len(ids) - 1 > options.max_length:
            raise ValueError(
                f"{pair.place}: expected a translation of at most {options.max_length - 1} tokens, "
                f"got {len(ids) - 2}. Increase --max-length."
            )
        source = encode_source(pair.source, languages, options)
        examples.append(Example({"input": ids[:-1], "target": ids[1:]}, context={"source": source}))
    return examples


def show(tokenizer: Tokenizer, ids: Iterable[int]) -> list[str]:
    """The tokens of ids, with spaces that can be seen."""
    return [tokenizer.tokens[i].replace(" ", "␣") for i in ids]


def make_alike(*parts: list[Example], batch_size: int) -> list[list[Batch]]:
    """Makes batches of several parts of the data, all of one shape, so that one program runs."""
    sizes = [
        (len(e.steps["input"]), len(e.context["source"].steps)) for part in parts for e in part
    ]
    layout = pad(tuple(map(max, *sizes)))
    return [make_batches(part, layout, batch_size) for part in parts]


# --- Dates ---------------------------------------------------------------------------------------

FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)  # one year for two digits
FORMATS = (
    "{d} {month} {y}",
    "{month} {d}, {y}",
    "{d} {mon} {y}",
    "{mon} {d} {y}",
    "{weekday}, {d} {month} {y}",
    "{weekday} {month} {nth}, {y}",
    "the {nth} of {month}, {y}",
    "{d:02}/{m:02}/{y}",
    "{d}.{m}.{y}",
    "{d:02}-{mon}-{yy:02}",
    "{d:02}.{m:02}.{yy:02}",
    "{y}/{m:02}/{d:02}",
    "{y} {mon} {d:02}",
)


def write_date(day: datetime.date, form: str) -> str:
    """Writes a date in one of the formats."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10 * (day.day // 10 != 1), "th")
    return form.format(
        d=day.day,
        m=day.month,
        y=day.year,
        yy=day.year % 100,
        nth=f"{day.day}{ending}",
        month=day.strftime("%B").lower(),
        mon=day.strftime("%b").lower(),
        weekday=day.strftime("%A").lower(),
    )


def make_dates(days: int, seed: int) -> list[Pair]:
    """Draws different days, each written in three ways, with its ISO format as the translation."""
    draws = random.Random(seed)
    chosen = draws.sample(range((LAST - FIRST).days + 1), days)
    pairs = []
    for number in chosen:
        day = FIRST + datetime.timedelta(number)
        pairs += [Pair(write_date(day, form), day.isoformat()) for form in draws.sample(FORMATS, 3)]
    return pairs
