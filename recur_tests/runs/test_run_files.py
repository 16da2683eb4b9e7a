"""Files of runs: written atomically, and damage is an error that names the file."""

import errno
import os

import pytest

from recur.runs import read_json, write_figure, write_json, write_text
from recur.runs.run_files import writing


def test_a_file_that_cannot_be_written_is_named_and_unchanged(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": tmp_path})
    assert read_json(path) == {"a": str(tmp_path)}
    for code in (errno.ENOSPC, errno.EIO):
        with pytest.raises(OSError, match="a.json: it could not be written") as raised:
            with writing(path) as file:
                file.write("half")
                raise OSError(code, "")
        assert f"({os.strerror(code)})." in str(raised.value)
        assert ("Make room" in str(raised.value)) == (code == errno.ENOSPC)
    assert read_json(path) == {"a": str(tmp_path)}
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\ud800", "5", "null"])
def test_what_is_no_json_object(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match="a.json: expected JSON"):
        read_json(tmp_path / "a.json")


def test_text_in_utf_8(tmp_path):
    write_text(str(tmp_path / "a.txt"), "für 你\n")
    assert (tmp_path / "a.txt").read_bytes() == "für 你\n".encode()


def test_a_figure_in_the_format_of_the_suffix(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    for suffix, start in {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}.items():
        write_figure(tmp_path / f"a.{suffix}", figure)
        assert (tmp_path / f"a.{suffix}").read_bytes().startswith(start)
    with pytest.raises(ValueError, match="foo"):
        write_figure(tmp_path / "a.foo", figure)
    assert not list(tmp_path.glob("*foo*"))
