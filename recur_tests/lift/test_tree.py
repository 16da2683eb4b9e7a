"""Trees: against recursion in NumPy, and trees with one child per node against the loop."""

from functools import partial

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import recur
from recur.layer import Layer
from recur.lift.tree import tree
from recur.masks import step_count
from recur.sequences.trees import Nodes
from recur.types import Cell
from recur_tests.helpers import assert_close, random_like, to_numpy, weighted_sum
from recur_tests.oracles import tree as oracles

COUNT = 6


def recursive_net():
    """tanh([h_left, h_right] W + x V + b), with a learned vector for an absent child."""

    def init(key, x):
        shapes = {"W": (4, 2), "V": (x.shape[0], 2), "b": (2,), "a": (2,)}
        return {name: jax.random.normal(key, shape) for name, shape in shapes.items()}

    def step(params, children, x):
        both = children.carry.reshape(-1)
        h = jnp.tanh(both @ params["W"] + x @ params["V"] + params["b"])
        return h, h

    return recur.cell(init, lambda params, x: params["a"], step)


def child_sum_lstm():
    """A Tree-LSTM for any number of children, which ignores absent ones."""

    def init(key, x):
        shapes = {"W": (x.shape[0], 2), "U": (2, 2), "b": (2,)}
        return {n: {g: jax.random.normal(key, s) for g in "ifou"} for n, s in shapes.items()}

    def step(params, children, x):
        W, U, b = params["W"], params["U"], params["b"]
        here = children.mask[:, None]
        hs, cs = (jnp.where(here, leaf, 0.0) for leaf in children.carry)
        pre = {g: x @ W[g] + hs.sum(0) @ U[g] + b[g] for g in "iou"}
        forget = jax.nn.sigmoid((x @ W["f"] + b["f"])[None] + hs @ U["f"])
        c = jax.nn.sigmoid(pre["i"]) * jnp.tanh(pre["u"]) + (forget * cs).sum(0)
        h = jax.nn.sigmoid(pre["o"]) * jnp.tanh(c)
        return (h, c), h

    return recur.cell(init, lambda params, x: (jnp.full(2, 9.0),) * 2, step)


MODELS = {
    "net": (recursive_net(), oracles.recursive_net, lambda params: params["a"]),
    "lstm": (child_sum_lstm(), oracles.child_sum_lstm, lambda params: (np.full(2, 9.0),) * 2),
}
LAYERS = {name: tree(cell) for name, (cell, *_) in MODELS.items()}
every_model = pytest.mark.parametrize("name", MODELS)


def draw(back, seed=0):
    return Nodes(random_like(jax.ShapeDtypeStruct((len(back), 3), jnp.float64), seed), back)


def draw_params(layer, xs):
    return random_like(jax.eval_shape(layer.init, jax.random.key(0), xs), 7)


def exact_gradients(function, arguments):
    """Of the weighted sum of what a function of NumPy arrays returns, for all its arguments."""
    leaves, structure = jax.tree.flatten(to_numpy(arguments))

    def loss(array, place):
        replaced = [*leaves[:place], array, *leaves[place + 1 :]]
        ends = jax.tree.leaves(function(*structure.unflatten(replaced)))
        flat = np.concatenate([leaf.ravel() for leaf in ends])
        return flat @ np.cos(np.arange(flat.size))

    exact = [oracles.complex_step(partial(loss, place=p), leaf) for p, leaf in enumerate(leaves)]
    return structure.unflatten(exact)


