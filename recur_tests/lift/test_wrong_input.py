"""Steps that change their carry, missing axes and misspelt keywords are errors in all lifts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur import lift
from recur.sequences import Padded, pool
from recur.sequences.trees import Nodes
from recur_tests.contract.own_cells import plain_cell
from recur_tests.wrong_input import (
    NO_CELLS,
    NO_LAYERS,
    Row,
    check_five_rows,
    each_row,
    rows_of_options,
)

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
    for run in (recur.loop, recur.scan, recur.newton, recur.associative):
        with pytest.raises(TypeError, match=r"step: expected a tuple \(carry, y\), got .*lax.scan"):
            run(cell)((), XS)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            recur.scan(recur.gru(4, **F64)),
            r"An axis is missing.*\[B, T, I\] if the layer is batched",
        ),
        (recur.scan(recur.min_gru(4, **F64)), r"\[B, T, I\] if the layer is batched"),
        (recur.associative(recur.leaky_integrator(**F64)), r"\[B, T, I\] if the layer is batched"),
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
    expected = "of the carry before it|expected one step of one sequence"
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
    with pytest.raises(ValueError, match=r"carry: expected float64\[4\], as init_carry returns, "):
        CALLS[call](params, XS, carry=carry)


def test_contexts_and_keys_of_a_solution_are_checked():
    params = NEWTON.init(jax.random.key(0), XS)
    with pytest.raises(TypeError, match="a mapping of names to values.* got ndarray"):
        NEWTON.solve(params, XS, context=np.ones(3))
    for key in (0, jnp.zeros(2, jnp.uint32)):
        with pytest.raises(TypeError, match="expected a typed key"):
            NEWTON.solve(params, XS, key=key)


# The table: a row for each wrong input of a lift, and of the functions of a layer.
KEY = jax.random.key(0)
GRU = recur.gru(4, **F64)
LAYER, BACK = recur.scan(GRU), recur.scan(GRU, reverse=True)
BATCHED = recur.batch(LAYER)
LIFTS = {
    "associative": recur.associative,
    "loop": recur.loop,
    "newton": recur.newton,
    "online": lambda cell, **options: recur.online(cell, lambda y, target: y.sum(), **options),
    "scan": recur.scan,
    "tree": recur.tree,
}
LAYERS_OF_LAYERS = {
    "batch": recur.batch,
    "bidirectional": lambda layer: recur.bidirectional(layer, BACK),
    "checkpoint": recur.checkpoint,
    "encoder_decoder": lambda layer: recur.encoder_decoder(layer, LAYER),
    "inner": lambda layer: recur.inner(layer, pool.last),
    "pooled": lambda layer: recur.pooled(layer, pool.last),
    "run_window": lambda layer: lift.run_window(layer, (), (), XS, 1),
    "truncate": lambda layer: recur.truncate(layer, 1, 2),
}
OF_CELLS = [
    Row(name, lambda call=call, wrong=wrong: call(wrong), TypeError, sentence)
    for name, call in LIFTS.items()
    for wrong, sentence in NO_CELLS.values()
]
OF_LAYERS = [
    Row(name, lambda call=call, wrong=wrong: call(wrong), TypeError, f"{name}: {sentence}")
    for name, call in LAYERS_OF_LAYERS.items()
    for wrong, sentence in NO_LAYERS.values()
]
OWN_OPTIONS = {"max_steps": "newton: max_steps: expected a whole number of at least 0, got "}
OPTIONS = [
    row
    for name, call in LIFTS.items()
    for row in rows_of_options(
        getattr(lift, name), lambda call=call, **options: call(GRU, **options), OWN_OPTIONS
    )
    if row.sentence != OWN_OPTIONS["max_steps"]  # zero is one: below, with the others of newton
]
WHOLE = (0, -1, 2.0, "2", True, [2], np.float64(2))


def learner(loss=lambda y, target: (y - target).sum(), **options):
    return recur.online(GRU, loss, **options)


def begin(params=None, x=XS[0], **options):
    params = GRU.init(KEY, XS[0]) if params is None else params
    return learner().init(params, x, **options)


def update(loss=lambda y, target: (y - target).sum(), x=XS[0], target=np.ones(4), **options):
    online, params = learner(loss), GRU.init(KEY, XS[0])
    state = options.pop("state", online.init(params, XS[0]))
    return online.update(params, state, x, target, **options)


def run(layer=LAYER, xs=XS, **options):
    params = layer.init(KEY, XS[None] if layer.is_batched else XS)
    return layer.run(options.pop("params", params), xs, **options)


def window(k1=2, xs=XS, layer=LAYER, **options):
    return lift.run_window(layer, layer.init(KEY, XS), np.zeros(4), xs, k1, **options)


def merged(merge, backward=BACK):
    layer = recur.bidirectional(LAYER, backward, merge=merge)
    return layer(layer.init(KEY, XS), XS)


def of_sequence(layer, xs=XS, **options):
    return layer(layer.init(KEY, xs), xs, **options)


def pair(context, start=None, **names):
    decoder = recur.scan(recur.attend(GRU, "memory", **F64))
    layer = recur.encoder_decoder(LAYER, decoder, start=start, **names)
    params = layer.init(KEY, XS, context=context)
    return layer(params, XS, context=context)


NO_TYPED_KEY = "expected a typed key, got "
CALLS_OF = {
    "associative": [
        (lambda: recur.associative(GRU)(GRU.init(KEY, XS[0]), XS), TypeError, "linear in its carr"),
    ],
    "batch": [
        (lambda: run(BATCHED), ValueError, "An axis is missing"),
        (lambda: run(BATCHED, XS[None], length=3), ValueError, "one integer for each row"),
        (lambda: run(BATCHED, XS[None], length=np.ones(1)), TypeError, "length: expected an int"),
        (lambda: run(BATCHED, XS[None], length=np.ones(2, int)), ValueError, "of shape [1]"),
        (lambda: run(BATCHED, XS[None], context={"v": 1.0}), ValueError, "one entry for each of 1"),
    ],
    "bidirectional": [
        (lambda: recur.bidirectional(LAYER, LAYER), ValueError, "second layer reads forward too."),
        (lambda: recur.bidirectional(BACK, BACK), ValueError, "first layer does not read forward."),
        (lambda: recur.bidirectional(BATCHED, BACK), ValueError, "the layer is batched"),
        (lambda: merged("x"), ValueError, "expected merge as one of concatenate, sum, mean, or"),
        (lambda: merged(["sum"]), ValueError, "or a function, got ['sum']."),
        (lambda: merged(None), ValueError, "or a function, got None."),
        (
            lambda: merged("sum", recur.scan(recur.gru(5, **F64), reverse=True)),
            ValueError,
            "merge='sum' needs outputs of equal shapes, got float64[4,4] and float64[4,5].",
        ),
    ],
    "chain": [
        (lambda: recur.chain(), ValueError, "chain: expected at least one part, got none."),
        (
            lambda: recur.chain(GRU),
            TypeError,
            "chain: expected layers, got a cell. Lift the cell f",
        ),
        (lambda: recur.chain(BATCHED), ValueError, "the layer is batched"),
        (lambda: recur.chain("tanhh"), ValueError, "unknown activation 'tanhh'."),
        (lambda: recur.chain(nn.Dense), TypeError, "got the class Dense: call it first."),
        (lambda: recur.chain([LAYER]), TypeError, "a function or an activation's name, got list."),
        (lambda: recur.chain(None), TypeError, "activation's name, got NoneType."),
        (lambda: recur.chain(nn.GRUCell(3)), TypeError, "keeps a state over time. Lift its cell"),
        (
            lambda: recur.chain(nn.Dense(3)).init(KEY, [XS[0]] * 5),
            TypeError,
            "Dense reads one array, got a list of 5.",
        ),
        (lambda: recur.chain(LAYER, LAYER)(None, XS), ValueError, "params: expected a tuple of 2"),
    ],
    "checkpoint": [
        (lambda wrong=wrong: recur.checkpoint(LAYER, wrong), ValueError, "of at least 1, got ")
        for wrong in (0, 2.0, True, "2", [2, 0], [[2]], np.float64(2))
    ]
    + [(lambda: recur.checkpoint(LAYER, []), ValueError, "or one per level, got none.")],
    "encoder_decoder": [
        (lambda: recur.encoder_decoder(LAYER, GRU), TypeError, "expected a layer, got Cell."),
        (lambda: recur.encoder_decoder(BATCHED, LAYER), ValueError, "the layer is batched"),
        (lambda: pair(None), ValueError, "encoder_decoder needs the context 'source', and got not"),
        (lambda: pair({"src": XS}), ValueError, "the context 'source', and got 'src'."),
        (lambda: pair(XS), TypeError, "encoder_decoder: expected the context as a mapping"),
        (
            lambda: pair({"source": XS, "memory": XS}),
            ValueError,
            "the context has a value 'memory', the name of the encoder's outputs.",
        ),
        (lambda: pair({"source": Padded(XS, 2.0)}), TypeError, "length: expected an integer"),
        (lambda: pair({"source": Padded(XS, np.ones(4, int))}), ValueError, "one integer for one"),
        (lambda: pair({"source": XS}, source=3), TypeError, "as names of values in the context, g"),
        (lambda: pair({"source": XS}, memory="source"), ValueError, "expected two names, got 'sou"),
        (
            lambda: pair({"source": XS}, start=lambda h: h[:2]),
            ValueError,
            "expected start to return the initial carry of the decoder, float64[4], got float64[2]",
        ),
        (lambda: pair({"source": XS}, start=3), TypeError, "a function or an activation's name"),
    ],
    "inner": [
        (lambda: recur.inner(BATCHED, pool.last), ValueError, "the layer is batched"),
        (lambda: recur.inner(LAYER), ValueError, "inner: expected a pool, such as recur.sequences"),
        (
            lambda: recur.inner(recur.pooled(LAYER, pool.last), pool.last),
            ValueError,
            "inner: the layer is pooled already. Leave out the pool.",
        ),
        (
            lambda: of_sequence(recur.inner(LAYER, pool.last)),
            TypeError,
            "inner: expected xs as recur.sequences.Padded(steps, length), with steps [T, C, ...], ",
        ),
        (
            lambda: of_sequence(recur.inner(LAYER, pool.last), Padded(XS[None], np.ones(1))),
            TypeError,
            "length: expected an integer, got float64.",
        ),
        (
            lambda: of_sequence(recur.inner(LAYER, pool.last), Padded(XS[None], np.ones(2, int))),
            ValueError,
            "expected arrays with one leading time axis, got shapes [1, 4, 3], [2].",
        ),
    ],
    "parallel": [
        (lambda: recur.parallel(), ValueError, "parallel: expected at least one branch, got none."),
        (lambda: recur.parallel(GRU), TypeError, "parallel: expected layers, got a cell. Lift the"),
        (lambda: recur.parallel(BATCHED), ValueError, "the layer is batched"),
        (lambda: recur.parallel("tanhh"), ValueError, "unknown activation 'tanhh'."),
        (lambda: recur.parallel([LAYER]), TypeError, "activation's name, got list."),
        (lambda: recur.parallel(LAYER, merge="max"), ValueError, "parallel: expected merge as one"),
        (lambda: recur.parallel(LAYER, merge=3), ValueError, "or a function, got 3."),
        (
            lambda: recur.parallel(LAYER, merge=nn.Dense(3)),
            TypeError,
            "expected a function without weights, got Dense",
        ),
        (
            lambda: of_sequence(recur.parallel(LAYER, "tanh", merge="mean")),
            ValueError,
            "parallel: merge='mean' needs outputs of equal shapes, got float64[4,4] and float64[4,",
        ),
        (
            lambda: of_sequence(recur.parallel(LAYER, lambda x: x[0])),
            ValueError,
            "needs outputs [T, ..., D] that differ in D only, got float64[4,4] and float64[4].",
        ),
        (
            lambda: of_sequence(recur.parallel(lambda x: x[0], lambda x: x[1])),
            ValueError,
            "needs outputs [T, ..., D] that differ in D only, got float64[4] and float64[4].",
        ),
        (
            lambda: of_sequence(recur.parallel("tanh", lambda x: (x, x), merge="sum")),
            ValueError,
            "needs outputs of equal shapes, got float64[4,3] and (float64[4,3], float64[4,3]).",
        ),
        (lambda: recur.parallel(LAYER, LAYER)(None, XS), ValueError, "params: expected a tuple of"),
    ],
    "pooled": [
        (lambda: recur.pooled(BATCHED, pool.last), ValueError, "recur.batch(recur.pooled(...))."),
        (lambda: recur.pooled(LAYER, "mean"), TypeError, "pooled: expected the pool as a function"),
        (lambda: recur.pooled(LAYER, None), TypeError, "recur.sequences.pool.mean, got None."),
        (lambda: recur.pooled(LAYER, pool.attention), ValueError, "pool.attention needs scores."),
        (lambda: recur.pooled(LAYER, pool.last, "tanhh"), ValueError, "unknown activation 'tanhh'"),
        (lambda: recur.pooled(LAYER, pool.last, nn.Dense), TypeError, "got the class Dense: call"),
        (lambda: recur.pooled(LAYER, pool.attention, scores=3), TypeError, "name, got int."),
        (
            lambda: of_sequence(recur.pooled(LAYER, pool.attention, scores=nn.Dense(2, **F64))),
            ValueError,
            "one score per step, as scores=nn.Dense(1) gives, got float64[4,2] for 4 steps.",
        ),
        (
            lambda: of_sequence(recur.pooled(LAYER, pool.last), reset=np.ones(4, bool)),
            ValueError,
            "pooled: expected one sequence, got resets, so that a row holds several.",
        ),
        (
            lambda: recur.pooled(LAYER, pool.last)((), XS),
            TypeError,
            "pooled: expected params as PooledParams, got tuple.",
        ),
        (
            lambda: of_sequence(recur.pooled(LAYER, pool.last), XS[:0]),
            ValueError,
            "with T >= 1",
        ),
    ],
    "sequencewise": [
        (lambda: recur.sequencewise(LAYER), TypeError, "the whole sequence, got a layer."),
        (lambda: recur.sequencewise(GRU), TypeError, "the whole sequence, got a cell."),
        (lambda: recur.sequencewise(3), TypeError, "activation's name, got int."),
        (lambda: recur.sequencewise(nn.Conv), TypeError, "got the class Conv: call it first."),
        (
            lambda: of_sequence(recur.sequencewise(nn.Conv(3, (3,), padding="VALID", **F64))),
            ValueError,
            "sequencewise: expected outputs with the 4 steps of the inputs, got float64[2,3].",
        ),
        (
            lambda: of_sequence(recur.sequencewise(lambda xs: xs.sum())),
            ValueError,
            "with the 4 steps of the inputs, got float64[].",
        ),
        (
            lambda: of_sequence(recur.sequencewise(nn.Conv(3, (3,))), XS[None]),
            ValueError,
            "expected xs with 2 axes, [T, ..., I], for a convolution over 1, got the shape [1, 4, ",
        ),
        (
            lambda: of_sequence(recur.sequencewise(jnp.sin), reset=np.ones(4, bool)),
            ValueError,
            "sequencewise: expected one sequence, got resets, so that a row holds several",
        ),
    ],
    "newton": [
        (lambda wrong=wrong: recur.newton(GRU, max_steps=wrong), ValueError, "max_steps: expected")
        for wrong in (-1, 2.0, True, "2", None)
    ]
    + [
        (lambda: recur.newton(GRU, tolerance=-1), ValueError, "a tolerance of at least 0, got -1."),
        (lambda: recur.newton(GRU, damping=1), ValueError, "damping in [0, 1), got 1."),
        (
            lambda: recur.newton(GRU, jacobian="x"),
            ValueError,
            "'full' or 'diagonal' Jacobians, got",
        ),
        (lambda: recur.newton(GRU, jacobian=[1]), ValueError, "Jacobians, got [1]."),
    ],
    "online": [
        (lambda: recur.online(GRU, 3), TypeError, "online: loss: expected a function, got int."),
        (lambda: learner(method="x"), ValueError, "as the method, got 'x'."),
        (lambda: learner(method=["rtrl"]), ValueError, "as the method, got ['rtrl']."),
        (lambda: begin(()), TypeError, "gru: expected params as GRUParams, got tuple."),
        (lambda: begin("x"), TypeError, "params: expected an array of numbers or flags, got str."),
        (lambda: begin(x="x"), TypeError, "x: expected an array of numbers or flags, got str."),
        (lambda: begin(x=XS), ValueError, "gru: expected one step of one sequence, x of shape [I]"),
        (lambda: begin(key=0), TypeError, f"{NO_TYPED_KEY}0."),
        (lambda: begin(context=3), TypeError, "the context as a mapping of names to values"),
        (lambda: update(state=3), TypeError, "online: expected state as OnlineState, got int."),
        (lambda: update(x="x"), TypeError, "x: expected an array of numbers or flags, got str."),
        (lambda: update(target="x"), TypeError, "target: expected an array of numbers or flags"),
        (lambda: update(mask=1), TypeError, "mask: expected a bool flag, got int"),
        (lambda: update(reset="x"), TypeError, "reset: expected an array of numbers or flags"),
        (lambda: update(mask=np.ones(3, bool)), ValueError, "mask: expected one flag, for one s"),
        (lambda: update(loss=lambda y, t: y), ValueError, "loss(y, target) to be a scalar, got"),
        (lambda: update(loss=lambda y, t: None), TypeError, "numbers or flags, got NoneType."),
        (lambda: update(loss=lambda y, t: 1), TypeError, "real floating-point loss, got int"),
    ],
    "run_window": [
        (lambda wrong=wrong: window(wrong), ValueError, "run_window: k1: expected a whole number")
        for wrong in (-1, 2.0, True, "2", None)
    ]
    + [
        (lambda: window(0), ValueError, "k1 from 1 to the 4 steps of the window, got k1=0."),
        (lambda: window(xs=None), ValueError, "xs holds no array, so it has no steps."),
        (lambda: window(mask=np.ones(3, bool)), ValueError, "of shape [4], got [3]."),
        (lambda: window(mask=np.ones(9, bool)), ValueError, "of shape [4], got [9]."),
        (lambda: window(reset=1), TypeError, "reset: expected bool flags, got int"),
        (lambda: window(layer=BACK), ValueError, "run_window: the layer is not causal"),
    ],
    "tree": [
        (lambda: recur.tree(GRU).init(KEY, XS), TypeError, "tree: expected xs as Nodes(x, back)"),
    ],
    "truncate": [
        (lambda wrong=wrong: recur.truncate(LAYER, wrong, 2), ValueError, f"got {wrong!r}.")
        for wrong in WHOLE
    ]
    + [
        (lambda wrong=wrong: recur.truncate(LAYER, 1, wrong), ValueError, f"got {wrong!r}.")
        for wrong in WHOLE
    ]
    + [
        (lambda: recur.truncate(LAYER, 3, 2), ValueError, "expected k2 >= k1, got k1=3 and k2=2"),
        (lambda: recur.truncate(BACK, 1, 2), ValueError, "got one that does not read forward only"),
    ],
    "Layer.init": [
        (lambda: LAYER.init(0, XS), TypeError, f"{NO_TYPED_KEY}0. Make one with jax.random.key(0)"),
        (lambda: LAYER.init(None, XS), TypeError, f"{NO_TYPED_KEY}None."),
        (lambda: LAYER.init(jax.random.PRNGKey(0), XS), TypeError, f"{NO_TYPED_KEY}uint32[2]."),
        (lambda: LAYER.init(jax.random.split(KEY), XS), ValueError, "keys of shape (2,). Pass one"),
        (lambda: LAYER.init(KEY, XS[0]), ValueError, "x of shape [I], got []. An axis is missing"),
        (
            lambda: LAYER.init(KEY, 3.0),
            ValueError,
            "xs: expected arrays with one leading time axis",
        ),
        (lambda: LAYER.init(KEY, None), ValueError, "xs holds no array, so it has no steps."),
        (lambda: LAYER.init(KEY, [XS[0]] * 5), ValueError, "Stack a list of steps with jnp.stack"),
    ],
    "Layer.run": [
        (lambda: run(params=None), TypeError, "gru: expected params as GRUParams, got NoneType."),
        (lambda: run(params="x"), TypeError, "params: expected an array of numbers or flags"),
        (lambda: run(xs="x"), TypeError, "xs: expected an array of numbers or flags, got str."),
        (lambda: run(xs=np.array(["x"])), TypeError, "xs: expected an array of numbers or flags"),
        (lambda: run(xs=XS.tolist()), ValueError, "Convert a list of numbers with jnp.asarray."),
        (lambda: run(xs=[XS[0]] * 5), ValueError, "Stack a list of steps with jnp.stack"),
        (lambda: run(xs=XS.astype(complex)), TypeError, "gru: expected a real input, got complex"),
        (
            lambda: run(xs=XS[:, :2]),
            ValueError,
            "gru: expected inputs of width 3, as at init, got 2.",
        ),
        (
            lambda: run(carry="x"),
            TypeError,
            "carry: expected an array of numbers or flags, got str",
        ),
        (lambda: run(carry=np.ones(3)), ValueError, "carry: expected float64[4], as init_carry"),
        (lambda: run(length="3"), TypeError, "length: expected an array of numbers or flags"),
        (lambda: run(length=True), TypeError, "length: expected an integer, got bool."),
        (lambda: run(length=2.5), TypeError, "length: expected an integer, got float"),
        (lambda: run(length=9), ValueError, "length: expected from 0 to 4, the number of steps"),
        (lambda: run(mask=np.ones(4)), TypeError, "mask: expected bool flags, got float64."),
        (lambda: run(mask="x"), TypeError, "mask: expected an array of numbers or flags, got str."),
        (lambda: run(reset=np.ones(3, bool)), ValueError, "reset: expected one flag per step"),
        (lambda: run(key=0), TypeError, f"{NO_TYPED_KEY}0."),
        (lambda: run(context=3), TypeError, "expected the context as a mapping of names to values"),
        (lambda: run(all_carries="yes"), TypeError, "all_carries: expected True or False, got 'ye"),
    ],
    "Layer.init_carry": [
        (lambda: LAYER.init_carry(None, XS), TypeError, "gru: expected params as GRUParams"),
        (lambda: LAYER.init_carry((), XS[0]), ValueError, "gru: expected one step of one sequence"),
        (lambda: LAYER.init_carry((), XS, key=0), TypeError, f"{NO_TYPED_KEY}0."),
        (lambda: LAYER.init_carry((), XS, context=3), TypeError, "context as a mapping of names"),
        (lambda: LAYER.init_carry((), None), ValueError, "xs holds no array, so it has no steps."),
    ],
}
OWN = [
    Row(name, call, error, sentence)
    for name, calls in CALLS_OF.items()
    for call, error, sentence in calls
]
ROWS = [*OF_CELLS, *OF_LAYERS, *OPTIONS, *OWN]


@each_row(ROWS)
def test_wrong_input(row):
    row.check()


def test_every_public_function_has_five_rows():
    check_five_rows(lift, ROWS)


def test_whole_numbers_may_be_numpys():
    one, two = np.int64(1), np.int32(2)
    recur.truncate(LAYER, one, two)
    recur.checkpoint(LAYER, two)
    recur.checkpoint(LAYER, (one, two))
    recur.scan(GRU, unroll=two)
    recur.newton(GRU, max_steps=two, tolerance=np.float32(0.1), damping=np.float64(0.1))
    window(one)
    run(length=two)


def test_a_decoder_without_a_choice_of_the_output_says_how():
    """`chain(scan(attend(...)), nn.Dense(V))` is an error that names the remedy."""
    attending = recur.scan(recur.attend(GRU, "memory", param_dtype=jnp.float64))
    context = {"memory": XS}
    for dense in (nn.Dense(2), nn.Sequential([nn.Dense(2)])):
        with pytest.raises(
            TypeError, match=r"got Attended .* such as lambda y: y.output: in a cha"
        ):
            recur.chain(attending, dense).init(KEY, XS, context=context)
    dense = nn.Dense(2, param_dtype=jnp.float64)
    decoder = recur.chain(attending, lambda y: y.output, dense)
    params = decoder.init(KEY, XS, context=context)
    assert decoder(params, XS, context=context).shape == (4, 2)
