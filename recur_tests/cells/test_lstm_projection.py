import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.cells import LSTMGates, LSTMParams, LSTMState
from recur.cells.lstm_projection import ProjectedLSTMParams, projected_lstm
from recur_tests.helpers import assert_close, random_like, weighted_sum

F64 = {"param_dtype": jnp.float64}
X = jax.ShapeDtypeStruct((3,), jnp.float64)
XS = jax.ShapeDtypeStruct((6, 3), jnp.float64)


def test_with_the_identity_as_projection_it_is_lstm():
    lstm = recur.lstm(4, **F64)
    xs = random_like(XS, 0)
    params = random_like(jax.eval_shape(lstm.init, jax.random.key(0), X), 1)
    carry = random_like(lstm.init_carry(params, X), 2)

    def ends(cell, params):
        return recur.scan(cell).run(params, xs, carry=carry)

    def projected(params):
        *three, _, initial = params
        return ends(projected_lstm(4, 4, **F64), ProjectedLSTMParams(*three, jnp.eye(4), initial))

    @jax.jit
    def both(params):
        functions = [projected, lambda params: ends(lstm, params)]
        return [(f(params), jax.grad(lambda p, f=f: weighted_sum(f(p)))(params)) for f in functions]

    assert_close(*both(params), 1e-11)


def test_it_is_an_lstm_with_kernels_of_low_rank_whose_output_is_projected():
    cell = projected_lstm(4, 2, **F64)
    xs = random_like(XS, 0)
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0), X), 1)
    wide = random_like(jax.ShapeDtypeStruct((4,), jnp.float64), 2)
    c = random_like(jax.ShapeDtypeStruct((4,), jnp.float64), 3)
    product = LSTMGates(*(params.projection @ kernel for kernel in params.recurrent_kernel))
    low_rank = LSTMParams(params.kernel, product, params.bias, peephole=None, initial_carry=None)

    @jax.jit
    def both():
        narrow = LSTMState(wide @ params.projection, c)
        final, ys = recur.scan(cell).run(params, xs, carry=narrow)
        expected = recur.scan(recur.lstm(4, **F64)).run(low_rank, xs, carry=LSTMState(wide, c))
        return (final.cell, ys), (expected[0].cell, expected[1] @ params.projection)

    assert_close(*both(), 1e-12)


def test_torch_with_proj_size():
    torch = pytest.importorskip("torch")
    cell = projected_lstm(4, 2, **F64)
    theirs = torch.nn.LSTM(3, 4, proj_size=2).double()
    arrays = {name: w.detach().numpy() for name, w in theirs.named_parameters()}

    def gates(array):
        return LSTMGates(*(jnp.asarray(part) for part in np.split(array, 4, axis=-1)))

    params = ProjectedLSTMParams(
        kernel=gates(arrays["weight_ih_l0"].T),
        recurrent_kernel=gates(arrays["weight_hh_l0"].T),
        bias=gates(arrays["bias_ih_l0"] + arrays["bias_hh_l0"]),
        projection=jnp.asarray(arrays["weight_hr_l0"].T),
        initial_carry=None,
    )
    xs, carry = random_like(XS, 0), random_like(cell.init_carry(params, X), 1)
    final, ys = recur.scan(cell).run(params, xs, carry=carry)
    states = [torch.from_numpy(np.array(part))[None] for part in carry]
    outputs, states = theirs(torch.from_numpy(np.array(xs)), tuple(states))
    h, c = (jnp.asarray(part[0].detach().numpy()) for part in states)
    assert_close((final, ys), (LSTMState(h, c), jnp.asarray(outputs.detach().numpy())), 1e-12)


def test_the_projection_may_be_wider_than_the_memory():
    params = projected_lstm(2, 5).init(jax.random.key(0), X)
    assert params.projection.shape == (2, 5)
    assert {kernel.shape for kernel in params.recurrent_kernel} == {(5, 2)}


def test_the_forget_bias_is_stored_and_gates_are_drawn_apart():
    cell = projected_lstm(4, 2, forget_bias=2.5)
    params = cell.init(jax.random.key(0), X)
    assert (params.bias.forget == 2.5).all()
    assert all((b == 0).all() for b in params.bias._replace(forget=jnp.zeros(4)))
    for gates in (params.kernel, params.recurrent_kernel):
        assert len({float(gate[0, 0]) for gate in gates}) == 4
    assert projected_lstm(4, 2, use_bias=False).init(jax.random.key(0), X).bias is None


def test_a_learned_initial_carry_has_the_widths_of_output_and_memory():
    cell = projected_lstm(4, 2, initial_carry_init=jax.nn.initializers.normal())
    params = cell.init(jax.random.key(0), X)
    assert (params.initial_carry.hidden.shape, params.initial_carry.cell.shape) == ((2,), (4,))
    assert_close(cell.init_carry(params, X), params.initial_carry)
    zero = cell.init_carry(params._replace(initial_carry=None), X)
    assert_close(zero, jax.tree.map(jnp.zeros_like, params.initial_carry))


def test_wrong_input_is_an_error():
    for projection in (0, 2.0, True):
        with pytest.raises(ValueError, match="projection: expected a whole number of at least 1"):
            projected_lstm(4, projection)
    with pytest.raises(ValueError, match="unknown activation 'tan'"):
        projected_lstm(4, 2, activation="tan")
    cell = projected_lstm(4, 2, **F64)
    with pytest.raises(ValueError, match="projected_lstm: expected one step of one sequence"):
        cell.init(jax.random.key(0), XS)
    params = cell.init(jax.random.key(0), X)
    with pytest.raises(ValueError, match="projected_lstm: expected inputs of width 3, as at init"):
        cell.step(params, cell.init_carry(params, X), jnp.ones(2))
