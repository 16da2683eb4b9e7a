"""The picture of the metrics of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from recur.diagnose import curves as draw
from recur.runs.run_files import write_figure


class Curves(NamedTuple):
    """What the picture of a run shows, `curve.png`.

    Attributes:
      y: the label of the vertical axis.
      lines: the metrics to draw, by the label of their line.
    """

    y: str = "loss"
    lines: Mapping[str, str] = MappingProxyType({"training": "loss"})


@contextlib.contextmanager
def drawn_at_the_end(run: Any, curves: Curves) -> Iterator[None]:
    """Draws the curves of a `Run` at the end of the block, also after an error.

    An error of drawing does not hide that of the block.
    """
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError, ValueError):
            _draw(run, curves)
        raise
    _draw(run, curves)


def _draw(run: Any, curves: Curves) -> None:
    lines = {label: run.points(metric) for label, metric in curves.lines.items()}
    lines = {label: points for label, points in lines.items() if points[0]}
    if lines:
        figure = draw(lines, y=curves.y, title=run.folder.name)
        write_figure(run.folder / "curve.png", figure)
