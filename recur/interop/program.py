"""Programs loaded from the files of `export_program`."""

from __future__ import annotations

import functools
import json
import os
import struct
import zipfile
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from recur.arrays import as_array
from recur.checks import leaf_name
from recur.interop.export_file import CODE, DESCRIPTION, FORMAT, FORMAT_VERSION
from recur.masks import check_known_length

_DAMAGE = (EOFError, KeyError, NotImplementedError, RuntimeError, struct.error, ValueError)


class Program:
    """A program that `load_program` has loaded: `program(**inputs) -> (carry, ys)`.

    It is compiled once for each shape. Calls check the names, shapes and dtypes of the inputs.

    Attributes:
      description: the description in the file, with the inputs and outputs.
      exported: the `jax.export.Exported`, whose `call` takes the same inputs.
    """

    def __init__(self, description: dict[str, Any], exported: export.Exported) -> None:
        self.description = description
        self.exported = exported

    def __repr__(self) -> str:
        return f"Program({self.description['layer']})"

    def __call__(self, **inputs: Any) -> tuple[dict[str, jax.Array], Any]:
        """Runs the program.

        Args:
          **inputs: `xs` and `length`, or `carry`, `x`, `mask` and `reset` of one step; `context`
            and `params` if the program takes them.

        Returns:
          The carry, a dict of arrays by path, and the outputs.

        Raises:
          TypeError: if an input does not hold arrays.
          ValueError: if an array is missing, unexpected, or has another shape or dtype, in which
            case the message names it; or a known length is not from 0 to T.
        """
        leaves = jax.tree_util.tree_leaves_with_path(inputs, lambda each: isinstance(each, list))
        named = {leaf_name(path): leaf for path, leaf in leaves}
        arrays = {name: as_array(f"program: {name}", leaf) for name, leaf in named.items()}
        self._check_names(arrays)
        if "length" in arrays and jnp.issubdtype(arrays["length"].dtype, jnp.integer):
            arrays["length"] = arrays["length"].astype(jnp.int32)
        sizes: dict[Any, int] = {}
        for each in self.description["inputs"]:
            _check_input(each, arrays[each["name"]], sizes)
        if "length" in arrays and "t" in sizes:
            check_known_length(named["length"], sizes["t"])
        return self._compiled(**_by_argument(arrays))

    def zero_carry(self, *rows: int) -> dict[str, jax.Array]:
        """Returns a carry of zeros, to pass with `reset` in the first step.

        Args:
          *rows: the number of rows; none if the layer is not batched.

        Raises:
          ValueError: if it is not the program of one step, or the number of batch axes is wrong.
        """
        if not self.description["step"]:
            raise ValueError(
                "zero_carry: expected the program of one step, as export_program writes with "
                "step=True; this one starts from the initial carry."
            )
        shapes = {each["name"]: each for each in self.description["inputs"]}
        axes = shapes["reset"]["shape"]
        if len(rows) != len(axes):
            raise ValueError(
                f"zero_carry: expected the numbers of rows {axes}, one for each batch axis, got "
                f"{list(rows)}."
            )
        return {
            name.removeprefix("carry/"): jnp.zeros(
                (*rows, *each["shape"][len(axes) :]), each["dtype"]
            )
            for name, each in shapes.items()
            if name.startswith("carry/")
        }

    def _check_names(self, arrays: dict[str, jax.Array]) -> None:
        expected = [each["name"] for each in self.description["inputs"]]
        for kind, names in (
            ("missing", [name for name in expected if name not in arrays]),
            ("unexpected", [name for name in arrays if name not in expected]),
        ):
            if names:
                raise ValueError(
                    f"program: {kind} {', '.join(names[:6])}{', ...' if names[6:] else ''}. "
                    f"Expected {', '.join(expected)}."
                )

    @functools.cached_property
    def _compiled(self) -> Any:
        return jax.jit(self.exported.call)


