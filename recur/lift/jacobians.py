"""A recurrence as a system of equations in arrays: its Jacobians, and recurrences made of them.

Here a carry is an array `z` of the shape [units, p], and the Jacobian of a step is [units, p, p]:
one block a unit, blind to the other units. A whole Jacobian is that of a single unit with all n
entries. Where all leaves of a carry have one shape, as the h and c of an LSTM, unit i is the i-th
entry of each: one acts on the other within the unit, which a plain diagonal would not see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from recur.keys import split_each
from recur.lift.influence import flatten
from recur.lift.mask import Steps, guard
from recur.lift.over_time import check_carry
from recur.types import AffineCell, AnyCell, Bound, Carry, GatedCell
from recur.varying import vary_over

Kind = Literal["full", "diagonal"]
Step = Callable[..., jax.Array]  # (z_{t-1}, one of Steps) -> z_t

FULL_UP_TO = 64  # entries: a product of two whole Jacobians costs n³, of two diagonals n
_FEW = 4  # entries: products of matrices as small are faster as sums of products


class System(NamedTuple):
    """z_t = step(z_{t-1}, steps_t) for all t, with z_0 = first."""

    kind: Kind
    step: Step
    near: Step  # the same values; a Jacobian that is right for `find`
    find: Callable[..., jax.Array]  # find(map of z, z) -> [units, p, p]
    first: jax.Array
    fresh: jax.Array
    steps: Steps

    def after(self, zs: jax.Array) -> jax.Array:
        """f_t(z_{t-1}) for all t, `[T, units, p]`."""
        return jax.vmap(self.step)(before(self.first, zs), self.steps)

    def jacobians(self, zs: jax.Array) -> jax.Array:
        """∂f_t/∂z_{t-1} for all t, `[T, units, p, p]`."""

        def one(z, step):
            return self.find(lambda z: self.near(z, step), z)

        return jax.vmap(one)(before(self.first, zs), self.steps)

    def along(self, zs: jax.Array, b: jax.Array) -> jax.Array:
        """All d_t = J_t d_{t-1} + b_t from d_0 = 0, with the whole Jacobians along zs."""
        if self.kind == "full":
            return solve_linear(self.jacobians(zs), b)

        def turn(d, given):
            z, step, b = given
            _, along = jax.jvp(lambda z: self.step(z, step), (z,), (d,))
            return 2 * (along + b,)

        nothing = jnp.zeros_like(self.first)
        return jax.lax.scan(turn, nothing, (before(self.first, zs), self.steps, b))[1]

    def scan_unless(self, done: jax.Array, zs: jax.Array) -> jax.Array:
        """`zs`, or what the scan gives.

        A loop of at most one turn: `lax.cond` would run the scan in any case under `vmap`, where
        this does so only if some row needs it.
        """

        def scan(state):
            done, _ = state
            _, zs = jax.lax.scan(lambda z, one: 2 * (self.step(z, one),), self.first, self.steps)
            return ~done, zs

        return jax.lax.while_loop(lambda state: ~state[0], scan, (done, zs))[1]


def before(first: jax.Array, of_steps: jax.Array) -> jax.Array:
    """What stands before each step, given what stands after each."""
    return jnp.concatenate([first[None], of_steps])[:-1]


def system(
    cell: AnyCell,
    kind: Kind,
    advance: Callable,
    bound: Bound,
    carry: Carry,
    fresh: Carry,
    steps: Steps,
) -> System:
    """The system of a guarded loop whose step is `advance(bound, carry, x, key) -> (carry, v)`."""
    pack, unpack = packing(fresh, kind)

    def packed(advance):
        guarded = guard(lambda c, x, key: advance(bound, c, x, key), fresh, see=lambda c: ())

        def step(z, one):
            after, _ = guarded(unpack(z), one)
            check_carry(after, fresh)
            return pack(after)

        return step

    near, find = advance, probe
    if kind == "diagonal" and not _tells_units(cell, fresh):
        find = exact_blocks
    elif kind == "diagonal" and isinstance(cell, GatedCell):
        near = _unit_by_unit(cell)
    return System(kind, packed(advance), packed(near), find, pack(carry), pack(fresh), steps)


def take_apart(cell: AnyCell, bound: Bound, steps: Steps) -> tuple[Steps, Callable, Callable]:
    """The steps, `advance(bound, carry, x, key) -> (carry, v)` and `vs -> ys`.

    Of a `GatedCell`, only what depends on the carry is left to `advance`.
    """
    if not isinstance(cell, GatedCell):
        return steps, cell.step, lambda ys: ys
    project_keys, read_keys = split_each(steps.key)
    us = jax.vmap(lambda x, key: cell.project(bound, x, key))(steps.x, project_keys)

    def advance(bound, carry, u, key):
        del key
        return cell.advance(bound, carry, u)

    def read(vs):
        return jax.vmap(lambda v, x, key: cell.read(bound, v, x, key))(vs, steps.x, read_keys)

    return steps._replace(x=us, key=None), advance, read


def check_numbers(carry: Carry) -> None:
    """Raises a TypeError that names the leaf, unless all leaves are real numbers."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(carry):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(
                f"newton: expected real floating-point numbers, got {leaf.dtype} at "
                f"carry{jax.tree_util.keystr(path)}. recur.scan runs a cell with any carry."
            )


