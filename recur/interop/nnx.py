"""Cells of Flax NNX as cells of `recur`, and layers of `recur` as modules of Flax NNX."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax

from recur.call_repr import call_repr
from recur.interop.foreign import (
    by_name,
    check_layer_and_params,
    foreign_cell,
    from_names,
    named,
    typed,
)
from recur.layer import Layer
from recur.modules import merge_nnx, split_nnx
from recur.types import Cell


@call_repr
def from_nnx(make: Callable[[Any], Any]) -> Cell:
    """Wraps a recurrent cell of Flax NNX as a cell of `recur`.

        carry_t, y_t = cell(carry_{t-1}, x_t)

    Args:
      make: `make(rngs) -> cell`. It is called once immediately, for the structure of the cell, and
        by each `init` with `nnx.Rngs` of its key. A random initial carry is drawn with a fixed key.

    Returns:
      A `Cell` whose params are the values of each `nnx.Param` by name, as nested dicts, with the
      carry, input and output of the module. Dropout in it is on when a key is given.

    Raises:
      TypeError: when `make` does not return a recurrent cell of NNX.
      ValueError: when the module has variables other than parameters and random streams; while
        tracing, when its carry changes structure.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import nnx
      >>> layer = recur.scan(recur.interop.from_nnx(lambda rngs: nnx.GRUCell(3, 4, rngs=rngs)))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 4)

    References:
      Heek et al. 2020, Flax: A neural network library and ecosystem for JAX,
      https://github.com/google/flax
    """
    from flax import linen as nn
    from flax import nnx

    is_maker = callable(make) and not isinstance(make, (nnx.Module, nn.Module))
    made: Any = make(nnx.Rngs(0)) if is_maker else None
    if not hasattr(made, "initialize_carry"):
        raise TypeError(
            "from_nnx: expected a function of rngs that makes a recurrent cell, such as "
            f"lambda rngs: nnx.LSTMCell(3, 64, rngs=rngs), got {named(make, made)}."
        )
    name = f"from_nnx({type(made).__name__})"
    graph, like, streams, others = split_nnx(made)
    if jax.tree.leaves(others):
        raise ValueError(
            f"{name}: expected a cell with only parameters and random streams as variables, got "
            f"also {sorted(map(str, nnx.to_pure_dict(others)))}. Keep state in the carry."
        )

    def init(key, x):
        del x
        return nnx.to_pure_dict(split_nnx(make(nnx.Rngs(key)))[1])

    def init_carry(params, x):
        del params
        return made.initialize_carry(x.shape, rngs=nnx.Rngs(0))

    def step(params, carry, x, key):
        return merge_nnx(graph, like, params, streams, others, key)(carry, x)

    return foreign_cell(name, Mapping, init, init_carry, step)


def to_nnx(layer: Layer, params: Any, *, rngs: Any = None) -> Any:
    """Wraps a layer as a module of Flax NNX, whose parameters are those of the layer.

    Each array is an `nnx.Param`, at the path of its name in the params, such as
    `module.params["kernel"]["update"]`. The module is called as an `nnx.RNN`:

        ys = module(xs, seq_lengths=None, initial_carry=None, return_carry=False,
                    mask=None, reset=None, context=None, rngs=None)

    and returns `(carry, ys)` with `return_carry=True`. Noise such as dropout is on in training
    mode, `module.train()`, if the module or the call has `rngs`, and off after `module.eval()`.

    Args:
      layer: any layer, batched or not. A batched layer reads `[B, T, I]`.
      params: of the layer, with which the module starts.
      rngs: `nnx.Rngs`, whose stream "dropout" gives a key to each call.

    Returns:
      An `nnx.Module`.

    Raises:
      TypeError: if it is not a layer, or params are not a pytree of arrays.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import nnx
      >>> layer, xs = recur.batch(recur.scan(recur.gru(8))), jnp.ones((2, 5, 3))
      >>> module = recur.interop.to_nnx(layer, layer.init(jax.random.key(0), xs))
      >>> model = nnx.Sequential(module, nnx.Linear(8, 2, rngs=nnx.Rngs(0)))
      >>> model(xs).shape
      (2, 5, 2)

    References:
      Heek et al. 2020, Flax: A neural network library and ecosystem for JAX,
      https://github.com/google/flax
    """
    check_layer_and_params("to_nnx", layer, params)
    return _nnx_module()(layer, params, rngs)


@functools.cache
def _nnx_module() -> Any:
    """Returns the class of the modules, which exists once NNX is imported."""
    from flax import nnx

    class RecurrentLayer(nnx.Module):
        """A layer of `recur`."""

        def __init__(self, layer: Layer, params: Any, rngs: Any):
            self.layer = layer
            self.params = nnx.data(jax.tree.map(nnx.Param, by_name(params)))
            self.structure: Any = jax.tree.structure(params)
            self.rngs = nnx.data(rngs)
            self.deterministic = False

        def __call__(
            self,
            xs: Any,
            *,
            seq_lengths: Any = None,
            initial_carry: Any = None,
            return_carry: bool = False,
            mask: Any = None,
            reset: Any = None,
            context: Any = None,
            rngs: Any = None,
        ) -> Any:
            """Runs the layer; with `return_carry=True` it returns `(carry, ys)`."""
            rngs = self.rngs if rngs is None else rngs
            key = None if rngs is None or self.deterministic else typed(rngs.dropout())
            like = jax.tree.unflatten(self.structure, range(self.structure.num_leaves))
            carry, ys = self.layer.run(
                from_names(nnx.as_pure(self.params), like),
                xs,
                carry=initial_carry,
                length=seq_lengths,
                mask=mask,
                reset=reset,
                context=context,
                key=key,
            )
            return (carry, ys) if return_carry else ys

    return RecurrentLayer
