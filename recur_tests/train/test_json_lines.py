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


TEXTS = {
    "one line": "buy milk",
    "lines": "buy milk\nand bread\n",
    "another object": '{"name": "milk"}\n',
    "a list": "[1, 2]\n",
    "deep": "[" * 100_000 + "\n",
    "a step that is none": '{"step": "ten"}\n',
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path, name):
    path = tmp_path / "notes.txt"
    path.write_text(TEXTS[name])
    with pytest.raises(ValueError, match="notes.txt, line 1: expected"):
        JsonLines(path, step=5)
    assert path.read_text() == TEXTS[name]


def test_the_lines_of_another_run_are_refused_and_left_alone(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = JsonLines(path)
    log(report(10))
    before = path.read_text()
    with pytest.raises(ValueError, match="a new file, got one with metrics up to update 10"):
        JsonLines(path)
    assert path.read_text() == before
    JsonLines(path, step=0)
    assert path.read_text() == ""


def test_lines_that_stay_are_left_as_they_are(tmp_path):
    path = tmp_path / "metrics.jsonl"
    kept = '{"step": 10, "loss":   1, "note": "ein Ü"}\n'
    path.write_text(kept + '{"step": 20, "loss": 1}\n', encoding="utf-8")
    JsonLines(path, step=10)
    assert path.read_text(encoding="utf-8") == kept
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]
