"""Tree-LSTMs against plain recursion in NumPy, in the notation of the paper."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.cells.lstm import LSTMGates, LSTMState
from recur.cells.tree_lstm import NaryLSTMParams, child_sum_lstm, nary_lstm
from recur.sequences import Nodes
from recur_tests.helpers import assert_close, random_like, to_numpy, weighted_sum
from recur_tests.lift.test_tree import exact_gradients
from recur_tests.oracles import tree as oracles

F64 = {"param_dtype": jnp.float64}
BACK = np.array([[0, 0, 0], [0, 0, 0], [2, 0, 1], [0, 0, 0], [0, 2, 0], [0, 0, 0], [1, 2, 3]])
NODES = Nodes(np.sin(np.arange(21.0)).reshape(7, 3), BACK)
ALL, NONE = np.ones(7, bool), np.zeros(7, bool)
LETTERS = {"input": "i", "forget": "f", "candidate": "u", "output": "o"}


def lettered(gates):
    return {LETTERS[name]: array for name, array in gates._asdict().items()}


def child_sum(params, xs, children):
    named = {"W": params.kernel, "U": params.recurrent_kernel, "b": params.bias}
    return oracles.child_sum_lstm({n: lettered(gates) for n, gates in named.items()}, xs, children)


def nary(params, xs, children, arity=3, width=2):
    blocks = params.forget_kernel.reshape(arity, width, arity, width)
    kernels = {
        gate: array.reshape(arity, width, width)
        for gate, array in lettered(params.recurrent_kernel).items()
    }
    kernels["f"] = [[blocks[j, :, k] for j in range(arity)] for k in range(arity)]
    given = {"W": lettered(params.kernel), "U": kernels, "b": lettered(params.bias)}
    return oracles.nary_lstm(given, xs, children)


MODELS = {
    "child-sum": (partial(child_sum_lstm, 2), child_sum),
    "nary": (partial(nary_lstm, 2, 3), nary),
}
each = pytest.mark.parametrize(("make", "oracle"), MODELS.values(), ids=MODELS)


def draw(layer, xs=NODES, seed=1):
    return random_like(jax.eval_shape(layer.init, jax.random.key(0), xs), seed)


@each
def test_equals_the_equations(make, oracle):
    """Values and gradients; the trees have children at any place, and their order may change."""
    layer = recur.tree(make(**F64))
    params = draw(layer)

    def expected(params, x):
        return oracle(params, x, oracles.children_of(BACK, ALL, NONE))

    @jax.jit
    @partial(jax.grad, argnums=(0, 1), has_aux=True)
    def found(params, x):
        carries, ys = layer.run(params, Nodes(x, BACK), all_carries=True)
        return weighted_sum(tuple(carries)), (carries, ys)

    gradient, (carries, ys) = found(params, NODES.x)
    h, c = expected(*to_numpy((params, NODES.x)))
    assert_close(to_numpy((carries, ys)), (LSTMState(h, c), h), 1e-12)
    assert_close(to_numpy(gradient), exact_gradients(expected, (params, NODES.x)), 1e-9)


@each
def test_a_batch_of_trees_with_padding_between_nodes(make, oracle):
    """NaN in the padding, and a masked child, which is absent."""
    layer = recur.tree(make(**F64))
    params = draw(layer)
    mask = np.stack([ALL, np.arange(7) < 5, np.arange(7) != 1])
    x = np.where(mask[..., None], np.stack([NODES.x] * 3), np.nan)
    batch = Nodes(x, np.stack([BACK] * 3))

    @jax.jit
    @partial(jax.grad, has_aux=True)
    def run(params):
        ends = recur.batch(layer).run(params, batch, mask=mask)
        return weighted_sum(ends), ends

    gradient, (roots, ys) = run(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((gradient, roots)))
    for row, valid in enumerate(mask):
        h, c = oracle(*to_numpy((params, NODES.x)), oracles.children_of(BACK, valid, NONE))
        assert_close(to_numpy(ys[row]), np.where(valid[:, None], h, 0), 1e-12)
        root = np.flatnonzero(valid)[-1]
        assert_close(roots.cell[row], c[root], 1e-12)


@pytest.mark.parametrize("options", [{}, {"activation": "relu", "use_bias": False}])
def test_with_one_child_per_node_they_are_an_lstm(options):
    lstm = recur.scan(recur.lstm(4, **options, **F64))
    xs = NODES.x
    params = draw(lstm, xs)
    expected = lstm.run(params, xs)
    same = recur.cells.GatedParams(*params[:3], None)
    assert_close(run_line(child_sum_lstm(4, **options, **F64), same, xs), expected, 1e-12)
    kernel = params.recurrent_kernel
    same = NaryLSTMParams(
        params.kernel,
        recur.cells.NaryGates(kernel.input, kernel.candidate, kernel.output),
        kernel.forget,
        params.bias,
    )
    assert_close(run_line(nary_lstm(4, 1, **options, **F64), same, xs), expected, 1e-12)


def run_line(cell, params, xs):
    back = np.minimum(np.arange(len(xs)), 1)[:, None]
    return recur.tree(cell).run(params, Nodes(xs, back))


def test_the_order_of_children_matters_to_the_nary_one_only():
    for make, matters in ((MODELS["child-sum"][0], False), (MODELS["nary"][0], True)):
        layer = recur.tree(make(**F64))
        params = draw(layer)
        ends = [layer(params, Nodes(NODES.x, BACK[:, order])) for order in ([0, 1, 2], [2, 0, 1])]
        assert np.allclose(*ends) is not matters


def test_a_given_carry_is_no_child():
    """It would be the state of absent children."""
    for make, _ in MODELS.values():
        layer = recur.tree(make(**F64))
        params = draw(layer)
        carry = random_like(layer.init_carry(params, NODES), 2)
        assert_close(layer.run(params, NODES, carry=carry), layer.run(params, NODES))


def test_weights_and_dtypes():
    cell = nary_lstm(4, 3, forget_bias=2.5)
    params = cell.init(jax.random.key(0), jax.ShapeDtypeStruct((5,), jnp.float32))
    assert params.bias.forget.tolist() == [2.5] * 4 and not params.bias.input.any()
    assert params.forget_kernel.shape == (12, 12) and params.kernel.input.shape == (5, 4)
    assert_close(params.forget_kernel @ params.forget_kernel.T, jnp.eye(12), 1e-5)
    assert child_sum_lstm(4, use_bias=False).init(jax.random.key(0), NODES.x[0]).bias is None
    nodes = Nodes(np.ones((7, 3), np.float32), BACK)
    for make, _ in MODELS.values():
        layer = recur.tree(make(dtype=jnp.bfloat16))
        carry, ys = jax.eval_shape(
            lambda layer=layer: layer.run(layer.init(jax.random.key(0), nodes), nodes)
        )
        assert (ys.dtype, carry.hidden.dtype, carry.cell.dtype) == (
            jnp.bfloat16,
            jnp.bfloat16,
            jnp.float32,
        )


@each
def test_wrong_input(make, oracle):
    cell = make(**F64)
    label, scanned = repr(cell).partition("(")[0], recur.scan(cell)
    message = f"{label}: expected the Children of a node, got LSTMState.* with recur.tree"
    with pytest.raises(TypeError, match=message):
        scanned(scanned.init(jax.random.key(0), NODES.x), NODES.x)
    layer = recur.tree(cell)
    params = layer.init(jax.random.key(0), NODES)
    with pytest.raises(ValueError, match=f"{label}: expected inputs of width 3, as at init, got 2"):
        layer(params, Nodes(NODES.x[:, :2], BACK))
    narrow = Nodes(NODES.x, BACK[:, :2])
    if label == "nary_lstm":
        with pytest.raises(ValueError, match=r"room for 3 children, back \[N, 3\], got \[N, 2\]"):
            layer(params, narrow)
    else:
        assert layer(params, narrow).shape == (7, 2)


def test_the_gates_of_other_cells_are_an_error():
    params = nary_lstm(4, 2).init(jax.random.key(0), NODES.x[0])
    wrong = params._replace(recurrent_kernel=LSTMGates(*[params.recurrent_kernel.input] * 4))
    with pytest.raises(TypeError, match="params.recurrent_kernel as NaryGates, got LSTMGates"):
        nary_lstm(4, 2).bind(wrong, NODES.x[0])
    with pytest.raises(ValueError, match="nary_lstm: arity: expected a whole number of at least 1"):
        nary_lstm(4, 0)
