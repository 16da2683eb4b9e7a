"""Examples with several sequences of different lengths in `pad`, `bucket` and `pack`."""

import itertools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import recur
from recur.sequences import (
    Example,
    Padded,
    batches,
    bucket,
    make_batches,
    pack,
    pad,
    segments,
    unpack,
)

# For each example: the number of characters of each of its words, the length of the source
# sentence, with as many tags in each of its steps, and the length of the transcript.
SHAPES = [
    ([2, 1, 3], [1, 2], 4),
    ([], [3, 3, 1], 0),
    ([5], [], 1),
    ([1, 1, 1, 1, 0], [0, 1, 1, 4, 1, 1], 2),
    ([0, 4], [2], 7),
]


def draw(shapes, context=True):
    draws = np.random.default_rng(0)

    def nested(counts, *features):
        if not counts:
            return Padded(np.zeros((0, 0, *features), np.float32), np.zeros(0, int))
        return Padded.stack(
            [draws.uniform(1, 2, (n, *features)).astype(np.float32) for n in counts]
        )

    return [
        Example(
            steps={"word": draws.integers(1, 9, len(words)), "chars": nested(words, 2)},
            label=Padded(draws.integers(1, 9, transcript)),
            context={
                "source": Padded({"id": draws.integers(1, 9, len(tags)), "tags": nested(tags)}),
                "speaker": draws.normal(size=3),
            }
            if context
            else None,
        )
        for words, tags, transcript in shapes
    ]


def sizes_of(shapes, context=True):
    """The sizes of each example, in the order of the pytree."""
    return [
        (len(words), max(words, default=0), transcript)
        + ((len(tags), max(tags, default=0)) if context else ())
        for words, tags, transcript in shapes
    ]


def check(source, layout, batch_size):
    """Compares batches with zeros into which each sequence is written by a loop over steps."""
    seen, shapes = [], set()
    made = make_batches(source, layout, batch_size)
    for batch in made:
        chars, label = batch.steps["chars"], batch.label
        expected = jax.tree.map(np.zeros_like, (batch.steps, label, batch.context))
        for row, slot in np.argwhere(batch.present):
            number, begin = batch.number[row, slot], batch.begin[row, slot]
            example = source[number]
            seen.append(int(number))
            for t in range(len(example.steps["word"])):
                expected[0]["word"][row, begin + t] = example.steps["word"][t]
                count = example.steps["chars"].length[t]
                expected[0]["chars"].length[row, begin + t] = count
                for c in range(count):
                    expected[0]["chars"].steps[row, begin + t, c] = example.steps["chars"].steps[
                        t, c
                    ]
            expected[1].length[row, slot] = len(example.label.steps)
            for s, value in enumerate(example.label.steps):
                expected[1].steps[row, slot, s] = value
            if example.context:
                own, there = example.context["source"].steps, expected[2]["source"]
                expected[2]["speaker"][row] = example.context["speaker"]
                there.length[row] = len(own["id"])
                for s in range(len(own["id"])):
                    there.steps["id"][row, s] = own["id"][s]
                    there.steps["tags"].length[row, s] = own["tags"].length[s]
                    for g in range(own["tags"].length[s]):
                        there.steps["tags"].steps[row, s, g] = own["tags"].steps[s, g]
        found = (batch.steps, label, batch.context)
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        assert jax.tree.all(jax.tree.map(np.array_equal, found, expected))
        assert chars.length.dtype == label.length.dtype == np.int32
        assert chars.length.shape == batch.mask.shape and label.length.shape == batch.number.shape
        shape = (batch.mask.shape[1], chars.steps.shape[2], label.steps.shape[2])
        if batch.context:
            side = batch.context["source"].steps
            shape += side["tags"].steps.shape[1:]
            assert side["id"].shape[1] == shape[-2]
        shapes.add(shape)
    assert sorted(seen) == list(range(len(source)))
    return made, shapes


@pytest.mark.parametrize("batch_size", [None, 1, 2])
@pytest.mark.parametrize(
    "layout",
    [
        pad(),
        pad(9),
        pad(multiple_of=4),
        pad((5, None, 8, None, 9)),
        bucket((3, 5)),
        bucket(((3, 5, 4, 3, 3), (5, 5, 9, 6, 4))),
        bucket(count=1),
        bucket(count=2),
        bucket(count=9),
    ],
    ids=str,
)
def test_every_sequence_is_there_once_with_its_length(layout, batch_size):
    check(draw(SHAPES), layout, batch_size)


