import numpy as np
import pytest

from recur.text import BOUNDARY, UNKNOWN, Characters


def test_the_round_trip_is_exact_for_what_it_knows():
    text = "naïve 🙂 text\n\tof two lines"
    vocabulary = Characters.of([text])
    ids = vocabulary.encode(text)
    assert ids.dtype == np.int32 and ids.shape == (len(text),)
    assert ids.min() == 2 and ids.max() == len(vocabulary) - 1
    assert vocabulary.decode(ids) == text
    assert vocabulary.decode([BOUNDARY, *ids[:2].tolist(), UNKNOWN]) == "na�"


def test_the_frequent_come_first_and_the_rare_are_unknown():
    vocabulary = Characters.of(["abbccc", "d"], min_count=2)
    assert vocabulary.characters == "cb"
    assert vocabulary.encode("abcd").tolist() == [UNKNOWN, 3, 2, UNKNOWN]
    assert vocabulary.unknown_in("abcdd") == "ad"
    assert len(vocabulary) == 4
    assert vocabulary.encode("").shape == (0,)


@pytest.mark.parametrize("wrong", [-1, 5])
def test_ids_outside_the_vocabulary(wrong):
    with pytest.raises(ValueError, match=f"decode: expected ids from 0 to 4.*got .{wrong}"):
        Characters("abc").decode([2, wrong])


def test_a_character_twice():
    with pytest.raises(ValueError, match="each character once, got 'b'"):
        Characters("abcb")
