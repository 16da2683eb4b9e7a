"""Weights of libraries of JAX, in both directions: outputs, carries and gradients are theirs."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx
from jax.experimental import rnn as cudnn

from recur import interop
from recur.cells import LSTMState
from recur.lift import Directions
from recur_tests.helpers import assert_close, random_like, weighted_sum

T, INPUTS, H, DRAWS = 4, 3, 4, 5
F64 = {"param_dtype": jnp.float64}


class Theirs(NamedTuple):
    """A recurrent network of another library.

    Attributes:
      weights: an example of its weights.
      run: `run(weights, carry, xs) -> (carry, ys)`, with carries as here.
      convert: from its weights to a layer and params.
      back: from params to its weights.
      shape: of xs.
    """

    weights: Any
    run: Callable
    convert: Callable
    back: Callable
    shape: tuple[int, ...] = (T, INPUTS)


def swap(carry):
    """Swaps the order of h and c, which is the other one in Flax."""
    if isinstance(carry, Directions):
        return Directions(*map(swap, carry))
    return LSTMState(carry[1], carry[0]) if isinstance(carry, tuple) else carry


def swap_back(carry):
    if isinstance(carry, Directions):
        return tuple(map(swap_back, carry))
    return (carry.cell, carry.hidden) if isinstance(carry, LSTMState) else carry


def linen(cell, shape=(T, INPUTS), back=interop.to_linen_weights, **options):
    module = cell
    if not isinstance(cell, nn.Bidirectional):
        module = nn.RNN(cell, return_carry=True, **options)
    weights = module.init(jax.random.key(0), jnp.ones(shape))["params"]

    def run(weights, carry, xs):
        carry, ys = module.apply({"params": weights}, xs, initial_carry=swap_back(carry))
        return swap(Directions(*carry) if isinstance(cell, nn.Bidirectional) else carry), ys

    def to_theirs(params):
        found = back(params)
        return found if isinstance(params, Directions) else {"cell": found}

    def convert(weights):
        return interop.from_linen_weights(module, weights)

    return Theirs(weights, run, convert, to_theirs, shape)


def of_nnx(module, back=interop.to_nnx_weights):
    graph, state = nnx.split(module)

    def run(weights, carry, xs):
        filled = jax.tree.map(lambda leaf: leaf, state)
        nnx.replace_by_pure_dict(filled, weights)
        carry, ys = nnx.merge(graph, filled)(xs, initial_carry=swap_back(carry), return_carry=True)
        return swap(Directions(*carry) if isinstance(module, nnx.Bidirectional) else carry), ys

    def to_theirs(params):
        found = back(params)
        return found if isinstance(params, Directions) else {"cell": found}

    weights = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    return Theirs(weights, run, lambda w: interop.from_nnx_weights(module, w), to_theirs)


def nnx_rnn(cell, **options):
    return nnx.RNN(cell(INPUTS, H, rngs=nnx.Rngs(0), **F64, **options), rngs=False)


def haiku(make, *, kind, **back):
    import haiku as hk

    def unroll(xs, state):
        return hk.dynamic_unroll(make(hk), xs, state)

    network = hk.without_apply_rng(hk.transform(unroll))
    is_lstm = kind == "LSTM"
    state = hk.LSTMState(jnp.zeros(H), jnp.zeros(H)) if is_lstm else jnp.zeros(H)
    weights = network.init(jax.random.key(0), jnp.ones((T, INPUTS)), state)

    def run(weights, carry, xs):
        ys, last = network.apply(weights, xs, hk.LSTMState(*carry) if is_lstm else carry)
        return (LSTMState(*last) if is_lstm else last), ys

    def to_theirs(params):
        return interop.to_haiku_weights(params, **back)

    return Theirs(weights, run, interop.from_haiku_weights, to_theirs)


def equinox(name, **options):
    import equinox as eqx

    cell = getattr(eqx.nn, name)(INPUTS, H, dtype=jnp.float64, key=jax.random.key(0), **options)

    def run(cell, carry, xs):
        def step(carry, x):
            carry = cell(x, carry)
            return carry, carry[0] if name == "LSTMCell" else carry

        carry, ys = jax.lax.scan(step, tuple(carry) if name == "LSTMCell" else carry, xs)
        return LSTMState(*carry) if name == "LSTMCell" else carry, ys

    return Theirs(cell, run, interop.from_equinox_weights, interop.to_equinox_weights)


def of_cudnn(layers, bidirectional):
    sizes = INPUTS, H, layers, bidirectional
    directions = 1 + bidirectional

    def to_carry(h, c):
        flat = [LSTMState(*each) for each in zip(h[:, 0], c[:, 0], strict=True)]
        if bidirectional:
            flat = [Directions(*flat[i : i + 2]) for i in range(0, len(flat), 2)]
        return tuple(flat) if layers > 1 else flat[0]

    def run(weights, carry, xs):
        states = jax.tree.leaves(carry, is_leaf=lambda c: isinstance(c, LSTMState))
        h, c = (jnp.stack([s[i][None] for s in states]) for i in (0, 1))
        assert len(states) == layers * directions
        parts = cudnn.unpack_lstm_weights(weights, *sizes)
        length = jnp.array([len(xs)], jnp.int32)
        with jax.numpy_rank_promotion("allow"):
            ys, h, c = cudnn.lstm_ref(xs[None], h, c, *parts, length, *sizes[:3], 0.0, sizes[3])
        return to_carry(h, c), ys[0]

    def convert(weights):
        return interop.from_cudnn_weights(weights, *sizes)

    weights = cudnn.init_lstm_weight(jax.random.key(0), *sizes)
    return Theirs(weights, run, convert, interop.to_cudnn_weights)


CASES = {
    "linen LSTMCell": lambda: linen(nn.LSTMCell(H, **F64)),
    "linen OptimizedLSTMCell": lambda: linen(nn.OptimizedLSTMCell(H, **F64), reverse=True),
    "linen GRUCell": lambda: linen(nn.GRUCell(H, activation_fn=nn.relu, **F64)),
    "linen SimpleCell": lambda: linen(nn.SimpleCell(H, **F64)),
    "linen ConvLSTMCell": lambda: linen(nn.ConvLSTMCell(2, (3, 2), **F64), (T, 4, 3, 1)),
    "linen ConvLSTMCell without bias": lambda: linen(
        nn.ConvLSTMCell(2, (3,), use_bias=False, **F64), (T, 4, 1)
    ),
    "linen Bidirectional": lambda: linen(
        nn.Bidirectional(
            nn.RNN(nn.LSTMCell(H, **F64)), nn.RNN(nn.LSTMCell(H, **F64)), return_carry=True
        )
    ),
    "nnx LSTMCell": lambda: of_nnx(nnx_rnn(nnx.LSTMCell)),
    "nnx OptimizedLSTMCell": lambda: of_nnx(
        nnx_rnn(nnx.OptimizedLSTMCell),
        lambda params: interop.to_nnx_weights(params, optimized=True),
    ),
    "nnx GRUCell": lambda: of_nnx(nnx_rnn(nnx.GRUCell)),
    "nnx SimpleCell": lambda: of_nnx(nnx_rnn(nnx.SimpleCell, dtype=jnp.float64)),
    "nnx Bidirectional": lambda: of_nnx(
        nnx.Bidirectional(nnx_rnn(nnx.GRUCell), nnx_rnn(nnx.GRUCell), rngs=False)
    ),
    "haiku LSTM": lambda: haiku(lambda hk: hk.LSTM(H), kind="LSTM"),
    "haiku GRU": lambda: haiku(lambda hk: hk.GRU(H), kind="GRU", reset="before", update="replace"),
    "haiku VanillaRNN": lambda: haiku(lambda hk: hk.VanillaRNN(H), kind="RNN"),
    "haiku VanillaRNN with one bias": lambda: haiku(
        lambda hk: hk.VanillaRNN(H, double_bias=False), kind="RNN"
    ),
    "equinox LSTMCell": lambda: equinox("LSTMCell"),
    "equinox GRUCell": lambda: equinox("GRUCell"),
    "equinox GRUCell without bias": lambda: equinox("GRUCell", use_bias=False),
    "cudnn, 2 layers in both directions": lambda: of_cudnn(2, True),
}


def _concatenate(forward, backward):
    """Has the name of Flax's own default, and another order."""
    return jnp.concatenate([backward, forward], -1)