@every_model
def test_equals_plain_recursion(name):
    """Trees, rows of trees, nodes with two parents, holes; from any carry."""
    layer, (_, oracle, start) = LAYERS[name], MODELS[name]
    nodes = draw(np.zeros((COUNT, 2), int))
    params = draw_params(layer, nodes)
    came_in = random_like(layer.init_carry(params, nodes), 1)

    @jax.jit
    @partial(jax.grad, argnums=(0, 1, 2), has_aux=True)
    def found(params, carry, x, back, marks):
        ends = layer.run(params, Nodes(x, back), carry=carry, **marks, all_carries=True)
        last, ys = layer.run(params, Nodes(x, back), carry=carry, **marks)
        return weighted_sum((*ends, last)), (*ends, last, ys)

    def compare(back, valid, reset):
        def expected(params, carry, x):
            fresh, children = start(params), oracles.children_of(back, valid, reset)
            absent = [fresh if reset[: n + 1].any() else carry for n in range(COUNT)]
            states = oracle(params, x, children, absent)
            hold = partial(oracles.carries_of, valid=valid, reset=reset)
            carries = jax.tree.map(hold, states, carry, fresh)
            ys = np.where(valid[:, None], jax.tree.leaves(states)[0], 0)
            return carries, ys, jax.tree.map(lambda leaf: leaf[-1], carries)

        arguments = params, came_in, nodes.x
        gradient, (*ends, ys) = found(*arguments, back, {"mask": valid, "reset": reset})
        assert_close(to_numpy(tuple(ends)), expected(*to_numpy(arguments)))
        assert_close(ys, ends[1])
        assert_close(to_numpy(gradient), exact_gradients(expected, arguments))

    whole = np.array([[0, 0], [0, 0], [2, 1], [0, 0], [0, 1], [3, 1]])
    compare(whole, whole[:, 0] >= 0, whole[:, 0] < 0)
    flags, back = arrays(bool, COUNT), arrays(int, (COUNT, 2), elements=st.integers(0, 4))
    hypothesis.settings(max_examples=20)(hypothesis.given(back, flags, flags)(compare))()


@every_model
def test_the_padding_never_matters(name):
    """Padding may lie between nodes and have any children; a masked child is absent."""
    layer, valid = LAYERS[name], np.array([True, False, True, True, False])
    clean = draw(np.array([[0, 0], [0, 0], [2, 0], [0, 1], [0, 0]]))
    back = np.array([[0, 0], [99, -9], [2, 1], [2, 1], [4, 3]])
    dirty = Nodes(jnp.where(valid[:, None], clean.x, jnp.nan), back)
    params = draw_params(layer, clean)

    @jax.jit
    @partial(jax.grad, argnums=(0, 1), has_aux=True)
    def found(params, x, back):
        ends = layer.run(params, Nodes(x, back), mask=valid, all_carries=True)
        return weighted_sum(ends), ends

    results = (_, of_x), _ = found(params, *dirty)
    assert_close(results, found(params, *clean), 0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(results))
    assert not of_x[~valid].any() and of_x[valid].any()
    layer(params, dirty, mask=valid)  # where values are known, those of padding are not checked


def on_a_line(cell: Cell) -> Layer:
    """Runs any cell over a tree with one child per node: the last valid node before it."""

    def step(bound, children, x, key=None):
        return cell.step(bound, jax.tree.map(lambda leaf: leaf[0], children.carry), x, key)

    layer = tree(Cell(cell.init, cell.bind, cell.init_carry, step))

    def nodes(xs, valid=None):
        count = step_count(xs)
        own = jnp.arange(count)
        last = jax.lax.cummax(own if valid is None else jnp.where(valid, own, -1))
        before = jnp.concatenate([jnp.full(1, -1), last])[:count]
        return Nodes(xs, jnp.where(before < 0, 0, own - before)[:, None])

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        xs = nodes(xs, mask.valid)
        return layer.apply(bound, carry, xs, mask, key, all_carries=all_carries)

    return Layer(
        init=lambda key, xs, context=None: layer.init(key, nodes(xs), context=context),
        bind=lambda params, xs, **options: layer.bind(params, nodes(xs), **options),
        begin=lambda bound, xs: layer.begin(bound, nodes(xs)),
        apply=apply,
    )  # it reads forward: of the pieces before it a line needs the last carry alone


@pytest.mark.parametrize("name", ["elman", "lstm", "gru"])
def test_a_line_equals_the_loop(name):
    cell = getattr(recur, name)(3, param_dtype=jnp.float64)
    line, loop, xs = on_a_line(cell), recur.loop(cell), draw(np.zeros((5, 1))).x
    params = draw_params(loop, xs)
    carry = random_like(loop.init_carry(params, xs), 1)
    options = {"carry": carry, "mask": np.arange(5) != 1, "reset": np.arange(5) == 3}
    found, expected = (each.run(params, xs, **options, all_carries=True) for each in (line, loop))
    assert_close(found, expected)


