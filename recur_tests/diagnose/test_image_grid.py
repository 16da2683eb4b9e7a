import numpy as np
import pytest

from recur.diagnose import image_grid

COLORS = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)


def grey(color):
    return np.dot([0.299, 0.587, 0.114], color[:3])


def test_draws_each_image_under_its_title(tmp_path):
    titles = ["a $x$", "", "a very long caption of a picture that has many words"]
    figure = image_grid(COLORS, titles, columns=2, title="$y$")
    assert [len(set(each)) for each in zip(*places(figure), strict=True)] == [2, 2]
    for axes, image, title in zip(figure.axes, COLORS, titles, strict=True):
        assert (axes.images[0].get_array() == image).all() and len(axes.images) == 1
        lines = axes.get_title().split("\n")
        assert " ".join(lines) == title and max(map(len, lines)) <= 28
        assert not axes.title.get_parse_math()
    assert figure.get_suptitle() == "$y$"
    figure.savefig(tmp_path / "grid.png")
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")


def places(figure):
    figure.draw_without_rendering()
    boxes = [axes.get_position() for axes in figure.axes]
    return [(round(box.x0, 2), round(box.y0, 1)) for box in boxes]


def test_right_and_wrong_differ_in_sign_line_and_grey():
    figure = image_grid(COLORS[:2], ["yes", "no"], right=[True, False])
    right, wrong = (axes.spines["left"] for axes in figure.axes)
    assert [axes.get_title() for axes in figure.axes] == ["✓ yes", "✗ no"]
    assert right.get_linestyle() != wrong.get_linestyle()
    assert abs(grey(right.get_edgecolor()) - grey(wrong.get_edgecolor())) > 0.15


def test_pixels_without_weight_are_dark():
    weights = np.array([[0.0, 0.25], [0.5, 0.25]])
    image = np.ones((4, 8))
    (axes,) = image_grid([image], ["word"], weights=[weights]).axes
    below, shade = axes.images
    assert below.get_extent() == shade.get_extent() == axes.images[0].get_extent()
    black = shade.get_array()
    assert not black[..., :3].any()
    np.testing.assert_allclose(black[..., 3], 0.8 * (1 - weights / 0.5))
    (axes,) = image_grid([image], ["word"], weights=[np.ones((1, 1))]).axes
    assert not axes.images[1].get_array().any()  # the whole picture is seen
    (axes,) = image_grid([image], ["word"], weights=[np.zeros((2, 2))]).axes
    assert (axes.images[1].get_array()[..., 3] == 0.8).all()


@pytest.mark.parametrize("count", [1, 4, 5])
def test_no_more_columns_than_images(count):
    figure = image_grid(np.zeros((count, 2, 2)), ["a"] * count)
    assert len(figure.axes) == count
    assert figure.get_figwidth() == pytest.approx(2.1 * min(count, 4))
