"""Where the documentation of other libraries is, also for a build without a network.

The few names of other libraries that signatures hold are listed here, and written as inventories
that intersphinx reads where it cannot fetch the full ones.
"""

from __future__ import annotations

import pathlib
import tempfile
import zlib

BUILTINS = "bool dict float int list str tuple"
ERRORS = "FloatingPointError ImportError OSError TypeError ValueError"
ABSTRACT = "Callable Iterable Iterator Mapping Sequence"

# Library: (address, {name: (role, page)}), with $ for the name in a page
LIBRARIES: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "python": (
        "https://docs.python.org/3/",
        {
            **{name: ("class", "library/functions.html#$") for name in BUILTINS.split()},
            **{name: ("exception", "library/exceptions.html#$") for name in ERRORS.split()},
            **{
                f"collections.abc.{name}": ("class", "library/collections.abc.html#$")
                for name in ABSTRACT.split()
            },
            "os.PathLike": ("class", "library/os.html#$"),
            "pathlib.Path": ("class", "library/pathlib.html#$"),
            "contextlib.AbstractContextManager": ("class", "library/contextlib.html#$"),
        },
    ),
    "numpy": (
        "https://numpy.org/doc/stable/",
        {
            "numpy.ndarray": ("class", "reference/generated/$.html#$"),
            "numpy.typing.ArrayLike": ("data", "reference/typing.html#$"),
        },
    ),
    "jax": (
        "https://docs.jax.dev/en/latest/",
        {
            "jax.Array": ("class", "_autosummary/$.html#$"),
            "jax.ShapeDtypeStruct": ("class", "_autosummary/$.html#$"),
            "jax.sharding.Sharding": ("class", "jax.sharding.html#$"),
            "jax.extend.core.Jaxpr": ("class", "jax.extend.core.html#$"),
            "jax.extend.core.JaxprEqn": ("class", "jax.extend.core.html#$"),
            "jax.extend.core.Literal": ("class", "jax.extend.core.html#$"),
            "jax.extend.core.Var": ("class", "jax.extend.core.html#$"),
        },
    ),
    "optax": (
        "https://optax.readthedocs.io/en/latest/",
        {
            "optax.GradientTransformation": ("class", "api/transformations.html#$"),
        },
    ),
}

# Names in signatures and annotations that are private, or have no module.
PUBLIC = {
    "jax.jaxlib._jax.Array": "jax.Array",
    "jax._src.core.Jaxpr": "jax.extend.core.Jaxpr",
    "jax._src.core.JaxprEqn": "jax.extend.core.JaxprEqn",
    "jax._src.core.Literal": "jax.extend.core.Literal",
    "jax._src.core.Var": "jax.extend.core.Var",
    "Jaxpr": "jax.extend.core.Jaxpr",
    "Literal": "jax.extend.core.Literal",
    "JaxprEqn": "jax.extend.core.JaxprEqn",
    "Var": "jax.extend.core.Var",
    "np.ndarray": "numpy.ndarray",
    "ArrayLike": "numpy.typing.ArrayLike",
}

# Names that no page can explain.
TYPE_VARIABLES = [("py:class", name) for name in ("Logits", "M", "Options")]


def mapping() -> dict[str, tuple[str, tuple[str | None, str]]]:
    """The mapping of intersphinx: full inventories, and the short ones without a network."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="inventories-"))
    found = {}
    for library, (address, names) in LIBRARIES.items():
        path = folder / f"{library}.inv"
        path.write_bytes(inventory(library, names))
        found[library] = (address, (None, str(path)))
    return found


def inventory(library: str, names: dict[str, tuple[str, str]]) -> bytes:
    """An inventory of version 2, as Sphinx reads it."""
    head = f"# Sphinx inventory version 2\n# Project: {library}\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    lines = [
        f"{name} py:{role} 1 {page.replace('$', name)} -\n" for name, (role, page) in names.items()
    ]
    return head.encode() + zlib.compress("".join(lines).encode())
