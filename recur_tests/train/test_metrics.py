import json

import pytest

from recur.train import JsonLines, Report, read_json_lines


def report(step):
    return Report(step, step - 10, None, {"loss": step / 10})


def test_lines_after_the_checkpoint_are_taken_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = JsonLines(path)
    for step in (10, 20, 30):
        log(report(step))
    with path.open("a") as file:
        file.write('{"step": 40, "lo')  # killed while it wrote
    assert [record["step"] for record in read_json_lines(path)] == [10, 20, 30]
    log = JsonLines(path, step=20)
    log(report(30))
    lines = path.read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": step, "loss": step / 10} for step in (10, 20, 30)
    ]


def test_an_end_without_anything_new_is_no_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = JsonLines(path)
    log(report(10))
    log(report(10)._replace(since=10, last=True))
    assert len(read_json_lines(path)) == 1


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2: expected one JSON object"):
        read_json_lines(path)
