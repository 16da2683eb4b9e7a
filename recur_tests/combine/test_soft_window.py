from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import recur
from recur.combine.context_values import Memory
from recur.combine.soft_window import SoftWindow, Windowed, soft_window
from recur_tests.helpers import assert_close, random_like, to_numpy, weighted_sum
from recur_tests.oracles.attention import soft_window as oracle

F64 = {"param_dtype": jnp.float64}
ELMAN = recur.elman(4, **F64)
XS = np.sin(np.arange(18.0)).reshape(6, 3)
ROWS = np.cos(np.arange(10.0)).reshape(5, 2)
MASK = np.array([True, True, False, True, False])
LAYER = recur.scan(soft_window(ELMAN, "text", 3, **F64))


def draw_params(layer=LAYER):
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), XS, context={"text": ROWS}))
    return random_like(shapes, 1)


@jax.jit
def run(params, text, carry=None, xs=XS):
    return LAYER.run(params, xs, carry=carry, context={"text": text})


def by_hand(params, carry, rows, valid=None):
    """The oracle in a loop, around an Elman network."""

    def elman(params, h, x):
        h = np.tanh(x @ params.kernel + h @ params.recurrent_kernel + params.bias)
        return h, h

    step, outputs = oracle(elman, rows, valid), []
    for x in XS:
        carry, y = step(params, carry, x)
        outputs.append(y)
    return carry, tuple(np.stack(part) for part in zip(*outputs, strict=True))


@pytest.mark.parametrize("valid", [None, MASK])
def test_equals_the_equations(valid):
    params = draw_params()
    text = ROWS if valid is None else Memory(jnp.where(valid[:, None], ROWS, np.nan), valid)
    start = SoftWindow(
        *(random_like(jax.ShapeDtypeStruct((n,), jnp.float64), n) for n in (4, 3, 2))
    )
    start = start._replace(position=jnp.abs(start.position))
    found = run(params, text, start)
    assert_close(
        to_numpy(tuple(map(tuple, found))), by_hand(*to_numpy((params, start)), ROWS, valid), 1e-12
    )
    zeros = SoftWindow(np.zeros(4), np.zeros(3), np.zeros(2))
    found = run(params, text)
    assert_close(
        to_numpy(tuple(map(tuple, found))), by_hand(to_numpy(params), zeros, ROWS, valid), 1e-12
    )


def test_masked_rows_have_no_effect():
    """NaN in masked rows, in values and gradients; padding at the end is as if it were not."""
    params, flags = draw_params(), jnp.arange(5) < 3

    @jax.jit
    @partial(jax.grad, argnums=(0, 1), has_aux=True)
    def results(params, rows):
        ends = run(params, Memory(rows, flags))
        return weighted_sum(ends), ends

    clean, dirty = (results(params, np.where(flags[:, None], ROWS, pad)) for pad in (7.0, np.nan))
    assert_close(dirty, clean, 0)
    (_, to_rows), (carry, ys) = clean
    assert not to_rows[3:].any() and to_rows[:3].all() and not ys.weights[:, 3:].any()
    assert_close((carry, ys._replace(weights=ys.weights[:, :3])), run(params, ROWS[:3]))


def test_gradients_are_those_of_finite_differences():
    params = draw_params()

    def loss(params, rows):
        return weighted_sum(run(params, rows))

    check_grads(loss, (params, jnp.asarray(ROWS)), order=1, modes=["rev"])


def test_the_window_moves_forward_by_the_initial_step():
    """With zeros in place of the kernels: α = β = 1, and κ_t = t · initial_step for all."""
    layer = recur.scan(soft_window(ELMAN, "text", 2, initial_step=0.5, **F64))
    context = {"text": ROWS}
    params = layer.init(jax.random.key(0), XS, context=context)
    assert params.kernel.step.shape == (4, 2) and params.cell.kernel.shape == (5, 4)
    assert len({leaf.unsafe_buffer_pointer() for leaf in params.bias}) == 3  # may be donated
    flat = params._replace(kernel=jax.tree.map(jnp.zeros_like, params.kernel))
    carry, ys = layer.run(flat, XS, context=context)
    positions = 0.5 * np.arange(1, 7)
    assert_close(carry.position, jnp.full(2, 3.0))
    assert_close(ys.weights, 2 * np.exp(-((positions[:, None] - np.arange(1, 6)) ** 2)), 1e-12)
    carries, _ = layer.run(params, XS, context=context, all_carries=True)
    assert (np.diff(carries.position, axis=0) > 0).all()


def test_each_row_of_a_batch_has_its_own_text():
    layer, params = recur.batch(LAYER), draw_params()
    values = np.stack([ROWS, np.where(np.arange(5)[:, None] < 2, -ROWS, np.nan)])
    text = Memory(jnp.asarray(values), jnp.arange(5)[None] < jnp.array([[5], [2]]))
    xs = np.stack([XS, -XS])
    carry, ys = jax.jit(layer.run)(params, xs, context={"text": text}, length=np.array([6, 4]))
    alone_carry, alone = run(params, values[1, :2], xs=xs[1, :4])
    assert_close(jax.tree.map(lambda leaf: leaf[1], carry), alone_carry)
    assert_close(ys.weights[1, :4, :2], alone.weights)
    assert not ys.window[1, 4:].any() and not ys.weights[1, :, 2:].any()


def test_half_precision_keeps_the_position_in_float32():
    """A position that steps by less than 1/256 of itself would stop in bfloat16."""
    cell = recur.elman(4, dtype=jnp.bfloat16)
    layer = recur.scan(soft_window(cell, "text", 2, initial_step=1e-3, dtype=jnp.bfloat16))
    xs, context = np.zeros((900, 3), np.float32), {"text": ROWS.astype(np.float32)}
    with jax.numpy_dtype_promotion("standard"):
        params = layer.init(jax.random.key(0), xs, context=context)
        params = params._replace(kernel=jax.tree.map(jnp.zeros_like, params.kernel))
        carry, ys = jax.jit(lambda params: layer.run(params, xs, context=context))(params)
    assert isinstance(ys, Windowed) and ys.weights.dtype == ys.window.dtype == jnp.bfloat16
    assert carry.position.dtype == jnp.float32 and carry.window.dtype == jnp.bfloat16
    assert_close(carry.position.astype(np.float64), jnp.full(2, 0.9), 2e-2)
