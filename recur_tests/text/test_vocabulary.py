import copy
import json
import pathlib
import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from recur.text import Specials, Tokenizer, bpe, characters, utf8_bytes, words

NONE = Specials(None, None, None, None)
LINES = ["to be or not to be", "that is the question: ünï"]


def kinds():
    return [
        words(LINES),
        words(LINES, 9, split="punctuation", lowercase=True, specials=NONE._replace(end="<eos>")),
        characters(LINES),
        utf8_bytes(),
        bpe(LINES, 262),
    ]


def test_special_tokens_come_first_in_their_order():
    vocabulary = words(LINES)
    named = [vocabulary.padding, vocabulary.unknown, vocabulary.start, vocabulary.end]
    assert named == [0, 1, 2, 3] and vocabulary.tokens[:4] == Specials()
    few = words(LINES, specials=Specials(padding=None, start=None, end="<eos>"))
    assert [few.padding, few.unknown, few.start, few.end] == [None, 0, None, 1]
    assert len(few) == len(few.tokens) == len(vocabulary) - 2


def test_start_stands_in_front_and_end_behind():
    vocabulary = words(LINES)
    framed = vocabulary.frame(np.array([5, 6], np.uint8))
    assert framed.dtype == np.int32 and framed.tolist() == [2, 5, 6, 3]
    assert vocabulary.frame([]).tolist() == [2, 3]
    assert words(LINES, specials=Specials(start=None)).frame([4]).tolist() == [4, 2]
    assert words(LINES, specials=NONE).frame([4]).tolist() == [4]


def test_of_the_special_tokens_only_the_unknown_is_shown():
    vocabulary = words(LINES)
    to, be = vocabulary.id_of("to"), vocabulary.id_of("be")
    assert vocabulary.decode(jnp.array([2, to, 1, be, 3, 0, 0])) == "to <unk> be"
    assert vocabulary.decode([]) == "" == utf8_bytes().decode([0, 1, 2])
    assert vocabulary.encode("").shape == (0,) and vocabulary.encode("").dtype == np.int32


def test_the_id_of_a_token():
    vocabulary = characters(["^a"], specials=Specials(start="^"))
    assert vocabulary.tokens == ("<pad>", "<unk>", "^", "</s>", "^", "a")
    assert vocabulary.id_of("^") == 2 and vocabulary.encode("^").tolist() == [4]
    with pytest.raises(
        ValueError, match="tokens of the vocabulary, got 'questoin'. Did you mean 'question:'"
    ):
        words(LINES).id_of("questoin")
    with pytest.raises(ValueError, match="one of the 6 tokens of the vocabulary, got 'x'.$"):
        vocabulary.id_of("x")


@pytest.mark.parametrize("wrong", [-1, 13])
def test_ids_outside_the_vocabulary(wrong):
    vocabulary = words(LINES)
    message = f"ids from 0 to 12, for V = 13, got {wrong} at position 2"
    with pytest.raises(ValueError, match=message):
        vocabulary.decode([4, 5, wrong, -7])
    with pytest.raises(ValueError, match=message):
        vocabulary.frame([4, 5, wrong])


@pytest.mark.parametrize("wrong", [[[1, 2]], 3, [1.0], ["a"], [True]])
def test_what_is_no_sequence_of_ids(wrong):
    with pytest.raises(TypeError, match="expected integers of shape"):
        words(LINES).decode(wrong)


def test_what_the_vocabulary_has_not_without_an_unknown_token():
    vocabulary = words(["The cat"], specials=NONE, lowercase=True)
    assert vocabulary.encode("the CAT").tolist() == [1, 0]
    with pytest.raises(
        ValueError, match="no unknown token, got 'Dog' at position 4 of 'the Dog sat'"
    ):
        vocabulary.encode("the Dog sat")
    with pytest.raises(ValueError, match="encode_all: .* got '!' at position 1 of 'a!'"):
        list(characters(["a"], specials=NONE).encode_all(["a", "a!"]))


def test_words_that_are_cut_already_are_a_token_each():
    vocabulary = words(["The dog <unk> </s> ΟΣ", "it's"], lowercase=True)
    given = ["THE", "10 000", "dog", "it's", "</s>", "<unk>", "", "ΟΣ", "dog "]
    found = vocabulary.encode_words(given)
    tokens = [vocabulary.tokens[i] for i in found]
    assert tokens == ["the", "<unk>", "dog", "it's", *["<unk>"] * 3, "οσ", "<unk>"]
    assert found.dtype == np.int32 and vocabulary.encode_words([]).shape == (0,)
    assert (vocabulary.encode("THE dog it's ΟΣ") == found[[0, 2, 3, 7]]).all()
    with pytest.raises(ValueError, match="no unknown token, got 'fox' at index 1"):
        words(["the"], specials=NONE).encode_words(["the", "fox"])
    with pytest.raises(ValueError, match="expected a word tokenizer, got split='bytes'"):
        utf8_bytes().encode_words(["a"])
    with pytest.raises(TypeError, match="expected several texts, got one string"):
        vocabulary.encode_words("the dog")


@pytest.mark.parametrize("wrong", [b"to be", 3, None])
def test_what_is_no_text(wrong):
    with pytest.raises(TypeError, match="encode: expected texts as strings, got"):
        words(LINES).encode(wrong)
    with pytest.raises(TypeError, match="encode_all: expected several texts, got one string"):
        next(words(LINES).encode_all("to be"))


