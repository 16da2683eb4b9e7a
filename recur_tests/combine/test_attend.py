from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.combine import Feedback
from recur.combine.attend import Attended, AttendParams, attend
from recur.combine.context_values import Memory
from recur_tests.combine.loops import products_in_loop
from recur_tests.helpers import assert_close, random_like, to_numpy, weighted_sum

F64 = {"param_dtype": jnp.float64}
ELMAN, GRU, LSTM = (make(4, **F64) for make in (recur.elman, recur.gru, recur.lstm))
XS = np.sin(np.arange(15.0)).reshape(5, 3)
ROWS = np.cos(np.arange(12.0)).reshape(6, 2)
MASK = np.array([True, False, True, True, False, False])

OPTIONS = {
    "additive": {"features": 3},
    "multiplicative": {"score": "multiplicative"},
    "dot": {"score": "dot", "features": 3},
    "state": {"query": "state"},
    "state-dot": {"query": "state", "score": "dot"},
    "fed": {"feed_input": True, "score": "multiplicative"},
}
in_some_ways = pytest.mark.parametrize("name", ["additive", "state-dot", "fed"])
in_every_way = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


def attending(options, cell=GRU, lift=recur.scan):
    """Random params of a layer that attends, and its run as a function of params, xs and memory."""
    layer = lift(attend(cell, "memory", **options, **F64))
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), XS, context={"memory": ROWS}))

    @jax.jit
    def run(params, memory, xs=XS, **given):
        return layer.run(params, xs, context={"memory": memory}, **given)

    return random_like(shapes, 1), run


def look(params, q, rows, score):
    """By hand: the weights of the rows, and their sum."""
    kernels, e = to_numpy(params), np.zeros(len(rows))
    for j, row in enumerate(rows):
        key = row @ kernels.memory_kernel
        if score == "additive":
            e[j] = kernels.vector @ np.tanh(q @ kernels.query_kernel + key)
        elif score == "multiplicative":
            e[j] = q @ key
        else:
            e[j] = (q @ kernels.query_kernel) @ key / np.sqrt(key.size)
    weights = np.exp(e) / np.exp(e).sum()
    return weights, sum(w * row for w, row in zip(weights, rows, strict=True))


def by_hand(params, options):
    """Bahdanau and Luong, in a loop, around an Elman network."""
    w, u, b, _ = to_numpy(params.cell)
    score, outputs = options.get("score", "additive"), []
    h, output = np.zeros(4), np.zeros(4)

    def step(h, x):
        return np.tanh(x @ w + h @ u + b)

    for x in XS:
        if options.get("query") == "state":
            weights, c = look(params, h, ROWS, score)
            h = output = step(h, np.concatenate([x, c]))
        else:
            h = step(h, np.concatenate([x, output]) if options.get("feed_input") else x)
            weights, c = look(params, h, ROWS, score)
            output = np.tanh(np.concatenate([c, h]) @ np.asarray(params.output_kernel))
        outputs.append(Attended(output, weights, c))
    return h, Attended(*(np.stack(parts) for parts in zip(*outputs, strict=True)))


@in_every_way
def test_it_looks_as_the_equations_say(options):
    params, run = attending(options, ELMAN)
    carry, attended = run(params, ROWS)
    h, expected = by_hand(params, options)
    assert_close(to_numpy(attended), expected, 1e-12)
    if "feed_input" in options:
        assert isinstance(carry, Feedback)
        assert_close(carry.output, attended.output[-1])
        carry = carry.cell
    assert_close(to_numpy(carry), h, 1e-12)


@in_some_ways
def test_masked_rows_never_matter(name):
    """NaN in masked rows, in values and gradients: they are as if they were not."""
    params, run = attending(OPTIONS[name], ELMAN)
    flags = jnp.asarray(MASK)

    @jax.jit
    def results(params, xs, rows):
        def loss(params, xs, rows):
            ends = run(params, Memory(rows, flags), xs)
            return weighted_sum(ends), ends

        return jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(params, xs, rows)

    clean, dirty = (
        results(params, XS, np.where(MASK[:, None], ROWS, padding)) for padding in (7.0, np.nan)
    )
    assert_close(dirty, clean, 0)
    to_rows, (carry, masked) = clean[0][2], clean[1]
    assert not to_rows[~MASK].any()
    assert to_rows[MASK].all()
    kept, attended = run(params, ROWS[MASK])
    assert_close(masked.weights[:, MASK], attended.weights)
    assert not masked.weights[:, ~MASK].any()
    assert_close(masked.weights.sum(axis=1), jnp.ones(5))
    assert_close((carry, masked.output, masked.context), (kept, *attended[::2]))