def kind_for(carry: Carry, jacobian: Kind | None) -> Kind:
    """The kind asked for, or else the one that suits the size of the carry."""
    if jacobian is not None:
        return jacobian
    return "full" if flatten(carry)[0].size <= FULL_UP_TO else "diagonal"


def packing(carry: Carry, kind: Kind) -> tuple[Callable[[Carry], jax.Array], Callable[..., Carry]]:
    """`(pack, unpack)`, between carries like `carry` and z."""
    vector, unflatten = flatten(carry)
    leaves = jax.tree.leaves(carry)
    p = vector.size if kind == "full" else len(leaves) if _of_one_shape(leaves) else 1
    shape = (max(p, 1), vector.size // max(p, 1))

    return lambda carry: flatten(carry)[0].reshape(shape).T, lambda z: unflatten(z.T.ravel())


def probe(step: Callable[[jax.Array], jax.Array], z: jax.Array) -> jax.Array:
    """The Jacobian of a map whose units do not see each other, by p tangents for all units."""
    units, p = z.shape
    directions = jnp.broadcast_to(jnp.eye(p, dtype=z.dtype)[:, None, :], (p, units, p))
    directions = vary_over(z, directions)
    columns = jax.vmap(lambda direction: jax.jvp(step, (z,), (direction,))[1])(directions)
    return columns.transpose(1, 2, 0)


def exact_blocks(step: Callable[[jax.Array], jax.Array], z: jax.Array) -> jax.Array:
    """The blocks on the diagonal of the Jacobian of any map, by one tangent an entry."""
    return jnp.einsum("upuq->upq", jax.jacfwd(step)(z))


def solve_linear(jacobians: jax.Array, b: jax.Array) -> jax.Array:
    """All d_t = J_t d_{t-1} + b_t from d_0 = 0, in O(log T) rounds.

    One step is a map of d, and one such map after another is again one:

        J_2 (J_1 d + b_1) + b_2 = (J_2 J_1) d + (J_2 b_1 + b_2)

    This "after" is associative, so all T prefixes are found by an associative scan; applied to
    d_0 = 0, a prefix is its b.

    Args:
      jacobians: `[T, units, p, p]`.
      b: `[T, units, p]`.

    Returns:
      `[T, units, p]`.
    """
    _, d = jax.lax.associative_scan(_compose, (jacobians, b[..., None]))
    return d[..., 0]


def _compose(first: tuple, second: tuple) -> tuple[jax.Array, jax.Array]:
    """The map that is `first`, then `second`."""
    (j_1, b_1), (j_2, b_2) = first, second
    return _times(j_2, j_1), _times(j_2, b_1) + b_2


def _times(a: jax.Array, b: jax.Array) -> jax.Array:
    """`a @ b`, of matrices `[..., p, p]` and `[..., p, q]`."""
    if a.shape[-1] > _FEW:
        return a @ b
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def _tells_units(cell: AnyCell, carry: Carry) -> bool:
    """Whether the structure of the cell tells how each unit acts on itself."""
    return isinstance(cell, (GatedCell, AffineCell)) and _of_one_shape(jax.tree.leaves(carry))


def _of_one_shape(leaves: list[jax.Array]) -> bool:
    return len({leaf.shape for leaf in leaves}) == 1


def _unit_by_unit(cell: GatedCell) -> Callable[..., tuple[Carry, Any]]:
    """`advance`, of the same values, as a function in which no unit sees another.

    Units see each other through the products m = h W and nothing else. Taken as

        m = (h W at this carry) + diagonal(W) * (h - h at this carry)

    they keep their value, and the derivative along the unit itself alone.
    """

    def advance(bound, carry, u, key):
        del key
        h = cell.hidden(bound, carry)
        change = h - jax.lax.stop_gradient(h)

        def alone(m, kernel):
            m = jax.lax.stop_gradient(m)
            # A kernel of another width reads units, and does not lead back to them.
            if kernel.shape[-1] != kernel.shape[-2]:
                return m
            return m + jnp.diagonal(kernel, axis1=-2, axis2=-1).ravel() * change

        m = jax.tree.map(alone, cell.products(bound, carry), cell.kernels(bound))
        return cell.gates(bound, carry, u, m)

    return advance
