import pytest

from recur.files import replacing


@pytest.mark.parametrize("mode, data", [("w", "ein Ü\n"), ("wb", b"\x00\xff")])
def test_a_file_is_put_in_place_when_it_is_whole(tmp_path, mode, data):
    path = tmp_path / "file"
    path.write_text("before")
    with replacing(path, mode) as file:
        file.write(data)
        assert path.read_text() == "before"
    assert path.read_bytes() == (data if mode == "wb" else data.encode("utf-8"))
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
