import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.checks import describe
from recur.combine.condition import Conditioned, ConditionParams, condition
from recur.combine.noise import recurrent_dropout
from recur.combine.zoneout import zoneout
from recur.types import AffineCell, Cell, GatedCell
from recur_tests.helpers import assert_close, random_like, to_numpy, weighted_sum

F64 = {"param_dtype": jnp.float64}
ELMAN, LSTM, GRU = (make(4, **F64) for make in (recur.elman, recur.lstm, recur.gru))
BEFORE, TURNING = recur.gru(4, reset="before", **F64), recur.diagonal(4, complex_state=True, **F64)
CELLS = {"lstm": LSTM, "before": BEFORE, "turning": TURNING}
MOMENTS = ["every step", "first step", "start"]
XS = np.sin(np.arange(15.0)).reshape(5, 3)
V = np.array([0.5, -1.0])

every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
at_any_time = pytest.mark.parametrize("at", MOMENTS)


def told(cell, at, lift=recur.scan):
    """Random params of a layer that is told V, and its run as a function of params, xs and v."""
    layer = lift(condition(cell, "image", at, **F64))
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), XS, context={"image": V}))

    @jax.jit
    def run(params, xs, v=V, **options):
        return layer.run(params, xs, context={"image": v}, **options)

    return random_like(shapes, 1), run


@at_any_time
@every_cell
def test_it_is_the_cell_when_told_nothing(cell, at):
    params, run = told(cell, at)
    nothing, inner = np.zeros(2), params.cell
    if params.kernel is None:  # x beside zeros: the first rows of each kernel are all that count
        inner = inner._replace(kernel=jax.tree.map(lambda kernel: kernel[:3], inner.kernel))
    carry, ys = run(params, XS, nothing)
    expected = recur.scan(cell).run(inner, XS)
    assert_close((carry.cell if at == "first step" else carry, ys), expected, 1e-12)


@pytest.mark.parametrize("at", ["every step", "first step"])
def test_an_elman_network_sums_it_before_the_tanh(at):
    params, run = told(ELMAN, at)
    assert isinstance(params, ConditionParams)
    _, ys = run(params, XS)
    (w, u, b, _), k = to_numpy(params)
    h = np.zeros(4)
    for t, (x, y) in enumerate(zip(XS, ys, strict=True)):
        enters = t == 0 or at == "every step"
        h = np.tanh(x @ w + h @ u + b + enters * (V @ k))
        assert_close(to_numpy(y), h, 1e-12)


def test_the_start_of_an_slstm_is_told_to_h_and_c_alone():
    slstm = recur.slstm(4, **F64)
    params, _ = told(slstm, "start")
    layer = recur.scan(condition(slstm, "image", "start", **F64))
    carry = layer.start(layer.bind(params, XS, context={"image": V}), XS)
    assert_close(carry.hidden, V @ params.kernel.hidden)
    assert_close(carry.cell, V @ params.kernel.cell)
    assert not carry.normalizer.any() and not carry.stabilizer.any()
    assert params.kernel.normalizer is None and params.kernel.stabilizer is None


def test_each_gate_has_a_kernel_of_its_own():
    params, run = told(LSTM, "every step")
    shapes = jax.tree.map(lambda kernel: kernel.shape, params.kernel)
    assert shapes == recur.cells.LSTMGates(*4 * [(2, 4)])
    bias = jax.tree.map(lambda b, kernel: b + V @ kernel, params.cell.bias, params.kernel)
    assert_close(run(params, XS), recur.scan(LSTM).run(params.cell._replace(bias=bias), XS), 1e-12)
    keys = [np.asarray(kernel) for kernel in params.kernel]
    assert all((a != b).all() for a, b in zip(keys, keys[1:], strict=False))


@pytest.mark.parametrize("cell", [BEFORE, TURNING], ids=["before", "turning"])
def test_beside_the_input_it_is_a_part_of_it(cell):
    params, run = told(cell, "every step")
    beside = np.concatenate([XS, np.tile(V, (5, 1))], axis=1)
    assert_close(run(params, XS), recur.scan(cell).run(params.cell, beside), 1e-12)


