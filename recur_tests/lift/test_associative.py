"""Parallel in time, for cells that are linear in their carry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.types import AffineCell
from recur_tests.helpers import assert_close, random_like, weighted_sum

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

    @jax.jit
    def both(params, xs):
        return layer.run(params, xs, **marks), oracle.run(params, xs, **marks)

    assert_close(*both(params, xs), 1e-10)


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


def given_coefficients():
    """The cell whose inputs (a_t, b_t) are its coefficients, from a start of params."""
    return AffineCell(
        init=lambda key, x, context=None: x[1],
        bind=lambda params, x, *, key=None, context=None: params,
        start=lambda bound, x: bound,
        coefficients=lambda bound, x, key=None: (x[0], x[1]),
        read=lambda bound, h, x, key=None: h,
    )


@pytest.mark.parametrize("reverse", [False, True])
def test_zeros_resets_and_padding_in_log_space_have_the_values_and_derivatives_of_the_loop(reverse):
    cell = given_coefficients()
    a, b, carry = jnp.abs(random_like(jnp.zeros((3, 9, 2)), 0))
    a, b = a.at[4, 0].set(0), b.at[0, 0].set(0).at[5, 1].set(0).at[6].set(0)
    xs, start, carry = (a, b), jnp.array([0.0, 0.7]), carry[0].at[1].set(0)
    marks = {"reset": jnp.arange(9) == 3, "valid": ~jnp.isin(jnp.arange(9), jnp.array([1, 8]))}

    @jax.jit
    def results(*arguments):
        def of(layer):
            def loss(start, carry, xs):
                results = layer.run(start, xs, carry=carry, **marks)
                return weighted_sum(results), results

            def slope(*arguments):
                _, tangent = jax.jvp(lambda *a: loss(*a)[0], arguments, random_like(arguments, 5))
                return tangent

            first = jax.grad(loss, (0, 1, 2), has_aux=True)(*arguments)
            return first, jax.grad(slope, (0, 1, 2))(*arguments)

        lifted = recur.associative(cell, reverse=reverse, log_space=True)
        return of(lifted), of(recur.scan(cell, reverse=reverse))

    actual, expected = results(start, carry, xs)
    assert_close(actual, expected)


def test_in_log_space_a_reset_swallows_what_is_no_number():
    layer = recur.associative(recur.leaky(**F64), log_space=True)
    xs = jnp.abs(random_like(jnp.zeros((7, 2)), 0))
    params = layer.init(jax.random.key(0), xs)
    run = jax.jit(lambda xs: layer(params, xs, reset=jnp.arange(7) == 4))
    lost = run(xs.at[2].set(-1.0))  # which has no logarithm
    assert_close(lost[4:], run(xs)[4:])
    assert jnp.isnan(lost[2:4]).all()


def test_in_log_space_products_of_coefficients_do_not_overflow():
    a, b = jnp.full((64, 1), 1e30), jnp.zeros((64, 1)).at[-2].set(1.0)
    layer = recur.associative(given_coefficients(), log_space=True)
    ys = jax.jit(layer)(jnp.zeros(1), (a, b))
    assert_close(ys[-3:], jnp.array([[0.0], [1.0], [1e30]]))


def test_in_log_space_complex_numbers_are_refused():
    turning = recur.diagonal(3, complex_state=True, **F64)
    layer = recur.associative(recur.stack(turning, recur.leaky(**F64)), log_space=True)
    with pytest.raises(TypeError, match="log_space takes real, nonnegative .* got complex128"):
        jax.eval_shape(layer.init, jax.random.key(0), jnp.ones((4, 2)))
