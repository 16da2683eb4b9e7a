"""Grids of pictures with a text over each, such as captions or predicted classes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from recur.checks import check_whole
from recur.diagnose.figure import make_figure
from recur.diagnose.labels import AS_IT_IS

_NEEDED = ("images", "titles")
_WIDTH = 28  # characters of a line
_RIGHT, _WRONG = ("C0", "-"), ("C1", "--")  # blue and orange differ without color vision


def image_grid(
    images: Sequence[Any],
    titles: Sequence[str],
    *,
    right: Sequence[bool] | None = None,
    weights: Sequence[Any] | None = None,
    columns: int = 4,
    title: str = "",
) -> Any:
    """Draws images in a grid, with a title over each and attention weights over the pixels.

    With `right`, images are framed: a blue line is right, a broken orange line is wrong. With
    `weights`, pixels without weight are dark, so what was attended to is bright.

    Args:
      images: N images, `[H, W]` in grey from the least to the largest value, or `[H, W, 3]` in
        colors, uint8 or floats from 0 to 1.
      titles: N titles, such as captions; long ones are wrapped.
      right: N bools, whether each title is right.
      weights: for each image, weights `[h, w]` of a grid over it, real and at least 0.
      columns: the number of columns.
      title: title of the figure.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed; the extra `train` installs it.
      TypeError: if the titles are not a sequence of strings, or images not arrays of numbers.
      ValueError: if there is no image, an image or weights have another shape or values, or there
        are not as many titles, bools or weights as images.

    Example:
      >>> import numpy as np
      >>> from recur.diagnose import image_grid
      >>> figure = image_grid(np.zeros((2, 8, 8)), ["a circle", "a cross"], right=[True, False])
      >>> [axes.get_title() for axes in figure.axes]
      ['✓ a circle', '✗ a cross']

    References:
      Xu et al. 2015, Show, Attend and Tell: Neural Image Caption Generation with Visual Attention,
      https://arxiv.org/abs/1502.03044 (attention over the picture, for each word)
    """
    _check_counts(images, titles, right, weights)
    checked = [_check_image(number, image) for number, image in enumerate(images)]
    shades = None if weights is None else [_check_weights(n, w) for n, w in enumerate(weights)]
    columns = min(check_whole("image_grid: columns", columns, 1), len(checked))
    rows = -(-len(checked) // columns)
    lines = [_wrapped(text, None if right is None else right[n]) for n, text in enumerate(titles)]
    height = 1.9 + 0.17 * max(text.count("\n") + 1 for text in lines)
    figure = make_figure(2.1 * columns, height * rows + 0.4 * bool(title))
    figure.suptitle(title, **AS_IT_IS)
    for number, (image, text) in enumerate(zip(checked, lines, strict=True)):
        axes = figure.add_subplot(rows, columns, number + 1, xticks=[], yticks=[])
        axes.imshow(image, cmap="gray", interpolation="nearest")
        axes.set_title(text, fontsize=8, **AS_IT_IS)
        if shades is not None:
            axes.imshow(_shade(shades[number]), extent=axes.images[0].get_extent())
        if right is not None:
            color, style = _RIGHT if right[number] else _WRONG
            for spine in axes.spines.values():
                spine.set(color=color, linestyle=style, linewidth=2.5)
    return figure


def _wrapped(text: str, right: bool | None) -> str:
    """Returns a title in short lines, with a mark if it is right or wrong."""
    mark = "" if right is None else "✓ " if right else "✗ "
    return "\n".join(textwrap.wrap(mark + text, _WIDTH))


def _shade(weights: np.ndarray) -> np.ndarray:
    """Returns black RGBA `[h, w, 4]`, the less opaque the larger the weight."""
    shade = np.zeros((*weights.shape, 4))
    shade[..., 3] = 0.8 * (1 - weights / max(weights.max(), 1e-30))
    return shade


def _check_image(number: int, image: Any) -> np.ndarray:
    array = _numbers(f"image {number}", image)
    if array.ndim == 2 and array.size:
        return array
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ValueError(
            f"image_grid: image {number}: expected [H, W] or [H, W, 3], got the shape "
            f"{list(array.shape)}."
        )
    most = 255 if array.dtype == np.uint8 else 1
    if not ((array >= 0) & (array <= most)).all():
        raise ValueError(
            f"image_grid: image {number}: expected colors from 0 to 1, or uint8, got "
            f"{array.min():g} to {array.max():g}."
        )
    return array


def _check_weights(number: int, weights: Any) -> np.ndarray:
    array = _numbers(f"weights {number}", weights).astype(float)
    if array.ndim != 2 or not array.size or not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(
            f"image_grid: weights {number}: expected finite numbers [h, w] of at least 0, got the "
            f"shape {list(array.shape)} or other values."
        )
    return array


def _numbers(name: str, value: Any) -> np.ndarray:
    """Returns an array of numbers."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"image_grid: {name}: expected an array of numbers, got {array.dtype}.")
    return array


def _check_counts(images: Any, titles: Any, right: Any, weights: Any) -> None:
    """Raises an error unless there are images, and as many titles, bools and weights."""
    given: dict[str, Any] = dict(images=images, titles=titles, right=right, weights=weights)
    given = {name: value for name, value in given.items() if value is not None or name in _NEEDED}
    for name, value in given.items():
        if isinstance(value, str) or not hasattr(value, "__len__"):
            what = {"images": "arrays", "titles": "strings", "right": "bools"}.get(name, "arrays")
            raise TypeError(
                f"image_grid: expected {name} as a sequence of {what}, got {type(value).__name__}."
            )
        if len(value) != len(images):
            raise ValueError(
                f"image_grid: expected {len(images)} {name}, as images, got {len(value)}."
            )
    if not len(images):
        raise ValueError("image_grid: expected at least one image, got none.")
