"""A picture of the states of a recurrence as a dynamical system."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from recur.checks import check_function
from recur.diagnose.figure import make_figure
from recur.diagnose.fixed_points import FixedPoints
from recur.diagnose.labels import add_legend, label_axes, mark_whole_numbers
from recur.diagnose.palette import point_style
from recur.types import Carry

_ARROWS = 22  # of the vector field, along each axis


def phase_portrait(
    states: Carry,
    *,
    labels: Sequence[Any] | None = None,
    fixed_points: FixedPoints | None = None,
    step: Callable[[Carry], Carry] | None = None,
    title: str = "",
) -> Any:
    """Plots trajectories of states in two dimensions (phase portrait), with fixed points.

        h - mean(h) ≈ a_1 v_1 + a_2 v_2

    The axes are the first two principal components v_1 and v_2 of the states, or the two units of a
    cell that has two. Points are colored by step, or by label if there are labels. Each fixed point
    is drawn once: a filled circle if it is stable, a hollow diamond if it is not.

    Args:
      states: `[T, H]` or `[N, T, H]` for N sequences, such as `Layer.run(..., all_carries=True)`
        returns. A carry of several such arrays is joined.
      labels: a class for each of the N sequences, or for each step, `[T]` or `[N, T]`.
      fixed_points: from `find_fixed_points`; those that are not converged are left out.
      step: `step(h) -> h`, the step for a fixed input, of one state without the axes N and T. Its
        vector field F(h) - h is drawn in the plane of the axes.
      title: title of the plot.

    Returns:
      A `matplotlib.figure.Figure`; `figure.savefig(path)` writes it, a notebook shows it.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed; the extra `train` installs it.
      TypeError: if states are not real numbers, fixed_points no `FixedPoints`, or step no function.
      ValueError: if states are not `[T, H]` or `[N, T, H]` with H ≥ 2, are not finite, or labels or
        fixed points do not fit them.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.diagnose import find_fixed_points, phase_portrait
      >>> layer, xs = recur.scan(recur.gru(8)), jax.random.normal(jax.random.key(0), (50, 3))
      >>> params = layer.init(jax.random.key(1), xs)
      >>> states, _ = layer.run(params, xs, all_carries=True)
      >>> found = find_fixed_points(layer, params, jnp.zeros(3), states[::10])
      >>> figure = phase_portrait(states, fixed_points=found)
      >>> [text.get_text() for text in figure.legends[0].get_texts()]
      ['stable fixed point (1)']

    References:
      Sussillo & Barak 2013, Opening the black box: low-dimensional dynamics in high-dimensional
      recurrent neural networks, https://doi.org/10.1162/NECO_a_00409
    """
    matrix, classes = _check_states(states), None
    if labels is not None:
        classes = _check_labels(labels, matrix.shape[:2])
    plane = _find_plane(matrix)
    points = plane.project(matrix)  # [N, T, 2]
    of_points = None if fixed_points is None else _check_fixed(fixed_points, matrix.shape[-1])
    if step is not None:
        check_function("phase_portrait: step", step)
    figure = make_figure(6.4, 5.6)
    axes = figure.add_subplot()
    label_axes(axes, title=title, x=plane.names[0], y=plane.names[1])
    for each in points:
        axes.plot(*each.T, color="0.6", linewidth=0.6, alpha=0.6, zorder=2)
    handles: dict[str, Any] = {}
    if classes is None:
        steps = np.tile(np.arange(points.shape[1]), len(points))
        dots = axes.scatter(*points.reshape(-1, 2).T, c=steps, s=8, cmap="cividis", zorder=3)
        mark_whole_numbers(figure.colorbar(dots, label="step").ax.yaxis)
    else:
        for number, name in enumerate(dict.fromkeys(classes.ravel().tolist())):
            chosen = points[classes == name].T
            handles[name] = axes.scatter(*chosen, s=12, alpha=0.7, zorder=3, **point_style(number))
    if of_points is not None:
        handles |= _draw_fixed(axes, plane, *of_points)
    if step is not None:
        _draw_field(axes, plane, step, states)
    if handles:
        add_legend(figure, handles, loc="outside lower center", ncols=min(4, len(handles)))
    return figure


class _Plane(NamedTuple):
    """A plane in the space of states, `origin + a_1 v_1 + a_2 v_2`.

    Attributes:
      origin: `[H]`.
      axes: v_1 and v_2, orthonormal `[2, H]`.
      names: labels of the axes.
    """

    origin: np.ndarray
    axes: np.ndarray
    names: tuple[str, str]

    def project(self, states: np.ndarray) -> np.ndarray:
        """Coordinates `[..., 2]` of states `[..., H]`."""
        return (states - self.origin) @ self.axes.T


def _find_plane(states: np.ndarray) -> _Plane:
    """The plane of the first two principal components, or that of two units."""
    flat = states.reshape(-1, states.shape[-1])
    if flat.shape[1] == 2:
        return _Plane(np.zeros(2), np.eye(2), ("unit 1", "unit 2"))
    mean = flat.mean(0)
    _, values, rows = np.linalg.svd(np.vstack([flat - mean, np.zeros_like(flat[:2])]), False)
    largest = np.take_along_axis(rows, np.abs(rows).argmax(1)[:, None], 1)
    rows = rows * np.where(largest < 0, -1, 1)  # else the sign would be arbitrary
    shares = values**2 / ((values**2).sum() or 1)
    first, second = (
        f"principal component {number} ({100 * share:.0f} % of the variance)"
        for number, share in enumerate(shares[:2], start=1)
    )
    return _Plane(mean, rows[:2], (first, second))


def _draw_fixed(axes: Any, plane: _Plane, points: np.ndarray, is_stable: np.ndarray) -> Any:
    """Draws stable and unstable fixed points; returns the markers by name."""
    handles, styles = {}, {True: ("o", "black", "white"), False: ("D", "white", "black")}
    for stable in (False, True):
        chosen = plane.project(points[is_stable == stable])
        marker, inside, edge = styles[stable]
        name = f"{'stable' if stable else 'unstable'} fixed point ({len(chosen)})"
        style = {"marker": marker, "color": inside, "edgecolors": edge, "linewidths": 1.2}
        if len(chosen):
            handles[name] = axes.scatter(*chosen.T, s=70 if stable else 45, zorder=5, **style)
    return handles


def _draw_field(axes: Any, plane: _Plane, step: Callable[[Carry], Carry], states: Carry) -> None:
    """Draws the direction of the step as arrows, the longer the faster."""
    limits = axes.get_xlim(), axes.get_ylim()
    places = [np.linspace(low, high, _ARROWS) for low, high in limits]
    grid = np.stack(np.meshgrid(*places), -1).reshape(-1, 2)
    points = plane.origin + grid @ plane.axes
    after = jax.vmap(step)(_split(points, states))
    move = (_join(after) - points) @ plane.axes.T
    speed = np.linalg.norm(move, axis=1, keepdims=True)
    arrows = move / np.sqrt(speed * (speed.max() or 1) + np.finfo(float).tiny)
    style = {"color": "0.72", "width": 0.0025, "zorder": 1, "pivot": "mid"}
    axes.quiver(*grid.T, *arrows.T, angles="xy", scale=1.1 * _ARROWS, **style)


def _join(states: Carry) -> np.ndarray:
    """The arrays of a carry, joined along the last axis."""
    return np.concatenate([np.asarray(leaf, float) for leaf in jax.tree.leaves(states)], -1)


def _split(points: np.ndarray, like: Carry) -> Carry:
    """Points `[M, H]` as carries with leaves `[M, h]`, like those that were joined."""
    leaves, structure = jax.tree.flatten(like)
    ends = np.cumsum([np.shape(leaf)[-1] for leaf in leaves])[:-1]
    parts = zip(np.split(points, ends, axis=-1), leaves, strict=True)
    return jax.tree.unflatten(structure, [part.astype(leaf.dtype) for part, leaf in parts])


def _check_states(states: Carry) -> np.ndarray:
    """Returns states as `[N, T, H]`."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(states)]
    if any(leaf.dtype.kind == "c" for leaf in leaves):
        raise TypeError("phase_portrait: states: expected real numbers, got complex ones.")
    try:
        leaves = [leaf.astype(float) for leaf in leaves]
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"phase_portrait: states: expected numbers, got {type(states).__name__}."
        ) from error
    shapes = [leaf.shape for leaf in leaves]
    fits = leaves and len({shape[:-1] for shape in shapes}) == 1 and len(shapes[0]) in (2, 3)
    if not fits or not all(leaf.size for leaf in leaves) or sum(s[-1] for s in shapes) < 2:
        raise ValueError(
            "phase_portrait: expected states [T, H] or [N, T, H] of at least two units, got "
            f"{', '.join(str(list(shape)) for shape in shapes) or 'no array'}."
        )
    joined = np.concatenate(leaves, -1)
    if not np.isfinite(joined).all():
        raise ValueError("phase_portrait: states: expected finite numbers, got others.")
    return joined if joined.ndim == 3 else joined[None]


def _check_labels(labels: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a label for each step as strings `[N, T]`."""
    classes = np.asarray(labels)
    if classes.shape == shape[:1] and shape[0] > 1:
        classes = classes[:, None]
    elif classes.shape == shape[1:] and shape[0] == 1:
        classes = classes[None]
    elif classes.shape != shape:
        raise ValueError(
            f"phase_portrait: expected a label for each of {shape[0]} sequences or {shape[1]} "
            f"steps, got labels of shape {list(classes.shape)}."
        )
    return np.broadcast_to(classes.astype(str), shape)


def _check_fixed(found: Any, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct fixed points `[S, H]` and whether each is stable."""
    if not isinstance(found, FixedPoints):
        raise TypeError(
            "phase_portrait: fixed_points: expected what find_fixed_points returns, got "
            f"{type(found).__name__}."
        )
    found = found.distinct()
    points = _join(found.carry)
    if points.ndim != 2 or points.shape[1] != size:
        raise ValueError(
            f"phase_portrait: expected fixed points of {size} units, as the states, got the shape "
            f"{list(points.shape)}."
        )
    radius = np.abs(np.linalg.eigvals(np.asarray(found.jacobian, float))).max(-1, initial=0)
    return points, radius < 1
