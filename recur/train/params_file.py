"""Files of params in the safetensors format."""

from __future__ import annotations

import os
import pathlib
import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur.checks import leaf_name
from recur.files import replacing
from recur.keys import is_key
from recur.types import Params

_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}  # the names of dtypes in the format, and in NumPy
_RESERVED = "__metadata__"  # the entry of the metadata in the header of a file


def save_params(
    path: str | os.PathLike, params: Params, metadata: Mapping[str, str] | None = None
) -> None:
    """Saves params to a safetensors file, which other libraries can read too.

    Each array is saved by its path in the params, such as `0/recurrent_kernel`; `by_path` uses the
    same names. Sharded arrays are saved whole. A file at `path` is replaced once the new one is
    written; if that fails, it is unchanged. A NaN is saved, with a warning.

    Args:
      path: the path of the file; its folder must exist.
      params: a pytree of arrays and numbers, of bool, integers of 8 to 64 bits, float8, bfloat16,
        float16, float32, float64 or complex64.
      metadata: strings by name, such as the settings of the model.

    Returns:
      None.

    Raises:
      ImportError: if safetensors is not installed.
      TypeError: if a leaf has another dtype, such as complex128 or a typed key, or metadata are not
        strings by name.
      ValueError: if two leaves have the same name, or the format cannot hold a name.
      OSError: if the file could not be written.

    Example:
      >>> import pathlib, tempfile, jax.numpy as jnp
      >>> from recur.train import load_params, read_metadata, save_params
      >>> params = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}}
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
      >>> save_params(path, params, {"features": "3"})
      >>> sorted(load_params(path)), read_metadata(path)
      (['dense/bias', 'dense/kernel'], {'features': '3'})
    """
    library = _library("save_params")
    strings = {} if metadata is None else metadata
    is_mapping = isinstance(strings, Mapping)
    if not is_mapping or not all(
        isinstance(each, str) for item in strings.items() for each in item
    ):
        raise TypeError(
            f"save_params: metadata: expected a mapping of strings to strings, got {metadata!r}."
        )
    arrays = {
        name: np.asarray(leaf, order="C")
        for name, leaf in named_arrays("save_params: params", params).items()
    }
    _warn_of_nan(arrays)
    try:
        data = library.numpy.save(arrays, dict(strings) or None)
    except UnicodeEncodeError as error:
        raise ValueError(
            f"save_params: expected names and metadata as valid Unicode, got {error.object!r}."
        ) from error
    with replacing(path, "wb") as file:
        file.write(data)


def load_params(path: str | os.PathLike, like: Params | None = None) -> Any:
    """Loads params from a safetensors file.

    Args:
      path: the path of the file.
      like: params of the same structure, shapes and dtypes, or their shapes, such as
        `jax.eval_shape(model.init, key, xs)` returns.

    Returns:
      A pytree like `like`: JAX arrays, with the sharding that `like` has, and NumPy arrays and
      numbers where `like` has them. Without `like`, a dict of NumPy arrays by name.

    Raises:
      ImportError: if safetensors is not installed.
      TypeError: if a leaf of like is neither an array nor a number that `save_params` can save.
      ValueError: if the file is not a safetensors file; or if an array of the file or of like is
        missing in the other, or has another shape or dtype, in which case the message names it.
      OSError: if the file cannot be read.

    Example:
      >>> import pathlib, tempfile, jax, jax.numpy as jnp, recur
      >>> from recur.train import load_params, save_params
      >>> layer, xs = recur.scan(recur.lstm(4)), jnp.ones((5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "lstm.safetensors"
      >>> save_params(path, params)
      >>> loaded = load_params(path, like=jax.eval_shape(layer.init, jax.random.key(0), xs))
      >>> type(loaded).__name__, bool((layer(loaded, xs) == layer(params, xs)).all())
      ('LSTMParams', True)
    """
    library = _library("load_params")
    wanted = None if like is None else named_arrays("load_params: like", like)
    try:
        entries = dict(library.deserialize(pathlib.Path(path).read_bytes()))
    except library.SafetensorError as error:
        raise _not_the_format("load_params", path, error) from error
    arrays = {name: _decode(path, name, **entry) for name, entry in sorted(entries.items())}
    if wanted is None:
        return arrays
    for name in [*wanted, *arrays]:
        expected, found = _describe(wanted.get(name)), _describe(arrays.get(name))
        if expected != found:
            raise ValueError(
                f"load_params: {path}: expected {expected} at {name!r}, as in like, but the file "
                f"has {found}. Make like with the model that was saved, or leave it out to load a "
                "dict of all arrays."
            )
    leaves, structure = jax.tree.flatten(like)
    loaded = [_of_kind(leaf, arrays[name]) for name, leaf in zip(wanted, leaves, strict=True)]
    return jax.tree.unflatten(structure, loaded)


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """Reads the metadata of a safetensors file, without its arrays.

    Args:
      path: the path of the file.

    Returns:
      A dict of strings, as given to `save_params`.

    Raises:
      ImportError: if safetensors is not installed.
      ValueError: if the file is not a safetensors file.
      OSError: if the file cannot be read.

    Example:
      >>> import pathlib, tempfile, jax.numpy as jnp
      >>> from recur.train import read_metadata, save_params
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
      >>> save_params(path, {"kernel": jnp.ones(2)}, {"cell": "lstm"})
      >>> read_metadata(path)
      {'cell': 'lstm'}
    """
    library = _library("read_metadata")
    try:
        with library.safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except library.SafetensorError as error:
        raise _not_the_format("read_metadata", path, error) from error


