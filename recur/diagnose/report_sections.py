"""The sections of a report: tables and pictures of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recur.diagnose.plots import curves
from recur.diagnose.report_example import example_sections
from recur.diagnose.report_parts import Picture, Section, Table, drawn, short
from recur.diagnose.run_contents import Lines, RunContents
from recur.diagnose.spectrum_plot import spectrum
from recur.diagnose.summary_table import param_rows

_LARGEST_KERNEL = 1536  # whose eigenvalues are computed
_LINES = 10  # in one panel
_LOGARITHMIC = ("gradient_norm", "clipped_norm", "update_ratio")
_SHARES = ("clipped", "closed", "open", "saturated")  # from 0 to 1
_CAPTIONS = {  # of the metrics of layers, in their order on the page
    "gradient_norm": "Norms of the gradient before clipping, of each layer and of all weights.",
    "clipped_norm": "Norms of the gradient of each layer after clipping.",
    "clipped": "Share of updates whose gradient was clipped.",
    "update_ratio": "Norm of the update of each layer, relative to that of its weights. Often near "
    "0.001; if it is much larger, the learning rate may be too high.",
    "weight_norm": "Norms of the weights of each layer.",
    "closed": "Share of the gate values near 0.",
    "open": "Share of the gate values near 1.",
    "saturated": "Share of the candidates near -1 or 1.",
}


def make_sections(run: RunContents, prefix: str = "") -> list[Section]:
    """Makes the sections of a run or a part; those of which it holds nothing are left out."""
    sections = [
        Section("Results", tables=_results(run.results)),
        *_curves(prefix, run.metrics),
        *(example_sections(prefix, run.diagnosis) if run.diagnosis else ()),
        _spectra(prefix, run.params),
        _params(run.params),
        Section("Pictures of the run", pictures=[*map(_own_picture, run.pictures)]),
        Section("Options", tables=_options(run.options)),
    ]
    return [section for section in sections if section.pictures or section.tables]


def compare_parts(run: RunContents) -> Section:
    """Curves of the parts of a run beside each other."""
    by_metric: dict[str, Lines] = {}
    for part in run.parts:
        for metric, line in part.metrics.items():
            by_metric.setdefault(metric, {})[part.folder.name] = line
    shared = {metric: lines for metric, lines in by_metric.items() if len(lines) > 1}
    pictures = [
        _curve(f"parts-{metric.replace('/', '-')}", metric, lines)
        for metric, lines in shared.items()
        if "/" not in metric
    ]
    return Section("Parts compared", pictures=pictures)


def _curves(prefix: str, metrics: Lines) -> list[Section]:
    """A picture for each kind of metric, such as `gradient_norm` of all layers."""
    kinds: dict[str, Lines] = {kind: {} for kind in ("loss", *_CAPTIONS)}
    for metric, line in metrics.items():
        kind, _, entry = metric.partition("/")
        kinds.setdefault(kind, {})[entry] = line
    pictures = {
        kind: _curve(f"{prefix}{kind}", kind, _first(lines, _LINES))
        for kind, lines in kinds.items()
        if lines
    }
    plain = [picture for kind, picture in pictures.items() if kind not in _CAPTIONS]
    of_layers = [picture for kind, picture in pictures.items() if kind in _CAPTIONS]
    return [Section("Curves", "", plain), Section("Gradients and updates", "", of_layers)]


def _curve(name: str, metric: str, lines: Lines) -> Picture:
    log = metric in _LOGARITHMIC and all(min(values) > 0 for _, values in lines.values())
    named = {label: line for label, line in lines.items() if label}
    named |= {"all" if named else metric: line for label, line in lines.items() if not label}
    figure = curves(named, title=metric, logarithmic=log)
    (axes,) = figure.axes
    if metric in _SHARES:
        axes.set_ylim(-0.03, 1.03)
    if len(named) == 1:
        axes.get_legend().remove()
    return drawn(name, figure, _CAPTIONS.get(metric, ""))


def _spectra(prefix: str, params: Mapping[str, np.ndarray]) -> Section:
    """Eigenvalues of the recurrent kernels, a picture for each layer."""
    layers: dict[str, dict[str, np.ndarray]] = {}
    rows = []
    for path, kernel in params.items():
        if not _is_recurrent_kernel(path, kernel):
            continue
        kernel = np.asarray(kernel, np.float64)
        values = np.linalg.eigvals(kernel)
        layer, _, gate = path.partition("recurrent_kernel")
        layers.setdefault(layer.rstrip("/"), {})[gate.strip("/") or "kernel"] = values
        radius, largest = np.abs(values).max(), np.linalg.norm(kernel, 2)
        rows.append((path, short(float(radius)), short(float(largest))))
    pictures = [
        drawn(
            f"{prefix}spectrum-{layer.replace('/', '-') or 'layer'}",
            spectrum(of_gates, title=f"Recurrent kernels of {layer or 'the layer'}"),
            "",
        )
        for layer, of_gates in layers.items()
    ]
    text = (
        "Eigenvalues of the recurrent kernels with the unit circle. In a network without gates, "
        "gradients vanish if the largest singular value is below 1 and the activation is tanh."
    )
    table = Table(("kernel", "spectral radius", "largest singular value"), rows, 2)
    return Section("Spectra", text, pictures, [table] if rows else [])


def _is_recurrent_kernel(path: str, array: np.ndarray) -> bool:
    is_square = array.ndim == 2 and 1 < len(array) == array.shape[1] <= _LARGEST_KERNEL
    return is_square and "recurrent_kernel" in path and array.dtype.kind in "fV"


def _params(params: Mapping[str, np.ndarray]) -> Section:
    if not params:
        return Section("Parameters")
    found = param_rows(dict(params))
    by_path = {row.path: row for row in found}
    rows = []
    for path in params:  # in the order of the model
        row = by_path[path]
        norm = "" if row.norm is None else short(row.norm)
        rows.append((path, str(list(row.shape)), row.dtype, f"{row.size:,}", norm))
    total = sum(row.size for row in found)
    size = sum(row.bytes for row in found)
    unit, factor = ("MiB", 2**20) if size >= 2**20 else ("KiB", 2**10)
    text = f"{total:,} weights in {len(found)} arrays, {size / factor:.1f} {unit}."
    return Section(
        "Parameters", text, [], [Table(("path", "shape", "dtype", "count", "norm"), rows, 2)]
    )


def _results(results: Sequence[Mapping[str, Any]]) -> list[Table]:
    columns = list(dict.fromkeys(name for row in results for name in row))
    if not columns:
        return []
    rows = [[_text(row.get(name, "")) for name in columns] for row in results]
    return [Table(columns, rows, len(columns) - 1)]


def _options(options: Mapping[str, Any]) -> list[Table]:
    rows = [(name, _text(value)) for name, value in options.items() if name != "run"]
    return [Table(("option", "value"), rows, 0)] if rows else []


def _own_picture(path: Any) -> Picture:
    return Picture(path.stem, path.name, path.read_bytes(), is_wide=True, is_photo=True)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return short(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value)


def _first(entries: Mapping[str, Any], count: int) -> dict[str, Any]:
    return dict(list(entries.items())[:count])
