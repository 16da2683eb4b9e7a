"""Dtypes: products in half precision, sums over time in float32, weights in param_dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.cells import LSTMState

STATES = {
    "elman": lambda **options: recur.elman(4, **options),
    "jordan": lambda **options: recur.jordan(4, 2, **options),
}
SUMS = {
    "ugrnn": lambda **options: recur.ugrnn(4, **options),
    "gru": lambda **options: recur.gru(4, **options),
    "gru-before": lambda **options: recur.gru(4, reset="before", **options),
    "mgu": lambda **options: recur.mgu(4, **options),
    "mgu-after": lambda **options: recur.mgu(4, reset="after", **options),
    "indrnn": lambda **options: recur.indrnn(4, **options),
    "recurrent_highway": lambda **options: recur.recurrent_highway(4, 2, **options),
    "min_gru": lambda **options: recur.min_gru(4, **options),
    "min_lstm": lambda **options: recur.min_lstm(4, **options),
    "leaky_integrator": lambda **options: recur.leaky_integrator(**options),
    "diagonal": lambda **options: recur.diagonal(4, **options),
}
HIDDEN_AND_SUMS = {
    "lstm": lambda **options: recur.lstm(4, **options),
    "lstm-diagonal": lambda **options: recur.lstm(4, peepholes="diagonal", **options),
    "lstm-full": lambda **options: recur.lstm(4, peepholes="full", **options),
    "coupled_lstm": lambda **options: recur.coupled_lstm(4, **options),
    "original_lstm": lambda **options: recur.original_lstm(4, **options),
    "projected_lstm": lambda **options: recur.projected_lstm(4, 2, **options),
    "layer_norm_lstm": lambda **options: recur.layer_norm_lstm(4, **options),
    "slstm": lambda **options: recur.slstm(4, heads=2, **options),
}
COMPLEX = {
    "diagonal-complex": lambda **options: recur.diagonal(4, complex_state=True, **options),
    "lru": lambda **options: recur.lru(4, **options),
}
WITH_CARRY_DTYPE = SUMS | HIDDEN_AND_SUMS | COMPLEX
EVERY = pytest.mark.parametrize("name", STATES | WITH_CARRY_DTYPE)
XS = jax.ShapeDtypeStruct((5, 3), jnp.float32)


def make(name, **options):
    return (STATES | WITH_CARRY_DTYPE)[name](**options)


def dtypes(tree):
    return {str(leaf.dtype) for leaf in jax.tree.leaves(tree)}


def carry_dtypes(name, carry):
    """The dtypes of the part that is not summed over time and of those that are."""
    if name in STATES:
        return dtypes(carry), set()
    if name in HIDDEN_AND_SUMS:
        return dtypes(carry.hidden), dtypes(carry[1:])
    return set(), dtypes(carry)


def expected_dtypes(name, products, sums):
    sums = {"float32": "complex64", "float64": "complex128"}[sums] if name in COMPLEX else sums
    return (
        {products} if name in STATES | HIDDEN_AND_SUMS else set(),
        set() if name in STATES else {sums},
    )


@EVERY
def test_products_in_bfloat16_and_sums_in_float32(name):
    layer = recur.scan(make(name, dtype=jnp.bfloat16))
    params = layer.init(jax.random.key(0), XS)
    xs = jnp.ones((5, 3), jnp.float32)
    carry, ys = jax.eval_shape(lambda p: layer.run(p, xs, length=jnp.array(3)), params)
    gradient = jax.eval_shape(jax.grad(lambda p: layer(p, xs).astype(jnp.float32).sum()), params)
    assert dtypes(params) == dtypes(gradient) == {"float32"}
    assert dtypes(ys) == {"bfloat16"}
    assert carry_dtypes(name, carry) == expected_dtypes(name, "bfloat16", "float32")


@EVERY
def test_weights_stored_in_bfloat16_give_products_in_bfloat16(name):
    layer = recur.scan(make(name, param_dtype=jnp.bfloat16))
    xs = jnp.ones((5, 3), jnp.bfloat16)
    params = layer.init(jax.random.key(0), xs)
    carry, ys = jax.eval_shape(layer.run, params, xs)
    assert dtypes(params) == dtypes(ys) == {"bfloat16"}
    assert carry_dtypes(name, carry) == expected_dtypes(name, "bfloat16", "float32")


@pytest.mark.parametrize("name", WITH_CARRY_DTYPE)
def test_the_dtype_of_sums_can_be_chosen(name):
    xs = jnp.ones((5, 3), jnp.float32)
    chosen = ["float32"] if name in COMPLEX else ["bfloat16", "float32"]
    for sums in [*chosen, "float64"]:
        for products in ("bfloat16", "float32"):
            layer = recur.scan(make(name, dtype=products, carry_dtype=sums))
            params = layer.init(jax.random.key(0), xs)
            carry, ys = jax.eval_shape(layer.run, params, xs)
            assert dtypes(ys) == {products}
            assert carry_dtypes(name, carry) == expected_dtypes(name, products, sums)


@pytest.mark.parametrize("name", COMPLEX)
def test_a_complex_carry_has_at_least_single_precision(name):
    cell = make(name, carry_dtype=jnp.bfloat16)
    params = cell.init(jax.random.key(0), jnp.ones(3))
    assert cell.init_carry(params, jnp.ones(3)).dtype == jnp.complex64


@pytest.mark.parametrize(
    "name",
    sorted({*STATES, *SUMS, *HIDDEN_AND_SUMS} - {"diagonal", "leaky_integrator", "slstm"}),
)
def test_a_learned_initial_carry_has_the_dtypes_of_the_carry(name):
    init = jax.nn.initializers.constant(0.5)
    cell = make(name, dtype=jnp.bfloat16, initial_carry_init=init)
    params = cell.init(jax.random.key(0), jax.ShapeDtypeStruct((3,), jnp.float32))
    assert dtypes(params) == {"float32"}
    x = jnp.ones(3, jnp.float32)
    carry = cell.init_carry(cell.bind(params, x), x)
    assert carry_dtypes(name, carry) == expected_dtypes(name, "bfloat16", "float32")
    assert all((leaf == 0.5).all() for leaf in jax.tree.leaves(carry))


@EVERY
def test_in_half_precision_the_outputs_are_near_those_in_single(name):
    xs = jax.random.normal(jax.random.key(1), (5, 3), jnp.float32)
    params = make(name).init(jax.random.key(0), xs[0])

    def run(dtype):
        return jax.jit(recur.scan(make(name, dtype=dtype)))(params, xs)

    expected = np.asarray(run(None))
    np.testing.assert_allclose(run(jnp.bfloat16).astype(jnp.float32), expected, atol=0.05)
    np.testing.assert_allclose(run(jnp.float16).astype(jnp.float32), expected, atol=0.005)


def constant_gates(cell, **biases):
    """Params of a cell whose gates are constant: all weights zero but the given biases."""
    x = jax.ShapeDtypeStruct((1,), jnp.float32)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), x))
    filled = {gate: jnp.full(4, bias, jnp.float32) for gate, bias in biases.items()}
    return params._replace(bias=params.bias._replace(**filled))


# A forget gate of 1 and a gain of 0.001: 1 / 1000 is lost from a sum of 1 in bfloat16. And a decay
# of 0.999, which bfloat16 rounds to 1.
@pytest.mark.parametrize(
    ("make", "biases"),
    [
        (recur.lstm, {"input": -6.9, "forget": 30.0, "candidate": 10.0, "output": 10.0}),
        (recur.lstm, {"input": -6.9, "forget": 6.9, "candidate": 10.0, "output": 10.0}),
        (recur.original_lstm, {"input": -6.9, "candidate": 10.0, "output": 10.0}),
        (recur.coupled_lstm, {"forget": 6.9, "candidate": 10.0, "output": 10.0}),
        (recur.gru, {"update": 6.9, "candidate": 10.0}),
        (recur.ugrnn, {"update": 6.9, "candidate": 1.0}),
        (recur.mgu, {"forget": -6.9, "candidate": 10.0}),
        (recur.min_gru, {"update": -6.9, "candidate": 1.0}),
        (recur.min_lstm, {"input": -6.9, "forget": 6.9, "candidate": 1.0}),
    ],
)
def test_a_sum_of_4000_steps_with_products_in_bfloat16_ends_near_that_in_float32(make, biases):
    xs = jnp.ones((4000, 1), jnp.float32)

    def last(dtype):
        cell = make(4, dtype=dtype)
        carry = jax.jit(recur.scan(cell).run)(constant_gates(cell, **biases), xs)[0]
        return carry.cell if isinstance(carry, LSTMState) else carry

    expected, actual = last(jnp.float32), last(jnp.bfloat16)
    assert (expected > 0.6).all()
    np.testing.assert_allclose(actual, expected, rtol=0.03)


def test_a_leaky_integrator_of_4000_steps_in_bfloat16_ends_near_that_in_float32():
    xs = jnp.ones((4000, 1), jnp.float32)
    params = recur.cells.LeakyIntegratorParams(jnp.full(1, 6.9, jnp.float32))

    def last(dtype):
        return jax.jit(recur.scan(recur.leaky_integrator(dtype=dtype)).run)(params, xs)[0]

    np.testing.assert_allclose(last(jnp.bfloat16), last(jnp.float32), rtol=0.01)


def test_by_default_weights_and_input_promote():
    layer = recur.scan(recur.gru(4))
    xs = jnp.ones((5, 3), jnp.float64)
    params = layer.init(jax.random.key(0), xs)
    with jax.numpy_dtype_promotion("standard"):
        assert dtypes(layer.run(params, xs)) == {"float64"}
        assert dtypes(layer.run(params, xs.astype(jnp.bfloat16))) == {"float32"}
        assert dtypes(layer.run(params, xs.astype(jnp.int32))) == {"float32"}