def test_each_node_draws_other_noise():
    def step(params, children, x, key=None):
        noise = jnp.zeros(()) if key is None else jax.random.normal(key)
        return noise, noise

    layer = tree(recur.cell(lambda key, x: (), lambda params, x: jnp.zeros(()), step))
    run, nodes = jax.jit(recur.batch(layer)), Nodes(jnp.zeros((2, 3, 0)), np.zeros((2, 3, 1), int))
    assert len(np.unique(run((), nodes, key=jax.random.key(0)))) == 6
    assert not run((), nodes).any()


def test_a_gradient_keeps_what_a_node_reads_and_not_all_carries():
    layer, nodes = LAYERS["net"], draw(np.zeros((50, 2), int))
    params = draw_params(layer, nodes)
    _, kept = jax.eval_shape(lambda p: jax.vjp(lambda p: layer(p, nodes), p), params)
    assert max(leaf.size for leaf in jax.tree.leaves(kept)) <= 50 * 2 * 3


def test_trees_without_nodes_and_nodes_without_room_for_children():
    layer, nodes = LAYERS["lstm"], draw(np.zeros((2, 0), int))
    params, run, carry = draw_params(layer, nodes), jax.jit(layer.run), (jnp.ones(2), jnp.zeros(2))
    nothing = run(params, Nodes(nodes.x[:0], nodes.back[:0]), carry=carry)
    assert_close(nothing, (carry, jnp.zeros((0, 2))))
    leaves = nodes._replace(back=np.zeros((2, 1), np.uint8))
    assert_close(run(params, nodes), run(params, leaves))


def test_numpys_64_bits_are_jaxs_32_without_a_warning():
    nodes = draw(np.array([[0, 0], [0, 1]]))
    arguments = to_numpy((draw_params(LAYERS["net"], nodes), nodes))
    with jax.enable_x64(False):
        assert LAYERS["net"](*arguments, mask=np.ones(2, bool)).dtype == jnp.float32


@pytest.mark.parametrize(
    ("back", "error", "message"),
    [
        ([[0], [2]], ValueError, "back of node 1: expected from 0, .* to 1, .* got 2"),
        ([[0], [-1]], ValueError, "back of node 1: .* got -1. Pass whole trees"),
        ([0, 1], ValueError, r"back: expected integers \[N, C\], .* got int64\[\] per node"),
        ([[[0]]] * 2, ValueError, r"got int64\[1,1\] per node. For a batch .* recur.batch"),
        ([[0.0], [1.0]], ValueError, r"back: expected integers .* got float64\[1\] per node"),
        ([[0]], ValueError, "xs: expected arrays with one leading time axis"),
        (None, TypeError, r"expected xs as Nodes\(x, back\), .* got ShapeDtypeStruct"),
    ],
)
def test_what_is_no_tree_is_an_error(back, error, message):
    layer, nodes = LAYERS["lstm"], draw(np.zeros((2, 1), int))
    xs = nodes.x if back is None else nodes._replace(back=np.array(back))
    with pytest.raises(error, match=message):
        layer(draw_params(layer, nodes), xs)


def test_what_is_not_a_cell_over_trees_is_an_error():
    with pytest.raises(TypeError, match="tree: expected a cell, got a layer"):
        tree(recur.scan(recur.lstm(2)))
    nodes = draw(np.zeros((1, 1), int))
    layer = tree(recur.gru(2, param_dtype=jnp.float64))
    message = r"takes Children.* got gru\(2, .*\), whose step reads 'astype' .* recur.cell"
    with pytest.raises(TypeError, match=message):
        layer(layer.init(jax.random.key(0), nodes), nodes)
    with pytest.raises(ValueError, match="the layer is bidirectional"):
        recur.checkpoint(LAYERS["net"])
    other = recur.cell(lambda key, x: (), lambda params, x: jnp.zeros(2), lambda p, c, x: (x, x))
    with pytest.raises(
        ValueError, match=r"step: expected the next .* float64\[2\], got float64\[3\]"
    ):
        tree(other)((), draw(np.zeros((1, 1), int)))
