import collections

import jax.numpy as jnp
import numpy as np

import recur
from recur.diagnose import computation_graph
from recur.diagnose.step_graph import find_step_graph

X = jnp.ones(3)


def edges_of(cell):
    """Edges by label, as a set; the numbers of nodes with the same label are left out."""
    graph = find_step_graph(cell, X, None)

    def label(end):
        return graph.nodes[end].label if isinstance(end, int) else end

    return graph, {(label(source), label(target)) for source, target in graph.edges}


def test_who_feeds_whom_in_a_gru():
    graph, edges = edges_of(recur.gru(4))
    assert edges == {
        ("x", "input product"),
        ("h", "recurrent product"),
        *((f"{kind} product", gate) for kind in ("input", "recurrent")
          for gate in ("reset", "update", "candidate")),
        ("reset", "candidate"),
        ("update", "next h"),
        ("candidate", "next h"),
        ("h", "next h"),
        ("next h", "h"),
        ("next h", "y"),
    }  # fmt: skip
    nodes = {node.label: (node.detail, node.place) for node in graph.nodes}
    assert nodes["input product"] == ("[3] × [3, 12]", "before")
    assert nodes["recurrent product"] == ("[4] × [4, 12]", "inside")
    assert nodes["reset"] == ("+, σ", "inside") and nodes["candidate"] == ("+, ×, tanh", "inside")


def test_an_lstm_in_a_stack_with_an_output_after_the_loop():
    graph, edges = edges_of(recur.readout(recur.stack(recur.lstm(4), recur.elman(5)), "relu"))
    assert graph.carry == ["0/hidden", "0/cell", "1/h"]
    assert {("0/cell", "next 0/cell"), ("0/hidden", "recurrent product")} <= edges
    assert {("next 0/hidden", "input product"), ("next 1/h", "output"), ("output", "y")} <= edges
    assert {("forget", "next 0/cell"), ("output", "next 0/hidden")} <= edges
    (last,) = [node for node in graph.nodes if node.place == "after"]
    assert (last.label, last.detail) == ("output", "relu")
    details = [node.detail for node in graph.nodes if "product" in node.label]
    assert details == ["[3] × [3, 16]", "[4] × [4, 16]", "[4] × [4, 5]", "[5] × [5, 5]"]


def own():
    """A shift register and a sum of two values that a shared operation makes."""

    def step(w, carry, x):
        old, total = carry
        both = x * 2.0
        gate = recur.name(jnp.tanh(both @ w), "gate")
        return (x, total * gate + both), old

    return recur.cell(
        init=lambda key, x: jnp.eye(3, dtype=x.dtype),
        init_carry=lambda w, x: (0 * x, 0 * x),
        step=step,
    )


def test_a_cell_of_ones_own():
    graph, edges = edges_of(own())
    assert graph.carry == ["0/h", "1/h"]
    assert edges == {
        ("x", "0/h"),
        ("0/h", "y"),
        ("x", "elementwise"),
        ("elementwise", "input product"),
        ("input product", "gate"),
        ("gate", "next 1/h"),
        ("elementwise", "next 1/h"),
        ("1/h", "next 1/h"),
        ("next 1/h", "1/h"),
    }


def test_the_steps_are_drawn_beside_each_other(tmp_path):
    figure = computation_graph(recur.lstm(4), X, steps=3)
    axes = figure.axes[0]
    texts = [text for text in axes.texts if text.get_text()]
    at = {text.get_text(): np.array(text.get_position()) for text in texts}
    counts = collections.Counter(text.get_text() for text in texts)
    assert counts["forget"] == counts["recurrent product"] == 3
    assert {"hidden₀", "hidden₃", "cell₀", "cell₃", "x₁", "x₃", "y₁", "y₃"} <= set(at)
    assert at["x₁"][0] < at["cell₁"][0] < at["x₂"][0] < at["cell₂"][0] < at["x₃"][0]
    assert at["x₁"][1] < at["input product"][1] < at["forget"][1] < at["next cell"][1] < at["y₁"][1]
    assert at["cell₂"][1] == at["cell₀"][1] != at["hidden₀"][1]
    arrows = [text for text in axes.texts if not text.get_text() and hasattr(text, "arrow_patch")]
    assert len(arrows) == 3 * len(find_step_graph(recur.lstm(4), X, None).edges)
    assert axes.get_title() == "lstm(4)"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [
        "before the loop, for all steps at once",
        "in the loop, one step after the other",
    ]
    boxes = [bar for bar in axes.patches if bar.get_y() > -1]
    spans = [(bar.get_x(), bar.get_x() + bar.get_width(), round(bar.get_y(), 3)) for bar in boxes]
    assert len(spans) == 24
    for left, right, row in spans:  # no box is on another one
        assert not any(row == r and left < b and a < right and left != a for a, b, r in spans)
    for kind in ("svg", "png"):
        figure.savefig(tmp_path / f"graph.{kind}")


def test_a_cell_without_a_carry_and_one_without_operations():
    free = recur.cell(
        init=lambda key, x: jnp.eye(3, dtype=x.dtype),
        init_carry=lambda w, x: (),
        step=lambda w, c, x: (c, x @ w),
    )
    assert len(computation_graph(free, X, steps=2).axes[0].patches) == 3  # one is of the legend
    copy = recur.cell(
        init=lambda key, x: (), init_carry=lambda w, x: x, step=lambda w, c, x: (x, c)
    )
    assert computation_graph(copy, X).axes[0].texts


def test_arrows_pass_between_the_boxes():
    for cell in (recur.gru(4), recur.stack(recur.gru(4), recur.lstm(4))):
        axes = computation_graph(cell, X, steps=1).axes[0]
        boxes = np.array([patch.get_bbox().extents for patch in axes.patches])
        low, high = boxes[:, None, :2] + 0.02, boxes[:, None, 2:] - 0.02
        paths = [line.get_xydata() for line in axes.lines]
        paths += [np.stack([note.xyann, note.xy]) for note in axes.texts if hasattr(note, "xyann")]
        assert paths
        for path in paths:
            along = np.linspace(path[:-1], path[1:], 100).reshape(-1, 2)
            assert not ((low < along) & (along < high)).all(-1).any()
