"""Registration of recur's NamedTuples with `jax.export`, so that functions of them can be saved."""

from __future__ import annotations

import sys

from jax import export

_registered: set[str] = set()


def register_namedtuples() -> None:
    """Registers the public NamedTuples of all imported modules of recur with `jax.export`.

    An exported function of params or carries can then be saved by `serialize`, and loaded by
    `jax.export.deserialize` if recur is imported. The NamedTuples of `recur.classic`, `decode`,
    `diagnose`, `interop`, `runs`, `text` and `train` are registered when these are imported.
    `recur.cells.lstm.LSTMParams` is registered as "recur.LSTMParams", so the name stays the same if
    the class moves to another file.
    """
    modules = {name: module for name, module in sys.modules.items() if name.startswith("recur.")}
    for module_name, module in modules.items():
        for name, value in list(vars(module).items()):
            is_tuple = isinstance(value, type) and issubclass(value, tuple)
            is_own = is_tuple and hasattr(value, "_fields") and value.__module__ == module_name
            if is_own and not name.startswith("_") and name not in _registered:
                export.register_namedtuple_serialization(value, serialized_name=f"recur.{name}")
                _registered.add(name)
