"""Models to compare with: n-grams, HMMs, CRFs, word2vec, autoregression and convolutions."""

from recur.classic import autoregressive, baum_welch, hidden_markov, markov
from recur.classic.autoregressive import Autoregression
from recur.classic.causal_convolution import CausalConvParams, causal_conv
from recur.classic.contexts import Contexts, keep_probability
from recur.classic.convolutional import TCNBlockParams, receptive_field, tcn, tcn_levels
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
from recur.classic.neural_autoregression import (
    gaussian_head,
    latent_autoregression,
    mlp_autoregression,
)
from recur.classic.ngram_cell import NGramTable, ngram_cell
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
    "CausalConvParams",
    "ContextWindows",
    "Contexts",
    "Filtered",
    "HiddenMarkov",
    "Level",
    "MarkovChain",
    "NGramTable",
    "NGrams",
    "NoiseDistribution",
    "Smoothed",
    "TCNBlockParams",
    "Word2Vec",
    "WordVectors",
    "additive",
    "as_embedding",
    "autoregressive",
    "backward",
    "baum_welch",
    "bio_constraints",
    "causal_conv",
    "cbow",
    "crf_decode",
    "crf_log_likelihood",
    "crf_marginals",
    "draw_noise",
    "filtering",
    "forward",
    "gaussian_head",
    "hidden_markov",
    "init_crf",
    "init_word2vec",
    "katz",
    "keep_probability",
    "kneser_ney",
    "latent_autoregression",
    "markov",
    "mlp_autoregression",
    "ngram_cell",
    "pca",
    "receptive_field",
    "skip_gram",
    "smooth",
    "tcn",
    "tcn_levels",
    "unigram_noise",
    "viterbi",
    "word2vec_loss",
]
