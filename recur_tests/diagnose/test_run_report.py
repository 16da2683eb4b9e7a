"""Reports of runs: what is on the page, in the folder, and errors of the command in one line."""

import base64
import html.parser
import itertools
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import recur
from recur.diagnose import write_report
from recur.diagnose.__main__ import main
from recur.runs import start_run
from recur.train import init_state, make_step, record_norms


class Page(html.parser.HTMLParser):
    """The headings, table rows and images of a page; unclosed tags are an error."""

    def __init__(self, path):
        super().__init__()
        self.titles, self.rows, self.images, self.text = [], [], [], path.read_text("utf-8")
        self._open, self.references = [], []
        self.feed(self.text)
        assert not self._open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.references += [v for k, v in attributes if k in ("src", "href")]
        if tag == "img":
            self.images.append((given["alt"], given["src"]))
        if tag not in ("img", "meta"):
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] in ("h1", "h2", "h3"):
            self.titles.append(data)
        if self._open and self._open[-1] in ("td", "th"):
            self.rows[-1].append(data)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run with a part: a GRU that is trained for a few updates, and a scalar."""
    model = recur.batch(recur.scan(recur.gru(3)))
    xs = jax.random.normal(jax.random.key(0), (2, 5, 2), jnp.float32)

    def loss(params, carry, batch, key):
        return jnp.square(model(params, batch)).mean(), (carry, {"two": jnp.ones(2)})

    optimizer = record_norms(optax.sgd(0.1), optax.clip_by_global_norm(0.01))
    folder = tmp_path_factory.mktemp("runs") / "a<b"
    with start_run(folder, {"features": 3, "text": "<x>"}) as run:
        state = init_state(model.init(jax.random.key(1), xs), optimizer, jax.random.key(2))
        step = jax.jit(make_step(loss, optimizer))
        state = run.fit(
            step, run.restore(state), itertools.repeat(xs), steps=4, report_every=2, progress=None
        )
        run.save_diagnosis(model, state.params, xs[0], lambda y: y[0], labels=list("a\n<& "))
        run.save_results([{"model": "gru", "loss": 0.25}])
        with run.part("inner") as part:
            plain = optax.sgd(0.25)
            small = jax.jit(make_step(lambda w, c, x, k: ((w - x) ** 2, (c, {})), plain))
            first = init_state(jnp.asarray(4.0), plain, jax.random.key(0))
            part.fit(small, part.restore(first), itertools.repeat(0.0), steps=2, progress=None)
    (folder / "own.png").write_bytes((folder / "curve.png").read_bytes())
    return folder, state, write_report(folder)


def test_the_page_and_its_pictures(run_folder):
    folder, _, page = run_folder
    assert page == folder / "report" / "report.html"
    found = Page(page)
    assert found.titles == [
        "a<b",
        "Results",
        "Curves",
        "Gradients and updates",
        "Gradient by lag",
        "Gates on a held-out example",
        "Jacobian",
        "Spectra",
        "Parameters",
        "Pictures of the run",
        "Options",
        "inner",
        "Curves",
        "Gradients and updates",
        "Parameters",
    ]
    assert all(r.startswith(("data:image/png;base64,", "#part-")) for r in found.references)
    names = {name for name, _ in found.images}
    kinds = {"loss", "gradient_norm", "clipped", "clipped_norm", "update_ratio", "weight_norm"}
    drawn = {*kinds, "two", "gradient_by_lag", "jacobian", "spectrum-layer"}
    drawn |= {"gate-candidate", "gate-reset", "gate-update", "inner-loss", "inner-gradient_norm"}
    assert names == drawn | {"own"}
    files = {path.stem for path in page.parent.glob("*.png")}
    assert files == drawn
    for name, source in found.images:
        png = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        assert png.startswith(b"\x89PNG")
        if name in files:
            assert png == (page.parent / f"{name}.png").read_bytes()


def test_the_numbers_on_the_page(run_folder):
    _, state, path = run_folder
    rows = {row[0]: row[1:] for row in Page(path).rows if row}
    kernel = np.asarray(state.params.recurrent_kernel.update, np.float64)
    radius = np.abs(np.linalg.eigvals(kernel)).max()
    norm = f"{np.linalg.norm(kernel):.4g}"
    assert rows["recurrent_kernel/update"] == ["[3, 3]", "float32", "9", norm]
    page = path.read_text()
    assert f">{radius:.4g}<" in page and f">{np.linalg.norm(kernel, 2):.4g}<" in page
    assert rows["gru"] == ["0.25"] and rows["features"] == ["3"] and rows["text"] == ["<x>"]
    total = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert f"{total:,} weights, of the checkpoint after update 4" in page


def test_parts_are_compared_by_the_command(tmp_path, capsys):
    optimizer = optax.sgd(0.25)
    step = jax.jit(make_step(lambda w, c, x, k: ((w - x) ** 2, (c, {})), optimizer))
    with start_run(tmp_path / "run") as run:
        for name in ("a", "b"):
            with run.part(name) as part:
                state = init_state(jnp.asarray(4.0), optimizer, jax.random.key(0))
                given = {"steps": 2, "progress": None, "curves": None}
                part.fit(step, part.restore(state), itertools.repeat(0.0), **given)
    main([str(tmp_path / "run"), "--out", str(tmp_path / "out")])
    path = pathlib.Path(capsys.readouterr().out.strip())
    assert path == tmp_path / "out" / "report.html"
    found = Page(path)
    assert found.titles[:3] == ["run", "Parts compared", "a"]
    assert {"parts-loss", "a-loss", "b-loss"} < {name for name, _ in found.images}


def failure(*arguments):
    with pytest.raises(SystemExit) as caught:
        main([*map(str, arguments)])
    return str(caught.value)


def test_wrong_folders_are_one_line(tmp_path):
    nothing, empty, text = tmp_path / "nothing", tmp_path / "empty", tmp_path / "text"
    empty.mkdir()
    text.write_text("a")
    for path, found in ((nothing, "none"), (empty, "one without"), (text, "a file")):
        wanted = f"{path}: expected the folder of a run, with options.json in it, got {found}."
        assert failure(path) == f"python -m recur.diagnose: {wanted}"
    with start_run(tmp_path / "new") as run:
        run.save_results([{"a": 1}])
        wanted = f"{run}: expected a run with a checkpoint, got none. Train it longer."
        assert failure(tmp_path / "new") == f"python -m recur.diagnose: {wanted}"
    assert not (tmp_path / "new" / "checkpoints").exists()
    (tmp_path / "new" / "options.json").write_text("{")
    assert "options.json: expected JSON, got a damaged file" in failure(tmp_path / "new")


def test_a_diagnosis_that_is_damaged(run_folder, tmp_path):
    folder = run_folder[0]
    saved = (folder / "diagnosis.npz").read_bytes()
    try:
        (folder / "diagnosis.npz").write_bytes(saved[:50])
        text = failure(folder, "--out", tmp_path / "out")
        assert re.search(r"diagnosis\.npz: expected a file of a Diagnosis, got another\.$", text)
    finally:
        (folder / "diagnosis.npz").write_bytes(saved)
