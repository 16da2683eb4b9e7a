import importlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import recur
from recur import serialization

SAVED = """
import sys
import jax.numpy as jnp
from jax import export
import recur
loaded = export.deserialize(open(sys.argv[1], "rb").read())
params = recur.cells.ElmanParams(jnp.ones((3, 2)), jnp.ones((2, 2)), None, None)
print(type(loaded.call(params)).__name__, loaded.call(params).kernel.sum())
"""


def namedtuples():
    """The public NamedTuples of all modules of recur."""
    for room in recur.__all__:  # imports all rooms
        getattr(recur, room)
    for name, module in sorted(sys.modules.items()):
        for value in vars(module).values() if name.startswith("recur.") else ():
            is_tuple = isinstance(value, type) and issubclass(value, tuple)
            if is_tuple and hasattr(value, "_fields") and value.__module__ == name:
                yield value


def test_every_public_namedtuple_has_a_name():
    public = [each for each in namedtuples() if not each.__name__.startswith("_")]
    assert len({each.__name__ for each in public}) == len(public) > 50
    for each in public:
        with pytest.raises(ValueError, match="Duplicate|already"):
            export.register_namedtuple_serialization(each, serialized_name=each.__name__)


@pytest.mark.parametrize("room", ["classic", "decode", "diagnose", "interop", "runs", "text"])
def test_a_room_that_is_imported_last_registers_its_own(room):
    """Rooms are imported when they are first used, in any order."""
    module = importlib.import_module(f"recur.{room}")
    assert module.register_namedtuples is serialization.register_namedtuples


def test_registering_twice_does_nothing():
    serialization.register_namedtuples()


def test_a_function_of_params_is_loaded_in_another_process(tmp_path):
    pytest.importorskip("flatbuffers")

    def double(params):
        return jax.tree.map(lambda leaf: 2 * leaf, params)

    params = recur.cells.ElmanParams(jnp.ones((3, 2)), jnp.ones((2, 2)), None, None)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)
    path = tmp_path / "double"
    path.write_bytes(export.export(jax.jit(double))(params).serialize())
    done = subprocess.run(
        [sys.executable, "-c", SAVED, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["ElmanParams", "12.0"]


def test_names_do_not_tell_files():
    """A type can move to another file and is still found."""
    pytest.importorskip("flatbuffers")
    params = recur.cells.ElmanParams(np.ones((3, 2)), np.ones((2, 2)), None, None)
    saved = export.export(jax.jit(lambda params: params))(params).serialize()
    assert b"recur.ElmanParams" in saved and b"recur.cells" not in saved


@pytest.mark.parametrize(
    "name", ["classic.HiddenMarkov", "decode.Generated", "text.Specials", "train.TrainState"]
)
def test_rooms_register_their_namedtuples_when_they_are_imported(name):
    room, of = name.split(".")
    script = f"""
from recur.{room} import {of}
from jax import export
try:
    export.register_namedtuple_serialization({of}, serialized_name="{of}")
except ValueError:
    print("registered")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["registered"], done.stderr
