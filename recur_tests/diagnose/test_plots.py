import numpy as np
import pytest

from recur.diagnose import curves, panels
from recur.diagnose.plots import scatter


def test_draws_what_it_is_given(tmp_path):
    many = list(range(100))
    figure = curves(
        {"training": (many, many), "held out": ([0, 50], [3.0, 2.0])}, y="bits", title="run"
    )
    (axes,) = figure.axes
    assert axes.get_legend_handles_labels()[1] == ["training", "held out"]
    pale, mean, few = (line.get_ydata().tolist() for line in axes.lines)
    assert pale == many and few == [3.0, 2.0]
    assert mean[0] == 0 and mean[-1] == sum(range(95, 100)) / 5
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("update", "bits", "run")
    figure.savefig(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_lengths():
    with pytest.raises(ValueError, match="as many positions as values for 'a', got 2 and 1"):
        curves({"a": ([1, 2], [1.0])})


def test_panels_share_colors_and_one_legend(tmp_path):
    figure = panels(
        {
            "one": {"a": ([1, 2], [0.5, 0.25]), "b": ([1, 2], [0.5, 0.1])},
            "two": {"b": ([1, 2], [3.0, 2.0]), "c": (range(40), [1.0] * 40)},
            "three": {"c": ([1], [2.0])},
        },
        levels={"two": {"best": 0.5, "bound": 1.5}, "three": {"bound": 1.5}},
        y="loss",
        logarithmic=True,
    )
    one, two, three = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["one", "two", "three"]
    assert {axes.get_yscale() for axes in figure.axes} == {"log"}
    assert one.get_legend_handles_labels()[1] == ["a", "b"] and three.get_ylabel() == "loss"
    colors = {
        (axes.get_title(), line.get_label()): line.get_color()
        for axes in figure.axes
        for line in axes.lines
    }
    assert colors["one", "b"] == colors["two", "b"] != colors["one", "a"]
    assert colors["two", "c"] == colors["three", "c"]
    best, bound = two.lines[-2:]
    assert bound.get_ydata() == [1.5, 1.5] and best.get_linestyle() == "--"
    assert bound.get_linestyle() == three.lines[-1].get_linestyle() != best.get_linestyle()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "c", "best", "bound"]
    figure.savefig(tmp_path / "panels.png")
    assert (tmp_path / "panels.png").read_bytes().startswith(b"\x89PNG")


def test_panels_that_are_not_there():
    lines = {"a": ([1], [1.0])}
    for given, levels in (({}, None), ({"one": lines}, {"two": {"bound": 1.0}})):
        with pytest.raises(ValueError, match="expected at least one panel, and levels only"):
            panels(given, levels=levels)
    with pytest.raises(ValueError, match="panels: expected as many positions as values for 'a'"):
        panels({"one": {"a": ([1, 2], [1.0])}})


