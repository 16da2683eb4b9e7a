import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.cells.lstm import LSTMGates
from recur.cells.slstm import SLSTMState, slstm
from recur.lift.scan import scan
from recur_tests.helpers import assert_close, random_like, weighted_sum

F64 = {"param_dtype": jnp.float64}
X = jax.ShapeDtypeStruct((3,), jnp.float64)
XS = np.random.default_rng(0).standard_normal((6, 3))
FORGET = {"exponential": jnp.exp, "sigmoid": jax.nn.sigmoid}
every_forget_gate = pytest.mark.parametrize("forget_gate", FORGET)


def random_params(cell, seed=1):
    return random_like(jax.eval_shape(cell.init, jax.random.key(0), X), seed)


@every_forget_gate
def test_it_is_the_plain_exponential_formula_where_that_does_not_overflow(forget_gate):
    cell = slstm(4, forget_gate=forget_gate, **F64)
    params = random_params(cell)

    def plain(params, xs):
        """c_t / n_t from a carry of zeros, without a stabiliser."""

        def step(state, x):
            h, c, n = state
            kernels = zip(params.kernel, params.recurrent_kernel, params.bias, strict=True)
            i, f, z, o = (x @ w + h @ u[0] + b for w, u, b in kernels)
            f = FORGET[forget_gate](f)
            c, n = f * c + jnp.exp(i) * jnp.tanh(z), f * n + jnp.exp(i)
            h = jax.nn.sigmoid(o) * c / n
            return (h, c, n), h

        return jax.lax.scan(step, 3 * (jnp.zeros(4),), xs)[1]

    @jax.jit
    def both(params):
        def of(run):
            return jax.value_and_grad(lambda p: weighted_sum(run(p, XS)))(params)

        return of(scan(cell)), of(plain)

    assert_close(*both(params), 1e-10)


def test_outputs_do_not_depend_on_the_stabiliser():
    layer = scan(slstm(4, **F64))
    params = random_params(slstm(4, **F64))
    carry = random_like(layer.init_carry(params, XS), 2)
    carry = carry._replace(normalizer=1 + carry.normalizer**2)
    run = jax.jit(lambda carry: layer.run(params, XS, carry=carry))
    shifted = carry._replace(
        cell=carry.cell * np.exp(-3.0),
        normalizer=carry.normalizer * np.exp(-3.0),
        stabilizer=carry.stabilizer + 3,
    )
    (final, ys), (shifted_final, shifted_ys) = run(carry), run(shifted)
    assert_close(shifted_ys, ys)
    scale, shifted_scale = jnp.exp(final.stabilizer), jnp.exp(shifted_final.stabilizer)
    assert_close(shifted_final.cell * shifted_scale, final.cell * scale)


def reading_pre_activations(cell, seed=1):
    """Params with which x `[4H]` is added to the pre-activations i, f, z and o, side by side."""
    params = random_params(cell, seed)
    features = params.bias.input.size
    blocks = jnp.eye(4 * features).reshape(4, features, 4 * features).transpose(0, 2, 1)
    zeros = jax.tree.map(jnp.zeros_like, params.bias)
    return params._replace(kernel=LSTMGates(*blocks), bias=zeros)


@every_forget_gate
def test_large_pre_activations_are_finite_in_values_and_gradients(forget_gate):
    cell = slstm(4, forget_gate=forget_gate, **F64)
    params = reading_pre_activations(cell)
    signs = random_like(jnp.zeros((6, 4)), 3) > 0

    def run(u):
        state, ys = scan(cell).run(params, u)
        return weighted_sum(ys), (state, ys)

    u = [jnp.where(signs ^ flip, 500.0, -500.0) for flip in (False, True, True, False)]
    gradient = jax.jit(jax.value_and_grad(run, has_aux=True))
    (_, (state, ys)), gradients = gradient(jnp.concatenate(u, axis=1))
    for leaf in jax.tree.leaves((state, ys, gradients)):
        assert jnp.isfinite(leaf).all()
    assert (state.normalizer >= 1).all()


def test_the_first_step_takes_all_from_its_input_however_small_its_gate():
    cell = slstm(2, **F64)
    params = reading_pre_activations(cell)
    u = jnp.repeat(jnp.array([-900.0, 900.0, 0.3, 0.0]), 2)
    state, y = cell.step(params, cell.init_carry(params, u), u)
    assert_close(y, jnp.full(2, np.tanh(0.3) / 2))
    assert_close(state.normalizer, jnp.ones(2))


def test_heads_are_the_blocks_of_a_full_matrix():
    params = random_params(slstm(4, 2, **F64))
    full = jax.tree.map(
        lambda u: jax.scipy.linalg.block_diag(u[0], u[1])[None], params.recurrent_kernel
    )
    assert full.input.shape == (1, 4, 4)
    by_heads, by_matrix = scan(slstm(4, 2, **F64)), scan(slstm(4, **F64))
    assert_close(by_heads(params, XS), by_matrix(params._replace(recurrent_kernel=full), XS))


def test_params_are_drawn_as_asked():
    cell = slstm(4, 2, forget_bias=2.5)
    params = cell.init(jax.random.key(0), X)
    blocks = jnp.concatenate(params.recurrent_kernel)
    assert blocks.shape == (8, 2, 2)
    np.testing.assert_allclose(blocks @ blocks.mT, np.tile(np.eye(2), (8, 1, 1)), atol=1e-5)
    assert len({float(block[0, 0]) for block in blocks}) == 8
    assert (params.bias.forget == 2.5).all() and (params.bias.input == 0).all()
    start = cell.init_carry(params, X)
    assert isinstance(start, SLSTMState) and not any(leaf.any() for leaf in start)


def test_wrong_options_are_an_error():
    with pytest.raises(ValueError, match="heads must divide features, got 3 and 4"):
        slstm(4, 3)
    with pytest.raises(ValueError, match="slstm: heads: expected a whole number of at least 1"):
        slstm(4, 0)
    with pytest.raises(ValueError, match='"exponential" or "sigmoid", got \'exp\''):
        slstm(4, forget_gate="exp")
    with pytest.raises(ValueError, match="unknown activation 'tan'"):
        slstm(4, activation="tan")
    with pytest.raises(ValueError, match=r"slstm: expected one step.*got \[5, 3\]"):
        slstm(4).init(jax.random.key(0), jnp.ones((5, 3)))
