"""Cells of Flax, Equinox and Haiku as cells of `recur`, and weights of other libraries."""

from recur.interop.equinox import from_equinox
from recur.interop.haiku import from_haiku
from recur.interop.keras_weights import from_keras_weights, to_keras_weights
from recur.interop.linen import from_linen
from recur.interop.nnx import from_nnx
from recur.interop.torch_weights import from_torch_weights, to_torch_weights

__all__ = [
    "from_equinox",
    "from_haiku",
    "from_keras_weights",
    "from_linen",
    "from_nnx",
    "from_torch_weights",
    "to_keras_weights",
    "to_torch_weights",
]
