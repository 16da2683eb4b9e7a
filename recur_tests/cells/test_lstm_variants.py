import jax
import jax.numpy as jnp
import pytest

import recur
from recur.cells import LSTMGates, LSTMParams, LSTMState
from recur.cells.lstm_variants import coupled_lstm, original_lstm
from recur.structure import on_named
from recur_tests.helpers import assert_close, random_like, weighted_sum

F64 = {"param_dtype": jnp.float64}
X = jax.ShapeDtypeStruct((3,), jnp.float64)
XS = jax.ShapeDtypeStruct((6, 3), jnp.float64)
BOTH = pytest.mark.parametrize("factory", [coupled_lstm, original_lstm])


def assert_same(cell, other, to_other):
    """A cell equals another one with weights `to_other(params)`, in values and gradients."""
    xs = random_like(XS, 0)
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0), X), 1)
    carry = random_like(cell.init_carry(params, X), 2)

    def ends(cell, params):
        return recur.scan(cell).run(params, xs, carry=carry)

    @jax.jit
    def both(params):
        functions = [lambda p: ends(cell, p), lambda p: ends(other, to_other(p))]
        return [(f(params), jax.grad(lambda p, f=f: weighted_sum(f(p)))(params)) for f in functions]

    assert_close(*both(params), 1e-11)


def test_coupled_gates_are_an_lstm_whose_input_gate_has_the_weights_of_f_with_a_minus():
    def gates(each):
        return LSTMGates(-each.forget, each.forget, each.candidate, each.output)

    def to_lstm(params):
        three = (gates(each) for each in (params.kernel, params.recurrent_kernel, params.bias))
        return LSTMParams(*three, peephole=None, initial_carry=None)

    assert_same(coupled_lstm(4, **F64), recur.lstm(4, **F64), to_lstm)


def test_the_original_is_an_lstm_whose_forget_gate_is_open():
    def gates(each, forget):
        return LSTMGates(each.input, forget, each.candidate, each.output)

    def to_lstm(params):
        return LSTMParams(
            kernel=gates(params.kernel, jnp.zeros((3, 4))),
            recurrent_kernel=gates(params.recurrent_kernel, jnp.zeros((4, 4))),
            bias=gates(params.bias, jnp.full(4, 1000.0)),
            peephole=None,
            initial_carry=None,
        )

    assert_same(original_lstm(4, **F64), recur.lstm(4, **F64), to_lstm)


def over_long(cell, params, c):
    """The memory after 100 steps, from h_0 = 0 and c_0 = c."""
    xs = random_like(jax.ShapeDtypeStruct((100, 3), jnp.float64), 0)
    carry = LSTMState(hidden=jnp.zeros(4), cell=c)
    return jax.jit(recur.scan(cell).run)(params, xs, carry=carry)[0].cell


def test_a_coupled_memory_is_an_average_and_stays_in_the_range_of_tanh():
    cell = coupled_lstm(4, **F64)
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0), X), 1)
    # A slow average, whose terms have one sign: it comes near 1 and never beyond.
    slow = params.bias._replace(forget=jnp.full(4, 3.0), candidate=jnp.full(4, 4.0))
    c = over_long(cell, params._replace(bias=slow), jnp.zeros(4))
    assert (c > 0.9).all() and (c < 1).all()


def test_the_original_carries_errors_back_unchanged():
    cell = original_lstm(4, **F64)
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0), X), 1)
    unconnected = jax.tree.map(jnp.zeros_like, params.recurrent_kernel)
    params = params._replace(recurrent_kernel=unconnected)
    jacobian = jax.jacrev(lambda c: over_long(cell, params, c))(jnp.ones(4))
    assert_close(jacobian, jnp.eye(4), 1e-15)


@BOTH
def test_without_new_content_only_what_is_remembered_is_left(factory):
    cell = factory(4, **F64)
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0), X), 0)
    state, x = random_like(cell.init_carry(params, X), 1), random_like(X, 2)
    dropped = on_named(cell.step, "candidate", lambda bound, g: jnp.zeros_like(g), "test")
    kept = jnp.ones(4)
    if factory is coupled_lstm:
        w, u, b = (gates.forget for gates in params[:3])
        kept = jax.nn.sigmoid(x @ w + state.hidden @ u + b)
    assert_close(dropped(params, state, x)[0].cell, kept * state.cell)


def test_the_forget_bias_is_stored_and_no_other_bias_is_moved():
    bias = coupled_lstm(4, forget_bias=2.5).init(jax.random.key(0), X).bias
    assert (bias.forget == 2.5).all()
    assert all((b == 0).all() for b in (bias.candidate, bias.output))
    assert all((b == 0).all() for b in original_lstm(4).init(jax.random.key(0), X).bias)


@BOTH
def test_gates_are_drawn_apart_and_biases_may_be_left_out(factory):
    params = factory(4, use_bias=False).init(jax.random.key(0), X)
    assert params.bias is None and params.initial_carry is None
    for gates in (params.kernel, params.recurrent_kernel):
        assert len({float(gate[0, 0]) for gate in gates}) == 3


@BOTH
def test_a_learned_initial_carry_is_named_and_has_two_parts(factory):
    cell = factory(4, initial_carry_init=jax.nn.initializers.normal())
    params = cell.init(jax.random.key(0), X)
    start = cell.init_carry(params, X)
    assert isinstance(start, LSTMState)
    assert_close(start, params.initial_carry)
    assert (start.hidden != start.cell).any()


@BOTH
def test_wrong_input_is_an_error(factory):
    name = factory.__name__
    with pytest.raises(ValueError, match="unknown activation 'tan'"):
        factory(4, activation="tan")
    cell = factory(4, **F64)
    with pytest.raises(ValueError, match=f"{name}: expected one step of one sequence"):
        cell.init(jax.random.key(0), XS)
    params = cell.init(jax.random.key(0), X)
    with pytest.raises(ValueError, match=f"{name}: expected inputs of width 3, as at init, got 2"):
        cell.step(params, cell.init_carry(params, X), jnp.ones(2))
