import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.checks import describe
from recur.combine.condition import Conditioned, ConditionParams, condition
from recur.combine.dropout import recurrent_dropout
from recur.combine.zoneout import zoneout
from recur_tests.combine.loops import products_in_loop
from recur_tests.contract.cases import dense
from recur_tests.contract.own_cells import leaky_integrator
from recur_tests.helpers import assert_close, random_like, to_numpy, weighted_sum

F64 = {"param_dtype": jnp.float64}
ELMAN, LSTM, GRU = (make(4, **F64) for make in (recur.elman, recur.lstm, recur.gru))
BEFORE, TURNING = recur.gru(4, reset="before", **F64), recur.diagonal(4, complex_state=True, **F64)
CELLS = {"lstm": LSTM, "before": BEFORE, "turning": TURNING, "leaky": leaky_integrator()}
MOMENTS = ["every step", "first step", "initial carry"]
XS = np.sin(np.arange(15.0)).reshape(5, 3)
V = np.array([0.5, -1.0])

every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
at_any_time = pytest.mark.parametrize("at", MOMENTS)


def conditioned(cell, at, lift=recur.scan):
    """Random params of a layer conditioned on V, and its run as a function of params, xs and v."""
    layer = lift(condition(cell, "image", at, **F64))
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), XS, context={"image": V}))

    @jax.jit
    def run(params, xs, v=V, **options):
        return layer.run(params, xs, context={"image": v}, **options)

    return random_like(shapes, 1), run


@at_any_time
@every_cell
def test_it_is_the_cell_where_v_is_zero(cell, at):
    params, run = conditioned(cell, at)
    nothing, inner = np.zeros(2), params.cell
    seen = np.pad(XS, ((0, 0), (0, 2))) if params.kernel is None else XS
    carry, ys = run(params, XS, nothing)
    expected = recur.scan(cell).run(inner, seen)
    assert_close((carry.cell if at == "first step" else carry, ys), expected, 1e-12)


@pytest.mark.parametrize("at", ["every step", "first step"])
def test_an_elman_network_sums_it_before_the_tanh(at):
    params, run = conditioned(ELMAN, at)
    assert isinstance(params, ConditionParams)
    _, ys = run(params, XS)
    (w, u, b, _), [k] = to_numpy(params)
    h = np.zeros(4)
    for t, (x, y) in enumerate(zip(XS, ys, strict=True)):
        enters = t == 0 or at == "every step"
        h = np.tanh(x @ w + h @ u + b + enters * (V @ k))
        assert_close(to_numpy(y), h, 1e-12)


def test_the_initial_carry_of_an_slstm_is_moved_in_h_and_c_alone():
    slstm = recur.slstm(4, **F64)
    params, _ = conditioned(slstm, "initial carry")
    layer = recur.scan(condition(slstm, "image", "initial carry", **F64))
    carry = layer.init_carry(params, XS, context={"image": V})
    assert_close(carry.hidden, V @ params.kernel.hidden)
    assert_close(carry.cell, V @ params.kernel.cell)
    assert not carry.normalizer.any() and not carry.stabilizer.any()
    assert params.kernel.normalizer is None and params.kernel.stabilizer is None


def with_v_in_the_bias(params):
    """The params of the cell alone, with v K in the bias of each gate, in the order of its step."""
    each = zip(params.cell.bias, params.kernel, strict=True)
    bias = type(params.cell.bias)(*(b + V @ kernel for b, kernel in each))
    return params.cell._replace(bias=bias)


@pytest.mark.parametrize("cell", [LSTM, GRU, BEFORE], ids=["lstm", "gru", "before"])
def test_each_gate_has_its_own_kernel(cell):
    params, run = conditioned(cell, "every step")
    assert [kernel.shape for kernel in params.kernel] == len(params.cell.bias) * [(2, 4)]
    assert_close(run(params, XS), recur.scan(cell).run(with_v_in_the_bias(params), XS), 1e-12)
    layer = recur.scan(condition(cell, "image", **F64))
    drawn = layer.init(jax.random.key(0), XS, context={"image": V}).kernel
    assert all((a != b).all() for a, b in zip(drawn, drawn[1:], strict=False))


