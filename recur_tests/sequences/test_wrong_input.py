"""Wrong inputs of sequences and layouts: each error says what was expected."""

import functools

import numpy as np
import pytest

from recur import sequences
from recur.sequences import (
    Example,
    Node,
    Streams,
    batches,
    bucket,
    find_boundaries,
    first_steps,
    last_steps,
    make_batches,
    pack,
    pad,
    parse_tree,
    pool,
    post_order,
    segments,
    sliding,
    unpack,
    whole_rows,
)
from recur_tests.sequences.wrong_sounds import OF_SOUNDS
from recur_tests.wrong_input import Row, check_five_rows, each_row

SOURCE = [np.arange(3), np.arange(2)]
DOCUMENTS = [np.arange(9), np.arange(5)]
[BATCH] = make_batches(SOURCE, pad(4))


def rows(name, function, *cases):
    """Each case: positional and keyword arguments, the error, and its sentence."""
    return [
        Row(name, functools.partial(function, *args, **options), error, sentence)
        for args, options, error, sentence in cases
    ]


def whole(name, least, values):
    """Cases of an argument that is a whole number."""
    return [
        ((), {name: value}, ValueError, f"{name}: expected a whole number of at least {least}, got")
        for value in values
    ]


NOT_WHOLE = (-1, 1.5, "2", True, [2])


def with_base(function, **base):
    return lambda **change: function(**{**base, **change})


def make(source=SOURCE, layout=pad(), batch_size=2, **options):  # noqa: B008
    return make_batches(source, layout, batch_size, **options)


NO_SOURCES = [
    *(
        ((), {"source": source}, TypeError, f"sequence, got {type(source).__name__}. Put a single")
        for source in (None, 3, {}, iter(SOURCE), Example(SOURCE[0]))
    ),
    ((), {"source": []}, ValueError, "expected at least one example, got an empty data set."),
    (
        (),
        {"source": [[1, 2]]},
        ValueError,
        "example 0: expected steps as arrays with one leading",
    ),
    ((), {"source": ["ab"]}, ValueError, "example 0: expected steps as arrays with one leading"),
    ((), {"source": [np.array(["a"])]}, TypeError, "arrays of numbers, got <U1. Convert words"),
    ((), {"source": [Example(SOURCE[0], context=3)]}, TypeError, "a context as a mapping of names"),
    (
        (),
        {"source": [*SOURCE, np.ones(2)]},
        ValueError,
        "example 2: expected Example(steps=int64[]",
    ),
    *(
        (
            (),
            {"layout": layout},
            TypeError,
            "expected a layout, such as pad(), bucket(...) or pack(...),",
        )
        for layout in (pad, None, "pad", 3)
    ),
    (
        (),
        {"layout": pad(2)},
        ValueError,
        "pad: expected examples of at most 2 steps, got 3 in example 0.",
    ),
    ((), {"layout": bucket((2,))}, ValueError, "bucket: expected examples of at most 2 steps, got"),
    *whole("batch_size", 1, (0, *NOT_WHOLE)),
    *(
        ((), {"time_major": value}, TypeError, f"time_major: expected True or False, got {value!r}")
        for value in (1, None, "yes")
    ),
]


def stream(source=SOURCE, layout=pad(), batch_size=2, **options):  # noqa: B008
    return batches(source, layout, batch_size, **options)


