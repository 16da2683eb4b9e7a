"""Repetition of the updates since a report, to explain a loss that is not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from recur.train.step import TrainState


class Replay:
    """Keeps the state of the last report and the batches since, if there is a function to explain.

    Args:
      step: the training step.
      explain: `explain(state, batch) -> text`; None keeps nothing.
    """

    def __init__(self, step: Callable[..., Any], explain: Callable[..., str] | None):
        self._step, self._explain = step, explain
        self._state: Any = None
        self._since, self._batches = 0, []  # type: ignore[var-annotated]

    def begin(self, state: TrainState, done: int) -> None:
        """Keeps a copy of the state after `done` updates, since the step may donate it."""
        if self._explain is not None:
            self._state, self._since, self._batches = _copy(state), done, []

    def add(self, batch: Any) -> None:
        """Keeps the batch of the next update."""
        if self._explain is not None:
            self._batches.append(batch)

    def explain(self, number: int) -> str:
        """Explains the update with this number; "" if it cannot be repeated."""
        before = number - self._since - 1
        if self._explain is None or not 0 <= before < len(self._batches):
            return ""
        state = self._state
        for batch in self._batches[:before]:
            state, _ = self._step(state, batch)
        return str(self._explain(state, self._batches[before]))


def _copy(state: TrainState) -> TrainState:
    return jax.tree.map(lambda leaf: leaf.copy() if isinstance(leaf, jax.Array) else leaf, state)
