"""Trees as arrays: post-order, rows of a batch, brackets."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import recur
from recur.lift.tree import tree
from recur.sequences import (
    Example,
    batches,
    bucket,
    last_steps,
    make_batches,
    pack,
    pad,
    pool,
    unpack,
)
from recur.sequences.trees import Node, Nodes, parse_tree, post_order
from recur.train import init_state, make_step
from recur_tests.helpers import assert_close, random_like
from recur_tests.lift.test_tree import recursive_net
from recur_tests.oracles import tree as oracle

SENTENCE = "(3 (2 It) (4 (4 works) (2 .)))"


def rebuild(nodes, number=-1):
    """Rebuilds the nested tree from the arrays."""
    number %= len(nodes.back)
    back = nodes.back[number].tolist()
    while back and back[-1] == 0:
        back.pop()
    below = tuple(rebuild(nodes, number - distance) if distance else None for distance in back)
    return Node(nodes.x[number].item(), below)


def random_tree(draws, depth):
    count = draws.integers(0, 4) if depth else 0
    below = [random_tree(draws, depth - 1) if draws.random() < 0.7 else None for _ in range(count)]
    while below and below[-1] is None:
        below.pop()
    return Node(int(draws.integers(100)), tuple(below))


@pytest.mark.parametrize("seed", range(10))
def test_arrays_are_the_tree(seed):
    tree = random_tree(np.random.default_rng(seed), 4)
    nodes, wider = post_order(tree), post_order(tree, arity=5)
    assert rebuild(nodes) == rebuild(wider) == tree
    assert nodes.back.dtype == np.int32 and wider.back.shape == (len(nodes.x), 5)
    assert (nodes.back <= np.arange(len(nodes.back))[:, None]).all()


def test_children_are_laid_out_from_the_first_to_the_last():
    nodes = post_order(Node(0, (None, Node(1, (Node(2),)), Node(3))))
    assert nodes.x.tolist() == [2, 1, 3, 0]
    assert nodes.back.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 2, 1]]


@pytest.mark.parametrize("place", [0, 1])
def test_trees_may_be_deep(place):
    tree = Node(0)
    for number in range(1, 5000):
        tree = Node(number, ((tree, Node(-1)), (Node(-1), tree))[place])
    nodes = post_order(tree)
    assert nodes.x[nodes.x >= 0].tolist() == list(range(5000))
    assert nodes.back.shape == (9999, 2)
    text = "(0 a)"
    for _ in range(5000):
        text = f"(0 {text} (0 b))"
    assert len(post_order(parse_tree(text, lambda label, word: int(label))).x) == 10001


def test_inputs_are_pytrees():
    def x(number):
        return {"word": number, "wide": np.full((2, 3), number, np.float32)}

    nodes = post_order(Node(x(1), (Node(x(2)), Node(x(3)))))
    assert nodes.x["word"].tolist() == [2, 3, 1]
    assert nodes.x["wide"].shape == (3, 2, 3) and nodes.x["wide"].dtype == np.float32


@pytest.mark.parametrize("layout", [pad(), pad(50), bucket(count=2), pack(50)])
def test_every_layout_keeps_each_tree_and_zeros_around_it(layout):
    trees = [random_tree(np.random.default_rng(seed), 3) for seed in range(6)]
    source = [Example(post_order(tree, arity=4), n) for n, tree in enumerate(trees)]
    found = {}
    for batch in make_batches(source, layout):
        assert not batch.steps.x[~batch.mask].any() and not batch.steps.back[~batch.mask].any()
        assert batch.steps.back.shape == (*batch.mask.shape, 4)
        assert (batch.label == batch.number)[batch.present].all()
        found |= {number: rebuild(nodes) for number, nodes in unpack(batch.steps, batch).items()}
    assert [found[number] for number in range(6)] == trees


NET = tree(recursive_net())
CHILDREN = [
    [[None, None], [None, None], [0, 1], [None, None], [3, None], [2, 4]],
    [[None, None], [None, 0], [1, None]],
    [[None, None]],
]


def test_padded_and_packed_trees_give_the_numbers_of_plain_recursion():
    model = recur.chain(NET, nn.Dense(2, param_dtype=jnp.float64))
    batched = recur.batch(model)
    draws, source = np.random.default_rng(0), []
    for children in CHILDREN:
        back = [[0 if c is None else n - c for c in row] for n, row in enumerate(children)]
        source.append(Nodes(draws.normal(size=(len(back), 3)), np.array(back)))
    params = random_like(jax.eval_shape(model.init, jax.random.key(0), source[0]), 1)

    @jax.jit
    @partial(jax.grad, has_aux=True)
    def found(params, xs, options):
        (carry, _), ys = batched.run(params, xs, **options, all_carries=True)
        return (ys**2).sum(), (carry, ys)

    [padded], [packed] = (make_batches(source, layout) for layout in (pad(), pack(7)))
    of_padded, ends = found(params, padded.steps, padded.layer_kwargs)
    of_packed, packed_ends = found(params, packed.steps, packed.layer_kwargs)
    assert_close(of_packed, of_padded)
    pieces = unpack(ends, padded)
    assert_close(unpack(packed_ends, packed), pieces)
    assert_close(pool.last(ends[1], padded.mask), last_steps(ends[1], padded)[:, 0], 0)
    roots = last_steps(packed_ends[1], packed)
    for row, slot in np.argwhere(packed.present):
        number = packed.number[row, slot]
        expected = oracle.recursive_net(params[0], source[number].x, CHILDREN[number])
        assert_close(pieces[number][0], np.asarray(expected))
        assert_close(np.asarray(roots[row, slot]), pieces[number][1][-1])


def test_training_learns_the_roots_of_formulas():
    """And, or: the value of a formula, by its root."""

    def formula(draws, depth):
        word = draws.integers(2, 4) if depth else draws.integers(2)
        below = [formula(draws, draws.integers(depth)) for _ in range(2 * (depth > 0))]
        values = [value for _, value in below]
        value = (all(values), any(values))[word - 2] if depth else bool(word)
        return Node(int(word), tuple(node for node, _ in below)), value

    def init(key, word):
        return {"words": jax.random.normal(key, (4, 8)), "W": jax.random.normal(key, (16, 8)) / 4}

    def step(params, children, word):
        h = jnp.tanh(children.carry.reshape(-1) @ params["W"] + params["words"][word])
        return h, h

    cell = recur.cell(init, lambda params, word: jnp.zeros(8), step)
    model = recur.batch(recur.chain(tree(cell), nn.Dense(2, param_dtype=jnp.float64)))
    draws = np.random.default_rng(0)
    formulas = [formula(draws, 3) for _ in range(32)]
    source = [Example(post_order(root, arity=2), np.int32(value)) for root, value in formulas]
    stream = batches(source, pack(24), batch_size=8, prefetch=0)

    def loss(params, carry, batch, key):
        scores = last_steps(model(params, batch.steps, **batch.layer_kwargs), batch)
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, batch.label)
        return jnp.mean(losses, where=batch.present), (carry, {})

    optimizer, key = optax.sgd(0.3, momentum=0.9), jax.random.key(0)
    update = jax.jit(make_step(loss, optimizer))
    state = init_state(model.init(key, next(stream).steps), optimizer, key)
    losses = []
    for _ in range(60):
        state, metrics = update(state, next(stream))
        losses.append(metrics["loss"])
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])


def test_brackets_are_a_tree():
    tree = parse_tree(f"  {SENTENCE}\n")
    it, works = Node(("2", "It")), Node(("4", None), (Node(("4", "works")), Node(("2", "."))))
    assert tree == Node(("3", None), (it, works))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "position 0: expected one tree in brackets, got the end"),
        ("word", "position 0: expected one tree in brackets, got 'word'"),
        (f"{SENTENCE} (2 a)", r"position 31: expected one tree in brackets, got '\(2 a\)'"),
        ("(2 a))", r"position 5: expected one tree in brackets, got '\)'"),
        ("(3 (2 It)", r"position 9: expected '\)', got the end"),
        ("(3 (2 It) (4))", r"position 10: expected \(label word\) or .*, got '\(4\)\)'"),
        ("(3 It works)", r"position 0: expected \(label word\) or"),
        ("(3 (2 It) works)", r"position 0: expected \(label word\) or"),
        ("((2 It) 3)", r"position 0: expected \(label word\) or"),
        ("()", r"position 0: expected \(label word\) or"),
    ],
)
def test_what_is_not_one_tree_in_brackets_is_an_error(text, message):
    with pytest.raises(ValueError, match=f"parse_tree: {message}"):
        parse_tree(text)


PAIR = Node(0, (Node(1), Node(2)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: post_order(Node(0, Node(1))),
            r"post_order: expected a Node, got tuple. .* \(child,\)",
        ),
        (lambda: post_order([PAIR]), "post_order: expected a Node, got list"),
        (lambda: post_order(Node("It")), "x of node 0: expected numbers, got <U2. .* ids"),
        (
            lambda: post_order(Node(0, (Node(1), Node(0.5)))),
            r"x of node 1: expected int64\[\], like x of node 0, got float64\[\]",
        ),
        (
            lambda: post_order(Node([0], (Node([0]), Node([0, 1])))),
            r"x of node 1: expected \[int64\[\]\], like .*, got \[int64\[\], int64\[\]\]",
        ),
        (lambda: post_order(PAIR, arity=1), "post_order: expected up to 1 children a node, got 2"),
        (lambda: post_order(PAIR, arity=-1), "arity: expected a whole number .* got -1"),
        (
            lambda: make_batches([post_order(Node(1)), post_order(PAIR)], pad()),
            r"example 1: expected .*back=int32\[0\].* got .*back=int32\[2\]",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_other_white_space_is_a_word():
    root = parse_tree("(IP\t(PU \u3000)\r\n (NN a\u00a0b))")
    assert [child.x for child in root.children] == [("PU", "\u3000"), ("NN", "a\u00a0b")]