OF_BATCHES = [
    *rows("make_batches", make, *NO_SOURCES),
    *rows("batches", stream, *NO_SOURCES),
    *rows(
        "batches",
        stream,
        *whole("seed", 0, NOT_WHOLE),
        *whole("epochs", 0, NOT_WHOLE),
        *whole("prefetch", 0, NOT_WHOLE),
        ((), {"lengths": [1.0, 2.0]}, TypeError, "lengths: expected integers, got float64."),
        (
            (),
            {"lengths": [1]},
            ValueError,
            "expected one for each of 2 examples, got the shape [1]",
        ),
        ((), {"lengths": [3, -2]}, ValueError, "expected at least 0, got -2 for example 1."),
        ((), {"process": 3}, ValueError, "batches: process: expected a tuple of 2 entries"),
        ((), {"process": (0,)}, ValueError, "batches: process: expected a tuple of 2 entries"),
        ((), {"process": (2, 2)}, ValueError, "batches: expected a process from 0 to 1, got 2."),
        (
            (),
            {"process": (0, 0)},
            ValueError,
            "batches: count of processes: expected a whole number",
        ),
        ((), {"process": ("a", 2)}, ValueError, "batches: index of the process: expected a whole"),
        (
            (),
            {"process": (0, 3)},
            ValueError,
            "a batch_size that 3 processes can share evenly, got",
        ),
        ((), {"sharding": 3}, TypeError, "batches: expected a jax.sharding.Sharding, got int."),
        ((), {"sharding": "x"}, TypeError, "batches: expected a jax.sharding.Sharding, got str."),
    ),
]
NO_FLAGS = [
    ((), {"cut": value}, TypeError, f"cut: expected True or False, got {value!r}.")
    for value in (1, 0, "no", None)
]
OF_LAYOUTS = [
    *rows("pad", pad, *NO_FLAGS, *whole("length", 1, (0, *NOT_WHOLE))),
    *rows("pad", pad, *whole("multiple_of", 1, (0, None, *NOT_WHOLE))),
    *rows(
        "pad",
        pad,
        (((3, 0),), {}, ValueError, "pad: length: expected a whole number of at least 1, got 0."),
        ((3,), {"multiple_of": 2}, ValueError, "either a length or multiple_of, got length=3 and"),
    ),
    *rows("pack", with_base(pack, length=4), *NO_FLAGS),
    *rows("pack", with_base(pack, length=4), *whole("length", 1, (0, None, *NOT_WHOLE))),
    *rows("pack", with_base(pack, length=4), *whole("slots", 1, (0, *NOT_WHOLE))),
    *rows("bucket", functools.partial(bucket, (3,)), *NO_FLAGS),
    *rows(
        "bucket",
        bucket,
        ((), {}, ValueError, "bucket: expected either boundaries or a count of boundaries to find"),
        (((1, 2),), {"count": 2}, ValueError, "got boundaries=(1, 2) and count=2."),
        *whole("count", 1, (0, *NOT_WHOLE)),
        *(
            ((value,), {}, ValueError, f"that ascend from at least 1, got {value!r}. To find a n")
            for value in (3, "ab", (), (3, 2), (2, 2), (0, 2), (1.5, 2), [[1, 2]], [[1], [2, 3]])
        ),
        (([(1, 2), (3,)],), {}, ValueError, "as tuples of one size for each sequence, got [(1, 2)"),
        (([(1, 2), 3],), {}, ValueError, "as tuples of one size for each sequence, got [(1, 2)"),
        (([(1, 0)],), {}, ValueError, "boundaries: expected a whole number of at least 1, got 0."),
    ),
    *rows(
        "find_boundaries",
        with_base(find_boundaries, lengths=[1, 2], count=2),
        *whole("count", 1, (0, None, *NOT_WHOLE)),
        (
            (),
            {"lengths": []},
            ValueError,
            "find_boundaries: expected at least one length, got none.",
        ),
        ((), {"lengths": [1.5]}, TypeError, "lengths: expected integers, got float64."),
        ((), {"lengths": None}, TypeError, "lengths: expected integers, got object."),
        ((), {"lengths": [-1]}, ValueError, "expected at least 0, got -1 for example 0."),
        ((), {"lengths": 3}, ValueError, "expected a list of integers, got the shape []."),
        ((), {"lengths": [[3, -1]]}, ValueError, "expected at least 0, got -1 for example 0."),
        ((), {"lengths": [[1], [2, 3]]}, ValueError, "a list of integers, got lists of lists."),
    ),
]
NO_DOCUMENTS = [
    (None, TypeError, "expected a list of documents, got NoneType."),
    (3, TypeError, "expected a list of documents, got int."),
    (iter(DOCUMENTS), TypeError, "got list_iterator. Convert an iterator with list(...)."),
    ([], ValueError, "expected at least one document, got none."),
    (np.arange(9), ValueError, "document 0: expected an array of at least 2 tokens, an input and"),
    ([[1]], ValueError, "at least 2 tokens, an input and a target, got the shape [1]."),
    ("abc", TypeError, "document 0: expected integer tokens, got <U1."),
    ([[1.0, 2.0]], TypeError, "document 0: expected integer tokens, got float64."),
    ([[1, 2], [1, [2, 3]]], TypeError, "document 1: expected integer tokens, got lists of lists."),
]
OF_STREAMS = [
    *rows(
        "whole_rows",
        with_base(whole_rows, documents=DOCUMENTS, batch_size=2),
        *(((), {"documents": value}, error, s) for value, error, s in NO_DOCUMENTS),
        *whole("batch_size", 1, (0, None, *NOT_WHOLE)),
    ),
    *rows(
        "Streams",
        with_base(Streams, documents=DOCUMENTS, batch_size=2, k1=2),
        *(((), {"documents": value}, error, s) for value, error, s in NO_DOCUMENTS),
        *whole("batch_size", 1, (0, None, *NOT_WHOLE)),
        *whole("k1", 1, (0, None, *NOT_WHOLE)),
        *whole("k2", 1, (0, *NOT_WHOLE)),
        *whole("seed", 0, (None, *NOT_WHOLE)),
        ((), {"k2": 1}, ValueError, "Streams: expected k2 >= k1, got k1=2 and k2=1."),
        (
            (),
            {"k1": 9},
            ValueError,
            "Streams: 2 streams of windows of 9 new steps need at least 18",
        ),
    ),
    *rows(
        "Streams",
        lambda number: Streams(DOCUMENTS, 2, 2).window(number),
        *whole("number", 0, NOT_WHOLE),
    ),
]
STATE = Streams(DOCUMENTS, 2, 2).get_state()
NO_STATES = [
    (None, TypeError, "expected the dict that get_state returned, got NoneType."),
    (3, TypeError, "expected the dict that get_state returned, got int."),
    ({}, ValueError, "expected the state that get_state returned, got one without "),
    ({"window": 1}, ValueError, "expected the state that get_state returned, got one without "),
    (STATE | {"seed": 9}, ValueError, "expected the state "),
]
OF_STATES = [
    *rows(
        "Streams",
        lambda state: Streams(DOCUMENTS, 2, 2).set_state(state),
        *(
            ((), {"state": state}, error, f"Streams.set_state: {s}")
            for state, error, s in NO_STATES
        ),
        (
            (),
            {"state": STATE | {"window": -1}},
            ValueError,
            "window: expected a whole number of at",
        ),
        ((), {"state": STATE | {"window": None}}, ValueError, "window: expected a whole number of"),
    ),
    *rows(
        "batches",
        lambda state: stream().set_state(state),
        *(((), {"state": state}, error, f"batches: {s}") for state, error, s in NO_STATES),
    ),
]
NO_TREES = [
    *(
        ((text,), {}, TypeError, "parse_tree: expected a tree as a string, got ")
        for text in (None, 3, b"(a b)", ["(a b)"])
    ),
    (("",), {}, ValueError, "position 0: expected one tree in brackets, got the end."),
    (("(",), {}, ValueError, "parse_tree: position 1: expected ')', got the end."),
    (("(a b) (c d)",), {}, ValueError, "position 6: expected one tree in brackets, got '(c d)'."),
    (("()",), {}, ValueError, "expected (label word) or (label tree ... tree), got '()'."),
    (
        ("(a b c)",),
        {},
        ValueError,
        "expected (label word) or (label tree ... tree), got '(a b c)'.",
    ),
    (("(a b)", 3), {}, TypeError, "parse_tree: read: expected a function, got int."),
]
OF_TREES = [
    *rows("parse_tree", parse_tree, *NO_TREES),
    *rows(
        "post_order",
        post_order,
        *(
            ((root,), {}, TypeError, f"post_order: expected a Node, got {type(root).__name__}.")
            for root in (None, 3, "a")
        ),
        ((Node(1, Node(2)),), {}, TypeError, "post_order: expected a Node, got tuple."),
        ((Node(1, 3),), {}, TypeError, "post_order: expected children as a tuple, got int."),
        ((Node(1, None),), {}, TypeError, "children as a tuple, got NoneType. A node without"),
        (
            (Node("a"),),
            {},
            TypeError,
            "x of node 0: expected numbers, got <U1. Convert words to ids",
        ),
        ((Node(None),), {}, TypeError, "post_order: x of node 0: expected numbers, got nothing."),
        (
            (Node(1, (Node(2.0),)),),
            {},
            ValueError,
            "x of node 1: expected float64[], like x of node 0, got int64[]",
        ),
        ((Node(1, (Node(2),)), 0), {}, ValueError, "expected up to 0 children a node, got 1."),
        *(
            ((Node(1), value), {}, ValueError, "arity: expected a whole number of at least 0, got")
            for value in NOT_WHOLE
        ),
    ),
]
OF_SLIDING = rows(
    "sliding",
    with_base(sliding, series=np.arange(5), steps=2),
    *whole("steps", 1, (0, None, *NOT_WHOLE)),
    *whole("ahead", 1, (0, *NOT_WHOLE)),
    *whole("stride", 1, (0, *NOT_WHOLE)),
    *(
        ((), {"series": series}, ValueError, "sliding: expected a series of arrays [T, ...], got ")
        for series in (None, 3, [1, 2, 3], "abc", {}, {"a": np.arange(5), "b": np.arange(6)})
    ),
    ((), {"steps": 9}, ValueError, "sliding: expected a series of at least 10 steps, for a window"),
)
OF_ROWS = [
    row
    for name, function in (
        ("unpack", unpack),
        ("segments", segments),
        ("last_steps", last_steps),
        ("first_steps", first_steps),
    )
    for row in rows(
        name,
        function,
        *(
            (
                (BATCH.steps, batch),
                {},
                TypeError,
                f"{name}: expected a Batch, as make_batches and batches return, got ",
            )
            for batch in (None, 3, [BATCH], "batch")
        ),
        *(
            (
                (tree, BATCH),
                {},
                ValueError,
                f"{name}: expected arrays [B, T, ...] with the batch's [B, T] = [2, 4], got ",
            )
            for tree in (np.zeros((1, 2)), np.zeros(3), 3, "a")
        ),
        ((None, BATCH), {}, ValueError, f"{name}: expected arrays [B, T, ...], got none."),
    )
] + [
    *rows(
        "segments",
        functools.partial(segments, BATCH.steps, BATCH),
        *whole("steps", 1, (0, *NOT_WHOLE)),
        (
            (2,),
            {},
            ValueError,
            "length of row 0, 0: expected from 0 to 2, the number of steps, got 3",
        ),
    ),
    *(
        Row(name, functools.partial(function, BATCH.steps, BATCH, empty), ValueError, sentence)
        for name, function in (("last_steps", last_steps), ("first_steps", first_steps))
        for empty, sentence in (
            (3, "empty: expected one entry per row, of shape [2], got []."),
            (np.zeros(3), "empty: expected one entry per row, of shape [2], got [3]."),
        )
    ),
]
UNFIT = "expected ys [..., T, ...] and a mask [..., T], with T >= 1, got the shapes "
YS, MASK = np.ones((3, 2)), np.array([True, True, False])
NO_POOLING = [
    ((None,), TypeError, "ys: expected an array of numbers, got NoneType."),
    (("abc",), TypeError, "ys: expected an array of numbers, got str."),
    ((np.array(["a"]),), TypeError, "ys: expected an array of numbers, got an array of <U1."),
    ((YS[:0],), ValueError, f"{UNFIT}[0, 2] and [0]."),
    ((3.0,), ValueError, f"{UNFIT}[] and []."),
    ((YS, YS), TypeError, "expected mask as bool flags, got float64."),
    ((YS, "abc"), TypeError, "mask: expected an array of numbers, got str."),
    ((YS, MASK[:2]), ValueError, f"{UNFIT}[3, 2] and [2]."),
    ((np.ones((2, 3, 4)),), ValueError, "expected ys of one sequence, [T] or [T, D], if there is"),
]


