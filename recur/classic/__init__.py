"""Classical sequence models: n-grams, Markov chains, hidden Markov models, CRFs and word2vec."""

from recur.classic import autoregressive, baum_welch, hidden_markov, markov
from recur.classic.autoregressive import Autoregression
from recur.classic.contexts import Contexts, keep_probability
from recur.classic.crf import (
    CRF,
    bio_constraints,
    crf_decode,
    crf_log_likelihood,
    crf_marginals,
    init_crf,
)
from recur.classic.forward_backward import Smoothed, backward, filtering, forward, smooth
from recur.classic.hidden_markov import HiddenMarkov
from recur.classic.markov import MarkovChain
from recur.classic.ngram_model import Level, NGrams
from recur.classic.ngrams import additive, katz, kneser_ney
from recur.classic.noise_distribution import NoiseDistribution, draw_noise, unigram_noise
from recur.classic.recursion import Filtered
from recur.classic.viterbi import viterbi
from recur.classic.word2vec import (
    ContextWindows,
    Word2Vec,
    cbow,
    init_word2vec,
    skip_gram,
    word2vec_loss,
)
from recur.classic.word_vectors import WordVectors, as_embedding, pca
from recur.serialization import register_namedtuples

register_namedtuples()

__all__ = [
    "Autoregression",
    "CRF",
    "ContextWindows",
    "Contexts",
    "Filtered",
    "HiddenMarkov",
    "Level",
    "MarkovChain",
    "NGrams",
    "NoiseDistribution",
    "Smoothed",
    "Word2Vec",
    "WordVectors",
    "additive",
    "as_embedding",
    "autoregressive",
    "backward",
    "baum_welch",
    "bio_constraints",
    "cbow",
    "crf_decode",
    "crf_log_likelihood",
    "crf_marginals",
    "draw_noise",
    "filtering",
    "forward",
    "hidden_markov",
    "init_crf",
    "init_word2vec",
    "katz",
    "keep_probability",
    "kneser_ney",
    "markov",
    "pca",
    "skip_gram",
    "smooth",
    "unigram_noise",
    "viterbi",
    "word2vec_loss",
]
