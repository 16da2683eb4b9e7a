import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import recur
from recur.lift.online import online
from recur_tests.contract.cases import (
    CELLS,
    KINDS,
    WIDTH,
    by_name,
    dense,
    example,
)
from recur_tests.contract.own_cells import leaky_integrator
from recur_tests.helpers import assert_close, random_like, weighted_sum
from recur_tests.oracles.rtrl import rtrl

F64 = {"param_dtype": jnp.float64}
MASK = np.array([True, True, False, True, False, True, True])
RESET = np.array([False, False, False, False, True, False, True])
METHODS = pytest.mark.parametrize("method", ["rtrl", "snap-1"])
SOME = ("jordan-softmax", "lstm", "conditioned")
ELMAN = recur.elman(3, initial_carry_init=jax.nn.initializers.normal(), **F64)


def loss(y, target):
    return 0.5 * jnp.square(weighted_sum(y) - target)


def squares(y, target):
    return 0.5 * jnp.square(y - target).sum()


def of_stream(learner, params, xs, targets, *, key=None, context=None, keys=None, **flags):
    """The last state and the outputs of a stream, with params held."""
    state = learner.init(params, xs[0], key=key, context=context)

    def update(state, step):
        x, target, key, flags = step
        return learner.update(params, state, x, target, key=key, **flags)

    return jax.lax.scan(update, state, (xs, targets, keys, flags))


def params_of(cell, x, seed=0):
    return random_like(jax.eval_shape(cell.init, jax.random.key(0), x), seed)


def summed(grads):
    return jax.tree.map(lambda leaf: leaf.sum(0), grads)


@pytest.mark.parametrize("case", **by_name([case for case in CELLS if case.name in KINDS]))
def test_rtrl_is_backpropagation_through_time(case):
    """With a learned initial carry, masked steps that hold NaN, and resets at any step."""
    layer = recur.scan(case.cell)
    given = example(case, layer, steps=len(MASK))
    if any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(given.carry)):
        pytest.skip("a complex carry is an error, which another test says")
    counted = MASK.reshape(-1, *[1] * len(case.shape))
    params, xs = given.params, jnp.where(counted, given.xs, jnp.nan)
    targets = jnp.where(MASK, np.cos(np.arange(len(MASK))), jnp.nan)
    learner = online(case.cell, loss)
    options = {"context": given.context, "mask": MASK, "reset": RESET}

    def backward(params):
        carry, ys = layer.run(params, xs, **options)
        kept = jax.tree.map(lambda leaf: leaf[MASK], ys)
        return jax.vmap(loss)(kept, targets[MASK]).sum(), (carry, ys)

    @jax.jit
    def forward(params):
        state, output = of_stream(learner, params, xs, targets, **options)
        return summed(output.grads), (state.carry, output.y)

    assert_close(forward(params), jax.jit(jax.grad(backward, has_aux=True))(params))


@METHODS
def test_is_the_rule_by_hand_while_params_change(method):
    learner = online(ELMAN, squares, method=method)
    draws = np.random.default_rng(0)
    xs, targets = draws.normal(size=(4, 2)), draws.normal(size=(4, 3))
    params = [params_of(ELMAN, xs[0], seed) for seed in range(4)]
    by_hand = rtrl([tuple(map(np.asarray, p)) for p in params], xs, targets, method == "snap-1")

    state, update = learner.init(params[0], xs[0]), jax.jit(learner.update)
    for t, (value, grads, h) in enumerate(by_hand):
        state, output = update(params[t], state, xs[t], targets[t])
        assert_close(tuple(output.grads), tuple(map(jnp.asarray, grads)))
        assert_close((output.loss, output.y, state.carry), (jnp.asarray(value), h, h))


def noisy_cell():
    """A mask for the whole sequence, drawn in bind, and a mask for each step."""

    def mask(key, x):
        if key is None:
            return jnp.ones(x.shape, x.dtype)
        return 2 * jax.random.bernoulli(key, 0.5, x.shape).astype(x.dtype)

    def bind(params, x, *, key=None):
        return params * mask(key, params)

    def step(bound, h, x, key=None):
        h = jnp.tanh(bound @ h + mask(key, x) * x)
        return h, h

    return recur.cell(
        init=lambda key, x: jax.random.normal(key, (x.size, x.size)),
        init_carry=lambda bound, x: bound[0],
        step=step,
        bind=bind,
    )


