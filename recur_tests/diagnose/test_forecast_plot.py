"""The picture of forecasts."""

import numpy as np
import pytest

from recur.diagnose import forecast_fan

PATHS = np.random.default_rng(0).standard_normal((50, 4)).cumsum(1)


def test_bands_are_quantiles_of_the_paths(tmp_path):
    history, future = [5.0, np.nan, 1.0], [0.5, np.nan, 1.0, 2.0]
    fans = {"$a$": PATHS, "b": PATHS + 1, "c": PATHS}
    options = {"future": future, "lines": {"b": [1, 2, 3, 4]}, "title": "sine", "y": "height"}
    figure = forecast_fan(history, fans, **options)
    assert [axes.get_title() for axes in figure.axes] == list(fans)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "95 %", "80 %", "observed", "median", "one step ahead",
    ]  # fmt: skip
    for axes, (name, paths) in zip(figure.axes, fans.items(), strict=True):
        for band, levels in zip(axes.collections, ((0.025, 0.975), (0.1, 0.9)), strict=True):
            corners = band.get_paths()[0].vertices
            for t in range(4):
                ends = corners[corners[:, 0] == t + 1][:, 1]
                expected = np.quantile(paths[:, t], levels)
                np.testing.assert_allclose([ends.min(), ends.max()], expected)
        observed, *own, median = axes.lines[:-1]
        np.testing.assert_allclose(median.get_ydata(), np.median(paths, 0))
        assert observed.get_xdata().tolist() == [-2, -1, 0, 1, 2, 3, 4]
        np.testing.assert_array_equal(observed.get_ydata(), history + future)
        assert [line.get_ydata().tolist() for line in own] == [[1, 2, 3, 4]] * (name == "b")
    figure.savefig(tmp_path / "it.png")
    assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_a_forecast_that_explodes_does_not_hide_the_series(scale):
    figure = forecast_fan([0.0, 10.0], {"a": PATHS * scale, "b": PATHS})
    low, high = figure.axes[0].get_ylim()
    assert figure.axes[1].get_ylim() == (low, high)
    assert -6 < low < 0 and 10 < high < 16 and (scale == 1 or (low < -5 and high > 15))


def test_a_constant_series():
    figure = forecast_fan([3.0], {"a": np.full((1, 2), 3.0)})
    assert figure.axes[0].get_ylim() == pytest.approx((2.97, 3.03))


def test_steps_are_marked_at_whole_numbers():
    for figure in (forecast_fan([3.0], {"a": PATHS[:, :1]}), forecast_fan([3.0], {"a": PATHS})):
        ticks = figure.axes[0].get_xticks()
        assert len(ticks) and (ticks % 1 == 0).all()
