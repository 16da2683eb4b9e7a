"""Model cards: the README of a folder of weights, as Hugging Face reads it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from recur.files import replacing
from recur.layer import Layer
from recur.train.params_file import named_arrays
from recur.types import Params


def write_model_card(
    path: str | os.PathLike,
    params: Params,
    *,
    title: str,
    description: str = "",
    layer: Layer | None = None,
    license: str | None = None,
    language: str | None = None,
    pipeline_tag: str | None = None,
    datasets: Sequence[str] = (),
    tags: Sequence[str] = (),
    metrics: Mapping[str, float] | None = None,
    weights: str = "model.safetensors",
) -> None:
    """Writes a model card, a README.md with metadata in YAML as the Hugging Face Hub reads it.

    After the metadata follow the description, the layer, a table of the metrics, how to load the
    weights, and a table of all arrays.

    Args:
      path: the path of the file, usually `README.md` next to the file of `save_params`.
      params: the params that the file of weights holds.
      title: the name of the model.
      description: Markdown: what the model does, how it was trained, its limits.
      layer: the layer, shown as the call that created it.
      license: an identifier, such as "apache-2.0".
      language: the language of the data, such as "en".
      pipeline_tag: the task, such as "text-generation".
      datasets: identifiers of data sets.
      tags: words to search by; "recur" and "jax" are added.
      metrics: measured values by name, such as `{"perplexity": 82.1}`.
      weights: the name of the file of `save_params`.

    Returns:
      None.

    Raises:
      TypeError: if a text is not a string, datasets or tags are not lists of strings, metrics are
        not numbers by name, layer is not a layer, or params cannot be saved by `save_params`.
      ValueError: if the title is empty, a metric is not finite, or two arrays have the same name.
      OSError: if the file could not be written.

    Example:
      >>> import pathlib, tempfile, jax, jax.numpy as jnp, recur
      >>> from recur.train import save_params, write_model_card
      >>> layer = recur.scan(recur.gru(4))
      >>> params = layer.init(jax.random.key(0), jnp.ones((5, 3)))
      >>> folder = pathlib.Path(tempfile.mkdtemp())
      >>> save_params(folder / "model.safetensors", params)
      >>> write_model_card(
      ...     folder / "README.md", params, title="A GRU", layer=layer, license="apache-2.0"
      ... )
      >>> print((folder / "README.md").read_text().partition("```")[0])
      ---
      library_name: "recur-jax"
      license: "apache-2.0"
      tags:
      - "recur"
      - "jax"
      ---
      <BLANKLINE>
      # A GRU
      <BLANKLINE>
      <BLANKLINE>

    References:
      Mitchell et al. 2019, Model Cards for Model Reporting, https://arxiv.org/abs/1810.03993
      Hugging Face, Model cards, https://huggingface.co/docs/hub/model-cards
    """
    texts = {
        "title": title,
        "description": description,
        "weights": weights,
        "license": license,
        "language": language,
        "pipeline_tag": pipeline_tag,
    }
    for name, text in texts.items():
        is_optional = name in ("license", "language", "pipeline_tag")
        if not isinstance(text, str) and not (text is None and is_optional):
            raise TypeError(f"write_model_card: {name}: expected a string, got {text!r}.")
    if not title.strip():
        raise ValueError("write_model_card: title: expected a name, got an empty string.")
    if layer is not None and not isinstance(layer, Layer):
        raise TypeError(f"write_model_card: layer: expected a layer, got {type(layer).__name__}.")
    metrics = _check_metrics(metrics)
    front_matter = {
        "library_name": "recur-jax",
        "license": license,
        "language": language,
        "pipeline_tag": pipeline_tag,
        "datasets": _check_strings("datasets", datasets),
        "tags": list(dict.fromkeys([*_check_strings("tags", tags), "recur", "jax"])),
        "metrics": list(metrics),
    }
    arrays = named_arrays("write_model_card: params", params)
    parts = [
        "---\n" + "".join(map(_yaml, front_matter, front_matter.values())) + "---",
        f"# {title.strip()}",
        description.strip(),
        "" if layer is None else f"```python\n{layer}\n```",
        _results(metrics),
        _HOW_TO_LOAD.format(weights=weights),
        _table(arrays, weights),
    ]
    with replacing(path) as file:
        file.write("\n\n".join(part for part in parts if part) + "\n")


_HOW_TO_LOAD = """\
## How to load

`pip install "recur-jax[train]"`, then make the layer as `model`, and for an example `xs` of its
inputs:

```python
import jax
from recur.train import load_params

like = jax.eval_shape(model.init, jax.random.key(0), xs)
params = load_params("{weights}", like=like)
ys = model(params, xs)
```"""


def _yaml(name: str, value: Any) -> str:
    """Formats an entry of the metadata; strings as in JSON, which YAML reads too."""
    if not value:
        return ""
    if isinstance(value, str):
        return f"{name}: {json.dumps(value, ensure_ascii=False)}\n"
    entries = "".join(f"- {json.dumps(entry, ensure_ascii=False)}\n" for entry in value)
    return f"{name}:\n{entries}"


def _results(metrics: dict[str, float]) -> str:
    if not metrics:
        return ""
    rows = "\n".join(f"| {_cell(name)} | {value:.6g} |" for name, value in metrics.items())
    return f"## Results\n\n| metric | value |\n|---|---|\n{rows}"


def _table(arrays: dict[str, Any], weights: str) -> str:
    total = sum(math.prod(array.shape) for array in arrays.values())
    rows = "\n".join(
        f"| `{_cell(name)}` | {list(array.shape)} | {array.dtype.name} |"
        for name, array in arrays.items()
    )
    return (
        f"## Parameters\n\n`{weights}` holds {total:,} numbers in {len(arrays)} arrays.\n\n"
        f"| name | shape | dtype |\n|---|---|---|\n{rows}"
    )


def _cell(text: str) -> str:
    """Returns a text as one cell of a table in Markdown."""
    return " ".join(text.split()).replace("|", "\\|")


def _check_strings(name: str, values: Any) -> list[str]:
    is_list = isinstance(values, (list, tuple))
    if not is_list or not all(isinstance(value, str) for value in values):
        raise TypeError(f"write_model_card: {name}: expected a list of strings, got {values!r}.")
    return list(values)


def _check_metrics(metrics: Any) -> dict[str, float]:
    given = {} if metrics is None else metrics
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"write_model_card: metrics: expected numbers by name, got {metrics!r}.")
    numbers = {}
    for name, value in given.items():
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError):
            raise TypeError(
                f"write_model_card: metrics: {name}: expected a number, got {value!r}."
            ) from None
        if not math.isfinite(numbers[name]):
            raise ValueError(
                f"write_model_card: metrics: {name}: expected a finite number, got {value!r}."
            )
    return numbers
