"""A picture of tagged sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recur.diagnose.figure import make_figure
from recur.diagnose.labels import AS_IT_IS

_WRONG = (0.9, 0.6, 0.0)  # orange, of Okabe and Ito
_COLUMNS = 110  # characters of a line
_WIDE = 0.072  # inches of a character
_LINE = 0.5  # inches of a word with its tags


def tagged(
    sentences: Sequence[tuple[Sequence[str], Sequence[str], Sequence[str]]], *, title: str = ""
) -> Any:
    """Plots tagged sentences: each word above its predicted tag, wrong tags marked.

    A wrong tag is on an orange, hatched background, and the target is written below it in brackets.

    Args:
      sentences: for each sentence its T words, their target tags and their predicted tags.
      title: title of the plot.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed; the extra `train` installs it.
      TypeError: if sentences are not a sequence of words, targets and predicted tags, or one of
        these is not a sequence of strings.
      ValueError: if there is no sentence, one has no words, or not as many tags as words.

    Example:
      >>> from recur.diagnose import tagged
      >>> figure = tagged([(["dogs", "bark"], ["NOUN", "VERB"], ["NOUN", "NOUN"])])
      >>> [text.get_text() for text in figure.axes[0].texts]
      ['dogs', 'NOUN', 'bark', 'NOUN', '(VERB)']
    """
    checked = _check(sentences)
    places, lines = [], 0.0
    for sentence in checked:
        found, used = _places(sentence)
        places.append([(column, lines + line) for column, line in found])
        lines += used + 0.4
    figure = make_figure(_WIDE * _COLUMNS + 0.3, _LINE * lines + 0.4, "none")
    height = figure.get_figheight()
    figure.suptitle(title, y=1 - 0.1 / height, va="top", **AS_IT_IS)
    axes = figure.add_axes((0.02, 0, 0.96, _LINE * lines / height))
    axes.set(xlim=(-0.5, _COLUMNS + 0.5), ylim=(lines, 0))
    axes.axis("off")
    for sentence, of_words in zip(checked, places, strict=True):
        for word, target, tag, place in zip(*sentence, of_words, strict=True):
            _write(axes, word, target, tag, place)
    return figure


def _places(sentence: Sequence[Sequence[str]]) -> tuple[list[tuple[int, int]], int]:
    """The first column and the line of each word, and the number of lines."""
    column, line, found = 0, 0, []
    for word, target, tag in zip(*sentence, strict=True):
        width = max(len(word), len(tag), 0 if target == tag else len(target) + 2)
        if column and column + width > _COLUMNS:
            column, line = 0, line + 1
        found.append((column, line))
        column += width + 1
    return found, line + 1


def _write(axes: Any, word: str, target: str, tag: str, place: tuple[float, float]) -> None:
    """Writes a word and its tag in a font of fixed width."""
    column, line = place
    style = {"family": "monospace", "va": "center", "parse_math": False}
    axes.text(column, line + 0.2, word, fontsize=8.5, **style)
    small = style | {"fontsize": 6.5, "color": "0.35"}
    if target == tag:
        axes.text(column, line + 0.5, tag, **small)
        return
    width = 0.85 * max(len(tag), len(target) + 2) + 0.5
    box = {"left": column - 0.3, "width": width, "height": 0.6, "align": "edge"}
    axes.barh(line + 0.35, **box, color=_WRONG, alpha=0.45, hatch="////", edgecolor="white")
    axes.text(column, line + 0.5, tag, **small | {"color": "black", "fontweight": "bold"})
    axes.text(column, line + 0.8, f"({target})", **small | {"color": "black"})


def _check(sentences: Any) -> list[tuple[list[str], list[str], list[str]]]:
    """Returns the sentences as lists, or raises an error."""
    if isinstance(sentences, str) or not isinstance(sentences, Sequence):
        raise TypeError(
            "tagged: expected sentences as a sequence of words, target tags and predicted tags, "
            f"got {type(sentences).__name__}."
        )
    if not sentences:
        raise ValueError("tagged: expected at least one sentence, got none.")
    checked = []
    for number, sentence in enumerate(sentences):
        if isinstance(sentence, str) or not isinstance(sentence, Sequence) or len(sentence) != 3:
            raise TypeError(
                f"tagged: sentence {number}: expected words, target tags and predicted tags, got "
                f"{sentence!r:.60}."
            )
        for part in sentence:
            is_list = isinstance(part, Sequence) and not isinstance(part, str)
            if not is_list or not all(isinstance(each, str) for each in part):
                raise TypeError(
                    f"tagged: sentence {number}: expected sequences of strings, got {part!r:.60}."
                )
        words, targets, tags = map(list, sentence)
        if not len(words) == len(targets) == len(tags) or not words:
            raise ValueError(
                f"tagged: sentence {number}: expected at least one word and a target and a "
                f"predicted tag for each, got {len(words)} words, {len(targets)} targets and "
                f"{len(tags)} predicted tags."
            )
        checked.append((words, targets, tags))
    return checked