@METHODS
def test_noise_is_that_of_a_layer(method):
    """Drawn once in bind, and in each step. SnAp-1 runs with it, but is not exact."""
    xs = random_like(jax.ShapeDtypeStruct((4, 3), jnp.float64), 0)
    targets = jnp.zeros((4, 3))
    params = params_of(noisy_cell(), xs[0], 1)
    key = jax.random.key(3)
    layer, learner = recur.scan(noisy_cell()), online(noisy_cell(), squares, method=method)

    def value(params):
        ys = layer.run(params, xs, key=key)[1]
        return squares(ys, targets), ys

    bind_key, steps_key = jax.random.split(key)
    options = {"key": bind_key, "keys": jax.random.split(steps_key, 4)}
    run = jax.jit(lambda params: of_stream(learner, params, xs, targets, **options)[1])
    gradient, ys = jax.jit(jax.grad(value, has_aux=True))(params)
    output = run(params)
    assert_close(output.y, ys)
    assert np.allclose(summed(output.grads), gradient, 1e-9, 1e-9) == (method == "rtrl")


@pytest.mark.parametrize("case", **by_name([case for case in CELLS if case.name in SOME]))
def test_snap_1_is_exact_for_what_reaches_within_one_step(case):
    """Exact for the first gradient; for the second, except for paths from the initial carry."""
    given = example(case, recur.scan(case.cell))
    xs, targets = given.xs[:2], jnp.array([0.3, -0.4])

    def outputs(method):
        learner = online(case.cell, loss, method=method)
        run = jax.jit(lambda p: of_stream(learner, p, xs, targets, context=given.context)[1])
        return run(given.params)

    exact, sparse = outputs("rtrl"), outputs("snap-1")
    for (path, expected), found in zip(
        jax.tree_util.tree_leaves_with_path(exact.grads), jax.tree.leaves(sparse.grads), strict=True
    ):
        steps = 1 if "initial_carry" in jax.tree_util.keystr(path) else 2
        assert_close(found[:steps], expected[:steps])
    assert_close((sparse.loss, sparse.y), (exact.loss, exact.y))


def pairs():
    """Units of two entries, both affected by each weight of the unit in one step."""

    def step(params, carry, x):
        h, c = carry
        c = jnp.tanh(params["in"] * h + params["out"] * c) + x
        h = params["out"] * jnp.tanh(c) + 0.1 * h
        return (h, c), h

    return recur.cell(
        init=lambda key, x: {"in": x, "out": x},
        init_carry=lambda params, x: (jnp.zeros(x.shape), jnp.zeros(x.shape)),
        step=step,
    )


@pytest.mark.parametrize("cell", [leaky_integrator(), pairs()], ids=["one-entry", "two-entries"])
def test_snap_1_is_exact_where_no_weight_reaches_more_in_more_steps(cell):
    xs = random_like(jax.ShapeDtypeStruct((len(MASK), WIDTH), jnp.float64), 0)
    params = params_of(cell, xs[0], 1)

    def outputs(method):
        learner = online(cell, squares, method=method)
        flags = {"mask": MASK, "reset": RESET}
        return jax.jit(lambda p: of_stream(learner, p, xs, 1 + xs, **flags)[1])(params)

    assert_close(outputs("snap-1"), outputs("rtrl"))


def test_snap_1_finds_weights_that_reach_by_noise_alone():
    def step(scale, h, x, key=None):
        h = h + x if key is None else h + scale * jax.random.normal(key, h.shape, h.dtype)
        return h, h

    cell = recur.cell(lambda key, x: x, lambda scale, x: jnp.zeros(x.shape, x.dtype), step)
    learner = online(cell, squares, method="snap-1")
    assert jax.eval_shape(learner.init, jnp.ones(2), jnp.ones(2)).influence.shape == (1, 2)


