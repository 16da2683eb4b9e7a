"""Decoding: sampling, generation, beam search and CTC; teacher forcing, scheduled sampling."""

from recur.decode.beam import beam_search, search
from recur.decode.ctc_alignment import CtcAlignment, ctc_align
from recur.decode.ctc_beam import LanguageModel, ctc_beam_search
from recur.decode.ctc_greedy import BestPath, ctc_greedy
from recur.decode.distributions import bernoulli, gaussian, gaussian_mixture
from recur.decode.force import (
    free_running,
    inverse_sigmoid_decay,
    scheduled_sampling,
    teacher_forcing,
)
from recur.decode.generate import Generated, generate
from recur.decode.hypotheses import Beams
from recur.decode.sample import argmax, categorical, forbid, temperature, top_k, top_p
from recur.serialization import register_namedtuples

register_namedtuples()

__all__ = [
    "Beams",
    "BestPath",
    "CtcAlignment",
    "Generated",
    "LanguageModel",
    "argmax",
    "beam_search",
    "bernoulli",
    "categorical",
    "ctc_align",
    "ctc_beam_search",
    "ctc_greedy",
    "forbid",
    "free_running",
    "gaussian",
    "gaussian_mixture",
    "generate",
    "inverse_sigmoid_decay",
    "scheduled_sampling",
    "search",
    "teacher_forcing",
    "temperature",
    "top_k",
    "top_p",
]
