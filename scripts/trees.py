"""Recursive networks over trees: Tree-LSTMs beside a tanh network and an LSTM over the tokens.

    python scripts/trees.py                                   nested list operations
    python scripts/trees.py --data TRAIN.txt VALID.txt TEST.txt --min-count 2 --dropout 0.5
                                                              bracketed trees, as of SST
    python scripts/trees.py --run DIR                         resumes a run that was stopped

Install: pip install -e ".[train,data,text]". Cost: the default takes 4 minutes of processor time
on two cores of an AMD EPYC. Results, seed 0: accuracy of the roots, of all nodes, and of the roots
of trees that are deeper than those of the training set (depths 6 and 7; training has 1 to 5):

    model                 weights    roots    all nodes    deeper roots
    N-ary Tree-LSTM        92,106    81.2%      96.0%         72.2%
    child-sum Tree-LSTM    76,714    75.8%      95.1%         63.0%
    recursive tanh        106,890    74.4%      94.0%         63.7%
    LSTM over tokens      135,050    48.7%      86.8%         29.0%

All models learn the value of each operation, the LSTM at its closing bracket. At depth 1 all are
at 99% or more; from depth 4 on the LSTM is at 28 to 34%, and the N-ary Tree-LSTM at 71 to 77%. The
operations are those of ListOps (Nangia & Bowman 2018, https://arxiv.org/abs/1804.06028), on 2 or 3
operands, not up to 5, so its numbers do not compare. Parse trees were tried on small files only.
"""

from __future__ import annotations

import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import jax
import numpy as np
import optax
import trees_data as data
from trees_models import FEATURES, build_model

import recur
from recur import diagnose, runs, train
from recur.sequences import Layout, batches, bucket, find_boundaries, make_batches

SHOWN = 8  # trees in a picture
LEAST = 20  # test trees of a depth, for its point in the picture
FORMATS = {"roots": ".1%", "all nodes": ".1%", "deeper roots": ".1%", "seconds": ".0f"}


@dataclasses.dataclass(frozen=True)
class Options:
    """Train recursive networks on trees, and compare them with an LSTM over the bracketed tokens.

    Without --data the trees are nested operations on lists, such as (MAX 2 9 (MIN 4 7) 0), whose
    label is their value.
    """

    data: tuple[pathlib.Path, ...] = ()
    """Three files: training, validation and test set, with a tree on each line. A tree is (label
    word) or (label tree ... tree), as in the Stanford Sentiment Treebank."""
    run: pathlib.Path | None = None
    """The folder of the run. A new folder starts a run; an existing one resumes its run with the
    same options, except for other models. Default: runs/trees-1, -2 ..."""
    quick: bool = False
    """Whether to make a few updates on little data, to try the script."""

    models: tuple[Literal["nary_lstm", "child_sum_lstm", "recursive_tanh", "flat_lstm"], ...] = (
        *("nary_lstm", "child_sum_lstm", "recursive_tanh", "flat_lstm"),
    )
    """The models: the N-ary and the child-sum Tree-LSTM, a recursive tanh network, and an LSTM that
    reads the tokens from left to right."""
    loss: Literal["nodes", "root"] = "nodes"
    """The labels that are learned: those of all nodes, or that of the root only. The LSTM learns
    the label of a node at its word or closing bracket."""
    features: runs.Size | None = None
    """Units of each model. Default: 64 to 160, for similar numbers of weights."""
    dropout: runs.Rate = 0.0
    """Dropout rate of the outputs."""
    min_count: runs.Count = 1
    """Rarer words of the training set are unknown."""

    trees: runs.Size = 4000
    """The number of generated training trees for each depth."""
    depth: Annotated[int, runs.between(1, 8)] = 5
    """The largest depth of generated training trees; the test set has two depths more."""
    epochs: runs.Count = 4
    """Number of epochs."""
    batch_size: runs.Size = 64
    """Trees per update."""
    learning_rate: runs.Positive = 5e-3
    """Maximum learning rate of Adam, with a cosine decay to 0."""
    clip: runs.Positive = 1.0
    """Maximum gradient norm."""
    buckets: runs.Size = 2
    """The number of lengths to which batches are padded; each is compiled once."""
    seed: runs.Seed = 0
    """Seed of weights, order and generated trees."""
    report_every: runs.Count = 10
    """Updates between two log entries."""


