"""A function that is told of a `vmap`: when it is, when it is not, and that neither changes it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.lift.rows import by_rows
from recur_tests.helpers import assert_close

A, B = np.arange(1.0, 13).reshape(4, 3), np.array([0.5, -1.0, 2.0])
calls = []


def one(a, given):
    return {"y": jnp.sin(a @ given["b"]), "count": given["count"] + 1}


def many(size, has_rows, a, given):
    calls.append((size, has_rows))
    axes = jax.tree.map(lambda flag: -1 if flag else None, has_rows)
    return jax.vmap(one, in_axes=tuple(axes), out_axes=-1)(a, given)


function = by_rows(one, many)


def mapped(a, b):
    return jax.vmap(lambda a: function(a, {"b": b, "count": 2})["y"])(a)


@pytest.fixture(autouse=True)
def none_yet():
    calls.clear()


def expected(b):
    return np.sin(A @ b)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.checkpoint], ids=["", "jit", "remat"])
def test_many_rows_are_done_together(wrap):
    assert_close(wrap(mapped)(A, B), expected(B), 1e-12)
    assert calls[0] == (4, (True, {"b": False, "count": False}))


def test_the_row_axis_may_be_any_and_there_may_be_two():
    whole = jax.vmap(jax.vmap(lambda a, b: function(a, {"b": b, "count": 2})["y"], (1, None)),
                     (None, 0))  # fmt: skip
    assert_close(whole(A.T, np.stack([B, 2 * B])), np.stack([expected(B), expected(2 * B)]), 1e-12)
    assert calls[0][0] == 4


def test_one_row_is_no_rows():
    assert_close(mapped(A[:1], B), expected(B)[:1], 1e-12)
    assert_close(function(A[0], {"b": B, "count": 2}), {"y": expected(B)[0], "count": 3}, 1e-12)
    assert not calls


def test_derivatives_in_both_modes_of_rows_and_before_rows():
    slope = np.cos(A @ B)[:, None] * A
    assert_close(jax.jit(jax.jacrev(mapped, 1))(A, B), slope, 1e-12)
    assert_close(jax.jacfwd(mapped, 1)(A, B), slope, 1e-12)
    assert calls
    calls.clear()
    # What is differentiated first has stepped aside before the rows come.
    alone = jax.grad(lambda b, a: function(a, {"b": b, "count": 2})["y"])
    assert_close(jax.vmap(alone, (None, 0))(B, A), slope, 1e-12)
    assert_close(jax.jit(alone)(B, A[0]), slope[0], 1e-12)
    assert not calls
    curvature = jax.hessian(lambda b: mapped(A, b).sum())(B)
    assert_close(curvature, -np.einsum("n,ni,nj->ij", np.sin(A @ B), A, A), 1e-12)
