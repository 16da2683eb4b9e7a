"""The models of trees.py: recursive networks over trees, and an LSTM over their tokens."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from trees_data import Encoder

import recur
from recur.sequences import Nodes

FEATURES = {"nary_lstm": 64, "child_sum_lstm": 96, "recursive_tanh": 160, "flat_lstm": 128}


def recursive_tanh(features: int, arity: int) -> recur.Cell:
    """The recursive network of Socher et al. 2013, section 4.1, which reads x at each node.

    h_n = tanh([h_1, ..., h_N] U + x_n W + b)        of the children of node n; absent: 0
    """
    draw = nn.initializers.lecun_normal()

    def init(key, x):
        of_children, of_x = jax.random.split(key)
        return {
            "U": draw(of_children, (arity * features, features)),
            "W": draw(of_x, (x.shape[0], features)),
            "b": jnp.zeros(features),
        }

    def step(params, children, x):
        below = children.carry.reshape(-1)
        h = jnp.tanh(below @ params["U"] + x @ params["W"] + params["b"])
        return h, h

    return recur.cell(init, lambda params, x: jnp.zeros(features), step)


def build_model(name: str, features: int, dropout: float, encoder: Encoder) -> recur.Layer:
    """The model of a name: from word ids, in `Nodes` or flat, to logits for each of them."""
    arity, embed = encoder.arity, nn.Embed(1 + len(encoder.ids), features)
    head = nn.Sequential([nn.Dropout(dropout), nn.Dense(len(encoder.labels))])
    if name == "flat_lstm":
        return recur.batch(recur.chain(embed, recur.scan(recur.lstm(features)), head))
    cell = {
        "nary_lstm": lambda: recur.nary_lstm(features, arity),
        "child_sum_lstm": lambda: recur.child_sum_lstm(features),
        "recursive_tanh": lambda: recursive_tanh(features, arity),
    }[name]()
    of_nodes = recur.parallel(
        recur.chain(lambda node: node.x, embed), lambda node: node.back, merge=Nodes
    )
    return recur.batch(recur.chain(of_nodes, recur.tree(cell), head))
