"""The picture of a confusion matrix."""

import numpy as np
import pytest

from recur.diagnose import confusion


def test_shades_are_shares_of_the_target_class(tmp_path):
    counts = np.array([[8, 2, 0], [0, 0, 0], [1, 0, 3]])
    figure = confusion(counts, ["a_b", "$x$", ""], title="test")
    axes = figure.axes[0]
    (image,) = axes.images
    expected = [[0.8, 0.2, 0.0], [0.0, 0.0, 0.0], [0.25, 0.0, 0.75]]
    np.testing.assert_allclose(image.get_array(), expected)
    assert image.get_clim() == (0, 1)
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "8", (1, 0): "2", (0, 2): "1", (2, 2): "3"}
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [(label.get_text(), label.get_parse_math()) for label in labels] == [
            (name, False) for name in ("a_b", "$x$", "")
        ]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "target class")
    figure.savefig(tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_numbers_are_readable_on_their_shade():
    figure = confusion([[9.5, 0.5], [2000, 2001]], ["a", "b"])
    found = [(text.get_text(), text.get_color()) for text in figure.axes[0].texts]
    assert found == [("9.5", "white"), ("0.5", "black"), ("2,000", "black"), ("2,001", "white")]


def test_shades_get_darker_steadily():
    figure = confusion([[1]], ["a"])
    colors = figure.axes[0].images[0].cmap(np.linspace(0, 1, 20))[:, :3]
    grey = colors @ [0.299, 0.587, 0.114]
    assert (np.diff(grey) < 0).all()


@pytest.mark.parametrize("size", [1, 20])
def test_any_number_of_classes(tmp_path, size):
    confusion(np.eye(size), [f"class {n}" for n in range(size)]).savefig(tmp_path / "it.png")
