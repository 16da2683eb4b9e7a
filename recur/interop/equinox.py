"""Cells of Equinox as cells of `recur`, and layers of `recur` as modules of Equinox."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur.call_repr import call_repr
from recur.checks import check_function
from recur.interop.foreign import check_layer_and_params, foreign_cell, named, typed
from recur.layer import Layer
from recur.types import Cell


@call_repr
def from_equinox(
    make: Callable[[jax.Array], Any],
    *,
    init_carry: Callable[[Any, Any], Any] | None = None,
    output: Callable[[Any], Any] | None = None,
) -> Cell:
    """Wraps a recurrent cell of Equinox as a cell of `recur`.

        state_t = cell(x_t, state_{t-1}),    y_t = output(state_t)

    Args:
      make: `make(key) -> cell`, where the module is called as `cell(x, state)`. It is called once
        immediately, for the structure of the cell, and again by each `init`.
      init_carry: `init_carry(cell, x) -> state_0`; by default zeros of width `cell.hidden_size`:
        one array, or two for `eqx.nn.LSTMCell`.
      output: `output(state) -> y`; by default the state, or its first entry if it is a tuple.

    Returns:
      A `Cell` whose params are the module with only its floating-point arrays, and None elsewhere;
      the carry is the state.

    Raises:
      TypeError: if `make` does not return a module.
      ValueError: if the module has no `hidden_size` and `init_carry` is not given; when tracing, if
        its state changes structure.

    Example:
      >>> import equinox as eqx, jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.interop.from_equinox(lambda key: eqx.nn.GRUCell(3, 4, key=key)))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> layer(params, xs).shape
      (5, 4)

    References:
      Kidger & Garcia 2021, Equinox: neural networks in JAX via callable PyTrees and filtered
      transformations, https://arxiv.org/abs/2111.00254
    """
    import equinox as eqx

    function: Any = make
    is_maker = callable(make) and not isinstance(make, eqx.Module)
    made: Any = function(jax.random.key(0)) if is_maker else None
    if not isinstance(made, eqx.Module):
        raise TypeError(
            "from_equinox: expected a function of a key that makes a cell, such as "
            f"lambda key: eqx.nn.LSTMCell(3, 64, key=key), got {named(make, made)}."
        )
    name = f"from_equinox({type(made).__name__})"
    for argument, function_given in {"init_carry": init_carry, "output": output}.items():
        if function_given is not None:
            check_function(f"{name}: {argument}", function_given)
    features = getattr(made, "hidden_size", None)
    if init_carry is None and features is None:
        raise ValueError(
            f"{name}: expected a cell with a hidden_size, got one without. Pass init_carry, a "
            "function (cell, x) -> state."
        )
    _, rest = eqx.partition(made, eqx.is_inexact_array)

    def init(key, x):
        del x
        return eqx.filter(function(key), eqx.is_inexact_array)

    def initial_state(params, x):
        if init_carry is not None:
            return init_carry(eqx.combine(params, rest), x)
        zeros = jnp.zeros(features, jax.tree.leaves(params)[0].dtype)
        return (zeros, zeros) if isinstance(made, eqx.nn.LSTMCell) else zeros

    def step(params, carry, x, key):
        del key
        state = eqx.combine(params, rest)(x, carry)
        if output is not None:
            return state, output(state)
        return state, state[0] if isinstance(state, tuple) else state

    return foreign_cell(name, type(made), init, initial_state, step)


def to_equinox(layer: Layer, params: Any) -> Any:
    """Wraps a layer as a module of Equinox, whose parameters are those of the layer.

    The params are the field `module.params`, such as `module.params.kernel.update`. The module is
    called with the arguments of a layer:

        ys = module(xs, carry=None, length=None, mask=None, reset=None, context=None, key=None)

    and `module.run` with the same returns `(carry, ys)`. Noise such as dropout is on if a key is
    given, and off after `eqx.nn.inference_mode`.

    Args:
      layer: any layer. One that is not batched reads one sequence `[T, I]`; `jax.vmap` of the
        module or `recur.batch` of the layer reads a batch.
      params: of the layer, with which the module starts.

    Returns:
      An `eqx.Module`.

    Raises:
      TypeError: if it is not a layer, or params are not a pytree of arrays.

    Example:
      >>> import equinox as eqx, jax, jax.numpy as jnp, recur
      >>> layer, xs = recur.scan(recur.gru(8)), jnp.ones((5, 3))
      >>> module = recur.interop.to_equinox(layer, layer.init(jax.random.key(0), xs))
      >>> gradient = eqx.filter_grad(lambda module: module(xs).sum())(module)
      >>> gradient.params.kernel.update.shape
      (3, 8)

    References:
      Kidger & Garcia 2021, Equinox: neural networks in JAX via callable PyTrees and filtered
      transformations, https://arxiv.org/abs/2111.00254
    """
    check_layer_and_params("to_equinox", layer, params)
    return _equinox_module()(params, layer)


@functools.cache
def _equinox_module() -> Any:
    """Returns the class of the modules, which exists once Equinox is imported."""
    import equinox as eqx

    class RecurrentLayer(eqx.Module):
        """A layer of `recur`."""

        params: Any
        layer: Layer = eqx.field(static=True)
        inference: bool = False

        def run(self, xs: Any, *, key: jax.Array | None = None, **arguments: Any) -> Any:
            """Runs the layer and returns the carry and the outputs."""
            key = None if key is None or self.inference else typed(key)
            return self.layer.run(self.params, xs, key=key, **arguments)

        def __call__(self, xs: Any, *, key: jax.Array | None = None, **arguments: Any) -> Any:
            """Runs the layer and returns the outputs."""
            return self.run(xs, key=key, **arguments)[1]

    return RecurrentLayer
