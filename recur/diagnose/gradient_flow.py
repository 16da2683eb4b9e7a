"""How far gradients reach back in time: backpropagation through time, by lag."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur.arrays import as_array
from recur.checks import check_function, describe, known_value
from recur.diagnose.trajectory import Trajectory, make_trajectory, repeat_zeros
from recur.layer import Layer, check_layer
from recur.types import Carry, Context, Params


def carry_gradients(
    layer: Layer,
    params: Params,
    xs: Any,
    loss: Callable[[Any], jax.Array],
    *,
    carry: Carry = None,
    context: Context = None,
    length: Any = None,
) -> Carry:
    """Gradients of a loss with respect to the carry at each step (backpropagation through time).

        dL / dh_t    for t = 0, ..., T, where h_t is the carry after t steps

    They are exact, from one backward pass whose memory is proportional to T. A direct way from a
    step to its own output does not pass through the carry, so dL / dh_T is zero unless the loss is
    one of later steps.

    Args:
      layer: a causal layer over one sequence. Use `jax.vmap` for several.
      params: its params.
      xs: inputs `[T, ...]`.
      loss: `loss(ys) -> scalar`, of the outputs `[T, ...]`.
      carry: the carry to start from; the initial carry by default.
      context: as in `Layer.run`.
      length: the number of steps that count; the carry does not change at the others.

    Returns:
      A pytree like the carry, with leaves `[T + 1, ...]`.

    Raises:
      TypeError: if the layer is not one, or the loss is not a function.
      ValueError: if the layer is batched, pooled, not causal or has no carry of floats, or
        the loss is not a scalar.

    Example:
      With h_t = h_{t-1} / 2 + x_t, the gradient of h_3 halves with each step back:

      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.diagnose import carry_gradients
      >>> cell = recur.cell(
      ...     init=lambda key, x: jnp.asarray(0.5),
      ...     init_carry=lambda a, x: jnp.zeros(()),
      ...     step=lambda a, h, x: (a * h + x, a * h + x),
      ... )
      >>> layer, xs = recur.scan(cell), jnp.ones(3)
      >>> params = layer.init(jax.random.key(0), xs)
      >>> carry_gradients(layer, params, xs, lambda ys: ys[-1]).tolist()
      [0.125, 0.25, 0.5, 0.0]
    """
    caller = "carry_gradients"
    check_function(f"{caller}: loss", loss)
    steps = make_trajectory(caller, layer, params, xs, carry, context, length)
    return _carry_gradients(caller, steps, params, loss)


def gradient_by_lag(
    layer: Layer,
    params: Params,
    xs: Any,
    loss: Callable[[Any], jax.Array],
    *,
    step: int | jax.Array = -1,
    carry: Carry = None,
    context: Context = None,
    length: Any = None,
) -> jax.Array:
    """Norms of the gradient of one step's loss with respect to earlier carries, by lag.

        || dL_t / dh_{t-k} ||    for k = 1, ..., T

    They decay exponentially in a network whose gradient vanishes. h_{t-1} is the carry that step t
    reads.

    Args:
      layer: a causal layer over one sequence. Use `jax.vmap` for several.
      params: its params.
      xs: inputs `[T, ...]`.
      loss: `loss(y) -> scalar`, of the output of step t.
      step: t, from 0; negative steps count from the end of the sequence, which is `length` if it is
        given.
      carry: the carry to start from; the initial carry by default.
      context: as in `Layer.run`.
      length: the number of steps that count.

    Returns:
      Norms `[T]`, where entry k - 1 is that of lag k; zero for lags before the start.

    Raises:
      TypeError: if the layer is not one, the loss is not a function, or the step is not an integer.
      ValueError: if the layer is batched, pooled, not causal or has no carry of floats, the
        loss is not a scalar, or a known step is not one of the sequence.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.diagnose import gradient_by_lag
      >>> layer, xs = recur.scan(recur.gru(8)), jnp.ones((50, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> norms = gradient_by_lag(layer, params, xs, jnp.sum)
      >>> norms.shape, bool(norms[0] > norms[20])
      ((50,), True)

    References:
      Bengio, Simard & Frasconi 1994, Learning long-term dependencies with gradient descent is
      difficult, https://doi.org/10.1109/72.279181
    """
    caller = "gradient_by_lag"
    check_function(f"{caller}: loss", loss)
    steps = make_trajectory(caller, layer, params, xs, carry, context, length)
    step = _find_step(caller, step, steps.length, length)
    gradients = _carry_gradients(caller, steps, params, _loss_of_step(loss, step))
    return _backwards_from(step, _norms(gradients)[:-1])


def param_gradient_by_lag(
    layer: Layer,
    params: Params,
    xs: Any,
    loss: Callable[[Any], jax.Array],
    *,
    step: int | jax.Array = -1,
    carry: Carry = None,
    context: Context = None,
    length: Any = None,
) -> Params:
    """Norms of the parts of a param gradient that pass through earlier steps, by lag.

        dL_t / dθ = sum_{k=0}^{t} dL_t / dh_{t-k} · ∂h_{t-k} / ∂θ

    where ∂h_{t-k} / ∂θ is the direct derivative of one step, with h_{t-k-1} fixed. The norm of each
    summand says how much a step k steps back contributes to learning. Together they need the
    memory of one gradient.

    Args:
      layer: a causal layer over one sequence. Use `jax.vmap` for several.
      params: its params.
      xs: inputs `[T, ...]`.
      loss: `loss(y) -> scalar`, of the output of step t.
      step: t, as for `gradient_by_lag`.
      carry: the carry to start from; the initial carry by default.
      context: as in `Layer.run`.
      length: the number of steps that count.

    Returns:
      A pytree like the params, with norms `[T]` in place of each array: entry k is that of lag k.

    Raises:
      TypeError: if the layer is not one, the loss is not a function, or the step is not an integer.
      ValueError: if the layer is batched, pooled, not causal or has no carry of floats, the
        loss is not a scalar, or a known step is not one of the sequence.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.diagnose import param_gradient_by_lag
      >>> layer, xs = recur.scan(recur.elman(4)), jnp.ones((20, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> param_gradient_by_lag(layer, params, xs, jnp.sum).recurrent_kernel.shape
      (20,)

    References:
      Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks,
      equations 3 to 5, https://arxiv.org/abs/1211.5063
    """
    caller = "param_gradient_by_lag"
    check_function(f"{caller}: loss", loss)
    steps = make_trajectory(caller, layer, params, xs, carry, context, length)
    step = _find_step(caller, step, steps.length, length)
    gradients = _carry_gradients(caller, steps, params, _loss_of_step(loss, step))
    carries = steps.carries(params)

    def summand(number, before, inputs, gradient):
        def outputs(params):
            return steps.step(steps.bind(params), before, inputs)

        (_, y), pull = jax.vjp(outputs, params)
        of_y = jax.tree.map(lambda g: jnp.where(number == step, g, 0), jax.grad(loss)(y))
        (found,) = pull((gradient, of_y))
        return jax.tree.map(lambda g: _norms(g[None])[0], found)

    before = jax.tree.map(lambda h: h[:-1], carries)
    after = jax.tree.map(lambda g: g[1:], gradients)
    given = (jnp.arange(steps.length), before, steps.inputs, after)
    norms = jax.lax.map(lambda each: summand(*each), given)
    return jax.tree.map(lambda of_leaf: _backwards_from(step, of_leaf), norms)


def input_gradients(
    layer: Layer,
    params: Params,
    xs: Any,
    loss: Callable[[Any], jax.Array],
    *,
    carry: Carry = None,
    context: Context = None,
    length: Any = None,
) -> jax.Array:
    """Norms of the gradient of a loss with respect to the input of each step (saliency).

        || dL / dx_t ||    for t = 1, ..., T

    Args:
      layer: any layer over one sequence, also one that reads backward or is pooled.
      params: its params.
      xs: inputs of real numbers `[T, ...]`. Of tokens, pass the layer after the embedding, and the
        embedded tokens.
      loss: `loss(ys) -> scalar`, of what the layer returns.
      carry: the carry to start from; the initial carry by default.
      context: as in `Layer.run`.
      length: the number of steps that count.

    Returns:
      Norms `[T]`.

    Raises:
      TypeError: if the layer is not one, the loss is not a function, or the inputs are integers.
      ValueError: if the layer is batched, or the loss is not a scalar.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.diagnose import input_gradients
      >>> from recur.sequences import pool
      >>> layer, xs = recur.pooled(recur.scan(recur.gru(8)), pool.last), jnp.ones((50, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> norms = input_gradients(layer, params, xs, jnp.sum)
      >>> norms.shape, bool(norms[-1] > norms[0])
      ((50,), True)

    References:
      Simonyan, Vedaldi & Zisserman 2014, Deep inside convolutional networks: visualising image
      classification models and saliency maps, https://arxiv.org/abs/1312.6034
    """
    caller = "input_gradients"
    check_function(f"{caller}: loss", loss)
    check_layer(layer, caller, may_be_pooled=True)
    for leaf in jax.tree.leaves(xs):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(
                f"{caller}: expected inputs of real numbers, got {jnp.result_type(leaf)}. Embed "
                "tokens first, and pass the layer after the embedding."
            )

    def of_inputs(xs):
        return loss(layer(params, xs, carry=carry, context=context, length=length))

    return _norms(_gradient(caller, of_inputs, xs))


def _carry_gradients(caller: str, steps: Trajectory, params: Params, loss: Callable) -> Carry:
    """Returns the gradients of `loss(ys)` by shifting each carry by zero."""
    bound = steps.bind(params)

    def of_shifts(shifts):
        def advance(carry, each):
            inputs, shift = each
            carry, y = steps.step(bound, carry, inputs)
            return jax.tree.map(jnp.add, carry, shift), y

        first = jax.tree.map(lambda h, shift: h + shift[0], steps.first, shifts)
        after = jax.tree.map(lambda shift: shift[1:], shifts)
        _, ys = jax.lax.scan(advance, first, (steps.inputs, after))
        return loss(ys)

    return _gradient(caller, of_shifts, repeat_zeros(steps.first, steps.length + 1))


def _gradient(caller: str, function: Callable[[Any], Any], at: Any) -> Any:
    """The gradient of a function that must return one real number."""
    found = jax.eval_shape(function, at)
    if getattr(found, "shape", None) != () or not jnp.issubdtype(found.dtype, jnp.floating):
        raise ValueError(
            f"{caller}: expected a loss that returns one real number, got {describe(found)}."
        )
    value, pull = jax.vjp(function, at)
    return pull(jnp.ones_like(value))[0]


def _loss_of_step(loss: Callable, step: jax.Array) -> Callable:
    """The loss of the output of one step, as a function of all outputs."""
    return lambda ys: loss(jax.tree.map(lambda leaf: leaf[step], ys))


def _find_step(caller: str, step: Any, count: int, length: Any) -> jax.Array:
    """The index of a step from the start."""
    end = count if length is None else length
    known, known_end = known_value(step), known_value(end)
    step = as_array(f"{caller}: step", step)
    if step.ndim or not jnp.issubdtype(step.dtype, jnp.integer):
        raise TypeError(
            f"{caller}: expected a step as a whole number, got {step.dtype} of shape "
            f"{list(step.shape)}."
        )
    if known is not None and known_end is not None and not -known_end <= known < known_end:
        raise ValueError(
            f"{caller}: expected a step of a sequence of {known_end}, got step {known}."
        )
    step, end = step.astype(int), jnp.asarray(end).astype(int)
    return jnp.where(step < 0, end + step, step)


def _norms(gradients: Any) -> jax.Array:
    """The norm of each entry of the leading axis, over all leaves.

    Entries are scaled by the largest one, so that the squares of small gradients do not underflow.
    """
    leaves = jax.tree.leaves(gradients)
    sizes = [jnp.abs(g).reshape(len(g), math.prod(g.shape[1:])) for g in leaves]
    largest = jnp.stack([each.max(1, initial=0) for each in sizes]).max(0)
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    squares = [jnp.square(each / scale[:, None]).sum(1) for each in sizes]
    return scale * jnp.sqrt(sum(squares[1:], squares[0]))


def _backwards_from(step: jax.Array, values: jax.Array) -> jax.Array:
    """Values by distance back from a step: entry k is that of `step - k`, 0 before the start."""
    places = step - jnp.arange(len(values))
    return jnp.where(places >= 0, values[jnp.maximum(places, 0)], 0)
