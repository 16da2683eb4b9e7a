"""The compiled programs of a character server: one reads prompts, one generates a character a row.

Both have a fixed number of rows, so each is compiled once. A row that is not used has length 0, and
its carry stays as it is. XLA may round differently at another number of rows or in another program.
So a session always reads its prompt with the first program, in the same pieces, and generates with
the second. Then its text depends on its own requests only, if all rows round alike, which
`check_rows` tests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import recur
from recur.decode import argmax, forbid, temperature
from recur.text import BOUNDARY, UNKNOWN, Characters
from recur.train import dequantize_params

Carry = Any  # of one session: a pytree of NumPy arrays; None for the initial carry


class Model(NamedTuple):
    """A character model: a batched layer from ids to logits, its params and its vocabulary."""

    layer: recur.Layer
    params: Any
    vocabulary: Characters

    def digest(self) -> str:
        """A hash of the weights and the vocabulary, by which saved carries name their model."""
        found = hashlib.sha256(self.vocabulary.characters.encode())
        for leaf in map(np.asarray, jax.tree.leaves(self.params)):
            found.update(f"{leaf.dtype}{leaf.shape}".encode() + leaf.tobytes())
        return found.hexdigest()


class Draw(NamedTuple):
    """What one row draws its next character from.

    Attributes:
      token: the last token, which was not read yet.
      seed: of the session.
      position: the number of tokens that the session has drawn.
      temperature: of sampling; 0 takes the most likely character.
    """

    token: int
    seed: int
    position: int
    temperature: float


class Steps:
    """The carries of all rows, and the programs that advance them.

    Args:
      model: what is served.
      rows: sessions that generate at once.
      read_rows: sessions that read their prompts at once.
      chunk: characters of a prompt that are read at once.
    """

    def __init__(self, model: Model, rows: int, read_rows: int, chunk: int):
        self.rows, self.read_rows, self.chunk = rows, read_rows, chunk
        self._params = model.params
        layer = model.layer

        def read(params, carry, tokens, length):
            return layer.run(dequantize_params(params), tokens, carry=carry, length=length)[0]

        def generate(params, carry, draws, is_used):
            params = dequantize_params(params)
            tokens, length = draws.token[:, None], is_used.astype(jnp.int32)
            carry, logits = layer.run(params, tokens, carry=carry, length=length)
            return carry, jax.vmap(_choose)(logits[:, 0], draws)

        def initial(count):
            shape = jax.ShapeDtypeStruct((count, 1), jnp.int32)
            begin = jax.jit(lambda params: layer.init_carry(dequantize_params(params), shape))
            return begin(model.params)

        self._read, self._generate = jax.jit(read), jax.jit(generate)
        self._carry = initial(rows)
        self._first = jax.tree.map(lambda leaf: np.array(leaf[0]), self._carry)

    @property
    def first_carry(self) -> Carry:
        """The carry of a session that has read nothing."""
        return self._first

    def read_prompts(
        self, carries: Sequence[Carry], pieces: Sequence[Sequence[int]]
    ) -> list[Carry]:
        """Reads a piece of at most `chunk` tokens for each of at most `read_rows` sessions."""
        idle = self.read_rows - len(pieces)
        tokens = np.zeros((self.read_rows, self.chunk), np.int32)
        for row, piece in enumerate(pieces):
            tokens[row, : len(piece)] = piece
        length = np.array([*map(len, pieces), *[0] * idle], np.int32)
        given = [*map(self._or_first, carries), *[self._first] * idle]
        stacked = jax.tree.map(lambda *rows: np.stack(rows), *given)
        found = jax.device_get(self._read(self._params, stacked, tokens, length))
        return [_row(found, row) for row in range(len(pieces))]

    def generate(self, draws: Mapping[int, Draw]) -> dict[int, int]:
        """Reads the last token of the given rows and draws their next one."""
        dtypes = np.int32, np.uint32, np.int32, np.float32
        columns = Draw(*(np.zeros(self.rows, dtype) for dtype in dtypes))
        is_used = np.zeros(self.rows, bool)
        for row, draw in draws.items():
            is_used[row] = True
            for column, value in zip(columns, draw, strict=True):
                column[row] = value
        self._carry, tokens = self._generate(self._params, self._carry, columns, is_used)
        tokens = np.asarray(tokens)
        return {row: int(tokens[row]) for row in draws}

    def take(self, rows: Sequence[int]) -> list[Carry]:
        """Returns the carries of some rows."""
        host = jax.device_get(self._carry)
        return [_row(host, row) for row in rows]

    def put(self, carries: Mapping[int, Carry]) -> None:
        """Sets the carries of some rows."""
        host = jax.tree.map(np.array, self._carry)
        for row, carry in carries.items():
            for leaf, value in zip(
                *map(jax.tree.leaves, (host, self._or_first(carry))), strict=True
            ):
                leaf[row] = value
        self._carry = jax.device_put(host)

    def check_rows(self) -> None:
        """Compiles both programs, and checks that all of their rows round alike.

        Raises:
          ValueError: if two rows with the same values have different results.
        """
        prompt = [BOUNDARY] * self.chunk
        read = self.read_prompts([None] * self.read_rows, [prompt] * self.read_rows)
        self.put(dict.fromkeys(range(self.rows), read[0]))
        token = BOUNDARY
        for position in range(8):
            draw = Draw(token, seed=7, position=position, temperature=1.0)
            token = self.generate(dict.fromkeys(range(self.rows), draw))[0]
        for option, carries in (("--read-rows", read), ("--rows", self.take(range(self.rows)))):
            for row, carry in enumerate(carries):
                if _bytes(carry) != _bytes(carries[0]):
                    raise ValueError(
                        f"{option}: expected rows that round alike on this device, got row {row} "
                        f"of {len(carries)} unlike row 0. Choose another number, such as a "
                        "multiple of 16."
                    )

    def _or_first(self, carry: Carry) -> Carry:
        return self._first if carry is None else carry


def _row(carries: Any, row: int) -> Carry:
    """A copy of one row of arrays on the host."""
    return jax.tree.map(lambda leaf: leaf[row].copy(), carries)


def _bytes(carry: Carry) -> list[bytes]:
    return [leaf.tobytes() for leaf in jax.tree.leaves(carry)]


def _choose(logits: jax.Array, draw: Draw) -> jax.Array:
    """Draws a token of one row; the key depends on the seed and the position alone."""
    key = jax.random.fold_in(jax.random.key(draw.seed), draw.position)
    value = jnp.where(draw.temperature > 0, draw.temperature, 1.0)
    sampled = forbid([UNKNOWN], temperature(value))(logits, key)
    return jnp.where(draw.temperature > 0, sampled, forbid([UNKNOWN], argmax)(logits, key))
