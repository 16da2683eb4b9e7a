"""Rows of `test_wrong_input`: gradients, Jacobians, units and fixed points of layers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import recur
from recur.diagnose import (
    carry_gradients,
    dead_units,
    effective_rank,
    find_fixed_points,
    gradient_by_lag,
    input_gradients,
    lyapunov_exponents,
    named_values,
    param_gradient_by_lag,
    product_singular_values,
    saturation,
    step_jacobians,
    time_constants,
    vanishing_condition,
)
from recur.sequences import pool
from recur_tests.wrong_input import Row

XS = np.ones((5, 3), np.float32)
LAYER = recur.scan(recur.elman(2))
PARAMS = LAYER.init(jax.random.key(0), XS)
BOTH = recur.bidirectional(LAYER, recur.scan(recur.elman(2), reverse=True))
WITHOUT = recur.chain(jnp.tanh)
START = jnp.zeros((4, 2))


def rows(function, *cases):
    """Each case: the arguments, keywords, the error, and its sentence."""
    return [
        Row(function.__name__, functools.partial(function, *args, **options), error, sentence)
        for args, options, error, sentence in cases
    ]


def of_layers(function, *others):
    """Wrong layers, with the arguments after params."""
    return rows(
        function,
        ((recur.elman(2), PARAMS, *others), {}, TypeError, "expected a layer, got Cell."),
        ((recur.batch(LAYER), PARAMS, *others), {}, ValueError, "the layer is batched"),
        ((BOTH, PARAMS, *others), {}, ValueError, "expected a layer that reads forward, "),
    )


def of_trajectories(function, *others):
    pooled = recur.pooled(LAYER, pool.last)
    return [
        *of_layers(function, XS, *others),
        *rows(
            function,
            ((WITHOUT, ((),), XS, *others), {}, ValueError, "got one without a carry."),
            ((pooled, PARAMS, XS, *others), {}, ValueError, "got a pooled layer"),
        ),
    ]


def of_losses(function):
    return rows(
        function,
        ((LAYER, PARAMS, XS, 3), {}, TypeError, "loss: expected a function, got "),
        ((LAYER, PARAMS, XS, lambda y: y), {}, ValueError, "a loss that returns one real number"),
    )


def of_steps(function):
    return rows(
        function,
        ((LAYER, PARAMS, XS, jnp.sum), {"step": 5}, ValueError, "a sequence of 5, got step 5."),
        ((LAYER, PARAMS, XS, jnp.sum), {"step": -6}, ValueError, "a sequence of 5, got step -6."),
        ((LAYER, PARAMS, XS, jnp.sum), {"step": True}, TypeError, "a whole number, got bool of"),
        ((LAYER, PARAMS, XS, jnp.sum), {"step": 1.5}, TypeError, "a whole number, got float"),
        ((LAYER, PARAMS, XS, jnp.sum), {"step": None}, TypeError, "step: expected an array of"),
        ((LAYER, PARAMS, XS, jnp.sum), {"step": [1, 2]}, TypeError, "of shape [2]."),
    )


COMPLEX = recur.scan(recur.lru(2))
OF_LRU = (COMPLEX, COMPLEX.init(jax.random.key(0), XS), XS)
REAL = "expected a carry of real numbers, got complex"
RUN_NAMED = recur.scan(named_values(recur.elman(2), "speed"))
SHARES = "forget: expected values from 0 to 1, got "
ROWS = [
    *of_trajectories(carry_gradients, jnp.sum),
    *of_losses(carry_gradients),
    *of_trajectories(gradient_by_lag, jnp.sum),
    *of_losses(gradient_by_lag),
    *of_steps(gradient_by_lag),
    *of_trajectories(param_gradient_by_lag, jnp.sum),
    *of_losses(param_gradient_by_lag),
    *of_steps(param_gradient_by_lag),
    *of_losses(input_gradients),
    *rows(
        input_gradients,
        ((LAYER, PARAMS, np.ones((5, 3), int), jnp.sum), {}, TypeError, "real numbers, got int"),
        ((recur.batch(LAYER), PARAMS, XS, jnp.sum), {}, ValueError, "the layer is batched"),
        ((3, PARAMS, XS, jnp.sum), {}, TypeError, "expected a layer, got int."),
    ),
    *of_trajectories(step_jacobians),
    *rows(step_jacobians, (OF_LRU, {}, ValueError, REAL)),
    *of_trajectories(lyapunov_exponents),
    *rows(
        lyapunov_exponents,
        (OF_LRU, {}, ValueError, REAL),
        ((LAYER, PARAMS, XS), {"count": 0}, ValueError, "count: expected a whole number of at"),
        ((LAYER, PARAMS, XS), {"count": 3}, ValueError, "a count of at most 2, the numbers of"),
        ((LAYER, PARAMS, XS[:0]), {}, ValueError, "expected a sequence with steps, got none."),
    ),
    *rows(
        product_singular_values,
        (("x",), {}, TypeError, "jacobians: expected an array of numbers, got str."),
        ((np.ones((2, 2)),), {}, ValueError, "expected matrices [T, N, N], got [2, 2]."),
        ((np.ones((2, 2, 3)),), {}, ValueError, "expected matrices [T, N, N], got [2, 2, 3]."),
        ((np.ones((0, 2, 2)),), {}, ValueError, "expected matrices [T, N, N], got [0, 2, 2]."),
        ((np.ones((1, 2, 2)),), {"sweeps": 0}, ValueError, "sweeps: expected a whole number of"),
    ),
    *rows(
        vanishing_condition,
        (("x",), {}, TypeError, "recurrent_kernel: expected an array of numbers, got str."),
        ((np.ones(3),), {}, ValueError, "expected a kernel [H, H], got [3]."),
        ((np.ones((2, 3)),), {}, ValueError, "expected a kernel [H, H], got [2, 3]."),
        ((np.eye(2), "gelu"), {}, ValueError, "of tanh, relu, sigmoid, identity, got 'gelu'."),
        ((np.eye(2), None), {}, ValueError, "of tanh, relu, sigmoid, identity, got None."),
        ((np.eye(2), ["tanh"]), {}, ValueError, "sigmoid, identity, got ['tanh']."),
    ),
    *rows(
        named_values,
        ((LAYER,), {}, TypeError, "expected a cell, got a layer"),
        (
            (3,),
            {},
            TypeError,
            "expected a cell, such as recur.lstm(64) or recur.cell(...), got int",
        ),
        ((recur.lstm,), {}, TypeError, "got function."),
        ((recur.lstm(2), 3), {}, TypeError, "named_values: expected names as strings, got 3."),
    ),
    Row("named_values", lambda: RUN_NAMED(PARAMS, XS), TypeError, "names no value 'speed'."),
    *rows(
        time_constants,
        (("x",), {}, TypeError, "forget: expected an array of numbers, got str."),
        ((3,), {}, TypeError, "forget: expected real numbers from 0 to 1, got int"),
        ((1.5,), {}, ValueError, f"{SHARES}1.5 to 1.5."),
        (([-0.5, 0.5],), {}, ValueError, f"{SHARES}-0.5 to 0.5."),
        ((True,), {}, TypeError, "forget: expected real numbers from 0 to 1, got bool."),
    ),
    *rows(
        saturation,
        ((np.float32(0.5),), {}, ValueError, "gates: expected [..., H] with steps, got []."),
        ((np.ones((0, 2)),), {}, ValueError, "gates: expected [..., H] with steps, got [0, 2]."),
        ((np.full((1, 2), 3.0),), {}, ValueError, "gates: expected values from 0 to 1, got 3"),
        ((np.ones((1, 2)), 0.6), {}, ValueError, "expected a threshold from 0 to 0.5, got 0.6."),
        ((np.ones((1, 2)), "a"), {}, ValueError, "threshold: expected a finite number, got 'a'."),
    ),
    *rows(
        dead_units,
        (("x",), {}, TypeError, "states: expected an array of numbers, got str."),
        ((3.0,), {}, ValueError, "states: expected [..., H] with steps, got []."),
        ((np.ones((0, 2)),), {}, ValueError, "states: expected [..., H] with steps, got [0, 2]."),
        ((np.ones((1, 2)), -1), {}, ValueError, "a tolerance of at least 0, got -1"),
        ((np.ones((1, 2)), "a"), {}, ValueError, "tolerance: expected a finite number, got 'a'."),
    ),
    *rows(
        effective_rank,
        (("x",), {}, TypeError, "states: expected an array of numbers, got str."),
        ((None,), {}, TypeError, "states: expected an array of numbers, got NoneType."),
        ((object(),), {}, TypeError, "states: expected an array of numbers, got object."),
        ((3.0,), {}, ValueError, "states: expected [..., H] with steps, got []."),
        ((np.ones((2, 0)),), {}, ValueError, "states: expected [..., H] with steps, got [2, 0]."),
    ),
    *of_layers(find_fixed_points, XS[0], START),
    *rows(
        find_fixed_points,
        ((LAYER, PARAMS, XS[0], 3.0), {}, ValueError, "whose leaves have a leading axis, got []."),
        ((LAYER, PARAMS, XS[0], ()), {}, ValueError, "have a leading axis, got no array."),
        ((LAYER, PARAMS, XS[0], START.astype(int)), {}, ValueError, "starts of real numbers, got"),
        (
            (LAYER, PARAMS, XS[0], START),
            {"max_steps": 0},
            ValueError,
            "max_steps: expected a whole",
        ),
        ((LAYER, PARAMS, XS[0], START), {"tolerance": 0}, ValueError, "a tolerance above 0, got 0"),
    ),
]
