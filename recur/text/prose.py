"""English sentences: splitting text into them, and finding them in documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A full stop after these does not end a sentence.
_ABBREVIATIONS = {
    *"a.k.a. al. approx. cf. dr. e.g. eq. esp. etc. fig. i.e. jr. mr. mrs. ms. p. pp.".split(),
    *"prof. resp. sr. st. viz. vol. vs.".split(),
}
_END = re.compile(r"""(?<=[.?!])["'”’)\]]*\s+(?=["'“‘(\[]*[A-Z])""")

_BULLET = re.compile(r"(?:[-*+•o]|\(?[0-9]{1,2}[.)])\s+(?=\S)")
_RULE = re.compile(r"[^\w\s](?:[^\w\s]|\s)*")  # a line of symbols, under a title or in a table
_MARKUP = re.compile(
    r"""\b(?:XXX|TODO|FIXME):?\s+|:[a-z:]+:(?=`)|`+|(?<![\w*])\*{1,2}(?=[\w("'])|(?<=[\w)"'])\*{1,2}(?![\w*])"""
)
_SENTENCE = re.compile(r"""["'“‘(]*[A-Z].*[.?!]["'”’)]*""")
_PLAIN = re.compile(r"""["'“‘(\[]*[A-Za-z]+(?:['’-][A-Za-z]+)*["'”’)\].,;:?!]*""")
_CODE = re.compile(r"[][=<>{}|\\@#$%^~_]|\(\w*\.|--")
# The most common words, which are frequent in sentences and rare in names, tables and code.
_COMMON = {
    *"a all an and any are as at be been but by can cannot do does each for from has have".split(),
    *"if in into is it its may more must no not of on one only or other should so such".split(),
    *"than that the their then there these they this to two used was when where which".split(),
    *"while will with would you your".split(),
}


def sentences(text: str) -> list[str]:
    r"""Splits English text into sentences, by rules.

    A sentence ends at a blank line, and at a full stop, question mark or exclamation mark (with its
    closing quotes and brackets) that is followed by white space and a capital letter. It does not
    end after a common abbreviation such as e.g., i.e., etc., cf., vs. or Dr. It does end after an
    initial, since "written in C." is more frequent than "J. Smith".

    Args:
      text: paragraphs separated by blank lines; the lines of each are joined.

    Returns:
      The sentences, each on one line.

    Raises:
      TypeError: if the text is not a string.

    Example:
      >>> from recur.text import sentences
      >>> sentences("It rains, e.g. In April. (\"Again?\") Bring\na coat!\n\nAn end")
      ['It rains, e.g. In April.', '("Again?")', 'Bring a coat!', 'An end']
    """
    if not isinstance(text, str):
        raise TypeError(f"sentences: expected text as a string, got {type(text).__name__}.")
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        paragraph = " ".join(paragraph.split())
        begin = 0
        for gap in _END.finditer(paragraph):
            word = paragraph[begin : gap.start()].rsplit(" ", 1)[-1].lstrip("\"'“‘([")
            if word.lower() not in _ABBREVIATIONS:
                found.append(paragraph[begin : gap.end()].rstrip())
                begin = gap.end()
        found.append(paragraph[begin:])
    return [sentence for sentence in found if sentence]


def paragraphs_of(documentation: str) -> Iterator[list[str]]:
    """Yields the English sentences of each paragraph of a docstring or a comment.

    Doctests, titles, tables, signatures, code, and other text that is not a sentence are excluded;
    markup is removed, and each item of a list is a paragraph.
    """
    for block in _blocks(documentation):
        whole = [s for s in sentences(_MARKUP.sub("", block)) if _is_english(s)]
        if whole:
            yield whole


def _blocks(documentation: str) -> Iterator[str]:
    """Yields blocks of lines that belong together, each joined to one line."""
    block: list[str] = []
    indent, is_doctest = 0, False
    for line in [*documentation.splitlines(), ""]:
        text = line.lstrip()
        here, bullet = len(line) - len(text), _BULLET.match(text)
        is_doctest = bool(text) and (is_doctest or text.startswith(">>>"))
        skipped = is_doctest or not text or _RULE.fullmatch(text)
        begins_quote = bool(block) and block[-1].endswith(":") and here > indent
        if block and (skipped or bullet or here < indent or begins_quote):
            yield " ".join(block)
            block = []
        if bullet:
            text = text[bullet.end() :]
        if not skipped:
            block.append(text)
        indent = here


def _is_english(sentence: str) -> bool:
    """Whether a string looks like an English sentence, and not like a title, table or code."""
    words = sentence.split()
    plain = sum(bool(_PLAIN.fullmatch(word)) for word in words)
    common = sum(word.strip("\"'“‘(.,;:)").lower() in _COMMON for word in words)
    code = sum(bool(_CODE.search(word)) for word in words)
    return (
        len(words) >= 4
        and bool(_SENTENCE.fullmatch(sentence))
        and plain >= 0.75 * len(words)
        and common >= 0.15 * len(words)
        and code <= 0.1 * len(words)
    )
