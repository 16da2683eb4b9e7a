"""Imports go from higher to lower rooms only, and importing has no side effects."""

import ast
import collections
import io
import pathlib
import subprocess
import sys
import tokenize

import recur

ROOT = pathlib.Path(recur.__file__).parent
FLOORS = [
    {
        "types",
        "keys",
        "arguments",
        "checks",
        "arrays",
        "ids",
        "files",
        "masks",
        "layer",
        "call_repr",
        "dtypes",
        "log_sums",
        "modules",
        "products",
        "manual_axes",
        "partition_inexact",
        "serialization",
        "structure",
    },
    {"cells", "sequences", "text"},
    {"combine"},
    {"lift"},
    {"decode"},
    {"train"},
    {"classic"},
    {"interop", "diagnose"},
    {"runs"},
    {"__init__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# Names of files in two rooms, where the field has one word for two things: a loop over steps and
# one over batches, a checkpoint of a gradient and one of a run.
SHARED_NAMES = {"checkpoint", "loop"}


def modules():
    return {path: path.relative_to(ROOT).with_suffix("").parts for path in ROOT.rglob("*.py")}


def imported(path):
    """Yields the dotted names that a file imports, at any place in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ([f"{node.module}.{a.name}" for a in node.names], [node.module])[
                node.module != "recur"
            ]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_room_has_a_floor():
    assert {parts[0] for parts in modules().values()} == FLOOR.keys()


def test_imports_only_go_down():
    for path, parts in modules().items():
        for name in imported(path):
            if name.startswith("recur."):
                above, room = parts[0], name.split(".")[1]
                same = above == room or FLOOR[above] == FLOOR[room] == 0
                assert same or FLOOR[room] < FLOOR[above], f"{path} imports {name}"


def test_the_types_import_nothing_of_recur():
    names = {name.split(".")[0] for name in imported(ROOT / "types.py")}
    assert names == {"__future__", "collections", "dataclasses", "jax", "typing"}


def test_structure_knows_nothing_of_time():
    """It analyses one step: it imports no layer and no lift, and has no loop over steps."""
    for path, parts in modules().items():
        if parts[0] == "structure":
            assert not {name for name in imported(path) if name.startswith("recur.layer")}, path
            assert "lax.scan" not in path.read_text(), path


def test_files_of_one_room_do_not_import_each_other_in_circles():
    files = {".".join(("recur", *parts)): set(imported(path)) for path, parts in modules().items()}
    while files:
        leaves = {name for name, needs in files.items() if not needs & files.keys() - {name}}
        assert leaves, f"circular imports among {sorted(files)}"
        files = {name: needs for name, needs in files.items() if name not in leaves}


def test_few_files_know_each_library():
    owners = {
        "flax": {
            ("modules",),
            *(("interop", name) for name in ("flax_weights", "lifted", "linen", "nnx")),
        },
        "haiku": {("interop", "haiku")},
        "equinox": {("modules",), ("interop", "equinox"), ("interop", "equinox_weights")},
        "grain": {("sequences", "batches"), ("sequences", "pack")},
        "orbax": {("train", "checkpoint_files")},
        "safetensors": {("train", "params_file")},
        "matplotlib": {("diagnose", "figure")},
        "tqdm": {("runs", "progress")},
        "tyro": {("runs", "command_line")},
        "tokenizers": {("text", "engine")},
        "sacrebleu": {("train", "text_metrics")},
        "soundfile": {("sequences", "audio_file")},
        "jax2onnx": {("interop", "onnx_file")},
        "onnxruntime": {("interop", "onnx_file")},
        "tensorboardX": {("train", "loggers")},
        "wandb": set(),
    }
    for path, parts in modules().items():
        names = {name.split(".")[0] for name in imported(path)}
        assert not names & {"torch", "keras"}, path
        for library, files in owners.items():
            assert parts in files or library not in names, path


def test_a_word_names_one_file():
    """File names are unique across rooms."""
    rooms = collections.defaultdict(set)
    for parts in modules().values():
        rooms[parts[-1]].add(parts[:-1])
    del rooms["__init__"]
    assert {name for name, found in rooms.items() if len(found) > 1} == SHARED_NAMES


def test_files_hold_one_idea_each():
    for path in modules():
        assert lines_of_code(path) <= 200, path


def lines_of_code(path):
    """Counts the lines of a file that are not empty, a comment or part of a docstring."""
    text = path.read_text()
    docstrings = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node
        ):
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    empty = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = [
        range(token.start[0], token.end[0] + 1)
        for token in tokens
        if token.type not in empty and token.type != tokenize.ENDMARKER
    ]
    return len(set().union(*lines) - docstrings)


def test_importing_changes_no_setting_starts_no_device_and_imports_no_library():
    script = """
import sys, jax
before = dict(jax.config.values)
import recur
from jax._src import xla_bridge
assert jax.config.values == before
assert not xla_bridge._backends
libraries = {"flax", "optax", "torch", "keras", "haiku", "equinox", "matplotlib", "grain"}
libraries |= {"tyro", "tqdm", "orbax", "tokenizers", "sacrebleu", "safetensors", "mido", "rich"}
libraries |= {"tensorboardX", "wandb", "soundfile", "jax2onnx", "onnxruntime"}
assert not libraries & sys.modules.keys(), libraries & sys.modules.keys()
recur.scan(recur.readout(recur.lstm(4), "tanh"))
assert "flax" not in sys.modules
assert "recur.train" not in sys.modules and set(recur.__all__) <= set(dir(recur))
[getattr(recur, name) for name in recur.__all__]
assert not libraries - {"optax"} & sys.modules.keys(), libraries & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
