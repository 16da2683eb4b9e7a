"""Imports only go down, and importing touches nothing."""

import ast
import pathlib
import subprocess
import sys

import recur

ROOT = pathlib.Path(recur.__file__).parent
FLOORS = [
    {"keys", "types", "checks", "dtypes", "modules", "products", "varying"},
    {"cells", "combine", "sequences", "text"},
    {"lift"},
    {"decode"},
    {"train"},
    {"classic"},
    {"interop", "diagnose"},
    {"__init__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def modules():
    return {path: path.relative_to(ROOT).with_suffix("").parts for path in ROOT.rglob("*.py")}


def imported(path):
    """The dotted names below `recur` that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ([f"{node.module}.{a.name}" for a in node.names], [node.module])[
                node.module != "recur"
            ]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_imports_only_go_down():
    for path, parts in modules().items():
        for name in imported(path):
            if name.startswith("recur."):
                above, room = parts[0], name.split(".")[1]
                same = above == room or FLOOR[above] == FLOOR[room] == 0
                assert same or FLOOR[room] < FLOOR[above], f"{path} imports {name}"


def test_files_of_one_room_do_not_import_each_other_in_circles():
    files = {".".join(("recur", *parts)): set(imported(path)) for path, parts in modules().items()}
    while files:
        leaves = {name for name, needs in files.items() if not needs & files.keys() - {name}}
        assert leaves, f"circular imports among {sorted(files)}"
        files = {name: needs for name, needs in files.items() if name not in leaves}


def test_few_files_know_each_library():
    owners = {
        "flax": {("modules",), ("interop", "linen"), ("interop", "nnx")},
        "haiku": {("interop", "haiku")},
        "equinox": {("interop", "equinox")},
        "grain": {("sequences", "batches"), ("sequences", "pack")},
        "orbax": {("train", "checkpoint")},
        "matplotlib": {("diagnose", "plots")},
        "tokenizers": {("text", "engine")},
    }
    for path, parts in modules().items():
        names = {name.split(".")[0] for name in imported(path)}
        assert not names & {"torch", "keras"}, path
        for library, files in owners.items():
            assert parts in files or library not in names, path


def test_files_hold_one_idea_each():
    for path in modules():
        assert len(path.read_text().splitlines()) <= 280, path


def test_importing_changes_no_setting_starts_no_device_and_needs_no_extra():
    script = """
import sys, jax, flax.linen
before = dict(jax.config.values)
import recur
from jax._src import xla_bridge
assert jax.config.values == before
assert not xla_bridge._backends
extras = {"torch", "keras", "haiku", "equinox", "matplotlib", "grain", "tyro", "tqdm", "orbax"}
extras |= {"tokenizers"}
assert not extras & sys.modules.keys(), extras & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
