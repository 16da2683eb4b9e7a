"""Other libraries: their cells as cells of `recur`, layers as their modules, and weights."""

from recur.interop.cudnn_weights import from_cudnn_weights, to_cudnn_weights
from recur.interop.equinox import from_equinox, to_equinox
from recur.interop.equinox_weights import from_equinox_weights, to_equinox_weights
from recur.interop.flax_weights import (
    from_linen_weights,
    from_nnx_weights,
    to_linen_weights,
    to_nnx_weights,
)
from recur.interop.haiku import from_haiku
from recur.interop.haiku_weights import from_haiku_weights, to_haiku_weights
from recur.interop.keras_weights import from_keras_weights, to_keras_weights
from recur.interop.linen import from_linen, to_linen
from recur.interop.nnx import from_nnx, to_nnx
from recur.interop.torch_weights import from_torch_weights, to_torch_weights

__all__ = [
    "from_cudnn_weights",
    "from_equinox",
    "from_equinox_weights",
    "from_haiku",
    "from_haiku_weights",
    "from_keras_weights",
    "from_linen",
    "from_linen_weights",
    "from_nnx",
    "from_nnx_weights",
    "from_torch_weights",
    "to_cudnn_weights",
    "to_equinox",
    "to_equinox_weights",
    "to_haiku_weights",
    "to_keras_weights",
    "to_linen",
    "to_linen_weights",
    "to_nnx",
    "to_nnx_weights",
    "to_torch_weights",
]
