"""Cells of Flax Linen, Flax NNX, Equinox and Haiku as cells of `recur`, imported when used."""

from recur.interop.equinox import from_equinox
from recur.interop.haiku import from_haiku
from recur.interop.linen import from_linen
from recur.interop.nnx import from_nnx

__all__ = ["from_equinox", "from_haiku", "from_linen", "from_nnx"]
