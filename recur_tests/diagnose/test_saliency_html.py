import html.parser
import itertools
import re

import numpy as np
import pytest

from recur.diagnose import saliency_html


class Tokens(html.parser.HTMLParser):
    """Collects the text, the style and the value of each token, and checks that tags match."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tokens, self.text = [], [], ""
        self.feed(str(page))
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.text += data
        if self.open[-1][1].get("title"):
            self.tokens.append((data, self.open[-1][1]["style"], self.open[-1][1]["title"]))


def opacity_of(style):
    return float(re.search(r"rgba\(\d+,\d+,\d+,([\d.]+)\)", style).group(1))


def test_tokens_are_colored_by_their_values():
    page = saliency_html(["good", "<b>&amp;", "day"], [0.5, -1.0, 0.0], title="<t>")
    found = Tokens(page)
    assert [token for token, *_ in found.tokens] == ["good", "<b>&amp;", "day"]
    assert [float(value) for *_, value in found.tokens] == [0.5, -1.0, 0.0]
    good, bad, day = (style for _, style, _ in found.tokens)
    assert opacity_of(bad) == 2 * opacity_of(good) > opacity_of(day) == 0
    assert "rgba(0,114,178" in good and "rgba(213,94,0" in bad
    assert "underline" in bad and "underline" not in good + day
    assert found.text == "<t>good <b>&amp; day-11"  # with the limits of the legend
    assert page._repr_html_() == str(page)
    assert not re.search(r"src=|href=|url\(|<script", str(page))


def test_characters_of_a_string_and_values_above_zero():
    found = Tokens(saliency_html("a b\n", [1.0, 2.0, 3.0, 4.0]))
    assert [token for token, *_ in found.tokens] == ["a", " ", "b", "↵\n"]
    assert found.text == "a b↵\n04" and "underline" not in str(saliency_html("ab", [1, 2]))


def test_values_of_zero():
    assert {opacity_of(style) for _, style, _ in Tokens(saliency_html("ab", [0, 0])).tokens} == {0}


def luminance(color):
    parts = np.asarray(color) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


PAGES = {"white": (255, 40), "Jupyter dark": (17, 222), "Colab dark": (56, 213), "Furo": (19, 207)}


@pytest.mark.parametrize("page", PAGES)
def test_text_has_enough_contrast_on_every_page(page):
    """At least 4.5, as WCAG 2 asks for, for the strongest colors."""
    background, text = (np.full(3, level) for level in PAGES[page])
    for value in (1.0, -1.0):
        style = Tokens(saliency_html(["a"], [value])).tokens[0][1]
        *color, opacity = map(float, re.search(r"rgba\((.*?)\)", style).group(1).split(","))
        behind = opacity * np.array(color) + (1 - opacity) * background
        low, high = sorted([luminance(behind), luminance(text)])
        assert (high + 0.05) / (low + 0.05) >= 4.5
        shades = itertools.pairwise(
            opacity_of(Tokens(saliency_html("ab", [value * x, value])).tokens[0][1])
            for x in (0.0, 0.3, 0.6, 1.0)
        )
        assert all(weak < strong for weak, strong in shades)
