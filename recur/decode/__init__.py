"""A layer in, sequences out: choosing tokens, and generating with them."""

from recur.decode.generate import Generated, generate
from recur.decode.sample import argmax, forbid, multinomial, nucleus, temperature, top_k

__all__ = [
    "Generated",
    "argmax",
    "forbid",
    "generate",
    "multinomial",
    "nucleus",
    "temperature",
    "top_k",
]