@pytest.mark.parametrize("batch_size", [None, 1, 2])
@pytest.mark.parametrize("layout", [pad(), bucket(count=2), pack(6), pack((5, 7, None))], ids=str)
def test_nested_sequences_follow_their_steps(layout, batch_size):
    check(draw(SHAPES, context=False), layout, batch_size)


counts = st.lists(st.integers(0, 4), max_size=5)


@hypothesis.given(
    st.lists(st.tuples(counts, counts, st.integers(0, 5)), min_size=1, max_size=9),
    st.none() | st.integers(1, 4),
    st.sampled_from([pad(), bucket(count=2), bucket(count=4), bucket((2, 5)), pack(6)]),
)
@hypothesis.settings(max_examples=60)
def test_random_sizes(shapes, batch_size, layout):
    check(draw(shapes, not layout.shares_rows), layout, batch_size)


def largest(shapes):
    return tuple(np.maximum(np.max(sizes_of(shapes), axis=0), 1).tolist())


def test_shapes_of_batches():
    source = draw(SHAPES)
    most = largest(SHAPES)
    assert check(source, pad(7), 2)[1] == {(7, *most[1:])}
    assert check(source, pad((7, 6, None, 9, None)), 2)[1] == {(7, 6, most[2], 9, most[4])}
    by_two = {
        tuple(-(-size // 3) * 3 for size in largest(SHAPES[begin : begin + 2]))
        for begin in (0, 2, 4)
    }
    assert check(source, pad(multiple_of=3), 2)[1] == by_two
    assert check(draw(SHAPES, False), pack(8), 2)[1] == {(8, *most[1:3])}
    assert check(source, bucket((3, 5)), 2)[1] == {(3, 5, 7, 3, 3), (5, 1, 2, 6, 4)}
    given = {(3, 5, 7, 3, 3), (5, 5, 7, 6, 4)}
    assert check(source, bucket(sorted(given)), 2)[1] == given
    for count in (1, 2, 3):
        assert len(check(source, bucket(count=count), 1)[1]) <= count


def test_the_smallest_boundary_that_fits():
    """With a target and a source, its area is the sum of the two."""
    source = [
        Example(np.ones(t), context={"source": Padded(np.ones(s))}) for t, s in [(2, 2), (4, 3)]
    ]
    for boundaries in itertools.permutations([(2, 8), (6, 3), (9, 9)]):
        made = make_batches(source, bucket(boundaries), 1)
        shapes = {
            int(b.number[0, 0]): (b.mask.shape[1], b.context["source"].steps.shape[1]) for b in made
        }
        assert shapes == {0: (6, 3), 1: (6, 3)}


def test_cut_keeps_the_first_steps_of_every_sequence():
    source = [
        Example(
            {"chars": Padded.stack([np.array([1, 2, 3]), np.array([4])])},
            context={"source": Padded(np.array([5, 6, 7]))},
        )
    ]
    for layout in (pad((1, 2, 2), cut=True), bucket([(1, 2, 2)], cut=True)):
        [batch] = make_batches(source, layout)
        assert batch.steps["chars"].steps.tolist() == [[[1, 2]]]
        assert batch.steps["chars"].length.tolist() == [[2]]
        assert batch.context["source"].steps.tolist() == [[5, 6]]
        assert batch.context["source"].length.tolist() == [2]


def test_values_beyond_a_length_are_zero_in_a_batch():
    chars = Padded(np.array([[1.0, np.nan, np.nan], [2, 3, np.nan]]), np.array([1, 2]))
    source = Padded(np.array([4.0, np.nan]), np.array(1))
    [batch] = make_batches([Example(chars, context={"source": source})], pad())
    assert batch.steps.steps.tolist() == [[[1, 0], [2, 3]]]
    assert batch.context["source"].steps.tolist() == [[4]]


def test_unpack_and_segments_give_nested_sequences_back():
    source = draw(SHAPES, context=False)
    pieces = {}
    for batch in make_batches(source, pack(7), 1):
        pieces |= unpack(batch.steps, batch)
        values, mask = segments(batch.steps["chars"], batch)
        for row, slot in np.argwhere(batch.present):
            own = source[batch.number[row, slot]].steps["chars"]
            assert values.length[row, slot][mask[row, slot]].tolist() == own.length.tolist()
    for number, example in enumerate(source):
        assert jax.tree.all(jax.tree.map(np.array_equal, pieces[number], example.steps))


def mean_of_source():
    """A layer whose steps add the mean over a context with its own length."""

    def bind(params, x, *, key=None, context=None):
        source = context["source"]
        mask = jnp.asarray(source.mask)
        total = jnp.where(mask[:, None], source.steps, 0).sum(0)
        return params, params * total / jnp.maximum(mask.sum(), 1).astype(total.dtype)

    def step(bound, h, x, key=None):
        h = jnp.tanh(bound[0] * h + x + bound[1])
        return h, h

    return recur.scan(
        recur.Cell(
            init=lambda key, x, context=None: jnp.full(2, 0.5),
            bind=bind,
            init_carry=lambda bound, x: jnp.zeros(2),
            step=step,
        )
    )


@pytest.mark.parametrize("layout", [pad(), pad(9), bucket(count=2)], ids=str)
def test_a_layer_reads_a_context_of_its_own_length(layout):
    """Outputs and gradients of padded batches are those of each example alone, NaN in padding."""
    draws = np.random.default_rng(0)
    source = [
        Example(draws.normal(size=(t, 2)), context={"source": Padded(draws.normal(size=(s, 2)))})
        for t, s in [(3, 1), (1, 5), (4, 0), (2, 2), (3, 6)]
    ]
    layer = mean_of_source()
    params = jnp.full(2, 0.5)
    expected, gradient = {}, 0.0
    for number, each in enumerate(source):
        expected[number] = layer(params, each.steps, context=each.context)
        gradient += jax.grad(lambda p, e=each: layer(p, e.steps, context=e.context).sum())(params)
    found, total = {}, 0.0

    def loss(params, batch):
        ys = recur.batch(layer)(params, batch.steps, **batch.layer_kwargs)
        return ys.sum(), ys

    for batch in make_batches(source, layout, 2):
        side = batch.context["source"]
        side = side._replace(steps=np.where(side.mask[..., None], side.steps, np.nan))
        batch = batch._replace(context={"source": side})
        own, ys = jax.jit(jax.grad(loss, has_aux=True))(params, batch)
        found |= unpack(ys, batch)
        total += own
    for number in expected:
        np.testing.assert_allclose(found[number], expected[number], rtol=1e-12)
    np.testing.assert_allclose(total, gradient, rtol=1e-12)


def everything(stream):
    return [jax.device_get(batch) for batch in stream]


@pytest.mark.parametrize("layout", [pad(), pad(9), bucket(count=2), bucket((3, 5))], ids=str)
def test_streams_with_given_sizes_processes_and_resumption(layout):
    source = draw(SHAPES)
    options = {"layout": layout, "batch_size": 2, "seed": 3, "epochs": 2}
    whole = everything(batches(source, **options))
    known = everything(batches(source, **options, lengths=sizes_of(SHAPES)))
    parts = [everything(batches(source, **options, process=(p, 2))) for p in range(2)]
    joined = [
        jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows)
        for rows in zip(*parts, strict=True)
    ]
    stream = batches(source, **options)
    next(stream)
    other = batches(source, **options)
    other.set_state(stream.get_state())
    for found in (known, joined, [whole[0], *everything(other)]):
        assert len(found) == len(whole)
        assert jax.tree.all(jax.tree.map(np.array_equal, found, whole))


def test_bucket_by_both_lengths_compiles_once_for_each_shape():
    draws = np.random.default_rng(0)
    sizes = draws.integers(1, 20, (60, 2))
    source = [Example(np.ones(t), context={"source": Padded(np.ones(s))}) for t, s in sizes]
    step = jax.jit(lambda batch: batch.mask.sum())
    for batch in batches(source, bucket(count=4), 4, epochs=3):
        step(batch)
    assert step._cache_size() == 4


def test_a_position_with_other_side_lengths_is_an_error():
    def stream(length):
        source = [Example(np.ones(2), context={"source": Padded(np.ones(length))})] * 3
        return batches(source, pad(), 2, prefetch=0)

    with pytest.raises(ValueError, match="checksum of lengths"):
        stream(3).set_state(stream(4).get_state())


NESTED = Padded.stack([np.ones(2), np.ones(3)])


def wrong(steps=np.ones(2), **context):  # noqa: B008
    right = dict.fromkeys(context, Padded(np.ones(1)))
    return [Example(np.ones(2), context=right), Example(steps, context=context)]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: make_batches([Padded(np.ones(3))], pad()),
            ValueError,
            r"example 0: steps\[t\]: expected a Padded with steps \[3, S, ...\], got Padded",
        ),
        (
            lambda: make_batches([{"x": np.ones(2), "y": Padded(np.ones((2, 3)))}], pad()),
            ValueError,
            r"example 0: steps/y: expected a Padded with a length of shape \[2\], got .*.stack",
        ),
        (
            lambda: make_batches([{"x": np.ones(3), "y": NESTED}], pad()),
            ValueError,
            r"example 0: expected arrays with the same number of steps, got x 3, y/steps 2, y/leng",
        ),
        (
            lambda: make_batches(wrong(source=Padded(np.ones(2), 3)), pad()),
            ValueError,
            "example 1: context/source: expected lengths from 0 to 2, the number of steps, got 3",
        ),
        (
            lambda: make_batches(wrong(source=Padded(np.ones(2), -1)), pad()),
            ValueError,
            "context/source: expected lengths from 0 to 2",
        ),
        (
            lambda: make_batches(wrong(source=Padded(np.ones(2), 1.5)), pad()),
            TypeError,
            "example 1: context/source: expected an integer length, got float64",
        ),
        (
            lambda: make_batches(wrong(source=Padded(np.ones(2), np.array([1, 1]))), pad()),
            ValueError,
            r"context/source: expected a Padded with a length of shape \[\], got",
        ),
        (
            lambda: make_batches(wrong(source=Padded({"a": np.ones(2), "b": np.ones(3)})), pad()),
            ValueError,
            r"context/source: expected a Padded with steps \[S, ...\], got",
        ),
        (
            lambda: make_batches(wrong(source=Padded(3.0)), pad()),
            ValueError,
            r"context/source: expected a Padded with steps \[S, ...\], got",
        ),
        (
            lambda: make_batches(wrong(source=Padded(np.ones((2, 3)))), pad()),
            ValueError,
            "example 1: expected .* like the first one, without the time axis, got",
        ),
        (
            lambda: make_batches(wrong(source=np.ones(1)), pad()),
            ValueError,
            "example 1: expected .*source.*Padded",
        ),
        (
            lambda: make_batches(Padded(np.ones(2)), pad()),
            TypeError,
            "a list of .* got Padded. Put",
        ),
        (
            lambda: make_batches(draw(SHAPES), pad((5, 5, 7, 5, 4))),
            ValueError,
            "pad: expected examples of at most 5 steps in context/source, got 6 in example 3",
        ),
        (
            lambda: make_batches(draw(SHAPES), pad((5, 6))),
            ValueError,
            "pad: expected a length, or 5 lengths, of steps, steps/chars, label, context/source, ",
        ),
        (
            lambda: make_batches(draw(SHAPES, False), pack((9, 4, None))),
            ValueError,
            "pack: expected examples of at most 4 steps in steps/chars, got 5 in example 2",
        ),
        (
            lambda: make_batches(draw(SHAPES), pack(9)),
            ValueError,
            "example 0 has a context .'source', 'speaker'.: a layer takes one context per row",
        ),
        (
            lambda: make_batches(draw(SHAPES), bucket([(5, 5)])),
            ValueError,
            r"bucket: expected boundaries as tuples of 5 sizes, of steps, .*, got \(5, 5\)",
        ),
        (
            lambda: make_batches(draw(SHAPES), bucket([(5, 5, 7, 6, 3), (3, 5, 4, 3, 3)])),
            ValueError,
            r"bucket: expected .* got \(5, 1, 2, 6, 4\) in example 3. Add .* \(5, 5, 7, 6, 4\)",
        ),
        (
            lambda: batches(draw(SHAPES), pad(), 2, lengths=[3, 0, 1, 5, 2]),
            ValueError,
            r"lengths: expected 5 sizes for each example, of steps, .*, got the shape \[5\]",
        ),
        (
            lambda: everything(
                batches(
                    draw(SHAPES),
                    pad(),
                    2,
                    lengths=np.array(sizes_of(SHAPES)) + [0, 0, 0, 1, 0],
                    epochs=1,
                    seed=None,
                )
            ),
            ValueError,
            "example 0: expected the given length of 3 steps in context/source, got 2",
        ),
    ],
)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
