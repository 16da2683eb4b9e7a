"""Dropout for recurrences: one mask a sequence, on what a cell reads, feeds back, gives, or adds.

Masks are drawn by `bind`, once a sequence, and are constants of the loop: a mask that changed from
step to step would let no unit remember for long. Without a key there are none.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from recur.checks import check_cell, check_rate, describe
from recur.combine.structure import first_output, map_inputs, map_outputs, within
from recur.keys import split, split_like
from recur.types import AnyCell, Bound, Dropped, GatedCell, Shaped


class Masks(NamedTuple):
    """Bound params of `variational_dropout`; a mask is None where nothing is dropped."""

    cell: Bound
    inputs: Any
    recurrent: jax.Array | None
    outputs: Any


class CandidateMask(NamedTuple):
    """Bound params of `recurrent_dropout`; the mask is None where nothing is dropped."""

    cell: Bound
    mask: jax.Array | None


def variational_dropout(
    cell: AnyCell, *, inputs: float = 0.0, recurrent: float = 0.0, outputs: float = 0.0
) -> AnyCell:
    """Drops units of the input, of the state fed back and of the output, the same at all steps.

        d ~ bernoulli(1 - p) / (1 - p)    for each of d_x, d_h, d_y, once a sequence
        m_t = (h_{t-1} ⊙ d_h) W           for each recurrent kernel W
        carry_t, v_t = step(carry_{t-1}, x_t ⊙ d_x)    with these m_t
        y_t = v_t ⊙ d_y

    d_h stands inside the products alone: what a gate carries over from h_{t-1} or c_{t-1} is whole.
    Noise is on when a key is given, each sequence of a batch has masks of its own, and those packed
    into one row share theirs. The structure of a `GatedCell` or an `AffineCell` survives.

    Args:
      cell: the cell; of a stack, wrap each of its cells.
      inputs: p of x.
      recurrent: p of h, for a `GatedCell`.
      outputs: p of y.

    Returns:
      A cell of the same kind (a plain `Cell` for a stack), with the cell's own params and carry;
      the cell itself when all rates are 0.

    Raises:
      TypeError: when `cell` is not a cell, or h is to be dropped and it does not tell what it feeds
        back; while tracing, when it has no recurrent kernels, as `indrnn`, or when what is to be
        dropped holds no floating-point numbers.
      ValueError: when a rate is not in [0, 1).

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.variational_dropout(recur.lstm(8), inputs=0.2, recurrent=0.3))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> noisy = layer(params, xs, key=jax.random.key(1))
      >>> bool(jnp.allclose(noisy, layer(params, xs)))
      False

    References:
      Gal & Ghahramani 2016, A Theoretically Grounded Application of Dropout in Recurrent Neural
      Networks, https://arxiv.org/abs/1512.05287
    """
    asker = "variational_dropout"
    check_cell(cell, asker)
    inputs = check_rate(asker, "inputs", inputs)
    recurrent = check_rate(asker, "recurrent", recurrent)
    outputs = check_rate(asker, "outputs", outputs)
    if recurrent and not isinstance(cell, GatedCell):
        raise TypeError(
            f"{asker}: the recurrent mask acts on what a GatedCell feeds back into its products; a "
            f"{type(cell).__name__} does not tell. Wrap each cell of a stack, or drop weights: "
            "recur.train.weight_drop is for any cell."
        )
    if not (inputs or recurrent or outputs):
        return cell

    def bind(params, x, *, key=None, context=None):
        cell_key, x_key, h_key, y_key = split(key, 4)
        bound = cell.bind(params, x, key=cell_key, context=context)
        if recurrent and not jax.tree.leaves(cell.kernels(bound)):
            raise TypeError(
                f"{asker}: the recurrent mask acts in the products of a cell, and this one has no "
                "recurrent kernels. recur.zoneout is for any cell."
            )

        def draw(key, rate, part):
            if key is None or not rate:
                return None
            return draw_mask(key, rate, jax.eval_shape(part, bound, x), asker)

        return Masks(
            cell=bound,
            inputs=draw(x_key, inputs, lambda bound, x: x),
            recurrent=draw(h_key, recurrent, partial(_first_hidden, cell)),
            outputs=draw(y_key, outputs, partial(first_output, cell)),
        )

    noisy = within(cell, cell.init, bind)
    if isinstance(noisy, GatedCell):
        noisy = noisy._replace(hidden=_masking_hidden(noisy))
    noisy = map_inputs(noisy, lambda bound, x, key: _masked(x, bound.inputs))
    return map_outputs(noisy, lambda bound, v, x, key: _masked(v, bound.outputs))


def recurrent_dropout(cell: AnyCell, rate: float) -> GatedCell:
    """Drops units of what a cell adds to its memory, and never of the memory: no memory loss.

        d ~ bernoulli(1 - p) / (1 - p)    once a sequence
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ (g_t ⊙ d)    in an LSTM, and so for the candidate of any cell

    Noise is on when a key is given, each sequence of a batch has a mask of its own, and those
    packed into one row share theirs. Other noise goes around it, as in
    `zoneout(recurrent_dropout(cell, 0.2), 0.1)`.

    Args:
      cell: a `GatedCell` with a candidate, as `lstm`, `gru` and `gated` have. One of your own has
        if u has a field `candidate`, and its gates make of it `recur.cells.parts.candidate(φ,
        u.candidate, m.candidate)`.
      rate: p.

    Returns:
      A `GatedCell` with the cell's own params and carry; the cell itself when the rate is 0.

    Raises:
      TypeError: when `cell` is not a `GatedCell`, or while tracing, when it has no candidate.
      ValueError: when the rate is not in [0, 1).

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> layer = recur.scan(recur.recurrent_dropout(recur.lstm(8), 0.25))
      >>> xs = jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> final, ys = layer.run(params, xs, key=jax.random.key(1))
      >>> 0 < int((final.cell == 0).sum()) < 8  # nothing was ever added there
      True

    References:
      Semeniuta, Severyn & Barth 2016, Recurrent Dropout without Memory Loss,
      https://arxiv.org/abs/1603.05118
    """
    asker = "recurrent_dropout"
    check_cell(cell, asker)
    rate = check_rate(asker, "rate", rate)
    if not isinstance(cell, GatedCell):
        raise TypeError(
            f"{asker}: expected a GatedCell, which tells what it adds to its memory, got a "
            f"{type(cell).__name__}. Wrap each cell of a stack."
        )
    if not rate:
        return cell

    def bind(params, x, *, key=None, context=None):
        cell_key, mask_key = split(key, 2)
        bound = cell.bind(params, x, key=cell_key, context=context)
        shape = _candidate_of(jax.eval_shape(cell.project, bound, x))
        mask = None if key is None else draw_mask(mask_key, rate, shape, asker)
        return CandidateMask(bound, mask)

    def project(bound, x, key=None):
        u = cell.project(bound.cell, x, key)
        if bound.mask is None:
            return u
        return u._replace(candidate=Dropped(_candidate_of(u), bound.mask))

    noisy = cast(GatedCell, within(cell, cell.init, bind))
    return noisy._replace(project=project)


def draw_mask(key: jax.Array, rate: float, shapes: Shaped, asker: str) -> Any:
    """`bernoulli(1 - rate) / (1 - rate)`, of mean 1, for each array of a pytree, in its dtype.

    Raises:
      TypeError: when one of them holds no floating-point numbers.
    """
    if not all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(shapes)):
        raise TypeError(
            f"{asker}: expected floating-point numbers to drop some of, got {describe(shapes)}. "
            "Tokens become vectors by recur.readin around it."
        )

    def draw(leaf, key):
        kept = jax.random.bernoulli(key, 1 - rate, leaf.shape)
        return kept.astype(leaf.dtype) / (1 - rate)

    return jax.tree.map(draw, shapes, split_like(key, shapes))


def _masked(value: Any, mask: Any) -> Any:
    return value if mask is None else jax.tree.map(jnp.multiply, value, mask)


def _first_hidden(cell: GatedCell, bound: Bound, x: Any) -> jax.Array:
    return cell.hidden(bound, cell.start(bound, x))


def _masking_hidden(cell: GatedCell) -> Any:
    return lambda bound, carry: _masked(cell.hidden(bound, carry), bound.recurrent)


def _candidate_of(u: Any) -> Any:
    """What the input contributes to the candidate."""
    candidate = getattr(u, "candidate", None)
    if not hasattr(candidate, "shape"):
        raise TypeError(
            "recurrent_dropout: expected a cell whose u has an array u.candidate, as that of "
            f"recur.lstm, got {describe(u)}. Put it right around such a cell, and other noise "
            "around it; recur.zoneout is for any cell."
        )
    return candidate