def test_a_product_that_is_split_into_gates_has_a_kernel_for_each():
    """A user's cell: h_t = σ(a) h_{t-1} + tanh(b), [a, b] = x_t W + h_{t-1} U."""

    def step(params, h, x):
        a, b = jnp.split(x @ params["w"] + h @ params["u"], 2)
        h = jax.nn.sigmoid(a) * h + jnp.tanh(b)
        return h, h

    def init(key, x):
        return {"w": jnp.zeros((3, 8)), "u": jnp.zeros((4, 8))}

    params, run = conditioned(recur.cell(init, lambda params, x: jnp.zeros(4), step), "every step")
    assert [kernel.shape for kernel in params.kernel] == [(2, 4), (2, 4)]
    kernel = np.concatenate(params.kernel, axis=1)
    h = np.zeros(4)
    for x, found in zip(XS, run(params, XS)[1], strict=True):
        a, b = np.split(x @ params.cell["w"] + h @ params.cell["u"] + V @ kernel, 2)
        h = h / (1 + np.exp(-a)) + np.tanh(b)
        assert_close(to_numpy(found), h, 1e-12)


def test_of_a_deep_input_it_is_added_to_the_last_product():
    mlp = nn.Sequential([dense(6), nn.tanh, dense(5)])
    params, run = conditioned(recur.readin(LSTM, mlp), "every step")
    assert [kernel.shape for kernel in params.kernel] == 4 * [(2, 4)]
    inner = ConditionParams(params.cell.cell, params.kernel)
    cell = params.cell._replace(cell=with_v_in_the_bias(inner))
    assert_close(run(params, XS), recur.scan(recur.readin(LSTM, mlp)).run(cell, XS), 1e-12)


@pytest.mark.parametrize("at", MOMENTS)
def test_only_recurrent_products_are_in_the_loop(at):
    given = {"context": {"image": jnp.asarray(V)}}
    assert products_in_loop(condition(LSTM, "image", at, **F64), **given) == [(16,)]
    assert products_in_loop(condition(BEFORE, "image", at, **F64), **given) == [(4,), (8,)]


@pytest.mark.parametrize("at", ["every step", "initial carry"])
def test_a_linear_cell_stays_linear(at):
    params, run = conditioned(TURNING, at)
    _, run_at_once = conditioned(TURNING, at, recur.associative)
    assert_close(run_at_once(params, XS), run(params, XS))


def test_an_initial_carry_of_counts_alone_is_left_as_it_is():
    counting = recur.cell(
        init=lambda key, x: (),
        init_carry=lambda params, x: jnp.zeros((), jnp.int32),
        step=lambda params, count, x: (count + 1, x),
    )
    params, run = conditioned(counting, "initial carry")
    count, ys = run(params, XS)
    assert count == 5
    assert_close(ys, jnp.asarray(XS))


def test_where_no_product_reads_the_input_v_is_a_part_of_it():
    params, run = conditioned(leaky_integrator(), "every step")
    beside = np.concatenate([XS, np.tile(V, (5, 1))], axis=1)
    assert params.kernel is None
    assert_close(run(params, XS), recur.scan(leaky_integrator()).run(params.cell, beside), 1e-12)


def test_beside_an_image_it_stands_at_each_place():
    summing = recur.cell(
        init=lambda key, x: jnp.ones(()),
        init_carry=lambda params, x: jnp.zeros(x.shape),
        step=lambda params, h, x: (h + x, h + x),
    )
    layer = recur.scan(condition(summing, "image"))
    ys = layer(ConditionParams(jnp.ones(()), None), jnp.zeros((2, 3, 3, 1)), context={"image": V})
    assert ys.shape == (2, 3, 3, 3)
    assert_close(ys[1, 2, 1], jnp.array([0.0, *(2 * V)]))


