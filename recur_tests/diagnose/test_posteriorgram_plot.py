"""The picture of CTC outputs over time."""

import numpy as np
import pytest

from recur.diagnose import posteriorgram

SYMBOLS = ["", "a", "$b$", "_c"]
VALUES = np.array(
    [[0.9, 0.1, 0.0, 0.0], [0.2, 0.8, 0.0, 0.0], [0.3, 0.7, 0.0, 0.0], [0.1, 0.0, 0.85, 0.05]]
)


def boxes(axes):
    return [(box.get_x(), box.get_width(), box.get_y()) for box in axes.patches]


def test_spikes_boxes_and_rows(tmp_path):
    aligned = {"targets": [1, 3], "begin": [1, 3], "end": [3, 4]}
    figure = posteriorgram(VALUES, SYMBOLS, **aligned, title="ab")
    heat, spikes = figure.axes
    assert heat.get_title() == "ab"
    # the likely symbols and the targets, without the blank
    assert [label.get_text() for label in heat.get_yticklabels()] == ["a", "$b$", "_c"]
    np.testing.assert_array_equal(heat.images[0].get_array(), VALUES[:, 1:].T)
    assert heat.images[0].get_extent() == [0, 4, 2.5, -0.5]
    assert boxes(heat) == [(1, 2, -0.5), (3, 1, 1.5)]
    found = [(text.get_text(), text.get_position()[0]) for text in spikes.texts]
    assert found == [("a", 1.5), ("$b$", 3.5)] and not spikes.texts[1].get_parse_math()
    blank, *others = spikes.lines
    assert blank.get_linestyle() == ":" and len(others) == 2
    assert (spikes.get_xticks() % 1 == 0).all()  # frames
    np.testing.assert_array_equal(blank.get_ydata(), VALUES[:, 0])
    figure.savefig(tmp_path / "it.png")
    assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")


def test_targets_without_frames_have_no_box_and_the_blank_is_any_id():
    figure = posteriorgram(VALUES, SYMBOLS, targets=[0], begin=[0], end=[0], blank=1)
    heat, spikes = figure.axes
    assert [label.get_text() for label in heat.get_yticklabels()] == ["", "$b$"]
    assert not heat.patches and spikes.lines[0].get_ydata()[1] == 0.8


@pytest.mark.parametrize("shape", [(8,), (8, 3), (8, 5)])
def test_the_input_is_above_over_the_same_time(shape):
    steps = np.random.default_rng(0).random(shape)
    steps[3] = np.nan
    figure = posteriorgram(VALUES, SYMBOLS, steps=steps)
    above, heat, _ = figure.axes
    assert above.get_xlim() == heat.get_xlim() == (0, 4)
    if shape[1:] == (5,):
        np.testing.assert_array_equal(above.images[0].get_array().filled(np.nan), steps.T)
        assert above.images[0].get_extent() == [0, 4, -0.5, 4.5]
    else:
        lines = np.array([line.get_ydata() for line in above.lines]).T
        np.testing.assert_array_equal(lines, steps.reshape(8, -1))
        np.testing.assert_allclose(above.lines[0].get_xdata(), np.arange(0.25, 4, 0.5))


def test_a_plateau_is_one_spike():
    curve = np.array([0.9, 0.6, 0.9, 0.2, 0.7])  # two peaks above 1/2 without a gap, and another
    spikes = posteriorgram(np.column_stack([1 - curve, curve]), ["", "a"]).axes[-1]
    assert [text.get_position()[0] for text in spikes.texts] == [0.5, 4.5]


def test_only_blanks():
    figure = posteriorgram(np.eye(2)[[0, 0]], ["", "a"])
    assert not figure.axes[0].images and len(figure.axes[1].lines) == 1
