"""The report of a run: one HTML page, and its pictures as files."""

from __future__ import annotations

import os
import pathlib

from recur.diagnose.report_page import Chapter, render
from recur.diagnose.report_sections import compare_parts, make_sections
from recur.diagnose.run_contents import RunContents, read_run
from recur.files import replacing


def write_report(run: str | os.PathLike, folder: str | os.PathLike | None = None) -> pathlib.Path:
    """Writes a report of a training run: an HTML page that needs no other file, and PNG files.

    The page has curves of all metrics, the spectra of the recurrent kernels, the parameters with
    their norms, results and options. If the run has saved a diagnosis by
    `recur.runs.Run.save_diagnosis`, it also has gradients by lag, a Jacobian, and gates on a
    held-out example. Everything is read from the folder; the model is not needed.

    `python -m recur.diagnose RUN` does the same from a shell.

    Args:
      run: the folder of a run, as `recur.runs.start_run` makes it.
      folder: where to write; the folder `report` of the run by default.

    Returns:
      The path of the page, `report.html`. The pictures are beside it.

    Raises:
      ValueError: if `run` is not the folder of a run, or has no checkpoint.
      ImportError: if matplotlib or Orbax is not installed.
      OSError: if a file cannot be read or written.

    Example:
      >>> import itertools, pathlib, tempfile, jax, jax.numpy as jnp, optax
      >>> from recur.diagnose import write_report
      >>> from recur.runs import start_run
      >>> from recur.train import init_state, make_step
      >>> optimizer = optax.sgd(0.25)
      >>> step = jax.jit(make_step(lambda w, carry, x, key: ((w - x) ** 2, (carry, {})), optimizer))
      >>> folder = pathlib.Path(tempfile.mkdtemp()) / "run"
      >>> with start_run(folder) as run:
      ...     state = run.restore(init_state(jnp.asarray(4.0), optimizer, jax.random.key(0)))
      ...     _ = run.fit(step, state, itertools.repeat(0.0), steps=20, progress=None)
      >>> page = write_report(folder)
      >>> sorted(path.name for path in page.parent.iterdir())
      ['gradient_norm.png', 'loss.png', 'report.html']
    """
    contents = read_run(run)
    out = pathlib.Path(run) / "report" if folder is None else pathlib.Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    name = contents.folder.resolve().name
    compared, sections = compare_parts(contents), make_sections(contents)
    sections = [compared, *sections] if compared.pictures else sections
    chapters: list[Chapter] = [(name, _facts(contents), sections)]
    for part in contents.parts:
        name_of_part = part.folder.name
        chapters.append((name_of_part, _facts(part), make_sections(part, f"{name_of_part}-")))
    for _, _, of_chapter in chapters:
        for picture in (each for section in of_chapter for each in section.pictures):
            if not picture.is_photo:  # those of the run are files already
                with replacing(out / f"{picture.name}.png", "wb") as file:
                    file.write(picture.png)
    with replacing(out / "report.html") as file:
        file.write(render(f"{name}: report", chapters))
    return out / "report.html"


def _facts(run: RunContents) -> str:
    """One line about a run."""
    facts = []
    if run.step is not None:
        count = sum(array.size for array in run.params.values())
        facts.append(f"{count:,} weights, of the checkpoint after update {run.step:,}")
    last = ("loss", *(name for name in run.metrics if "valid" in name or "held_out" in name))
    for metric in last:
        if metric in run.metrics:
            steps, values = run.metrics[metric]
            facts.append(f"{metric} {values[-1]:.4g} at update {steps[-1]:,}")
    return "; ".join(facts)
