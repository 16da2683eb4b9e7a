"""Recurrent cores of Haiku as cells of `recur`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recur.call_repr import call_repr
from recur.interop.foreign import foreign_cell, named, zeros_like
from recur.types import Cell


@call_repr
def from_haiku(make: Callable[[], Any]) -> Cell:
    """Wraps a recurrent core of Haiku as a cell of `recur`.

        y_t, state_t = core(x_t, state_{t-1})

    Args:
      make: `make() -> core`, which makes an `hk.RNNCore`; it is called inside `hk.transform`.

    Returns:
      A `Cell` with the params of Haiku; the carry is the state of the core, x and y are its input
      and output. A core that calls `hk.next_rng_key` needs a key.

    Raises:
      TypeError: when `make` is not a function; while tracing, when it does not return a core.
      ValueError: while tracing, when the core uses `hk.get_state`, or its state changes structure.

    Example:
      >>> import haiku as hk, jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.interop.from_haiku(lambda: hk.LSTM(4)))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 4)

    References:
      Hennigan et al. 2020, Haiku: Sonnet for JAX, https://github.com/google-deepmind/dm-haiku
    """
    import haiku as hk

    def no_maker(core=None):
        return TypeError(
            "from_haiku: expected a function that makes a core, such as lambda: hk.LSTM(64), got "
            f"{named(make, core)}."
        )

    if not callable(make) or isinstance(make, hk.Module):
        raise no_maker()

    def functions():
        core = make()
        if not hasattr(core, "initial_state"):
            raise no_maker(core)

        def initial_state():
            return core.initial_state(None)

        def step(state, x):
            y, state = core(x, state)
            return state, y

        return lambda x: step(initial_state(), x), (initial_state, step)

    transformed = hk.multi_transform(functions)
    initial_state, advance = transformed.apply

    def init(key, x):
        return transformed.init(key, zeros_like(x))

    def init_carry(params, x):
        del x
        return initial_state(params, None)

    def step(params, carry, x, key):
        return advance(params, key, carry, x)

    return foreign_cell("from_haiku", Mapping, init, init_carry, step)
