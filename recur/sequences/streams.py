"""Documents as parallel streams of windows, for truncated backpropagation through time."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from recur.checks import check_whole
from recur.sequences.stream_state import read_position


class Window(NamedTuple):
    """A window of T consecutive steps of B parallel streams, in NumPy.

    Attributes:
      inputs: integer `[B, T]`, the tokens.
      targets: integer `[B, T]`, the next token of each step.
      reset: bool `[B, T]`, True at the first step of a document or a stream.
      mask: bool `[B, T]`, False in the padding, where there is nothing to predict.
    """

    inputs: np.ndarray
    targets: np.ndarray
    reset: np.ndarray
    mask: np.ndarray


class Streams:
    """Iterates endlessly over windows of parallel streams of documents, for truncated BPTT.

    In each epoch the documents are concatenated in a new order, and the result is cut into
    `batch_size` streams of equal length. Window i of a stream holds the steps from i k1 - (k2 - k1)
    to (i + 1) k1: k2 - k1 steps of earlier windows, then k1 new ones. Each step of each document is
    new exactly once per epoch.

    A document d_0 ... d_n has the inputs d_0 ... d_{n-1} and the targets d_1 ... d_n; `reset` is
    True at d_0, and where a stream starts. The masked steps, before the first step of an epoch and
    after its last, are followed by a reset, so a layer can be called without the mask.
    `len(streams)` is the number of windows of an epoch.

    Args:
      documents: integer arrays of at least 2 tokens each. To predict the first token of a document
        too, begin it with a beginning-of-sequence token.
      batch_size: B, the number of parallel streams.
      k1: the number of new steps of a window.
      k2: the number of steps of a window, k2 ≥ k1; k1 by default.
      seed: the seed of the order of the documents, at least 0.

    Raises:
      TypeError: if the documents are not a list, or one does not hold integers.
      ValueError: if not k2 ≥ k1 ≥ 1, the seed is below 0, a document has fewer than 2 tokens, or
        there is less than one window of k1 new steps for each stream.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import Streams
      >>> streams = Streams([np.arange(9)], batch_size=2, k1=2, k2=3)
      >>> len(streams)
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
                f"Streams: expected k2 >= k1, got k1={k1} and k2={k2}. A window holds k1 new steps "
                "and k2 - k1 earlier ones."
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
        self._length = -(-steps // (batch_size * k1))
        self._documents = documents
        self._batch_size, self._k1, self._k2, self._seed = batch_size, k1, k2, seed
        self._position = 0
        self._epoch = functools.lru_cache(maxsize=1)(self._make_epoch)

    def window(self, number: int) -> Window:
        """Returns a window by its number, counted from the start of the first epoch."""
        number = check_whole("Streams.window: number", number, 0)
        epoch, number = divmod(number, self._length)
        begin = number * self._k1  # the padding at the start has k2 - k1 steps
        return Window(*(part[:, begin : begin + self._k2] for part in self._epoch(epoch)))

    def get_state(self) -> dict[str, Any]:
        """Returns the position in the stream and what identifies the stream, JSON serializable."""
        return {**self._identity, "window": self._position}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from the position that `get_state` returned.

        Raises:
          TypeError: if the state is not a dict.
          ValueError: if it is from a stream of other documents or options.
        """
        [self._position] = read_position("Streams.set_state", state, self._identity, "window")

    def close(self) -> None:
        """Does nothing: there is no thread to end, as `batches` has one."""

    @functools.cached_property
    def _identity(self) -> dict[str, Any]:
        return {
            "batch_size": self._batch_size,
            "k1": self._k1,
            "k2": self._k2,
            "seed": self._seed,
            "checksum of documents": checksum(self._documents),
        }

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Window]:
        return self

    def __next__(self) -> Window:
        window = self.window(self._position)
        self._position += 1
        return window

    def _make_epoch(self, epoch: int) -> Window:
        """Returns the streams of one epoch, `[B, N]`, padded so that every window is complete."""
        order = np.random.default_rng((self._seed, epoch)).permutation(len(self._documents))
        line = join_documents([self._documents[number] for number in order])
        again, length = self._k2 - self._k1, self._length * self._k1
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

    Each document begins with a reset, and none is cut.

    Args:
      documents: as in `Streams`.
      batch_size: the largest number of rows; there are no more rows than documents.

    Returns:
      A `Window` `[B, N]`, padded at the end of the rows.

    Raises:
      TypeError: if the documents are not a list, or one does not hold integers.
      ValueError: if batch_size is below 1, or a document has fewer than 2 tokens.

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
    for document in sorted(documents, key=len, reverse=True):  # longest first, to the shortest row
        shortest = lengths.index(min(lengths))
        rows[shortest].append(document)
        lengths[shortest] += len(document) - 1
    lines = [join_documents(row) for row in rows]
    return Window(*(_stack_padded(parts) for parts in zip(*lines, strict=True)))


def join_documents(documents: Sequence[np.ndarray]) -> Window:
    """Joins documents to one stream `[N]`; no target is the first token of the next document."""
    inputs = np.concatenate([document[:-1] for document in documents])
    targets = np.concatenate([document[1:] for document in documents])
    reset = np.zeros(len(inputs), bool)
    reset[np.cumsum([0, *(len(document) - 1 for document in documents[:-1])])] = True
    return Window(inputs, targets, reset, np.ones(len(inputs), bool))


def checksum(documents: Sequence[Any]) -> int:
    """Computes a checksum of the tokens and lengths of documents, the same for lists and arrays."""
    found = 0
    for document in documents:
        tokens = np.asarray(document, np.int64)
        found = zlib.crc32(tokens.tobytes(), zlib.crc32(len(tokens).to_bytes(8, "little"), found))
    return found


def _stack_padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    length = max(len(row) for row in rows)
    return np.stack([np.pad(row, (0, length - len(row))) for row in rows])


def check_documents(documents: Sequence[np.ndarray]) -> int:
    """Checks documents and returns their total number of steps."""
    if not hasattr(documents, "__len__") or not hasattr(documents, "__getitem__"):
        raise TypeError(
            f"expected a list of documents, got {type(documents).__name__}. Convert an iterator "
            "with list(...)."
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
                f"document {number}: expected an array of at least 2 tokens, an input and a "
                f"target, got the shape {list(np.shape(document))}. Put a single document in a "
                "list."
            )
    return sum(len(document) - 1 for document in documents)
