import collections
import re
import sys

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from recur.text import Specials, Tokenizer, bpe, characters, utf8_bytes, words

NONE = Specials(None, None, None, None)
SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")
FEW = hypothesis.settings(max_examples=25)
# What is typed like a special token, or like the library's own writing of a space, is text.
TEXTS = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.sampled_from([*SPECIALS, " <s>", "Ġ", "\r\n", "  ", "�", "é", "🙂"]),
    )
).map("".join)
LINES = st.lists(
    st.lists(st.sampled_from(["b", "a", "B", "A", "ß", "<unk>", "<s>", "c"])).map(" \t".join)
)


def most_frequent(pieces):
    counts = collections.Counter(pieces)
    return tuple(sorted(counts, key=lambda piece: (-counts[piece], piece)))


@FEW
@hypothesis.given(LINES, st.integers(5, 12), st.booleans())
def test_words_are_the_most_frequent_and_the_rest_is_unknown(lines, size, lowercase):
    lines.append("z")
    texts = [line.lower() if lowercase else line for line in lines]
    every = most_frequent(w for text in texts for w in text.split() if w != "<unk>")
    size = min(size, len(every) + 4)
    vocabulary = words(iter(lines), size, lowercase=lowercase)
    assert vocabulary.tokens == SPECIALS + every[: size - 4] and len(vocabulary) == size
    assert words(lines, lowercase=lowercase).entries == every
    counts = collections.Counter(w for text in texts for w in text.split())
    often = words([*lines, "z z"], min_count=3, lowercase=lowercase)
    assert set(often.entries) == {w for w in {*every, "z"} if counts[w] + 2 * (w == "z") >= 3}
    ids = {word: number for number, word in enumerate(every[: size - 4], 4)}
    encoded = list(vocabulary.encode_all(lines))
    assert [list(row) for row in encoded] == [[ids.get(w, 1) for w in t.split()] for t in texts]
    assert all(row.dtype == np.int32 for row in encoded)


def test_the_unknown_of_a_tokenized_corpus_is_the_unknown():
    vocabulary = words(["the <unk> said <unk> <unk>"], specials=Specials(end="<eos>", start=None))
    assert vocabulary.tokens == ("<pad>", "<unk>", "<eos>", "said", "the")
    assert vocabulary.encode("the <unk> saw </s> <eos>").tolist() == [4, 1, 1, 1, 1]
    marks = words(["the <unk>, <unk>."], split="punctuation")
    assert marks.entries == (",", ".", "the")
    assert marks.decode(marks.encode("the<unk>,")) == "the <unk> ,"
    assert words(["a  b"], specials=NONE, split="punctuation").tokens == ("a", "b")
    letters = words(["UNKNOWN bUNK (UNK)"], specials=Specials(unknown="UNK"), split="punctuation")
    assert letters.entries == ("(", ")", "UNKNOWN", "bUNK")


def test_rare_characters_are_left_out():
    vocabulary = characters(["abcab", "a"], min_count=2)
    assert vocabulary.entries == ("a", "b")
    assert vocabulary.encode("cab").tolist() == [1, 4, 5]


def test_punctuation_is_cut_off():
    text = "Don't say “it’s 'quoted'”, (e.g.) x_1-y...\tnaïve\u3000हिन्दी <s> 3.14!"
    pieces = re.findall(r"[\wिन्दी]+(?:['’]\w+)*|[^\w\s]", text)
    vocabulary = words([text], split="punctuation")
    assert vocabulary.entries == most_frequent(pieces)
    assert vocabulary.decode(vocabulary.encode(text)) == " ".join(pieces)
    assert {"Don't", "it’s", "हिन्दी", "x_1", "'", "<"} <= {*pieces}


def test_what_is_decoded_of_words_is_the_text_where_it_can_be():
    text = "to be or not <s> to be"
    vocabulary = words([text])
    assert vocabulary.decode(vocabulary.frame(vocabulary.encode(text))) == text
    assert vocabulary.decode(vocabulary.encode("to  see\nor")) == "to <unk> or"


@FEW
@hypothesis.given(TEXTS)
def test_characters_bytes_and_pairs_decode_to_the_very_text(text):
    for vocabulary in (
        characters([text, "a"]),
        characters([text, "a"], specials=Specials(unknown="�", start="a")),
        utf8_bytes(),
        PAIRS,
    ):
        ids = vocabulary.encode(text)
        assert ids.dtype == np.int32
        assert vocabulary.decode(vocabulary.frame(ids)) == text
        hidden = {vocabulary.padding, vocabulary.start, vocabulary.end}
        assert not hidden & {*ids.tolist()}
    assert utf8_bytes(specials=NONE).encode(text).tolist() == list(text.encode())


