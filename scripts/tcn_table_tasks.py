"""The tasks of tcn_table.py: examples for training, validation and test, and how they are scored.

Adding and copy are drawn by memory_tasks.py, digits read by digits_data.py, and music by
piano_rolls.py.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import memory_tasks
import numpy as np
import optax
from digits_data import Digits, read_mnist
from piano_rolls import KEYS, SPLITS, read_mat

from recur import train
from recur.sequences import Batch, Example

CLASSES = 10  # of digits
HELD_OUT = 1000  # drawn sequences for validation, and for the test


class Steps(NamedTuple):
    """The steps of an example, as `batch.steps`.

    Attributes:
      x: the inputs, `[T, ...]`; the model reads `prepare(x)`.
      target: the targets, `[T, ...]`; None if there is one answer for the sequence.
    """

    x: np.ndarray
    target: np.ndarray | None = None


class Task(NamedTuple):
    """A task.

    Attributes:
      training: the examples to fit.
      valid: those to choose the best checkpoint.
      test: those to evaluate.
      prepare: makes float inputs `[..., I]` of `Steps.x`.
      outputs: the width of the answers.
      has_one_answer: whether it is the answer at the last step that counts.
      loss: of answers and a batch, the mean loss.
      error: the same, of the number to be small in validation and test: the loss, or the share of
        wrong answers.
      without_memory: the error of the best answer without memory; None if unknown.
    """

    training: Sequence[Example]
    valid: Sequence[Example]
    test: Sequence[Example]
    prepare: Callable[[jax.Array], jax.Array]
    outputs: int
    has_one_answer: bool
    loss: Callable[[jax.Array, Batch], Any]
    error: Callable[[jax.Array, Batch], Any]
    without_memory: float | None = None


# --- Drawn sequences -----------------------------------------------------------------------------


def read_adding(steps: int, count: int, seed: int) -> Task:
    """The adding problem, by Hochreiter & Schmidhuber 1997: the sum of two marked numbers."""
    of = memory_tasks.adding(steps)

    def loss(answers, batch):
        return train.average(jnp.square(answers[:, 0] - batch.label[:, 0]), batch.present[:, 0])

    xs, targets = _draw(of, count + 2 * HELD_OUT, seed)
    examples = [Example(Steps(x), label=y) for x, y in zip(xs, targets, strict=True)]
    parts = _split(examples)
    return Task(*parts, lambda x: x, 1, True, loss, loss, without_memory=of.bound)


def read_copy(blanks: int, count: int, seed: int) -> Task:
    """Copy memory: ten symbols, to be repeated after a delay (Hochreiter & Schmidhuber 1997)."""
    of = memory_tasks.copying(blanks)

    def loss(answers, batch):
        return train.average(train.cross_entropy(answers, batch.steps.target), batch.mask)

    xs, targets = _draw(of, count + 2 * HELD_OUT, seed)
    tokens, kinds = xs.argmax(-1).astype(np.uint8), xs.shape[-1]
    examples = [Example(Steps(x, y.astype(np.uint8))) for x, y in zip(tokens, targets, strict=True)]
    given = {"prepare": lambda x: jax.nn.one_hot(x, kinds), "outputs": of.outputs}
    more = {"has_one_answer": False, "loss": loss, "error": loss, "without_memory": of.bound}
    return Task(*_split(examples), **given, **more)


def _draw(task: memory_tasks.Task, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws inputs and targets of `count` examples."""
    keys = jax.random.split(jax.random.key(seed), count)
    found = jax.jit(jax.vmap(lambda key: task.draw(key, False)))(keys)
    return np.asarray(found.xs), np.asarray(found.target)


def _split(examples: list[Example]) -> tuple[list[Example], ...]:
    """Splits drawn examples: training, validation and test."""
    return examples[: -2 * HELD_OUT], examples[-2 * HELD_OUT : -HELD_OUT], examples[-HELD_OUT:]


# --- Files ---------------------------------------------------------------------------------------


def read_digits(folder: pathlib.Path, permuted: bool, seed: int) -> Task:
    """Sequential MNIST: a pixel each step, in order or in a random one (Le et al. 2015)."""

    def loss(answers, batch):
        present = batch.present[:, 0]
        return train.average(train.cross_entropy(answers, batch.label[:, 0], present), present)

    def error(answers, batch):
        return train.average(answers.argmax(-1) != batch.label[:, 0], batch.present[:, 0])

    def examples(digits: Digits) -> list[Example]:
        pixels = digits.images.reshape(len(digits.images), -1, 1)
        pixels = pixels[:, order] if permuted else pixels
        return [Example(Steps(x), label=y) for x, y in zip(pixels, digits.labels, strict=True)]

    parts = read_mnist(folder)
    order = np.random.default_rng(seed).permutation(parts.test.images[0].size)
    return Task(*map(examples, parts), _scale_pixels, CLASSES, True, loss, error)


def _scale_pixels(x: jax.Array) -> jax.Array:
    """Scales bytes to about mean 0."""
    return x.astype(jnp.float32) / 128 - 0.25


def read_music(path: pathlib.Path) -> Task:
    """Polyphonic music: each frame of keys from those before it (Boulanger-Lewandowski 2012).

    The loss of a frame is summed over keys; the first frame of a piece is not predicted.
    """

    def loss(answers, batch):
        keys = batch.steps.target.astype(jnp.float32)
        return train.average(optax.sigmoid_binary_cross_entropy(answers, keys).sum(-1), batch.mask)

    rolls = read_mat(path)
    parts = [[Example(Steps(roll[:-1], roll[1:])) for roll in rolls[split]] for split in SPLITS]
    return Task(*parts, lambda x: x.astype(jnp.float32), KEYS, False, loss, loss)
