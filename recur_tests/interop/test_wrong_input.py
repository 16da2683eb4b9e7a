"""Wrong inputs of the conversions from other libraries: each error says what was expected."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur_tests.interop import wrong_programs, wrong_weights
from recur_tests.wrong_input import Row, check_five_rows, each_row

eqx = pytest.importorskip("equinox")
hk = pytest.importorskip("haiku")
nn = pytest.importorskip("flax.linen")
nnx = pytest.importorskip("flax.nnx")

XS = np.ones((5, 3))
DOORS = {
    "from_equinox": (
        lambda: recur.interop.from_equinox(
            lambda key: eqx.nn.GRUCell(3, 4, key=key, dtype=jnp.float64)
        ),
        "expected a function of a key that makes a cell",
        "from_equinox(GRUCell): expected params as GRUCell, got ",
    ),
    "from_haiku": (
        lambda: recur.interop.from_haiku(lambda: hk.GRU(4)),
        "expected a function that makes a core",
        "from_haiku: expected params as Mapping, got ",
    ),
    "from_linen": (
        lambda: recur.interop.from_linen(nn.GRUCell(4, param_dtype=jnp.float64)),
        "expected a recurrent cell of Flax Linen, such as nn.LSTMCell(64), got ",
        "from_linen(GRUCell): expected params as Mapping, got ",
    ),
    "from_nnx": (
        lambda: recur.interop.from_nnx(lambda rngs: nnx.GRUCell(3, 4, rngs=rngs)),
        "expected a function of rngs that makes a recurrent cell",
        "from_nnx(GRUCell): expected params as Mapping, got ",
    ),
}
NO_MAKERS = (3, None, "GRUCell", [nn.GRUCell(3)], XS)
MAKERS = [
    Row(
        name,
        lambda name=name, wrong=wrong: getattr(recur.interop, name)(wrong),
        TypeError,
        f"{name}: {sentence}",
    )
    for name, (_, sentence, _) in DOORS.items()
    for wrong in NO_MAKERS
]
PARAMS = [
    Row(name, lambda make=make, wrong=wrong: make().bind(wrong, XS[0]), TypeError, sentence)
    for name, (make, _, sentence) in DOORS.items()
    for wrong in (None, (), recur.cells.IndRNNParams(1, 2, 3, 4))
]
LISTS = [
    Row(
        name,
        lambda make=make: recur.scan(make()).init(jax.random.key(0), [XS[0]] * 5),
        TypeError,
        "expected x as the cell reads it, got a list of 5. Stack a list of steps with jnp.stack",
    )
    for name, (make, _, _) in DOORS.items()
]


def of_equinox(make=lambda key: eqx.nn.GRUCell(3, 4, key=key), **options):
    return lambda: recur.interop.from_equinox(make, **options)


OWN = [
    Row("from_equinox", of_equinox(lambda key: 3), TypeError, "got function which returns int."),
    Row("from_equinox", of_equinox(output=3), TypeError, "output: expected a function, got int."),
    Row("from_equinox", of_equinox(init_carry=XS), TypeError, "init_carry: expected a function"),
    Row(
        "from_equinox",
        of_equinox(lambda key: eqx.nn.Linear(3, 4, key=key)),
        ValueError,
        "from_equinox(Linear): expected a cell with a hidden_size",
    ),
    Row("from_linen", lambda: recur.interop.from_linen(nn.GRUCell), TypeError, "the class GRUCell"),
    Row("from_linen", lambda: recur.interop.from_linen(nn.Dense(3)), TypeError, "got Dense."),
    Row(
        "from_nnx",
        lambda: recur.interop.from_nnx(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0))),
        TypeError,
        "makes a recurrent cell, such as lambda rngs: nnx.LSTMCell(3, 64, rngs=rngs), got GRUCell.",
    ),
    Row(
        "from_nnx", lambda: recur.interop.from_nnx(lambda rngs: 3), TypeError, "which returns int."
    ),
    Row("from_haiku", lambda: recur.interop.from_haiku(recur.gru(3)), TypeError, "got Cell."),
]
ROWS = [*MAKERS, *PARAMS, *LISTS, *OWN, *wrong_weights.ROWS, *wrong_programs.ROWS]


@each_row(ROWS)
def test_wrong_input(row):
    row.check()


def test_every_public_function_has_five_rows():
    check_five_rows(recur.interop, ROWS)
