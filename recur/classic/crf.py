"""Linear-chain conditional random fields: scores of whole tag sequences, for taggers.

A CRF is an unnormalized Markov chain of the tags, weighted by the scores of a tagger, so `forward`,
`smooth` and `viterbi` of a hidden Markov model compute its normalizer, marginals and best tags.
Scores of -inf rule out a tag, a transition, a first or a last tag.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.arrays import as_array
from recur.checks import check_array, check_flag, check_floating, check_whole
from recur.classic.forward_backward import forward, smooth
from recur.classic.log_space import as_ids, common_dtype
from recur.classic.markov import MarkovChain
from recur.classic.viterbi import viterbi
from recur.ids import check_known_ids, is_inside
from recur.masks import make_mask, zero_invalid


class CRF(NamedTuple):
    """The params of a linear-chain CRF of S tags.

    The score of a tag sequence, given the scores `[T, S]` of a tagger, is

        score(y) = start[y_1] + Σ_t scores[t, y_t] + Σ_{t>1} transitions[y_{t-1}, y_t] + end[y_T]

    Attributes:
      transitions: the score of tag j after tag i at [i, j], float `[S, S]`.
      start: the score of a first tag, float `[S]`.
      end: the score of a last tag, float `[S]`.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import CRF
      >>> CRF(transitions=jnp.zeros((3, 3)), start=jnp.zeros(3), end=jnp.zeros(3)).start.shape
      (3,)
    """

    transitions: jax.Array
    start: jax.Array
    end: jax.Array


def init_crf(tags: int, *, param_dtype: Any = jnp.float32) -> CRF:
    """Initializes a linear-chain CRF: all scores are 0, so tags are independent at first.

    Args:
      tags: S, the number of tags.
      param_dtype: the dtype of the scores.

    Returns:
      A `CRF`.

    Raises:
      TypeError: if param_dtype is not a floating-point dtype.
      ValueError: if tags is not a whole number of at least 1.

    Example:
      >>> from recur.classic import init_crf
      >>> init_crf(3).transitions.shape
      (3, 3)
    """
    size = check_whole("init_crf: tags", tags, 1)
    check_floating("init_crf", param_dtype=param_dtype)
    return CRF(*(jnp.zeros(shape, param_dtype) for shape in ((size, size), size, size)))


def bio_constraints(tags: Sequence[str]) -> CRF:
    """Makes a CRF that rules out invalid BIO tag sequences: add it to the trained one.

        transitions[i, I-X] = -inf unless i is B-X or I-X,    start[I-X] = -inf,    0 elsewhere

    Keep it apart from the trained params, since weight decay of -inf is NaN.

    Args:
      tags: the names of the tags, such as `["O", "B-PER", "I-PER"]`.

    Returns:
      A `CRF` of scores 0 and -inf.

    Raises:
      TypeError: if tags are not a sequence of strings.
      ValueError: if there are none, a tag occurs twice, is neither O, B-X nor I-X, or is I-X
        without B-X.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.classic import bio_constraints, crf_decode, init_crf
      >>> names = ["O", "B-PER", "I-PER"]
      >>> crf = jax.tree.map(jnp.add, init_crf(3), bio_constraints(names))
      >>> scores = jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
      >>> [names[tag] for tag in crf_decode(crf, scores)[0]]
      ['B-PER', 'I-PER']

    References:
      Ramshaw & Marcus 1995, Text Chunking using Transformation-Based Learning,
      https://aclanthology.org/W95-0107/
    """
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in _as_list(tags)):
        raise TypeError(f"bio_constraints: expected tags as a sequence of strings, got {tags!r}.")
    names = list(tags)
    wrong = [tag for tag in names if tag != "O" and tag[:2] not in ("B-", "I-")]
    wrong += [tag for tag in names if tag[:2] == "I-" and f"B-{tag[2:]}" not in names]
    if not names or wrong or len({*names}) < len(names):
        raise ValueError(
            "bio_constraints: expected different tags O, B-X and I-X, and a B-X for each I-X, got "
            f"{wrong[0] if wrong else names!r}."
        )
    inside = np.array([tag[:2] == "I-" for tag in names])
    same = np.array([[a[:2] in ("B-", "I-") and a[2:] == b[2:] for b in names] for a in names])
    return CRF(
        transitions=jnp.where(inside & ~same, -jnp.inf, 0.0),
        start=jnp.where(inside, -jnp.inf, 0.0),
        end=jnp.zeros(len(names)),
    )


def crf_log_likelihood(
    crf: CRF,
    scores: jax.Array,
    tags: Any,
    length: Any = None,
    *,
    mask: Any = None,
    reset: Any = None,
    parallel: bool = False,
) -> jax.Array:
    """Computes the log likelihood of a tag sequence under a linear-chain CRF.

        log p(y | x) = score(y) - log Σ_y' exp(score(y'))

    The score is that of `CRF`. The negative of it is a loss for taggers; use `jax.vmap` for a
    batch. Tags that are impossible have the log likelihood -inf, and its gradient is zero.

    Args:
      crf: a `CRF` of S tags.
      scores: float `[T, S]`, the outputs of a tagger; those at masked steps never matter.
      tags: integer `[T]`, each from 0 to S - 1; those at masked steps never matter. Inside a
        transformation, an unknown tag outside this range makes the log likelihood -inf.
      length: integer, how many steps count; all by default.
      mask: bool `[T]`, True where the step counts; the steps that count follow each other as if the
        others were cut out.
      reset: bool `[T]`, True at the first step of each sequence of a packed row; the log likelihood
        is the sum over its sequences. This doubles the number of steps.
      parallel: as for `forward`.

    Returns:
      A scalar, in nats; 0 if no step counts.

    Raises:
      TypeError: if `crf` is not a `CRF`, scores are not floats, tags are not integers, or parallel
        is not a bool.
      ValueError: if the shapes do not fit, or a tag is known to be outside 0 ... S - 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.classic import crf_log_likelihood, init_crf
      >>> scores, tags = jnp.zeros((2, 4, 3)), jnp.array([[0, 1, 2, 0], [1, 1, 0, 0]])
      >>> log_likelihoods = jax.vmap(crf_log_likelihood, in_axes=(None, 0, 0, 0))
      >>> jnp.exp(-log_likelihoods(init_crf(3), scores, tags, jnp.array([4, 2]))).round(2).tolist()
      [81.0, 9.0]

    References:
      Lafferty, McCallum & Pereira 2001, Conditional Random Fields: Probabilistic Models for
      Segmenting and Labeling Sequence Data, https://repository.upenn.edu/cis_papers/159/
    """
    caller = "crf_log_likelihood"
    given = _prepare(caller, crf, scores, length, mask, reset, parallel)
    ids = as_ids(f"{caller}: tags", tags)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"{caller}: expected integer tags, got {ids.dtype}.")
    steps, size = given.scores.shape
    if ids.shape != (steps,):
        raise ValueError(f"{caller}: expected tags of [{steps}], got {list(ids.shape)}.")
    counts = True if mask is None else mask
    check_known_ids(caller, "tags", ids, size, mask=counts, length=length)
    return _log_likelihood(given, jnp.asarray(ids), parallel=bool(parallel))


def crf_decode(
    crf: CRF,
    scores: jax.Array,
    length: Any = None,
    *,
    mask: Any = None,
    reset: Any = None,
    parallel: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Finds the best tag sequence under a linear-chain CRF (Viterbi algorithm).

        argmax_y score(y),    with the score of `CRF`

    Ties are broken in favor of the first tag. Use `jax.vmap` for a batch.

    Args:
      crf: a `CRF` of S tags.
      scores: float `[T, S]`, the outputs of a tagger; those at masked steps never matter.
      length: integer, how many steps count; all by default.
      mask: bool `[T]`, as in `crf_log_likelihood`.
      reset: bool `[T]`, as in `crf_log_likelihood`.
      parallel: as for `forward`.

    Returns:
      `(tags, score)`: int32 `[T]`, 0 at masked steps, and the score of these tags, with resets
      the sum over sequences; -inf if all tags of a sequence are impossible.

    Raises:
      TypeError: if `crf` is not a `CRF`, scores are not floats, or parallel is not a bool.
      ValueError: if the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import CRF, crf_decode
      >>> sticky = CRF(2 * jnp.eye(2), jnp.zeros(2), jnp.zeros(2))
      >>> tags, score = crf_decode(sticky, jnp.array([[3.0, 0.0], [0.0, 1.0], [3.0, 0.0]]))
      >>> tags.tolist(), score.item()
      ([0, 0, 0], 10.0)

    References:
      Lafferty, McCallum & Pereira 2001, Conditional Random Fields: Probabilistic Models for
      Segmenting and Labeling Sequence Data, https://repository.upenn.edu/cis_papers/159/
    """
    given = _prepare("crf_decode", crf, scores, length, mask, reset, parallel)
    return _decode(given, parallel=bool(parallel))


