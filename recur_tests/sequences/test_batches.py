"""Streams of batches: each example once per epoch, exact resumption, rows shared by processes."""

import json
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from recur.sequences import (
    Example,
    TimeMajorBatch,
    batches,
    bucket,
    make_batches,
    pack,
    pad,
    sliding,
    unpack,
)
from recur.train import Checkpoints, init_state

LENGTHS = np.random.default_rng(0).integers(0, 12, 37).tolist()
SOURCE = [Example(np.full(n, i), label=i) for i, n in enumerate(LENGTHS)]
LAYOUTS = {"pad": pad(), "bucket": bucket(count=3), "pack": pack(16)}
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


def read(stream, count=None):
    """Returns the next batches of a stream, on the host; all of them without a count."""
    found = []
    while count is None or len(found) < count:
        batch = next(stream, None)
        if batch is None:
            break
        found.append(jax.device_get(batch))
    return found


def numbers(found):
    return [int(n) for batch in found for n in batch.number[batch.number >= 0]]


def assert_same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert jax.tree.structure(a) == jax.tree.structure(b)
        assert jax.tree.all(jax.tree.map(np.array_equal, a, b))


@every_layout
def test_each_example_comes_once_an_epoch_in_a_new_order(layout):
    stream = batches(SOURCE, layout, 4, seed=1)
    count = len(read(batches(SOURCE, layout, 4, seed=1, epochs=1)))
    first = read(stream, count)
    assert sorted(numbers(first)) == list(range(len(SOURCE)))
    two = read(batches(SOURCE, layout, 4, seed=1, epochs=2))
    assert_same(two[:count], first)
    assert sorted(numbers(two)) == sorted(2 * list(range(len(SOURCE))))
    assert numbers(two)[: len(SOURCE)] != numbers(two)[len(SOURCE) :]
    assert numbers(read(batches(SOURCE, layout, 4, seed=2), count)) != numbers(first)
    stream.close()
    for batch in first:
        assert batch.label[batch.present].tolist() == batch.number[batch.present].tolist()


@every_layout
def test_without_a_seed_the_order_is_the_sources(layout):
    found = read(batches(SOURCE, layout, 4, seed=None, epochs=1))
    assert_same(found, make_batches(SOURCE, layout, 4))


@every_layout
@pytest.mark.parametrize("prefetch", [0, 3])
def test_it_resumes_with_the_very_next_batch(layout, prefetch):
    whole = read(batches(SOURCE, layout, 4, epochs=3))
    for done in (0, 1, len(whole) // 3, len(whole) // 3 + 1, len(whole) - 1, len(whole)):
        stream = batches(SOURCE, layout, 4, epochs=3, prefetch=prefetch)
        read(stream, done)
        state = stream.get_state()
        stream.close()
        other = batches(SOURCE, layout, 4, epochs=3, prefetch=prefetch)
        read(other, 2)
        other.set_state(state)
        assert_same(read(other), whole[done:])
        other.close()


def test_checkpoints_hold_its_position(tmp_path):
    import optax

    stream = batches(SOURCE, pack(16), 4)
    read(stream, 3)
    state = init_state(jnp.ones(2), optax.sgd(0.1), jax.random.key(0))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, stream=stream.get_state())
        position = checkpoints.restore(like=state).stream
    expected = read(stream, 2)
    other = batches(SOURCE, pack(16), 4)
    other.set_state(position)
    assert_same(read(other, 2), expected)
    stream.close(), other.close()


@every_layout
def test_processes_share_the_rows_of_each_batch(layout):
    whole = read(batches(SOURCE, layout, 6, epochs=2))
    parts = [read(batches(SOURCE, layout, 6, epochs=2, process=(p, 3))) for p in range(3)]
    joined = [
        jax.tree.map(lambda *leaves: np.concatenate(leaves), *same)
        for same in zip(*parts, strict=True)
    ]
    assert_same(joined, whole)
    assert {len(batch.mask) for part in parts for batch in part} == {2}


def test_rows_are_spread_over_devices():
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("rows"))
    stream = batches(SOURCE, pack(16), 4, sharding=sharding)
    batch = next(stream)
    stream.close()
    assert {leaf.sharding for leaf in jax.tree.leaves(batch)} == {sharding}
    assert_same([jax.device_get(batch)], read(batches(SOURCE, pack(16), 4), 1))


@every_layout
@pytest.mark.parametrize("seed", [None, 1])
def test_its_length_is_the_number_of_batches_of_an_epoch(layout, seed):
    source = Recorded()
    stream = batches(source, layout, 4, seed=seed, epochs=2, lengths=LENGTHS, prefetch=0)
    assert len(stream) == len(read(batches(SOURCE, layout, 4, seed=seed, epochs=1)))
    assert source.read == [0]
    first = read(stream, len(stream))
    assert sorted(numbers(first)) == list(range(len(SOURCE)))
    assert len(stream) == len(first)  # still the first epoch
    rest = [next(stream)]
    assert len(stream) == len(rest + read(stream))


