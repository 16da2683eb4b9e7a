"""Attention: a cell that looks, at each step, at those rows of a memory that it asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer, lecun_normal

from recur.checks import check_cell, describe
from recur.combine.memory import Memory, memory_from, only_valid
from recur.combine.scores import SCORES, check_score
from recur.combine.structure import (
    hidden_of,
    map_outputs,
    output_shape,
    side_by_side,
    with_structure,
    within,
)
from recur.combine.vectors import check_width
from recur.keys import check_key, split
from recur.products import product
from recur.types import AnyCell, Cell, Context, Params, Shaped


class AttendParams(NamedTuple):
    """Weights of `attend`."""

    cell: Params
    query_kernel: jax.Array | None  # W_q: [Q, A], of the scores "additive" and "dot"
    memory_kernel: jax.Array  # W_m: [D, A]
    vector: jax.Array | None  # w: [A], of the score "additive"
    output_kernel: jax.Array | None  # W_c: [D + V, V], of query="output"


class Attended(NamedTuple):
    """What `attend` gives at a step."""

    output: jax.Array
    weights: jax.Array  # α: [S], zero where the memory is not valid
    context: jax.Array  # c: [D]


class Attention(NamedTuple):
    """The carry of `attend` with input feeding."""

    cell: Any
    output: jax.Array  # [V]


class _Bound(NamedTuple):
    cell: Any
    weights: Any  # `AttendParams` without those of the cell
    memory: Memory
    keys: jax.Array  # m_j W_m: [S, A]


Look = Callable[[_Bound, jax.Array], tuple[jax.Array, jax.Array]]  # of a query: α and c


def attend(
    cell: AnyCell,
    name: str,
    *,
    score: Literal["additive", "multiplicative", "dot"] = "additive",
    query: Literal["output", "state"] = "output",
    features: int | None = None,
    feed_input: bool = False,
    kernel_init: Initializer = lecun_normal(),
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> AnyCell:
    """Attends to a memory m of S rows, which the context calls `name`.

        e_tj = w · tanh(q_t W_q + m_j W_m)          score="additive"
        e_tj = q_t · (m_j W_m)                      score="multiplicative"
        e_tj = (q_t W_q) · (m_j W_m) / √A           score="dot"
        α_t = softmax(e_t) over the valid rows,    c_t = Σ_j α_tj m_j

    With query="output" the cell asks with what it gives, and the answer goes into the output:

        carry_t, v_t = step(carry_{t-1}, x_t),    q_t = v_t,    output_t = tanh([c_t, v_t] W_c)

    Then the structure of a `GatedCell` or an `AffineCell` survives, and all steps look at once,
    after the loop; not so with `feed_input`, where the step reads `[x_t, output_{t-1}]` for x_t,
    output_0 = 0. With query="state" it asks with what it remembers, before it reads:

        q_t = h_{t-1},    carry_t, output_t = step(carry_{t-1}, [x_t, c_t])

    Rows of the memory that are not valid never matter, and where none is, α_t and c_t are zero.
    m_j W_m is computed once a sequence.

    Args:
      cell: the cell that attends, one with outputs `[V]`; with query="state" one that tells its
        hidden state, as a `GatedCell` does, or a carry that is h or has a field `hidden`.
      name: of m in the context, an array `[S, D]` or a `Memory` of one with bool `[S]` flags.
      score: how a query and a row are compared.
      query: whether to ask with the "output" or the hidden "state".
      features: A, where they are compared; by default Q, the width of the query.
      feed_input: whether the output is fed back beside the input; for query="output".
      kernel_init: of W_q `[Q, A]`, W_m `[D, A]`, w, drawn as `[A, 1]`, and W_c `[D + V, V]`.
      dtype: what attention is computed in; by default what its weights and m promote to.
      param_dtype: what the weights are stored in.

    Returns:
      A cell with `AttendParams` and outputs `Attended`: of the same kind with query="output" (a
      plain `Cell` for a stack) and without input feeding, else a `Cell`. Its carry is the cell's
      own, with input feeding `Attention`.

    Raises:
      TypeError: when `cell` is not a cell; while tracing, when it does not tell its hidden state,
        the query or m does not hold real numbers or flags are not bool.
      ValueError: when score or query is an unknown name, features is given for a score that has no
        A of its own, or feed_input for query="state"; while tracing, when there is no such context,
        m is not `[S, D]` with the D of init, flags are not `[S]`, or the query is not one vector.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> decoder = recur.scan(recur.attend(recur.lstm(8), "memory", query="state"))
      >>> xs, memory = jnp.ones((5, 3)), jnp.ones((7, 4))
      >>> params = decoder.init(jax.random.key(0), xs, context={"memory": memory})
      >>> attended = decoder(params, xs, context={"memory": memory})
      >>> attended.output.shape, attended.weights.shape, attended.context.shape
      ((5, 8), (5, 7), (5, 4))

    References:
      Bahdanau, Cho & Bengio 2015, Neural Machine Translation by Jointly Learning to Align and
      Translate (additive, by the state), https://arxiv.org/abs/1409.0473
      Luong, Pham & Manning 2015, Effective Approaches to Attention-based Neural Machine Translation
      (multiplicative, by the output, input feeding), https://arxiv.org/abs/1508.04025
      Vaswani et al. 2017, Attention Is All You Need (the scaled dot product),
      https://arxiv.org/abs/1706.03762
    """
    check_cell(cell, "attend")
    _check_query(query, feed_input)
    check_score(score, features)
    cell, compared = with_structure(cell), SCORES[score]

    def draw(key, shape):
        return kernel_init(key, shape, param_dtype)

    def init(key, x, context=None):
        cell_key, score_key, output_key = split(check_key(key), 3)
        values = memory_from(context, name, "attend").values
        depth = values.shape[1]
        width = _width_fed_back(cell, x, context) if feed_input else None
        x = _fed(x, depth if query == "state" else width, values.dtype)
        params = cell.init(cell_key, x, context=context)
        width = _query_width(cell, params, x, context, query)
        return AttendParams(
            cell=params,
            **compared.init(draw, score_key, width, depth, features or width),
            output_kernel=draw(output_key, (depth + width, width)) if query == "output" else None,
        )

    def bind(params, x, *, key=None, context=None):
        memory = memory_from(context, name, "attend")
        depth = memory.values.shape[1]
        check_width(depth, params.memory_kernel.shape[0], f"attend: the memory {name!r}")
        weights, memory = _in_one_dtype(dtype, params._replace(cell=None), memory)
        width = weights.output_kernel.shape[1] if feed_input else None
        x = _fed(x, depth if query == "state" else width, memory.values.dtype)
        return _Bound(
            cell=cell.bind(params.cell, x, key=key, context=context),
            weights=weights,
            memory=memory,
            keys=product(memory.values, weights.memory_kernel),
        )

    def look(bound, q):
        e = compared.compare(bound.weights, q.astype(bound.keys.dtype), bound.keys)
        alpha = jax.nn.softmax(e, where=bound.memory.valid)
        return alpha, alpha @ bound.memory.values

    nested = within(cell, init, bind)
    if query == "state":
        return _asked_by_state(cell, nested, look)
    return _fed_back(nested, look) if feed_input else map_outputs(nested, partial(_answer, look))


def _asked_by_state(cell: AnyCell, nested: AnyCell, look: Look) -> Cell:
    """Looks before each step, which reads what was found beside its input."""

    def start(bound, x):
        return nested.start(bound, _fed(x, bound.memory.values.shape[1], bound.keys.dtype))

    def step(bound, carry, x, key=None):
        alpha, c = look(bound, hidden_of(cell, bound.cell, carry, "attend"))
        carry, y = nested.step(bound, carry, side_by_side("attend", x, c), key)
        return carry, Attended(y, alpha, c)

    return Cell(nested.init, nested.bind, start, step)


def _fed_back(nested: AnyCell, look: Look) -> Cell:
    """Looks after each step, which reads what was made of it at the one before."""

    def start(bound, x):
        output = jnp.zeros(bound.weights.output_kernel.shape[1], bound.keys.dtype)
        return Attention(nested.start(bound, _fed(x, *output.shape, output.dtype)), output)

    def step(bound, carry, x, key=None):
        inner, v = nested.step(bound, carry.cell, side_by_side("attend", x, carry.output), key)
        attended = _answer(look, bound, v)
        return Attention(inner, attended.output), attended

    return Cell(nested.init, nested.bind, start, step)


def _answer(look: Look, bound: _Bound, v: jax.Array, x: Any = None, key: Any = None) -> Attended:
    """`tanh([c, v] W_c)`, with the c that v asks for."""
    del x, key
    alpha, c = look(bound, v)
    both = jnp.concatenate([c, v.astype(c.dtype)])
    return Attended(jnp.tanh(product(both, bound.weights.output_kernel)), alpha, c)


def _in_one_dtype(dtype: Any, weights: AttendParams, memory: Memory) -> tuple[AttendParams, Memory]:
    if dtype is None:
        dtype = jnp.result_type(*jax.tree.leaves(weights), memory.values)
    return jax.tree.map(lambda w: w.astype(dtype), weights), only_valid(memory, dtype)


def _fed(x: Shaped, width: int | None, dtype: Any) -> Shaped:
    """The shape of x with `width` numbers beside it, or x where there are none."""
    if width is None:
        return x
    beside = jax.ShapeDtypeStruct((width,), dtype)
    return jax.eval_shape(partial(side_by_side, "attend"), x, beside)


def _query_width(cell: AnyCell, params: Params, x: Shaped, context: Context, query: str) -> int:
    """The width of the output or of the hidden state."""

    def state(params, context):
        bound = cell.bind(params, x, context=context)
        return hidden_of(cell, bound, cell.start(bound, x), "attend")

    if query == "state":
        q = jax.eval_shape(state, params, context)
    else:
        q = output_shape(cell, params, x, context)
    if len(getattr(q, "shape", ())) != 1:
        raise ValueError(f"attend: expected the {query} to be one vector, got {describe(q)}.")
    if jnp.issubdtype(q.dtype, jnp.complexfloating):
        raise TypeError(f"attend: expected the {query} to be real numbers, got {describe(q)}.")
    return q.shape[0]


def _width_fed_back(cell: AnyCell, x: Shaped, context: Context) -> int:
    """The width of the output, which must be the same with itself beside the input."""

    def width(x):
        params = jax.eval_shape(lambda: cell.init(jax.random.key(0), x, context=context))
        return _query_width(cell, params, x, context, "output")

    alone = width(x)
    fed = width(_fed(x, alone, x.dtype))
    if alone != fed:
        raise ValueError(
            "attend: an output can be fed back when its width does not depend on that of the "
            f"input; here it is {alone} without it and {fed} with it."
        )
    return alone


def _check_query(query: str, feed_input: bool) -> None:
    if query not in ("output", "state"):
        raise ValueError(f'attend: the query is the "output" or the "state", got {query!r}.')
    if feed_input and query == "state":
        raise ValueError(
            'attend: feed_input is for query="output"; by its "state" the cell is fed what it '
            "finds already."
        )
