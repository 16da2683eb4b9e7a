"""What all cells have in common: checks of options and inputs, and products that can be found."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.structure import recurrent_products

X = jax.ShapeDtypeStruct((3,), jnp.float32)
CELLS = {
    "elman": (),
    "jordan": (2,),
    "ugrnn": (),
    "gru": (),
    "mgu": (),
    "lstm": (),
    "coupled_lstm": (),
    "original_lstm": (),
    "projected_lstm": (2,),
    "layer_norm_lstm": (),
    "slstm": (),
    "indrnn": (),
    "recurrent_highway": (2,),
    "min_gru": (),
    "min_lstm": (),
    "diagonal": (),
    "lru": (),
    "conv_lstm": ((3,),),
    "conv_gru": ((3,),),
    "child_sum_lstm": (),
    "nary_lstm": (2,),
}
EVERY = pytest.mark.parametrize("name", CELLS)


def make(name, features=4, **options):
    return getattr(recur, name)(features, *CELLS[name], **options)


def test_every_cell_is_in_the_table():
    factories = set(recur.cells.__all__) - {"cell", "positive", "scaled_identity"}
    factories = {name for name in factories if name.islower()}
    assert factories == CELLS.keys() | {"leaky_integrator"}


@EVERY
@pytest.mark.parametrize("features", [-1, 0, 2.0, "3", True, None])
def test_features_that_are_no_whole_number_are_an_error(name, features):
    with pytest.raises(ValueError, match=f"{name}: features: expected a whole number of at least"):
        make(name, features)


@EVERY
def test_features_may_be_a_numpy_integer(name):
    assert make(name, np.int64(4)) is not None


def test_outputs_of_jordan_that_are_no_whole_number_are_an_error():
    with pytest.raises(ValueError, match="jordan: outputs: expected a whole number of at least 1"):
        recur.jordan(4, 0)


@EVERY
def test_dtypes_that_are_not_real_floating_point_are_an_error(name):
    dtypes = {"dtype", "param_dtype", "carry_dtype"}
    for argument in dtypes & inspect.signature(getattr(recur, name)).parameters.keys():
        for dtype in (jnp.int32, jnp.complex64, bool):
            wanted = f"{name}: expected {argument} as a real floating-point dtype, .* got "
            with pytest.raises(TypeError, match=wanted + jnp.dtype(dtype).name):
                make(name, **{argument: dtype})
    with pytest.raises(TypeError, match=f"{name}: expected param_dtype .* got None"):
        make(name, param_dtype=None)


def test_dtypes_of_a_leaky_integrator_are_checked():
    with pytest.raises(TypeError, match="leaky_integrator: expected dtype as a real floating-poin"):
        recur.leaky_integrator(dtype=jnp.int32)


@EVERY
def test_complex_inputs_are_an_error(name):
    shape = (5, 3) if name.startswith("conv") else (3,)
    cell = make(name)
    x = jnp.ones(shape, jnp.complex64)
    with pytest.raises(TypeError, match=f"{name}: expected a real input, got complex64.*x.real"):
        cell.init(jax.random.key(0), x)
    params = cell.init(jax.random.key(0), x.real)
    with pytest.raises(TypeError, match=f"{name}: expected a real input, got complex64"):
        cell.bind(params, x)
    bound = cell.bind(params, x.real)
    with pytest.raises(TypeError, match=f"{name}: expected a real input, got complex64"):
        cell.step(bound, cell.init_carry(bound, x.real), x)


def test_params_of_another_cell_are_an_error():
    x = jnp.ones(3, jnp.float32)
    lstm, gru, ugrnn, mgu = (f(4) for f in (recur.lstm, recur.gru, recur.ugrnn, recur.mgu))
    with pytest.raises(TypeError, match="gru: expected params as GRUParams, got LSTMParams"):
        gru.bind(lstm.init(jax.random.key(0), x), x)
    with pytest.raises(TypeError, match="mgu: expected params.kernel as MGUGates, got UGRNNGates"):
        mgu.bind(ugrnn.init(jax.random.key(0), x), x)
    with pytest.raises(TypeError, match="lstm: expected params as LSTMParams, got NoneType"):
        lstm.bind(None, x)


def test_an_input_of_several_arrays_is_an_error():
    context = {"memory": jnp.ones((7, 4), jnp.float32)}
    attending = recur.attend(recur.lstm(5), "memory")
    layer = recur.scan(recur.stack(attending, recur.gru(4)))
    xs = jnp.ones((6, 3), jnp.float32)
    with pytest.raises(
        ValueError, match=r"gru: expected x as one array.*got Attended\(output=.*readout"
    ):
        layer.init(jax.random.key(0), xs, context=context)
    answered = recur.readout(attending, lambda attended: attended.output)
    layer = recur.scan(recur.stack(answered, recur.gru(4)))
    params = layer.init(jax.random.key(0), xs, context=context)
    assert layer(params, xs, context=context).shape == (6, 4)


def test_cells_print_as_the_call_that_made_them():
    assert repr(recur.lstm(64)) == "lstm(64)"
    cell = recur.gru(4, reset="before", dtype=jnp.bfloat16)
    assert repr(cell) == "gru(4, reset='before', dtype=bfloat16)"


# How many products read the state in a step, and how many factors they have: products with one
# factor are computed together. In half precision the state is cast once for all of them.
@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
@pytest.mark.parametrize(
    ("cell", "products", "factors"),
    [
        ("elman", 1, 1),
        ("jordan", 2, 2),
        ("ugrnn", 2, 1),
        ("gru", 3, 1),
        ("gru-before", 3, 2),
        ("mgu", 2, 2),
        ("mgu-after", 2, 1),
        ("lstm", 4, 1),
        ("lstm-diagonal", 4, 1),
        ("coupled_lstm", 3, 1),
        ("original_lstm", 3, 1),
        ("projected_lstm", 5, 2),
        ("layer_norm_lstm", 4, 1),
        ("slstm", 4, 1),
        ("indrnn", 0, 0),
        ("recurrent_highway", 4, 2),
        ("min_gru", 0, 0),
        ("min_lstm", 0, 0),
        ("diagonal", 0, 0),
    ],
)
def test_products_of_the_state_are_found(cell, products, factors, dtype):
    name, _, option = cell.partition("-")
    options = {"peepholes": option} if name == "lstm" and option else {}
    options |= {"reset": option} if name in ("gru", "mgu") and option else {}
    made = make(name, dtype=dtype, **options)
    bound = made.bind(made.init(jax.random.key(0), X), X)
    found, _ = recurrent_products(made.step, bound, made.init_carry(bound, X), jnp.ones(3, X.dtype))
    assert len(found) == products
    assert len({product.factor for product in found}) == factors
    assert all(product.factor.aval.dtype == bound.kernel[0].dtype for product in found if dtype)