def test_influence_has_an_entry_for_each_that_a_weight_reaches():
    lstm, gru = recur.lstm(3, **F64), recur.gru(3, **F64)
    cell = recur.readout(recur.stack(lstm, gru), dense(2))
    x = jnp.zeros(WIDTH)
    params = params_of(cell, x)

    def entries(method):
        learner = online(cell, squares, method=method)
        influence = jax.eval_shape(learner.init, params, x).influence
        assert jax.tree.map(lambda leaf: leaf.shape[1:], influence) == jax.tree.map(
            jnp.shape, params
        )
        return jax.tree.map(len, influence)

    assert set(jax.tree.leaves(entries("rtrl"))) == {9}
    counts = entries("snap-1")
    lower, upper = counts.cell
    assert lower.kernel == recur.cells.LSTMGates(input=5, forget=5, output=4, candidate=5)
    assert set(jax.tree.leaves(upper)) == {1}
    assert set(jax.tree.leaves(counts.output)) == {0}


def test_streams_side_by_side_are_streams_alone():
    learner = online(ELMAN, squares, method="snap-1")
    xs = random_like(jax.ShapeDtypeStruct((2, 4, 3), jnp.float64), 0)
    targets = random_like(xs, 1)
    mask = jnp.array([[True] * 4, [True, False, True, False]])
    params = params_of(ELMAN, xs[0, 0])

    def run(xs, targets, mask):
        return of_stream(learner, params, xs, targets, mask=mask)

    state, output = jax.jit(jax.vmap(run))(xs, targets, mask)
    alone, update = jax.jit(learner.init)(params, xs[1, 0]), jax.jit(learner.update)
    for t in range(4):
        alone, one = update(params, alone, xs[1, t], targets[1, t], mask=mask[1, t])
        assert_close(one, jax.tree.map(lambda leaf, t=t: leaf[1, t], output))
    assert_close(alone, jax.tree.map(lambda leaf: leaf[1], state))


def test_a_masked_step_changes_nothing():
    learner = online(ELMAN, squares, method="snap-1")
    x, target, bad = jnp.ones(2), jnp.ones(3), jnp.full(2, jnp.nan)
    params = params_of(ELMAN, x)

    @jax.jit
    def two_steps(params, bad):
        state, _ = learner.update(params, learner.init(params, x), x, target)
        held, output = learner.update(params, state, bad, target * jnp.nan, mask=False)
        return weighted_sum(output), (state, held, output)

    (_, bad_gradient), (state, held, output) = jax.jit(
        jax.grad(two_steps, argnums=(0, 1), has_aux=True)
    )(params, bad)
    assert_close(held, state, 0)
    assert not any(leaf.any() for leaf in jax.tree.leaves((output, bad_gradient)))


def test_a_reset_discards_a_state_that_is_not_a_number():
    learner = online(ELMAN, squares, method="snap-1")
    x, target = jnp.ones(2), jnp.ones(3)
    params = params_of(ELMAN, x)
    state = learner.init(params, jax.ShapeDtypeStruct((2,), jnp.float64))
    lost = jax.tree.map(lambda leaf: leaf * jnp.nan, state)
    update = jax.jit(learner.update)
    expected = update(params, state, x, target)
    assert_close(update(params, lost, x, target, reset=True), expected)
    held, _ = update(params, lost, x, target, mask=False, reset=True)
    assert_close(held, state)


@METHODS
def test_it_learns_while_it_reads(method):
    """The target is the input of the previous step."""
    cell = recur.readout(recur.elman(4, **F64), dense(1))
    learner = online(cell, squares, method=method)
    bits = np.random.default_rng(0).choice([-1.0, 1.0], (300, 1))
    xs, targets = jnp.asarray(bits), jnp.asarray(np.roll(bits, 1, 0))
    optimizer = optax.sgd(0.05)

    @jax.jit
    def learn(params):
        def update(held, step):
            params, state, memory = held
            state, output = learner.update(params, state, *step)
            updates, memory = optimizer.update(output.grads, memory)
            return (optax.apply_updates(params, updates), state, memory), output.loss

        held = (params, learner.init(params, xs[0]), optimizer.init(params))
        return jax.lax.scan(update, held, (xs, targets))[1]

    losses = learn(params_of(cell, xs[0]))
    assert losses[-50:].mean() < 0.2 * losses[:50].mean()


