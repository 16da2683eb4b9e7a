"""What recurrent networks are measured against: n-grams, Markov models, word vectors."""

from recur.classic.ngram_model import NGrams
from recur.classic.ngrams import additive, katz, kneser_ney

__all__ = [
    "NGrams",
    "additive",
    "katz",
    "kneser_ney",
]