def test_its_length_is_that_of_the_current_epoch():
    """How many rows sequences are packed into depends on their order."""
    stream = batches(SOURCE, pack(12), 4, seed=3, epochs=2)
    counts = []
    for _ in stream:
        counts.append(len(stream))
    assert counts == 6 * [6] + 5 * [5]


def test_its_length_is_the_same_in_every_process():
    parts = [batches(SOURCE, pack(16), 6, process=(p, 3)) for p in range(3)]
    assert {len(part) for part in parts} == {len(batches(SOURCE, pack(16), 6))}


@every_layout
def test_time_major_batches(layout):
    found = read(batches(SOURCE, layout, 4, epochs=1, time_major=True))
    expected = read(batches(SOURCE, layout, 4, epochs=1))
    assert len(found) == len(expected)
    for major, batch in zip(found, expected, strict=True):
        assert isinstance(major, TimeMajorBatch)
        for name in ("steps", "mask", "reset"):
            own, other = getattr(major, name), getattr(batch, name)
            assert own is other is None or (own == np.swapaxes(other, 0, 1)).all()
        assert_same([tuple(major[3:])], [tuple(batch[3:])])
        assert major.layer_kwargs["mask"] is major.mask


def test_time_major_batches_are_spread_over_devices():
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("rows"))
    stream = batches(SOURCE, pack(16), 4, sharding=sharding, time_major=True)
    batch = next(stream)
    stream.close()
    assert {leaf.sharding.spec for leaf in batch[:3]} == {PartitionSpec(None, "rows")}
    assert {leaf.sharding for leaf in jax.tree.leaves(batch[3:])} == {sharding}
    expected = read(batches(SOURCE, pack(16), 4, time_major=True), 1)
    assert_same([jax.device_get(batch)], expected)
    replicated = NamedSharding(mesh, PartitionSpec())
    stream = batches(SOURCE, pack(16), 4, sharding=replicated, time_major=True)
    assert_same([jax.device_get(next(stream))], expected)
    stream.close()


@pytest.mark.parametrize("layout", [pad(), pad(3), bucket((3,)), pack(9)], ids=str)
def test_sliding_windows(layout):
    series = {"a": np.arange(40), "b": np.arange(80.0).reshape(40, 2)}
    windows = sliding(series, 3, ahead=2, stride=2)
    count = len(windows.inputs["a"])
    stream = batches(windows, layout, 4, epochs=1)
    length = len(stream)
    found = read(stream)
    assert len(found) == length and sorted(numbers(found)) == list(range(count))
    pieces = {}
    for batch in found:
        pieces |= unpack(batch.steps, batch)
        for row, slot in np.argwhere(batch.present):
            number = batch.number[row, slot]
            for name, of_batch in batch.label.items():
                assert (of_batch[row, slot] == windows.targets[name][number]).all()
    for number, piece in pieces.items():
        assert (piece["a"] == windows.inputs["a"][number]).all()
        assert (piece["b"] == windows.inputs["b"][number]).all()


