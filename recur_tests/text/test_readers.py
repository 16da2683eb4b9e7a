import codecs
import itertools

import hypothesis
import hypothesis.strategies as st
import pytest

from recur.text import read_columns, read_lines, read_pairs, readers

PIECES = ["a", "ä", "🙂", "\r", "\n", "\r\n", "\u2028", "\x0b", "\x0c", "\x85", "\x1c", " "]
TEXTS = st.lists(st.sampled_from(PIECES)).map("".join)
FEW = hypothesis.settings(
    max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)


def lines_of(text):
    lines = text.replace("\r\n", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


@FEW
@hypothesis.given(
    TEXTS, st.sampled_from(["utf-8", "UTF8", "utf-16", "utf-32-le"]), st.integers(1, 9)
)
def test_lines_end_at_line_ends_and_nowhere_else(tmp_path, text, encoding, chunk):
    """However the file is cut into chunks, in the middle of characters and of line ends too."""
    text = "b\n" + text
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "_CHUNK", chunk)
        assert list(read_lines(path, encoding)) == lines_of(text)


def test_a_mark_in_front_of_the_text_is_none_of_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(codecs.BOM_UTF8 + b"a\n\xef\xbb\xbfb")
    assert list(read_lines(str(path))) == ["a", "\ufeffb"]
    path.write_bytes("ä\r\r\n\r".encode("latin-1"))
    assert list(read_lines(path, encoding="latin-1")) == ["ä\r", "\r"]


@pytest.mark.parametrize("encoding", ["shift_jis", "gb18030", "iso2022_jp", "utf-7"])
def test_mistakes_in_encodings_with_a_memory(tmp_path, monkeypatch, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes("日本\n日本x".encode(encoding) + b"\xff\xff\xff")
    for chunk in range(1, 30):
        monkeypatch.setattr(readers, "_CHUNK", chunk)
        with pytest.raises(ValueError, match="a.txt:2: .* the byte 0xff at column 4"):
            list(read_lines(path, encoding))


@FEW
@hypothesis.given(
    st.sampled_from([b"", codecs.BOM_UTF8]),
    TEXTS,
    TEXTS,
    st.sampled_from([b"\xff", b"\xc3(", b"\xe2\x82", b"\0"]),
    st.integers(1, 9),
)
def test_bytes_that_are_no_text_are_found_in_their_line(
    tmp_path, mark, before, behind, wrong, chunk
):
    path = tmp_path / "a.txt"
    path.write_bytes(mark + before.encode() + wrong + behind.encode())
    line, column = before.count("\n") + 1, len(before.rsplit("\n", 1)[-1]) + 1
    what = f"the byte 0x{wrong[0]:02x}" if wrong[0] else "a zero byte"
    message = rf"a\.txt:{line}: expected text.* got {what}.* at column {column}\. Pass the enc"
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "_CHUNK", chunk)
        with pytest.raises(ValueError, match=message):
            for text in read_lines(path):
                lines.append(text)
    assert lines == before.replace("\r\n", "\n").split("\n")[:-1]


def test_lines_before_a_mistake_are_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntwo\nthr\xff\n")
    lines = read_lines(path)
    assert [next(lines), next(lines)] == ["one", "two"]
    with pytest.raises(
        ValueError, match="a.txt:3: expected text in utf-8, got the byte 0xff at column 4"
    ):
        next(lines)


def test_a_file_larger_than_memory(tmp_path):
    path = tmp_path / "a.txt"
    with open(path, "wb") as file:
        file.write(b"the first line\tthe other column\nand so on")
        file.truncate(1 << 42)  # 4 TiB that are nowhere
    for read, expected in [
        (read_lines, "the first line\tthe other column"),
        (read_pairs, ("the first line", "the other column")),
    ]:
        stream = read(path)
        assert next(stream) == expected
        with pytest.raises(ValueError, match="a.txt:2: .* a zero byte.* at column 10"):
            next(stream)


@pytest.mark.parametrize("read", [read_lines, read_pairs, read_columns])
@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (b"", "utf-8", "a.txt: expected a text, got an empty file"),
        (codecs.BOM_UTF8, "utf-8", "a.txt: expected a text, got only blank lines"),
        (b"\n \t\r\n\n ", "utf-8", "a.txt: expected a text, got only blank lines"),
        (b"a b", "utf-9", "a.txt: expected the name of a text encoding: unknown enc.* utf-9"),
        (b"a b", "hex", "a.txt: expected the name of a text encoding: 'hex' is not"),
        (
            b"abcd",
            "utf-16",
            "a.txt:1: expected text in utf-16, got invalid bytes .*BOM.* at column 1",
        ),
        (
            b"a\tb\nc\td\xe9\n",
            "utf-8",
            "a.txt:2: expected text in utf-8, got the byte 0xe9 at column 4",
        ),
    ],
)
def test_files_that_are_no_text(tmp_path, read, content, encoding, message):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read(path, encoding=encoding))
    with pytest.raises(FileNotFoundError):
        list(read(tmp_path / "none.txt"))


