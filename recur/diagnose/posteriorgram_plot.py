"""A picture of the outputs of CTC over time: posteriorgram, spikes and forced alignment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recur.arrays import as_reals
from recur.checks import check_ids, check_whole
from recur.diagnose.figure import make_figure
from recur.diagnose.labels import AS_IT_IS, label_axes, mark_whole_numbers

_LINE, _MARK = (0.0, 0.45, 0.7), (0.9, 0.6, 0.0)  # blue and orange, of Okabe and Ito


def posteriorgram(
    probabilities: Any,
    symbols: Sequence[str],
    *,
    targets: Sequence[int] = (),
    begin: Sequence[int] = (),
    end: Sequence[int] = (),
    steps: Any = None,
    blank: int = 0,
    title: str = "",
) -> Any:
    """Plots symbol probabilities over frames (posteriorgram), their spikes and a forced alignment.

    There are up to three panels over the same time. On top is the input, drawn as a line for each
    of at most three channels, and as an image for more. In the middle are the probabilities of the
    symbols, in blue, with the aligned targets in orange boxes; of other symbols only those are
    shown that are more likely than 10 % at some frame. Below are the same probabilities as curves,
    with the symbol at each spike above 1/2, and the blank as a dotted line.

    Args:
      probabilities: `[T, V]`, such as `jax.nn.softmax(logits)` of one sequence.
      symbols: V labels; that of the blank is not drawn.
      targets: N ids of the transcript, if there is one.
      begin: the first frame of each target, as `recur.decode.ctc_align` finds it, N ints.
      end: the frame after the last one of each target, N ints.
      steps: the input `[S]` or `[S, D]`, over the same time; S need not be T. NaN breaks a line.
      blank: the id of the blank.
      title: title of the plot.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed; the extra `train` installs it.
      TypeError: if values are not real numbers, or ids not integers.
      ValueError: if shapes do not fit, an id is outside the vocabulary, or there are not as many
        begins and ends as targets.

    Example:
      >>> import numpy as np
      >>> from recur.diagnose import posteriorgram
      >>> probabilities = np.eye(3)[[0, 1, 0, 2]]
      >>> aligned = {"targets": [1, 2], "begin": [1, 3], "end": [2, 4]}
      >>> figure = posteriorgram(probabilities, ["", "a", "b"], **aligned)
      >>> [text.get_text() for text in figure.axes[1].texts]
      ['a', 'b']

    References:
      Graves et al. 2006, Connectionist Temporal Classification: Labelling Unsegmented Sequence Data
      with Recurrent Neural Networks, figure 1, https://doi.org/10.1145/1143844.1143891
    """
    values, blank = _check_values(probabilities, symbols, blank)
    targets, begin, end = _check_alignment(values, targets, begin, end)
    given = None if steps is None else _check_steps(steps)
    likely = np.flatnonzero(values.max(0) > 0.1).tolist()
    shown = [v for v in sorted({*likely, *targets}) if v != blank]

    heights = [*([1.0] if given is not None else []), max(1.0, 0.16 * len(shown)), 1.0]
    wide = min(16.0, 4.0 + 0.06 * len(values))
    figure = make_figure(wide, 1.2 + 1.3 * sum(heights))
    panels = figure.subplots(len(heights), 1, height_ratios=heights, sharex=True, squeeze=False)
    *above, heat, spikes = panels[:, 0]
    if given is not None:
        _draw_steps(above[0], given, len(values))
    _draw_heat(heat, values[:, shown], [symbols[v] for v in shown])
    for target, first, last in zip(targets, begin, end, strict=True):
        if last > first:
            row, box = shown.index(target), {"height": 1, "align": "edge", "fill": False}
            heat.barh(row - 0.5, last - first, left=first, **box, edgecolor=_MARK, linewidth=1.5)
    _draw_spikes(spikes, values, symbols, blank)
    label_axes(panels[0, 0], title=title)
    label_axes(spikes, x="frame", y="probability")
    spikes.set(xlim=(0, len(values)), ylim=(0, 1.25))
    mark_whole_numbers(spikes.xaxis)
    return figure


def _draw_steps(axes: Any, steps: np.ndarray, frames: int) -> None:
    if steps.shape[1] > 3:
        extent = (0, frames, -0.5, steps.shape[1] - 0.5)
        axes.imshow(steps.T, cmap="Greys", origin="lower", aspect="auto", extent=extent)
    else:
        places = (np.arange(len(steps)) + 0.5) * frames / len(steps)
        for channel, style in zip(steps.T, ("-", "--", ":"), strict=False):
            axes.plot(places, channel, style, color="black", linewidth=0.8)
    axes.set_yticks([])
    label_axes(axes, y="input")


def _draw_heat(axes: Any, values: np.ndarray, names: Sequence[str]) -> None:
    if names:
        extent = (0, len(values), len(names) - 0.5, -0.5)
        picture = {"cmap": "Blues", "vmin": 0.0, "vmax": 1.0, "interpolation": "nearest"}
        axes.imshow(values.T, aspect="auto", extent=extent, **picture)
    axes.set_yticks(range(len(names)), names, fontsize=7, **AS_IT_IS)
    axes.tick_params(axis="y", length=0)
    label_axes(axes, y="symbol")


def _draw_spikes(axes: Any, values: np.ndarray, symbols: Sequence[str], blank: int) -> None:
    places = np.arange(len(values)) + 0.5
    axes.plot(places, values[:, blank], ":", color="0.5", linewidth=1)
    for symbol in range(values.shape[1]):
        curve = values[:, symbol]
        if symbol == blank or curve.max() <= 0.1:
            continue
        axes.plot(places, curve, color=_LINE, linewidth=1)
        high = np.flatnonzero(curve > 0.5)
        for spike in np.split(high, np.flatnonzero(np.diff(high) > 1) + 1) if len(high) else ():
            peak = spike[curve[spike].argmax()]
            text = {"ha": "center", "va": "bottom", "fontsize": 8, **AS_IT_IS}
            axes.text(places[peak], curve[peak] + 0.03, symbols[symbol], **text)


def _check_values(probabilities: Any, symbols: Any, blank: Any) -> tuple[np.ndarray, int]:
    values = as_reals("posteriorgram: probabilities", probabilities).astype(float)
    if isinstance(symbols, str) or not hasattr(symbols, "__len__"):
        raise TypeError(
            "posteriorgram: expected symbols as a sequence of strings, got "
            f"{type(symbols).__name__}."
        )
    if values.ndim != 2 or not values.size or values.shape[1] != len(symbols):
        raise ValueError(
            "posteriorgram: expected probabilities [T, V] with T > 0 and V symbols, got "
            f"{list(values.shape)} and {len(symbols)} symbols."
        )
    blank = check_whole("posteriorgram: blank", blank, 0)
    if blank >= len(symbols):
        raise ValueError(
            f"posteriorgram: expected blank from 0 to {len(symbols) - 1}, got {blank}."
        )
    return values, blank


def _check_alignment(values: np.ndarray, targets: Any, begin: Any, end: Any) -> list[list[int]]:
    checked = [check_ids("posteriorgram: targets", targets, values.shape[1])]
    for name, frames in (("begin", begin), ("end", end)):
        checked.append(check_ids(f"posteriorgram: {name}", frames, len(values) + 1))
        if len(checked[-1]) != len(checked[0]):
            raise ValueError(
                f"posteriorgram: expected {name} for each of {len(checked[0])} targets, got "
                f"{len(checked[-1])}."
            )
    return checked


def _check_steps(steps: Any) -> np.ndarray:
    array = as_reals("posteriorgram: steps", steps).astype(float)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or not array.size:
        raise ValueError(
            f"posteriorgram: expected steps [S] or [S, D] with S > 0, got {list(array.shape)}."
        )
    return array
