"""The registry: every cell, combinator and lift, each of them run through every property.

A row is made by calling the public factory, so its name is derived and a new factory is one line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

import recur
from recur.types import AffineCell, AnyCell, Cell, GatedCell, Layer
from recur_tests.helpers import random_like
from recur_tests.lift.test_tree import on_a_line

STEPS, WIDTH = 5, 3


class CellCase(NamedTuple):
    """A cell, the factory it stands for, and what it is fed."""

    name: str
    factory: Callable
    cell: AnyCell
    context: Any = None  # functions of WIDTH, by name
    shape: tuple[int, ...] = (WIDTH,)  # of one step


def case(
    factory: Callable,
    *args: Any,
    variant: str = "",
    context: Any = None,
    shape: tuple[int, ...] = (WIDTH,),
    **options: Any,
) -> CellCase:
    name = f"{factory.__name__}{variant and '-' + variant}"
    return CellCase(name, factory, factory(*args, **options), context, shape)


def wide(factory: Callable, *args: Any, variant: str = "", **options: Any) -> CellCase:
    """A row whose weights are float64."""
    return case(factory, *args, variant=variant, param_dtype=jnp.float64, **options)


def own_cell() -> Cell:
    """A user's plain functions: a rotation, whose gradient does not vanish."""

    def init(key, x):
        return {"angle": jax.random.normal(key), "in": jax.random.normal(key, (x.shape[0], 2))}

    def start(params, x):
        return jnp.zeros(2)

    def step(params, h, x):
        c, s = jnp.cos(params["angle"]), jnp.sin(params["angle"])
        h = jnp.stack([c * h[0] - s * h[1], s * h[0] + c * h[1]]) + jnp.tanh(x @ params["in"])
        return h, h

    return recur.cell(init, start, step)


def leaky_integrator() -> AffineCell:
    """h_t = a ⊙ h_{t-1} + (1 - a) ⊙ x_t, with a = sigmoid(params)."""

    def init(key, x, context=None):
        return jax.random.normal(key, x.shape)

    def bind(params, x, *, key=None, context=None):
        return jax.nn.sigmoid(params)

    def start(bound, x):
        return jnp.zeros(x.shape)

    def coefficients(bound, x, key=None):
        return bound, (1 - bound) * x

    def read(bound, h, x, key=None):
        return h

    return AffineCell(init, bind, start, coefficients, read)


def block_diagonal_cell() -> GatedCell:
    """Two heads of two units each: h_t = tanh(x_t W + h_{t-1} diag(U_1, U_2))."""

    def init(key, x, context=None):
        return {
            "w": jax.random.normal(key, (x.shape[0], 4)),
            "u": jax.random.normal(key, (2, 2, 2)),
        }

    def gates(bound, h, u, m):
        h = jnp.tanh(u + m)
        return h, h

    return GatedCell(
        init=init,
        bind=lambda params, x, *, key=None, context=None: params,
        start=lambda bound, x: jnp.zeros(4),
        project=lambda bound, x, key=None: x @ bound["w"],
        hidden=lambda bound, h: h,
        kernels=lambda bound: bound["u"],
        gates=gates,
        read=lambda bound, v, x, key=None: v,
    )


def conditioned_cell() -> Cell:
    """A cell that reads a context: h_t = tanh(h_{t-1} + x_t + v)."""
    from recur.checks import from_context

    def bind(params, x, *, key=None, context=None):
        return params, from_context(context, "image", "conditioned_cell")

    def step(bound, h, x, key=None):
        params, image = bound
        h = jnp.tanh(params * h + x + image)
        return h, h

    return Cell(
        init=lambda key, x, context=None: jax.random.normal(key, x.shape),
        bind=bind,
        start=lambda bound, x: jnp.zeros(x.shape),
        step=step,
    )


def dense(features: int) -> nn.Dense:
    return nn.Dense(features, param_dtype=jnp.float64)


_START = jax.nn.initializers.normal()
_LSTM, _GRU, _ELMAN = (
    factory(WIDTH, param_dtype=jnp.float64) for factory in (recur.lstm, recur.gru, recur.elman)
)

