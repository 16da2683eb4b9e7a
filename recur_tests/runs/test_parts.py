"""Parts of a run: their folders, resuming, and the options of the run."""

import itertools

import jax
import jax.numpy as jnp
import optax
import pytest

from recur.runs import Run, read_json, start_run
from recur.train import init_state, make_step

OPTIMIZER = optax.sgd(0.25)
STEP = jax.jit(make_step(lambda w, carry, x, key: ((w - x) ** 2, (carry, {})), OPTIMIZER))


def train(part, steps):
    state = part.restore(init_state(jnp.asarray(4.0), OPTIMIZER, jax.random.key(0)))
    before = int(state.step)
    state = part.fit(
        STEP, state, itertools.repeat(0.0), steps=steps, progress=None, curves=None, report_every=1
    )
    return before, float(state.params)


def test_each_part_has_its_own_log_checkpoints_and_results(tmp_path):
    folder = tmp_path / "run"
    with start_run(folder, {"cells": "gru"}) as run:
        for name, steps in (("gru", 2), ("lstm", 3)):
            with run.part(name, best="loss") as part:
                assert train(part, steps) == (0, 4 * 0.5**steps)
                assert not part.results()
                part.save_results([{"cell": name}])
    with start_run(folder) as run, run.part("gru", best="loss") as part:
        assert part.results() == [{"cell": "gru"}]
        assert train(part, 4) == (2, 0.25)
    lstm = Run(folder / "lstm", best="loss")
    assert [record["step"] for record in lstm.records()] == [1, 2, 3]
    assert lstm.best_params(jnp.zeros(())).item() == 0.5
    assert not Run(folder).records() and not Run(folder).results()


def test_options_that_may_change_are_saved_with_a_part(tmp_path):
    folder = tmp_path / "run"
    for cells in (["gru"], ["gru", "lstm"]):
        with start_run(folder, {"cells": cells}, may_change=["cells"]) as run:
            for name in cells:
                with run.part(name):
                    pass
        assert read_json(folder / "options.json")["cells"] == cells
    with pytest.raises(ValueError, match="expected the cells of the run that is there"):
        with start_run(folder, {"cells": ["gru"]}):
            pass


def test_a_part_is_a_new_folder_or_that_of_a_run(tmp_path):
    folder = tmp_path / "run"
    with start_run(folder) as run:
        (folder / "gru").mkdir()
        (folder / "gru" / "thesis.tex").write_text("precious")
        with pytest.raises(ValueError, match="gru: expected a new folder"), run.part("gru"):
            pass
    assert (folder / "gru" / "thesis.tex").read_text() == "precious"
