import jax
import jax.numpy as jnp
import pytest

import recur
from recur.cells import ElmanParams, GRUGates, GRUParams
from recur.cells.mgu import MGUGates, mgu
from recur.structure import on_named
from recur_tests.helpers import assert_close, random_like, weighted_sum

F64 = {"param_dtype": jnp.float64}
X = jax.ShapeDtypeStruct((3,), jnp.float64)
XS = jax.ShapeDtypeStruct((6, 3), jnp.float64)
RESETS = pytest.mark.parametrize("reset", ["before", "after"])


def drawn(cell):
    """Random inputs, weights and carry."""
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0), X), 1)
    return random_like(XS, 0), params, random_like(cell.init_carry(params, X), 2)


def assert_same(cell, other, to_other, change=lambda params: params):
    """A cell equals another one with weights `to_other(params)`, in values and gradients."""
    xs, params, carry = drawn(cell)

    def ends(cell, params):
        return recur.scan(cell).run(params, xs, carry=carry)

    @jax.jit
    def both(params):
        functions = [lambda p: ends(cell, change(p)), lambda p: ends(other, to_other(change(p)))]
        return [(f(params), jax.grad(lambda p, f=f: weighted_sum(f(p)))(params)) for f in functions]

    assert_close(*both(params), 1e-11)


def test_reset_before_and_after_agree_where_the_candidates_kernel_is_diagonal():
    def diagonal(params):
        f, candidate = params.recurrent_kernel
        return params._replace(recurrent_kernel=MGUGates(f, candidate * jnp.eye(4)))

    assert_same(mgu(4, **F64), mgu(4, reset="after", **F64), lambda params: params, diagonal)


def test_reset_before_and_after_differ_elsewhere():
    cell, other = mgu(4, **F64), mgu(4, reset="after", **F64)
    xs, params, carry = drawn(cell)
    difference = cell.step(params, carry, xs[0])[1] - other.step(params, carry, xs[0])[1]
    assert abs(difference).max() > 1e-3


@RESETS
def test_it_is_a_gru_whose_two_gates_are_one(reset):
    def gates(each):
        return GRUGates(each.forget, each.forget, each.candidate)

    def to_gru(params):
        three = (gates(each) for each in (params.kernel, params.recurrent_kernel, params.bias))
        return GRUParams(*three, recurrent_bias=None, initial_carry=None)

    gru = recur.gru(4, reset=reset, update="replace", **F64)
    assert_same(mgu(4, reset=reset, **F64), gru, to_gru)


@RESETS
def test_an_open_gate_makes_it_an_elman_network_and_a_closed_one_keeps_the_state(reset):
    cell = mgu(4, reset=reset, **F64)
    xs, params, carry = drawn(cell)

    @jax.jit
    def last(forget_bias):
        bias = params.bias._replace(forget=jnp.full(4, forget_bias))
        return recur.scan(cell).run(params._replace(bias=bias), xs, carry=carry)

    simple = ElmanParams(
        *(each.candidate for each in (params.kernel, params.recurrent_kernel, params.bias)), None
    )
    assert_close(
        last(1000.0), recur.scan(recur.elman(4, **F64)).run(simple, xs, carry=carry), 1e-12
    )
    assert_close(last(-1000.0)[0], carry, 0.0)


@RESETS
def test_without_new_content_only_what_is_remembered_is_left(reset):
    cell = mgu(4, reset=reset, **F64)
    xs, params, h = drawn(cell)
    dropped = on_named(cell.step, "candidate", lambda bound, g: jnp.zeros_like(g), "test")
    w, u, b = (gates.forget for gates in params[:3])
    f = jax.nn.sigmoid(xs[0] @ w + h @ u + b)
    assert_close(dropped(params, h, xs[0])[0], (1 - f) * h)


def test_gates_are_drawn_apart_and_initial_carry_and_biases_may_be_left_out():
    params = mgu(4, use_bias=False).init(jax.random.key(0), X)
    assert params.bias is None and params.initial_carry is None
    for gates in (params.kernel, params.recurrent_kernel):
        assert (gates.forget != gates.candidate).any()
    cell = mgu(4, initial_carry_init=jax.nn.initializers.ones)
    assert (cell.init_carry(cell.init(jax.random.key(0), X), X) == 1).all()


def test_wrong_input_is_an_error():
    with pytest.raises(ValueError, match='reset must be "before" or "after", got \'later\''):
        mgu(4, reset="later")
    with pytest.raises(ValueError, match="unknown activation 'tan'"):
        mgu(4, activation="tan")
    cell = mgu(4, **F64)
    with pytest.raises(ValueError, match="mgu: expected one step of one sequence"):
        cell.init(jax.random.key(0), XS)
    params = cell.init(jax.random.key(0), X)
    with pytest.raises(ValueError, match="mgu: expected inputs of width 3, as at init, got 2"):
        cell.step(params, cell.init_carry(params, X), jnp.ones(2))
