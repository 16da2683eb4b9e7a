"""Long texts as parallel streams of windows, for truncated backpropagation through time."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from recur.checks import check_whole
from recur.sequences.stream_state import read_position


class Window(NamedTuple):
    """T consecutive steps of B parallel streams, each `[B, T]`, in NumPy."""

    inputs: np.ndarray  # integer
    targets: np.ndarray  # integer, the inputs one step later
    reset: np.ndarray  # bool, True at the first step of a document or a stream
    mask: np.ndarray  # bool, False where there is nothing to predict


class Streams:
    """An endless iterator over windows of documents, cut into parallel streams.

    In each epoch the documents are concatenated in a new order, and the result is cut into
    `batch_size` streams of equal length. Window i of a stream holds the steps from i k1 - (k2 - k1)
    to (i + 1) k1: k2 - k1 steps that are read again, then k1 new ones. Each step of each document
    is new exactly once an epoch.

    A document d_0 ... d_n gives the inputs d_0 ... d_{n-1} and the targets d_1 ... d_n; `reset` is
    True at d_0, and where a stream starts. The masked steps, before the first step of an epoch and
    after its last, are followed by a reset, so a layer can be called without the mask.

    Args:
      documents: integer arrays of at least 2 tokens each. Begin each document with a
        beginning-of-sequence token if its first token is to be predicted too.
      batch_size: B, the number of parallel streams.
      k1: how many new steps a window has.
      k2: how many steps a window has, k2 ≥ k1; k1 by default.
      seed: the seed of the order of the documents, at least 0.

    Raises:
      TypeError: if the documents are no list, or one does not hold integers.
      ValueError: if not k2 ≥ k1 ≥ 1, the seed is below 0, a document is shorter than 2, or there is
        less than one window of k1 new steps for each stream.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import Streams
      >>> streams = Streams([np.arange(9)], batch_size=2, k1=2, k2=3)
      >>> streams.windows_per_epoch
      2
      >>> next(streams).inputs.tolist()
      [[0, 0, 1], [0, 4, 5]]
      >>> next(streams).inputs.tolist()
      [[1, 2, 3], [5, 6, 7]]
    """

    def __init__(
        self,
        documents: Sequence[np.ndarray],
        batch_size: int,
        k1: int,
        k2: int | None = None,
        seed: int = 0,
    ):
        k1 = check_whole("Streams: k1", k1, 1)
        k2 = k1 if k2 is None else check_whole("Streams: k2", k2, 1)
        if k2 < k1:
            raise ValueError(
                f"Streams: expected k2 >= k1, got k1={k1} and k2={k2}. A window holds its new "
                "steps, and may hold earlier ones."
            )
        batch_size = check_whole("Streams: batch_size", batch_size, 1)
        seed = check_whole("Streams: seed", seed, 0)
        steps = check_documents(documents)
        if steps < batch_size * k1:
            raise ValueError(
                f"Streams: {batch_size} streams of windows of {k1} new steps need at least "
                f"{batch_size * k1} steps, got {steps}. Pass more data, a smaller batch_size or a "
                "smaller k1."
            )
        self.windows_per_epoch = -(-steps // (batch_size * k1))
        self._documents = documents
        self._batch_size, self._k1, self._k2, self._seed = batch_size, k1, k2, seed
        self._position = 0
        self._epoch = functools.lru_cache(maxsize=1)(self._make_epoch)

    def window(self, number: int) -> Window:
        """Window `number`, counted from the start of the first epoch."""
        number = check_whole("Streams.window: number", number, 0)
        epoch, number = divmod(number, self.windows_per_epoch)
        begin = number * self._k1  # the padding at the start is as long as what is read again
        return Window(*(part[:, begin : begin + self._k2] for part in self._epoch(epoch)))

    def get_state(self) -> dict[str, Any]:
        """The position in the stream, and what tells it from others, as JSON can hold it."""
        return {**self._identity, "window": self._position}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from the position that `get_state` returned.

        Raises:
          TypeError: if the state is no dict.
          ValueError: if it is that of a stream of other documents or options.
        """
        [self._position] = read_position("Streams.set_state", state, self._identity, "window")

    @functools.cached_property
    def _identity(self) -> dict[str, Any]:
        return {
            "batch_size": self._batch_size,
            "k1": self._k1,
            "k2": self._k2,
            "seed": self._seed,
            "checksum of documents": checksum(self._documents),
        }

    def __iter__(self) -> Iterator[Window]:
        return self

    def __next__(self) -> Window:
        window = self.window(self._position)
        self._position += 1
        return window

    def _make_epoch(self, epoch: int) -> Window:
        """The streams of one epoch, `[B, N]`, padded so that every window is whole."""
        order = np.random.default_rng((self._seed, epoch)).permutation(len(self._documents))
        line = join_documents([self._documents[number] for number in order])
        again, length = self._k2 - self._k1, self.windows_per_epoch * self._k1
        bounds = np.arange(self._batch_size + 1) * len(line.inputs) // self._batch_size
        shape = (self._batch_size, again + length)
        streams = Window(*(np.zeros(shape, part.dtype) for part in line))
        for row, (begin, end) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
            for stream, part in zip(streams, line, strict=True):
                stream[row, again : again + end - begin] = part[begin:end]
        streams.reset[:, again] = True
        return streams


