"""Word2vec: CBOW and skip-gram with negative sampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.arrays import as_array
from recur.checks import check_floating, check_function, check_params, check_whole
from recur.classic.noise_distribution import NoiseDistribution, check_noise, draw_noise
from recur.dtypes import at_least_float32
from recur.ids import check_known_ids, is_inside
from recur.keys import check_key
from recur.masks import zero_invalid


class Word2Vec(NamedTuple):
    """The params of word2vec: two vectors for each word of the vocabulary.

    Attributes:
      input: v, the vectors of words that predict, float `[V, D]`; these are the word vectors.
      output: u, the vectors of words that are predicted, float `[V, D]`.

    Example:
      >>> import jax
      >>> from recur.classic import init_word2vec
      >>> word_vectors = init_word2vec(jax.random.key(0), words=50, features=8).input
    """

    input: jax.Array
    output: jax.Array


class ContextWindows(NamedTuple):
    """A batch of B words, each with the words around it, as `Contexts` makes it.

    Attributes:
      centers: the ids of the words, integer `[B]`.
      contexts: the ids of the words around each, integer `[B, C]`.
      mask: False where there is no word, bool `[B, C]`.

    Example:
      >>> import numpy as np
      >>> from recur.classic import Contexts
      >>> next(Contexts([np.array([1, 2])], batch_size=2, window=1, sample=None)).contexts.shape
      (2, 2)
    """

    centers: Any
    contexts: Any
    mask: Any


def init_word2vec(key: jax.Array, words: int, features: int, dtype: Any = jnp.float32) -> Word2Vec:
    """Initializes the params of word2vec, as word2vec.c does.

        v ~ uniform(-1/(2D), 1/(2D)),    u = 0

    Args:
      key: a typed key.
      words: V, the size of the vocabulary.
      features: D, the size of a vector.
      dtype: of the vectors.

    Returns:
      A `Word2Vec`.

    Raises:
      TypeError: if `key` is not a typed key, or `dtype` not floating-point.
      ValueError: if words or features is below 1.

    Example:
      >>> import jax
      >>> from recur.classic import init_word2vec
      >>> params = init_word2vec(jax.random.key(0), words=50, features=8)
      >>> params.input.shape, params.output.any().item()
      ((50, 8), False)
    """
    words = check_whole("init_word2vec: words", words, 1)
    features = check_whole("init_word2vec: features", features, 1)
    check_floating("init_word2vec", dtype=dtype)
    bound = 0.5 / features
    v = jax.random.uniform(check_key(key), (words, features), dtype, -bound, bound)
    return Word2Vec(v, jnp.zeros_like(v))


def skip_gram(params: Word2Vec, windows: ContextWindows, negatives: jax.Array) -> jax.Array:
    """Computes the skip-gram loss of each pair of nearby words, with negative sampling.

        l_bc = -log σ(u_o · v_c) - Σ_k log σ(-u_k · v_c),    o the center of row b, c its context

    Each context word predicts the center, as in word2vec.c; over a text these are the same pairs as
    in the paper, where the center predicts its context. The words of one window share negatives, so
    that a window is one small matrix product. A negative that equals the center does not count.

    Args:
      params: a `Word2Vec`.
      windows: `ContextWindows` of B words.
      negatives: integer `[B, K]`, words drawn from the noise distribution.

    Returns:
      `[B, C]`, nats, 0 where masked. Inside a transformation, a pair with an unknown word outside
      the vocabulary costs 0, and such a negative does not count.

    Raises:
      TypeError: if an argument is of another type, words are not integers, or the mask is not bool.
      ValueError: if the shapes do not fit, or a word is known to be outside the vocabulary.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.classic import ContextWindows, init_word2vec, skip_gram
      >>> windows = ContextWindows(jnp.array([3]), jnp.array([[1, 4]]), jnp.array([[True, False]]))
      >>> params = init_word2vec(jax.random.key(0), words=9, features=4)
      >>> (skip_gram(params, windows, jnp.array([[0, 7]])) / jnp.log(2)).round(2).tolist()
      [[3.0, 0.0]]

    References:
      Mikolov, Sutskever, Chen, Corrado & Dean, Distributed Representations of Words and Phrases and
      their Compositionality, 2013, https://arxiv.org/abs/1310.4546
      Ji, Satish, Li & Dubey, Parallelizing Word2Vec in Shared and Distributed Memory, 2016,
      https://arxiv.org/abs/1604.04661 (negatives shared by a window)
    """
    windows = _check_words("skip_gram", params, windows)
    nats = _negative_sampling(params, params.input[windows.contexts], windows.centers, negatives)
    return jnp.where(windows.mask, nats, jnp.zeros_like(nats))


def cbow(params: Word2Vec, windows: ContextWindows, negatives: jax.Array) -> jax.Array:
    """Computes the CBOW loss (continuous bag of words) of each word, with negative sampling.

        h_b = mean_c v_c,    l_b = -log σ(u_o · h_b) - Σ_k log σ(-u_k · h_b)

    with c over the contexts of row b that count, and o its center. A negative that equals the
    center does not count. The gradient is that of this loss; the one of word2vec.c lacks the factor
    1 / C of the mean.

    Args:
      params: a `Word2Vec`.
      windows: `ContextWindows` of B words.
      negatives: integer `[B, K]`, words drawn from the noise distribution.

    Returns:
      `[B]`, nats, 0 for a window without a context that counts. Inside a transformation, unknown
      words outside the vocabulary do not count.

    Raises:
      TypeError: if an argument is of another type, words are not integers, or the mask is not bool.
      ValueError: if the shapes do not fit, or a word is known to be outside the vocabulary.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.classic import ContextWindows, cbow, init_word2vec
      >>> windows = ContextWindows(jnp.array([3]), jnp.array([[1, 4]]), jnp.array([[True, True]]))
      >>> params = init_word2vec(jax.random.key(0), words=9, features=4)
      >>> cbow(params, windows, jnp.array([[0, 7]])).shape
      (1,)

    References:
      Mikolov, Chen, Corrado & Dean, Efficient Estimation of Word Representations in Vector Space,
      2013, https://arxiv.org/abs/1301.3781
      İrsoy, Benton & Stratos, Corrected CBOW Performs as well as Skip-gram, 2021,
      https://arxiv.org/abs/2012.15332 (on the 1 / C of the mean)
    """
    windows = _check_words("cbow", params, windows)
    mask = windows.mask
    weights = mask.astype(params.input.dtype)
    weights = weights / jnp.maximum(weights.sum(1, keepdims=True), jnp.ones_like(weights[:, :1]))
    h = jnp.einsum("bc,bcd->bd", weights, params.input[windows.contexts])
    nats = _negative_sampling(params, h[:, None], windows.centers, negatives)[:, 0]
    return jnp.where(mask.any(1), nats, jnp.zeros_like(nats))


def word2vec_loss(
    objective: Callable[[Word2Vec, ContextWindows, jax.Array], jax.Array],
    noise: NoiseDistribution,
    negatives: int = 5,
) -> Callable:
    """Makes a word2vec loss for `recur.train.make_step`, with new negatives in every update.

    The loss is the sum over the batch, not the mean, so that the update of a word's vector depends
    on its own pairs and not on the batch size.

    Args:
      objective: `skip_gram` or `cbow`.
      noise: from `unigram_noise`, over the words of the params.
      negatives: K, the number of negatives for each window.

    Returns:
      `loss(params, carry, windows, key) -> (value, (carry, metrics))`; the metric `nats` is the
      mean over the pairs of skip-gram, or over the words of CBOW.

    Raises:
      TypeError: if `objective` is not a function, or `noise` is not a `NoiseDistribution`.
      ValueError: if negatives is below 1; in the first update, if params and noise differ in their
        number of words.

    Example:
      >>> import jax, numpy as np, optax
      >>> from recur.classic import Contexts, init_word2vec, skip_gram, unigram_noise, word2vec_loss
      >>> from recur.train import fit, init_state, make_step
      >>> sentences = [np.array([0, 1, 2]), np.array([3, 4, 5])]
      >>> contexts = Contexts(sentences, batch_size=6, sample=None)
      >>> optimizer = optax.adagrad(0.5)
      >>> loss = word2vec_loss(skip_gram, unigram_noise(contexts.counts))
      >>> step = jax.jit(make_step(loss, optimizer))
      >>> params = init_word2vec(jax.random.key(0), words=6, features=4)
      >>> state = init_state(params, optimizer, jax.random.key(1))
      >>> v = fit(step, state, contexts, steps=60).params.input
      >>> bool(v[0] @ v[2] > 0 > v[0] @ v[3])
      True
    """
    check_function("word2vec_loss: objective", objective)
    check_noise("word2vec_loss", noise)
    negatives = check_whole("word2vec_loss: negatives", negatives, 1)

    def loss(params, carry, windows, key):
        _check_vectors("word2vec", params)
        _check_windows("word2vec", windows)
        if len(params.input) != len(noise.kept):
            raise ValueError(
                f"word2vec: expected params of the {len(noise.kept)} words of the noise, got "
                f"{len(params.input)}. Both have the size of the vocabulary: "
                "np.bincount(ids, minlength=V) counts words that do not occur, too."
            )
        drawn = draw_noise(key, noise, (len(windows.centers), negatives))
        nats = objective(params, windows, drawn)
        count = windows.mask.sum() if nats.ndim == 2 else windows.mask.any(1).sum()
        total = at_least_float32(nats).sum()
        return total, (carry, {"nats": total / jnp.maximum(count, 1).astype(total.dtype)})

    return loss


def _check_words(caller, params, windows):
    """Checks known words, and masks unknown ones outside the vocabulary."""
    _check_vectors(caller, params)
    _check_windows(caller, windows)
    size = len(params.input)
    check_known_ids(caller, "centers", windows.centers, size)
    check_known_ids(caller, "contexts that count", windows.contexts, size, mask=windows.mask)
    centers, contexts, mask = map(jnp.asarray, windows)
    center_inside = is_inside(centers, size)
    mask &= is_inside(contexts, size) & center_inside[:, None]
    return ContextWindows(zero_invalid(center_inside, centers), zero_invalid(mask, contexts), mask)


def _check_vectors(caller, params):
    """Raises an error unless params are two matrices of one shape."""
    check_params(caller, params, Word2Vec)
    v, u = (as_array(f"{caller}: {n}", p) for n, p in zip(Word2Vec._fields, params, strict=True))
    if not all(jnp.issubdtype(each.dtype, jnp.floating) for each in (v, u)):
        raise TypeError(f"{caller}: expected params of floats, got {v.dtype} and {u.dtype}.")
    if v.ndim != 2 or v.shape != u.shape:
        raise ValueError(
            f"{caller}: expected params with input and output of one shape [V, D], got "
            f"{list(v.shape)} and {list(u.shape)}."
        )


def _check_windows(caller, windows):
    """Raises an error unless windows are `ContextWindows` of matching shapes and dtypes."""
    if not isinstance(windows, ContextWindows):
        raise TypeError(f"{caller}: expected ContextWindows, got {type(windows).__name__}.")
    centers, contexts, mask = (
        as_array(f"{caller}: {name}", value) for name, value in windows._asdict().items()
    )
    for name, words in (("centers", centers), ("contexts", contexts)):
        _check_integers(caller, name, words)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"{caller}: expected mask as bool flags, got {mask.dtype}.")
    if (
        centers.ndim != 1
        or contexts.ndim != 2
        or not contexts.shape == mask.shape
        or (len(centers) != len(contexts))
    ):
        raise ValueError(
            f"{caller}: expected windows with centers [B], contexts [B, C] and mask [B, C], got "
            f"{list(centers.shape)}, {list(contexts.shape)} and {list(mask.shape)}."
        )


def _check_integers(caller, name, words):
    if not jnp.issubdtype(words.dtype, jnp.integer):
        raise TypeError(f"{caller}: expected {name} as integers, got {words.dtype}.")


def _negative_sampling(params, hidden, centers, negatives):
    """The loss `[B, C]` of each row's center against its negatives, given hidden `[B, C, D]`."""
    _check_integers("word2vec", "negatives", as_array("word2vec: negatives", negatives))
    check_known_ids("word2vec", "negatives", negatives, len(params.output))
    negatives = jnp.asarray(negatives)
    inside = is_inside(negatives, len(params.output))
    negatives = zero_invalid(inside, negatives).astype(centers.dtype)
    if negatives.ndim != 2 or len(negatives) != len(centers):
        raise ValueError(
            f"word2vec: expected a row of negatives for each of the {len(centers)} windows, "
            f"[{len(centers)}, K], got {list(negatives.shape)}."
        )
    own = centers[:, None]
    words = jnp.concatenate([own, negatives], axis=1)
    scores = jnp.einsum("bcd,bkd->bck", hidden, params.output[words])
    true, false = jax.nn.softplus(-scores[..., 0]), jax.nn.softplus(scores[..., 1:])
    counted = (inside & (negatives != own))[:, None]
    return true + jnp.where(counted, false, jnp.zeros_like(false)).sum(-1)