# --- Data ----------------------------------------------------------------------------------------


def read_split(options: Options) -> data.Split:
    """Reads the trees of files, or draws list operations."""
    if len(options.data) not in (0, 3):
        raise ValueError(
            "--data: expected three files, the training, validation and test set, got "
            f"{len(options.data)}."
        )
    if options.data:
        found = data.read_split(options.data)
        return data.Split(*(part[:100] for part in found)) if options.quick else found
    count, held_out = (20, 10) if options.quick else (options.trees, 200)
    return data.make_split(count, options.depth, options.depth + 2, options.seed, held_out)


# --- Training and evaluation ---------------------------------------------------------------------


class Scores(NamedTuple):
    """What a model says about a list of trees.

    Attributes:
      said: for each tree, the predicted label of each node, in post-order.
      right: for each tree, whether each of them is right.
    """

    said: list[np.ndarray]
    right: list[np.ndarray]

    @property
    def roots(self) -> np.ndarray:
        """Whether the root is right, bool `[N]`."""
        return np.array([tree[-1] for tree in self.right])

    @property
    def nodes(self) -> float:
        """The share of all nodes that are right."""
        return float(np.concatenate(self.right).mean())


def make_score(model: recur.Layer, layout: Layout):
    """Makes `score(params, examples)` -> the `Scores` of trees."""
    run = jax.jit(lambda params, batch: read(model, params, batch).argmax(-1))

    def score(params, examples):
        found = {}
        for batch in make_batches(examples, layout, batch_size=128):
            counts = batch.mask & batch.steps["counts"]
            for row, said in enumerate(np.asarray(run(params, batch))):
                kept, label = counts[row], batch.steps["label"][row]
                found[int(batch.number[row, 0])] = said[kept], said[kept] == label[kept]
        return Scores(*map(list, zip(*(found[n] for n in range(len(examples))), strict=True)))

    return score


def read(model: recur.Layer, params: Any, batch: Any, key: Any = None) -> jax.Array:
    """The logits of all steps."""
    return model(params, batch.steps["inputs"], mask=batch.mask, key=key)


def make_loss(model: recur.Layer):
    """Makes the loss, the mean cross-entropy of the labels that count."""

    def loss(params, carry, batch, key):
        counts = batch.mask & batch.steps["counts"]
        logits = read(model, params, batch, key)
        losses = train.cross_entropy(logits, batch.steps["label"], counts)
        error = 1 - train.accuracy(logits, batch.steps["label"], counts).value()
        return train.masked_mean(losses, counts), (carry, {"error": error})

    return loss


def learn(name: str, split: data.Split, encoder: data.Encoder, options: Options, part: runs.Run):
    """Trains a model and tests its best checkpoint; returns a row of the table."""
    is_flat, root_only = name == "flat_lstm", options.loss == "root"
    training = encoder(split.training, is_flat, root_only)
    validation, test = (encoder(part, is_flat, root_only=False) for part in split[1:])
    lengths = [len(each.steps["label"]) for each in (*training, *validation, *test)]
    layout = bucket(find_boundaries(lengths, options.buckets))
    features = options.features or FEATURES[name]
    model = build_model(name, features, options.dropout, encoder)
    stream = batches(training, layout, options.batch_size, seed=options.seed)
    total = options.epochs * len(stream)
    rate = optax.cosine_decay_schedule(options.learning_rate, total)
    optimizer = optax.chain(optax.clip_by_global_norm(options.clip), optax.adam(rate))
    params_key, run_key = jax.random.split(jax.random.key(options.seed))
    one = jax.tree.map(lambda leaf: leaf[None], training[0].steps["inputs"])
    params = model.init(params_key, one)
    state = part.restore(train.init_state(params, optimizer, run_key), stream)
    score = make_score(model, layout)

    def validate(report):
        return {"valid_error": 1 - float(score(report.state.params, validation).roots.mean())}

    began, is_new = time.monotonic(), int(state.step) == 0
    with stream:
        part.fit(
            jax.jit(train.make_step(make_loss(model), optimizer), donate_argnums=0),
            state,
            stream,
            steps=total,
            callbacks=[train.every_epoch(validate)],
            report_every=options.report_every,
            progress=runs.Progress("tree", options.batch_size, show_progress(name)),
            curves=runs.Curves("error", {"training": "error", "validation": "valid_error"}),
        )
    seconds = time.monotonic() - began
    params = part.best_params(params)
    scores = score(params, test)
    runs.write_figure(part.folder / "nodes.png", draw(scores, split.test, encoder))
    depths = np.array([item.depth for item in split.test])
    deepest = max(item.depth for item in split.training)
    row = {"model": name, "weights": optax.tree.size(params), "roots": float(scores.roots.mean())}
    row["all nodes"] = scores.nodes
    if (depths > deepest).any():
        row["deeper roots"] = float(scores.roots[depths > deepest].mean())
    shown = [depth for depth in np.unique(depths) if (depths == depth).sum() >= LEAST]
    by_depth = {int(d): float(scores.roots[depths == d].mean()) for d in shown or np.unique(depths)}
    runs.write_json(part.folder / "depths.json", by_depth)
    return row | {"seconds": seconds} if is_new else row


