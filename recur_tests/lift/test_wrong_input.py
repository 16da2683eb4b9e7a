"""Steps that change their carry, missing axes and misspelt keywords are errors in all lifts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.sequences.trees import Nodes
from recur_tests.contract.own_cells import plain_cell

XS = np.ones((4, 3))
F64 = {"param_dtype": jnp.float64}
CHANGES = {
    "structure": (lambda h: (h, h), r"\(float64\[3\], float64\[3\]\)"),
    "record": (lambda h: {"h": h}, r"\{'h': float64\[3\]\}"),
    "shape": (lambda h: h[:2], r"float64\[2\]"),
    "rank": (lambda h: h[None], r"float64\[1,3\]"),
    "dtype": (lambda h: h.astype(jnp.float32), r"float32\[3\]"),
    "nothing": (lambda h: (), r"\(\)"),
}


def cell_of(change):
    """A linear cell, so that every lift runs it, whose step returns a changed carry."""

    def step(params, h, x):
        h = params * h + x
        return change(h), h

    return recur.cell(lambda key, x: jnp.full(3, 0.5), lambda params, x: jnp.zeros(3), step)


def node_of(change):
    """As `cell_of`, over the nodes of a tree."""

    def step(params, children, x):
        h = params * children.carry[0] + x
        return change(h), h

    return recur.cell(lambda key, x: jnp.full(3, 0.5), lambda params, x: jnp.zeros(3), step)


def learn_online(change):
    learner = recur.online(cell_of(change), lambda y, target: (y - target).sum())
    params = jnp.full(3, 0.5)
    return learner.update(params, learner.init(params, XS[0]), XS[0], XS[0])


RUNS = {
    "loop": lambda change: recur.loop(cell_of(change))(jnp.ones(3), XS),
    "scan": lambda change: recur.scan(cell_of(change))(jnp.ones(3), XS),
    "scan-reset": lambda change: recur.scan(cell_of(change))(
        jnp.ones(3), XS, reset=jnp.arange(4) == 2, length=3
    ),
    "associative": lambda change: recur.associative(cell_of(change))(jnp.ones(3), XS),
    "newton": lambda change: recur.newton(cell_of(change))(jnp.ones(3), XS),
    "solve": lambda change: recur.newton(cell_of(change)).solve(jnp.ones(3), XS),
    "tree": lambda change: recur.tree(node_of(change))(
        jnp.ones(3), Nodes(XS, np.zeros((4, 1), int))
    ),
    "online": learn_online,
    "structure_of": lambda change: recur.structure_of(cell_of(change), XS[0]),
    "zoneout": lambda change: recur.scan(recur.zoneout(cell_of(change), 0.1))(jnp.ones(3), XS),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("run", RUNS)
def test_a_step_that_changes_its_carry_is_an_error(run, change):
    function, came = CHANGES[change]
    message = (
        "step: expected the next carry to have the structure, shapes and dtypes of the carry "
        rf"before it, float64\[3\], got {came}. Make init_carry return"
    )
    with pytest.raises(ValueError, match=message):
        RUNS[run](function)


@pytest.mark.parametrize("run", RUNS)
def test_without_a_change_there_is_no_error(run):
    RUNS[run](lambda h: h)


@pytest.mark.parametrize(
    "result", [lambda h: h, lambda h: [h, h], lambda h: (h, h, h), lambda h: None]
)
def test_a_step_that_returns_no_pair_is_an_error(result):
    cell = recur.cell(lambda key, x: (), lambda _, x: jnp.zeros(3), lambda _, h, x: result(h + x))
    for lift in (recur.loop, recur.scan, recur.newton, recur.associative):
        with pytest.raises(TypeError, match=r"step: expected a tuple \(carry, y\), got .*lax.scan"):
            lift(cell)((), XS)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (recur.scan(recur.gru(4, **F64)), "An axis is missing.*a row axis seems to be missing"),
        (recur.scan(recur.min_gru(4, **F64)), "a row axis seems to be missing"),
        (recur.associative(recur.leaky_integrator(**F64)), "a row axis seems to be missing"),
        (recur.chain(nn.Dense(4, **F64)), r"An axis is missing.*\[B, T, I\] if the layer is batch"),
        (recur.scan(recur.readin(recur.gru(4, **F64), nn.Dense(4, **F64))), "An axis is missing"),
    ],
)
def test_a_single_sequence_given_to_a_batched_layer_is_an_error(layer, message):
    batched = recur.batch(layer)
    params = batched.init(jax.random.key(0), XS[None])
    for run in (batched, batched.run):
        with pytest.raises(ValueError, match=message):
            run(params, XS)
    with pytest.raises(ValueError, match=message):
        batched.init(jax.random.key(0), XS)


@pytest.mark.parametrize("cell", [plain_cell(), recur.gru(4, **F64)])
def test_a_batch_given_to_a_layer_of_one_sequence_is_an_error(cell):
    layer = recur.scan(cell)
    params = layer.init(jax.random.key(0), XS)
    expected = "of the carry before it|reads one step of one sequence"
    with jax.numpy_rank_promotion("allow"), pytest.raises(ValueError, match=expected):
        layer(params, np.ones((2, 4, 3)))


NEWTON = recur.newton(recur.gru(4, **F64))
CALLS = {
    "call": NEWTON,
    "run": NEWTON.run,
    "solve": NEWTON.solve,
    "init_carry": NEWTON.init_carry,
    "batched call": recur.batch(NEWTON),
    "batched run": recur.batch(NEWTON).run,
    "chain": recur.chain("tanh", NEWTON).run,
}


@pytest.mark.parametrize("call", CALLS)
def test_misspelt_keywords_are_an_error_that_names_the_right_one(call):
    misspelt = {"key_": "key", "contexts": "context"}
    if call != "init_carry":
        misspelt |= {"lengths": "length", "valid": "mask", "masks": "mask", "resets": "reset"}
    for given, meant in misspelt.items():
        message = rf"unexpected keyword argument '{given}'. Did you mean '{meant}'\? It takes "
        with pytest.raises(TypeError, match=message):
            CALLS[call](None, XS, **{given: None})


@pytest.mark.parametrize(
    "carry", [np.ones(3), np.ones((4, 1)), (np.ones(4),), np.ones(4, np.float32), {"h": np.ones(4)}]
)
@pytest.mark.parametrize("call", ["call", "run", "solve", "chain"])
def test_a_carry_unlike_the_initial_one_is_an_error(call, carry):
    params = NEWTON.init(jax.random.key(0), XS)
    if call == "chain":
        params, carry = ((), params), ((), carry)
    with pytest.raises(ValueError, match=r"carry: expected float64\[4\], as init_carry gives it, "):
        CALLS[call](params, XS, carry=carry)


def test_contexts_and_keys_of_a_solution_are_checked():
    params = NEWTON.init(jax.random.key(0), XS)
    with pytest.raises(TypeError, match="a mapping of names to values.* got ndarray"):
        NEWTON.solve(params, XS, context=np.ones(3))
    for key in (0, jnp.zeros(2, jnp.uint32)):
        with pytest.raises(TypeError, match="expected a typed key"):
            NEWTON.solve(params, XS, key=key)
