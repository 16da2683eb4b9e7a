"""A recurrence as a system of equations in arrays, its Jacobians, and their linear recurrence.

Here a carry is an array `z` of shape [units, p], and the Jacobian of a step is [units, p, p]: one
block for each unit, without the derivatives between units. A full Jacobian is a single unit with
all n entries. If all leaves of a carry have one shape, such as h and c of an LSTM, unit i is the
i-th entry of each leaf. This keeps the derivatives within a unit, which a plain diagonal drops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from recur.lift.influence import flatten
from recur.lift.mask import Steps, masked_step
from recur.lift.prefix import compose_prefixes
from recur.manual_axes import vary_over
from recur.structure import Group, Parts, is_elementwise_around_products
from recur.types import Carry

Kind = Literal["full", "diagonal"]
Step = Callable[..., jax.Array]  # (z_{t-1}, one of Steps) -> z_t

FULL_UP_TO = 64  # entries of the carry: a product of full Jacobians costs n³, of diagonals n
_FEW = 4  # rows: the product of matrices this small is faster as a sum of products


class System(NamedTuple):
    """The system z_t = step(z_{t-1}, steps_t) for all t, with z_0 = first.

    Attributes:
      kind: whether Jacobians are full or block diagonal.
      step: one step.
      near: a function with the values of `step`, whose Jacobian `find` computes.
      find: `find(function of z, z)`, the blocks `[units, p, p]` of its Jacobian.
      first: the carry before the first step, `[units, p]`.
      initial: the initial carry, `[units, p]`.
      steps: the inputs of the steps.
    """

    kind: Kind
    step: Step
    near: Step
    find: Callable[..., jax.Array]
    first: jax.Array
    initial: jax.Array
    steps: Steps

    def after(self, zs: jax.Array) -> jax.Array:
        """Returns f_t(z_{t-1}) for all t, `[T, units, p]`."""
        return jax.vmap(self.step)(before(self.first, zs), self.steps)

    def jacobians(self, zs: jax.Array) -> jax.Array:
        """Returns ∂f_t/∂z_{t-1} for all t, `[T, units, p, p]`."""

        def one(z, step):
            return self.find(lambda z: self.near(z, step), z)

        return jax.vmap(one)(before(self.first, zs), self.steps)

    def along(self, zs: jax.Array, b: jax.Array) -> jax.Array:
        """Returns all d_t = J_t d_{t-1} + b_t from d_0 = 0, with the full Jacobians at zs."""
        if self.kind == "full":
            return solve_linear(self.jacobians(zs), b)

        def turn(d, given):
            z, step, b = given
            _, along = jax.jvp(lambda z: self.step(z, step), (z,), (d,))
            return 2 * (along + b,)

        nothing = jnp.zeros_like(self.first)
        return jax.lax.scan(turn, nothing, (before(self.first, zs), self.steps, b))[1]

    def scan_unless(self, done: jax.Array, zs: jax.Array) -> jax.Array:
        """Returns `zs` if `done`, else the result of a scan.

        The scan is in a loop of at most one iteration. Under `vmap`, `lax.cond` would always run
        it, but the loop runs it only if some row needs it.
        """

        def advance(z, one):
            after = self.step(z, one)
            return after, after

        def scan(state):
            done, _ = state
            _, zs = jax.lax.scan(advance, self.first, self.steps)
            return ~done, zs

        return jax.lax.while_loop(lambda state: ~state[0], scan, (done, zs))[1]


def before(first: jax.Array, of_steps: jax.Array) -> jax.Array:
    """Returns the value before each step, given the value after each."""
    return jnp.concatenate([first[None], of_steps])[:-1]


def system(
    parts: Parts,
    kind: Kind,
    kernels: Sequence[jax.Array],
    constants: Sequence[Any],
    carry: Carry,
    initial_carry: Carry,
    steps: Steps,
) -> System:
    """Makes the system of equations of the masked loop of a step."""
    pack, unpack = packing(initial_carry, kind)

    def packed(**options):
        def advance(carry, inside, key):
            del key
            carry, *_ = parts.advance_with(kernels, constants, carry, inside, **options)
            return carry, ()

        step = masked_step(advance, initial_carry)
        return lambda z, one: pack(step(unpack(z), one)[0])

    step = near = packed()
    find = probe
    if kind == "diagonal":
        of_one_shape = _of_one_shape(jax.tree.leaves(initial_carry))
        if of_one_shape and is_elementwise_around_products(parts.found):
            near = packed(multiply=_multiply_alone)
        else:
            find = exact_blocks
    return System(kind, step, near, find, pack(carry), pack(initial_carry), steps)


def check_numbers(carry: Carry) -> None:
    """Raises a TypeError that names the leaf, unless all leaves are real numbers."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(carry):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(
                f"newton: expected real floating-point numbers, got {leaf.dtype} at "
                f"carry{jax.tree_util.keystr(path)}. recur.scan runs a cell with any carry."
            )