def whole_rows(documents: Sequence[np.ndarray], batch_size: int) -> Window:
    """Arranges whole documents in rows of nearly equal length, for evaluation.

    Each document is read from its start, and none is cut.

    Args:
      documents: as of `Streams`.
      batch_size: how many rows at most; there are no more rows than documents.

    Returns:
      A `Window` `[B, N]`, each document whole with a reset at its start, padded at the end.

    Raises:
      TypeError: if the documents are no list, or one does not hold integers.
      ValueError: if batch_size is below 1, or a document is shorter than 2.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import whole_rows
      >>> rows = whole_rows([np.arange(5), np.arange(3), np.arange(3)], batch_size=2)
      >>> rows.inputs.tolist(), rows.reset.astype(int).tolist()
      ([[0, 1, 2, 3], [0, 1, 0, 1]], [[1, 0, 0, 0], [1, 0, 1, 0]])
    """
    batch_size = check_whole("whole_rows: batch_size", batch_size, 1)
    check_documents(documents)
    rows: list[list[np.ndarray]] = [[] for _ in range(min(batch_size, len(documents)))]
    lengths = [0] * len(rows)
    for document in sorted(documents, key=len, reverse=True):  # the longest first, to the emptiest
        emptiest = lengths.index(min(lengths))
        rows[emptiest].append(document)
        lengths[emptiest] += len(document) - 1
    lines = [join_documents(row) for row in rows]
    return Window(*(_stack_padded(parts) for parts in zip(*lines, strict=True)))


def join_documents(documents: Sequence[np.ndarray]) -> Window:
    """Joins documents to one stream, each `[N]`; none predicts the first token of the next."""
    inputs = np.concatenate([document[:-1] for document in documents])
    targets = np.concatenate([document[1:] for document in documents])
    reset = np.zeros(len(inputs), bool)
    reset[np.cumsum([0, *(len(document) - 1 for document in documents[:-1])])] = True
    return Window(inputs, targets, reset, np.ones(len(inputs), bool))


def checksum(documents: Sequence[Any]) -> int:
    """Of the tokens of all documents, and of where each ends; that of lists is that of arrays."""
    found = 0
    for document in documents:
        tokens = np.asarray(document, np.int64)
        found = zlib.crc32(tokens.tobytes(), zlib.crc32(len(tokens).to_bytes(8, "little"), found))
    return found


def _stack_padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    length = max(len(row) for row in rows)
    return np.stack([np.pad(row, (0, length - len(row))) for row in rows])


def check_documents(documents: Sequence[np.ndarray]) -> int:
    """How many steps the documents have in all."""
    if not hasattr(documents, "__len__") or not hasattr(documents, "__getitem__"):
        raise TypeError(
            f"expected a list of documents, got {type(documents).__name__}. An iterator becomes a "
            "list with list(...)."
        )
    if not len(documents):
        raise ValueError("expected at least one document, got none.")
    for number, document in enumerate(documents):
        try:
            dtype = np.asarray(document).dtype
        except ValueError as error:
            raise TypeError(
                f"document {number}: expected integer tokens, got lists of lists."
            ) from error
        if np.size(document) and not np.issubdtype(dtype, np.integer):
            raise TypeError(f"document {number}: expected integer tokens, got {dtype}.")
        if np.ndim(document) != 1 or len(document) < 2:
            raise ValueError(
                f"document {number}: expected an array of at least 2 tokens, one to read and one "
                f"to predict, got the shape {list(np.shape(document))}. Put a single document in a "
                "list."
            )
    return sum(len(document) - 1 for document in documents)
