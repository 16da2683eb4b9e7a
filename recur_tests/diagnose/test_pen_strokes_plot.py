"""The picture of handwriting."""

import numpy as np
import pytest

from recur.diagnose import pen_strokes

CROSS = np.array([[1, 1, 0], [2, 2, 1], [-2, 0, 0], [2, -2, 1], [1, 1, 1]], float)


def lines(axes):
    return [line.get_xydata().tolist() for line in axes.lines]


def test_strokes_are_lines_and_a_point_is_a_dot():
    wide = CROSS * (3, 1, 1)
    figure = pen_strokes([("$x$", CROSS), ("wide", wide.tolist())], title="two")
    first, second = figure.axes
    assert lines(first) == [[[1, 1], [3, 3]], [[1, 3], [3, 1]], [[4, 2]]]
    assert [line.get_marker() for line in first.lines] == ["None", "None", "o"]
    assert lines(second)[0] == [[3, 1], [9, 3]]
    assert first.get_title(loc="left") == "$x$" and figure.get_suptitle() == "two"
    # one scale for all: the same units per inch, and the wide one fills the width
    assert np.ptp(first.get_xlim()) == np.ptp(second.get_xlim()) == 9
    assert first.get_position().y0 > second.get_position().y1


def test_an_open_stroke_is_drawn_to_its_end():
    assert lines(pen_strokes([("", [[0, 0, 0], [1, 0, 0]])]).axes[0]) == [[[0, 0], [1, 0]]]


def test_weights_are_a_map_above_the_strokes(tmp_path):
    weights = np.random.default_rng(0).random((7, 3))
    figure = pen_strokes([("a b", CROSS, ["a", " ", "$b"], weights), ("c", CROSS)])
    heat, below, _ = figure.axes
    np.testing.assert_array_equal(heat.images[0].get_array(), weights.T)
    assert [label.get_text() for label in heat.get_yticklabels()] == ["a", "␣", "$b"]
    few = pen_strokes([("a", CROSS, ["a"], np.ones((2, 1)))]).axes[0]
    assert (few.get_xticks() % 1 == 0).all()  # steps
    assert heat.get_ylim() == (-0.5, 2.5) and heat.get_position().y0 > below.get_position().y1
    figure.savefig(tmp_path / "it.png")
    assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("points", [[[0, 0, 1]], [[0, 0, 0], [0, 5, 1]], [[0, 0, 0], [900, 1, 1]]])
def test_points_vertical_and_flat_lines_have_a_height(points):
    (axes,) = pen_strokes([("", points)]).axes
    assert np.ptp(axes.get_xlim()) > 0 and np.ptp(axes.get_ylim()) > 0
