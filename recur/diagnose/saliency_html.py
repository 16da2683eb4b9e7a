"""Text colored by values, as HTML for notebooks and pages."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from recur.diagnose.data import as_numbers

# Blue and vermilion of Okabe and Ito. They are transparent enough for black text on a light page
# and for light text on a dark one, in the color of the page.
_ABOVE, _BELOW = "0,114,178", "213,94,0"
_OPACITY = 0.5
_BOX = (
    "font-family:ui-monospace,monospace;font-size:14px;line-height:1.9;white-space:pre-wrap;"
    "overflow-wrap:anywhere"
)
_BAR = "display:inline-block;width:10em;height:1em;vertical-align:middle;margin:0 0.5em"
_UNDERLINE = "text-decoration:underline dashed 2px;text-underline-offset:3px"


@dataclasses.dataclass(frozen=True)
class Html:
    """A piece of HTML, which a notebook shows and `str` returns.

    Attributes:
      source: the HTML as a string, without references to other files.
    """

    source: str

    def _repr_html_(self) -> str:
        return self.source

    def __str__(self) -> str:
        return self.source


def saliency_html(tokens: Sequence[str], values: Any, *, title: str = "") -> Html:
    """Writes a text whose tokens are colored by values as HTML (saliency map).

    The color is the stronger the larger the absolute value is: blue above 0; orange and underlined
    below 0, so that the sign can be told without color. The text has the color of the page, light
    or dark. A legend has the limits, and each token shows its value under the pointer.

    Args:
      tokens: T strings, written with spaces between them; or a string, for a value of each
        character.
      values: T finite numbers, such as those of `input_gradients` or attention weights.
      title: text above the tokens.

    Returns:
      An `Html`: a notebook shows it, and `str` returns its source.

    Raises:
      TypeError: if tokens are not strings, or values not numbers.
      ValueError: if there is no token, or not a finite value for each.

    Example:
      >>> from recur.diagnose import saliency_html
      >>> page = saliency_html(["not", "<bad>"], [0.9, -0.3])
      >>> "&lt;bad&gt;" in str(page)
      True

    References:
      Simonyan, Vedaldi & Zisserman 2013, Deep inside convolutional networks: visualising image
      classification models and saliency maps, https://arxiv.org/abs/1312.6034
    """
    numbers = _check(tokens, values)
    largest = float(np.abs(numbers).max())
    spans = [_span(token, value, largest) for token, value in zip(tokens, numbers, strict=True)]
    text = ("" if isinstance(tokens, str) else " ").join(spans)
    head = f"<div><strong>{html.escape(title)}</strong></div>" if title else ""
    legend = _legend(largest, bool((numbers < 0).any()))
    return Html(f'<div style="{_BOX}">{head}<div>{text}</div>{legend}</div>')


def _span(token: str, value: float, largest: float) -> str:
    """A token on its color; a line feed is shown by a sign before it."""
    shown = html.escape(token).replace("\n", "↵\n")
    style = f"background:{_color(value, largest)};border-radius:2px"
    if value < 0:
        style += f";{_UNDERLINE}"
    return f'<span style="{style}" title="{value:.4g}">{shown}</span>'


def _color(value: float, largest: float) -> str:
    share = abs(value) / largest if largest else 0.0
    return f"rgba({_BELOW if value < 0 else _ABOVE},{_OPACITY * share:.3f})"


def _legend(largest: float, is_signed: bool) -> str:
    """A bar of the colors between its limits."""
    left = -largest if is_signed else 0.0
    colors = [
        _color(value, largest) for value in ((left, 0.0, largest) if left else (left, largest))
    ]
    first = f'<span style="{_UNDERLINE}">{left:.3g}</span>' if is_signed else "0"
    bar = f'<span style="{_BAR};background:linear-gradient(to right,{",".join(colors)})"></span>'
    return f'<div style="font-size:12px;margin-top:0.4em">{first}{bar}{largest:.3g}</div>'


def _check(tokens: Any, values: Any) -> np.ndarray:
    """Returns the values as floats `[T]`, for T tokens."""
    is_list = isinstance(tokens, Sequence) and not isinstance(tokens, bytes)
    if not is_list or not all(isinstance(token, str) for token in tokens):
        raise TypeError(
            f"saliency_html: expected tokens as a sequence of strings, got {tokens!r:.60}."
        )
    numbers = as_numbers("saliency_html: values", values)
    if not len(tokens) or numbers.shape != (len(tokens),):
        raise ValueError(
            f"saliency_html: expected a value for each of at least one token, got {len(tokens)} "
            f"tokens and values of shape {list(numbers.shape)}."
        )
    if not np.isfinite(numbers).all():
        raise ValueError("saliency_html: values: expected finite numbers, got others.")
    return numbers
