"""A picture of the weights of the steps of examples: tokens, series or frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recur.diagnose.data import check_weighted
from recur.diagnose.figure import make_figure
from recur.diagnose.labels import AS_IT_IS

_FOR, _AGAINST = (0.0, 0.45, 0.7), (0.9, 0.6, 0.0)  # blue and orange, of Okabe and Ito
_COLUMNS = 96  # characters of a line, at most
_LINE, _CHARACTER = 0.26, 0.084  # inches


def step_weights(examples: Sequence[tuple[str, Any, Any]], *, title: str = "") -> Any:
    """Plots the weight of each step of some examples: attention or saliency over text or series.

    Tokens are written one after the other, each on a background that is the darker the larger its
    weight is. Series are drawn as lines, and frames side by side, each above bars of the weights.
    Weights above 0 are blue; weights below 0 are orange, and hatched in text. They are relative to
    the largest weight of the example.

    Args:
      examples: for each example a title, its steps and their weights `[T]`. The steps are T strings
        for tokens, numbers `[T]` or `[T, D]` for a series of D channels, or `[T, H, W]` or
        `[T, H, W, 1]` for frames.
      title: title of the plot.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed; the extra `train` installs it.
      TypeError: if examples are not a sequence of title, steps and weights, or steps or weights are
        not numbers.
      ValueError: if there is no example, one has no steps or not as many finite weights as steps,
        or steps are of another shape.

    Example:
      >>> from recur.diagnose import step_weights
      >>> figure = step_weights([("positive", ["not", "bad", "at", "all"], [0.5, 0.4, 0.05, 0.05])])
      >>> [text.get_text() for text in figure.axes[0].texts]
      ['positive', 'not', 'bad', 'at', 'all']

    References:
      Li et al. 2016, Visualizing and Understanding Neural Models in NLP,
      https://arxiv.org/abs/1506.01066
    """
    checked = check_weighted(examples)
    heights = [_height(steps) for _, steps, _ in checked]
    columns = max(_width(name, steps) for name, steps, _ in checked)
    figure = make_figure(_CHARACTER * columns / 0.96, sum(heights) + 0.4, "none")
    figure.suptitle(title, y=0.99, va="top", **AS_IT_IS)
    inches, top = figure.get_figheight(), figure.get_figheight() - 0.3
    for (name, steps, weights), height in zip(checked, heights, strict=True):
        top -= height
        strength = weights / (np.abs(weights).max() or 1.0)

        def place(bottom, high, begin=top):
            return figure.add_axes((0.02, (begin + bottom) / inches, 0.96, high / inches))

        if isinstance(steps, list):
            axes = place(0, height)
            axes.set(xlim=(-0.5, columns + 0.5), ylim=(height / _LINE, 0))
            _write(axes, name, steps, strength)
        else:
            above, bars = place(0.6, height - 0.95), place(0.15, 0.4)
            _draw_steps(above, steps)
            above.set_title(name, loc="left", fontsize=9, fontweight="bold", pad=2, **AS_IT_IS)
            _draw_bars(bars, strength)
    return figure


def _height(steps: Any) -> float:
    """The height of an example, in inches."""
    if isinstance(steps, list):
        return _LINE * (2.5 + _places(steps)[-1][1])
    if steps.ndim <= 2:
        return 2.0
    count, high, wide = steps.shape[:3]
    return 0.95 + min(1.2, 8 * high / (count * wide))


def _width(name: str, steps: Any) -> int:
    """The width of an example, in characters."""
    if not isinstance(steps, list):
        return _COLUMNS
    ends = (column + len(s) for s, (column, _) in zip(steps, _places(steps), strict=True))
    return max(40, len(name), *ends)


def _places(tokens: Sequence[str]) -> list[tuple[int, int]]:
    """The first column and the line of each token, in a text of fixed width."""
    column, line, found = 0, 0, []
    for token in tokens:
        if column and column + len(token) > _COLUMNS:
            column, line = 0, line + 1
        found.append((column, line))
        column += len(token) + 1
    return found


def _write(axes: Any, name: str, tokens: list[str], strength: np.ndarray) -> None:
    """Writes tokens in a font of fixed width, where the unit is a character and a line."""
    axes.axis("off")
    axes.text(-0.3, 0.7, name, fontsize=9, fontweight="bold", va="center", **AS_IT_IS)
    for token, (column, line), value in zip(tokens, _places(tokens), strength, strict=True):
        color, y = _FOR if value >= 0 else _AGAINST, line + 1.25
        style = {"color": (*color, 0.85 * abs(value)), "hatch": "///" if value < -0.1 else None}
        box = {"left": column - 0.4, "width": len(token) + 0.8, "height": 0.9, "align": "edge"}
        axes.barh(y, **box, **style, edgecolor=(0.4, 0.4, 0.4, 0.6), linewidth=0)
        dark = "white" if value > 0.7 else "black"
        text = {"fontsize": 9, "family": "monospace", "va": "center", "color": dark}
        axes.text(column, y + 0.45, token, **text, **AS_IT_IS)


def _draw_steps(axes: Any, steps: np.ndarray) -> None:
    """Draws the channels of a series as lines, or frames side by side."""
    count = len(steps)
    if steps.ndim <= 2:
        axes.plot(steps.reshape(count, -1), color="0.35", linewidth=1, alpha=0.7)
        axes.set(xlim=(-0.5, count - 0.5), xticks=[], yticks=[])
        return
    frames = steps.reshape(steps.shape[:3])
    gap = np.pad(frames, ((0, 0), (0, 0), (1, 1)), constant_values=np.nan)
    strip = np.concatenate(list(gap), axis=1)
    extent = (-0.5, count - 0.5, 0, 1)
    axes.imshow(strip, cmap="gray", extent=extent, aspect="auto", interpolation="nearest")
    axes.axis("off")


def _draw_bars(axes: Any, strength: np.ndarray) -> None:
    """Draws weights as bars, below 0 downwards."""
    colors = [_FOR if value >= 0 else _AGAINST for value in strength]
    axes.bar(range(len(strength)), strength, color=colors, width=0.9)
    axes.axhline(0, color="black", linewidth=0.8)
    low = min(0.0, float(strength.min()))
    axes.set(xlim=(-0.5, len(strength) - 0.5), ylim=(1.1 * low, 1.1), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
