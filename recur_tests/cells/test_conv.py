"""Convolutional cells: at one position, at all positions, and over time."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import recur
from recur.cells import LSTMGates, LSTMParams, LSTMState
from recur.cells.conv import ConvGRUParams, ConvLSTMParams, conv_gru, conv_lstm
from recur_tests.helpers import assert_close, random_like, weighted_sum

F64 = {"param_dtype": jnp.float64}
BOTH = pytest.mark.parametrize("factory", [conv_lstm, conv_gru])


def frames(*shape, seed=0):
    return random_like(jax.ShapeDtypeStruct(shape, jnp.float64), seed)


def drawn(layer, xs, seed=1):
    """Random params and a random carry."""
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), xs), seed)
    carry = jax.eval_shape(lambda params: layer.init_carry(params, xs), params)
    return params, random_like(carry, seed + 1)


def test_a_kernel_of_one_place_is_the_lstm_of_every_place():
    video = frames(5, 4, 3, 2)
    layer = recur.scan(conv_lstm(3, (1, 1), peepholes=True, **F64))
    params, carry = drawn(layer, video)
    of_place = recur.scan(recur.lstm(3, peepholes="diagonal", **F64))
    kernel, recurrent_kernel = (jax.tree.map(lambda k: k[0, 0], part) for part in params[:2])

    def run_place(peephole, xs, carry):
        weights = LSTMParams(kernel, recurrent_kernel, params.bias, peephole, None)
        return of_place.run(weights, xs, carry=carry)

    over_width = jax.vmap(run_place, (0, 1, 0), (0, 1))
    everywhere = jax.vmap(over_width, (0, 1, 0), (0, 1))
    expected = jax.jit(everywhere)(params.peephole, video, carry)
    assert_close(jax.jit(layer.run)(params, video, carry=carry), expected, 1e-12)


def test_a_kernel_of_one_place_is_the_gru_of_every_place():
    video = frames(5, 4, 2)
    layer = recur.scan(conv_gru(3, (1,), **F64))
    params, carry = drawn(layer, video)
    of_place = recur.scan(recur.gru(3, reset="before", **F64))
    kernel, recurrent_kernel = (jax.tree.map(lambda k: k[0], part) for part in params[:2])
    weights = recur.cells.GRUParams(kernel, recurrent_kernel, params.bias, None, None)

    def run_place(xs, carry):
        return of_place.run(weights, xs, carry=carry)

    expected = jax.jit(jax.vmap(run_place, (1, 0), (0, 1)))(video, carry)
    assert_close(jax.jit(layer.run)(params, video, carry=carry), expected, 1e-12)


@BOTH
def test_away_from_the_border_a_shift_of_the_frames_is_a_shift_of_the_outputs(factory):
    layer = recur.scan(factory(2, (3, 2), **F64))
    inner = frames(3, 4, 4, 2)
    params, _ = drawn(layer, inner)
    run = jax.jit(lambda params, xs: layer(params, xs))

    def around_inner(down, right):
        """The outputs at the inner frames, which have zeros around them, and near them."""
        video = jnp.zeros((3, 26, 26, 2)).at[:, down : down + 4, right : right + 4].set(inner)
        return run(params, video)[:, down - 3 : down + 7, right - 3 : right + 7]

    assert_close(around_inner(9, 8), around_inner(11, 13), 1e-12)


@BOTH
@pytest.mark.parametrize("space", [(6,), (4, 5), (2, 3, 4)])
def test_video_of_any_dimensions_in_a_batch_with_lengths(factory, space):
    layer = recur.scan(factory(3, (3, 2, 3)[: len(space)], **F64))
    video, length = frames(2, 5, *space, 2), jnp.array([5, 2])
    params, _ = drawn(layer, video[0])

    def loss(params, video):
        final, ys = recur.batch(layer).run(params, video, length=length)
        return weighted_sum((final, ys)), (final, ys)

    @jax.jit
    def run(params, video):
        of_batch = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, video)
        return of_batch, (layer.run(params, video[0]), layer.run(params, video[1, :2]))

    (gradients, (final, ys)), alone = run(params, video)
    assert ys.shape == (2, 5, *space, 3)
    for row, count in enumerate(length):
        of_row = jax.tree.map(lambda leaf, row=row: leaf[row], final), ys[row, :count]
        assert_close(of_row, alone[row], 1e-12)
    assert not ys[1, 2:].any() and not gradients[1][1, 2:].any()
    assert all(leaf.any() for leaf in jax.tree.leaves((gradients[0], gradients[1][1, :2])))


def flax_params(weights, features):
    """Flax orders i, g, f, o side by side, has two biases, and adds one to f at run time."""

    def gates(array):
        i, g, f, o = jnp.split(array, 4, axis=-1)
        return LSTMGates(i, f, g, o)

    bias = gates(weights["ih"]["bias"] + weights["hh"]["bias"])
    bias = bias._replace(forget=bias.forget + 1)
    return ConvLSTMParams(
        gates(weights["ih"]["kernel"]), gates(weights["hh"]["kernel"]), bias, None
    )


@pytest.mark.parametrize("space", [(5,), (4, 5)])
def test_conv_lstm_is_that_of_flax(space):
    size = (3, 2)[: len(space)]
    rnn = nn.RNN(nn.ConvLSTMCell(3, size, **F64), return_carry=True)
    layer = recur.scan(conv_lstm(3, size, **F64))
    video = frames(4, *space, 2)
    shapes = jax.eval_shape(rnn.init, jax.random.key(0), video[None])["params"]["cell"]
    weights = random_like(shapes, 1)
    _, start = drawn(layer, video)

    def of_flax(weights):
        first = start.cell[None], start.hidden[None]
        variables = {"params": {"cell": weights}}
        (c, h), ys = rnn.apply(variables, video[None], initial_carry=first)
        return LSTMState(h[0], c[0]), ys[0]

    def of_recur(weights):
        return layer.run(flax_params(weights, 3), video, carry=start)

    def both(weights):
        def slope(run):
            return jax.grad(lambda weights: weighted_sum(run(weights)))(weights)

        return [(run(weights), slope(run)) for run in (of_recur, of_flax)]

    assert_close(*jax.jit(both)(weights))


def test_the_forget_bias_is_stored_and_gates_are_drawn_apart():
    params = conv_lstm(3, (2, 2), forget_bias=2.5).init(jax.random.key(0), frames(4, 4, 2))
    assert (params.bias.forget == 2.5).all()
    assert not any(b.any() for b in (params.bias.input, params.bias.candidate, params.bias.output))
    gru = conv_gru(3, (2, 2)).init(jax.random.key(0), frames(4, 4, 2))
    for gates in (params.kernel, params.recurrent_kernel, gru.kernel, gru.recurrent_kernel):
        assert len({float(gate[0, 0, 0, 0]) for gate in gates}) == len(gates)


def test_parameters_have_the_shapes_of_their_kind():
    x = frames(5, 4, 2)
    params = conv_lstm(3, (3, 2), peepholes=True, peephole_init=nn.initializers.normal()).init(
        jax.random.key(0), x
    )
    shapes = [{leaf.shape for leaf in part} for part in params]
    assert shapes == [{(3, 2, 2, 3)}, {(3, 2, 3, 3)}, {(3,)}, {(5, 4, 3)}]
    assert all((peephole != 0).any() for peephole in params.peephole)
    gru = conv_gru(3, (3, 2), use_bias=False).init(jax.random.key(0), x)
    assert isinstance(gru, ConvGRUParams) and gru.bias is None
    assert [{leaf.shape for leaf in part} for part in gru[:2]] == shapes[:2]


@BOTH
def test_computing_in_bfloat16(factory):
    layer = recur.scan(factory(3, (2,), dtype=jnp.bfloat16))
    xs = jnp.ones((4, 5, 2), jnp.float32)
    params = layer.init(jax.random.key(0), xs)
    gradient = jax.grad(lambda p: layer(p, xs).astype(jnp.float32).sum())(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}
    carry, ys = layer.run(params, xs)
    assert ys.dtype == jnp.bfloat16
    if factory is conv_gru:
        assert carry.dtype == jnp.float32
    else:
        assert (carry.hidden.dtype, carry.cell.dtype) == (jnp.bfloat16, jnp.float32)


@BOTH
@pytest.mark.parametrize("kernel_size", [(), (1, 2, 3, 4), 3, "3x3"[:0]])
def test_a_kernel_size_of_no_or_of_four_dimensions_is_an_error(factory, kernel_size):
    with pytest.raises(ValueError, match="kernel_size must be a tuple of 1, 2 or 3 sizes"):
        factory(3, kernel_size)


@BOTH
@pytest.mark.parametrize("kernel_size", [(3, 0), (1.5,)])
def test_a_kernel_size_that_is_no_whole_number_is_an_error(factory, kernel_size):
    with pytest.raises(ValueError, match="kernel_size: expected a whole number of at least 1"):
        factory(3, kernel_size)


@BOTH
def test_frames_of_other_axes_or_channels_are_an_error(factory):
    cell = factory(3, (3, 3), **F64)
    x = frames(4, 4, 2)
    params = cell.init(jax.random.key(0), x)
    bound = cell.bind(params, x)
    with pytest.raises(ValueError, match=r"with 2 spatial dimensions, .* got float64\[4,4\]"):
        cell.init(jax.random.key(0), frames(4, 4))
    with pytest.raises(ValueError, match=r": expected one frame, .* got float64\[2,4,4,2\]"):
        cell.step(bound, cell.init_carry(bound, x), frames(2, 4, 4, 2))
    with pytest.raises(ValueError, match=": expected 2 channels, as at init, got 5"):
        cell.step(bound, cell.init_carry(bound, x), frames(4, 4, 5))


def test_frames_may_be_of_any_size_but_not_with_peepholes():
    for peepholes in (False, True):
        layer = recur.scan(conv_lstm(3, (3,), peepholes=peepholes, **F64))
        params = layer.init(jax.random.key(0), frames(2, 4, 2))
        if not peepholes:
            assert layer(params, frames(2, 6, 2)).shape == (2, 6, 3)
            continue
        with pytest.raises(ValueError, match=r"expected frames of size \[4\], .*; got \[6\]"):
            layer(params, frames(2, 6, 2))


@BOTH
def test_complex_frames_are_an_error(factory):
    x = jax.ShapeDtypeStruct((4, 2), jnp.complex64)
    with pytest.raises(TypeError, match=f"{factory.__name__}: expected a real input, got complex"):
        factory(3, (3,)).init(jax.random.key(0), x)


@BOTH
def test_an_unknown_activation_is_an_error(factory):
    with pytest.raises(ValueError, match="activation"):
        factory(3, (3,), activation="tangent")
