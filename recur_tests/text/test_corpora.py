import sys

import pytest

from recur.text import documentation, python_sources, read_text, sentences, split_by_hash


def test_reads_text_of_any_line_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffzwei\r\nZeilen ä\n".encode())
    assert read_text(path) == "zwei\nZeilen ä\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a.txt: expected a text, got an empty file"),
        (b"\xef\xbb\xbf", "a.txt: expected a text, got an empty file"),
        (b"a\nbc\xff\xfe", "a.txt:2: expected a text in UTF-8, got the byte 0xff"),
        (b"\xef\xbb\xbfa\nb\n\nc\xfe\n", "a.txt:4: expected a text in UTF-8, got the byte 0xfe"),
        (b"a\nb\0c", "a.txt:2: expected a text, got a binary file, with a zero byte"),
    ],
)
def test_what_is_no_text(tmp_path, data, message):
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_text(tmp_path / "a.txt")


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none.txt")


def test_the_library_is_real_text_without_tests_and_tables():
    sources = python_sources()
    assert len(sources) > 200
    assert list(sources) == sorted(sources)
    assert "def loads(" in sources["json/__init__.py"]
    assert not {"html/entities.py", "stringprep.py"} & sources.keys()
    for name in sources:
        assert not {"test", "tests", "encodings", "site-packages"} & set(name.split("/")[:-1])


def test_without_source(tmp_path, monkeypatch):
    monkeypatch.setattr("sysconfig.get_path", lambda name: tmp_path)
    with pytest.raises(FileNotFoundError, match="expected the source of the standard library"):
        python_sources()


def test_the_split_does_not_depend_on_what_else_is_there():
    texts = {f"file{number}.py": str(number) for number in range(400)}
    training, held_out = split_by_hash(texts, one_in=10)
    assert {**training, **held_out} == texts and not training.keys() & held_out.keys()
    assert 20 < len(held_out) < 60
    fewer = {name: texts[name] for name in list(texts)[::3]}
    assert split_by_hash(fewer, one_in=10)[1].items() <= held_out.items()
    with pytest.raises(ValueError, match="one_in: expected a whole number of at least 2, got 1"):
        split_by_hash(texts, one_in=1)


SOURCE = '''# Not all of the comments are sentences, as those are
# which tell of """ and of quotes.
import this  # Comments of a line are not read, for they are short.

def f():
    r"""Say what the function does for us.

    It is said here in the docstring.
    """
    return "# This is a string and so it is not read."  # but:
    # The indented comment is one of those that are read.
# This is a comment of another kind, and it is the last.
'''


def test_the_documentation_is_of_sentences_each_once(tmp_path, monkeypatch):
    (tmp_path / "b.py").write_text(SOURCE)
    (tmp_path / "a.py").write_text("# It is said here in the docstring.\n")
    (tmp_path / "c.py").write_text("import this\n# It is said here in the docstring.\n")
    monkeypatch.setattr("sysconfig.get_path", lambda name: tmp_path)
    texts = documentation()
    assert list(texts)[:2] == ["a.py", "b.py"]
    assert texts["a.py"] == "It is said here in the docstring."
    assert texts["b.py"].split("\n\n") == [
        'Not all of the comments are sentences, as those are which tell of """ and of quotes.',
        "Say what the function does for us.",
        "The indented comment is one of those that are read.",
        "This is a comment of another kind, and it is the last.",
    ]
    topics = list(texts)[2:]
    assert len(topics) > 30 and topics == sorted(topics)
    assert all(name.startswith("topics/") for name in topics)
    every = [sentence for text in texts.values() for sentence in sentences(text)]
    assert len(every) == len({*every}) > 1000

    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    assert list(documentation()) == ["a.py", "b.py"]