@pytest.mark.parametrize("cell", [GRU, BEFORE], ids=["gru", "before"])
def test_at_the_first_step_it_is_that_of_every_step_and_then_the_cell_alone(cell):
    params, run = conditioned(cell, "first step")
    _, always = conditioned(cell, "every step")
    _, ys = run(params, XS)
    carry, first = always(params, XS[:1])
    _, rest = always(params, XS[1:], np.zeros(2), carry=carry)
    assert_close(ys, jnp.concatenate([first, rest]), 1e-12)


def test_it_enters_at_the_first_step_that_counts_and_again_after_a_reset():
    params, run = conditioned(LSTM, "first step")
    reset = jnp.array([False, False, True, False, False])
    mask = jnp.array([False, True, True, True, True])
    _, ys = run(params, XS, reset=reset, mask=mask)
    alone = [run(params, piece)[1] for piece in (XS[1:2], XS[2:])]
    assert_close(ys[1:], jnp.concatenate(alone), 1e-12)


def test_read_backwards_the_first_step_is_the_last():
    params, forwards = conditioned(LSTM, "first step")
    _, backwards = conditioned(LSTM, "first step", lambda cell: recur.scan(cell, reverse=True))
    assert_close(backwards(params, XS, length=3)[1][:3], forwards(params, XS[:3][::-1])[1][::-1])


@every_cell
def test_at_the_initial_carry_it_is_another_carry_to_start_from(cell):
    params, run = conditioned(cell, "initial carry")
    layer = recur.scan(cell)
    start = layer.init_carry(params.cell, XS)

    def move(leaf, kernel):
        moved = jnp.tensordot(V, kernel, 1)
        return leaf + (jax.lax.complex(*moved) if jnp.iscomplexobj(leaf) else moved)

    carry = jax.tree.map(move, start, params.kernel)
    assert_close(run(params, XS), layer.run(params.cell, XS, carry=carry), 1e-12)


def test_at_the_initial_carry_counts_are_left_alone():
    counting = recur.cell(
        init=lambda key, x: jnp.ones(()),
        init_carry=lambda params, x: (jnp.zeros((2, 3)), jnp.zeros((), jnp.int32)),
        step=lambda params, carry, x: ((carry[0], carry[1] + 1), x),
    )
    layer = recur.scan(condition(counting, "image", "initial carry", **F64))
    params = layer.init(jax.random.key(0), XS, context={"image": V})
    (moved, count), _ = layer.run(params, XS, context={"image": V})
    assert_close(moved, jnp.tensordot(V, params.kernel[0], 1))
    assert (params.kernel[0].shape, params.kernel[1], count) == ((2, 2, 3), None, 5)


@at_any_time
def test_scan_equals_loop_in_values_and_gradients(at):
    params, _ = conditioned(GRU, at)
    marks = {"reset": jnp.array([False, True, False]), "length": 2}

    def results(lift, reverse, *arguments):
        _, run = conditioned(GRU, at, lambda cell: lift(cell, reverse=reverse))

        def loss(params, v):
            result = run(params, XS[:3], v, **marks)
            return weighted_sum(result), result

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(*arguments)

    @jax.jit
    def both(*arguments):
        reverse = at == "first step"
        return [results(lift, reverse, *arguments) for lift in (recur.scan, recur.loop)]

    scanned, looped = both(params, V)
    assert_close(scanned, looped)
    assert scanned[0][1].all()


def test_each_row_of_a_batch_has_its_own():
    layer = recur.batch(recur.scan(condition(ELMAN, "image", "first step", **F64)))
    xs, vs = np.stack([XS, -XS]), np.stack([V, 3 * V])
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), xs, context={"image": vs}))
    params, run = conditioned(ELMAN, "first step")
    assert describe(shapes) == describe(params)
    ys = jax.jit(layer)(params, xs, context={"image": vs}, length=jnp.array([5, 2]))
    alone = [run(params, x, v, length=n)[1] for x, v, n in zip(xs, vs, (5, 2), strict=True)]
    assert_close(ys, jnp.stack(alone))


