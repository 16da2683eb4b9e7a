"""Depth from one step to the next.

An RNN can be deep in three places (Pascanu et al. 2014), and by three combinators:

    from input to hidden     readin(cell, MLP)
    from hidden to hidden    deep_transition(cell, MLP), the file at hand
    from hidden to output    readout(cell, MLP)

A transition of gated layers, through which gradients pass more easily, is the cell
`recurrent_highway`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.checks import check_cell
from recur.combine.structure import named_hidden, with_hidden
from recur.keys import check_key, split
from recur.modules import as_module
from recur.types import AnyCell, Cell, Params


class TransitionParams(NamedTuple):
    """Weights of `deep_transition`."""

    cell: Params
    transition: Params


def deep_transition(cell: AnyCell, transition: Any, shortcut: bool = False) -> Cell:
    """Puts a net between the state that a cell gives and the state that it reads next.

        carry'_t, _ = step(carry_{t-1}, x_t),    h'_t the hidden state of carry'_t
        h_t = ψ(h'_t)                            with a shortcut: h_t = ψ([h'_t, h_{t-1}])
        carry_t = carry'_t with the hidden state h_t
        y_t = h_t

    The shortcut gives gradients a way around the cell. The output is h_t whatever the cell's own
    was, so `readout`, `residual` and the like stand around `deep_transition`, not inside of it.

    Args:
      cell: a cell whose carry is its hidden state, or a NamedTuple with the field `hidden`.
      transition: ψ, a Linen module, a function or a name of `recur.modules.ACTIVATIONS`; it gives
        as many numbers as h has.
      shortcut: whether ψ sees h_{t-1} too.

    Returns:
      A `Cell` with `TransitionParams`; its carry is the cell's own, y is h_t `[H]`.

    Raises:
      TypeError: when `cell` is not a cell, or `transition` none of these; while tracing, when the
        carry does not tell its hidden state.
      ValueError: when it is an unknown name, or a module with mutable collections; while tracing,
        when ψ does not keep the shape of h.

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
    check_cell(cell, "deep_transition")
    psi = as_module(transition)

    def hidden(carry):
        return named_hidden(carry, "deep_transition")

    def seen(new, old):
        return jnp.concatenate([new, old], axis=-1) if shortcut else new

    def init(key, x, context=None):
        cell_key, transition_key = split(check_key(key), 2)
        params = cell.init(cell_key, x, context=context)
        h = jax.eval_shape(first_hidden, params, x, context)
        v = jax.eval_shape(seen, h, h)
        return TransitionParams(cell=params, transition=psi.init(transition_key, v))

    def first_hidden(params, x, context):
        return hidden(cell.start(cell.bind(params, x, context=context), x))

    def bind(params, x, *, key=None, context=None):
        return params._replace(cell=cell.bind(params.cell, x, key=key, context=context))

    def start(bound, x):
        return cell.start(bound.cell, x)

    def step(bound, carry, x, key=None):
        cell_key, transition_key = split(key, 2)
        advanced, _ = cell.step(bound.cell, carry, x, cell_key)
        new = hidden(advanced)
        h = psi.apply(bound.transition, seen(new, hidden(carry)), key=transition_key)
        if h.shape != new.shape:
            raise ValueError(
                f"deep_transition: the net must give h as it is, {list(new.shape)}, for the cell "
                f"reads it next; it gave {list(h.shape)}."
            )
        h = h.astype(new.dtype)
        return with_hidden(advanced, h, "deep_transition"), h

    return Cell(init, bind, start, step)