def crf_marginals(
    crf: CRF,
    scores: jax.Array,
    length: Any = None,
    *,
    mask: Any = None,
    reset: Any = None,
    parallel: bool = False,
) -> jax.Array:
    """Computes the marginal probability of each tag under a linear-chain CRF (forward-backward).

        p(y_t = i | x) = Σ_{y: y_t = i} exp(score(y)) / Σ_y exp(score(y))

    Args:
      crf: a `CRF` of S tags.
      scores: float `[T, S]`, the outputs of a tagger; those at masked steps never matter.
      length: integer, how many steps count; all by default.
      mask: bool `[T]`, as in `crf_log_likelihood`.
      reset: bool `[T]`, as in `crf_log_likelihood`.
      parallel: as for `forward`.

    Returns:
      `[T, S]`, zero at masked steps, or everywhere if all tags of a sequence are
      impossible.

    Raises:
      TypeError: if `crf` is not a `CRF`, scores are not floats, or parallel is not a bool.
      ValueError: if the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.classic import crf_marginals, init_crf
      >>> crf_marginals(init_crf(2), jnp.log(jnp.array([[0.5, 1.5]]))).round(2).tolist()
      [[0.25, 0.75]]

    References:
      Lafferty, McCallum & Pereira 2001, Conditional Random Fields: Probabilistic Models for
      Segmenting and Labeling Sequence Data, https://repository.upenn.edu/cis_papers/159/
    """
    given = _prepare("crf_marginals", crf, scores, length, mask, reset, parallel)
    return _marginals(given, parallel=bool(parallel))