def test_pairs_have_two_columns(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(b'a "dog"\tein Hund\r\n\n a cat\teine  Katze ')
    assert list(read_pairs(path)) == [('a "dog"', "ein Hund"), (" a cat", "eine  Katze ")]
    for line, message in [
        ("a dog", "a.tsv:2: expected two columns separated by a tab, got 1: 'a dog'"),
        ("a\tb\t" + "c" * 99, r"a.tsv:2: .* got 3: 'a\\tb\\tc{53}\.\.\.'"),
        ("a\t ", r"a.tsv:2: expected text in both columns, got 'a\\t '"),
    ]:
        path.write_text(f"a\tb\n{line}\n")
        pairs = read_pairs(path)
        assert next(pairs) == ("a", "b")
        with pytest.raises(ValueError, match=message):
            next(pairs)


def test_columns_of_words(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("\n# IN  B\n1-2 CD\u3000E O\n\n \t\nÄ\u00a0b\tNN O\tO\n\n\n1.1 CD O")
    assert list(read_columns(path)) == [
        (["#", "1-2"], ["IN", "CD\u3000E"]),
        (["Ä\u00a0b"], ["NN O"]),
        (["1.1"], ["CD"]),
    ]
    assert list(read_columns(path, (-1, 0, 0)))[0] == (["B", "O"], ["#", "1-2"], ["#", "1-2"])
    assert next(read_columns(path, columns=[2])) == (["B", "O"],)


CONLLU = """# sent_id = 1
# text = Vámonos 10 000
1-2\tVámonos\t_
1\tVamos\tVERB
2\tnos\tPRON
2.1\tx\tPRON
3\t10 000\tNUM

# text = #
1\t#\tSYM

# newpar
"""


def test_words_of_conllu(tmp_path):
    path = tmp_path / "a.conllu"
    path.write_text(CONLLU, "utf-8")
    assert list(read_columns(path, (1, 2), conllu=True)) == [
        (["Vamos", "nos", "10 000"], ["VERB", "PRON", "NUM"]),
        (["#"], ["SYM"]),
    ]
    path.write_text("# text\n1-2\ta\tb\n\n# text")
    with pytest.raises(ValueError, match="a.conllu: expected sentences in columns, got comments"):
        list(read_columns(path, conllu=True))
    path.write_text("1\ta\tb\nDogs\tbark\tb\n")
    with pytest.raises(ValueError, match="a.conllu:2: expected the index of a word .* 'Dogs'"):
        list(read_columns(path, conllu=True))


@pytest.mark.parametrize(
    ("columns", "line", "message"),
    [
        (
            (0, 1),
            "b NN",
            "a.txt:4: expected 3 columns, as in the first line of the sentence, got 2: 'b NN'",
        ),
        ((0, 1), "b  NN  O O", "a.txt:4: expected 3 columns, .* got 4"),
        (
            (0, 3),
            "b NN O",
            "a.txt:1: expected a column 3, counted from 0, got only 3 columns: 'x Y O'",
        ),
        ((-4,), "b NN O", "a.txt:1: expected a column -4"),
        ((0, 1), "b\t\tO", r"a.txt:4: expected text in column 1, got 'b\\t\\tO'"),
    ],
)
def test_columns_that_are_not_there(tmp_path, columns, line, message):
    path = tmp_path / "a.txt"
    path.write_text(f"x Y O\n\na NN O\n{line}\n")
    with pytest.raises(ValueError, match=message):
        list(read_columns(path, columns))


def test_other_columns_in_another_sentence(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a DT\n\nb NN x y\n")
    assert list(read_columns(path)) == [(["a"], ["DT"]), (["b"], ["NN"])]


def test_sentences_are_read_as_they_are_asked_for(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a DT\nb NN\n\nc DT\nd\n")
    assert list(itertools.islice(read_columns(path), 1)) == [(["a", "b"], ["DT", "NN"])]


@pytest.mark.parametrize("space", ["\u3000", "\u00a0", "\u2028", "\x0b", "\x0c", "\x85", "\x1c"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_other_white_space_is_text(tmp_path, space, end):
    path = tmp_path / "a.txt"

    def write(*lines):
        path.write_bytes("".join(line + end for line in lines).encode())

    write("今天\tN", f"{space}\tPU", "好\tA", "", "x\tN")
    assert list(read_columns(path)) == [(["今天", space, "好"], ["N", "PU", "A"]), (["x"], ["N"])]
    write("a", space, "b", " \t ", "c")
    assert list(read_columns(path, [0])) == [(["a", space, "b"],), (["c"],)]
    write(f"a  {space} ", f"{space}b c")
    assert list(read_columns(path)) == [(["a", f"{space}b"], [space, "c"])]
    write(f"a\t{space}", "", f"{space}\tb")
    assert list(read_pairs(path)) == [("a", space), (space, "b")]
    write(space)
    assert list(read_lines(path)) == [space]