def test_beside_an_image_it_stands_at_each_place():
    summing = recur.cell(
        init=lambda key, x: jnp.ones(()),
        start=lambda params, x: jnp.zeros(x.shape),
        step=lambda params, h, x: (h + x, h + x),
    )
    layer = recur.scan(condition(summing, "image"))
    ys = layer(ConditionParams(jnp.ones(()), None), jnp.zeros((2, 3, 3, 1)), context={"image": V})
    assert ys.shape == (2, 3, 3, 3)
    assert_close(ys[1, 2, 1], jnp.array([0.0, *(2 * V)]))


@pytest.mark.parametrize("cell", [GRU, BEFORE], ids=["gru", "before"])
def test_at_the_first_step_it_is_that_of_every_step_and_then_the_cell_alone(cell):
    params, run = told(cell, "first step")
    _, always = told(cell, "every step")
    _, ys = run(params, XS)
    carry, first = always(params, XS[:1])
    _, rest = always(params, XS[1:], np.zeros(2), carry=carry)
    assert_close(ys, jnp.concatenate([first, rest]), 1e-12)


def test_it_enters_at_the_first_step_that_counts_and_again_after_a_reset():
    params, run = told(LSTM, "first step")
    reset = jnp.array([False, False, True, False, False])
    valid = jnp.array([False, True, True, True, True])
    _, ys = run(params, XS, reset=reset, valid=valid)
    alone = [run(params, piece)[1] for piece in (XS[1:2], XS[2:])]
    assert_close(ys[1:], jnp.concatenate(alone), 1e-12)


def test_read_backwards_the_first_step_is_the_last():
    params, forwards = told(LSTM, "first step")
    _, backwards = told(LSTM, "first step", lambda cell: recur.scan(cell, reverse=True))
    assert_close(backwards(params, XS, length=3)[1][:3], forwards(params, XS[:3][::-1])[1][::-1])


@every_cell
def test_at_the_start_it_is_another_carry_to_start_from(cell):
    params, run = told(cell, "start")
    layer = recur.scan(cell)
    start = layer.start(layer.bind(params.cell, XS), XS)

    def move(leaf, kernel):
        moved = jnp.tensordot(V, kernel, 1)
        return leaf + (jax.lax.complex(*moved) if jnp.iscomplexobj(leaf) else moved)

    carry = jax.tree.map(move, start, params.kernel)
    assert_close(run(params, XS), layer.run(params.cell, XS, carry=carry), 1e-12)


def test_at_the_start_counts_are_left_alone():
    counting = recur.cell(
        init=lambda key, x: jnp.ones(()),
        start=lambda params, x: (jnp.zeros((2, 3)), jnp.zeros((), jnp.int32)),
        step=lambda params, carry, x: ((carry[0], carry[1] + 1), x),
    )
    layer = recur.scan(condition(counting, "image", "start", **F64))
    params = layer.init(jax.random.key(0), XS, context={"image": V})
    (moved, count), _ = layer.run(params, XS, context={"image": V})
    assert_close(moved, jnp.tensordot(V, params.kernel[0], 1))
    assert (params.kernel[0].shape, params.kernel[1], count) == ((2, 2, 3), None, 5)


def test_structure_survives_where_it_can():
    kinds = {at: [type(condition(c, "image", at)) for c in CELLS.values()] for at in MOMENTS}
    assert kinds == {
        "every step": [GatedCell, Cell, AffineCell],
        "first step": [GatedCell, Cell, Cell],
        "start": [GatedCell, Cell, AffineCell],
    }
    assert isinstance(condition(recur.stack(LSTM), "image"), Cell)


@at_any_time
def test_scan_equals_loop_in_values_and_gradients(at):
    params, _ = told(GRU, at)
    marks = {"reset": jnp.array([False, True, False]), "length": 2}

    def results(lift, reverse, *arguments):
        _, run = told(GRU, at, lambda cell: lift(cell, reverse=reverse))

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


def test_each_row_of_a_batch_is_told_its_own():
    layer = recur.batch(recur.scan(condition(ELMAN, "image", "first step", **F64)))
    xs, vs = np.stack([XS, -XS]), np.stack([V, 3 * V])
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), xs, context={"image": vs}))
    params, run = told(ELMAN, "first step")
    assert describe(shapes) == describe(params)
    ys = jax.jit(layer)(params, xs, context={"image": vs}, length=jnp.array([5, 2]))
    alone = [run(params, x, v, length=n)[1] for x, v, n in zip(xs, vs, (5, 2), strict=True)]
    assert_close(ys, jnp.stack(alone))


