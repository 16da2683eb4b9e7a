import dataclasses

import jax
import jax.numpy as jnp
import pytest

import recur
from recur.combine.stack import Stack
from recur.types import Cell, Mask
from recur_tests.contract.own_cells import (
    block_diagonal_cell,
    conditioned_cell,
    leaky_integrator,
    own_cell,
)
from recur_tests.helpers import assert_close, random_like


def test_every_cell_is_a_cell_and_a_layer_is_not():
    cells = [own_cell(), block_diagonal_cell(), leaky_integrator(), recur.stack(recur.gru(3))]
    assert all(isinstance(cell, Cell) for cell in cells)
    assert not isinstance(recur.scan(recur.gru(3)), Cell)


def test_a_cell_is_frozen_and_replaced():
    cell = leaky_integrator()
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell.step = None

    def step(bound, h, x, key=None):
        carry, y = cell.step(bound, h, x, key)
        return carry, 2 * y

    doubled = dataclasses.replace(cell, step=step)
    assert (doubled.init, doubled.bind) == (cell.init, cell.bind)
    a, h, x = jnp.array([0.5]), jnp.array([1.0]), jnp.array([2.0])
    assert_close(doubled.step(a, h, x), (cell.step(a, h, x)[0], jnp.array([3.0])))
    stack = recur.stack(cell, cell)
    assert isinstance(dataclasses.replace(stack, call="mine"), Stack)


def test_cells_are_compared_and_hashed_by_identity():
    cell = leaky_integrator()
    assert cell == cell and cell != dataclasses.replace(cell)
    assert len({cell, cell, dataclasses.replace(cell)}) == 2


def test_a_cell_prints_as_the_code_that_made_it():
    assert repr(recur.lstm(4)) == "lstm(4)"
    assert repr(recur.stack(recur.gru(3), recur.lstm(4))) == "stack(gru(3), lstm(4))"
    assert repr(leaky_integrator()) == "Cell(...)"
    assert repr(dataclasses.replace(leaky_integrator(), call="leaky(3)")) == "leaky(3)"


def test_a_step_is_of_one_step_of_one_sequence():
    cell = leaky_integrator()
    x, h, a = jnp.array([1.0, 2.0]), jnp.array([3.0, -1.0]), jnp.array([0.2, 0.7])
    carry, y = cell.step(a, h, x)
    assert_close(carry, a * h + (1 - a) * x)
    assert_close(y, carry)


def test_block_diagonal_kernels_act_head_by_head():
    cell = block_diagonal_cell()
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0), jnp.ones(3)), 0)
    h, x = jnp.array([0.1, 0.2, -0.3, 0.4]), jnp.array([0.5, -0.6, 0.7])
    whole = jax.scipy.linalg.block_diag(*params["u"])
    assert_close(cell.step(params, h, x)[0], jnp.tanh(x @ params["w"] + h @ whole))


def test_context_is_bound_once_and_read_at_each_step():
    cell = conditioned_cell()
    w, v, h, x = (jnp.full(2, value) for value in (0.5, 0.1, 0.3, -0.2))
    bound = cell.bind(w, x, context={"image": v})
    assert_close(cell.step(bound, h, x)[1], jnp.tanh(w * h + x + v))


def test_a_mask_counts_all_steps_and_resets_none_by_default():
    assert Mask() == (None, None)
    assert Mask._fields == ("valid", "reset")
    assert jax.tree.leaves(Mask()) == []
