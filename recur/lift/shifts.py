"""The loop of a step whose products are known, and its derivative with respect to their kernels.

The loop computes products m_t = h_t W of a factor h_t and a kernel W that is the same at all steps.
By default, reverse mode would accumulate dW at each step, by a second product, and store all
intermediate values of a step. But W affects the outputs through m only. So the derivative along a
tangent dW is the derivative along a shift of m,

    dm_t = h_t dW    for all steps at once, one product,

whatever the loop does with m. Transposed by JAX it is again one product, dW = sum_t h_tᵀ dm_t. If m
is only added to an input u_t, it is the derivative along du_t = dm_t, and the loop is unchanged.
The same holds for a constant b that is only added, du_t = db. The gradient stores the products (or
these sums) and recomputes everything else.

This is a forward-mode rule, from which JAX derives reverse mode and higher derivatives. If the loop
contains a function with a `custom_vjp`, which has no forward mode, or control flow, for which XLA
is slow, the same shifts are used in a reverse-mode rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from recur.lift.mask import Steps, masked_step
from recur.manual_axes import placed_like, vary_over
from recur.partition_inexact import partition_inexact
from recur.structure import Group, Parts, has_callbacks, has_custom_vjp_or_control_flow
from recur.structure.step_parts import SAVED
from recur.types import Carry

_keep_products = jax.checkpoint_policies.save_only_these_names(SAVED)


def run_parts(
    parts: Parts,
    carry: Carry,
    initial_carry: Carry,
    steps: Steps,
    all_carries: bool,
    *,
    length: int,
    **options: Any,
) -> tuple[Carry, Any, list[Any]]:
    """Runs the loop of a step over all steps by `jax.lax.scan`.

    Args:
      parts: the parts of the step.
      carry: the carry to start from.
      initial_carry: the carry from which a segment starts.
      steps: the steps, where x is the `inside` of `parts.prepare`, each `[T, ...]`.
      all_carries: whether to return the carry after each step.
      length: T.
      **options: options of `jax.lax.scan`.

    Returns:
      The last carry, the carries after each step or (), and what `parts.read` reads.
    """
    constants, added = _split_constants(parts)
    weights = (parts.kernels, added)
    values = (steps.x, constants, carry, initial_carry, steps.valid, steps.reset)
    parts = parts.without_values()
    reverse_only = has_custom_vjp_or_control_flow(parts.found.inside)
    calls_back = has_callbacks(parts.found.inside)

    def loop(weights, values, shifts=None):
        """Returns the results, and the factors of all products if there are shifts."""
        kernels, added = weights
        inside, constants, carry, initial_carry, valid, reset = values
        constants = _join_constants(parts, constants, added)
        pairs = [(k, group.transpose(k)) for group, k in zip(parts.groups, kernels, strict=True)]

        def advance_with(constants, carry, x):
            return parts.advance_with(pairs, constants, carry, *x, multiply=_multiply)

        if not (reverse_only or calls_back):  # those may be costly to recompute
            advance_with = jax.checkpoint(advance_with, prevent_cse=False, policy=_keep_products)

        def advance(carry, x, key):
            del key
            carry, crossing, factors = advance_with(constants, carry, x)
            return carry, (crossing, () if shifts is None else factors)

        step = masked_step(advance, initial_carry, all_carries)
        given = Steps((inside, shifts), None, valid, reset)
        carry, (carries, (crossing, factors)) = _scan(step, carry, given, length, **options)
        return (carry, carries, crossing), factors

    if calls_back or not parts.groups:  # JAX's own derivative, so that each effect happens once
        return loop(weights, values)[0]
    return (_reverse_rule if reverse_only else _forward_rule)(loop, parts, weights, values, length)


def _scan(step: Callable, carry: Carry, given: Steps, length: int, **options: Any) -> Any:
    """Runs `jax.lax.scan` for a symbolic T too, and for a loop without inputs."""
    if jax.tree.leaves(given):
        return jax.lax.scan(step, carry, given, **options)
    count = jnp.zeros((length, 0), bool)
    return jax.lax.scan(lambda carry, _: step(carry, given), carry, count, **options)


def _forward_rule(loop: Callable, parts: Parts, weights: Any, values: Any, length: int) -> Any:
    inexact, rest, join = partition_inexact(values)

    @jax.custom_jvp
    def run(weights, inexact, rest):
        return loop(weights, join(inexact, rest))[0]

    @run.defjvp
    def derivative(primals, tangents):
        weights, inexact, rest = primals
        d_weights, d_inexact, _ = tangents
        outputs, along, factors = jax.linearize(
            lambda inexact, shifts: loop(weights, join(inexact, rest), shifts),
            inexact,
            vary_over(primals, _zero_shifts(parts, length)),
            has_aux=True,
        )
        d_inputs, d_shifts = _shifts_of(parts, factors, length, *d_weights)
        d_inexact = [d if n not in d_inputs else d + d_inputs[n] for n, d in enumerate(d_inexact)]
        return outputs, along(d_inexact, d_shifts)

    return run(weights, inexact, rest)


def _reverse_rule(loop: Callable, parts: Parts, weights: Any, values: Any, length: int) -> Any:
    inexact, rest, join = partition_inexact(values)

    @jax.custom_vjp
    def run(weights, inexact, rest):
        return loop(weights, join(inexact, rest))[0]

    def forward(weights, inexact, rest):
        outputs, back, factors = jax.vjp(
            lambda inexact, shifts: loop(weights, join(inexact, rest), shifts),
            inexact,
            vary_over((weights, inexact), _zero_shifts(parts, length)),
            has_aux=True,
        )
        return outputs, (back, factors, weights)

    def backward(residuals, d_outputs):
        back, factors, weights = residuals
        d_inexact, d_shifts = back(d_outputs)
        shifts_of = partial(_shifts_of, parts, factors, length)
        transpose = jax.linear_transpose(shifts_of, *weights)
        places = [found.place for found in parts.sums]
        d_weights = transpose(({place: d_inexact[place] for place in places}, d_shifts))
        return d_weights, d_inexact, None

    run.defvjp(forward, backward)
    return run(weights, inexact, rest)


def _shifts_of(
    parts: Parts, factors: Sequence[jax.Array], length: int, kernels: Any, added: Any
) -> tuple[dict[int, jax.Array], list[list[Any]]]:
    """Returns the tangents of inputs, by place, and of products, for tangents of the weights.

    The weights are the kernels and the added constants. The tangents are linear in them, each
    `[T, ...]`.
    """
    of_products: dict[Any, jax.Array] = {}
    for group, kernel, factor in zip(parts.groups, kernels, factors, strict=True):
        changes = jax.vmap(group.multiply_steps, (0, None))(factor, kernel)
        of_products.update(zip((p.result for p in group.products), changes, strict=True))
    of_inputs = {}
    for found, constants in zip(parts.sums, added, strict=True):
        changes = [of_products.pop(var) for var in found.products]
        changes += [jnp.broadcast_to(b, (length, *b.shape)) for b in constants]
        of_inputs[found.place] = sum(changes[1:], changes[0])
    return of_inputs, [
        [of_products.get(product.result) for product in group.products] for group in parts.groups
    ]


def _zero_shifts(parts: Parts, length: int) -> list[list[jax.Array | None]]:
    """Returns a shift of zero for each product that is not in a sum, `[T, ...]`."""
    in_sums = {var for found in parts.sums for var in found.products}

    def zeros(product):
        aval = product.result.aval
        zeros = jnp.zeros((length, *aval.shape), aval.dtype)
        return None if product.result in in_sums else placed_like(aval, zeros)

    return [[zeros(product) for product in group.products] for group in parts.groups]


def _multiply(group: Group, factor: jax.Array, pair: Any) -> list[jax.Array]:
    return group.multiply(factor, *pair)


def _split_constants(parts: Parts) -> tuple[list[Any], list[list[Any]]]:
    """Splits the constants of the loop from those that are only added, listed for each sum."""
    known = dict(zip(parts.constant_vars, parts.constants, strict=True))
    added = [[known.pop(var) for var in found.constants] for found in parts.sums]
    return [*known.values()], added


def _join_constants(parts: Parts, constants: list[Any], added: list[list[Any]]) -> list[Any]:
    """Joins all constants, in the order of `parts.constants`."""
    by_var = {
        var: value
        for found, values in zip(parts.sums, added, strict=True)
        for var, value in zip(found.constants, values, strict=True)
    }
    others = iter(constants)
    return [by_var[var] if var in by_var else next(others) for var in parts.constant_vars]
