"""Parallel in time, for cells that are linear in their carry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur_tests.helpers import assert_close, random_like

F64 = {"param_dtype": jnp.float64}


def test_a_cell_it_cannot_run_is_told_which_lifts_can():
    with pytest.raises(TypeError, match=r"AffineCell, got a GatedCell.*scan.*loop.*newton"):
        recur.associative(recur.lstm(3))
    with pytest.raises(TypeError, match="AffineCell, got a GatedCell"):
        recur.associative(recur.stack(recur.leaky(), recur.gru(3)))
    with pytest.raises(TypeError, match="expected a cell, got a layer"):
        recur.associative(recur.scan(recur.leaky()))


@pytest.mark.parametrize("reverse", [False, True])
def test_hundreds_of_steps_equal_the_scan(reverse):
    cell = recur.stack(recur.diagonal(3, complex_state=True, **F64), recur.leaky(**F64))
    xs = random_like(jax.ShapeDtypeStruct((501, 2), jnp.float64), 0)
    layer, oracle = recur.associative(cell, reverse=reverse), recur.scan(cell, reverse=reverse)
    params = layer.init(jax.random.key(0), xs)
    reset = jnp.arange(501) % 130 == 5
    marks = {"length": 420, "reset": reset}
    assert_close(layer.run(params, xs, **marks), oracle.run(params, xs, **marks), 1e-10)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_reset_swallows_what_is_no_number(reverse):
    layer = recur.associative(recur.leaky(**F64), reverse=reverse)
    xs = random_like(jax.ShapeDtypeStruct((7, 2), jnp.float64), 0)
    params = layer.init(jax.random.key(0), xs)
    seam = 4
    first, second = (
        (slice(seam, 7), slice(0, seam)) if reverse else (slice(0, seam), slice(seam, 7))
    )

    reset = jnp.arange(7) == seam
    clean = layer(params, xs, reset=reset)[second]
    for lost, carry in ((xs.at[first].set(jnp.nan), jnp.zeros(2)), (xs, jnp.full(2, jnp.nan))):
        assert_close(layer.run(params, lost, carry=carry, reset=reset)[1][second], clean)


def test_a_carry_that_is_no_number_leaves_no_trace_where_the_first_step_starts_afresh():
    layer = recur.associative(recur.leaky(**F64))
    xs = random_like(jax.ShapeDtypeStruct((7, 2), jnp.float64), 0)
    params = layer.init(jax.random.key(0), xs)

    @jax.value_and_grad
    def loss(params, carry):
        return layer.run(params, xs, carry=carry, reset=jnp.arange(7) == 0)[1].sum()

    assert_close(loss(params, jnp.full(2, jnp.nan)), loss(params, jnp.zeros(2)))


def test_depth_grows_with_the_logarithm_of_the_length():
    layer = recur.associative(recur.leaky())

    def size(count):
        xs = jnp.ones((count, 2), jnp.float32)
        params = layer.init(jax.random.key(0), xs)
        return len(str(jax.make_jaxpr(layer)(params, xs)).splitlines())

    sizes = np.array([size(2**k) for k in (6, 8, 10, 12)])
    assert len(set(np.diff(sizes))) <= 2 and sizes[-1] < 3 * sizes[0]