def kind_for(carry: Carry, jacobian: Kind | None) -> Kind:
    """Returns the given kind, or by default the one for the size of the carry."""
    if jacobian is not None:
        return jacobian
    return "full" if flatten(carry)[0].size <= FULL_UP_TO else "diagonal"


def packing(carry: Carry, kind: Kind) -> tuple[Callable[[Carry], jax.Array], Callable[..., Carry]]:
    """Returns `(pack, unpack)`, the functions from a carry to z and back."""
    vector, unflatten = flatten(carry)
    leaves = jax.tree.leaves(carry)
    p = vector.size if kind == "full" else len(leaves) if _of_one_shape(leaves) else 1
    shape = (max(p, 1), vector.size // max(p, 1))

    return lambda carry: flatten(carry)[0].reshape(shape).T, lambda z: unflatten(z.T.ravel())


def probe(step: Callable[[jax.Array], jax.Array], z: jax.Array) -> jax.Array:
    """Computes the Jacobian of a map with independent units, by p tangents for all units."""
    units, p = z.shape
    directions = jnp.broadcast_to(jnp.eye(p, dtype=z.dtype)[:, None, :], (p, units, p))
    directions = vary_over(z, directions)
    columns = jax.vmap(lambda direction: jax.jvp(step, (z,), (direction,))[1])(directions)
    return columns.transpose(1, 2, 0)


def exact_blocks(step: Callable[[jax.Array], jax.Array], z: jax.Array) -> jax.Array:
    """Computes the diagonal blocks of the Jacobian of any map, by one tangent for each entry."""
    return jnp.einsum("upuq->upq", jax.jacfwd(step)(z))


def solve_linear(jacobians: jax.Array, b: jax.Array) -> jax.Array:
    """Solves d_t = J_t d_{t-1} + b_t from d_0 = 0 for all t, in O(log T) rounds.

    One step is an affine map of d, and the composition of two is again affine:

        J_2 (J_1 d + b_1) + b_2 = (J_2 J_1) d + (J_2 b_1 + b_2)

    Composition is associative, so all T prefixes are computed by an associative scan. Applied to
    d_0 = 0, a prefix gives its b.

    Args:
      jacobians: `[T, units, p, p]`.
      b: `[T, units, p]`.

    Returns:
      `[T, units, p]`.
    """
    _, d = compose_prefixes(_compose, (jacobians, b[..., None]))
    return d[..., 0]


def _compose(first: tuple, second: tuple) -> tuple[jax.Array, jax.Array]:
    """Returns the map that applies `first`, then `second`."""
    (j_1, b_1), (j_2, b_2) = first, second
    return _times(j_2, j_1), _times(j_2, b_1) + b_2


def _times(a: jax.Array, b: jax.Array) -> jax.Array:
    """Computes `a @ b`, of matrices `[..., p, p]` and `[..., p, q]`."""
    if a.shape[-1] > _FEW:
        return a @ b
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def _of_one_shape(leaves: list[jax.Array]) -> bool:
    return len({leaf.shape for leaf in leaves}) == 1


def _multiply_alone(group: Group, factor: jax.Array, kernel: jax.Array) -> list[jax.Array]:
    """Computes products whose derivative is only that of each unit with respect to itself.

        m = (h W at this carry) + diagonal(W) ⊙ (h - h at this carry)

    This gives the diagonal blocks if units depend on each other through the products h W only.
    """
    change = factor - jax.lax.stop_gradient(factor)
    results = jax.lax.stop_gradient(group.multiply(factor, kernel))
    return [
        result + jnp.diagonal(each) * change
        for result, each in zip(results, group.split(kernel), strict=True)
    ]
