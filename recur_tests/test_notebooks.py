"""Every notebook runs in its quick mode, and is stored with the outputs of a full run."""

import os
import pathlib
import re

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def outputs_of(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def text_of(notebook):
    """All text of a notebook, without pictures, whose encoding may contain any letters."""
    for output in outputs_of(notebook):
        output.get("data", {}).pop("image/png", None)
    return nbformat.writes(notebook)


def test_there_are_notebooks():
    assert NOTEBOOKS


@each
@pytest.mark.filterwarnings("default::DeprecationWarning")  # of the libraries that run a kernel
@pytest.mark.filterwarnings("default::ResourceWarning")  # of their sockets
def test_runs(path):
    notebook = nbformat.read(path, as_version=4)
    quick = {"RECUR_QUICK": "1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment = {**os.environ, **quick, "PYTHONPATH": str(ROOT)}
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute(env=environment)
    assert not any(output.get("name") == "stderr" for output in outputs_of(notebook))


@each
def test_is_kept_as_it_ran(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = outputs_of(notebook)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert not any("execution" in cell.metadata for cell in code)  # when it ran
    assert not re.search(r"/(home|root|tmp|work|Users)\b", text_of(notebook))
    assert path.stat().st_size < 300_000