def load_program(path: str | os.PathLike) -> Program:
    """Loads a program from a file of `export_program`.

    Args:
      path: the path of the file.

    Returns:
      A `Program`, which checks its inputs.

    Raises:
      ValueError: if the file is not one of `export_program`, is damaged, or was written by a newer
        version of recur or JAX.
      ImportError: if flatbuffers is not installed.
      OSError: if the file cannot be read.

    Example:
      >>> import pathlib, tempfile, jax, jax.numpy as jnp
      >>> import recur
      >>> from recur.interop import export_program, load_program
      >>> layer, xs = recur.batch(recur.scan(recur.lstm(8))), jnp.ones((2, 5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "step.zip"
      >>> export_program(path, layer, params, xs, step=True)
      >>> step = load_program(path)
      >>> carry, reset, mask = step.zero_carry(2), jnp.ones(2, bool), jnp.ones(2, bool)
      >>> for x in jnp.moveaxis(xs, 1, 0):
      ...     carry, y = step(carry=carry, x=x, mask=mask, reset=reset)
      ...     reset = jnp.zeros(2, bool)
      >>> sorted(carry), y.shape
      (['cell', 'hidden'], (2, 8))
    """
    try:
        with zipfile.ZipFile(path) as entries:
            description = json.loads(entries.read(DESCRIPTION))
            code = entries.read(CODE)
        is_ours = description["format"] == FORMAT
        version, versions = description["format_version"], description["versions"]
        of_recur, of_jax = versions["recur"], versions["jax"]
    except (*_DAMAGE, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"load_program: {path}: expected a file of export_program, got another or a damaged "
            f"one ({error}). Copy or export it again."
        ) from error
    if not is_ours:
        raise ValueError(
            f"load_program: {path}: expected the format {FORMAT!r}, got {description['format']!r}."
        )
    if version != FORMAT_VERSION:
        raise ValueError(
            f"load_program: {path}: expected version {FORMAT_VERSION} of the format, got {version} "
            f"of recur {of_recur}. Update recur."
        )
    try:
        return Program(description, export.deserialize(bytearray(code)))
    except ModuleNotFoundError as error:
        raise ImportError("load_program needs flatbuffers: pip install flatbuffers.") from error
    except _DAMAGE as error:
        raise ValueError(
            f"load_program: {path}: JAX {jax.__version__} cannot read a program of JAX "
            f"{of_jax} ({error}). Update JAX, or export the program again."
        ) from error


def _check_input(expected: dict[str, Any], array: jax.Array, sizes: dict[Any, int]) -> None:
    """Raises a ValueError unless an array has the shape and dtype expected; records sizes."""
    name, shape, dtype = expected["name"], expected["shape"], expected["dtype"]
    fits = len(array.shape) == len(shape) and all(
        found == (size if isinstance(size, int) else sizes.setdefault(size, found))
        for size, found in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.name != dtype:
        known = {size: sizes[size] for size in shape if size in sizes}
        where = ", ".join(f"{size} = {found}" for size, found in known.items())
        raise ValueError(
            f"program: {name}: expected {dtype}[{', '.join(map(str, shape))}]"
            f"{f' with {where}' if where else ''}, got {array.dtype.name}"
            f"[{', '.join(map(str, array.shape))}]."
        )
    if empty := [size for size in shape if sizes.get(size) == 0]:
        raise ValueError(
            f"program: {name}: expected {', '.join(empty)} >= 1, got the shape "
            f"{list(array.shape)}. Leave out calls without rows or steps."
        )


def _by_argument(arrays: dict[str, jax.Array]) -> dict[str, Any]:
    """Returns arrays by full name, such as `carry/0/hidden`, as the arguments of the program."""
    arguments: dict[str, Any] = {}
    for name, array in arrays.items():
        argument, is_entry, path = name.partition("/")
        if is_entry:
            arguments.setdefault(argument, {})[path] = array
        else:
            arguments[argument] = array
    return arguments
