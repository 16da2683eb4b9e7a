"""Writes the pages of the API reference, one a room, and resolves names to their entries there."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pathlib
import pkgutil
import re
from typing import Any, NamedTuple

import external
from docutils import nodes

import recur

ROOMS = (
    "types cells combine lift structure sequences text decode train classic diagnose interop "
    "runs serialization"
).split()
OF_ROOT = {"types": ["Cell", "Layer", "Mask"]}  # names of the root that no room has


class Entry(NamedTuple):
    """A public object and the name under which it is documented."""

    name: str
    value: Any

    @property
    def directive(self) -> str:
        """The directive of autodoc for it."""
        if inspect.isclass(self.value):
            return "autoclass"
        return "autofunction" if inspect.isroutine(self.value) else "autodata"


def public_names(module: Any) -> list[str]:
    """The names of `__all__`, or what a module without it defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    found = []
    for each in ast.parse(inspect.getsource(module)).body:
        if isinstance(each, ast.ClassDef | ast.FunctionDef):
            found.append(each.name)
        elif isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            found.append(each.targets[0].id)
    return [name for name in found if not name.startswith("_")]


def entries(room: str) -> list[Entry]:
    """The public objects of a room, as `recur.x` where they are names of the root."""
    module = importlib.import_module(f"recur.{room}")
    found = []
    for name in dict.fromkeys(OF_ROOT.get(room, []) + public_names(module)):
        value = getattr(module if hasattr(module, name) else recur, name)
        if inspect.ismodule(value):  # such as `classic.markov`
            functions = [each for each in public_names(value) if each not in module.__all__]
            found += [
                Entry(f"recur.{room}.{name}.{each}", getattr(value, each)) for each in functions
            ]
        else:
            is_of_root = getattr(recur, name, None) is value
            found.append(Entry(f"recur.{name}" if is_of_root else f"recur.{room}.{name}", value))
    return found


def aliases(room: str) -> dict[str, str]:
    """Aliases of types that signatures of a room's public functions name, as they are written."""
    defined = {}
    for info in pkgutil.iter_modules(
        getattr(importlib.import_module(f"recur.{room}"), "__path__", [])
    ):
        source = inspect.getsource(importlib.import_module(f"recur.{room}.{info.name}"))
        for each in ast.parse(source).body:
            if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
                defined[each.targets[0].id] = ast.unparse(each.value)
    found: dict[str, str] = {}
    used = {word for each in entries(room) for word in words_of_annotations(each.value)}
    while new := (used & set(defined)) - set(found):
        found |= {name: defined[name] for name in new if "TypeVar" not in defined[name]}
        used = {word for name in new for word in words(defined[name])} - new
    return dict(sorted(found.items()))


def words(written: str) -> set[str]:
    """The names in the source of a type."""
    return set(re.findall(r"\w+", written))


def words_of_annotations(value: Any) -> set[str]:
    """The words in the annotations of a function, or of the public methods of a class."""
    if inspect.isclass(value):
        methods = [m for name, m in vars(value).items() if not name.startswith("_")]
        return {word for m in methods if inspect.isfunction(m) for word in words_of_annotations(m)}
    annotations = getattr(value, "__annotations__", {}).values()
    return {word for each in annotations for word in words(str(each))}


def page(room: str) -> str:
    """The reference of one room in reStructuredText."""
    title = f"recur.{room}"
    found = entries(room)
    lines = [title, "=" * len(title), "", f".. automodule:: {title}", "   :no-members:", ""]
    lines += [".. currentmodule:: None", ""]
    groups = {
        "Functions": [each for each in found if each.directive == "autofunction"],
        "Types": [each for each in found if each.directive == "autoclass"],
        "Values": [each for each in found if each.directive == "autodata"],
    }
    for heading, group in groups.items():
        if not group:
            continue
        lines += [heading, "-" * len(heading), "", ".. autosummary::", "   :nosignatures:", ""]
        lines += [f"   ~{each.name}" for each in group] + [""]
        for each in group:
            lines += [f".. {each.directive}:: {each.name}"]
            if each.directive == "autoclass":
                lines += ["   :members:"]
                if fields := fields_of(each.value):
                    lines += [f"   :exclude-members: {', '.join(fields)}"]
            lines += [""]
    if shown := aliases(room):
        lines += ["Aliases of types", "----------------", ""]
    for name, written in shown.items():
        lines += [f".. py:type:: {title}.{name}", f"   :canonical: {written}", ""]
    return "\n".join(lines)


def index() -> str:
    """The list of the rooms with what is in them."""
    lines = ["API reference", "=============", ""]
    lines += ["Cells, combinators and lifts are names of `recur` itself, such as `recur.lstm`;"]
    lines += ["all other names are found in their subpackage, such as `recur.train.fit`.", ""]
    for room in ROOMS:
        summary = (importlib.import_module(f"recur.{room}").__doc__ or "").split("\n")[0]
        lines += [f":doc:`recur.{room} <{room}>`", f"   {summary}", ""]
    lines += [".. toctree::", "   :hidden:", "", *(f"   {room}" for room in ROOMS)]
    return "\n".join([*lines, ""])


def fields_of(kind: type) -> list[str]:
    """The fields of a NamedTuple or dataclass, which its docstring documents as attributes."""
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    return list(getattr(kind, "_fields", ())) if issubclass(kind, tuple) else []


def write_pages(folder: pathlib.Path) -> None:
    """Writes a page a room and their index, and leaves those alone that have not changed."""
    folder.mkdir(exist_ok=True)
    for name, text in {"index": index(), **{room: page(room) for room in ROOMS}}.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


# --- Names ---------------------------------------------------------------------------------------


def documented() -> dict[str, str]:
    """From every name by which a public object is known to the name of its entry."""
    found: dict[str, set[str]] = {}
    for room in ROOMS:
        for entry in entries(room):
            module = getattr(entry.value, "__module__", f"recur.{room}")
            short = entry.name.rpartition(".")[2]
            known_as = {short, f"recur.{room}.{short}", f"{module}.{short}", f"{room}.{short}"}
            for alias in known_as:
                found.setdefault(alias, set()).add(entry.name)
        for name in aliases(room):
            found.setdefault(name, set()).add(f"recur.{room}.{name}")
    return {alias: names.pop() for alias, names in found.items() if len(names) == 1}


def resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Finds the entry of a name; in docstrings, what names no public object is code."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"] = external.PUBLIC.get(node["reftarget"], node["reftarget"])
    name = app.config.recur_documented.get(target.removesuffix("()"))
    if name is not None:
        domain, origin = env.get_domain("py"), node["refdoc"]
        return domain.resolve_xref(env, origin, app.builder, "obj", name, node, content)
    if target in external.PUBLIC.values():
        node["reftype"] = "obj"  # of any kind in the inventory
    elif node["reftype"] == "obj" and origin_is_docstring(node):
        return nodes.literal(content.astext(), content.astext(), classes=["docutils"])
    return None


def origin_is_docstring(node: Any) -> bool:
    """Whether a reference stands on a page of the reference, where backticks are any code."""
    return node["refdoc"].startswith("api/")


def setup(app: Any) -> dict[str, bool]:
    """Registers the resolver with Sphinx."""
    app.add_config_value("recur_documented", documented(), "env")
    app.connect("missing-reference", resolve, priority=400)  # before intersphinx
    return {"parallel_read_safe": True, "parallel_write_safe": True}
