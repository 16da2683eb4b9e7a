"""Wrong inputs of every combinator: each is an error that says what was expected."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur_tests.wrong_input import NO_CELLS, Row, check_five_rows, each_row, rows_of_options

CELL = recur.gru(3, param_dtype=jnp.float64)
WIDE = recur.gru(4, param_dtype=jnp.float64)
COMPLEX = recur.cell(
    lambda key, x: (),
    lambda params, x: jnp.zeros(()),
    lambda params, h, x: (h, jax.lax.complex(x, x)),
)
XS = np.ones((5, 3))
KEY = jax.random.key(0)
CONTEXT = {"memory": np.ones((6, 2)), "vector": np.ones(2)}
NO_PARAMS = (None, (), {"cell": 1}, recur.cells.IndRNNParams(1, 2, 3, 4))
DENSE = nn.Dense(3, param_dtype=jnp.float64)

# By combinator, how it is called, and the type of its params where they are its own.
CALLS = {
    "attend": (lambda cell, **o: recur.attend(cell, "memory", **o), "AttendParams"),
    "condition": (lambda cell, **o: recur.condition(cell, "vector", **o), "ConditionParams"),
    "deep_transition": (
        lambda cell, **o: recur.deep_transition(cell, "tanh", **o),
        "TransitionParams",
    ),
    "feedback": (recur.feedback, None),
    "film": (lambda cell, **o: recur.film(cell, "vector", **o), "FilmParams"),
    "highway": (recur.highway, "HighwayParams"),
    "normalize": (lambda cell, **o: recur.normalize(cell, nn.LayerNorm(), **o), "NormalizeParams"),
    "readin": (lambda cell: recur.readin(cell, DENSE), "ReadinParams"),
    "readout": (lambda cell: recur.readout(cell, DENSE), "ReadoutParams"),
    "recurrent_dropout": (lambda cell, rate=0.1: recur.recurrent_dropout(cell, rate), None),
    "residual": (recur.residual, None),
    "soft_window": (lambda cell, **o: recur.soft_window(cell, "memory", **o), "SoftWindowParams"),
    "stack": (recur.stack, None),
    "variational_dropout": (lambda cell, **o: recur.variational_dropout(cell, **o), None),
    "zoneout": (lambda cell, rate=0.1: recur.zoneout(cell, rate), None),
}

OF_CELLS = [
    Row(name, lambda call=call, wrong=wrong: call(wrong), TypeError, sentence)
    for name, (call, _) in CALLS.items()
    for wrong, sentence in NO_CELLS.values()
]


def options_of(name):
    factory, call = getattr(recur, name), CALLS[name][0]
    own = {argument: "[0, 1), got " for argument in ("inputs", "recurrent", "outputs", "rate")}
    return rows_of_options(factory, lambda **options: call(CELL, **options), own)


GENERATED = [row for name in CALLS for row in options_of(name)]
MODULES = [
    Row(name, lambda f=f, module=module: f(CELL, module), error, sentence)
    for name, f in {
        "readin": recur.readin,
        "readout": recur.readout,
        "normalize": recur.normalize,
        "deep_transition": recur.deep_transition,
    }.items()
    for module, error, sentence in (
        ("tanhh", ValueError, "unknown activation 'tanhh'."),
        (3, TypeError, "expected a module, a function or an activation's name, got int."),
        (nn.Dense, TypeError, "expected a module, got the class Dense: call it first."),
        (nn.GRUCell(3), TypeError, "expected a module of one step, got GRUCell, which keeps"),
        (CELL, TypeError, "expected a module, a function or an activation's name, got Cell."),
    )
]
RATES = [
    Row(name, lambda f=f, rate=rate: f(CELL, rate), ValueError, "in [0, 1), got ")
    for name, f in {
        "zoneout": recur.zoneout,
        "recurrent_dropout": recur.recurrent_dropout,
        "variational_dropout": lambda cell, rate: recur.variational_dropout(cell, inputs=rate),
    }.items()
    for rate in (-0.1, 1, 1.5, "0.1", None, True, False, float("nan"), 1j)
]
CHOICES = [
    Row(name, lambda f=f, value=value: f(value), ValueError, f"{sentence}{value!r}.")
    for name, f, sentence in (
        ("attend", lambda value: recur.attend(CELL, "memory", query=value), '"state", got '),
        ("condition", lambda value: recur.condition(CELL, "vector", value), "carry, got "),
    )
    for value in ("x", 3, ["output"], None)
]


def run(cell, context=CONTEXT, at_init=CONTEXT, xs=XS):
    layer = recur.scan(cell)
    return layer(layer.init(KEY, XS, context=at_init), xs, context=context)


def run_attend(context, **options):
    return lambda: run(recur.attend(CELL, "memory", **options), context)


OWN = [
    Row(
        "readin", lambda: recur.readin(DENSE, CELL), TypeError, "first, recur.readin(cell, module)"
    ),
    Row(
        "readout",
        lambda: recur.readout("tanh", CELL),
        TypeError,
        "readout: expected the cell first",
    ),
    Row("attend", lambda: recur.attend(CELL, "m", score="x"), ValueError, "expected score as"),
    Row("attend", lambda: recur.attend(CELL, "m", score=["dot"]), ValueError, "got ['dot']."),
    Row("attend", lambda: run(recur.attend(CELL, 3)), TypeError, "as a string, got int."),
    Row("attend", run_attend(None), ValueError, "needs the context 'memory', and got nothing."),
    Row("attend", run_attend({"memory": XS[0]}), ValueError, "expected [S, D] of one sequence"),
    Row("attend", run_attend({"memory": [1.0]}), ValueError, "expected one array [S, D] or recur."),
    Row("attend", run_attend({"memory": XS.astype(int)}), TypeError, "expected real numbers"),
    Row("attend", run_attend(XS), TypeError, "expected the context as a mapping of names"),
    Row("condition", lambda: run(recur.condition(CELL, "v")), ValueError, "needs the context 'v'"),
    Row("film", lambda: run(recur.film(CELL, "v")), ValueError, "film needs the context 'v'"),
    Row("film", lambda: run(recur.film(CELL, XS)), TypeError, "film: expected the name of a value"),
    Row("feedback", lambda: recur.feedback(CELL, 3), TypeError, "join: expected a function, got i"),
    Row("feedback", lambda: recur.feedback(CELL, "x"), TypeError, "join: expected a function, got"),
    Row("residual", lambda: run(recur.residual(WIDE)), ValueError, "as wide as its input."),
    Row("highway", lambda: run(recur.highway(WIDE)), ValueError, "as wide as its input."),
    Row("soft_window", lambda: run(recur.soft_window(CELL, "m")), ValueError, "needs the context"),
    Row("soft_window", lambda: run(recur.soft_window(CELL, 3)), TypeError, "as a string, got int."),
    Row(
        "soft_window",
        lambda: recur.soft_window(CELL, "m", initial_step=0.0),
        ValueError,
        "soft_window: expected initial_step above 0, got 0.0.",
    ),
    Row(
        "soft_window",
        lambda: run(recur.soft_window(recur.readout(CELL, lambda v: (v, v)), "memory")),
        ValueError,
        "soft_window: expected the output to be one vector, got ",
    ),
    Row(
        "soft_window",
        lambda: run(recur.soft_window(COMPLEX, "memory")),
        TypeError,
        "soft_window: expected the output to be real numbers, got complex",
    ),
    Row("stack", lambda: recur.stack(), ValueError, "stack: expected at least one cell, got none."),
    Row("stack", lambda: recur.stack([CELL, CELL]), TypeError, "expected a cell, such as recur"),
    Row(
        "zoneout",
        lambda: run(recur.zoneout(CELL, (0.1, 0.2))),
        ValueError,
        "zoneout: expected rate as one number, or one for each part of the carry, float64[3], got",
    ),
]


def params_rows(name):
    call, record = CALLS[name]
    layer = recur.scan(call(CELL))
    sentence = f"{name}: expected params as {record}, got" if record else "expected "
    for params in NO_PARAMS:
        error = ValueError if name == "stack" else TypeError
        yield Row(name, lambda p=params: layer(p, XS, context=CONTEXT), error, sentence)


PARAMS = [row for name in CALLS for row in params_rows(name)]
ROWS = [*OF_CELLS, *GENERATED, *MODULES, *RATES, *CHOICES, *OWN, *PARAMS]


@each_row(ROWS)
def test_wrong_input(row):
    row.check()


def test_every_public_function_has_five_rows():
    check_five_rows(recur.combine, ROWS)
    assert CALLS.keys() == {row.name for row in OF_CELLS}


@pytest.mark.parametrize("name", CALLS)
def test_a_list_of_steps_and_complex_inputs_are_errors(name):
    layer = recur.scan(CALLS[name][0](CELL))
    with pytest.raises((TypeError, ValueError), match="jnp.stack"):
        layer.init(KEY, [XS[0]] * 5, context=CONTEXT)
    if name != "readin":  # a Dense reads complex numbers
        with pytest.raises(TypeError, match="gru: expected a real input, got complex128"):
            layer.init(KEY, XS + 0j, context=CONTEXT)
