"""Recursive networks: a step over the nodes of a tree instead of those of a line."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import check_cell, describe
from recur.lift.mask import Steps
from recur.lift.over_time import check_carry, over_time
from recur.sequences.lengths import step_count
from recur.sequences.trees import Nodes
from recur.types import Carry, Cell, Layer


class Children(NamedTuple):
    """What a node's step gets in the place of a carry.

    Attributes:
      carry: the children's carries in their order, `[C, ...]` each; where one is absent, the carry
        with which its tree begins.
      valid: bool `[C]`, which children are there.
    """

    carry: Carry
    valid: jax.Array


def tree(cell: Cell) -> Layer:
    """Runs a cell over the nodes of a tree, each after its children.

        carry_n, y_n = step(bound, Children(carry_{c_1}, ..., carry_{c_C}), x_n)

    where c_1 ... c_C are the children of node n. The xs of the layer are `Nodes(x, back)` as
    `post_order` makes them: x is what the cell sees, and back, integer `[N, C]`, tells how many
    nodes back each child stands, 0 where there is none. An absent child stands as the carry with
    which its tree begins: the one given, or start(bound, x). So a line is a tree with one child a
    node. What stands in front of a reset or is no valid node is nobody's child, so several trees
    fit in a row. The last carry is that of the last valid node: of the root, in post-order.

    Args:
      cell: a cell whose step takes `Children` as its carry, and returns one carry.

    Returns:
      A `Layer` with the cell's params and carry, over the whole of a tree.

    Raises:
      TypeError: when `cell` is not a cell, or tells its structure, which is that of a line; while
        tracing, when xs are not `Nodes`.
      ValueError: while tracing, when back is not integer `[N, C]`, is known and points in front of
        the first node, or step does not return a carry like that of start.

    Example:
      A recursive net over two sentences of word ids, with two scores at the root of each:

      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> from recur.sequences import Node, lay_out, pad, pool, post_order
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
      >>> [batch] = lay_out([post_order(phrase), post_order(Node(0, (phrase, Node(7))))], pad())
      >>> params = model.init(jax.random.key(0), batch.steps)
      >>> ys = jax.jit(model)(params, batch.steps, **batch.marks)
      >>> ys.shape, pool.last(ys, batch.valid).shape
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
    if not isinstance(cell, Cell):
        raise TypeError(
            "tree: expected a cell whose step takes Children, as recur.cell(init, start, step) "
            f"makes it of your own step, got {type(cell).__name__}, whose step takes one carry."
        )

    def run(bound, carry, fresh, steps, see):
        places = _find(steps)
        # Behind the carries of all nodes stand the two with which a tree may begin.
        rows = jax.tree.map(partial(_rows, len(places.own)), fresh, carry)

        def visit(rows, node):
            step, place = node
            children = Children(_at(rows, place.child), place.there)
            carry, y = cell.step(bound, children, step.x.x, step.key)
            check_carry(carry, fresh)
            put = partial(jax.lax.dynamic_update_index_in_dim, index=place.own, axis=0)
            return jax.tree.map(put, rows, carry), y

        rows, ys = jax.lax.scan(visit, rows, (steps, places))
        seen = jax.vmap(lambda row: see(_at(rows, row)))(places.held)
        came_in = len(places.own) + 1
        return _at(rows, jnp.append(came_in, places.held)[-1]), (seen, ys)

    # A piece hands on its last carry alone, and a child's may be any: a tree is fed as a whole.
    return dataclasses.replace(over_time(_of_nodes(cell), run), reads="both ways")


def _of_nodes(cell: Cell) -> Cell:
    """The cell for the shape of a node, of which it sees x. Its step is left to `run`."""

    def init(key, node, context=None):
        return cell.init(key, _x_of(node), context=context)

    def bind(params, node, **options):
        return cell.bind(params, _x_of(node), **options)

    def start(bound, node):
        return cell.start(bound, _x_of(node))

    return cell._replace(init=init, bind=bind, start=start)


def _x_of(node: Any) -> Any:
    """The x of a node, when it is one."""
    if not isinstance(node, Nodes):
        raise TypeError(
            "tree: expected xs as Nodes(x, back), as recur.sequences.post_order makes them, got "
            f"{type(node).__name__}."
        )
    dtype = getattr(node.back, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.integer) or len(node.back.shape) != 1:
        raise ValueError(
            "tree: back: expected integers [N, C], how many nodes back each child stands, got "
            f"{describe(node.back)} a node. For a batch of trees, wrap the layer in recur.batch."
        )
    return node.x


class _Places(NamedTuple):
    """In which row of the carries something stands, for each node."""

    own: jax.Array  # [N]
    child: jax.Array  # [N, C]
    there: jax.Array  # bool [N, C], which children there are
    held: jax.Array  # [N], the last valid node's, or that with which the tree begins


def _find(steps: Steps) -> _Places:
    """Looks all rows up, before the loop."""
    count, back = step_count(steps.x), jnp.asarray(steps.x.back)
    _check_known(back)
    own = jnp.arange(count, dtype=jnp.int32)
    valid = jnp.ones(count, bool) if steps.valid is None else steps.valid
    reset = jnp.zeros(count, bool) if steps.reset is None else steps.reset
    begin = jax.lax.cummax(jnp.where(reset, own, -1))  # -1 where the carry that came in counts
    fresh, came_in = count, count + 1
    start = jnp.where(begin < 0, came_in, fresh)

    child = own[:, None] - back.astype(own.dtype)  # where invalid, back is zero
    there = (back > 0) & (child >= jnp.maximum(begin, 0)[:, None])
    there &= valid.at[child].get(mode="clip")
    # What is no node computes something of zeros and start, which nobody reads.
    absent = jnp.where(valid, start, fresh)
    last = jax.lax.cummax(jnp.where(valid, own, -1))
    held = jnp.where((last >= 0) & (last >= begin), last, start)
    return _Places(own, jnp.where(there, child, absent[:, None]), there, held)


def _check_known(back: jax.Array) -> None:
    """Raises a ValueError unless children stand among the nodes before, as far as is known."""
    if isinstance(back, jax.core.Tracer):
        return
    distances = np.asarray(back)
    for node, place in np.argwhere((distances < 0) | (distances > np.arange(len(back))[:, None])):
        raise ValueError(
            f"tree: back of node {node}: expected from 0, where there is no child, to the {node} "
            f"nodes before it, got {distances[node, place]}. Lay trees out whole and children "
            "before their parents, as recur.sequences.post_order does."
        )


def _rows(count: int, fresh: jax.Array, came_in: jax.Array) -> jax.Array:
    """Rows for nodes, to be written, then `fresh`, then `came_in`."""
    fresh, came_in = jnp.asarray(fresh), jnp.asarray(came_in)
    return jnp.concatenate([jnp.broadcast_to(fresh, (count + 1, *fresh.shape)), came_in[None]])


def _at(rows: Carry, place: jax.Array) -> Carry:
    return jax.tree.map(lambda leaf: leaf.at[place].get(mode="clip"), rows)