class _Given(NamedTuple):
    """Checked arguments: params and scores of one dtype, and masks, bool `[T]`."""

    crf: CRF
    scores: jax.Array
    valid: jax.Array  # the steps that count
    mask: jax.Array | None  # None if these are the first ones
    reset: jax.Array | None


class _Packed(NamedTuple):
    """A chain and its scores, with the steps that count moved to the beginning.

    With resets there are twice as many steps, and one more tag, the boundary. It takes a step of
    its own between two sequences, and is the only possible tag there:
    transitions[i, boundary] = end[i] and transitions[boundary, j] = start[j].
    """

    chain: MarkovChain
    scores: jax.Array  # with those of the last tag at the last step
    length: jax.Array
    valid: jax.Array
    order: jax.Array | None  # the original place of each step, if any has moved; T for none


@partial(jax.jit, static_argnames="parallel")  # compiled once, also for calls outside of jit
def _log_likelihood(given, tags, *, parallel):
    size = len(given.crf.start)
    chain, scores, length, valid, order = _pack(given)
    inside = is_inside(tags, size)
    possible = (inside | ~given.valid).all()
    tags = zero_invalid(valid, _take(order, zero_invalid(inside, tags), fill=size))
    emitted = jnp.take_along_axis(scores, tags[:, None], axis=1)[:, 0]
    onward = chain.log_transition[tags[:-1], tags[1:]]
    onward = jnp.concatenate([chain.log_initial[tags[:1]], onward])
    score = zero_invalid(valid, emitted + onward).sum()
    _, log_normalizer = forward(chain, scores, length, parallel=parallel)
    possible = possible & (score > -jnp.inf)
    return jnp.where(possible, jnp.where(possible, score, 0) - log_normalizer, -jnp.inf)


@partial(jax.jit, static_argnames="parallel")
def _decode(given, *, parallel):
    packed = _pack(given)
    tags, score = viterbi(packed.chain, packed.scores, packed.length, parallel=parallel)
    return _put_back(packed.order, tags, given), score


@partial(jax.jit, static_argnames="parallel")
def _marginals(given, *, parallel):
    packed = _pack(given)
    states = smooth(packed.chain, packed.scores, packed.length, parallel=parallel).states
    return _put_back(packed.order, states[:, : len(given.crf.start)], given)


