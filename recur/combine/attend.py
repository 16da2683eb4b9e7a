"""Attention: at each step a cell reads the rows of a memory that match a query."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer, lecun_normal

from recur.call_repr import call_repr
from recur.checks import (
    check_cell,
    check_flag,
    check_floating,
    check_initializer,
    check_params,
    describe,
    drawn_by,
)
from recur.combine.context_values import Memory, check_width, memory_from, zero_masked
from recur.combine.feedback import feed_back
from recur.combine.scores import SCORES, check_score
from recur.combine.wrap import first_shapes, hidden_of, side_by_side
from recur.keys import check_key, split
from recur.types import Cell, Context, Params, Shaped


class AttendParams(NamedTuple):
    """Weights of `attend`.

    Attributes:
      cell: params of the cell.
      query_kernel: W_q, `[Q, A]`; None with score="multiplicative".
      memory_kernel: W_m, `[D, A]`.
      vector: w, `[A]`; None unless score="additive".
      output_kernel: W_c, `[D + V, V]`; None with query="state".
    """

    cell: Params
    query_kernel: jax.Array | None
    memory_kernel: jax.Array
    vector: jax.Array | None
    output_kernel: jax.Array | None


class Attended(NamedTuple):
    """The output of `attend` at a step.

    Attributes:
      output: the output, `[V]`.
      weights: the attention weights α, `[S]`, zero where the memory is masked.
      context: the context vector c, `[D]`.
    """

    output: jax.Array
    weights: jax.Array
    context: jax.Array


class _Bound(NamedTuple):
    """What is computed once a sequence."""

    cell: Any
    weights: AttendParams  # without those of the cell
    memory: Memory
    keys: jax.Array  # m_j W_m: [S, A]


@call_repr
def attend(
    cell: Cell,
    name: str,
    *,
    score: Literal["additive", "multiplicative", "dot"] = "additive",
    query: Literal["output", "state"] = "output",
    features: int | None = None,
    feed_input: bool = False,
    kernel_init: Initializer = lecun_normal(),
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """Adds attention to a cell, over a memory m of S rows such as the outputs of an encoder.

        e_tj = w · tanh(q_t W_q + m_j W_m)          score="additive"
        e_tj = q_t · (m_j W_m)                      score="multiplicative"
        e_tj = (q_t W_q) · (m_j W_m) / √A           score="dot"
        α_t = softmax(e_t) over the rows not masked,    c_t = Σ_j α_tj m_j

    With query="output" the query is the output of the cell, and c_t enters the output:

        carry_t, v_t = step(carry_{t-1}, x_t),    q_t = v_t,    output_t = tanh([c_t, v_t] W_c)

    This attention does not act on the carry, so `scan` computes it for all steps at once, after the
    loop. Not so with `feed_input`, where the step reads `[x_t, output_{t-1}]` in place of x_t, with
    output_0 = 0. With query="state" the query is the hidden state before the step, and c_t enters
    the input:

        q_t = h_{t-1},    carry_t, output_t = step(carry_{t-1}, [x_t, c_t])

    Masked rows of the memory have no effect; if all are masked, α_t and c_t are zero. m_j W_m is
    computed once a sequence.

    Args:
      cell: a cell with outputs `[V]`; with query="state" its carry is the hidden state or has a
        field `hidden`.
      name: the name of m in the context, real `[S, D]` or a `recur.combine.Memory(values, mask)`.
      score: the score function, which compares a query with a row.
      query: whether the query is the "output" or the hidden "state".
      features: A, the attention width; by default Q, the width of the query.
      feed_input: whether the output is concatenated to the next input (input feeding); only for
        query="output".
      kernel_init: initializer of W_q `[Q, A]`, W_m `[D, A]`, w, drawn as `[A, 1]`, and W_c
        `[D + V, V]`.
      dtype: the dtype in which attention is computed; by default what its weights and m promote to.
      param_dtype: the dtype of the weights.

    Returns:
      A `Cell` with `AttendParams` and outputs `Attended`; its carry is that of `cell`, with input
      feeding `recur.combine.Feedback`.

    Raises:
      TypeError: when `cell` is not a cell, or an option has the wrong type; while tracing, when its
        carry has no hidden state, the query or m does not hold real numbers, or a mask is not bool.
      ValueError: when score or query is an unknown name, features is given for a score without W_q,
        or feed_input for query="state"; while tracing, when there is no such context, m is not
        `[S, D]` with the D of init, a mask is not `[S]`, or the query is not one vector.

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
      Translate (additive, query="state"), https://arxiv.org/abs/1409.0473
      Luong, Pham & Manning 2015, Effective Approaches to Attention-based Neural Machine Translation
      (multiplicative, query="output", input feeding), https://arxiv.org/abs/1508.04025
      Vaswani et al. 2017, Attention Is All You Need (the scaled dot product),
      https://arxiv.org/abs/1706.03762
    """
    check_cell(cell, "attend")
    check_initializer("attend: kernel_init", kernel_init)
    check_floating("attend", dtype=dtype, param_dtype=param_dtype)
    _check_query(query, feed_input)
    check_score(score, features)
    compared = SCORES[score]

    def draw(key, shape):
        return drawn_by(kernel_init, key, shape, param_dtype)

    def init(key, x, context=None):
        cell_key, score_key, output_key = split(check_key(key), 3)
        memory = memory_from(context, name, "attend")
        x = seen(x, memory)
        params = cell.init(cell_key, x, context=context)
        depth, width = memory.values.shape[1], _query_width(cell, params, x, context, query)
        return AttendParams(
            cell=params,
            **compared.init(draw, score_key, width, depth, features or width),
            output_kernel=draw(output_key, (depth + width, width)) if query == "output" else None,
        )

    def bind(params, x, *, key=None, context=None):
        check_params("attend", params, AttendParams)
        memory = memory_from(context, name, "attend")
        width = params.memory_kernel.shape[0]
        check_width(memory.values.shape[1], width, f"attend: the memory {name!r}")
        weights = params._replace(cell=None)
        every = (*jax.tree.leaves(weights), memory.values)
        common = jnp.result_type(*every) if dtype is None else dtype
        weights = jax.tree.map(lambda w: w.astype(common), weights)
        memory = zero_masked(memory, common)
        return _Bound(
            cell=cell.bind(params.cell, seen(x, memory), key=key, context=context),
            weights=weights,
            memory=memory,
            keys=memory.values @ weights.memory_kernel,
        )

    def init_carry(bound, x):
        return cell.init_carry(bound.cell, seen(x, bound.memory))

    def seen(x, memory):
        """Returns the shape of the input of the cell."""
        if query == "output":
            return x
        c = jax.ShapeDtypeStruct(memory.values.shape[1:], memory.values.dtype)
        return jax.eval_shape(join, x, c)

    def attend_to(bound, q):
        e = compared.compare(bound.weights, q.astype(bound.keys.dtype), bound.keys)
        alpha = jax.nn.softmax(e, where=bound.memory.mask)
        return alpha, alpha @ bound.memory.values

    def query_state(bound, carry, x, key=None):
        alpha, c = attend_to(bound, hidden_of(carry, "attend"))
        carry, y = cell.step(bound.cell, carry, join(x, c), key)
        return carry, Attended(y, alpha, c)

    def query_output(bound, carry, x, key=None):
        carry, v = cell.step(bound.cell, carry, x, key)
        alpha, c = attend_to(bound, v)
        both = jnp.concatenate([c, v.astype(c.dtype)])
        return carry, Attended(jnp.tanh(both @ bound.weights.output_kernel), alpha, c)

    join = partial(side_by_side, "attend")
    if query == "state":
        return Cell(init, bind, init_carry, query_state)
    attending = Cell(init, bind, init_carry, query_output)
    return feed_back(attending, "attend", join, lambda y: y.output) if feed_input else attending


def _query_width(cell: Cell, params: Params, x: Shaped, context: Context, query: str) -> int:
    """Returns the width of the output or of the hidden state."""
    _, carry, y = first_shapes(cell, params, x, context)
    q: Any = hidden_of(carry, "attend") if query == "state" else y
    if len(getattr(q, "shape", ())) != 1:
        raise ValueError(f"attend: expected the {query} to be one vector, got {describe(q)}.")
    if jnp.issubdtype(q.dtype, jnp.complexfloating):
        raise TypeError(f"attend: expected the {query} to be real numbers, got {describe(q)}.")
    return q.shape[0]


def _check_query(query: str, feed_input: bool) -> None:
    """Raises an error unless the query is known and can be combined with `feed_input`."""
    if query not in ("output", "state"):
        raise ValueError(f'attend: query must be "output" or "state", got {query!r}.')
    check_flag("attend: feed_input", feed_input)
    if feed_input and query == "state":
        raise ValueError(
            'attend: feed_input=True needs query="output", got query="state", where the cell reads '
            "c_t already."
        )
