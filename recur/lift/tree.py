"""Recursive (tree-structured) networks: a step runs over the nodes of a tree."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from recur.call_repr import call_repr
from recur.checks import check_cell, check_step_carry, describe
from recur.layer import Layer
from recur.lift.mask import Steps
from recur.lift.over_time import over_time
from recur.masks import step_count, zero_invalid
from recur.sequences.trees import Nodes
from recur.types import Carry, Cell


class Children(NamedTuple):
    """The children of a node, passed to its step in place of a carry.

    Attributes:
      carry: the carries of the children in order, each `[C, ...]`; an absent child has the carry
        from which its tree starts.
      mask: bool `[C]`, True where the child exists.
    """

    carry: Carry
    mask: jax.Array


@call_repr
def tree(cell: Cell) -> Layer:
    """Runs a cell over the nodes of a tree, each after its children (recursive network, Tree-LSTM).

        carry_n, y_n = step(bound, Children(carry_{c_1}, ..., carry_{c_C}), x_n)

    where c_1 ... c_C are the children of node n. The xs of the layer are `Nodes(x, back)`, as
    `recur.sequences.post_order` returns: x is the input of the cell, and back, integer `[N, C]`, is
    the distance from a node back to each child, 0 for an absent one. An absent child has the carry
    from which its tree starts: the given carry, or init_carry(bound, x). So a sequence is a tree
    with one child per node. Nodes before a reset and masked nodes are never children, so a row can
    hold several trees. The last carry is that of the last valid node, which is the root.

    Args:
      cell: a cell whose step takes `Children` as its carry, and returns one carry.

    Returns:
      A `Layer` with the cell's params and carry, over a whole tree.

    Raises:
      TypeError: if `cell` is not a cell; when tracing, if xs are not `Nodes`, or the step does not
        take `Children`.
      ValueError: when tracing, if back is not integer `[N, C]`, or is known and points before the
        first node, or the step returns a carry unlike that of init_carry.

    Example:
      A recursive network over two sentences of word ids, with two scores at each node:

      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> from recur.sequences import Node, make_batches, pad, pool, post_order
      >>> def init(key, word):
      ...     of_words, of_children = jax.random.split(key)
      ...     return {
      ...         "words": jax.random.normal(of_words, (9, 4)),
      ...         "children": jax.random.normal(of_children, (8, 4)),
      ...     }
      >>> def step(params, children, word):
      ...     below = children.carry.reshape(-1) @ params["children"]
      ...     h = jnp.tanh(params["words"][word] + below)
      ...     return h, h
      >>> cell = recur.cell(init, lambda params, word: jnp.zeros(4), step)
      >>> model = recur.batch(recur.chain(recur.tree(cell), nn.Dense(2)))
      >>> phrase = Node(0, (Node(3), Node(5)))
      >>> trees = [post_order(phrase), post_order(Node(0, (phrase, Node(7))))]
      >>> [batch] = make_batches(trees, pad())
      >>> params = model.init(jax.random.key(0), batch.steps)
      >>> ys = jax.jit(model)(params, batch.steps, **batch.layer_kwargs)
      >>> ys.shape, pool.last(ys, batch.mask).shape
      ((2, 5, 2), (2, 2))

    References:
      Pollack 1990, Recursive Distributed Representations,
      https://doi.org/10.1016/0004-3702(90)90005-K
      Socher et al. 2013, Recursive Deep Models for Semantic Compositionality Over a Sentiment
      Treebank, https://aclanthology.org/D13-1170
      Tai, Socher & Manning 2015, Improved Semantic Representations From Tree-Structured Long
      Short-Term Memory Networks, https://arxiv.org/abs/1503.00075
    """
    check_cell(cell, "tree")

    def run(bound, carry, initial_carry, steps, all_carries):
        places = _find(steps)
        # The rows are the carries of all nodes, then the two from which a tree may start.
        rows = jax.tree.map(partial(_rows, len(places.own)), initial_carry, carry)

        def visit(rows, node):
            step, place = node
            children = Children(_at(rows, place.child), place.there)
            carry, y = _step_of_node(cell, bound, children, step.x.x, step.key)
            check_step_carry(initial_carry, carry)
            put = partial(jax.lax.dynamic_update_index_in_dim, index=place.own, axis=0)
            return jax.tree.map(put, rows, carry), y

        rows, ys = jax.lax.scan(visit, rows, (steps, places))
        carries = _at(rows, places.held) if all_carries else ()
        came_in = len(places.own) + 1
        return _at(rows, jnp.append(came_in, places.held)[-1]), (carries, ys)

    layer = over_time(_of_nodes(cell), run)
    # Not causal: a node may need any earlier carry, so a tree cannot be fed in pieces.
    return _TreeLayer(
        layer.init,
        layer.bind,
        layer.begin,
        layer.apply,
        layer.find_output_shape,
        direction="bidirectional",
    )


class _TreeLayer(Layer):
    """A layer that checks known trees before it compiles; in a compiled call values are unknown."""

    @property
    def _compiled_run(self):
        compiled = super()._compiled_run

        def run(params, xs, carry, context, mask, key, *, all_carries):
            if isinstance(xs, Nodes):
                _check_known(zero_invalid(mask.valid, jnp.asarray(xs.back)))
            return compiled(params, xs, carry, context, mask, key, all_carries=all_carries)

        return run


def _of_nodes(cell: Cell) -> Cell:
    """Makes a cell over nodes, which reads their x."""

    def init(key, node, context=None):
        return cell.init(key, _x_of(node), context=context)

    def bind(params, node, **options):
        return cell.bind(params, _x_of(node), **options)

    def init_carry(bound, node):
        return cell.init_carry(bound, _x_of(node))

    def step(bound, carry, node, key=None):
        """Runs one node whose children are all absent, for the shape of its output."""
        (count,) = node.back.shape
        carries = jax.tree.map(lambda leaf: jnp.stack([leaf] * count), carry)
        absent = Children(carries, jnp.zeros(count, bool))
        return _step_of_node(cell, bound, absent, node.x, key)

    return dataclasses.replace(cell, init=init, bind=bind, init_carry=init_carry, step=step)


def _step_of_node(cell: Cell, bound: Any, children: Children, x: Any, key: Any) -> Any:
    """Runs the step; raises a TypeError if it uses the children as the carry of one step."""
    try:
        return cell.step(bound, children, x, key)
    except AttributeError as error:
        if not isinstance(error.obj, Children):
            raise
        raise TypeError(
            "tree: expected a cell whose step takes Children(carry, mask) in place of a carry, got "
            f"{cell!r}, whose step reads {error.name!r} of a carry. Use recur.cell with a step "
            "that joins the carries of the children."
        ) from error


def _x_of(node: Any) -> Any:
    """Checks a node and returns its x."""
    if not isinstance(node, Nodes):
        raise TypeError(
            "tree: expected xs as Nodes(x, back), as recur.sequences.post_order returns, got "
            f"{type(node).__name__}."
        )
    dtype = getattr(node.back, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.integer) or len(node.back.shape) != 1:
        raise ValueError(
            "tree: back: expected integers [N, C], the distance back to each child, got "
            f"{describe(node.back)} per node. For a batch of trees, wrap the layer in recur.batch."
        )
    return node.x


class _Places(NamedTuple):
    """The rows of the carries that belong to each node."""

    own: jax.Array  # [N]
    child: jax.Array  # [N, C]
    there: jax.Array  # bool [N, C], True where the child exists
    held: jax.Array  # [N], the row of the last valid node, or that from which the tree starts


def _find(steps: Steps) -> _Places:
    """Finds the rows of all nodes, before the loop."""
    count, back = step_count(steps.x), jnp.asarray(steps.x.back)
    _check_known(back)
    own = jnp.arange(count, dtype=jnp.int32)
    valid = jnp.ones(count, bool) if steps.valid is None else steps.valid
    reset = jnp.zeros(count, bool) if steps.reset is None else steps.reset
    begin = jax.lax.cummax(jnp.where(reset, own, -1))  # -1 if the tree starts from the given carry
    initial, came_in = count, count + 1
    first = jnp.where(begin < 0, came_in, initial)

    child = own[:, None] - back.astype(own.dtype)  # where invalid, back is zero
    there = (back > 0) & (child >= jnp.maximum(begin, 0)[:, None])
    there &= valid.at[child].get(mode="clip")
    # Masked nodes compute something from zeros and the initial carry, which is never read.
    absent = jnp.where(valid, first, initial)
    last = jax.lax.cummax(jnp.where(valid, own, -1))
    held = jnp.where((last >= 0) & (last >= begin), last, first)
    return _Places(own, jnp.where(there, child, absent[:, None]), there, held)


def _check_known(back: jax.Array) -> None:
    """Raises a ValueError unless children come before their parents, if known."""
    if isinstance(back, Tracer) or back.ndim != 2:  # which `_x_of` refuses
        return
    distances = np.asarray(back)
    for node, place in np.argwhere((distances < 0) | (distances > np.arange(len(back))[:, None])):
        raise ValueError(
            f"tree: back of node {node}: expected from 0, for no child, to {node}, the number of "
            f"nodes before it, got {distances[node, place]}. Pass whole trees with children before "
            "their parents, as recur.sequences.post_order returns."
        )


def _rows(count: int, initial: jax.Array, came_in: jax.Array) -> jax.Array:
    """Allocates rows for all nodes, followed by `initial` and `came_in`."""
    initial, came_in = jnp.asarray(initial), jnp.asarray(came_in)
    rows = jnp.broadcast_to(initial, (count + 1, *initial.shape))
    return jnp.concatenate([rows, came_in[None]])


def _at(rows: Carry, place: jax.Array) -> Carry:
    return jax.tree.map(lambda leaf: leaf.at[place].get(mode="clip"), rows)
