"""Exponential moving average of the params, kept in the state of the optimizer."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from recur.checks import check_number
from recur.dtypes import at_least_float32
from recur.train.step import TrainState, check_state
from recur.types import Params


class ParamsEmaState(NamedTuple):
    """The state of `params_ema`.

    Attributes:
      seen: the number of updates in the average, int32.
      average: the average of the params, with the correction for its start; floats of at least
        float32. `ema_params` returns it in the dtypes of the params.
    """

    seen: jax.Array
    average: Params


def params_ema(decay: float) -> optax.GradientTransformation:
    """Keeps an exponential moving average (EMA) of the params in the state of the optimizer.

        ema_t = sum_{s=1}^t decay^{t-s} params_s / sum_{s=1}^t decay^{t-s}

    over the params after each update. This equals the running mean `m_t = decay m_{t-1} +
    (1 - decay) params_t` from `m_0 = 0`, divided by `1 - decay^t`, as Adam corrects its moments:
    the initial params have no weight. `ema_params` returns the average. Updates are not changed.

    It is the last part of an `optax.chain`, since it needs the whole update. With
    `optax.MultiSteps`, put it in the wrapped chain, so that it counts updates of the params. The
    average is part of the `TrainState`, and so of each checkpoint. Params of 16 bits are averaged
    in float32; integers are not averaged.

    Args:
      decay: from 0 to 1; the average covers about 1 / (1 - decay) updates. 1 weighs all updates
        equally (Polyak averaging).

    Returns:
      An `optax.GradientTransformation`.

    Raises:
      ValueError: if decay is not in [0, 1]; from `update`, if params are missing.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from recur.train import ema_params, init_state, make_step, params_ema
      >>> def loss(w, carry, batch, key):
      ...     return jnp.square(w - batch), (carry, {})
      >>> optimizer = optax.chain(optax.sgd(0.25), params_ema(0.5))
      >>> step = jax.jit(make_step(loss, optimizer))
      >>> state = init_state(jnp.asarray(4.0), optimizer, jax.random.key(0))
      >>> for _ in range(2):
      ...     state, _ = step(state, 0.0)  # params 2, then 1
      >>> round(ema_params(state).item(), 4)  # (0.5 * 2 + 1) / 1.5
      1.3333

    References:
      Polyak & Juditsky 1992, Acceleration of Stochastic Approximation by Averaging,
      https://doi.org/10.1137/0330046
    """
    decay = check_number("params_ema: decay", decay)
    if not 0 <= decay <= 1:
        raise ValueError(f"params_ema: expected decay in [0, 1], got {decay}.")

    def init(params):
        # Copies, since a donated state must not contain an array twice.
        average = jax.tree.map(lambda w: at_least_float32(jnp.array(w)), params)
        return ParamsEmaState(jnp.zeros((), jnp.int32), average)

    def update(updates, state, params=None):
        if params is None:
            raise ValueError(
                "params_ema: expected params in update(updates, state, params), got None."
            )
        count = jnp.asarray(optax.safe_increment(state.seen))
        share = 1 / _sum_of_powers(decay, count)

        def add(average, w):
            if not jnp.issubdtype(average.dtype, jnp.inexact):
                return w
            return average + share.astype(average.dtype) * (w.astype(average.dtype) - average)

        after = optax.apply_updates(params, updates)
        return updates, ParamsEmaState(count, jax.tree.map(add, state.average, after))

    return optax.GradientTransformation(init, update)


def ema_params(state: TrainState) -> Params:
    """Returns the exponential moving average (EMA) of the params that `params_ema` keeps.

    Evaluate with it, or save it: `state._replace(params=ema_params(state))` is a state with these
    params.

    Args:
      state: a `TrainState` whose optimizer has `params_ema` in it, at any depth of `optax.chain`,
        `optax.MultiSteps`, `optax.masked` and the like.

    Returns:
      A pytree like `state.params`, with the same dtypes; before the first update the params
      themselves. Leaves that `optax.masked` leaves out are those of `state.params`.

    Raises:
      TypeError: if state is not a `TrainState`.
      ValueError: if there is no `params_ema` in the optimizer, or more than one.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from recur.train import ema_params, init_state, params_ema
      >>> optimizer = optax.MultiSteps(optax.chain(optax.adam(0.1), params_ema(0.999)), 4)
      >>> state = init_state({"w": jnp.ones(3)}, optimizer, jax.random.key(0))
      >>> ema_params(state)["w"].tolist()
      [1.0, 1.0, 1.0]
    """
    check_state(state)
    leaves = jax.tree.leaves(state.optimizer, is_leaf=_is_state)
    found = [leaf for leaf in leaves if _is_state(leaf)]
    if len(found) != 1:
        raise ValueError(
            f"ema_params: expected one params_ema in the optimizer, got {len(found) or 'none'}. "
            "Put it last: optax.chain(optax.adam(1e-3), params_ema(0.999))."
        )

    def cast(average, w):
        return w if isinstance(average, optax.MaskedNode) else average.astype(jnp.result_type(w))

    return jax.tree.map(
        cast, found[0].average, state.params, is_leaf=lambda x: isinstance(x, optax.MaskedNode)
    )


def _sum_of_powers(decay: float, count: jax.Array) -> jax.Array:
    """Returns `sum_{s<count} decay^s`, precise for a decay near 1."""
    count = count.astype(jnp.result_type(float))
    if decay == 1:
        return count
    log = math.log(decay) if decay else -math.inf
    return jnp.expm1(log * count) / math.expm1(log)


def _is_state(node: Any) -> bool:
    return isinstance(node, ParamsEmaState)