@in_some_ways
def test_where_all_rows_are_masked_nothing_is_found(name):
    params, run = attending(OPTIONS[name], ELMAN)

    @jax.jit
    @partial(jax.grad, argnums=(0, 1), has_aux=True)
    def results(params, rows):
        carry, attended = run(params, Memory(rows, jnp.zeros(6, bool)))
        return weighted_sum((carry, attended)), attended

    (gradient, to_rows), attended = results(params, jnp.full((6, 2), jnp.nan))
    for nothing in (attended.weights, attended.context, to_rows, gradient.memory_kernel):
        assert not nothing.any()
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((attended, gradient)))
    assert gradient.cell.kernel.any()


@in_some_ways
def test_the_order_of_rows_does_not_matter_and_one_row_gets_all_the_weight(name):
    params, run = attending(OPTIONS[name], ELMAN)
    order = np.array([3, 0, 5, 1, 4, 2])
    carry, attended = run(params, ROWS)
    permuted = attended._replace(weights=attended.weights[:, order])
    assert_close(run(params, ROWS[order]), (carry, permuted), 1e-12)
    assert np.ptp(attended.weights[1:], axis=1).all()
    _, alone = run(params, ROWS[:1])
    assert_close(alone.weights, jnp.ones((5, 1)))
    assert_close(alone.context, jnp.broadcast_to(ROWS[0], (5, 2)))


def test_widths_are_those_of_the_query_unless_told():
    def shapes(options, cell=LSTM):
        params, _ = attending(options, cell)
        return jax.tree.map(lambda leaf: leaf.shape, params._replace(cell=None))

    readout = recur.readout(LSTM, lambda h: h[:3])
    assert shapes({}, readout) == AttendParams(None, (3, 3), (2, 3), (3,), (5, 3))
    assert shapes({"score": "multiplicative"}) == AttendParams(None, None, (2, 4), None, (6, 4))
    told = {"score": "dot", "features": 7, "query": "state"}
    assert shapes(told, readout) == AttendParams(None, (4, 7), (2, 7), None, None)


def test_a_linear_cell_stays_linear():
    params, run = attending({}, recur.diagonal(4, **F64))
    _, run_at_once = attending({}, recur.diagonal(4, **F64), recur.associative)
    assert_close(run_at_once(params, ROWS), run(params, ROWS))


def test_the_hidden_state_is_found_by_its_name():
    """The state of an LSTM is a query of the width of h, and c is none."""
    params, run = attending({"query": "state", "score": "multiplicative"}, LSTM)
    start = recur.cells.LSTMState(jnp.zeros(4), jnp.ones(4))
    _, attended = run(params, ROWS, carry=start)
    assert_close(attended.weights[0], jnp.full(6, 1 / 6))


@in_some_ways
def test_scan_equals_loop_in_values_and_gradients(name):
    params, _ = attending(OPTIONS[name])
    marks = {"reset": jnp.array([False, True, False]), "length": 2}

    def results(lift, *arguments):
        _, run = attending(OPTIONS[name], lift=lambda cell: lift(cell, reverse=name == "fed"))

        def loss(params, rows):
            ends = run(params, Memory(rows, jnp.asarray(MASK)), XS[:3], **marks)
            return weighted_sum(ends), ends

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(*arguments)

    both = jax.jit(lambda *a: [results(lift, *a) for lift in (recur.scan, recur.loop)])
    scanned, looped = both(params, ROWS)
    assert_close(scanned, looped)
    assert scanned[0][1][MASK].all()
    assert not scanned[1][1].weights[2:].any()


@in_some_ways
def test_each_row_of_a_batch_has_a_memory_of_its_own(name):
    layer = recur.batch(recur.scan(attend(ELMAN, "memory", **OPTIONS[name], **F64)))
    params, run = attending(OPTIONS[name], ELMAN)
    xs, lengths, counts = np.stack([XS, -XS]), np.array([5, 2]), np.array([6, 3])
    mask = np.arange(6) < counts[:, None]
    values = np.where(mask[:, :, None], np.stack([ROWS, 2 * ROWS]), np.nan)
    context = {"memory": Memory(jnp.asarray(values), jnp.asarray(mask))}
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), xs, context=context))
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, params)

    carry, attended = jax.jit(layer.run)(params, xs, context=context, length=lengths)
    for b, count in enumerate(counts):
        last, alone = run(params, values[b, :count], xs[b], length=lengths[b])
        weights = np.pad(alone.weights, [(0, 0), (0, 6 - count)])
        expected = last, alone._replace(weights=jnp.asarray(weights))
        assert_close(jax.tree.map(lambda leaf, b=b: leaf[b], (carry, attended)), expected)


def test_the_memory_is_projected_once_a_sequence():
    """By the output, all but h U is one product for all of the 5 steps."""

    def found_in(**options):
        cell = attend(ELMAN, "memory", **options, **F64)
        return products_in_loop(cell, context={"memory": jnp.asarray(ROWS)})

    assert found_in(features=3) == [(4,)]  # h U
    assert found_in(score="dot") == [(4,)]
    # c, e, [x, c] W, and h [W_q, U] as one
    assert found_in(features=3, query="state") == [(2,), (4,), (6,), (7,)]
    # c, h U, [x, output] W, [c, v] W_c, e
    assert found_in(score="multiplicative", feed_input=True) == [(2,), (4,), (4,), (4,), (6,)]


