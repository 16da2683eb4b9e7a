"""Cells of Flax Linen as cells of `recur`, and layers of `recur` as modules of Flax Linen."""

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
from recur.layer import Layer, check_is_layer
from recur.modules import of_linen
from recur.types import Cell


@call_repr
def from_linen(cell: Any) -> Cell:
    """Wraps a recurrent cell of Flax Linen as a cell of `recur`.

        carry_t, y_t = cell.apply(params, carry_{t-1}, x_t)

    Args:
      cell: a `flax.linen.RNNCellBase`, such as `nn.OptimizedLSTMCell(64)` or your own. A random
        initial carry is drawn with a fixed key.

    Returns:
      A `Cell` with the variables "params" of the module, and its carry, input and output. Dropout
      in it is on when a key is given.

    Raises:
      TypeError: when `cell` is not a recurrent cell of Linen.
      ValueError: while tracing, when the module has other variables than "params", or its carry
        changes structure.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> layer = recur.scan(recur.interop.from_linen(nn.OptimizedLSTMCell(4)))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs, length=2)[2:].any()
      Array(False, dtype=bool)

    References:
      Heek et al. 2020, Flax: A neural network library and ecosystem for JAX,
      https://github.com/google/flax
    """
    from flax import linen as nn

    if not isinstance(cell, nn.RNNCellBase):
        raise TypeError(
            "from_linen: expected a recurrent cell of Flax Linen, such as nn.LSTMCell(64), got "
            f"{named(cell)}. Pass a module without a carry to recur.chain or recur.readout, and a "
            "cell of Flax NNX to recur.interop.from_nnx."
        )
    module = of_linen(cell)

    def init(key, x):
        return module.init(key, init_carry(None, x), x)

    def init_carry(params, x):
        del params
        return cell.initialize_carry(jax.random.key(0), x.shape)

    def step(params, carry, x, key):
        return module.apply(params, carry, x, key=key)

    return foreign_cell(f"from_linen({type(cell).__name__})", Mapping, init, init_carry, step)


def to_linen(layer: Layer, params: Any = None) -> Any:
    """Wraps a layer as a module of Flax Linen, whose parameters are those of the layer.

    The parameters are nested dicts of the names of the layer's params, such as
    `variables["params"]["kernel"]["update"]`. The module is called as an `nn.RNN`:

        ys = module(xs, seq_lengths=None, initial_carry=None, return_carry=False,
                    mask=None, reset=None, context=None)

    and returns `(carry, ys)` with `return_carry=True`. Noise such as dropout is on if
    `rngs={"dropout": key}` is given.

    Args:
      layer: any layer, batched or not. A batched layer reads `[B, T, I]`.
      params: of the layer, with which `module.init` starts; by default they are drawn.

    Returns:
      An `nn.Module`.

    Raises:
      TypeError: if it is not a layer, or params are not a pytree of arrays.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> gru = recur.interop.to_linen(recur.batch(recur.scan(recur.gru(8))))
      >>> model, xs = nn.Sequential([nn.Dense(4), gru]), jnp.ones((2, 5, 3))
      >>> variables = model.init(jax.random.key(0), xs)
      >>> model.apply(variables, xs).shape
      (2, 5, 8)

    References:
      Heek et al. 2020, Flax: A neural network library and ecosystem for JAX,
      https://github.com/google/flax
    """
    check_is_layer(layer, "to_linen", may_be_pooled=True)
    if params is not None:
        check_layer_and_params("to_linen", layer, params)
    start = None if params is None else functools.partial(by_name, params)
    return _linen_module()(layer, start)


@functools.cache
def _linen_module() -> Any:
    """Returns the class of the modules, which exists once Linen is imported."""
    from flax import linen as nn

    class RecurrentLayer(nn.Module):
        """A layer of `recur`."""

        layer: Layer
        start: Callable | None = None  # a function, so that the module can be hashed

        @nn.compact
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
        ) -> Any:
            """Runs the layer; with `return_carry=True` it returns `(carry, ys)`."""

            def init(key):
                return self.layer.init(key, xs, context=context)

            like = jax.eval_shape(init, jax.random.key(0))
            drawn = {}
            if self.is_initializing():
                if self.start is not None:
                    drawn = self.start()
                else:
                    drawn = by_name(init(typed(self.make_rng("params"))))
            names = by_name(like)
            found = {
                name: self.variable("params", name, lambda name=name: drawn[name]).value
                for name in names
            }
            carry, ys = self.layer.run(
                from_names(found, like),
                xs,
                carry=initial_carry,
                length=seq_lengths,
                mask=mask,
                reset=reset,
                context=context,
                key=typed(self.make_rng("dropout")) if self.has_rng("dropout") else None,
            )
            return (carry, ys) if return_carry else ys

    return RecurrentLayer
