"""The registry of lifts, the ways to run a cell, on which all contract tests run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

import recur
from recur.layer import Layer
from recur.types import Cell
from recur_tests.contract.cases import BY_NAME, CELLS, KINDS, STEPS, TYPES, WIDTH, CellCase
from recur_tests.lift.test_tree import on_a_line


class LiftCase(NamedTuple):
    """A way to run cells, the plain loop it must equal, and the cells that it runs."""

    name: str
    factory: Callable
    lift: Callable[[Cell], Layer]
    oracle: Callable[[Cell], Layer] = recur.loop
    runs: Callable[[CellCase], bool] = lambda case: True
    among: tuple[str, ...] = tuple(case.name for case in CELLS)  # which see all that it looks at

    def tests(self, case: CellCase) -> bool:
        """Whether the lift is tested with the cell."""
        return case.name in self.among and self.runs(case)


def backward(cell: Cell) -> Layer:
    """The oracle of lifts that read from the last step to the first."""
    return recur.loop(cell, reverse=True)


def is_linear(case: CellCase) -> bool:
    """Whether the step of a cell is linear in its carry."""
    return report(case.name).linear


def is_smooth(case: CellCase) -> bool:
    """Whether Newton's method runs a cell: it has a derivative in forward mode and a real carry."""
    return is_real(case) and case.name != "custom-vjp"


def is_real(case: CellCase) -> bool:
    """Whether the carry of a cell holds no complex numbers."""
    with jax.enable_x64(True):  # pairs are made before tests are
        x, context = inputs(case)

        def init_carry(key):
            params = case.cell.init(key, x, context=context)
            return case.cell.init_carry(case.cell.bind(params, x, context=context), x)

        carry = jax.eval_shape(init_carry, jax.random.key(0))
    return not any(jnp.issubdtype(c.dtype, jnp.complexfloating) for c in jax.tree.leaves(carry))


@functools.cache
def report(name: str) -> recur.structure.StructureReport:
    """The structure report of the cell of a row."""
    case = BY_NAME[name]
    with jax.enable_x64(True):
        x, context = inputs(case)
        return recur.structure_of(case.cell, x, context=context)


def inputs(case: CellCase) -> tuple[jax.Array, dict | None]:
    """One step, and a context."""
    return jnp.ones(case.shape), jax.tree.map(lambda make: make(WIDTH), case.context)


LIFTS = [
    LiftCase("scan", recur.scan, recur.scan),
    LiftCase("scan-unroll", recur.scan, lambda cell: recur.scan(cell, unroll=2), among=TYPES),
    LiftCase(
        "scan-reverse",
        recur.scan,
        lambda cell: recur.scan(cell, reverse=True),
        backward,
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
        backward,
    ),
    LiftCase("associative", recur.associative, recur.associative, runs=is_linear),
    LiftCase(
        "associative-reverse",
        recur.associative,
        lambda cell: recur.associative(cell, reverse=True),
        backward,
        is_linear,
        among=KINDS,
    ),
    LiftCase("newton", recur.newton, recur.newton, runs=is_smooth, among=TYPES),
    LiftCase(
        "newton-diagonal",
        recur.newton,
        lambda cell: recur.newton(cell, jacobian="diagonal", damping=0.3),
        runs=is_smooth,
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
