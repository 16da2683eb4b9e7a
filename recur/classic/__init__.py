"""What recurrent networks are measured against: n-grams, Markov models, word vectors."""

from recur.classic import baum_welch, hidden_markov, markov
from recur.classic.contexts import Contexts, keep_probability
from recur.classic.forward_backward import backward, filtering, forward, smooth
from recur.classic.hidden_markov import HiddenMarkov
from recur.classic.markov import MarkovChain
from recur.classic.ngram_model import NGrams
from recur.classic.ngrams import additive, katz, kneser_ney
from recur.classic.noise import Noise, draw_noise, unigram_noise
from recur.classic.vectors import Vectors, as_embedding, project
from recur.classic.viterbi import viterbi
from recur.classic.word2vec import (
    Windows,
    Word2Vec,
    cbow,
    init_word2vec,
    skip_gram,
    word2vec_loss,
)

__all__ = [
    "Contexts",
    "HiddenMarkov",
    "MarkovChain",
    "NGrams",
    "Noise",
    "Vectors",
    "Windows",
    "Word2Vec",
    "additive",
    "as_embedding",
    "backward",
    "baum_welch",
    "cbow",
    "draw_noise",
    "filtering",
    "forward",
    "hidden_markov",
    "init_word2vec",
    "katz",
    "keep_probability",
    "kneser_ney",
    "markov",
    "project",
    "skip_gram",
    "smooth",
    "unigram_noise",
    "viterbi",
    "word2vec_loss",
]
