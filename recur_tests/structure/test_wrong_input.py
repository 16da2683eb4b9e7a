"""Wrong inputs of functions that analyse a step: each error says what was expected."""

import jax
import jax.numpy as jnp
import numpy as np

import recur
from recur import structure
from recur_tests.wrong_input import NO_CELLS, Row, check_five_rows, each_row

CELL = recur.gru(3, param_dtype=jnp.float64)
X, H = np.ones(3), np.zeros(3)
# Functions that read a Structure, or that only layers call.
INTERNAL = (
    structure.bind_rows,
    structure.has_callbacks,
    structure.has_custom_vjp_or_control_flow,
    structure.is_elementwise_around_products,
    structure.linear_coefficients,
)


def bound():
    return CELL.bind(CELL.init(jax.random.key(0), X), X)


def keep(*given):
    return given[-1]


# By function, how it is called on a step, until something is traced.
ON_STEPS = {
    "find_structure": lambda step: structure.find_structure(step, bound(), H, X, None),
    "recurrent_products": lambda step: structure.recurrent_products(step, bound(), H, X),
    "input_products": lambda step: structure.input_products(step, bound(), H, X),
    "named_shapes": lambda step: structure.named_shapes(step, "candidate", bound(), H, X, "t"),
    "on_products": lambda step: structure.on_products(step, result=keep)(bound(), H, X),
    "on_inputs": lambda step: structure.on_inputs(step, keep)(bound(), H, X),
    "on_named": lambda step: structure.on_named(step, "candidate", keep, "t")(bound(), H, X),
    "on_next_carry": lambda step: structure.on_next_carry(step, keep)(bound(), H, X),
}
NO_STEPS = [
    (CELL, TypeError, "step: expected a function, got Cell."),
    (None, TypeError, "step: expected a function, got NoneType."),
    (lambda *given: given[1], TypeError, "step: expected a tuple (carry, y), got float64[3]."),
    (lambda *given: None, TypeError, "step: expected a tuple (carry, y), got None."),
    (lambda *given: (given[1][:2], given[2]), ValueError, "before it, float64[3], got float64[2]."),
    (lambda *given: ((), given[2]), ValueError, "before it, float64[3], got ()."),
]
STEPS = [
    Row(name, lambda call=call, step=step: call(step), error, sentence)
    for name, call in ON_STEPS.items()
    for step, error, sentence in NO_STEPS
]
ON_FUNCTIONS = {
    "on_products": lambda f: structure.on_products(CELL.step, result=f),
    "on_inputs": lambda f: structure.on_inputs(CELL.step, f),
    "on_named": lambda f: structure.on_named(CELL.step, "candidate", f, "t"),
    "on_next_carry": lambda f: structure.on_next_carry(CELL.step, f),
}
NO_FUNCTIONS = [
    (3, TypeError, "expected a function, got int."),
    (lambda *given: given[-1][:2], ValueError, "keeps shapes and dtypes, float64[3], got float64["),
    (lambda *given: given[-1].astype(int), ValueError, "float64[3], got int64[3]."),
    (lambda *given: None, ValueError, "keeps shapes and dtypes, float64[3], got None."),
]
FUNCTIONS = [
    Row(name, lambda call=call, f=f: call(f)(bound(), H, X), error, sentence)
    for name, call in ON_FUNCTIONS.items()
    for f, error, sentence in NO_FUNCTIONS
]
NAMES = [
    Row("name", lambda wrong=wrong: recur.name(X, wrong), TypeError, f"as a string, got {came}.")
    for wrong, came in ((3, "int"), (None, "NoneType"), (["h"], "list"), (X, "ndarray"))
] + [
    Row("name", lambda: recur.name("candidate", X), TypeError, "recur.name(value, "),
    Row(
        "on_named",
        lambda: structure.on_named(CELL.step, "nothing", keep, "t")(bound(), H, X),
        TypeError,
        "t: the step names no value 'nothing'. Name it in the step",
    ),
]
FILMED = recur.film(CELL, "vector")
REPORTS = [
    Row("structure_of", lambda wrong=wrong: recur.structure_of(wrong, X), TypeError, sentence)
    for wrong, sentence in NO_CELLS.values()
] + [
    Row("structure_of", lambda: recur.structure_of(CELL, X[None]), ValueError, "x of shape [I]"),
    Row(
        "structure_of",
        lambda: recur.structure_of(CELL, None),
        ValueError,
        "gru: expected x as one array",
    ),
    Row("structure_of", lambda: recur.structure_of(FILMED, X), ValueError, "needs the context"),
    Row("structure_of", lambda: recur.structure_of(CELL, X, context=3), TypeError, "a mapping of"),
    Row(
        "structure_of", lambda: recur.structure_of(CELL, X, key=0), TypeError, "a typed key, got 0"
    ),
]
ROWS = [*STEPS, *FUNCTIONS, *NAMES, *REPORTS]


@each_row(ROWS)
def test_wrong_input(row):
    row.check()


def test_every_public_function_has_five_rows():
    check_five_rows(structure, ROWS, besides=INTERNAL)
