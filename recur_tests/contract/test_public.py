"""Every public name is documented, has an example and is in the registry."""

import dataclasses
import inspect
import json
import pathlib
import re

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


def records_of(rooms):
    """Returns the public NamedTuples and dataclasses of some rooms."""
    everything = {
        f"{room.__name__}.{name}": getattr(room, name) for room in rooms for name in room.__all__
    }
    classes = {name: value for name, value in everything.items() if isinstance(value, type)}
    return {
        name: value
        for name, value in classes.items()
        if hasattr(value, "_fields") or dataclasses.is_dataclass(value)
    }


def fields_of(record):
    """Returns the names of the fields of a NamedTuple or dataclass."""
    if dataclasses.is_dataclass(record):
        return [field.name for field in dataclasses.fields(record)]
    return list(record._fields)


def documented_fields(record):
    """Returns the fields in the `Attributes:` sections of a class and its bases, with texts."""
    found = {}
    for each in record.__mro__:
        doc = inspect.cleandoc(each.__doc__ or "")
        section = re.search(r"^Attributes:\n((?:(?:  .*)?\n?)*)", doc, re.MULTILINE)
        found |= dict(
            re.findall(r"^  (\w+):(?: +|\n {4,})(\S.*)", section[1] if section else "", re.M)
        )
    return found


RECORDS = records_of((*ROOMS, recur.structure))
FACTORIES = functions_of(RECURRENT)
FUNCTIONS = functions_of(ROOMS)
# test_lengths and test_transforms run layers of layers. The other functions do not return layers:
# test_online runs every cell, and recur_tests/structure tests the analysis of steps.
LAYERS_OF_LAYERS = {
    recur.batch,
    recur.bidirectional,
    recur.chain,
    recur.encoder_decoder,
    recur.inner,
    recur.parallel,
    recur.pooled,
    recur.sequencewise,
}
NO_LAYERS = {recur.lift.run_window, recur.online, recur.name, recur.structure_of}
NO_CELLS = {recur.cells.scaled_identity, recur.cells.positive}
# Their steps take Children: tested in recur_tests/cells/test_tree_lstm.py.
OVER_TREES = {recur.child_sum_lstm, recur.nary_lstm}
# Tested in recur_tests/interop, where their libraries are installed.
ELSEWHERE = {getattr(recur.interop, name) for name in recur.interop.__all__}
FROZEN = pathlib.Path(__file__).with_name("frozen_params.json")


@pytest.mark.parametrize("module", ROOMS, ids=lambda module: module.__name__)
def test_all_is_sorted_and_true(module):
    assert list(module.__all__) == sorted(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def test_every_factory_has_a_row():
    rows = {case.factory for case in CELLS} | {lift.factory for lift in LIFTS}
    rows |= {lift.oracle for lift in LIFTS}
    missing = set(FACTORIES.values()) - rows - LAYERS_OF_LAYERS - NO_LAYERS - NO_CELLS
    missing -= OVER_TREES | ELSEWHERE
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
    assert len(doc.splitlines()[0]) < 95  # in the tables of the API reference
    for parameter in parameters:
        assert f"{parameter}:" in doc, f"{name} does not document {parameter}"


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_of_a_public_record_is_documented(name):
    found = documented_fields(RECORDS[name])
    missing = [field for field in fields_of(RECORDS[name]) if not found.get(field)]
    assert not missing, f"{name}: fields without a meaning in `Attributes:`: {', '.join(missing)}"


def test_the_check_of_records_finds_missing_fields():
    @dataclasses.dataclass
    class Base:
        """A base.

        Attributes:
          bare:
          size: int, the size.
          long:
            int, the meaning on its own line.
        """

        bare: int
        size: int
        long: int

    class Derived(Base):
        """A derived class without an own section."""

    found = documented_fields(Derived)
    assert found == {"size": "int, the size.", "long": "int, the meaning on its own line."}
    assert fields_of(Derived) == ["bare", "size", "long"]


def test_cells_and_layers_print_as_the_calls_that_made_them():
    for case in CELLS:
        shown = repr(case.cell)
        assert shown.startswith((f"{case.factory.__name__}(", "Cell(...)")), shown
        assert "\n" not in shown and " at 0x" not in shown, shown
        assert repr(recur.scan(case.cell)) == f"scan({shown})"


@pytest.mark.parametrize("case", **by_name(CELLS))
def test_names_and_shapes_of_params_are_frozen(case):
    """A rename would break every checkpoint. To change one on purpose, edit the JSON by hand."""
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
