"""Model cards, read by the Hugging Face library."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.train import write_model_card

PARAMS = {"a|b": np.ones((2, 3), np.float32), "c": {"d": jnp.zeros(4, jnp.bfloat16)}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "README.md"


def test_the_hub_reads_the_metadata(path):
    hub = pytest.importorskip("huggingface_hub")
    write_model_card(
        path,
        PARAMS,
        title="Names: a GRU",
        license="cc-by-4.0",
        language="no",  # without quotes, YAML would read False
        pipeline_tag="text-generation",
        datasets=['tr: "é" \U0001f600', "- 1"],
        tags=["jax", "names", "#1"],
        metrics={"perplexity": jnp.float32(2.5), "bits: per | char": 1},
    )
    card = hub.ModelCard.load(path)
    assert card.data.to_dict() == {
        "library_name": "recur-jax",
        "license": "cc-by-4.0",
        "language": "no",
        "pipeline_tag": "text-generation",
        "datasets": ['tr: "é" \U0001f600', "- 1"],
        "tags": ["jax", "names", "#1", "recur"],
        "metrics": ["perplexity", "bits: per | char"],
    }


def test_the_text(path):
    layer = recur.chain(recur.scan(recur.gru(4)), nn.Dense(2))
    options = {"description": "Reads\n\nnames.", "weights": "w.safetensors"}
    write_model_card(path, PARAMS, title=" A GRU", layer=layer, metrics={"loss": 1 / 3}, **options)
    text = path.read_text()
    head, how, table = text.partition("## How to load")[0], *text.split("##")[2:]
    assert head == (
        '---\nlibrary_name: "recur-jax"\ntags:\n- "recur"\n- "jax"\nmetrics:\n- "loss"\n---\n\n'
        "# A GRU\n\nReads\n\nnames.\n\n```python\nchain(scan(gru(4)), Dense(features=2))\n```\n\n"
        "## Results\n\n| metric | value |\n|---|---|\n| loss | 0.333333 |\n\n"
    )
    assert 'load_params("w.safetensors", like=like)' in how
    assert table == (
        " Parameters\n\n`w.safetensors` holds 10 numbers in 2 arrays.\n\n"
        "| name | shape | dtype |\n|---|---|---|\n"
        "| `a\\|b` | [2, 3] | float32 |\n| `c/d` | [4] | bfloat16 |\n"
    )


def test_the_steps_to_load_run(path, tmp_path, monkeypatch):
    """The code of the card, with the layer that it shows."""
    layer = recur.scan(recur.gru(4))
    xs = jnp.ones((5, 3), jnp.float32)
    params = layer.init(jax.random.key(1), xs)
    recur.train.save_params(tmp_path / "model.safetensors", params)
    write_model_card(path, params, title="A GRU", layer=layer)
    shown, code = path.read_text().split("```python\n")[1:]
    names = {"xs": xs, **vars(recur)}
    monkeypatch.chdir(tmp_path)
    exec(f"model = {shown.partition('```')[0]}\n{code.partition('```')[0]}", names)
    assert (names["ys"] == layer(params, xs)).all()
