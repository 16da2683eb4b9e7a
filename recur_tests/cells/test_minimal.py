import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.cells.minimal import min_gru, min_lstm, positive
from recur.lift.associative import associative
from recur.lift.scan import scan
from recur_tests.helpers import assert_close, random_like, weighted_sum

F64 = {"param_dtype": jnp.float64}
XS = np.random.default_rng(0).standard_normal((21, 3))
every_cell = pytest.mark.parametrize("make", [min_gru, min_lstm])


@every_cell
def test_in_parallel_in_both_forms_it_is_what_it_is_in_sequence(make):
    cell = make(4, activation=positive, **F64)
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0), XS[0]), 1)
    carry = jnp.array([0.0, 0.3, 1.0, 2.0])

    @jax.jit
    def run(params, carry):
        def of(layer):
            def loss(params, carry):
                results = layer.run(params, XS, carry=carry)
                return weighted_sum(results), results

            return jax.grad(loss, (0, 1), has_aux=True)(params, carry)

        return of(scan(cell)), of(associative(cell)), of(associative(cell, log_space=True))

    in_sequence, plain, by_logarithms = run(params, carry)
    assert_close(plain, in_sequence)
    assert_close(by_logarithms, in_sequence)


def test_the_gates_of_min_lstm_add_up_to_one_however_far_both_are_shut():
    cell = min_lstm(4, activation=lambda a: jnp.ones_like(a), **F64)
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0), XS[0]), 1)
    shut = params._replace(bias=jax.tree.map(lambda b: b - 2000, params.bias))

    def step(params, h):
        """`f h + i`, for the candidate is one."""
        return cell.step(params, h, XS[0])[0]

    for p in (params, shut):
        assert_close(step(p, jnp.ones(4)), jnp.ones(4))
    # Where both are nearly zero, f / i is exp of the difference of their pre-activations.
    a_f, a_i = (XS[0] @ w + b for w, b in list(zip(shut.kernel, shut.bias, strict=True))[:2])
    assert_close(step(shut, jnp.zeros(4)), jax.nn.sigmoid(a_i - a_f))
    f = jax.jvp(lambda h: step(shut, h), (jnp.zeros(4),), (jnp.ones(4),))[1]
    assert_close(f, jax.nn.sigmoid(a_f - a_i))


def test_min_gru_renews_what_its_gate_opens():
    cell = min_gru(2, use_bias=False, **F64)
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0), jnp.ones(1)), 1)
    kernel = params.kernel._replace(update=jnp.array([[-800.0, 800.0]]))
    h, y = cell.step(params._replace(kernel=kernel), jnp.array([0.3, 0.4]), jnp.ones(1))
    assert_close((h, y), 2 * (jnp.array([0.3, kernel.candidate[0, 1]]),))


def test_positive_is_positive_and_continuous():
    a = jnp.array([-700.0, -1.0, -1e-12, 0.0, 2.0])
    expected = [np.exp(-700.0), 1 / (1 + np.e), 0.5, 0.5, 2.5]
    assert_close(positive(a), jnp.array(expected))
    assert (positive(a) > 0).all()
    assert_close(jax.vmap(jax.grad(positive))(a[jnp.array([0, 2, 4])]), jnp.array([0, 0.25, 1]))


@every_cell
def test_params_are_drawn_as_asked(make):
    ones = jax.nn.initializers.ones
    cell = make(4, bias_init=ones, initial_carry_init=ones)
    params = cell.init(jax.random.key(0), jnp.ones(3))
    assert len({float(kernel[0, 0]) for kernel in params.kernel}) == len(params.kernel)
    assert all((b == 1).all() for b in params.bias)
    assert (cell.init_carry(params, jnp.ones(3)) == 1).all()
    assert make(4, use_bias=False).init(jax.random.key(0), jnp.ones(3)).bias is None


@every_cell
def test_wrong_input_is_an_error(make):
    cell = make(4, **F64)
    with pytest.raises(ValueError, match="unknown activation 'rleu'"):
        make(4, activation="rleu")
    with pytest.raises(ValueError, match=rf"{make.__name__}: expected one step.*got \[5, 3\]"):
        cell.init(jax.random.key(0), jnp.ones((5, 3)))
    params = cell.init(jax.random.key(0), jnp.ones(3))
    with pytest.raises(
        ValueError, match=f"{make.__name__}: expected inputs of width 3, as at init, got 2"
    ):
        cell.step(params, jnp.zeros(4), jnp.ones(2))
