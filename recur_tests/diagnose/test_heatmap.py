import itertools

import matplotlib
import numpy as np
import pytest

from recur.diagnose import heatmap

WEIGHTS = [[0.75, 0.25, 0.0], [0.5, 0.0, 0.5]]


def draw(values=WEIGHTS, rows=("good", "day"), columns=("guten", "tag", "$x$"), **options):
    return heatmap(values, rows, columns, **options)


def test_draws_each_value_at_its_row_and_column(tmp_path):
    figure = draw(x="source", y="translation", title="$a$")
    axes = figure.axes[0]
    (image,) = axes.images
    assert image.get_array().tolist() == WEIGHTS and image.get_clim() == (0.0, 0.75)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["good", "day"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["guten", "tag", "$x$"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is at the top
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("source", "translation")
    assert axes.get_title() == "$a$" and not axes.title.get_parse_math()
    figure.savefig(tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_larger_values_are_darker():
    (image,) = draw([[0.0, 0.5, 1.0]], ["a"]).axes[0].images
    red, green, blue = image.to_rgba(np.array([0.0, 0.5, 1.0]))[:, :3].T
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    assert (np.diff(grey) < -0.2).all()


@pytest.mark.parametrize(
    ("values", "options", "limits"),
    [
        ([[2.0, 4.0, 3.0]], {}, (0, 4)),
        ([[-1.0, 4.0, np.nan]], {}, (-1, 4)),
        ([[2.0, 4.0, 3.0]], {"low": 1, "high": 9}, (1, 9)),
        ([[0.0, 0.0, 0.0]], {}, (0, 1)),
        ([[np.nan, np.nan, np.nan]], {}, (0, 1)),
    ],
)
def test_limits_of_the_colors(values, options, limits, tmp_path):
    figure = draw(values, ["a"], **options)
    (image,) = figure.axes[0].images
    assert image.get_clim() == limits
    figure.savefig(tmp_path / "map.png")


def test_pyplot_is_not_touched():
    draw(np.ones((60, 200)), ["row"] * 60, ["column"] * 200)
    assert not matplotlib._pylab_helpers.Gcf.figs


def test_long_labels_of_columns_do_not_overlap(tmp_path):
    figure = draw(columns=("guten", "terrier", "ab"))
    figure.savefig(tmp_path / "map.png")
    shown = [label for label in figure.axes[0].get_xticklabels() if label.get_visible()]
    assert [label.get_rotation() for label in shown] == [90, 90, 0]
    ends = [label.get_window_extent() for label in shown]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(ends))