def test_saved_and_loaded_it_is_the_same(tmp_path):
    text = "to be <s> ünï? 🙂"
    seen = set()
    for number, vocabulary in enumerate(kinds()):
        path = tmp_path / f"{number}.json"
        vocabulary.save(path)
        loaded = Tokenizer.load(str(path))
        assert loaded == vocabulary and hash(loaded) == hash(vocabulary)
        assert loaded.fingerprint == vocabulary.fingerprint
        if vocabulary.unknown is not None or vocabulary.split in ("bytes", "bpe"):
            assert loaded.encode(text).tolist() == vocabulary.encode(text).tolist()
        for again in (pickle.loads(pickle.dumps(vocabulary)), copy.deepcopy(vocabulary)):
            assert again == vocabulary and again.decode([4, 5]) == vocabulary.decode([4, 5])
        seen.add(vocabulary.fingerprint)
    assert len(seen) == len(kinds()) == len([*tmp_path.iterdir()])


def test_the_fingerprint_is_of_all_that_decides_the_ids():
    one = words(LINES)
    others = [
        words(LINES, lowercase=True),
        words(LINES, split="punctuation", specials=Specials(padding="<p>")),
        words(LINES, specials=Specials(padding="<p>")),
        words(LINES, specials=Specials(start="</s>", end="<s>")),
        words(LINES, len(one) - 1),
        Tokenizer("space", Specials(), one.entries[::-1]),
    ]
    assert len({other.fingerprint for other in [one, *others]}) == 7
    assert all(other != one for other in others)
    known = "30c8aacc22c21708d38d8ccb8498e2d8"  # were it to change, checkpoints would not be read
    assert Tokenizer("space", Specials(), ("a", "ü")).fingerprint.startswith(known)


def test_what_was_saved_before_is_there_until_it_is_replaced(tmp_path, monkeypatch):
    path = tmp_path / "vocabulary.json"
    words(LINES).save(path)

    def fail(self, target):
        raise OSError("killed")

    monkeypatch.setattr(pathlib.Path, "replace", fail)
    with pytest.raises(OSError, match="killed"):
        utf8_bytes().save(path)
    assert Tokenizer.load(path) == words(LINES)


def test_only_files_of_its_own_are_replaced(tmp_path):
    path = tmp_path / "file.json"
    for content in ("[1]", '{"model": {}}', "notes", "[" * 100_000):
        path.write_text(content)
        with pytest.raises(ValueError, match="file.json: expected a new file, or one that Token"):
            words(LINES).save(path)
        assert path.read_text() == content
    path.write_text("")
    words(LINES).save(path)
    utf8_bytes().save(path)
    assert Tokenizer.load(path) == utf8_bytes()


SAVED = {"format": "recur.text.Tokenizer", "version": 1, "split": "space", "merges": []}
SAVED |= {"specials": Specials()._asdict(), "entries": ["a"], "lowercase": False}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "got an empty file"),
        ("to be or not", "expected the JSON of Tokenizer.save, got Expecting value: line 1"),
        (json.dumps(SAVED)[:-9], "expected the JSON of Tokenizer.save, got"),
        ("[1]", "'version': 1}, got list"),
        ('{"model": {}}', "got {'format': None, 'version': None}"),
        (json.dumps(SAVED | {"version": 2}), "got .*'version': 2}"),
        (json.dumps(SAVED | {"entries": ["a", "a"]}), "damaged .* each entry once, got 'a' again"),
        (json.dumps(SAVED | {"entries": [3]}), "damaged .* tokens as strings, got 3"),
        (json.dumps(SAVED | {"entries": "abc"}), "damaged .* a list of entries, got 'abc'"),
        (json.dumps(SAVED | {"lowercase": "no"}), "damaged .* True or False, got 'no'"),
        (json.dumps(SAVED | {"specials": {"padding": 5}}), "damaged .* as strings, got 5"),
        ("[" * 100_000, "expected the JSON of Tokenizer.save, got maximum recursion depth"),
        (json.dumps(SAVED | {"color": "red"}), "damaged .*'color'"),
        (json.dumps({k: v for k, v in SAVED.items() if k != "merges"}), "damaged .*'merges'"),
        (json.dumps(SAVED | {"specials": {"begin": "<s>"}}), "damaged .*'begin'"),
    ],
)
def test_files_that_are_no_vocabulary(tmp_path, content, message):
    path = tmp_path / "vocabulary.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"vocabulary.json: .*{message}"):
        Tokenizer.load(path)
    path.write_text(json.dumps(SAVED))
    assert Tokenizer.load(path).tokens[4:] == ("a",)
    with pytest.raises(FileNotFoundError):
        Tokenizer.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("words", Specials(), ()), "expected split as one of"),
        (("space", Specials(start="<a b>"), ()), "without spaces, got '<a b>'"),
        (("space", Specials(start=""), ()), "without spaces, got ''"),
        (("space", Specials(start="</s>"), ()), "each special token once, got '</s>' again"),
        (("space", Specials(), ("a b",)), "that match split='space'"),
        (("space", Specials(), ("<unk>",)), "that match split='space'"),
        (("characters", Specials(), ("ab",)), "that match split='characters'"),
        (("characters", Specials(), ("a",), (("a", "a"),)), "that match split='characters'"),
        (("bytes", Specials(unknown=None), ("a",)), "that match split='bytes'"),
        (("bpe", Specials(unknown=None), utf8_bytes().entries, (("a", "b"),)), "split='bpe'"),
        (("bpe", Specials(unknown=None), (*utf8_bytes().entries, "zzq"), (("zz", "q"),)), "'bpe'"),
    ],
)
def test_parts_that_do_not_fit(fields, message):
    with pytest.raises(ValueError, match=message):
        Tokenizer(*fields)
