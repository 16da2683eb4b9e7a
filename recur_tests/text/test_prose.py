import pytest

from recur.text import sentences
from recur.text.prose import paragraphs_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two? Three! Four", ["One.", "Two?", "Three!", "Four"]),
        ("One\nline.  Two\n lines.\n \nA paragraph", ["One line.", "Two lines.", "A paragraph"]),
        ("It is 3.5. then e.g. This, i.e. That.", ["It is 3.5. then e.g. This, i.e. That."]),
        ("Dogs, cats, etc. Are (cf. Ants) vs. Bees. So.", None),
        ('He said "no." She (also.) Left.', ['He said "no."', "She (also.)", "Left."]),
        ('Wait... What? "Yes." (No.)', ["Wait...", "What?", '"Yes."', "(No.)"]),
        ("Written in C. It is fast. Dr. Who (Mr. X) left.", None),
        ("use os.path. join it", ["use os.path. join it"]),
        ("", []),
        (" \n\n \n", []),
    ],
)
def test_where_sentences_end(text, expected):
    by_hand = {
        "Dogs": ["Dogs, cats, etc. Are (cf. Ants) vs. Bees.", "So."],
        "Writ": ["Written in C.", "It is fast.", "Dr. Who (Mr. X) left."],
    }
    assert sentences(text) == (by_hand[text[:4]] if expected is None else expected)


DOCSTRING = """String methods
**************

str.center(width[, fillchar])

   Return a string of length *width*. The ``fillchar`` is a :class:`str`
   and *may well* be ``2*pi`` signs of the original. XXX No it may not.

   >>> "a".center(3)
   This is the output of a doctest.

   The following code is not of interest to us:

       return This is the code of a function.

   1. The first item of a list.
   2. The second is longer and goes on
      in another line of it.
   - This item is the last of them.
--------------------------------------
   and so it is not a sentence.

   Look at the names  |  which are in a table.
   = a * b + c - d of the equation. e = m * c ** 2 is it.
   If it is so set foo_bar to a_b here. Deprecated API.
"""


def test_what_reads_as_english():
    assert list(paragraphs_of(DOCSTRING)) == [
        [
            "Return a string of length width.",
            "The fillchar is a str and may well be 2*pi signs of the original.",
            "No it may not.",
        ],
        ["The first item of a list."],
        ["The second is longer and goes on in another line of it."],
        ["This item is the last of them."],
    ]
    assert not list(paragraphs_of(""))