def test_sliding_windows_are_read_when_they_are_needed(monkeypatch):
    """Their lengths are known: only the first window is read before the batches are."""
    from recur.sequences import examples

    reads = []
    monkeypatch.setattr(
        examples,
        "_read",
        lambda source, number, real=examples._read: reads.append(number) or real(source, number),
    )
    stream = batches(sliding(np.arange(10_000.0), 8), pad(), 4, prefetch=0)
    assert len(stream) == -(-9992 // 4) and reads == [0]
    assert_same([jax.device_get(next(stream)).length], [np.full((4, 1), 8, np.int32)])
    assert len(reads) == 5


@pytest.mark.parametrize(("name", "count"), [("bucket", 3), ("pack", 1)])
def test_as_many_compilations_as_buckets(name, count):
    step = jax.jit(lambda batch: batch.mask.sum())
    for batch in batches(SOURCE, LAYOUTS[name], 4, epochs=3):
        step(batch)
    assert step._cache_size() == count


def other(layout, source=SOURCE, **options):
    return batches(source, layout, 4, **options).get_state()


@pytest.mark.parametrize(
    "state", [lambda: other(pack(17)), lambda: other(bucket(count=3)), lambda: other(pad()),
              lambda: other(pack(16), SOURCE[::-1]), lambda: other(pack(16), seed=1),
              lambda: other(pack(16), [each.steps for each in SOURCE])],
)  # fmt: skip
def test_the_position_in_another_stream_is_an_error(state):
    stream = batches(SOURCE, pack(16), 4, prefetch=0)
    with pytest.raises(ValueError, match="Resume with the data and options of the original"):
        stream.set_state(state())


def test_positions_are_json_and_lengths_of_any_integers_will_do():
    lengths = np.array(LENGTHS, np.uint8)
    stream = batches(SOURCE, pack(300), np.int64(4), seed=np.int32(3), lengths=lengths)
    assert len(read(stream, 1)) == 1
    state = stream.get_state()
    assert json.loads(json.dumps(state)) == state
    stream.close()


class Recorded:
    """A source that remembers what was read, as a data source on a disk would be."""

    def __init__(self):
        self.read = []

    def __len__(self):
        return len(SOURCE)

    def __getitem__(self, number):
        self.read.append(int(number))
        return SOURCE[number]


def test_known_lengths_spare_reading_the_source_first():
    source = Recorded()
    stream = batches(source, pack(16), 4, lengths=LENGTHS, prefetch=0)
    assert source.read == [0]
    found = read(stream, 1)
    assert sorted(source.read[1:]) == sorted(numbers(found))


def test_sources_of_grain_are_sources():
    import grain

    dataset = grain.MapDataset.range(5).map(lambda i: np.full(i, 2 * i))
    [batch] = read(batches(dataset, pad(), 5, seed=None, epochs=1))
    assert batch.steps[4].tolist() == [8] * 4


class OtherSharding(jax.sharding.Sharding):
    is_fully_replicated = False


class Spoiled(Recorded):
    def __getitem__(self, number):
        return Example(np.ones(LENGTHS[number] + (number == 11)), label=number)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: batches([], pad(), 2), ValueError, "empty data set"),
        (lambda: batches(SOURCE, pack(5), 2), ValueError, "pack: expected .* at most 5 steps"),
        (lambda: batches(SOURCE, "pack", 2), TypeError, "expected a layout"),
        (
            lambda: batches(SOURCE, pad(), 0),
            ValueError,
            "batch_size: expected .* 1, got 0",
        ),
        (lambda: batches(SOURCE, pad(), 2, seed="a"), ValueError, "seed: expected a whole"),
        (lambda: batches(SOURCE, pad(), 2, epochs=1.5), ValueError, "epochs: expected a whole"),
        (lambda: batches(SOURCE, pad(), 2, prefetch=-1), ValueError, "prefetch: expected a whole"),
        (
            lambda: batches(SOURCE, pad(), 2).set_state({"window": 3}),
            ValueError,
            "expected the state that get_state returned, got one without layout, batch_size",
        ),
        (
            lambda: batches(SOURCE, pad(), 2, time_major=True, sharding=OtherSharding()),
            TypeError,
            "batches: expected a NamedSharding, to move its axis .* got Other",
        ),
        (lambda: batches(SOURCE, pad(), 3, process=(0, 2)), ValueError, "2 processes can share"),
        (lambda: batches(SOURCE, pad(), 2, process=(2, 2)), ValueError, "from 0 to 1, got 2"),
        (lambda: batches(SOURCE, pad(), 2, lengths=[1, 2]), ValueError, "one for each of 37"),
        (lambda: batches(SOURCE, pad(), 2, lengths=np.ones(37)), TypeError, "expected integers"),
        (lambda: batches(SOURCE, pad(), 2, lengths=[-1] * 37), ValueError, "-1 for example 0"),
        (
            lambda: read(batches(Spoiled(), pad(), 2, lengths=LENGTHS, epochs=1)),
            ValueError,
            f"example 11: .* length of {LENGTHS[11]} steps, got {LENGTHS[11] + 1}",
        ),
        (
            lambda: batches(SOURCE, pad(), 2).set_state(batches(SOURCE, pad(), 4).get_state()),
            ValueError,
            "expected the state of a stream with batch_size 2, got one with batch_size 4",
        ),
    ],
)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_stream_is_closed_at_the_end_of_a_with_block():
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), batches(SOURCE, pad(), 2) as stream:
        next(stream)
        assert threading.active_count() > before
        raise ZeroDivisionError
    assert threading.active_count() == before


@pytest.mark.parametrize("ends", ["", "stream.close()"])
def test_a_stream_of_a_module_says_nothing_at_exit(ends):
    script = f"""
import numpy as np
from recur.sequences import batches, pad
stream = batches([np.arange(n) for n in (2, 9, 1, 10)], pad(), batch_size=2)
def kept(): return next(stream)
kept()
{ends}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    of_grain = "WARNING:absl:Grain multiprocess worker profiling requires jaxlib"  # with old ones
    said = [line for line in done.stderr.splitlines() if not line.startswith(of_grain)]
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("batches", lambda: batches(SOURCE, pad(), 2)),
        ("pack", lambda: make_batches(SOURCE, pack(16))),
    ],
)
def test_without_grain_the_error_says_what_to_install(monkeypatch, name, make):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(ImportError, match=rf'{name} needs Grain: pip install "recur-jax\[data\]"'):
        make()