@pytest.mark.parametrize("merge", [jnp.add, functools.partial(jnp.add), _concatenate])
def test_merges_of_two_directions(merge):
    rnns = [nn.RNN(nn.LSTMCell(H, **F64)) for _ in range(2)]
    module, xs = nn.Bidirectional(*rnns, merge_fn=merge), random_like(jnp.ones((T, INPUTS)), 0)
    variables = module.init(jax.random.key(0), xs)
    layer, params = interop.from_linen_weights(module, variables)
    assert_close(layer(params, xs), module.apply(variables, xs), 1e-12)


@pytest.mark.parametrize("name", CASES)
def test_computes_what_the_library_computes(name):
    pytest.importorskip({"haiku": "haiku", "equinox": "equinox"}.get(name.split()[0], "jax"))
    theirs = CASES[name]()
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float64), theirs.weights)
    weights = random_like(like, 0)
    layer, params = theirs.convert(weights)
    xs = jnp.ones(theirs.shape)
    carry = layer.init_carry(params, xs)

    def by_recur(weights, carry, xs):
        layer, params = theirs.convert(weights)
        return layer.run(params, xs, carry=carry)

    @jax.jit
    def both(weights, carry, xs):
        def loss(run, *args):
            ends = run(*args)
            return weighted_sum(ends), ends

        return [
            jax.grad(lambda *args, run=run: loss(run, *args), (0, 1, 2), has_aux=True)(
                weights, carry, xs
            )
            for run in (theirs.run, by_recur)
        ]

    for seed in range(DRAWS):
        weights, carry, xs = random_like((like, carry, xs), seed)
        (expected, (last, ys)), found = both(weights, carry, xs)
        if layer.direction == "backward":  # Flax reverses the outputs
            assert_close(found[1], (last, ys[::-1]), 1e-12)
        else:
            assert_close(found, (expected, (last, ys)), 1e-12)

    _, params = theirs.convert(weights)
    back = theirs.back(params)
    if name == "linen ConvLSTMCell without bias":  # which adds 1 to its forget gate
        assert params.bias.forget.tolist() == [1, 1]
        assert not back["cell"]["ih"]["bias"].any()
        return
    assert_close(theirs.convert(back)[1], params, 1e-15)
    if name != "haiku VanillaRNN with one bias":
        assert jax.tree.map(jnp.shape, back) == jax.tree.map(jnp.shape, weights)