@METHODS
def test_the_influence_has_the_dtype_of_the_weights_and_the_carry_its_own(method):
    def step(params, carry, x):
        h, c = carry
        c = c + (params * h.astype(jnp.float32)).sum()
        return (jnp.tanh(h + x), c), c

    cell = recur.cell(
        init=lambda key, x: jnp.ones(x.shape, jnp.float32),
        init_carry=lambda params, x: (jnp.zeros(x.shape, x.dtype), jnp.zeros((), jnp.float32)),
        step=step,
    )
    learner = online(cell, squares, method=method)
    x, params = jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.float32)
    state = jax.eval_shape(learner.init, params, x)
    after, output = jax.eval_shape(learner.update, params, state, x, jnp.zeros((), jnp.float32))
    assert after == state
    assert [leaf.dtype for leaf in after.carry] == [jnp.bfloat16, jnp.float32]
    assert after.influence.dtype == output.grads.dtype == jnp.float32
    assert after.influence.shape == ((3, 2) if method == "rtrl" else (1, 2))


def odd_cell(param, carry, step=lambda p, h, x: (h, x)):
    return recur.cell(lambda key, x: {"p": param}, lambda p, x: {"h": carry}, step)


@pytest.mark.parametrize(
    ("param", "carry", "message"),
    [
        (np.arange(3), np.zeros(3), r"got int64 at params\['p'\]"),
        (np.zeros(3), np.arange(3), r"got int64 at carry\['h'\]"),
        (np.zeros(3), np.zeros(3, complex), r"got complex128 at carry\['h'\]"),
        (np.zeros(3), jax.random.key(0), r"got key<fry> at carry\['h'\]"),
    ],
)
@METHODS
def test_what_has_no_real_derivative_is_an_error(method, param, carry, message):
    learner = online(odd_cell(param, carry), squares, method=method)
    with pytest.raises(TypeError, match=message):
        learner.init({"p": param}, jnp.ones(3))


def test_errors():
    cell = recur.elman(3, **F64)
    with pytest.raises(ValueError, match="expected 'rtrl' or 'snap-1' as the method, got 'bptt'"):
        online(cell, squares, method="bptt")
    with pytest.raises(TypeError, match="online: expected a cell, got a layer"):
        online(recur.scan(cell), squares)
    x = jnp.ones(2)
    params = cell.init(jax.random.key(0), x)

    def update(loss=squares, target=jnp.ones(3), **options):
        learner = online(cell, loss)
        return learner.update(params, learner.init(params, x), x, target, **options)

    with pytest.raises(ValueError, match=r"to be a scalar, got the shape \[3\]"):
        update(lambda y, target: y - target)
    with pytest.raises(TypeError, match="expected a real floating-point loss, got int64"):
        update(lambda y, target: jnp.argmax(y))
    with pytest.raises(TypeError, match="mask: expected a bool flag, got float64"):
        update(mask=jnp.ones(()))
    with pytest.raises(ValueError, match=r"reset: expected one flag, .* got the shape \[4\]"):
        update(reset=jnp.zeros(4, bool))
    with pytest.raises(TypeError, match="expected a typed key"):
        update(key=0)


def test_a_step_that_changes_the_carry_is_an_error():
    cell = odd_cell(jnp.zeros(3), jnp.zeros(3), lambda p, h, x: ({"h": h["h"][:2]}, x))
    learner = online(cell, squares)
    state = learner.init({"p": jnp.zeros(3)}, jnp.ones(3))
    with pytest.raises(ValueError, match=r"step: expected the next .* \{'h': float64\[3\]\}, got"):
        learner.update({"p": jnp.zeros(3)}, state, jnp.ones(3), jnp.ones(3))


def test_snap_1_cannot_try_all_integers():
    embed = recur.cell(
        init=lambda key, x: jnp.ones((5, 3)),
        init_carry=lambda table, x: jnp.zeros(3),
        step=lambda table, h, x: (h + table[x], h),
    )
    token, table = jnp.asarray(2), jnp.ones((5, 3))
    with pytest.raises(TypeError, match="no integers in x or the context, .* got int64"):
        online(embed, squares, method="snap-1").init(table, token)
    learner = online(embed, squares)
    state, _ = learner.update(table, learner.init(table, token), token, jnp.ones(3))
    assert_close(state.influence[:, 2], jnp.eye(3))
