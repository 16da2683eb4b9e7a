"""Every public name is documented, has an example, and stands in the registry."""

import inspect
import json
import pathlib

import jax
import jax.numpy as jnp
import pytest

import recur
from recur_tests.contract.cases import CELLS, WIDTH, by_name
from recur_tests.contract.lifts import LIFTS
from recur_tests.contract.table import PAGES, TABLES, with_tables

RECURRENT = (recur, recur.cells, recur.combine, recur.interop, recur.lift)
ROOMS = (
    *RECURRENT,
    recur.classic,
    recur.decode,
    recur.diagnose,
    recur.sequences,
    recur.sequences.pool,
    recur.text,
    recur.train,
)


def functions_of(rooms):
    everything = {
        f"{room.__name__}.{name}": getattr(room, name) for room in rooms for name in room.__all__
    }
    return {name: value for name, value in everything.items() if inspect.isfunction(value)}


FACTORIES = functions_of(RECURRENT)
FUNCTIONS = functions_of(ROOMS)
# Layers of layers, which test_lengths and test_transforms run, and functions that make no layer:
# test_online runs every cell, and recur_tests/structure has what looks into a step.
LAYERS_OF_LAYERS = {recur.batch, recur.bidirectional, recur.chain}
NO_LAYERS = {recur.lift.run_window, recur.online, recur.name, recur.structure_of}
NO_CELLS = {recur.cells.scaled_identity, recur.cells.positive}
# Tested in recur_tests/interop, where their libraries are installed.
ELSEWHERE = {recur.interop.from_haiku, recur.interop.from_equinox}
FROZEN = pathlib.Path(__file__).with_name("frozen_params.json")


@pytest.mark.parametrize("module", ROOMS, ids=lambda module: module.__name__)
def test_all_is_sorted_and_true(module):
    assert list(module.__all__) == sorted(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def test_every_factory_has_a_row():
    rows = {case.factory for case in CELLS} | {lift.factory for lift in LIFTS}
    rows |= {lift.oracle for lift in LIFTS}
    missing = set(FACTORIES.values()) - rows - LAYERS_OF_LAYERS - NO_LAYERS - NO_CELLS - ELSEWHERE
    assert not missing
    assert len({case.name for case in CELLS}) == len(CELLS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_documented_with_an_example(name):
    doc = inspect.getdoc(FUNCTIONS[name])
    parameters = inspect.signature(FUNCTIONS[name]).parameters
    expected = [*(["Args:"] if parameters else []), "Returns:", "Example:"]
    places = [doc.find(section) for section in expected]
    assert -1 not in places and places == sorted(places)
    assert ">>> " in doc
    assert len(doc.splitlines()[0]) < 90
    for parameter in parameters:
        assert f"{parameter}:" in doc, f"{name} does not document {parameter}"


def test_cells_and_layers_print_as_the_calls_that_made_them():
    for case in CELLS:
        shown = repr(case.cell)
        assert shown.startswith((f"{case.factory.__name__}(", "Cell(...)")), shown
        assert "\n" not in shown and " at 0x" not in shown, shown
        assert repr(recur.scan(case.cell)) == f"scan({shown})"


@pytest.mark.parametrize("case", **by_name(CELLS))
def test_names_and_shapes_of_params_are_frozen(case):
    """A rename would orphan every checkpoint. To change one on purpose, edit the JSON by hand."""
    xs = jnp.zeros((2, *case.shape))
    context = jax.tree.map(lambda make: make(WIDTH), case.context)
    init = recur.scan(case.cell).init
    params = jax.eval_shape(lambda key: init(key, xs, context=context), jax.random.key(0))
    leaves = jax.tree_util.tree_leaves_with_path(params)
    found = {jax.tree_util.keystr(path): f"{v.dtype}{list(v.shape)}" for path, v in leaves}
    assert found == json.loads(FROZEN.read_text())[case.name]


def test_the_docs_have_the_tables_of_the_registry():
    """To write them: python -m recur_tests.contract.table."""
    texts = [page.read_text() for page in PAGES]
    assert all(with_tables(text) == text for text in texts)
    assert all(sum(f"<!-- {name} -->" in text for text in texts) == 1 for name in TABLES)
