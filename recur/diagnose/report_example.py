"""The sections of a report about a held-out example: gradients, gates and the Jacobian."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from recur.diagnose.diagnosis import Diagnosis
from recur.diagnose.heatmap import heatmap
from recur.diagnose.plots import curves
from recur.diagnose.report_parts import Picture, Section, Table, drawn, short
from recur.diagnose.spectrum_plot import spectrum

_UNITS, _STEPS, _GATES = 16, 40, 8  # of a heat map at most, and heat maps
_VISIBLE = str.maketrans({"\n": "↵", " ": "␣", "\t": "⇥"})


def example_sections(prefix: str, found: Diagnosis) -> Iterator[Section]:
    """Gradients and gates on the held-out example."""
    if found.gradient_by_lag is not None:
        norms = np.asarray(found.gradient_by_lag, float)
        lags = list(range(1, len(norms) + 1))
        figure = curves(
            {"loss of the last step": (lags, norms.tolist())},
            x="lag k",
            y="norm of dL / dh",
            title="Gradient by lag",
            logarithmic=bool((norms > 0).any()),
            smooth=False,
        )
        text = _how_far(norms)
        yield Section("Gradient by lag", text, [drawn(f"{prefix}gradient_by_lag", figure, "")])
    if found.gates:
        gates = [
            _gate(prefix, name, values, found.labels)
            for name, values in list(found.gates.items())[:_GATES]
        ]
        text = (
            f"A held-out example of {len(found.labels)} steps. Rows are the units whose values "
            "vary most, columns the last steps."
        )
        table = Table(
            ("value", "mean", "below 0.1", "above 0.9"),
            [(name, *map(short, _shares(values))) for name, values in found.gates.items()],
            3,
        )
        yield Section("Gates on a held-out example", text, gates, [table])
    if found.jacobian_eigenvalues is not None:
        values = found.jacobian_eigenvalues
        figure = spectrum({"Jacobian": values}, title="Jacobian of the last step")
        largest = np.abs(values).max()
        text = (
            f"Eigenvalues of dh_T / dh_(T-1) on the example; the largest is {largest:.3g} in "
            "absolute value. Inside the circle, changes of the state shrink; outside, they grow."
        )
        yield Section("Jacobian", text, [drawn(f"{prefix}jacobian", figure, "")])


def _how_far(norms: np.ndarray) -> str:
    """A sentence about where the norms fall below a hundredth of the first."""
    below = np.flatnonzero(norms < norms[0] / 100)
    if norms[0] == 0:
        return "The loss of the last step does not depend on the state before it."
    reach = f"at lag {below[0] + 1}" if below.size else f"at none of the {len(norms)} lags"
    return (
        "Norm of the gradient of the loss of the last step with respect to the state k steps "
        f"before. It is {norms[0]:.3g} at lag 1, and falls below a hundredth of that {reach}."
    )


def _gate(prefix: str, name: str, values: np.ndarray, labels: Sequence[str]) -> Picture:
    """A heat map of the units of a gate that vary most."""
    units = np.sort(np.argsort(-values.std(0), kind="stable")[:_UNITS])
    shown = values[-_STEPS:, units].T
    columns = [label.translate(_VISIBLE)[:12] for label in labels[-_STEPS:]]
    low, high = (-1.0, 1.0) if values.min() < 0 else (0.0, 1.0)
    low, high = min(low, float(shown.min())), max(high, float(shown.max()))
    rows = [f"unit {unit}" for unit in units]
    figure = heatmap(shown, rows, columns, title=name, low=low, high=high)
    return drawn(f"{prefix}gate-{name.replace('/', '-')}", figure, "", is_wide=True)


def _shares(values: np.ndarray) -> tuple[float, float, float]:
    return float(values.mean()), float((values < 0.1).mean()), float((values > 0.9).mean())