def test_of_labels_that_cover_each_other_the_first_is_written(tmp_path):
    points = [(0.0, 0.0), (0.001, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.999)]
    figure = scatter(points, ["here", "hidden", "there", "above", "covered"], title="words")
    (axes,) = figure.axes
    written = {text.get_text(): text.xy for text in axes.texts}
    assert written == {"here": points[0], "there": points[2], "above": points[3]}
    (dots,) = axes.collections
    assert dots.get_offsets().tolist() == [list(point) for point in points]
    assert axes.get_title() == "words"
    figure.savefig(tmp_path / "words.png")
    assert (tmp_path / "words.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("points", [[], [(0.0, 1.0)], [(0.0,), (1.0,)]])
def test_points_need_two_numbers_and_a_label(points):
    with pytest.raises(ValueError, match=r"points of shape \[N, 2\] and N labels, got"):
        scatter(points, ["a", "b"])


MARKED = ["$^$", "_train", "$_$", "a_b", "$x$", r"\$", ""]


def legend_of(owner):
    return [(text.get_text(), text.get_parse_math()) for text in owner.get_texts()]


def test_labels_are_shown_as_they_are(tmp_path):
    """Also where matplotlib would read formulas between two dollars, or hide what begins with _."""
    lines = {name: ([1, 2], [1.0, 2.0]) for name in MARKED}
    one = curves(lines, x="$x$", y="$y$", title="$")
    many = panels({"$^$": lines}, levels={"$^$": {"_level": 1.0}}, x="$", y="$$")
    words = scatter([(n, n) for n in range(len(MARKED))], MARKED, title="$^$")
    assert legend_of(one.axes[0].get_legend()) == [(name, False) for name in MARKED]
    assert legend_of(many.legends[0]) == [(name, False) for name in [*MARKED, "_level"]]
    assert {text.get_text() for text in words.axes[0].texts} >= set(MARKED[:-1])
    for number, figure in enumerate((one, many, words)):
        axes = figure.axes[0]
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts):
            assert not text.get_parse_math()
        figure.savefig(tmp_path / f"{number}.png")  # where a formula that is none would be an error
    assert many.axes[0].get_title() == "$^$" and one.axes[0].get_xlabel() == "$x$"


def lines_of(axes):
    return {line.get_label(): line for line in axes.lines}


@pytest.mark.parametrize("count", [5, 100])
def test_gradients_by_lag_are_drawn_as_they_are_on_a_log_axis(count, tmp_path):
    lags, norms = np.arange(1, count + 1), 0.5 ** np.arange(count)
    norms[-1] = 0.0  # vanished: there is no place for it
    figure = curves({"elman": (lags, norms), "gru": (lags, norms + 1)}, logarithmic=True,
                    smooth=False)  # fmt: skip
    (axes,) = figure.axes
    assert axes.get_yscale() == "log" and len(axes.lines) == 2
    for name, values in {"elman": norms, "gru": norms + 1}.items():
        assert np.array_equal(lines_of(axes)[name].get_xydata(), np.stack([lags, values], 1))
    figure.savefig(tmp_path / "lags.png")
    assert axes.get_ylim()[0] > norms[-2] / 100


def test_curves_differ_in_grey():
    """Each in the dashes of its line, and in the marker if it has few points."""
    places = range(40)
    figure = curves({str(n): (places, places) for n in range(8)}, smooth=False)
    shown = [(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines]
    assert len(set(shown)) == 8 and len({dashes for _, dashes in shown[:4]}) == 4
    few = curves({str(n): ([0], [n]) for n in range(6)}).axes[0].lines
    assert len({line.get_marker() for line in few}) == 6


def test_panels_on_one_scale():
    given = {"before": {"a": ([1, 2], [1.0, 10.0])}, "after": {"a": ([1, 2], [3.0, 100.0])}}
    apart, shared = panels(given), panels(given, share_y=True)
    assert len({axes.get_ylim() for axes in apart.axes}) == 2
    assert len({axes.get_ylim() for axes in shared.axes}) == 1
    long = {"one": {"a": (range(40), range(40))}}
    assert (
        len(panels(long).axes[0].lines) == 2 and len(panels(long, smooth=False).axes[0].lines) == 1
    )


@pytest.mark.parametrize("places", [[1, 2, 3, 4], np.arange(3.0), [7], [5_000, 5_001]])
def test_whole_numbers_are_marked_at_whole_numbers(places):
    lines = {"a": (places, places)}
    for figure in (curves(lines), panels({"one": lines, "two": lines})):
        ticks = figure.axes[0].get_xticks()
        assert len(ticks) and (ticks % 1 == 0).all()


def test_other_numbers_are_marked_between_whole_numbers_too():
    for lines in ({"a": ([0.5, 1.5], [1, 2])}, {"a": ([1, 2], [1, 2]), "b": ([1.25], [1])}):
        assert (curves(lines).axes[0].get_xticks() % 1 != 0).any()
