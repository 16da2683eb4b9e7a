"""Every notebook runs in its quick mode, is stored with the outputs of a full run, and has parts.

The parts are a badge, the cell that installs, what to try next, and two exercises with answers.
"""

import os
import pathlib
import re

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/recur-jax/recur/blob/main/notebooks/{})"
)
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def outputs_of(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def text_of(notebook):
    """All text of a notebook, without pictures, whose encoding may contain any letters."""
    for output in outputs_of(notebook):
        output.get("data", {}).pop("image/png", None)
    return nbformat.writes(notebook)


def sources(notebook, cell_type):
    return [cell.source for cell in notebook.cells if cell.cell_type == cell_type]


def test_numbers_have_no_gaps():
    numbers = sorted(int(path.name.split("_")[0]) for path in NOTEBOOKS)
    assert numbers == list(range(1, len(NOTEBOOKS) + 1))


def test_the_readme_lists_each():
    readme = (ROOT / "notebooks" / "README.md").read_text()
    found = re.findall(r"^\| \[(\d+)\]\((\S+)\) \| \w", readme, re.MULTILINE)
    assert found == sorted(
        ((path.name.split("_")[0], path.name) for path in NOTEBOOKS), key=lambda row: int(row[0])
    )


@each
def test_has_the_parts_of_every_notebook(path):
    notebook = nbformat.read(path, as_version=4)
    texts, codes = sources(notebook, "markdown"), sources(notebook, "code")
    badge, title = texts[0].split("\n\n")[:2]
    assert badge == BADGE.format(path.name)
    assert title.startswith("# ")
    assert codes[0] == sources(nbformat.read(NOTEBOOKS[0], as_version=4), "code")[0]  # installs
    assert "RECUR_QUICK" in codes[1]
    text = "\n".join(texts)
    assert "## What to try next" in text
    assert re.findall(r"^\*\*Exercise (\d)\.", text, re.MULTILINE) == ["1", "2"]
    assert len(re.findall(r"^\*\*Answer", text, re.MULTILINE)) == 2
    answers = [n for n, cell in enumerate(notebook.cells) if "\n**Answer" in f"\n{cell.source}"]
    assert all(notebook.cells[n + 1].cell_type == "code" for n in answers)


@each
def test_links_lead_somewhere(path):
    text = "\n".join(sources(nbformat.read(path, as_version=4), "markdown"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        assert link.startswith("https://") or (path.parent / link.split("#")[0]).exists(), link


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
