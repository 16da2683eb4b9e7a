"""Learning online: the gradient of each step as it comes, however long the stream."""

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
    """A cell that learns online, as two pure functions.

    Attributes:
      init: `init(params, x, *, context=None, key=None) -> state`, before the first step of a
        sequence; only the shape of x counts. Context and key are those of `cell.bind`.
      update: `update(params, state, x, target, *, mask=None, reset=None, key=None)
        -> (state, output)`, one step; `mask` and `reset` are single flags, and the key is for the
        noise of the step.
    """

    init: Callable[..., OnlineState]
    update: Callable[..., tuple[OnlineState, OnlineOutput]]


class OnlineState(NamedTuple):
    """The state between two updates."""

    carry: Carry
    influence: Any  # d carry / d params, with a leaf for each leaf of params
    context: Context  # of the sequence
    key: jax.Array | None  # of the sequence


class OnlineOutput(NamedTuple):
    """The result of one update; zero where the step is masked."""

    grads: Params  # of the loss of this step
    loss: jax.Array  # scalar
    y: Any


def online(cell: Cell, loss: Callable[[Any, Any], jax.Array], *, method: str = "rtrl") -> Online:
    """Real-time recurrent learning: the gradient of each step's loss, forwards in time.

        M_0 = ∂carry_0/∂θ
        M_t = D_t M_{t-1} + I_t,    D_t = ∂carry_t/∂carry_{t-1},    I_t = ∂carry_t/∂θ
        g_t = ∂l_t/∂θ + ∂l_t/∂carry_{t-1} M_{t-1},    l_t = loss(y_t, target_t)

    With θ held, the g_t of a sequence sum to the gradient that backpropagation through time finds,
    and no step of the past is stored, however long the sequence. θ may change after each update:
    then M_t still tells of the θ of past steps.

    `"rtrl"` keeps all of M: memory n P and time n² P a step, for a carry of n entries and P
    weights. `"snap-1"` keeps the entries of M whose weight reaches its entry of the carry within
    one step, and drops the rest: memory K P at most, where a weight reaches at most K entries (an
    Elman network has K = 1, an LSTM K = 2, weights of a readout none; but the weights of a lower
    cell of a stack reach all of the cells above), and time (n + K²) P. The error passes through
    step t whole before it meets the sparse M_{t-1}; in the paper, where y_t reads carry_t alone,
    it meets M_t. It is exact where no weight reaches more in more steps, as where no entry of the
    carry sees another. Which weights reach what is found once for each shape of params and x, by n
    trials of the cell on random values.

    The carry holds through a step that is not valid, and what stands in its x and target never
    matters, NaN included; a reset starts afresh before the step, M too.

    Args:
      cell: any cell that reverse mode can differentiate, its carry of real floating-point numbers;
        its readout is part of it, `recur.readout(cell, output)`.
      loss: `loss(y, target) -> scalar`, of one step.
      method: `"rtrl"` or `"snap-1"`.

    Returns:
      An `Online`: `init` and `update`, for one sequence, on which to use `jit`, `scan` over time
      and `vmap` over sequences.

    Raises:
      TypeError: when `cell` is not a cell, or loss no function; or while tracing, when params,
        carry or loss are not floating-point numbers, or x or context holds integers under
        `"snap-1"`.
      ValueError: when the method is unknown; or while tracing, when the loss is not a scalar.

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
        """The carry before the first step, and its influence."""
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
    """`flag` as an array, when it is one bool."""
    if flag is None:
        return None
    check_leaves(name, flag)
    flag = jnp.asarray(flag)
    if flag.dtype != jnp.bool_:
        raise TypeError(f"{name}: expected a bool flag, got {flag.dtype}.")
    if flag.shape != ():
        raise ValueError(
            f"{name}: expected one flag, for one step of one sequence, got the shape "
            f"{list(flag.shape)}. Go over steps with jax.lax.scan, over sequences with jax.vmap."
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
    remedy = "Hold a complex number as its two parts; put counts and keys into x."
    _check_numbers("carry", carry, jnp.floating, remedy)


def _check_params(params: Params) -> None:
    remedy = "Put what is not learned into the context, or close over it."
    _check_numbers("params", params, jnp.inexact, remedy)


def _check_numbers(name: str, tree: Any, kind: Any, remedy: str) -> None:
    """Raises a TypeError that names the leaf, unless all leaves are of the kind."""
    check_leaves(name, tree)
    for path, leaf in jax.tree_util.tree_leaves_with_path(_shape_of(tree)):
        if not jnp.issubdtype(leaf.dtype, kind):
            raise TypeError(
                f"online: expected {kind.__name__} numbers, got {leaf.dtype} at "
                f"{name}{jax.tree_util.keystr(path)}. {remedy}"
            )
