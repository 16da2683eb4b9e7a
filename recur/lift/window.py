"""One window of truncated backpropagation through time (TBPTT) over a stream."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from recur.checks import check_whole
from recur.keys import split
from recur.layer import Layer, check_is_layer
from recur.masks import leading_shape, make_mask
from recur.types import Carry, Context, Params


def run_window(
    layer: Layer,
    params: Params,
    carry: Carry,
    xs: Any,
    k1: int,
    *,
    context: Context = None,
    mask: Any = None,
    reset: Any = None,
    key: jax.Array | None = None,
) -> tuple[Carry, Any]:
    """Runs one window of k2 steps, of which the last k1 are new, for truncated BPTT over a stream.

        carry_{e-k2+1..e}, ys_{e-k2+1..e} = layer(carry_{e-k2}, xs_{e-k2+1..e})
        returns carry_{e-k2+k1}, ys_{e-k1+1..e}

    Errors of the k1 new outputs are propagated back through the k2 steps of the window, which are
    all computed with the current params. They go no further if the carry is a constant for the next
    window, as in the step of `recur.train.make_step`. With constant params, the windows of a
    sequence give the gradient of `truncate(layer, k1, k2)`; in training on a stream, the params
    change after each window.

    Args:
      layer: a causal layer, batched or not.
      params: its params.
      carry: the carry before the window: from the previous window, or `layer.init_carry`.
      xs: `[k2, ...]`, or `[B, k2, ...]` for a batched layer, such as the windows of
        `recur.sequences.Streams`.
      k1: the number of new steps in the window, 1 ≤ k1 ≤ k2.
      context: as in `Layer.run`.
      mask: as in `Layer.run`.
      reset: as in `Layer.run`.
      key: as in `Layer.run`.

    Returns:
      The carry before the next window, and the last k1 outputs.

    Raises:
      TypeError: if `layer` is not a layer, or mask or reset is not bool.
      ValueError: if k1 is not a whole number from 1 to k2, the layer is not causal, or mask or
        reset does not have one flag per step.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.gru(4))
      >>> xs = jnp.ones((6, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> carry = layer.init_carry(params, xs)
      >>> carry, ys = recur.lift.run_window(layer, params, carry, xs, k1=2)
      >>> carry.shape, ys.shape
      ((4,), (2, 4))

    References:
      Williams & Peng 1990, An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent
      Network Trajectories (their BPTT(h; h')), https://doi.org/10.1162/neco.1990.2.4.490
    """
    check_is_layer(layer, "run_window")
    axis = layer.batch_axes
    k2 = leading_shape(xs, axis)[axis]
    if not 1 <= check_whole("run_window: k1", k1, 0) <= k2:
        raise ValueError(
            f"run_window: expected k1 from 1 to the {k2} steps of the window, got k1={k1}."
        )
    if not layer.is_causal:
        raise ValueError(
            "run_window: the layer is not causal, so a sequence cannot be fed in pieces."
        )
    masks = make_mask(xs, mask=mask, reset=reset, batch_axes=axis)
    steps = {"xs": xs, "mask": masks.valid, "reset": masks.reset}
    first_key, rest_key = split(key, 2)

    def run(carry, begin, end, key):
        piece = jax.tree.map(lambda a: jax.lax.slice_in_dim(a, begin, end, axis=axis), steps)
        return layer.run(params, **piece, carry=carry, context=context, key=key)

    next_carry, ys = run(carry, 0, k1, first_key)
    if k1 < k2:
        _, rest = run(next_carry, k1, k2, rest_key)
        joined = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis), ys, rest)
        ys = jax.tree.map(lambda a: jax.lax.slice_in_dim(a, k2 - k1, k2, axis=axis), joined)
    return next_carry, ys