@pytest.mark.parametrize("at", ["every step", "first step"])
@pytest.mark.parametrize("within", [True, False])
def test_noise_may_stand_within_and_around(at, within):
    if within:
        cell = condition(recurrent_dropout(GRU, 0.5), "image", at, **F64)
    else:
        cell = recurrent_dropout(condition(GRU, "image", at, **F64), 0.5)
    params, _ = conditioned(GRU, at)

    alone = recur.scan(recurrent_dropout(GRU, 0.5))

    @jax.jit
    def run(params, key):
        given = {"context": {"image": V}, "key": key}
        both = [lift(cell).run(params, XS, **given) for lift in (recur.scan, recur.loop)]
        return *both, alone(with_v_in_the_bias(params), XS, key=key)

    (carry, ys), looped, expected = run(params, jax.random.key(3))
    assert_close((carry, ys), looped)
    count = 1 if at == "first step" else 5
    assert_close(ys[:count], expected[:count])
    assert 0 < (ys[-1] == 0).sum() < 4


def test_zoneout_keeps_nothing_of_what_enters():
    rate = Conditioned(0.5, 0.0)
    layer = recur.scan(zoneout(condition(GRU, "image", "first step", **F64), rate))
    params, _ = conditioned(GRU, "first step")
    for key in (None, jax.random.key(0)):
        carry, _ = jax.jit(layer.run)(params, XS[:1], context={"image": V}, key=key)
        assert not any(leaf.any() for leaf in carry.entering)


@at_any_time
def test_in_half_precision_it_adds_what_the_cell_computes_in(at):
    layer = recur.scan(condition(recur.elman(4, dtype=jnp.bfloat16), "image", at))
    xs, context = XS.astype(np.float32), {"image": V.astype(np.float32)}
    params = jax.eval_shape(lambda: layer.init(jax.random.key(0), xs, context=context))
    ys = jax.eval_shape(lambda params: layer(params, xs, context=context), params)
    [kernel] = jax.tree.leaves(params.kernel)
    assert (kernel.dtype, ys.dtype) == (jnp.float32, jnp.bfloat16)


def test_wrong_use_is_an_error():
    with pytest.raises(TypeError, match="condition: expected a cell, got a layer"):
        condition(recur.scan(LSTM), "image")
    with pytest.raises(ValueError, match="got 'at the end'"):
        condition(LSTM, "image", "at the end")


@at_any_time
def test_a_wrong_context_is_an_error(at):
    layer = recur.scan(condition(LSTM, "image", at, **F64))
    params = layer.init(jax.random.key(0), XS, context={"image": V})
    with pytest.raises(ValueError, match="condition needs the context 'image', and got nothing"):
        layer.init(jax.random.key(0), XS)
    with pytest.raises(ValueError, match="condition needs the context 'image', and got 'sound'"):
        layer(params, XS, context={"sound": V})
    with pytest.raises(ValueError, match="v: expected the width 2, as at init, got 3"):
        layer(params, XS, context={"image": jnp.zeros(3)})
    with pytest.raises(ValueError, match=r"\[D\] of one sequence, got float64\[5,2\]"):
        layer(params, XS, context={"image": jnp.zeros((5, 2))})
    with pytest.raises(TypeError, match=r"real numbers \[D\], got int64\[2\]"):
        layer(params, XS, context={"image": jnp.arange(2)})
    with pytest.raises(ValueError, match="one entry for each of 4 rows"):
        recur.batch(layer)(params, jnp.zeros((4, 5, 3)), context={"image": jnp.zeros((3, 2))})


def test_what_cannot_be_beside_the_input_is_an_error():
    pair = recur.cell(lambda key, x: 0.0, lambda params, x: 0.0, lambda params, h, x: (h, x))
    with pytest.raises(ValueError, match="condition: expected arrays to concatenate"):
        recur.scan(condition(pair, "image")).init(jax.random.key(0), (XS, XS), context={"image": V})


def test_the_carry_at_the_first_step_holds_what_enters():
    params, run = conditioned(LSTM, "first step")
    carry, _ = run(params, XS, length=0)
    assert isinstance(carry, Conditioned)
    assert_close(carry.entering, tuple(V @ kernel for kernel in params.kernel))
    assert not any(leaf.any() for leaf in run(params, XS, length=1)[0].entering)