@pytest.mark.parametrize("at", ["every step", "first step"])
@pytest.mark.parametrize("within", [True, False])
def test_noise_may_stand_within_and_around(at, within):
    """A mask that rides with what is made of the input is nothing that v is added to."""
    if within:
        cell = condition(recurrent_dropout(GRU, 0.5), "image", at, **F64)
    else:
        cell = recurrent_dropout(condition(GRU, "image", at, **F64), 0.5)
    params, _ = told(GRU, at)

    bias = jax.tree.map(lambda b, kernel: b + V @ kernel, params.cell.bias, params.kernel)
    alone = recur.scan(recurrent_dropout(GRU, 0.5))

    @jax.jit
    def run(params, key):
        given = {"context": {"image": V}, "key": key}
        conditioned = [lift(cell).run(params, XS, **given) for lift in (recur.scan, recur.loop)]
        return *conditioned, alone(params.cell._replace(bias=bias), XS, key=key)

    (carry, ys), looped, expected = run(params, jax.random.key(3))
    assert_close((carry, ys), looped)
    count = 1 if at == "first step" else 5
    assert_close(ys[:count], expected[:count])
    assert 0 < (ys[-1] == 0).sum() < 4


def test_zoneout_keeps_nothing_of_what_enters():
    rate = Conditioned(0.5, 0.0)
    layer = recur.scan(zoneout(condition(GRU, "image", "first step", **F64), rate))
    params, _ = told(GRU, "first step")
    for key in (None, jax.random.key(0)):
        carry, _ = jax.jit(layer.run)(params, XS[:1], context={"image": V}, key=key)
        assert not any(leaf.any() for leaf in carry.entering)


@at_any_time
def test_in_half_precision_it_adds_what_the_cell_computes_in(at):
    layer = recur.scan(condition(recur.elman(4, dtype=jnp.bfloat16), "image", at))
    xs, context = XS.astype(np.float32), {"image": V.astype(np.float32)}
    params = jax.eval_shape(lambda: layer.init(jax.random.key(0), xs, context=context))
    ys = jax.eval_shape(lambda params: layer(params, xs, context=context), params)
    assert (params.kernel.dtype, ys.dtype) == (jnp.float32, jnp.bfloat16)


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
    with pytest.raises(ValueError, match="v had the width 2 at init, and has 3 now"):
        layer(params, XS, context={"image": jnp.zeros(3)})
    with pytest.raises(ValueError, match=r"\[D\] of one sequence, got float64\[5,2\]"):
        layer(params, XS, context={"image": jnp.zeros((5, 2))})
    with pytest.raises(TypeError, match=r"real numbers \[D\], got int64\[2\]"):
        layer(params, XS, context={"image": jnp.arange(2)})
    with pytest.raises(ValueError, match="one entry for each of 4 rows"):
        recur.batch(layer)(params, jnp.zeros((4, 5, 3)), context={"image": jnp.zeros((3, 2))})


def test_another_width_beside_the_input_is_an_error():
    params, run = told(BEFORE, "every step")
    with pytest.raises(ValueError, match="gru was initialised for inputs of width 5, got 6"):
        run(params, XS, jnp.zeros(3))
    pair = recur.cell(lambda key, x: 0.0, lambda params, x: 0.0, lambda params, h, x: (h, x))
    with pytest.raises(ValueError, match="condition puts arrays side by side"):
        recur.scan(condition(pair, "image")).init(jax.random.key(0), (XS, XS), context={"image": V})


def test_another_structure_of_what_it_is_added_to_is_an_error():
    def project(bound, x, key=None):
        u = ELMAN.project(bound, x)
        return u if key is None else (u,)

    renamed = ELMAN._replace(project=project)
    layer = recur.scan(condition(renamed, "image", **F64))
    params = layer.init(jax.random.key(0), XS, context={"image": V})
    with pytest.raises(ValueError, match=r"expected what v is added to as it was at init, float64"):
        layer(params, XS, context={"image": V}, key=jax.random.key(1))


def test_the_carry_at_the_first_step_tells_what_enters():
    params, run = told(LSTM, "first step")
    carry, _ = run(params, XS, length=0)
    assert isinstance(carry, Conditioned)
    assert_close(carry.entering, jax.tree.map(lambda kernel: V @ kernel, params.kernel))
    assert not any(leaf.any() for leaf in run(params, XS, length=1)[0].entering)
