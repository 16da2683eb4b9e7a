import jax
import jax.numpy as jnp
import pytest

import recur
from recur.cells import LSTMState

X = jax.ShapeDtypeStruct((3,), jnp.float32)


def test_the_forget_bias_is_stored_and_no_other_bias_is_moved():
    bias = recur.lstm(4, forget_bias=2.5).init(jax.random.key(0), X).bias
    assert (bias.forget == 2.5).all()
    assert all((b == 0).all() for b in (bias.input, bias.candidate, bias.output))
    assert recur.lstm(4, use_bias=False).init(jax.random.key(0), X).bias is None


def test_gates_are_drawn_apart():
    params = recur.lstm(4).init(jax.random.key(0), X)
    for gates in (params.kernel, params.recurrent_kernel):
        assert len({float(gate[0, 0]) for gate in gates}) == 4


@pytest.mark.parametrize(("peepholes", "shape"), [("diagonal", (4,)), ("full", (4, 4))])
def test_peepholes_have_the_shape_of_their_kind(peepholes, shape):
    init = jax.nn.initializers.normal()
    params = recur.lstm(4, peepholes=peepholes, peephole_init=init).init(jax.random.key(0), X)
    assert [peephole.shape for peephole in params.peephole] == [shape] * 3
    assert all((peephole != 0).any() for peephole in params.peephole)


def test_a_learned_initial_carry_is_named_and_has_two_parts():
    cell = recur.lstm(4, initial_carry_init=jax.nn.initializers.normal())
    params = cell.init(jax.random.key(0), X)
    start = cell.init_carry(params, X)
    assert isinstance(start, LSTMState)
    assert (start.hidden == params.initial_carry.hidden).all()
    assert (start.cell == params.initial_carry.cell).all()
    assert (start.hidden != start.cell).any()


def test_unknown_peepholes_are_an_error():
    with pytest.raises(ValueError, match="peepholes must be None"):
        recur.lstm(4, peepholes="diag")


def test_the_other_order_of_hidden_and_cell_is_an_error():
    layer = recur.scan(recur.lstm(4))
    xs = jnp.ones((5, 3), jnp.float32)
    params = layer.init(jax.random.key(0), xs)
    with pytest.raises(ValueError, match=r"expected LSTMState\(hidden=float32\[4\], cell=float32"):
        layer.run(params, xs, carry=(jnp.zeros(4, jnp.float32), jnp.zeros(4, jnp.float32)))
