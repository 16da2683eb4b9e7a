"""Export of a layer as one file, which JAX runs without recur."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from typing import Any

import jax
import jaxlib.version
from jax import export

import recur
from recur.checks import leaf_name
from recur.files import replacing
from recur.interop.by_name import by_names
from recur.layer import Layer
from recur.types import Context, Params, Shaped

FORMAT, FORMAT_VERSION = "recur program", 1
DESCRIPTION, CODE = "description.json", "program.bin"  # the entries of the file
PLATFORMS = ("cpu", "cuda", "tpu")


def export_program(
    path: str | os.PathLike,
    layer: Layer,
    params: Params,
    xs: Shaped,
    *,
    context: Context = None,
    step: bool = False,
    separate_params: bool = False,
    symbolic: bool = True,
    platforms: Sequence[str] = PLATFORMS,
) -> None:
    """Exports a layer or one step of it as StableHLO, in a file that needs only JAX to run.

        carry, ys = program(xs=..., length=...)                         by default
        carry, y = program(carry=..., x=..., mask=..., reset=...)       with step=True

    The file is a zip archive of `program.bin`, for `jax.export.deserialize`, and
    `description.json`: the name, shape and dtype of each input and output, in the order of the
    program, the platforms, and the versions of the libraries. Only dicts of arrays are inputs and
    outputs: `carry` and `context` by their paths, such as `0/hidden`, with the name `value` for a
    single array; `xs` and `ys` are arrays, or dicts if they are other pytrees. Noise is off.

    With step=True a row starts from the initial carry where `reset` is True, whatever its `carry`
    is, and keeps its carry where `mask` is False. So sessions can start, pause and end in any row.

    Args:
      path: the path of the file; its folder must exist.
      layer: any layer, batched or not.
      params: of the layer, which become constants of the program.
      xs: an example of the inputs or its shape, `[B, T, I]` if the layer is batched.
      context: an example of the context or its shape, which is then another input.
      step: whether to export one step, of inputs `[B, I]`.
      separate_params: whether the params are another input, a dict of arrays by the names that
        `save_params` uses.
      symbolic: whether one program runs for every number of rows and steps from 1, the dimensions
        "b" and "t". Other axes are symbolic if xs or the context have symbolic dimensions already.
      platforms: where the program can run.

    Returns:
      None.

    Raises:
      TypeError: if the layer is not a layer, or params, xs or context do not hold arrays.
      ValueError: if a param is NaN or infinite, step=True is given and the layer needs whole
        sequences, or a platform is unknown.
      ImportError: if flatbuffers is not installed.
      OSError: if the file could not be written.

    Example:
      >>> import pathlib, tempfile, jax, jax.numpy as jnp, recur
      >>> layer, xs = recur.batch(recur.scan(recur.gru(8))), jnp.ones((1, 5, 3))
      >>> params = layer.init(jax.random.key(0), xs)
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "gru.zip"
      >>> recur.interop.export_program(path, layer, params, xs)
      >>> import json, zipfile                                        # without recur
      >>> file = zipfile.ZipFile(path)
      >>> program = jax.export.deserialize(bytearray(file.read("program.bin")))
      >>> carry, ys = program.call(xs=jnp.ones((4, 7, 3)), length=jnp.array([7, 2, 5, 0]))
      >>> ys.shape, json.loads(file.read("description.json"))["platforms"]
      ((4, 7, 8), ['cpu', 'cuda', 'tpu'])

    References:
      StableHLO, https://openxla.org/stablehlo
      JAX: exporting and serializing staged-out computations,
      https://docs.jax.dev/en/latest/export/export.html
    """
    caller = "export_program"
    function = by_names(
        caller,
        layer,
        params,
        xs,
        context=context,
        step=step,
        symbolic=symbolic,
        separate_params=separate_params,
    )
    _check_platforms(caller, platforms)
    exported = export.export(jax.jit(function.run), platforms=platforms)(**function.inputs)
    try:
        code = exported.serialize()
    except ModuleNotFoundError as error:
        raise ImportError(f"{caller} needs flatbuffers: pip install flatbuffers.") from error
    description = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "layer": repr(layer),
        "step": step,
        **describe_exported(exported, "y" if step else "ys"),
        "platforms": list(exported.platforms),
        "versions": {
            "recur": recur.__version__,
            "jax": jax.__version__,
            "jaxlib": jaxlib.version.__version__,
            "calling_convention": exported.calling_convention_version,
        },
    }
    with replacing(path, "wb") as file, zipfile.ZipFile(file, "w") as entries:
        entries.writestr(zipfile.ZipInfo(DESCRIPTION), json.dumps(description, indent=2) + "\n")
        entries.writestr(zipfile.ZipInfo(CODE), code)


def describe_exported(exported: export.Exported, output: str) -> dict[str, Any]:
    """Returns the names, shapes and dtypes of the inputs and outputs, in the program's order."""
    _, inputs = jax.tree.unflatten(exported.in_tree, exported.in_avals)
    carry, ys = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    return {"inputs": _describe(inputs), "outputs": _describe({"carry": carry, output: ys})}


def _describe(named: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": leaf_name(path),
            "shape": [size if isinstance(size, int) else str(size) for size in array.shape],
            "dtype": array.dtype.name,
        }
        for path, array in jax.tree_util.tree_leaves_with_path(named)
    ]


def _check_platforms(caller: str, platforms: Any) -> None:
    known = (*PLATFORMS, "rocm")
    is_list = isinstance(platforms, (list, tuple)) and len(platforms) > 0
    if not is_list or any(platform not in known for platform in platforms):
        raise ValueError(
            f"{caller}: expected platforms as a list of {', '.join(known)}, got {platforms!r}."
        )
