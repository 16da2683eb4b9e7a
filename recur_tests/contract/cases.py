"""The registry of cells and combinators, on which all contract tests run.

A row calls the public factory, so its name is derived and a new factory is one line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx

import recur
from recur.combine import Memory
from recur.layer import Layer
from recur.types import Cell
from recur_tests.contract.own_cells import (
    block_diagonal_cell,
    branching_cell,
    conditioned_cell,
    interpolating_cell,
    leaky_integrator,
    own_cell,
    plain_cell,
    straight_through,
    wide_lstm,
)
from recur_tests.helpers import random_like

STEPS, WIDTH = 5, 3


class CellCase(NamedTuple):
    """A cell, its factory, and the shapes of its inputs."""

    name: str
    factory: Callable
    cell: Cell
    context: Any = None  # functions of WIDTH, by name
    shape: tuple[int, ...] = (WIDTH,)  # of one step
    args: tuple[Any, ...] = ()  # what the factory was given
    options: Mapping[str, Any] = {}


def case(
    factory: Callable,
    *args: Any,
    variant: str = "",
    context: Any = None,
    shape: tuple[int, ...] = (WIDTH,),
    **options: Any,
) -> CellCase:
    name = f"{factory.__name__}{variant and '-' + variant}"
    return CellCase(name, factory, factory(*args, **options), context, shape, args, options)


def wide(factory: Callable, *args: Any, variant: str = "", **options: Any) -> CellCase:
    """A row whose weights are float64."""
    return case(factory, *args, variant=variant, param_dtype=jnp.float64, **options)


def dense(features: int) -> nn.Dense:
    return nn.Dense(features, param_dtype=jnp.float64)


def of_nnx() -> Cell:
    """An NNX cell, which draws its weights when it is created; cases are created at import."""
    with jax.enable_x64(True):
        return recur.interop.from_nnx(
            lambda rngs: nnx.GRUCell(WIDTH, 4, param_dtype=jnp.float64, rngs=rngs)
        )


def linear_of_nnx(inputs: int, outputs: int) -> nnx.Linear:
    """A module of NNX, which holds its weights."""
    with jax.enable_x64(True):
        return nnx.Linear(inputs, outputs, param_dtype=jnp.float64, rngs=nnx.Rngs(0))


def linear_of_equinox(inputs: int, outputs: int) -> eqx.nn.Linear:
    """A module of Equinox, which holds its weights."""
    with jax.enable_x64(True):
        return eqx.nn.Linear(inputs, outputs, key=jax.random.key(0), dtype=jnp.float64)


def image(width: int) -> jax.Array:
    """A context of one vector."""
    return jnp.cos(jnp.arange(width + 1.0))


def memory(width: int) -> Memory:
    """A context of four vectors, one of them masked."""
    values = jnp.sin(jnp.arange(4.0 * width)).reshape(4, width)
    return Memory(values, jnp.arange(4) != 1)


_INITIAL = jax.nn.initializers.normal()
_LSTM, _GRU, _ELMAN = (
    factory(WIDTH, param_dtype=jnp.float64) for factory in (recur.lstm, recur.gru, recur.elman)
)
_DIAGONAL = recur.diagonal(4, param_dtype=jnp.float64)
_COMPLEX = recur.diagonal(4, complex_state=True, param_dtype=jnp.float64)
_PROJECTED = recur.projected_lstm(WIDTH, 2, param_dtype=jnp.float64)
_BEFORE = recur.gru(WIDTH, reset="before", param_dtype=jnp.float64)
_NORM = {"param_dtype": jnp.float64, "force_float32_reductions": False}
_WIDE = {"param_dtype": jnp.float64}
_ATTEND = {"context": {"memory": memory}, **_WIDE}
_IMAGE = {"context": {"image": image}, **_WIDE}

CELLS = [
    wide(recur.elman, 4, initial_carry_init=_INITIAL),
    wide(recur.elman, 4, variant="relu", activation="relu", use_bias=False),
    wide(recur.jordan, 4, 2),
    wide(
        recur.jordan,
        4,
        2,
        variant="softmax",
        output_activation="softmax",
        initial_carry_init=_INITIAL,
    ),
    wide(recur.ugrnn, 4),
    wide(recur.mgu, 4, initial_carry_init=_INITIAL),
    wide(recur.mgu, 4, variant="after", reset="after"),
    wide(recur.lstm, 4, initial_carry_init=_INITIAL),
    wide(recur.lstm, 4, variant="no-bias", use_bias=False),
    wide(recur.lstm, 4, variant="diagonal", peepholes="diagonal"),
    wide(recur.lstm, 4, variant="full", peepholes="full"),
    wide(recur.original_lstm, 4, initial_carry_init=_INITIAL),
    wide(recur.coupled_lstm, 4, initial_carry_init=_INITIAL),
    wide(recur.projected_lstm, 4, 2, initial_carry_init=_INITIAL),
    wide(recur.projected_lstm, 4, 2, variant="no-bias", use_bias=False),
    wide(recur.layer_norm_lstm, 4, initial_carry_init=_INITIAL),
    wide(recur.slstm, 4),
    wide(recur.slstm, 4, 2, variant="heads", forget_gate="sigmoid", use_bias=False),
    wide(recur.gru, 4, initial_carry_init=_INITIAL),
    wide(recur.gru, 4, variant="replace", update="replace"),
    wide(recur.gru, 4, variant="before", reset="before"),
    wide(recur.gru, 4, variant="before-replace", reset="before", update="replace", use_bias=False),
    wide(recur.indrnn, 4, initial_carry_init=_INITIAL),
    wide(recur.recurrent_highway, 4, 2, initial_carry_init=_INITIAL),
    wide(recur.conv_lstm, 2, (3,), shape=(4, 2)),
    wide(recur.conv_lstm, 2, (3, 2), variant="peepholes", peepholes=True, shape=(2, 3, 1)),
    wide(recur.conv_gru, 2, (3, 2), shape=(2, 3, 1)),
    wide(recur.leaky_integrator),
    wide(recur.diagonal, 4),
    wide(recur.diagonal, 4, variant="complex", complex_state=True, use_bias=False),
    wide(recur.lru, 4),
    wide(recur.min_gru, 4, initial_carry_init=_INITIAL),
    wide(recur.min_lstm, 4, use_bias=False),
    case(recur.stack, _LSTM, _GRU),
    case(recur.stack, _LSTM, _GRU, variant="skips", skips=True),
    case(recur.residual, _LSTM),
    case(recur.residual, recur.stack(_ELMAN, _GRU), variant="stack"),
    wide(recur.highway, _GRU),
    wide(recur.highway, leaky_integrator(), variant="affine"),
    case(recur.readin, _GRU, dense(5)),
    case(recur.readin, _GRU, linear_of_equinox(WIDTH, 5), variant="equinox"),
    case(recur.readin, leaky_integrator(), "tanh", variant="affine"),
    case(recur.readout, _LSTM, dense(2)),
    case(recur.readout, _LSTM, linear_of_nnx(WIDTH, 2), variant="nnx"),
    case(recur.readout, recur.residual(_GRU), "softmax", variant="residual"),
    case(recur.readout, leaky_integrator(), dense(2), variant="affine"),
    case(recur.feedback, recur.readout(_LSTM, dense(2))),
    case(recur.feedback, conditioned_cell(), jnp.add, variant="add", context={"image": jnp.ones}),
    case(recur.deep_transition, _LSTM, dense(WIDTH)),
    case(recur.deep_transition, _GRU, dense(WIDTH), variant="shortcut", shortcut=True),
    case(recur.normalize, _GRU, nn.LayerNorm(**_NORM)),
    case(recur.normalize, _LSTM, nn.RMSNorm(**_NORM), variant="rms"),
    case(recur.condition, _GRU, "image", **_IMAGE),
    case(recur.condition, _DIAGONAL, "image", variant="affine", **_IMAGE),
    case(recur.condition, _LSTM, "image", variant="first", at="first step", **_IMAGE),
    case(recur.condition, _BEFORE, "image", variant="first-before", at="first step", **_IMAGE),
    case(recur.condition, _LSTM, "image", variant="initial", at="initial carry", **_IMAGE),
    case(
        recur.condition, _COMPLEX, "image", variant="initial-complex", at="initial carry", **_IMAGE
    ),
    case(recur.film, _GRU, "image", **_IMAGE),
    case(recur.attend, _GRU, "memory", **_ATTEND),
    case(recur.attend, _LSTM, "memory", variant="dot", score="dot", features=2, **_ATTEND),
    case(recur.attend, _LSTM, "memory", variant="state", query="state", **_ATTEND),
    case(
        recur.attend,
        _GRU,
        "memory",
        variant="feed-input",
        score="multiplicative",
        feed_input=True,
        **_ATTEND,
    ),
    case(recur.soft_window, _LSTM, "memory", 2, **_ATTEND),
    case(recur.variational_dropout, _GRU, inputs=0.3, recurrent=0.4, outputs=0.5),
    case(
        recur.variational_dropout,
        recur.zoneout(recur.recurrent_dropout(_LSTM, 0.5), 0.2),
        variant="nested",
        inputs=0.3,
        recurrent=0.4,
        outputs=0.5,
    ),
    case(recur.recurrent_dropout, _GRU, 0.5),
    case(recur.zoneout, _LSTM, recur.cells.LSTMState(0.1, 0.5)),
    case(recur.zoneout, _DIAGONAL, 0.3, variant="affine"),
    case(recur.zoneout, _BEFORE, 0.3, variant="before"),
    case(recur.zoneout, _PROJECTED, 0.3, variant="projected"),
    case(
        recur.variational_dropout, _BEFORE, variant="before", inputs=0.3, recurrent=0.4, outputs=0.5
    ),
    case(recur.variational_dropout, _PROJECTED, variant="projected", recurrent=0.4),
    case(recur.interop.from_linen, nn.LSTMCell(4, **_WIDE)),
    CellCase("from_nnx", recur.interop.from_nnx, of_nnx()),
    CellCase("cell", recur.cell, own_cell()),
    CellCase("plain", recur.cell, plain_cell()),
    CellCase("wide", recur.cell, wide_lstm()),
    CellCase("affine", recur.cell, leaky_integrator()),
    CellCase("interpolating", recur.cell, interpolating_cell()),
    CellCase("custom-vjp", recur.cell, plain_cell(straight_through)),
    CellCase("branching", recur.cell, branching_cell()),
    CellCase("block-diagonal", recur.cell, block_diagonal_cell()),
    CellCase("conditioned", recur.cell, conditioned_cell(), {"image": jnp.ones}),
]

BY_NAME = {case.name: case for case in CELLS}

# One of each kind of structure, for what sees no more of a cell than its step.
KINDS = (
    "elman",
    "lstm",
    "gru-before",
    "diagonal-complex",
    "slstm",
    "stack",
    "readout-residual",
    "attend-feed-input",
    "affine",
    "custom-vjp",
    "branching",
    "block-diagonal",
    "conditioned",
)

# A few that differ most, for what sees no more of a cell than a layer made of it.
TYPES = ("lstm", "diagonal-complex", "stack", "conditioned")


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
    carry = jax.eval_shape(lambda p: layer.init_carry(p, xs, context=context), params)
    return Example(params, random_like(carry, seed + 2), xs, context)


def by_name(cases: list[Any]) -> dict[str, Any]:
    """Arguments of `pytest.mark.parametrize` that show the names of rows."""
    return {"argvalues": cases, "ids": [case.name for case in cases]}