def test_attention_may_be_computed_in_half_precision():
    cell = attend(recur.elman(4, dtype=jnp.bfloat16), "memory", feed_input=True, dtype=jnp.bfloat16)
    layer, xs = recur.scan(cell), XS.astype(np.float32)
    context = {"memory": ROWS.astype(np.float32)}
    params = jax.eval_shape(lambda: layer.init(jax.random.key(0), xs, context=context))
    with jax.numpy_dtype_promotion("standard"):  # xs are float32, and stand beside what is not
        attended = jax.eval_shape(lambda params: layer(params, xs, context=context), params)
    assert params.output_kernel.dtype == jnp.float32
    assert {leaf.dtype for leaf in attended} == {jnp.dtype(jnp.bfloat16)}


def test_wrong_options_are_an_error():
    with pytest.raises(TypeError, match="attend: expected a cell, got a layer"):
        attend(recur.scan(GRU), "memory")
    with pytest.raises(ValueError, match="expected score as one of additive, .* got 'cosine'"):
        attend(GRU, "memory", score="cosine")
    with pytest.raises(ValueError, match="""query must be "output" or "state", got 'input'"""):
        attend(GRU, "memory", query="input")
    with pytest.raises(ValueError, match='feed_input=True needs query="output"'):
        attend(GRU, "memory", query="state", feed_input=True)
    with pytest.raises(ValueError, match="attend: features: expected a whole number of at least 1"):
        attend(GRU, "memory", features=0)
    with pytest.raises(ValueError, match="'multiplicative', which uses the width of the query"):
        attend(GRU, "memory", score="multiplicative", features=3)


@pytest.mark.parametrize("query", ["output", "state"])
def test_a_wrong_memory_is_an_error(query):
    layer = recur.scan(attend(GRU, "memory", query=query, **F64))
    params, _ = attending({"query": query})

    def call(memory):
        return jax.eval_shape(lambda: layer(params, XS, context={"memory": memory}))

    with pytest.raises(ValueError, match="attend needs the context 'memory', and got nothing"):
        layer.init(jax.random.key(0), XS)
    with pytest.raises(ValueError, match=r"\[S, D\] of one sequence, got float64\[8,6,2\].*batch"):
        call(np.zeros((8, 6, 2)))
    with pytest.raises(ValueError, match=r"\[S, D\] of one sequence, got float64\[8,6,2\]"):
        layer.init(jax.random.key(0), XS, context={"memory": Memory(np.zeros((8, 6, 2)))})
    with pytest.raises(
        ValueError, match="the memory 'memory': expected the width 2, as at init, got 3"
    ):
        call(np.zeros((6, 3)))
    with pytest.raises(TypeError, match=r"real numbers \[S, D\], got int64\[6,2\]"):
        call(np.zeros((6, 2), int))
    with pytest.raises(ValueError, match=r"one flag for each row, \[6\], got bool\[5\]"):
        call(Memory(ROWS, MASK[:5]))
    with pytest.raises(TypeError, match="the memory 'memory': expected a bool mask, got int64"):
        call(Memory(ROWS, MASK.astype(int)))
    with pytest.raises(ValueError, match=r"or recur.combine.Memory\(values, mask\), got \(float64"):
        call((ROWS, MASK))
    rows = recur.batch(layer)
    with pytest.raises(ValueError, match="one entry for each of 4 rows"):
        rows(params, np.zeros((4, 5, 3)), context={"memory": np.zeros((3, 6, 2))})
    with pytest.raises(ValueError, match=r"\[S, D\] of one sequence, got float64\[2\]"):
        rows(params, np.zeros((6, 5, 3)), context={"memory": ROWS})


def test_a_query_that_is_not_one_vector_is_an_error():
    def init(cell, **options):
        layer = recur.scan(attend(cell, "memory", **options, **F64))
        layer.init(jax.random.key(0), XS, context={"memory": ROWS})

    with pytest.raises(ValueError, match=r"the output to be one vector, got \(float64\[4\]"):
        init(recur.readout(GRU, lambda v: (v, v)))
    with pytest.raises(
        TypeError, match="attend: expected a carry that is one array, the hidden state"
    ):
        init(recur.stack(GRU, GRU), query="state")
    with pytest.raises(TypeError, match="attend: expected the state to be real numbers, got compl"):
        init(recur.lru(4, **F64), query="state")
    widening = recur.cell(
        lambda key, x: jnp.zeros(()), lambda params, x: jnp.zeros(()), lambda p, h, x: (h, x)
    )
    with pytest.raises(
        ValueError, match=r"float64\[3\] for x alone, and float64\[6\] for x joined"
    ):
        init(widening, feed_input=True)
