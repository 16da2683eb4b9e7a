"""The reported structure of each cell of the library, and its printed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur_tests.structure.steps import HIDDEN, draw_params

H, P = 4, 2
X = jax.ShapeDtypeStruct((3,), jnp.float32)
SQUARE = f"[{H}] x [{H}, {{}}]"
CONTEXT = {
    "memory": jax.ShapeDtypeStruct((5, 3), jnp.float32),
    "image": jax.ShapeDtypeStruct((2,), jnp.float32),
}


def states(*widths):
    return [SQUARE.format(width) for width in widths]


# By name: the cell, the number of products before the loop, those in it, and those after it.
CELLS = {
    "elman": (recur.elman(H), 1, states(H), []),
    "jordan": (recur.jordan(H, P), 1, ["[2] x [2, 4]", "[4] x [4, 2]"], []),
    "lstm": (recur.lstm(H), 4, states(4 * H), []),
    "peepholes": (recur.lstm(H, peepholes="diagonal"), 4, states(4 * H), []),
    "full peepholes": (recur.lstm(H, peepholes="full"), 4, states(4 * H, 2 * H, H), []),
    "gru": (recur.gru(H), 3, states(3 * H), []),
    "gru before": (recur.gru(H, reset="before"), 3, states(2 * H, H), []),
    "mgu": (recur.mgu(H), 2, states(H, H), []),
    "ugrnn": (recur.ugrnn(H), 2, states(2 * H), []),
    "coupled": (recur.coupled_lstm(H), 3, states(3 * H), []),
    "original": (recur.original_lstm(H), 3, states(3 * H), []),
    "projected": (recur.projected_lstm(H, P), 4, ["[2] x [2, 16]", "[4] x [4, 2]"], []),
    "layer norm": (recur.layer_norm_lstm(H), 4, states(4 * H), []),
    "recurrent highway": (recur.recurrent_highway(H, 2), 2, states(2 * H, 2 * H), []),
    "slstm": (recur.slstm(H, heads=2), 4, 4 * ["[2, 2] x [2, 2, 2]"], []),
    "indrnn": (recur.indrnn(H), 1, [], []),
    "lru": (recur.lru(H), 2, [], 1),
    "diagonal": (recur.diagonal(H), 1, [], []),
    "leaky integrator": (recur.leaky_integrator(), 0, [], []),
    "min gru": (recur.min_gru(H), 2, [], []),
    "min lstm": (recur.min_lstm(H), 3, [], []),
    "stack": (recur.stack(recur.lstm(H), recur.gru(H)), 4, states(4 * H, 3 * H, 3 * H), []),
    "normalize": (recur.normalize(recur.gru(H), nn.LayerNorm()), 3, states(3 * H), []),
    "deep transition": (
        recur.deep_transition(recur.elman(H), nn.Dense(H)),
        1,
        states(H, H),
        [],
    ),
    "zoneout": (recur.zoneout(recur.lstm(H), 0.1), 4, states(4 * H), []),
    "recurrent dropout": (recur.recurrent_dropout(recur.lstm(H), 0.5), 4, states(4 * H), []),
    "variational": (recur.variational_dropout(recur.lstm(H), recurrent=0.5), 4, states(4 * H), []),
    "condition": (recur.condition(recur.lstm(H), "image"), 4, states(4 * H), []),
    "attend": (recur.attend(recur.lstm(H), "memory"), 4, states(4 * H), 4),
    "readout": (recur.readout(recur.lstm(H), nn.Dense(P)), 4, states(4 * H), ["[4] x [4, 2]"]),
    "readin": (recur.readin(recur.lstm(H), nn.Dense(P)), 5, states(4 * H), []),
}
LINEAR = {"lru", "diagonal", "leaky integrator", "min gru", "min lstm"}


def report(name, **options):
    context = CONTEXT if name in ("condition", "attend") else None
    return recur.structure_of(CELLS[name][0], X, context=context, **options)


@pytest.mark.parametrize("name", CELLS)
def test_each_cell_has_the_fast_path(name):
    _, before, inside, after = CELLS[name]
    found = report(name)
    assert (len(found.before), [*found.inside]) == (before, inside)
    assert (len(found.after) if isinstance(after, int) else [*found.after]) == after
    assert found.linear == (name in LINEAR)


@pytest.mark.parametrize("name", ["zoneout", "recurrent dropout", "variational"])
def test_noise_takes_nothing_of_the_fast_path_away(name):
    noisy, quiet = report(name, key=jax.random.key(0)), report(name)
    assert noisy[1:4] == quiet[1:4]
    assert noisy.equations != quiet.equations


def test_the_report_is_a_table():
    assert str(report("lstm")).splitlines() == [
        "lstm(4)",
        "  before the loop   4 equations, products: 4 of [3] x [3, 4]",
        "  in the loop      25 equations, products: [4] x [4, 16]",
        "  after the loop    0 equations, products: none",
        "  once              0 equations",
        "  stored          float32[4]",
        "  linear          no",
    ]


def test_what_is_counted_and_stored():
    def step(p, h, x):
        kernel = jnp.sin(p["U"])
        h = jnp.tanh(x @ p["W"] + h @ kernel + h @ p["V"])
        return h, (h @ p["V"], h @ p["U"], jnp.cos(x @ p["W"]))

    cell = recur.cell(draw_params, lambda p, x: jnp.zeros(HIDDEN), step)
    found = recur.structure_of(cell, np.ones(3))
    assert found.equations["invariant"] == 1
    assert [*found.before] == 2 * ["[3] x [3, 4]"]
    assert [*found.inside] == ["[4] x [4, 8]"]
    assert [*found.after] == 2 * ["[4] x [4, 4]"]
    assert [*found.stored] == ["float64[4]"]
    assert found.cell == repr(cell)


def test_nothing_is_computed():
    """Neither weights nor steps are computed, only shapes."""
    report = recur.structure_of(recur.lstm(100_000), jax.ShapeDtypeStruct((100_000,), jnp.float32))
    assert [*report.inside] == ["[100000] x [100000, 400000]"]


def test_what_is_not_a_cell_is_an_error():
    with pytest.raises(TypeError, match="structure_of: expected a cell, got a layer"):
        recur.structure_of(recur.scan(recur.lstm(4)), X)


def test_products_of_two_values_that_change_are_counted():
    def step(params, carry, x):
        h, memory = carry
        return (jnp.tanh(h @ memory + x), memory + jnp.outer(h, h)), h

    cell = recur.cell(
        lambda key, x: (), lambda p, x: (jnp.zeros(3, x.dtype), jnp.zeros((3, 3), x.dtype)), step
    )
    found = recur.structure_of(cell, X)
    assert found.varying == 1 and not found.inside
    assert "products: 1 of two values that change\n" in str(found)
    assert recur.structure_of(recur.elman(H), X).varying == 0
