"""Tables of results in Markdown."""

import numpy as np
import pytest

from recur.runs import markdown_table


def test_columns_are_those_of_all_rows_and_numbers_are_formatted():
    rows = [
        {"model": "gru|x", "loss": np.float32(0.5), "count": 12345},
        {"model": "lstm", "loss": 2, "right": 0.25},
        {"model": True, "right": np.float64("nan")},
    ]
    assert markdown_table(rows, precision=2, formats={"right": ".1%"}).splitlines() == [
        "| model | loss | count | right |",
        "|---|---:|---:|---:|",
        "| gru\\|x | 0.50 | 12,345 |  |",
        "| lstm | 2 |  | 25.0% |",
        "| True |  |  | nan% |",
    ]


def test_no_rows():
    with pytest.raises(ValueError, match="markdown_table: expected at least one row, got none"):
        markdown_table([])
