"""The bound params of a batch, with one copy of values that do not depend on the row."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec

import recur
from recur.structure import ByRow, bind_rows
from recur_tests.helpers import assert_close, inner_jaxprs, weighted_sum

PARAMS = {"W": np.linspace(-1, 1, 16).reshape(4, 4), "K": np.linspace(0, 1, 12).reshape(4, 3)}
MEMORY = np.linspace(-1, 1, 3 * 5 * 4).reshape(3, 5, 4)
_BY_ROW = ByRow(None, 0)


def bind_row(params, of_row):
    """Weights, what is computed of weights, noise and a projected memory; a constant; and None."""
    key, context = of_row
    return {
        "W": params["W"],
        "normed": params["W"] / jnp.linalg.norm(params["W"]),
        "mask": jax.random.bernoulli(key, 0.5, (4,)),
        "memory": context["memory"] @ params["K"],
        "row": context["memory"][0],
        "two": 2.0,
        "none": None,
    }


def rows_of(memory=MEMORY):
    return jax.random.split(jax.random.key(0), len(memory)), {"memory": memory}


def test_what_depends_on_the_row_has_a_row_axis_and_the_rest_has_none():
    bound = bind_rows(bind_row, PARAMS, rows_of())
    assert jax.tree.map(jnp.shape, bound.shared) == {
        "W": (4, 4),
        "normed": (4, 4),
        "mask": None,
        "memory": None,
        "row": None,
        "two": (),
        "none": None,
    }
    rows = {name: leaf.shape for name, leaf in bound.of_row.items() if leaf is not None}
    assert rows == {"mask": (3, 4), "memory": (3, 5, 3), "row": (3, 4)}


def test_rows_are_those_of_one_bind_each():
    keys, context = rows_of()
    bound = bind_rows(bind_row, PARAMS, (keys, context))
    joined = jax.vmap(ByRow.join, (_BY_ROW,))(bound)
    for n in range(3):
        of_row = (keys[n], {"memory": context["memory"][n]})
        expected = bind_row(PARAMS, of_row)
        assert_close(
            jax.tree.map(lambda leaf, n=n: leaf[n], joined), jax.tree.map(jnp.asarray, expected)
        )
    assert_close(bound.first(), jax.tree.map(lambda leaf: leaf[0], joined))


def test_without_rows_the_bound_params_are_as_bind_gives_them():
    bound = bind_rows(lambda params, _: {**params, "size": "large"}, PARAMS, (None, None))
    assert bound.shared["size"] == "large" and bound.shared["W"] is PARAMS["W"]
    assert bound.of_row == {"W": None, "K": None, "size": None}
    assert bound.join() is not None


def test_what_rows_share_is_computed_once():
    jaxpr = jax.make_jaxpr(lambda p, m: bind_rows(bind_row, p, rows_of(m)))(PARAMS, MEMORY).jaxpr
    roots = [equation for equation in jaxpr.eqns if equation.primitive.name == "sqrt"]
    assert [equation.outvars[0].aval.shape for equation in roots] == [()]


def test_gradients_of_shared_params_are_summed_over_rows():
    def of_row(bound):
        return (bound["normed"][:, :3] @ bound["memory"].T).sum() * bound["row"].sum()

    def loss(params, memory, bind):
        return jax.vmap(of_row)(bind(params, rows_of(memory))).sum()

    def ours(params, rows):
        bound = bind_rows(bind_row, params, rows)
        return jax.vmap(ByRow.join, (_BY_ROW,))(bound)

    def each(params, rows):
        return jax.vmap(lambda row: bind_row(params, row))(rows)

    found, expected = (
        jax.jit(jax.grad(lambda p, m, bind=bind: loss(p, m, bind), (0, 1)))(PARAMS, MEMORY)
        for bind in (ours, each)
    )
    assert_close(found, expected)


def test_params_that_bind_closes_over():
    """Tracers as constants of the trace."""

    @jax.jit
    @jax.grad
    def gradient(params):
        bound = bind_rows(lambda _, row: bind_row(params, row), (), rows_of())
        assert bound.of_row["memory"].shape == (3, 5, 3)
        return weighted_sum((bound.shared["normed"], bound.of_row["memory"]))

    def expected(params):
        normed = params["W"] / jnp.linalg.norm(params["W"])
        return weighted_sum((normed, MEMORY @ params["K"]))

    assert_close(gradient(PARAMS), jax.grad(expected)(PARAMS))


def test_within_a_shard_map():
    def memory(params, keys, memory):
        bound = bind_rows(bind_row, params, (keys, {"memory": memory}))
        return bound.of_row["memory"] * bound.shared["normed"].sum()

    keys, rows, whole = rows_of()[0][:2], PartitionSpec("rows"), PartitionSpec()
    sharded = jax.shard_map(
        memory,
        mesh=jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,)),
        in_specs=(whole, rows, rows),
        out_specs=rows,
    )

    def gradient(function):
        return jax.jit(jax.grad(lambda p: weighted_sum(function(p, keys, MEMORY[:2]))))(PARAMS)

    assert_close(gradient(sharded), gradient(memory))


def products_in_loops(jaxpr, inside=False):
    """The shapes of the products in the bodies of all loops."""
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if inside and name in ("dot_general", "product", "loop_product"):
            yield equation.outvars[0].aval.shape
        for inner in inner_jaxprs(equation):
            yield from products_in_loops(inner, inside or name in ("scan", "while"))


def test_a_memory_is_projected_once():
    """In a batch, and in its gradient: not in a loop."""
    layer = recur.batch(recur.scan(recur.attend(recur.lstm(4), "memory", query="state")))
    xs, memory = np.ones((2, 6, 3), np.float32), np.ones((2, 7, 5), np.float32)
    context = {"memory": memory}
    params = layer.init(jax.random.key(0), xs, context=context)

    def run(params):
        ends = layer.run(params, xs, context=context)
        return sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(ends))

    inside, backward = (
        [*products_in_loops(jax.make_jaxpr(function)(params).jaxpr)]
        for function in (run, jax.grad(run))
    )
    assert inside and (2, 7, 4) not in inside  # the memory with its features
    assert (5, 4) not in backward  # the gradient of its kernel


def test_weights_are_not_copied_per_row_under_any_wrapper():
    layer = recur.batch(
        recur.bidirectional(
            recur.scan(recur.variational_dropout(recur.lstm(4), recurrent=0.5)),
            recur.scan(recur.gru(4), reverse=True),
        )
    )
    xs, key = np.ones((2, 5, 3), np.float32), jax.random.key(1)
    params = layer.init(jax.random.key(0), xs)
    bound = layer.bind(params, xs, key=key)
    kernels = [leaf for leaf in jax.tree.leaves(bound.shared) if jnp.ndim(leaf) == 2]
    assert kernels and all(leaf.shape[0] in (3, 4) for leaf in kernels)
    masks = jax.tree.leaves(bound.of_row)
    assert masks and all(leaf.shape == (2, 4) for leaf in masks)
