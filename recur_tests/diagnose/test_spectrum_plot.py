import numpy as np

from recur.diagnose import spectrum

ROTATION = np.array([[0.0, -2.0], [2.0, 0.0]])  # of eigenvalues 2i and -2i


def test_draws_each_eigenvalue_and_the_unit_circle(tmp_path):
    values = np.linalg.eigvals(ROTATION)
    figure = spectrum({"$before$": [0.5, -0.25], "after": values.reshape(1, 2)}, title="U")
    (axes,) = figure.axes
    circle, before, after = (line.get_xydata() for line in axes.lines[2:])
    assert np.allclose(np.hypot(*circle.T), 1) and np.allclose(circle[0], circle[-1])
    assert before.tolist() == [[0.5, 0], [-0.25, 0]]
    assert np.allclose(after, np.stack([values.real, values.imag], 1), atol=1e-12)
    assert axes.get_aspect() == 1 and axes.get_xlim() == axes.get_ylim()
    assert np.allclose(axes.get_xlim(), (-2.16, 2.16))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["$before$", "after"]
    markers = {(line.get_marker(), line.get_markerfacecolor()) for line in axes.lines[3:]}
    assert len(markers) == 2
    figure.savefig(tmp_path / "spectrum.png")


def test_small_eigenvalues_are_shown_within_the_whole_circle():
    axes = spectrum({"a": [0.01 + 0.01j]}).axes[0]
    assert axes.get_xlim() == (-1.08, 1.08)
