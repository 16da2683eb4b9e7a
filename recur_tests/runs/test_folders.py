"""The folder of a run is locked by one process, and removed if the run fails at its start."""

import os

import pytest

from recur.runs import new_folder
from recur.runs.folders import claimed
from recur.train.run_folder import RunFolder


def fail(folder, error, write="options.json", **options):
    with pytest.raises(type(error)), claimed(folder, "", **options) as path:
        (path / write).parent.mkdir(exist_ok=True)
        (path / write).write_text("something")
        raise error


def test_a_start_that_fails_leaves_no_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new/run", "empty"):
        fail(tmp_path / name, KeyError())
        fail(tmp_path / name, KeyboardInterrupt(), write="vocabulary.json")
    assert not (tmp_path / "new/run").exists() and not any((tmp_path / "empty").iterdir())


def test_what_has_begun_is_kept(tmp_path):
    fail(tmp_path / "stopped", KeyboardInterrupt())
    fail(tmp_path / "later", FloatingPointError(), write="metrics.jsonl")
    fail(tmp_path / "part", FloatingPointError(), write="gru/metrics.jsonl")
    assert (tmp_path / "stopped/options.json").exists()
    assert (tmp_path / "later/metrics.jsonl").exists()
    assert (tmp_path / "part/gru/metrics.jsonl").exists()
    fail(tmp_path / "stopped", KeyError(), may_resume=True)  # it was not new
    assert (tmp_path / "stopped/options.json").exists()


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "options.json").write_text("of another program")
    for options in ({}, {"may_resume": True}):
        with pytest.raises(ValueError, match="got one with other files. Name another"):
            claimed(tmp_path, "", **options).__enter__()
    with pytest.raises(ValueError, match="expected a new folder, got one with other files"):
        new_folder(tmp_path, "")
    assert [path.name for path in tmp_path.iterdir()] == ["options.json"]
    with pytest.raises(NotADirectoryError, match="options.json"):
        claimed(tmp_path / "options.json", "").__enter__()


def test_a_process_killed_at_its_start_leaves_a_new_folder(tmp_path):
    with claimed(tmp_path / "run", "") as folder:
        (folder / "options.json.17.new").write_text("half")
    with claimed(tmp_path / "run", "", may_resume=True):
        pass


def test_an_error_of_a_second_process_names_the_first(tmp_path):
    with claimed(tmp_path / "run", ""):
        with pytest.raises(OSError, match=f"process {os.getpid()} on .* is writing here"):
            claimed(tmp_path / "run", "", may_resume=True).__enter__()
    with claimed(tmp_path / "run", ""):
        pass


def test_a_process_that_comes_just_after_another_does_not_resume_its_run(tmp_path, monkeypatch):
    lock = RunFolder.lock

    def lock_late(folder):
        (tmp_path / "run" / "options.json").write_text("of the other")
        lock(folder)

    monkeypatch.setattr(RunFolder, "lock", lock_late)
    with pytest.raises(ValueError, match="another process has started a run there. Start again"):
        claimed(tmp_path / "run", "", may_resume=True).__enter__()
    assert (tmp_path / "run" / "options.json").exists()


def test_folders_without_a_name_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x-1").touch()
    assert str(new_folder(None, "runs/x")) == "runs/x-2"
    with claimed(None, "runs/x") as folder:
        assert str(folder) == "runs/x-3"