def show_progress(name: str) -> Callable[[Any], str]:
    """What the progress bar shows."""
    return lambda metrics: f"{name}: error {metrics['error']:.1%}"


def draw(scores: Scores, items: Sequence[data.Item], encoder: data.Encoder) -> Any:
    """Draws test trees with the predicted label of each node at its word or closing bracket."""
    wrong = np.flatnonzero(~scores.roots)[: SHOWN // 2]
    right = np.flatnonzero(scores.roots)
    right = right[np.linspace(0, len(right) - 1, min(len(right), SHOWN - len(wrong))).astype(int)]
    sentences = []
    for number in (*right, *wrong):
        said = iter(encoder.labels[label] for label in scores.said[number])
        tokens = data.flatten(items[number].root)
        tags = ["" if label is None else next(said) for _, label in tokens]
        words = [word or "" for word, _ in tokens]
        sentences.append((words, [label or "" for _, label in tokens], tags))
    return diagnose.tagged(sentences)


# --- Commands ------------------------------------------------------------------------------------


def learn_all(options: Options, run: runs.Run) -> None:
    """Trains every model, each in its part of the run, and compares them."""
    split = read_split(options)
    run.check_data(trees=[[data.flatten(item.root) for item in part] for part in split])
    encoder = data.make_encoder(split, options.min_count)
    counts = ", ".join(f"{len(part):,} {name}" for name, part in split._asdict().items())
    print(f"{run}: {counts} trees; {len(encoder.labels)} labels, {len(encoder.ids):,} words.")
    rows, lines = [], {}
    for name in options.models:
        with run.part(name, best="valid_error") as part:
            [row] = part.results() or [learn(name, split, encoder, options, part)]
            part.save_results([row], FORMATS)
        rows.append(row)
        by_depth = runs.read_json(part.folder / "depths.json")
        lines[name] = [int(depth) for depth in by_depth], list(by_depth.values())
    titles = {"x": "depth of the tree", "y": "accuracy of the root"}
    deepest = max(item.depth for item in split.training)
    title = f"trained on depths up to {deepest}"
    runs.write_figure(run.folder / "depth.png", diagnose.curves(lines, **titles, title=title))
    print(f"\n{run.save_results(rows, FORMATS)}\n\nResults and pictures are in {run}.")


def main(arguments: list[str]) -> None:
    """Runs the script."""
    options = runs.parse_options(Options, arguments, "trees.py", resume=True)
    if not options.models:
        raise ValueError("--models: expected at least one, got none.")
    if options.quick:
        options = dataclasses.replace(options, features=8, epochs=2, depth=2, buckets=1)
    with runs.start_run(options.run, options, name="runs/trees", may_change=["models"]) as run:
        learn_all(options, run)


if __name__ == "__main__":
    runs.run_command("trees", main)
