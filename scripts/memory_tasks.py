"""The four tasks of memory.py: functions that draw examples, and the loss without memory.

One key makes one example, so a batch is a `vmap` over keys, on the device, and each training step
has new examples. Each task names its paper; the two halves are from lecture notes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

ALPHABET, COPIED = 8, 10  # of the symbols to copy
DIGITS, LONGEST = 10, 16  # of two halves


class Example(NamedTuple):
    """A sequence and its target."""

    xs: jax.Array  # float [T, I]
    length: jax.Array  # int32
    target: jax.Array  # a number, a class, or a symbol for each step


class Task(NamedTuple):
    """A function that draws examples, and how answers are scored."""

    draw: Callable[[jax.Array, bool], Example]  # of a key, and whether it is held out
    outputs: int  # 1 if the answer is a number
    bound: float  # the loss of the best answer without memory
    measure: Literal["loss", "wrong"]  # the result that decides whether it is solved
    goal: float  # the largest such result


def adding(steps: int) -> Task:
    """The sum of two marked numbers, one in each half (Hochreiter & Schmidhuber 1997).

    In the version of Le et al. 2015, https://arxiv.org/abs/1504.00941: numbers from 0 to 1, marks
    of 0 and 1. The variance of the sum is 1/6.
    """

    def draw(key, held_out):
        del held_out  # sequences hardly ever repeat
        numbers_key, first_key, second_key = jax.random.split(key, 3)
        numbers = jax.random.uniform(numbers_key, (steps,))
        first = jax.random.randint(first_key, (), 0, steps // 2)
        second = jax.random.randint(second_key, (), steps // 2, steps)
        marks = jnp.zeros(steps).at[jnp.stack([first, second])].set(1)
        target = numbers[first] + numbers[second]
        return Example(jnp.stack([numbers, marks], axis=1), jnp.int32(steps), target)

    return Task(draw, 1, 1 / 6, "loss", 0.01)


def copying(blanks: int) -> Task:
    """Ten symbols out of eight, to be repeated after a signal, `blanks` steps after the last.

    In the version of Arjovsky, Shah & Bengio 2016, https://arxiv.org/abs/1511.06464: an answer at
    each of `blanks + 20` steps, blank except for the last ten, which cost ln 8 each without memory.
    """
    blank, signal, length = ALPHABET, ALPHABET + 1, blanks + 2 * COPIED

    def draw(key, held_out):
        del held_out  # there are 8^10 sequences
        symbols = jax.random.randint(key, (COPIED,), 0, ALPHABET)
        tokens = jnp.full(length, blank).at[:COPIED].set(symbols)
        tokens = tokens.at[blanks + COPIED - 1].set(signal)
        target = jnp.full(length, blank).at[-COPIED:].set(symbols)
        return Example(jax.nn.one_hot(tokens, ALPHABET + 2), jnp.int32(length), target)

    bound = COPIED * math.log(ALPHABET) / length
    return Task(draw, ALPHABET + 1, bound, "loss", bound / 10)


def temporal_order(steps: int) -> Task:
    """Two symbols, each X or Y, in order, among four distractors: four classes.

    As in Hochreiter & Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735, the first is in
    the second tenth of the sequence, the second in the sixth.
    """
    x, distractors = 0, (2, 6)  # y is 1

    def draw(key, held_out):
        del held_out  # sequences hardly ever repeat
        noise_key, symbols_key, first_key, second_key = jax.random.split(key, 4)
        tokens = jax.random.randint(noise_key, (steps,), *distractors)
        symbols = jax.random.randint(symbols_key, (2,), x, x + 2)
        first = jax.random.randint(first_key, (), steps // 10, steps // 5 + 1)
        second = jax.random.randint(second_key, (), steps // 2, steps * 6 // 10 + 1)
        tokens = tokens.at[jnp.stack([first, second])].set(symbols)
        return Example(
            jax.nn.one_hot(tokens, distractors[1]), jnp.int32(steps), 2 * symbols[0] + symbols[1]
        )

    return Task(draw, 4, math.log(4), "wrong", 0.01)


def two_halves() -> Task:
    """Whether 4, 6 ... or 16 digits are the concatenation of two identical halves.

    Half of the examples are. In the others the second half differs in one digit or, in half of
    these, in about half of its digits. The middle is not marked. First halves whose digits sum to a
    multiple of ten are held out from training.
    """
    most = LONGEST // 2

    def draw(key, held_out):
        names = ("length", "digits", "rest", "same", "easy", "place", "places", "shift")
        keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))
        half = jax.random.randint(keys["length"], (), 2, most + 1)
        at = jnp.arange(most)
        free = jnp.where(at < half - 1, jax.random.randint(keys["digits"], (most,), 0, DIGITS), 0)
        rest = 0 if held_out else jax.random.randint(keys["rest"], (), 1, DIGITS)
        first = jnp.where(at == half - 1, (rest - free.sum()) % DIGITS, free)

        same = jax.random.bernoulli(keys["same"])
        one = at == jax.random.randint(keys["place"], (), 0, half)
        some = jax.random.bernoulli(keys["places"], 0.5, (most,))
        differs = (one | (some & jax.random.bernoulli(keys["easy"]))) & ~same
        shift = jax.random.randint(keys["shift"], (most,), 1, DIGITS)
        second = jnp.where(differs, (first + shift) % DIGITS, first)

        step = jnp.arange(LONGEST)
        digits = jnp.where(step < half, first[step % most], second[(step - half) % most])
        xs = jax.nn.one_hot(digits, DIGITS) * (step < 2 * half)[:, None]
        return Example(xs, 2 * half, same.astype(jnp.int32))

    return Task(draw, 2, math.log(2), "wrong", 0.01)
