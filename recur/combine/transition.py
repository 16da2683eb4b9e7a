"""Deep transitions from one step to the next.

An RNN can be deep in three places (Pascanu et al. 2014), each with its own combinator:

    from input to hidden     readin(cell, MLP)
    from hidden to hidden    deep_transition(cell, MLP), in this file
    from hidden to output    readout(cell, MLP)

`recurrent_highway` is a cell whose transition has several gated layers, through which gradients
flow more easily.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.checks import check_cell, check_flag
from recur.combine.wrap import bind_field, first_shapes, hidden_of, with_hidden, wrap_bound
from recur.keys import check_key, split
from recur.modules import as_module
from recur.types import Cell, Params


class TransitionParams(NamedTuple):
    """Weights of `deep_transition`.

    Attributes:
      cell: params of the cell.
      transition: params of the network ψ.
    """

    cell: Params
    transition: Params


@call_repr
def deep_transition(cell: Cell, transition: Any, shortcut: bool = False) -> Cell:
    """Applies a network to the hidden state after every step (deep transition RNN).

        carry'_t, _ = step(carry_{t-1}, x_t),    h'_t the hidden state of carry'_t
        h_t = ψ(h'_t)                            with a shortcut: h_t = ψ([h'_t, h_{t-1}])
        carry_t = carry'_t with the hidden state h_t
        y_t = h_t

    With the shortcut, gradients reach h_{t-1} without passing through the cell. The output is h_t,
    so `readout`, `residual` and similar combinators go around `deep_transition`, not inside it.

    Args:
      cell: a cell whose carry is its hidden state `[H]`, or a NamedTuple with the field `hidden`.
      transition: ψ, a module, a function or a name of `recur.modules.ACTIVATIONS`, with output
        `[H]`.
      shortcut: whether ψ reads h_{t-1} too.

    Returns:
      A `Cell` with `TransitionParams` and the carry of `cell`; y is h_t `[H]`, in the dtype of the
      output of `cell`.

    Raises:
      TypeError: when `cell` is not a cell, `transition` none of these types or shortcut not a bool;
        while tracing, when the carry has no hidden state.
      ValueError: when `transition` is an unknown name, or a module with mutable collections; while
        tracing, when ψ does not keep the shape of h.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> mlp = nn.Sequential([nn.Dense(16), nn.tanh, nn.Dense(8), nn.tanh])
      >>> layer = recur.scan(recur.deep_transition(recur.gru(8), mlp))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 8)

    References:
      Pascanu et al. 2014, How to Construct Deep Recurrent Neural Networks,
      https://arxiv.org/abs/1312.6026
    """
    caller = "deep_transition"
    check_cell(cell, caller)
    shortcut = check_flag(f"{caller}: shortcut", shortcut)
    psi = as_module(transition)

    def seen(new, old):
        return jnp.concatenate([new, old], axis=-1) if shortcut else new

    def init(key, x, context=None):
        cell_key, transition_key = split(check_key(key), 2)
        params = cell.init(cell_key, x, context=context)
        h = hidden_of(first_shapes(cell, params, x, context)[1], caller)
        v = jax.eval_shape(seen, h, h)
        return TransitionParams(cell=params, transition=psi.init(transition_key, v))

    def step(bound, carry, x, key=None):
        cell_key, transition_key = split(key, 2)
        advanced, v = cell.step(bound.cell, carry, x, cell_key)
        new = hidden_of(advanced, caller)
        h = psi.apply(bound.transition, seen(new, hidden_of(carry, caller)), key=transition_key)
        if h.shape != new.shape:
            raise ValueError(
                f"{caller}: expected transition to keep the shape of the hidden state, "
                f"{list(new.shape)}, got {list(h.shape)}."
            )
        is_float = jnp.issubdtype(getattr(v, "dtype", bool), jnp.floating)
        y = h.astype(v.dtype if is_float else new.dtype)
        return with_hidden(advanced, h.astype(new.dtype)), y

    return wrap_bound(cell, init, step, bind_field(cell, caller, TransitionParams))
