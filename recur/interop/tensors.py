"""Tensors of other libraries as JAX arrays, with checks that name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur.arrays import as_array
from recur.checks import known_value, leaf_name


def as_arrays(caller: str, named: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Returns tensors of any library by name, as finite floating-point arrays of the same dtype."""
    arrays = {name: _as_weight(caller, name, value) for name, value in named.items()}
    check_finite(caller, arrays)
    return arrays


def _as_weight(caller: str, name: str, value: Any) -> jax.Array:
    """Returns a tensor of PyTorch, a variable of Keras, or any array as a JAX array."""
    given = str(getattr(value, "dtype", ""))
    if hasattr(value, "trainable") and hasattr(value, "value"):  # of Keras
        value = value.numpy() if callable(value.value) else value.value
    if hasattr(value, "detach"):  # of PyTorch, whose bfloat16 NumPy lacks
        value = value.detach().cpu()
        value = value.float().numpy() if given == "torch.bfloat16" else value.numpy()
    array = as_array(f"{caller}: {name}", value)
    if given == "torch.bfloat16":
        array = array.astype(jnp.bfloat16)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{caller}: {name}: expected floating-point numbers, got {array.dtype}.")
    if given.endswith("float64") and array.dtype != jnp.float64:
        raise ValueError(
            f"{caller}: {name} is float64, which JAX would round to {array.dtype}. Convert the "
            'weights to float32 first, or call jax.config.update("jax_enable_x64", True).'
        )
    return array


def check_finite(caller: str, tree: Any) -> None:
    """Raises a ValueError that names a weight which is NaN or infinite, if values are known."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        value = known_value(leaf)
        if value is None:
            continue
        is_complex = np.iscomplexobj(value)
        wrong = ~np.isfinite(value if is_complex else value.astype(np.float64))
        if wrong.any():
            raise ValueError(
                f"{caller}: {leaf_name(path)} has {wrong.sum()} of {wrong.size} entries that are "
                "NaN or infinite. Take the weights of an earlier checkpoint."
            )


def check_names(caller: str, found: Iterable[str], expected: Sequence[str]) -> None:
    """Raises a ValueError unless the names of tensors are those expected."""
    found = list(found)
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    if missing or extra:
        problems = [
            f"{kind} {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"
            for kind, names in (("missing", missing), ("unexpected", extra))
            if names
        ]
        raise ValueError(
            f"{caller}: expected the tensors {', '.join(expected)}; {'; '.join(problems)}."
        )


def check_shapes(
    caller: str, arrays: Mapping[str, jax.Array], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Raises a ValueError unless each array has the shape expected."""
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(
                f"{caller}: {name}: expected the shape {list(shape)}, got "
                f"{list(arrays[name].shape)}."
            )