def attend(ys, mask=None):
    return pool.attention(ys, np.zeros(3), mask)


OF_POOLS = (
    [
        Row(name, functools.partial(function, *args), error, f"pool.{name}: {sentence}")
        for name, function in (
            *((name, getattr(pool, name)) for name in ("ends", "last", "max", "mean")),
            ("attention", attend),
        )
        for args, error, sentence in NO_POOLING
    ]
    + [
        Row(
            "ends",
            functools.partial(pool.ends, ys),
            ValueError,
            f"pool.ends: expected ys {sentence}",
        )
        for ys, sentence in (
            (
                np.ones((3, 5)),
                "[..., T, ..., D] with an even D, half of it of each direction, got the",
            ),
            (np.ones(4), "[..., T, ..., D] with an even D"),
        )
    ]
    + [
        Row(
            "attention",
            functools.partial(pool.attention, YS, scores),
            error,
            f"pool.attention: {s}",
        )
        for scores, error, s in (
            (None, TypeError, "scores: expected an array of numbers, got NoneType."),
            ("abc", TypeError, "scores: expected an array of numbers, got str."),
            (MASK, TypeError, "expected scores as floats, got bool."),
            (np.arange(3), TypeError, "expected scores as floats, got int64."),
            (np.zeros(2), ValueError, "expected one score per step, of shape [3], got [2]."),
        )
    ]
)
ROWS = [
    *OF_BATCHES,
    *OF_LAYOUTS,
    *OF_STREAMS,
    *OF_STATES,
    *OF_TREES,
    *OF_SLIDING,
    *OF_ROWS,
    *OF_SOUNDS,
]


@each_row([*ROWS, *OF_POOLS])
def test_wrong_input(row):
    row.check()


def test_a_packed_row_has_no_context():
    pytest.importorskip("grain")
    source = [Example(SOURCE[0], context={"speaker": np.ones(2)})]
    with pytest.raises(ValueError, match="example 0 has a context .'speaker'.: a layer takes one"):
        make_batches(source, pack(4))


def test_every_function_has_five():
    check_five_rows(sequences, ROWS)
    check_five_rows(pool, OF_POOLS)
