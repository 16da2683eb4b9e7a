"""Other libraries: cells, layers as modules, weights; and programs that run without recur."""

from recur.interop.cudnn_weights import from_cudnn_weights, to_cudnn_weights
from recur.interop.equinox import from_equinox, to_equinox
from recur.interop.equinox_weights import from_equinox_weights, to_equinox_weights
from recur.interop.export_file import export_program
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
from recur.interop.onnx_file import export_onnx
from recur.interop.program import Program, load_program
from recur.interop.torch_weights import from_torch_weights, to_torch_weights
from recur.serialization import register_namedtuples

register_namedtuples()

__all__ = [
    "Program",
    "export_onnx",
    "export_program",
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
    "load_program",
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
