"""Online learning: the gradient of each step's loss at that step, for streams of any length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import check_array, check_cell, check_function, check_leaves, check_step_carry
from recur.keys import check_key
from recur.layer import check_context
from recur.lift.influence import exact, flatten, one_step
from recur.lift.mask import Steps, masked_step
from recur.masks import zero_invalid
from recur.types import Carry, Cell, Context, Params

_METHODS = {"rtrl": exact, "snap-1": one_step}


class Online(NamedTuple):
    """An online learner of a cell, as two pure functions.

    Attributes:
      init: `init(params, x, *, context=None, key=None) -> state`, called before the first step of a
        sequence; only the shape of x is used. Context and key are those of `cell.bind`.
      update: `update(params, state, x, target, *, mask=None, reset=None, key=None) -> (state,
        output)`, one step; `mask` and `reset` are single flags, and the key is for the noise of the
        step.
    """

    init: Callable[..., OnlineState]
    update: Callable[..., tuple[OnlineState, OnlineOutput]]


class OnlineState(NamedTuple):
    """The state of an online learner between two updates.

    Attributes:
      carry: the carry of the cell.
      influence: d carry / d params, with a leaf for each leaf of params: `[n, ...]` of RTRL, for n
        entries of the carry, and `[K, ...]` of SnAp-1, for the K entries that a weight affects.
      context: the context of the sequence, or None.
      key: a typed key for the noise of the sequence, or None.
    """

    carry: Carry
    influence: Any
    context: Context
    key: jax.Array | None


class OnlineOutput(NamedTuple):
    """The result of one update; all of it is zero if the step is masked.

    Attributes:
      grads: the gradient of the loss of this step, like params.
      loss: float scalar, the loss of this step.
      y: the output of the cell.
    """

    grads: Params
    loss: jax.Array
    y: Any


def online(cell: Cell, loss: Callable[[Any, Any], jax.Array], *, method: str = "rtrl") -> Online:
    """Computes gradients online by real-time recurrent learning (RTRL) or SnAp-1.

        M_0 = ∂carry_0/∂θ
        M_t = D_t M_{t-1} + I_t,    D_t = ∂carry_t/∂carry_{t-1},    I_t = ∂carry_t/∂θ
        g_t = ∂l_t/∂θ + ∂l_t/∂carry_{t-1} M_{t-1},    l_t = loss(y_t, target_t)

    For constant θ the g_t of a sequence sum to the gradient of backpropagation through time, but no
    past step is stored, so memory does not grow with T. θ may change after each update; then M_t
    depends on the θ of past steps.

    `"rtrl"` keeps all of M: memory n P and time n² P per step, for a carry of n entries and P
    weights. `"snap-1"` keeps the entries of M whose weight affects the entry of the carry within
    one step: memory K P and time (n + K²) P per step, if a weight affects at most K entries. K is 1
    for an Elman network, 2 for an LSTM, and 0 for the weights of a readout, but the weights of a
    lower cell of a stack affect all entries of the cells above. SnAp-1 is exact if more steps
    affect no more entries, for example if the entries of the carry do not depend on each other.
    Here the error is propagated through step t exactly before it is multiplied by the sparse
    M_{t-1}; in the paper, where y_t depends on carry_t only, it is multiplied by M_t. The affected
    entries are found once for each shape of params and x, by n trials of the cell on random values.

    A masked step keeps the carry, and its x and target are ignored, even if they are NaN. A reset
    restores the initial carry and M_0 before the step.

    Args:
      cell: any cell that reverse mode can differentiate, with a carry of real floating-point
        numbers. It includes the readout: `recur.readout(cell, output)`.
      loss: `loss(y, target) -> scalar`, of one step.
      method: `"rtrl"` or `"snap-1"`.

    Returns:
      An `Online`: `init` and `update`, for one sequence. Use `jax.jit` on them, `jax.lax.scan` over
      time and `jax.vmap` over sequences.

    Raises:
      TypeError: if `cell` is not a cell, or loss is not a function; when tracing, if params, carry
        or loss are not floating-point numbers, or x or context holds integers with `"snap-1"`.
      ValueError: if the method is unknown; when tracing, if the loss is not a scalar.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> cell = recur.readout(recur.elman(4), "softmax")
      >>> learner = recur.online(cell, lambda y, target: jnp.square(y - target).sum())
      >>> x, target = jnp.ones(3), jnp.array([0.0, 1.0, 0.0, 0.0])
      >>> params = cell.init(jax.random.key(0), x)
      >>> state, update = learner.init(params, x), jax.jit(learner.update)
      >>> losses = []
      >>> for _ in range(20):
      ...     state, output = update(params, state, x, target)
      ...     params = jax.tree.map(lambda p, g: p - 0.1 * g, params, output.grads)
      ...     losses.append(output.loss)
      >>> bool(losses[-1] < losses[0])
      True

    References:
      Williams & Zipser 1989, A Learning Algorithm for Continually Running Fully Recurrent Neural
      Networks, https://doi.org/10.1162/neco.1989.1.2.270; Menick et al. 2021, A Practical Sparse
      Approximation for Real Time Recurrent Learning (SnAp-1), https://arxiv.org/abs/2006.07232
    """
    check_cell(cell, "online")
    if method not in tuple(_METHODS):
        expected = " or ".join(map(repr, _METHODS))
        raise ValueError(f"online: expected {expected} as the method, got {method!r}.")
    check_function("online: loss", loss)
    influence_of = _METHODS[method](cell)

    def begin(params, of_sequence):
        """Returns the carry before the first step, and its influence."""
        x, context, key = of_sequence

        def first(params):
            carry = cell.init_carry(cell.bind(params, x, key=key, context=context), x)
            _check_carry(carry)
            return flatten(carry)[0], carry

        vector, pull, carry = jax.vjp(first, params, has_aux=True)
        return carry, influence_of(params, x, context).start(pull, vector)

    def init(params, x, *, context=None, key=None):
        _check_params(params)
        check_leaves("x", x)
        check_context(context)
        key = None if key is None else check_key(key)
        carry, influence = begin(params, (_shape_of(x), context, key))
        return OnlineState(carry, influence, context, key)

    def update(params, state, x, target, *, mask=None, reset=None, key=None):
        _check_params(params)
        if not isinstance(state, OnlineState):
            raise TypeError(f"online: expected state as OnlineState, got {type(state).__name__}.")
        check_leaves("x", x)
        check_leaves("target", target)
        mask, reset = _check_flag("mask", mask), _check_flag("reset", reset)
        key = None if key is None else check_key(key)
        x, target = zero_invalid(mask, jax.tree.map(jnp.asarray, (x, target)))
        of_sequence = (_shape_of(x), state.context, state.key)

        def advance(held, x, key):
            carry, influence = held
            return learn(params, carry, influence, x, target, key, of_sequence)

        initial = None if reset is None else begin(params, of_sequence)
        step = masked_step(advance, initial)
        held = (state.carry, state.influence)
        held, (_, output) = step(held, Steps(x, key, mask, reset))
        carry, influence = held
        state = OnlineState(carry, influence, state.context, state.key)
        return state, zero_invalid(mask, output)

    def learn(params, carry, influence, x, target, key, of_sequence):
        shape, context, bind_key = of_sequence
        vector, unflatten = flatten(carry)

        def step(params, vector):
            bound = cell.bind(params, shape, key=bind_key, context=context)
            after, y = cell.step(bound, unflatten(vector), x, key)
            check_step_carry(carry, after)
            return (flatten(after)[0], _check_loss(loss(y, target))), (after, y)

        (vector, value), pull, (after, y) = jax.vjp(step, params, vector, has_aux=True)
        direct, error = pull((jnp.zeros_like(vector), jnp.ones_like(value)))
        of_past = influence_of(params, shape, context)
        grads = jax.tree.map(jnp.add, direct, of_past.gradient(influence, error))
        influence = of_past.advance(
            lambda error: pull((error, jnp.zeros_like(value))), vector, influence
        )
        return (after, influence), OnlineOutput(grads, value, y)

    return Online(init, update)


def _shape_of(x: Any) -> Any:
    return jax.eval_shape(lambda x: x, x)


def _check_flag(name: str, flag: Any) -> jax.Array | None:
    """Returns `flag` as an array; it must be one bool."""
    if flag is None:
        return None
    check_leaves(name, flag)
    flag = jnp.asarray(flag)
    if flag.dtype != jnp.bool_:
        raise TypeError(f"{name}: expected a bool flag, got {flag.dtype}.")
    if flag.shape != ():
        raise ValueError(
            f"{name}: expected one flag, for one step of one sequence, got the shape "
            f"{list(flag.shape)}. Use jax.lax.scan over steps and jax.vmap over sequences."
        )
    return flag


def _check_loss(value: Any) -> jax.Array:
    check_array("online: loss(y, target)", value)
    value = jnp.asarray(value)
    if value.shape != ():
        raise ValueError(
            f"online: expected loss(y, target) to be a scalar, got the shape {list(value.shape)}. "
            "Sum it over the features of the step."
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(f"online: expected a real floating-point loss, got {value.dtype}.")
    return value


def _check_carry(carry: Carry) -> None:
    remedy = "Split a complex number into real and imaginary parts; pass counts and keys in x."
    _check_numbers("carry", carry, jnp.floating, remedy)


def _check_params(params: Params) -> None:
    remedy = "Pass values that are not learned in the context, or close over them."
    _check_numbers("params", params, jnp.inexact, remedy)


def _check_numbers(name: str, tree: Any, kind: Any, remedy: str) -> None:
    """Raises a TypeError that names the leaf, unless all leaves have a dtype of the kind."""
    check_leaves(name, tree)
    for path, leaf in jax.tree_util.tree_leaves_with_path(_shape_of(tree)):
        if not jnp.issubdtype(leaf.dtype, kind):
            raise TypeError(
                f"online: expected {kind.__name__} numbers, got {leaf.dtype} at "
                f"{name}{jax.tree_util.keystr(path)}. {remedy}"
            )
