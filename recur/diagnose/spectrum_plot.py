"""A picture of eigenvalues in the complex plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recur.diagnose.figure import make_figure
from recur.diagnose.labels import add_legend, label_axes
from recur.diagnose.palette import point_style


def spectrum(eigenvalues: Mapping[str, Any], *, title: str = "") -> Any:
    """Plots eigenvalues in the complex plane with the unit circle (spectrum).

    Eigenvalues of a recurrent kernel or Jacobian inside the circle shrink states and gradients with
    each step, those outside let them grow, and those near the circle keep them.

    Args:
      eigenvalues: for each name, real or complex numbers of any shape, such as
        `jnp.linalg.eigvals` returns for a kernel, or `FixedPoints.eigenvalues`.
      title: title of the plot.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed; the extra `train` installs it.
      TypeError: if eigenvalues is not a mapping, or values are not numbers.
      ValueError: if there are no eigenvalues, or one is not finite.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.diagnose import spectrum
      >>> kernel = jax.nn.initializers.orthogonal()(jax.random.key(0), (32, 32))
      >>> figure = spectrum({"before training": jnp.linalg.eigvals(kernel)})
      >>> points = figure.axes[0].lines[-1].get_xydata()
      >>> bool(jnp.allclose(jnp.hypot(*points.T), 1.0, atol=1e-5))  # all are on the circle
      True
    """
    checked = _check(eigenvalues)
    figure = make_figure(5.6, 5.2)
    axes = figure.add_subplot(aspect="equal")
    label_axes(axes, title=title, x="real part", y="imaginary part")
    angles = np.linspace(0, 2 * np.pi, 361)
    axes.axhline(0, color="0.8", linewidth=0.8)
    axes.axvline(0, color="0.8", linewidth=0.8)
    axes.plot(np.cos(angles), np.sin(angles), color="0.3", linewidth=1)
    size = 5 if sum(map(len, checked.values())) <= 300 else 2.5
    handles = {}
    for number, (name, values) in enumerate(checked.items()):
        style = {**point_style(number), "linestyle": "none", "alpha": 0.8, "markersize": size}
        style |= {"markerfacecolor": "none"} if number % 2 else {}  # filled beside hollow ones
        (handles[name],) = axes.plot(np.real(values), np.imag(values), label=name, **style)
    limit = 1.08 * max(1.0, *(np.abs(values).max() for values in checked.values()))
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
    axes.locator_params(nbins=5)
    add_legend(figure, handles, loc="outside lower center", ncols=min(3, len(handles)))
    return figure


def _check(eigenvalues: Any) -> dict[str, np.ndarray]:
    """Returns the eigenvalues of each name as complex numbers `[N]`."""
    if not isinstance(eigenvalues, Mapping):
        raise TypeError(
            "spectrum: expected eigenvalues as a mapping of names to numbers, got "
            f'{type(eigenvalues).__name__}. Name them: spectrum({{"kernel": values}}).'
        )
    if not eigenvalues:
        raise ValueError("spectrum: expected eigenvalues of at least one name, got none.")
    checked = {}
    for name, given in eigenvalues.items():
        try:
            values = np.asarray(given, complex).ravel()
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"spectrum: {name!r}: expected numbers, got {type(given).__name__}."
            ) from error
        if not values.size or not np.isfinite(values).all():
            raise ValueError(
                f"spectrum: {name!r}: expected finite numbers, at least one, got the shape "
                f"{list(np.shape(given))}."
            )
        checked[name] = values
    return checked
