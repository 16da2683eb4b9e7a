"""Forced alignment by CTC: at which frames each symbol of a known transcript is."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.decode.ctc_inputs import check_ctc_logits, check_ctc_targets
from recur.decode.hypotheses import log_softmax
from recur.ids import is_inside
from recur.log_sums import log_sum, safe_subtract
from recur.manual_axes import vary_over
from recur.masks import zero_invalid


class CtcAlignment(NamedTuple):
    """The result of `ctc_align`.

    If the targets need more frames than there are, which is an error where both are known, the
    log-likelihoods are -inf, and no frame has a target.

    Attributes:
      target: which target the most likely path emits at each frame, from 0 to N - 1, or -1 for the
        blank and for frames that do not count, int32 `[..., T]`.
      begin: the first frame of each target on that path, int32 `[..., N]`, 0 in the padding.
      end: the frame after its last one, int32 `[..., N]`, 0 in the padding.
      posterior: the probability that target n is emitted at frame t, over all alignments, float
        `[..., T, N]`, zero in the padding. 1 minus their sum is that of the blank.
      path_log_likelihood: the log-probability of the most likely path in nats, float `[...]`.
      log_likelihood: that of the targets, over all alignments, float `[...]`: minus
        `recur.train.ctc_loss`.
    """

    target: jax.Array
    begin: jax.Array
    end: jax.Array
    posterior: jax.Array
    path_log_likelihood: jax.Array
    log_likelihood: jax.Array


class _Lattice(NamedTuple):
    """The states of one sequence: a blank before, between and after the targets, 2 N + 1 in all."""

    scores: jax.Array  # [T, S], the log-probability of the symbol of each state
    skips: jax.Array  # [S], whether a state can follow the one two before it
    is_last: jax.Array  # [S], whether a path may end in the state
    mask: jax.Array  # [T]


def ctc_align(
    logits: Any, targets: Any, mask: Any = None, target_mask: Any = None, *, blank: int = 0
) -> CtcAlignment:
    """Aligns targets with frames by CTC (forced alignment), and computes posteriors.

        α_t(s) = p_t(z_s) (α_{t-1}(s) + α_{t-1}(s-1) + c_s α_{t-1}(s-2))
        c_s = 1 if z_s is neither the blank nor z_{s-2}, else 0

    The states s are a blank, target 1, a blank, target 2, ..., a blank, and z_s are their symbols.
    The posteriors are from the forward-backward algorithm over them, the path from the Viterbi
    algorithm, where a maximum replaces the sum. It is compiled once for each shape.

    Args:
      logits: `[..., T, V]`, of the symbols and the blank.
      targets: integer `[..., N]`, without blanks.
      mask: bool `[..., T]`, True where the frame counts; all frames by default. Values at other
        frames never matter.
      target_mask: bool `[..., N]`, True where the target counts; all targets by default. Targets
        are padded on the right.
      blank: the id of the blank.

    Returns:
      A `CtcAlignment`.

    Raises:
      TypeError: if logits are not floats, targets not integers, or a mask is not bool.
      ValueError: if the shapes do not fit; if a target that counts is known to be the blank or
        outside the vocabulary, the targets are known to be longer than the frames allow, or the
        target mask is known not to be padding on the right.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.decode import ctc_align
      >>> frames = jnp.array([0, 2, 2, 0, 0, 1])  # 0 is the blank
      >>> found = ctc_align(9.0 * jax.nn.one_hot(frames, 3), jnp.array([2, 1]))
      >>> found.target.tolist(), found.begin.tolist(), found.end.tolist()
      ([-1, 0, 0, -1, -1, 1], [1, 5], [3, 6])

    References:
      Graves et al. 2006, Connectionist Temporal Classification: Labelling Unsegmented Sequence Data
      with Recurrent Neural Networks, section 4.1, https://doi.org/10.1145/1143844.1143891
    """
    known_mask = mask
    logits, mask, blank = check_ctc_logits("ctc_align", logits, mask, blank)
    given = (logits, targets, known_mask, target_mask, blank)
    targets, target_mask = check_ctc_targets("ctc_align", *given)
    return _ctc_align(logits, targets, mask, target_mask, blank=blank)


@partial(jax.jit, static_argnames="blank")
def _ctc_align(logits, targets, mask, target_mask, *, blank):
    one = partial(_align, blank=blank)
    for _ in range(logits.ndim - 2):
        one = jax.vmap(one)
    return one(logits, targets, mask, target_mask)


def _align(logits, targets, mask, target_mask, *, blank) -> CtcAlignment:
    """Aligns one sequence."""
    lattice = _make_lattice(logits, targets, mask, target_mask, blank)
    states, path_log_likelihood = _viterbi(lattice)
    posteriors, log_likelihood = _forward_backward(lattice)
    on_target = mask & (states % 2 == 1)
    target = jnp.where(on_target, states // 2, -1).astype(jnp.int32)
    numbers = jnp.arange(len(targets), dtype=jnp.int32)
    is_there = target[:, None] == numbers[None]  # [T, N]
    count, found = len(mask), is_there.any(0)
    begin = jnp.where(found, is_there.argmax(0), 0).astype(jnp.int32)
    end = jnp.where(found, count - is_there[::-1].argmax(0), 0).astype(jnp.int32)
    return CtcAlignment(
        target, begin, end, posteriors[:, 1::2], path_log_likelihood, log_likelihood
    )


def _make_lattice(logits, targets, mask, target_mask, blank) -> _Lattice:
    size = logits.shape[-1]
    symbols = zero_invalid(target_mask, targets.astype(jnp.int32))
    feasible = ((is_inside(symbols, size) & (symbols != blank)) | ~target_mask).all()
    count = 2 * len(targets) + 1
    of_states = jnp.full(count, blank, jnp.int32).at[1::2].set(jnp.clip(symbols, 0, size - 1))
    scores = log_softmax(zero_invalid(mask, logits))[:, of_states]
    two_before = jnp.concatenate([jnp.full(2, blank, jnp.int32), of_states])[:count]
    last = 2 * target_mask.sum()
    states = jnp.arange(count)
    is_last = feasible & ((states == last) | (states == last - 1))
    return _Lattice(scores, (of_states != blank) & (of_states != two_before), is_last, mask)


def _begin(lattice: _Lattice) -> jax.Array:
    """The state before the first frame, from which the first blank and target can be reached."""
    first = jnp.full(lattice.skips.shape, -jnp.inf, lattice.scores.dtype).at[0].set(0.0)
    return vary_over(lattice, first)


def _moves(values: jax.Array, skips: jax.Array) -> jax.Array:
    """The values of the states that each state can follow: itself, one and two before, `[3, S]`."""
    padded = jnp.concatenate([jnp.full(2, -jnp.inf, values.dtype), values])
    two_before = jnp.where(skips, padded[:-2], -jnp.inf)
    return jnp.stack([values, padded[1:-1], two_before])


def _forward_backward(lattice: _Lattice) -> tuple[jax.Array, jax.Array]:
    """The posterior of the states at each frame `[T, S]`, and the log-likelihood."""

    def forward(alpha, step):
        scores, valid = step
        moved = log_sum(_moves(alpha, lattice.skips), axis=0) + scores
        total = log_sum(moved, axis=0)
        alpha, gain = (
            jnp.where(valid, safe_subtract(moved, total), alpha),
            jnp.where(valid, total, 0.0),
        )
        return alpha, (alpha, gain)

    def backward(beta, step):
        scores, valid = step
        after = (scores + beta)[::-1]  # reversed, two states before are two states after
        skips = jnp.concatenate([lattice.skips, jnp.zeros(2, bool)])[2:][::-1]
        moved = log_sum(_moves(after, skips), axis=0)[::-1]
        moved = safe_subtract(moved, log_sum(moved, axis=0))
        return jnp.where(valid, moved, beta), beta

    steps = (lattice.scores, lattice.mask)
    alpha, (alphas, gains) = jax.lax.scan(forward, _begin(lattice), steps)
    last = jnp.where(lattice.is_last, 0.0, -jnp.inf).astype(alpha.dtype)
    _, betas = jax.lax.scan(backward, vary_over(lattice, last), steps, reverse=True)
    ended = log_sum(alpha + last, axis=0)
    log_likelihood = jnp.where(ended == -jnp.inf, -jnp.inf, gains.sum() + ended)
    joint = alphas + betas
    posteriors = jnp.exp(safe_subtract(joint, log_sum(joint, axis=1)[:, None]))
    return zero_invalid(lattice.mask, posteriors), log_likelihood


def _viterbi(lattice: _Lattice) -> tuple[jax.Array, jax.Array]:
    """The states of the most likely path `[T]`, 0 if there is none, and its log-probability."""

    def forward(best, step):
        scores, valid = step
        moves = _moves(best, lattice.skips)
        back = jnp.where(valid, moves.argmax(0), 0)
        return jnp.where(valid, moves.max(0) + scores, best), back

    def follow(state, back):
        return state - back[state], state

    best, backs = jax.lax.scan(forward, _begin(lattice), (lattice.scores, lattice.mask))
    best = jnp.where(lattice.is_last, best, -jnp.inf)
    _, states = jax.lax.scan(follow, vary_over(lattice, best.argmax()), backs, reverse=True)
    return jnp.where(best.max() > -jnp.inf, states, 0), best.max()
