import pytest

from recur.diagnose import curves


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
    with pytest.raises(ValueError, match="as many places as values of 'a', got 2 and 1"):
        curves({"a": ([1, 2], [1.0])})
