"""Gradient clipping by a running mean of gradient norms."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from recur.checks import check_number


class ClipByAverageNormState(NamedTuple):
    """The state of `clip_by_average_norm`.

    Attributes:
      seen: the number of norms in the mean, int32.
      mean: the running mean m_t, before the correction for its start at zero, float32.
    """

    seen: jax.Array
    mean: jax.Array


def clip_by_average_norm(factor: float = 1.0, decay: float = 0.99) -> optax.GradientTransformation:
    """Clips gradients to a multiple of the running mean of recent gradient norms.

        n_t = |g_t|_2                                    over all leaves, before clipping
        m_t = decay m_{t-1} + (1 - decay) n_t,           m_0 = 0
        g_t ← g_t min(1, factor m_{t-1} / (1 - decay^{t-1}) / n_t)

    The threshold adapts to the scale of the gradients. The first gradient is not clipped. A norm
    that is not finite is left out of the mean, and its gradient is not clipped. To clip by a fixed
    norm, use `optax.clip_by_global_norm`.

    Args:
      factor: the threshold as a multiple of the mean; Pascanu et al. tried 0.5 to 10.
      decay: of the running mean, which averages about 1 / (1 - decay) updates.

    Returns:
      An `optax.GradientTransformation`.

    Raises:
      ValueError: if factor is not above 0, or decay not in [0, 1).

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from recur.train import clip_by_average_norm
      >>> clip = clip_by_average_norm()
      >>> state = clip.init(jnp.zeros(2))
      >>> ordinary, state = clip.update(jnp.array([3.0, 4.0]), state)
      >>> exploding, state = clip.update(jnp.array([300.0, 400.0]), state)
      >>> exploding.round(4).tolist()
      [3.0, 4.0]

    References:
      Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks,
      https://arxiv.org/abs/1211.5063 (section 3.2)
    """
    factor = check_number("clip_by_average_norm: factor", factor)
    decay = check_number("clip_by_average_norm: decay", decay)
    if not (factor > 0 and 0 <= decay < 1):
        raise ValueError(
            "clip_by_average_norm: expected factor > 0 and 0 <= decay < 1, got "
            f"factor={factor} and decay={decay}."
        )

    def init(params):
        del params
        return ClipByAverageNormState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32))

    def update(updates, state, params=None):
        del params
        norm = optax.tree.norm(updates).astype(jnp.float32)
        finite = jnp.isfinite(norm)
        correction = 1 - jnp.float32(decay) ** state.seen.astype(jnp.float32)
        threshold = factor * state.mean / jnp.where(state.seen > 0, correction, 1)
        clips = finite & (state.seen > 0) & (norm > threshold)
        scale = jnp.where(clips, threshold / jnp.where(clips, norm, 1), 1)
        updates = jax.tree.map(lambda g: g * scale.astype(g.dtype), updates)
        mean = decay * state.mean + (1 - decay) * jnp.where(finite, norm, 0)
        return updates, ClipByAverageNormState(
            seen=state.seen + finite.astype(jnp.int32),
            mean=jnp.where(finite, mean, state.mean),
        )

    return optax.GradientTransformation(init, update)
