"""The folder of a run is locked by one process, and removed if the run fails at its start."""

import importlib
import os

import pytest


@pytest.fixture(scope="module")
def claims(scripts):
    return importlib.import_module("claims")


def fail(claims, folder, error, write="options.json", **options):
    with pytest.raises(type(error)), claims.claimed(folder, "", **options) as claimed:
        (claimed / write).write_text("something")
        raise error


def test_a_start_that_fails_leaves_no_folder(claims, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new/run", "empty"):
        fail(claims, tmp_path / name, KeyError())
        fail(claims, tmp_path / name, KeyboardInterrupt(), write="vocabulary.json")
    assert not (tmp_path / "new/run").exists() and not any((tmp_path / "empty").iterdir())


def test_what_has_begun_is_kept(claims, tmp_path):
    fail(claims, tmp_path / "stopped", KeyboardInterrupt())
    fail(claims, tmp_path / "later", FloatingPointError(), write="metrics.jsonl")
    assert (tmp_path / "stopped/options.json").exists()
    assert (tmp_path / "later/metrics.jsonl").exists()
    fail(claims, tmp_path / "stopped", KeyError(), goes_on=True)  # it was not new
    assert (tmp_path / "stopped/options.json").exists()


def test_others_files_are_left_alone(claims, tmp_path):
    (tmp_path / "options.json").write_text("of another program")
    for options in ({}, {"goes_on": True}):
        with pytest.raises(ValueError, match="got one with other files. Name another"):
            claims.claimed(tmp_path, "", **options).__enter__()
    with pytest.raises(ValueError, match="expected a new folder, got one with other files"):
        claims.new_folder(tmp_path, "")
    assert [path.name for path in tmp_path.iterdir()] == ["options.json"]
    with pytest.raises(NotADirectoryError, match="options.json"):
        claims.claimed(tmp_path / "options.json", "").__enter__()


def test_a_process_killed_at_its_start_leaves_a_new_folder(claims, tmp_path):
    with claims.claimed(tmp_path / "run", "") as folder:
        (folder / "options.json.17.new").write_text("half")
    with claims.claimed(tmp_path / "run", "", goes_on=True):
        pass


def test_a_second_process_is_told_of_the_first(claims, tmp_path):
    with claims.claimed(tmp_path / "run", ""):
        with pytest.raises(OSError, match=f"process {os.getpid()} on .* is writing here"):
            claims.claimed(tmp_path / "run", "", goes_on=True).__enter__()
    with claims.claimed(tmp_path / "run", ""):
        pass


def test_one_that_comes_just_after_another_does_not_go_on_with_its_run(
    claims, tmp_path, monkeypatch
):
    lock = claims.RunFolder.lock

    def lock_late(folder):
        (tmp_path / "run" / "options.json").write_text("of the other")
        lock(folder)

    monkeypatch.setattr(claims.RunFolder, "lock", lock_late)
    with pytest.raises(ValueError, match="another process has started a run there. Start again"):
        claims.claimed(tmp_path / "run", "", goes_on=True).__enter__()
    assert (tmp_path / "run" / "options.json").exists()


def test_folders_without_a_name_are_numbered(claims, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x-1").touch()
    assert str(claims.new_folder(None, "runs/x")) == "runs/x-2"
    with claims.claimed(None, "runs/x") as folder:
        assert str(folder) == "runs/x-3"
