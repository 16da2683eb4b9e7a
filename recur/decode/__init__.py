"""Decoding: sampling, generation and beam search; teacher forcing and scheduled sampling."""

from recur.decode.beam import beam_search, search
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
    "Generated",
    "argmax",
    "beam_search",
    "bernoulli",
    "categorical",
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
