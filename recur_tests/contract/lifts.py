"""The registry of lifts: every way to run a cell, each of them run through every property."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

import recur
from recur.types import AffineCell, AnyCell, Layer
from recur_tests.contract.cases import CELLS, KINDS, STEPS, TYPES, WIDTH, CellCase
from recur_tests.lift.test_tree import on_a_line


class LiftCase(NamedTuple):
    """A way to run cells, the plain loop it must equal, and the cells that it runs."""

    name: str
    factory: Callable
    lift: Callable[[AnyCell], Layer]
    oracle: Callable[[AnyCell], Layer] = recur.loop
    runs: Callable[[CellCase], bool] = lambda case: True
    among: tuple[str, ...] = tuple(case.name for case in CELLS)  # which see all that it looks at

    def tests(self, case: CellCase) -> bool:
        """Whether the lift is tested with the cell."""
        return case.name in self.among and self.runs(case)


def backwards(cell: AnyCell) -> Layer:
    """The oracle of lifts that read from the last step to the first."""
    return recur.loop(cell, reverse=True)


def is_affine(case: CellCase) -> bool:
    """Whether a cell is linear in its carry, and says so."""
    return isinstance(case.cell, AffineCell)


def is_real(case: CellCase) -> bool:
    """Whether the carry of a cell holds no complex numbers."""

    def start(key):
        x = jnp.ones(case.shape)
        context = jax.tree.map(lambda make: make(WIDTH), case.context)
        params = case.cell.init(key, x, context=context)
        return case.cell.start(case.cell.bind(params, x, context=context), x)

    with jax.enable_x64(True):  # pairs are made before tests are
        carry = jax.eval_shape(start, jax.random.key(0))
    return not any(jnp.issubdtype(c.dtype, jnp.complexfloating) for c in jax.tree.leaves(carry))


LIFTS = [
    LiftCase("scan", recur.scan, recur.scan),
    LiftCase("scan-unroll", recur.scan, lambda cell: recur.scan(cell, unroll=2), among=TYPES),
    LiftCase(
        "scan-reverse",
        recur.scan,
        lambda cell: recur.scan(cell, reverse=True),
        backwards,
        among=TYPES,
    ),
    LiftCase(
        "checkpoint",
        recur.checkpoint,
        lambda cell: recur.checkpoint(recur.scan(cell), 3),
        among=TYPES,
    ),
    LiftCase(
        "checkpoint-reverse",
        recur.checkpoint,
        lambda cell: recur.checkpoint(recur.scan(cell, reverse=True), (2, 2)),
        backwards,
        among=TYPES,
    ),
    LiftCase("associative", recur.associative, recur.associative, runs=is_affine),
    LiftCase(
        "associative-reverse",
        recur.associative,
        lambda cell: recur.associative(cell, reverse=True),
        backwards,
        is_affine,
        among=KINDS,
    ),
    LiftCase("newton", recur.newton, recur.newton, runs=is_real, among=TYPES),
    LiftCase(
        "newton-diagonal",
        recur.newton,
        lambda cell: recur.newton(cell, jacobian="diagonal", damping=0.3),
        runs=is_real,
        among=KINDS,
    ),
    LiftCase("tree", recur.tree, on_a_line, among=TYPES),
    LiftCase(
        "truncate",
        recur.truncate,
        lambda cell: recur.truncate(recur.scan(cell), 2, STEPS),
        among=TYPES,
    ),
]
