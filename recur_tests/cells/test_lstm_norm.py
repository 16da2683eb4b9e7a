from functools import partial

import jax
import jax.numpy as jnp
import pytest

import recur
from recur.cells import LSTMGates, LSTMParams, LSTMState
from recur.cells.lstm_norm import layer_norm_lstm
from recur_tests.helpers import assert_close, random_like, weighted_sum

F64 = {"param_dtype": jnp.float64}
X = jax.ShapeDtypeStruct((3,), jnp.float64)
XS = jax.ShapeDtypeStruct((6, 3), jnp.float64)


def drawn(cell):
    """Random inputs, weights and carry."""
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0), X), 1)
    return random_like(XS, 0), params, random_like(cell.init_carry(params, X), 2)


def test_kernels_and_inputs_may_be_scaled_and_shifted():
    cell = layer_norm_lstm(4, epsilon=1e-30, **F64)
    xs, params, carry = drawn(cell)

    def changed(gates):
        """Each gate scaled by its own number, all its columns shifted by one vector."""
        return LSTMGates(*((k + 2.0) * (w + w[:, :1]) for k, w in enumerate(gates)))

    @jax.jit
    def run(kernel, recurrent_kernel, xs):
        weights = params._replace(kernel=kernel, recurrent_kernel=recurrent_kernel)
        return recur.scan(cell).run(weights, xs, carry=carry)

    w, u = params.kernel, params.recurrent_kernel
    expected = run(w, u, xs)
    assert_close(run(changed(w), u, xs), expected, 1e-10)
    assert_close(run(w, changed(u), xs), expected, 1e-10)
    assert_close(run(w, u, 3.0 * xs), expected, 1e-10)
    assert abs(run(w, u, -xs)[1] - expected[1]).max() > 1e-2


def test_it_is_an_lstm_of_normalised_products():
    cell, lstm = layer_norm_lstm(4, epsilon=0.1, **F64), recur.lstm(4, **F64)
    xs, params, state = drawn(cell)
    new, y = cell.step(params, state, xs[0])

    def norms(vector, kernels, scales):
        return LSTMGates(
            *(
                jax.nn.standardize(vector @ w, epsilon=0.1) * s
                for w, s in zip(kernels, scales, strict=True)
            )
        )

    u = norms(xs[0], params.kernel, params.input_scale)
    m = norms(state.hidden, params.recurrent_kernel, params.recurrent_scale)
    # The gates of an LSTM that reads its pre-activations, side by side.
    blocks = LSTMGates(*jnp.eye(16).reshape(4, 4, 16).transpose(0, 2, 1))
    zeros = LSTMGates(*4 * (jnp.zeros((4, 4)),))
    weights = LSTMParams(blocks, zeros, params.bias, peephole=None, initial_carry=None)
    a = jnp.concatenate(jax.tree.map(jnp.add, u, m))
    expected, h = lstm.step(weights, state, a)
    assert_close(new.cell, expected.cell, 1e-12)

    squashed = jax.nn.standardize(new.cell, epsilon=0.1) * params.cell_scale + params.cell_bias
    assert_close(y, h / jnp.tanh(expected.cell) * jnp.tanh(squashed), 1e-12)
    assert_close(new.hidden, y, 0.0)


def test_without_scales_only_the_biases_count():
    cell = layer_norm_lstm(4, scale_init=jax.nn.initializers.zeros, **F64)
    xs, params, carry = drawn(cell)
    unscaled = cell.init(jax.random.key(0), X)
    params = unscaled._replace(bias=params.bias, cell_bias=params.cell_bias)
    final, _ = recur.scan(cell).run(params, xs, carry=carry)
    i, f, o = (
        jax.nn.sigmoid(b) for b in (params.bias.input, params.bias.forget, params.bias.output)
    )
    limit = i * jnp.tanh(params.bias.candidate) / (1 - f)
    expected = LSTMState(o * jnp.tanh(params.cell_bias), limit + f**6 * (carry.cell - limit))
    assert_close(final, expected, 1e-12)


def test_equal_units_are_no_division_by_zero():
    cell = layer_norm_lstm(4, **F64)
    params = cell.init(jax.random.key(0), X)
    xs = jnp.zeros((6, 3))  # at the first step all that is normalised is zero

    @jax.jit
    def run(params, xs):
        return jax.value_and_grad(lambda *given: weighted_sum(recur.scan(cell)(*given)), (0, 1))(
            params, xs
        )

    leaves = jax.tree.leaves(run(params, xs))
    assert all(jnp.isfinite(leaf).all() for leaf in leaves)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_gradients_in_half_precision_are_near_those_in_single(dtype):
    xs = random_like(jax.ShapeDtypeStruct((5, 3), jnp.float32), 0)
    params = layer_norm_lstm(8).init(jax.random.key(0), xs[0])

    @partial(jax.jit, static_argnums=1)
    def gradient(params, dtype):
        layer = recur.scan(layer_norm_lstm(8, dtype=dtype))
        return jax.grad(lambda params: (layer(params, xs).astype(jnp.float32) ** 2).sum())(params)

    expected = gradient(params, jnp.float32)
    scale = max(abs(leaf).max() for leaf in jax.tree.leaves(expected))
    assert_close(gradient(params, dtype), expected, 32 * float(jnp.finfo(dtype).eps) * scale)


def test_scales_begin_at_one_and_the_forget_bias_is_stored():
    cell = layer_norm_lstm(4, forget_bias=2.5)
    params = cell.init(jax.random.key(0), X)
    scales = (*params.input_scale, *params.recurrent_scale, params.cell_scale)
    assert len(scales) == 9 and all((scale == 1).all() for scale in scales)
    assert (params.bias.forget == 2.5).all()
    others = (*params.bias._replace(forget=jnp.zeros(4)), params.cell_bias)
    assert all((bias == 0).all() for bias in others)
    for gates in (params.kernel, params.recurrent_kernel):
        assert len({float(gate[0, 0]) for gate in gates}) == 4


def test_a_learned_initial_carry_is_named_and_has_two_parts():
    cell = layer_norm_lstm(4, initial_carry_init=jax.nn.initializers.normal())
    params = cell.init(jax.random.key(0), X)
    assert isinstance(params.initial_carry, LSTMState)
    assert_close(cell.init_carry(params, X), params.initial_carry)
    assert (params.initial_carry.hidden != params.initial_carry.cell).any()


def test_wrong_input_is_an_error():
    with pytest.raises(ValueError, match="unknown activation 'tan'"):
        layer_norm_lstm(4, activation="tan")
    cell = layer_norm_lstm(4, **F64)
    with pytest.raises(ValueError, match="layer_norm_lstm: expected one step of one sequence"):
        cell.init(jax.random.key(0), XS)
    params = cell.init(jax.random.key(0), X)
    with pytest.raises(ValueError, match="layer_norm_lstm: expected inputs of width 3, as at init"):
        cell.step(params, cell.init_carry(params, X), jnp.ones(2))
