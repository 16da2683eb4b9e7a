"""The picture of the weights of steps."""

import numpy as np
import pytest

from recur.diagnose import step_weights


def boxes(axes):
    """The left end, the line, the width, the opacity and the hatch of each token's box."""
    return [
        (box.get_x(), round(box.get_y()), box.get_width(), box.get_facecolor()[3], box.get_hatch())
        for box in axes.patches
    ]


def test_tokens_lie_on_their_weights(tmp_path):
    figure = step_weights([("is $good$", ["_not_", "a", "$bad$"], [1.0, -2.0, 0.0])])
    (axes,) = figure.axes
    found = [(text.get_text(), text.get_parse_math()) for text in axes.texts]
    assert found == [("is $good$", False), ("_not_", False), ("a", False), ("$bad$", False)]
    opaque = [box[3:] for box in boxes(axes)]
    assert opaque == [(0.425, None), (0.85, "///"), (0.0, None)]
    first, second, _ = (box.get_facecolor()[:3] for box in axes.patches)
    assert first != second
    figure.savefig(tmp_path / "it.png")
    assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")


def test_tokens_do_not_overlap_and_lines_are_broken(tmp_path):
    draws = np.random.default_rng(0)
    tokens = ["x" * n for n in draws.integers(1, 20, 60)]
    figure = step_weights([("long", tokens, draws.random(60)), ("short", ["a"], [0.0])])
    long, short = figure.axes
    ends: dict[int, float] = {}
    for left, line, width, *_ in boxes(long):
        assert left >= ends.get(line, -1.0) and left + width <= 97
        ends[line] = left + width
    assert len(ends) > 5 and long.get_position().y0 > short.get_position().y1 - 1e-9
    assert long.get_ylim()[0] > max(ends)  # the last line is inside


@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 8, 6), (5, 8, 6, 1)])
def test_bars_under_series_and_frames(tmp_path, shape):
    steps, weights = np.random.default_rng(0).random(shape), np.array([1.0, -4.0, 0.0, 2.0, 3.0])
    figure = step_weights([("speaker", steps, weights)], title="test")
    above, bars = figure.axes
    heights = [bar.get_height() for bar in bars.patches]
    assert heights == [0.25, -1.0, 0.0, 0.5, 0.75]
    assert above.get_title(loc="left") == "speaker" and figure.get_suptitle() == "test"
    assert above.get_xlim() == bars.get_xlim() == (-0.5, 4.5)  # a bar is under its step
    if len(shape) <= 2:
        lines = np.array([line.get_ydata() for line in above.lines]).T
        np.testing.assert_array_equal(lines, steps.reshape(5, -1))
    else:
        strip = np.asarray(above.images[0].get_array().filled(np.nan))
        frames = steps.reshape(5, 8, 6)
        for number in range(5):
            np.testing.assert_array_equal(strip[:, 8 * number + 1 :][:, :6], frames[number])
    figure.savefig(tmp_path / "it.png")
