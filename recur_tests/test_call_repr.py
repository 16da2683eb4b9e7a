import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.call_repr import call_repr
from recur.types import Cell
from recur_tests.contract.own_cells import leaky_integrator


@call_repr
def make(*args, **kwargs):
    """Makes a cell, whatever it is given."""
    return leaky_integrator()


def a_function(x):
    return x


class Wide(nn.Module):
    """A module whose repr is many lines long."""

    features: int
    name_of: str = "wide"


@pytest.mark.parametrize(
    ("shown", "value"),
    [
        ("scan(lstm(64))", lambda: recur.scan(recur.lstm(64))),
        ("scan(gru(4), reverse=True)", lambda: recur.scan(recur.gru(4), reverse=True)),
        (
            "batch(chain('tanh', scan(stack(gru(3), lstm(4)))))",
            lambda: recur.batch(
                recur.chain("tanh", recur.scan(recur.stack(recur.gru(3), recur.lstm(4))))
            ),
        ),
        (
            "bidirectional(scan(gru(4)), scan(gru(4), reverse=True), merge='sum')",
            lambda: recur.bidirectional(
                recur.scan(recur.gru(4)), recur.scan(recur.gru(4), reverse=True), merge="sum"
            ),
        ),
        ("lstm(4, param_dtype=float64)", lambda: recur.lstm(4, param_dtype=jnp.float64)),
    ],
)
def test_cells_and_layers_print_as_the_call_that_made_them(shown, value):
    assert repr(value()) == str(value()) == shown


@pytest.mark.parametrize(
    ("shown", "value"),
    [
        ("3", 3),
        ("'tanh'", "tanh"),
        ("None", None),
        ("(1, 2)", (1, 2)),
        ("float32", jnp.float32),
        ("float32", np.float32),
        ("0.5", np.float64(0.5)),
        ("2", np.int64(2)),
        ("True", np.bool_(True)),
        ("float32[2, 3]", jnp.ones((2, 3), jnp.float32)),
        ("float32[]", jnp.asarray(1.0, jnp.float32)),
        ("int8[1]", np.ones(1, np.int8)),
        ("a_function", a_function),
        ("tanh", jnp.tanh),
        ("lstm(4)", recur.lstm(4)),
        ("Dense(features=3)", nn.Dense(3)),
        ("Wide(features=3)", Wide(3)),
        ("Wide(features=3, name_of='w')", Wide(3, "w")),
    ],
)
def test_arguments_are_shown_briefly(shown, value):
    assert repr(make(value)) == f"make({shown})"
    assert repr(make(1, option=value)) == f"make(1, option={shown})"


def test_functions_defined_inside_of_others_are_shown_by_the_outer_name():
    assert repr(make(lambda x: x)).startswith("make(test_functions_defined_inside")
    assert "<locals>" not in repr(make(lambda x: x))


def test_keys_of_jax_are_shown_by_their_dtype():
    assert repr(make(jax.random.key(0))) == "make(key<fry>[])"


def test_a_cell_that_is_returned_as_it_was_given_keeps_its_name():
    @call_repr
    def unchanged(cell, *, rate):
        return cell

    cell = recur.lstm(4)
    assert unchanged(cell, rate=0.0) is cell
    assert unchanged(cell=cell, rate=0.0) is cell
    assert repr(recur.zoneout(recur.lstm(4), 0.0)) == "lstm(4)"


def test_the_factory_keeps_its_name_and_signature():
    assert make.__name__ == "make"
    assert make.__doc__ == "Makes a cell, whatever it is given."
    assert isinstance(make(), Cell)
    assert repr(make()) == "make()"


def test_a_wrong_call_is_answered_with_the_arguments():
    message = "gru: too many positional arguments. It takes (features, *, reset, update,"
    with pytest.raises(TypeError, match=re.escape(message)) as caught:
        recur.gru(3, 8)
    assert str(caught.value).endswith("The width of the input is read by init.")
    with pytest.raises(TypeError, match=re.escape("It takes (cell, *, reverse, unroll).")):
        recur.scan(recur.gru(3), backwards=True)
    with pytest.raises(TypeError, match=re.escape("It takes (*parts).")):
        recur.chain(parts=())