def _pack(given: _Given) -> _Packed:
    """Moves the steps that count to the beginning, and adds the scores of the last tag."""
    crf, scores, valid, mask, reset = given
    length, order = valid.sum(), None
    if reset is not None:
        order, length = _order_with_boundaries(valid, reset)
        crf, scores = _with_boundaries(crf, scores, order)
    elif mask is not None:
        order = jnp.argsort(~valid, stable=True)
        scores = scores[order]
    steps = jnp.arange(len(scores))
    scores = jnp.where((steps == length - 1)[:, None], scores + crf.end[None], scores)
    chain = MarkovChain(crf.start, crf.transitions)
    return _Packed(chain, scores, length, steps < length, order)


def _with_boundaries(crf: CRF, scores: jax.Array, order: jax.Array) -> tuple[CRF, jax.Array]:
    """The params and scores with the tag of boundaries, which is the last one."""
    impossible = jnp.full((1,), -jnp.inf, scores.dtype)
    is_boundary = (order == len(scores))[:, None]
    of_tags = jnp.where(is_boundary, impossible[None], _take(order, scores, fill=0))
    of_boundary = jnp.where(is_boundary, 0, impossible[None])
    start, end = (jnp.concatenate([each, impossible]) for each in (crf.start, crf.end))
    transitions = jnp.concatenate([crf.transitions, crf.end[:, None]], axis=1)
    transitions = jnp.concatenate([transitions, start[None]])
    return CRF(transitions, start, end), jnp.concatenate([of_tags, of_boundary], axis=1)


def _order_with_boundaries(valid: jax.Array, reset: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The original place of each step, T for a boundary between sequences; and their number."""
    count = len(valid)
    sequence = jnp.cumsum(reset)
    latest = jax.lax.cummax(jnp.where(valid, sequence, -1))
    before = jnp.concatenate([jnp.full((1,), -1, latest.dtype), latest])[:-1]
    is_first = valid & (before >= 0) & (before != sequence)  # of a sequence after another
    ends = jnp.cumsum(valid) + jnp.cumsum(is_first)
    places = jnp.where(valid, ends - 1, 2 * count)
    order = jnp.full(2 * count, count).at[places].set(jnp.arange(count), mode="drop")
    return order, ends[-1:].sum()


def _take(order: jax.Array | None, values: jax.Array, fill: int) -> jax.Array:
    return values if order is None else values.at[order].get(mode="fill", fill_value=fill)


def _put_back(order: jax.Array | None, values: jax.Array, given: _Given) -> jax.Array:
    if order is None:
        return values
    zeros = jnp.zeros((len(given.scores), *values.shape[1:]), values.dtype)
    return zeros.at[order].set(values, mode="drop")


def _prepare(
    caller: str, crf: Any, scores: Any, length: Any, mask: Any, reset: Any, parallel: Any
) -> _Given:
    """Checks the arguments of `caller`."""
    check_flag(f"{caller}: parallel", parallel)
    if not isinstance(crf, CRF):
        raise TypeError(f"{caller}: expected a CRF, got {type(crf).__name__}.")
    for name, value in crf._asdict().items():
        check_array(f"{caller}: {name}", value)
    crf, scores = jax.tree.map(jnp.asarray, crf), as_array(f"{caller}: scores", scores)
    for name, value in {**crf._asdict(), "scores": scores}.items():
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise TypeError(f"{caller}: expected {name} as floats, got {value.dtype}.")
    size = crf.start.size
    if [each.shape for each in crf] != [(size, size), (size,), (size,)]:
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in crf._asdict().items())
        raise ValueError(
            f"{caller}: expected transitions of [S, S], start and end of [S], got {shapes}."
        )
    if scores.ndim != 2 or scores.shape[1] != size:
        raise ValueError(
            f"{caller}: expected scores of [T, {size}], one for each tag, got "
            f"{list(scores.shape)}. Use jax.vmap for rows."
        )
    crf, scores = common_dtype((crf, scores))
    valid, reset = make_mask(scores, length=length, mask=mask, reset=reset)
    valid = jnp.ones(len(scores), bool) if valid is None else valid
    return _Given(crf, zero_invalid(valid, scores), valid, None if mask is None else valid, reset)


def _as_list(values: Any) -> list[Any]:
    try:
        return list(values)
    except TypeError:
        return [None]
