"""One window of truncated backpropagation through time, over an endless stream."""

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
    """Runs a window of k2 steps, the last k1 of them new, for truncated BPTT over a stream.

        carry_{e-k2+1..e}, ys_{e-k2+1..e} = layer(carry_{e-k2}, xs_{e-k2+1..e})
        returns carry_{e-k2+k1}, ys_{e-k1+1..e}

    Errors of the k1 new outputs flow back through the k2 steps of the window, which were computed
    with today's params, and no further, when the next window is given the carry as a constant: as
    the step of `recur.train.make_step` is. Over a whole sequence this is what `truncate(layer, k1,
    k2)` is for one set of params; a stream changes them after each window.

    Args:
      layer: a causal layer, batched or not.
      params: its params.
      carry: the carry before the window: from the window before, or `layer.init_carry`.
      xs: `[k2, ...]`, or `[B, k2, ...]` of a batched layer, as `recur.sequences.Streams` reads
        them.
      k1: how many steps of the window are new, 1 ≤ k1 ≤ k2.
      context: as of the layer.
      mask: as of the layer.
      reset: as of the layer.
      key: as of the layer.

    Returns:
      The carry before the next window, and the last k1 outputs.

    Raises:
      TypeError: if `layer` is not a layer, or mask or reset is not bool.
      ValueError: if k1 is not a whole number from 1 to k2, the layer is not causal, or mask or
        reset has not one flag a step.

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
            "run_window: the layer is not causal, so it cannot be fed a sequence in pieces."
        )
    marks = make_mask(xs, mask=mask, reset=reset, batch_axes=axis)
    steps = {"xs": xs, "mask": marks.valid, "reset": marks.reset}
    first_key, rest_key = split(key, 2)

    def run(carry, begin, end, key):
        piece = jax.tree.map(lambda a: jax.lax.slice_in_dim(a, begin, end, axis=axis), steps)
        return layer.run(params, **piece, carry=carry, context=context, key=key)

    handed_on, ys = run(carry, 0, k1, first_key)
    if k1 < k2:
        _, rest = run(handed_on, k1, k2, rest_key)
        joined = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis), ys, rest)
        ys = jax.tree.map(lambda a: jax.lax.slice_in_dim(a, k2 - k1, k2, axis=axis), joined)
    return handed_on, ys
