"""A layer in, sequences out: choosing tokens, generating, beam search, and feeding a decoder."""

from recur.decode.beam import beam_search, search
from recur.decode.force import (
    free_running,
    inverse_sigmoid_decay,
    scheduled_sampling,
    teacher_forcing,
)
from recur.decode.generate import Generated, generate
from recur.decode.hypotheses import Beams
from recur.decode.sample import argmax, forbid, multinomial, nucleus, temperature, top_k

__all__ = [
    "Beams",
    "Generated",
    "argmax",
    "beam_search",
    "forbid",
    "free_running",
    "generate",
    "inverse_sigmoid_decay",
    "multinomial",
    "nucleus",
    "scheduled_sampling",
    "search",
    "teacher_forcing",
    "temperature",
    "top_k",
]
