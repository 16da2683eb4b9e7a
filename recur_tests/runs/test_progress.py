"""The progress bar counts every update once."""

import jax.numpy as jnp
import numpy as np

from recur.runs import Progress
from recur.runs.progress import ProgressBar
from recur.train import Report


def test_counts_every_update_once(capsys):
    bar = ProgressBar(Progress("char", 2, lambda metrics: "text"), steps=10, done=3)
    for step, since in ((4, 2), (9, 4), (10, 10)):  # the first report has updates before `done`
        bar(Report(step, since, None, {}))
    bar.close()
    assert bar._bar.n == 20
    assert "text" in capsys.readouterr().err


def test_the_default_text_is_the_loss():
    text = Progress().text
    assert text({"loss": 0.5}) == "loss 0.5"
    assert text({"loss": np.array([1.0, 2.0])}) == text({"loss": jnp.array(1.5)}) == "loss 1.5"
    assert text({}) == ""