def test_characters_are_the_most_frequent():
    texts = ["banana", "bandana \n"]
    vocabulary = characters(iter(texts), 7)
    assert vocabulary.tokens == SPECIALS + most_frequent("".join(texts))[:3]
    assert vocabulary.encode("band").tolist() == [6, 4, 5, 1]
    assert vocabulary.decode([6, 2, 1]) == "b<unk>"
    assert characters(texts).entries == most_frequent("".join(texts))


CORPUS = ["the thin thing, the theme", "there <s>then</s> 'the' <s>thé</s> tea"] * 2
PAIRS = bpe(CORPUS, 275)


def test_pairs_are_merged_in_the_order_in_which_they_were_found():
    """By brute force: the words in bytes, each pair merged wherever it stands, from the left."""
    ids = {entry: number for number, entry in enumerate(PAIRS.entries, 3)}

    def encode(word):
        pieces = [PAIRS.entries[byte] for byte in word.encode()]
        for left, right in PAIRS.merges:
            place = 0
            while place < len(pieces) - 1:
                if pieces[place : place + 2] == [left, right]:
                    pieces[place : place + 2] = [left + right]
                place += 1
        return [ids[piece] for piece in pieces]

    for word in ["the", "thin", "thé", "thethe", " there", " tea", "s", "éé", "thththe"]:
        assert PAIRS.encode(word).tolist() == encode(word)
    assert PAIRS.decode(PAIRS.encode("<s>thé</s>")) == "<s>thé</s>"
    assert len(PAIRS.encode("the thin thing, the theme")) < 12


def test_pairs_are_the_most_frequent():
    counts = collections.Counter()
    for text in CORPUS:
        for word in re.findall(r" ?\w+| ?[^\w\s]+", text):
            counts.update(zip(word.encode(), word.encode()[1:], strict=False))
    (left, right), _ = counts.most_common(1)[0]
    assert counts.most_common(2)[1][1] < counts[left, right]
    assert PAIRS.merges[0] == (PAIRS.entries[left], PAIRS.entries[right])
    assert len(PAIRS) == 275 == len({*PAIRS.tokens})
    assert bpe(reversed(CORPUS), 275) == PAIRS


def test_bytes_that_are_no_text_are_shown_as_such():
    assert utf8_bytes().decode([3 + 0x41, 3 + 0xC3, 3 + 0x42]) == "A�B"


def test_texts_are_read_as_they_are_asked_for():
    def texts():
        yield from ["a b"] * 3000
        raise ValueError("b.txt:7: expected utf-8")

    vocabulary = words(["a b"])
    encoded = vocabulary.encode_all(texts())
    assert next(encoded).tolist() == [4, 5]
    with pytest.raises(ValueError, match="b.txt:7"):
        list(encoded)
    for learn in (words, characters, lambda some: bpe(some, 300)):
        with pytest.raises(ValueError, match="b.txt:7"):
            learn(texts())


@pytest.mark.parametrize(
    ("learn", "message"),
    [
        (lambda: words([]), "words: expected texts, got none, or only empty ones"),
        (lambda: words(["", " \n"]), "words: expected texts, got none, or only empty ones"),
        (lambda: words(["a b <unk>"], 7), "at most 6, .* have 2 different words.* got size=7"),
        (lambda: words(["a b"], 4), "words: size: expected a whole number of at least 5, got 4"),
        (lambda: words(["a"], split="bytes"), "split='space' or 'punctuation', got 'bytes'"),
        (lambda: words(["a"], lowercase=True, specials=Specials(unknown="<UNK>")), "lower case"),
        (
            lambda: words(["a", "b\ud800"]),
            r"unpaired surrogate, '\\ud800', at position 1 of the text at index 1",
        ),
        (lambda: characters([""]), "characters: expected texts"),
        (lambda: characters(["ab"], 9), "at most 6, .* have 2 different characters.* got size=9"),
        (lambda: bpe(["aaaa aa"], 270), "at most 260, .* bytes and pairs that occur twice"),
        (lambda: bpe(["a"], 258), "bpe: size: expected a whole number of at least 259, got 258"),
        (lambda: bpe(["a"], 300, specials=Specials()), "no unknown token with split='bpe'"),
        (lambda: utf8_bytes(specials=Specials()), "no unknown token with split='bytes'"),
    ],
)
def test_what_no_vocabulary_can_be_made_of(learn, message):
    with pytest.raises(ValueError, match=message):
        learn()


@pytest.mark.parametrize("learn", [words, characters, lambda texts: bpe(texts, 300)])
def test_texts_that_are_none(learn):
    with pytest.raises(TypeError, match="expected several texts, got one string"):
        learn("a b c")
    with pytest.raises(TypeError, match="as strings, got list at index 1"):
        learn(["a", ["b", "c"]])


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    vocabulary = Tokenizer("space", Specials(), ("a",))
    with pytest.raises(ImportError, match=r'pip install "recur-jax\[text\]"'):
        vocabulary.encode("a")