def named_arrays(caller: str, tree: Any) -> dict[str, Any]:
    """Returns the leaves by path, in the order of the tree, with Python numbers as NumPy arrays."""
    named: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = leaf_name(path)
        if name in named:
            raise ValueError(
                f"{caller}: expected a name of its own for each array, got {name!r} twice. Rename "
                "one of them."
            )
        if name == _RESERVED:
            raise ValueError(f"{caller}: expected another name than {name!r}, which is reserved.")
        array = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        if is_key(leaf):
            raise TypeError(
                f"{caller}: {name!r}: expected an array of numbers, got a typed key. Convert it by "
                "jax.random.key_data."
            )
        if array.dtype.name not in _DTYPES.values():
            raise TypeError(
                f"{caller}: {name!r}: expected a dtype that safetensors can hold, got "
                f"{array.dtype.name}. It holds {', '.join(_DTYPES.values())}."
            )
        named[name] = array
    return named


def _warn_of_nan(arrays: dict[str, np.ndarray]) -> None:
    """Warns of the first array that holds NaN."""
    for name, array in arrays.items():
        is_nan = array != array
        if is_nan.any():
            warnings.warn(
                f"save_params: params: {is_nan.sum()} of {array.size} entries of {name!r} are NaN. "
                "Save the params of an earlier checkpoint if this is a trained model.",
                stacklevel=3,
            )
            return


def _decode(path: Any, name: str, dtype: str, shape: list[int], data: bytearray) -> np.ndarray:
    """Returns an array of a file."""
    if dtype not in _DTYPES:
        raise ValueError(
            f"load_params: {path}: {name!r}: expected a dtype of NumPy, got {dtype}. The supported "
            f"ones are {', '.join(_DTYPES)}."
        )
    return np.frombuffer(data, jnp.dtype(_DTYPES[dtype])).reshape(shape)


def _describe(array: Any) -> str:
    """The dtype and shape of an array of any byte order, as text."""
    if array is None:
        return "nothing"
    return f"{array.dtype.name}[{','.join(map(str, array.shape))}]"


def _of_kind(like: Any, array: np.ndarray) -> Any:
    """Converts an array to the type of a leaf of `like`, with its sharding."""
    if isinstance(like, np.ndarray):
        return array
    if isinstance(like, np.generic):
        return array[()]
    if not hasattr(like, "dtype"):
        return type(like)(array.item())
    sharding = like.sharding if getattr(like, "committed", True) else None
    loaded = jax.device_put(array, sharding)
    if loaded.dtype != array.dtype:
        raise ValueError(
            f"load_params: like: expected dtypes of JAX arrays, got {array.dtype}, which needs "
            'jax.config.update("jax_enable_x64", True).'
        )
    return loaded


def _not_the_format(caller: str, path: Any, error: Exception) -> ValueError:
    return ValueError(f"{caller}: {path}: expected a safetensors file ({error}).")


def _library(caller: str) -> ModuleType:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(f'{caller} needs safetensors: pip install "recur-jax[train]".') from error
    return safetensors
