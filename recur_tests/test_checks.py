import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.cells import LSTMState
from recur.checks import (
    check_array,
    check_entries,
    check_flag,
    check_leaves,
    check_number,
    check_rate,
    check_whole,
    describe,
    from_context,
)
from recur_tests.contract.own_cells import conditioned_cell


def test_describe_writes_structure_shapes_and_dtypes():
    state = LSTMState(jnp.zeros(3, jnp.float32), jax.ShapeDtypeStruct((2, 1), jnp.int8))
    assert describe(state) == "LSTMState(hidden=float32[3], cell=int8[2,1])"
    assert describe((1.0, None)) == "(float[], None)"


def test_missing_context_is_an_error():
    with pytest.raises(ValueError, match=r"attend needs the context 'memory', and got 'image'"):
        from_context({"image": 1}, "memory", "attend")
    with pytest.raises(TypeError, match=r"context as a mapping .*\{'memory': ...\}, got ndarray"):
        from_context(np.ones((7, 4)), "memory", "attend")
    with pytest.raises(TypeError, match="attend: expected the name .* as a string, got ndarray"):
        from_context({"memory": 1}, np.ones((7, 4)), "attend")
    layer = recur.scan(conditioned_cell())
    xs = jnp.ones((4, 3))
    params = layer.init(jax.random.key(0), xs)
    with pytest.raises(ValueError, match="needs the context 'image', and got nothing"):
        layer(params, xs)


@pytest.mark.parametrize(
    "layer",
    [
        recur.scan(recur.stack(conditioned_cell(), conditioned_cell())),
        recur.loop(recur.stack(conditioned_cell(), conditioned_cell())),
        recur.chain("tanh", recur.scan(recur.residual(conditioned_cell()))),
        recur.truncate(recur.scan(recur.readout(conditioned_cell(), "tanh")), 1, 2),
        recur.bidirectional(
            recur.scan(conditioned_cell()), recur.scan(conditioned_cell(), reverse=True)
        ),
    ],
)
def test_context_reaches_every_cell_alone_and_by_row(layer):
    xs, images = jnp.ones((2, 4, 3)), jnp.array([[0.1, 0.2, 0.3], [0.4, -0.5, 0.6]])
    context = {"image": images}
    params = recur.batch(layer).init(jax.random.key(0), xs, context=context)
    rows = jax.jit(recur.batch(layer))(params, xs, context=context)
    run = jax.jit(layer)
    for row, x, image in zip(rows, xs, images, strict=True):
        alone = run(params, x, context={"image": image})
        assert jnp.allclose(row, alone, rtol=1e-12)
    assert (rows[0] != rows[1]).any()


def test_what_is_not_a_cell_is_an_error_with_a_remedy():
    with pytest.raises(TypeError, match="expected a cell, .* got LSTMCell. Convert cells of"):
        recur.zoneout(nn.LSTMCell(3), 0.1)
    with pytest.raises(TypeError, match="expected a cell, .* got float.$"):
        recur.zoneout(0.1, recur.lstm(3))


def test_rates_are_floats():
    with pytest.raises(ValueError, match=r"rate in \[0, 1\), got Array.* type ArrayImpl, not a fl"):
        recur.zoneout(recur.lstm(3), jnp.asarray(0.1))


def test_entries_are_counted():
    check_entries("carry", (1, 2), 2)
    with pytest.raises(ValueError, match="carry: expected a tuple of 2 entries, .* got 3 entries"):
        check_entries("carry", (1, 2, 3), 2)
    with pytest.raises(ValueError, match=r"got \[int\[\], int\[\]\]"):
        check_entries("carry", [1, 2], 2)


def test_whole_numbers():
    assert check_whole("rows", np.int64(3), 1) == 3
    for value in (0, -1, 2.0, True, "3", None):
        with pytest.raises(ValueError, match="rows: expected a whole number of at least 1, got"):
            check_whole("rows", value, 1)


def test_numbers():
    for value in (np.int64(2), np.float32(2), 2, 2.0):
        assert check_number("scale", value) == 2
        assert type(check_number("scale", value)) is float
    for value in (True, np.True_, "2", None, np.inf, np.nan, 2j, np.ones(1)):
        with pytest.raises(ValueError, match="scale: expected a finite number, got"):
            check_number("scale", value)


def test_flags():
    assert check_flag("reverse", np.True_) is True and check_flag("reverse", False) is False
    for value in (1, 0, "no", None):
        with pytest.raises(TypeError, match="reverse: expected True or False, got"):
            check_flag("reverse", value)


def test_a_flag_is_no_rate_and_numpys_zero_is_one():
    assert check_rate("zoneout", "rate", np.int64(0)) == 0
    for value in (True, False):
        with pytest.raises(ValueError, match=rf"rate in \[0, 1\), got {value} of type bool, not a"):
            check_rate("zoneout", "rate", value)


def test_arrays_are_what_jax_computes_with():
    check_leaves("xs", {"a": np.ones(2), "b": [1, True, 2j], "c": jax.random.key(0), "d": None})
    with pytest.raises(TypeError, match=r"xs\['a'\]\[1\]: expected an array .* got str"):
        check_leaves("xs", {"a": [1, "x"]})
    with pytest.raises(TypeError, match="xs: expected an array .* got an array of object"):
        check_array("xs", np.array([None]))
    with pytest.raises(TypeError, match="xs: expected an array .* got list"):
        check_array("xs", [1.0])
