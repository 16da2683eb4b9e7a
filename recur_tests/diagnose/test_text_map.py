import numpy as np

from recur.diagnose import text_map

TEXT = "to be,\nor $not$ to be"
VALUES = np.random.default_rng(0).uniform(size=(2, len(TEXT)))


def test_the_text_is_written_in_lines_above_its_values(tmp_path):
    figure = text_map(TEXT, VALUES, ["forget", "input"], columns=8, title="$a$")
    lines = figure.axes[:3]
    written = ["".join(text.get_text() for text in axes.texts) for axes in lines]
    assert written == ["to be,↵o", "r $not$ ", "to be"]
    drawn = [axes.images[0].get_array() for axes in lines]
    assert np.array_equal(np.concatenate(drawn, 1), VALUES)
    assert {axes.images[0].get_clim() for axes in lines} == {(0.0, 1.0)}
    assert {axes.get_xlim() for axes in lines} == {(-0.5, 7.5)}  # cells of the same width
    assert [text.get_text() for text in lines[1].get_yticklabels()] == ["forget", "input"]
    assert [text.get_position()[0] for text in lines[2].texts] == [0, 1, 2, 3, 4]
    figure.savefig(tmp_path / "text.png")


def test_limits_of_the_colors():
    axes = text_map("ab", [[-1, 1]], ["h"], low=-1).axes[0]
    assert axes.images[0].get_clim() == (-1, 1)