CELLS = [
    wide(recur.elman, 4, start_init=_START),
    wide(recur.elman, 4, variant="relu", activation="relu", use_bias=False),
    wide(recur.jordan, 4, 2),
    wide(recur.jordan, 4, 2, variant="softmax", output_activation="softmax", start_init=_START),
    wide(recur.gated, 4),
    wide(recur.lstm, 4, start_init=_START),
    wide(recur.lstm, 4, variant="no-bias", use_bias=False),
    wide(recur.lstm, 4, variant="diagonal", peepholes="diagonal"),
    wide(recur.lstm, 4, variant="full", peepholes="full"),
    wide(recur.gru, 4, start_init=_START),
    wide(recur.gru, 4, variant="replace", update="replace"),
    wide(recur.gru, 4, variant="before", reset="before"),
    wide(recur.gru, 4, variant="before-replace", reset="before", update="replace", use_bias=False),
    wide(recur.leaky),
    wide(recur.diagonal, 4),
    wide(recur.diagonal, 4, variant="complex", complex_state=True, use_bias=False),
    case(recur.stack, _LSTM, _GRU),
    case(recur.residual, _LSTM),
    case(recur.residual, recur.stack(_ELMAN, _GRU), variant="stack"),
    case(recur.readout, _LSTM, dense(2)),
    case(recur.readout, recur.residual(_GRU), "softmax", variant="residual"),
    case(recur.readout, leaky_integrator(), dense(2), variant="affine"),
    CellCase("cell", recur.cell, own_cell()),
    CellCase("affine", AffineCell, leaky_integrator()),
    CellCase("block-diagonal", GatedCell, block_diagonal_cell()),
    CellCase("conditioned", Cell, conditioned_cell(), {"image": jnp.ones}),
]


class LiftCase(NamedTuple):
    """A way to run cells, the plain loop it must equal, and the cells that it runs."""

    name: str
    factory: Callable
    lift: Callable[[AnyCell], Layer]
    oracle: Callable[[AnyCell], Layer] = recur.loop
    runs: Callable[[CellCase], bool] = lambda case: True


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
    LiftCase("scan-unroll", recur.scan, lambda cell: recur.scan(cell, unroll=2)),
    LiftCase(
        "scan-reverse",
        recur.scan,
        lambda cell: recur.scan(cell, reverse=True),
        backwards,
    ),
    LiftCase("checkpoint", recur.checkpoint, lambda cell: recur.checkpoint(recur.scan(cell), 3)),
    LiftCase(
        "checkpoint-reverse",
        recur.checkpoint,
        lambda cell: recur.checkpoint(recur.scan(cell, reverse=True), (2, 2)),
        backwards,
    ),
    LiftCase("associative", recur.associative, recur.associative, runs=is_affine),
    LiftCase(
        "associative-reverse",
        recur.associative,
        lambda cell: recur.associative(cell, reverse=True),
        backwards,
        is_affine,
    ),
    LiftCase("newton", recur.newton, recur.newton, runs=is_real),
    LiftCase(
        "newton-diagonal",
        recur.newton,
        lambda cell: recur.newton(cell, jacobian="diagonal", damping=0.3),
        runs=is_real,
    ),
    LiftCase("tree", recur.tree, on_a_line),
    LiftCase("truncate", recur.truncate, lambda cell: recur.truncate(recur.scan(cell), 2, STEPS)),
]


class Example(NamedTuple):
    """Random params, carry and inputs of a cell, none of them zero."""

    params: Any
    carry: Any
    xs: jax.Array
    context: Any


def example(case: CellCase, layer: Layer, seed: int = 0, steps: int = STEPS) -> Example:
    """Params, carry and `[T, I]` inputs for a layer made of the cell of a row."""
    xs = random_like(jax.ShapeDtypeStruct((steps, *case.shape), jnp.float64), seed)
    context = jax.tree.map(lambda make: make(WIDTH), case.context)
    shapes = jax.eval_shape(lambda key: layer.init(key, xs, context=context), jax.random.key(0))
    params = random_like(shapes, seed + 1)
    carry = jax.eval_shape(lambda p: layer.start(layer.bind(p, xs, context=context), xs), params)
    return Example(params, random_like(carry, seed + 2), xs, context)


def by_name(cases: list[Any]) -> dict[str, Any]:
    """Arguments of `pytest.mark.parametrize` that show the names of rows."""
    return {"argvalues": cases, "ids": [case.name for case in cases]}
