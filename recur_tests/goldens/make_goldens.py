"""Make torch.json, keras.json and haiku.json, the outputs of other libraries.

    pip install torch==2.13.0 jax keras dm-haiku numpy
    python recur_tests/goldens/make_goldens.py

Every case is one unbatched sequence: weights with the names and layouts of the library, inputs
[T, I], the initial state, outputs [T, H] and the final state. torch and Haiku use float64, Keras
float32, since on JAX its products are at most float32. The libraries are imported where they are
used, so importing this file needs none of them.
"""

import json
import os
from pathlib import Path

import numpy as np

T, I, H = 5, 3, 4  # noqa: E741


def drawer(seed):
    """A function from a shape to seeded numbers of three decimals, short to store and exact."""
    rng = np.random.default_rng(seed)
    return lambda *shape: rng.normal(scale=0.7, size=shape).round(3)


def torch_case(module, seed, *, gradients=False):
    """One torch module, its states under torch's names h_0, c_0, h_n, c_n, a row a layer."""
    import torch

    draw, module = drawer(seed), module.double()
    weights = {name: draw(*w.shape) for name, w in module.named_parameters()}
    module.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
    two = isinstance(module, torch.nn.LSTM)
    rows = module.num_layers * (2 if module.bidirectional else 1)
    inputs, initial = draw(T, I), {name: draw(rows, H) for name in ("h_0", "c_0")[: 1 + two]}

    states = [torch.from_numpy(s) for s in initial.values()]
    outputs, final = module(torch.from_numpy(inputs), tuple(states) if two else states[0])
    case = {
        "weights": weights,
        "inputs": inputs,
        "initial": initial,
        "outputs": outputs.detach().numpy(),
        "final": {
            name: s.detach().numpy()
            for name, s in zip(("h_n", "c_n"), final if two else [final], strict=False)
        },
    }
    if gradients:
        (outputs.square().sum() / 2).backward()
        case["gradients"] = {name: w.grad.numpy() for name, w in module.named_parameters()}
    return case


def torch_goldens():
    """Gates i f g o and r z n, stacked in rows; two biases; gradients of sum(outputs²) / 2."""
    import torch
    from torch import nn

    return torch.__version__.split("+")[0], {
        "rnn_tanh": torch_case(nn.RNN(I, H), 0),
        "rnn_relu": torch_case(nn.RNN(I, H, nonlinearity="relu"), 1),
        "lstm": torch_case(nn.LSTM(I, H), 2, gradients=True),
        "gru": torch_case(nn.GRU(I, H), 3, gradients=True),
        "lstm_two_layers": torch_case(nn.LSTM(I, H, num_layers=2), 4),
        "lstm_bidirectional": torch_case(nn.LSTM(I, H, bidirectional=True), 5),
    }


def keras_case(layer, seed):
    """One Keras layer run on a batch of one; what is stored has no batch axis."""
    draw = drawer(seed)
    layer.build((1, T, I))
    weights = {w.name: draw(*w.shape) for w in layer.weights}
    layer.set_weights(list(weights.values()))
    names = ["hidden", "cell"][: len(layer.get_initial_state(1))]
    inputs, initial = draw(T, I), {name: draw(H) for name in names}
    outputs, *final = layer(inputs[None], initial_state=[s[None] for s in initial.values()])
    return {
        "weights": weights,
        "inputs": inputs,
        "initial": initial,
        "outputs": outputs[0],
        "final": {name: s[0] for name, s in zip(names, final, strict=True)},
    }


def keras_goldens():
    """Gates i f g o and z r h, stacked in columns; the GRU of reset_after has two rows of bias."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras
    from keras.layers import GRU, LSTM, SimpleRNN

    whole = {"return_sequences": True, "return_state": True}
    return keras.__version__, {
        "simple_rnn": keras_case(SimpleRNN(H, **whole), 10),
        "lstm": keras_case(LSTM(H, **whole), 11),
        "gru_reset_after": keras_case(GRU(H, reset_after=True, **whole), 12),
        "gru_reset_before": keras_case(GRU(H, reset_after=False, **whole), 13),
    }


def haiku_case(core, seed, names, pack, unpack):
    """One Haiku core, unrolled; `pack` makes its state of arrays, `unpack` takes it apart."""
    import haiku as hk
    import jax

    draw = drawer(seed)
    unroll = hk.without_apply_rng(hk.transform(lambda xs, s: hk.static_unroll(core(H), xs, s)))
    inputs, initial = draw(T, I), {name: draw(H) for name in names}
    state = pack(*initial.values())
    weights = {
        module: {name: draw(*w.shape) for name, w in group.items()}
        for module, group in jax.eval_shape(unroll.init, jax.random.key(0), inputs, state).items()
    }
    outputs, final = unroll.apply(weights, inputs, state)
    return {
        "weights": weights,
        "inputs": inputs,
        "initial": initial,
        "outputs": outputs,
        "final": dict(zip(names, unpack(final), strict=True)),
    }


def haiku_goldens():
    """Gates i g f o, one being added to f at run time, and z r a; VanillaRNN is one of relu."""
    import haiku as hk
    import jax

    one = (["hidden"], lambda h: h, lambda h: [h])
    two = (["hidden", "cell"], hk.LSTMState, tuple)
    with jax.enable_x64(True):
        return hk.__version__, {
            "vanilla_rnn": haiku_case(hk.VanillaRNN, 20, *one),
            "lstm": haiku_case(hk.LSTM, 21, *two),
            "gru": haiku_case(hk.GRU, 22, *one),
        }


def dump(tree, indent=0):
    """JSON with a line an array, so that a difference shows which array changed."""
    if isinstance(tree, str):
        return json.dumps(tree)
    if not isinstance(tree, dict):
        return json.dumps(np.asarray(tree).tolist())
    pad = "\n" + " " * (indent + 1)
    lines = (f"{json.dumps(key)}: {dump(value, indent + 1)}" for key, value in tree.items())
    return "{" + pad + ("," + pad).join(lines) + "\n" + " " * indent + "}"


def main():
    """Write the three files to the folder of this one."""
    for make in (torch_goldens, keras_goldens, haiku_goldens):
        framework = make.__name__.removesuffix("_goldens")
        version, cases = make()
        (dtype,) = {str(case["outputs"].dtype) for case in cases.values()}
        tree = {"framework": framework, "version": version, "dtype": dtype, "cases": cases}
        Path(__file__).with_name(f"{framework}.json").write_text(dump(tree) + "\n")


if __name__ == "__main__":
    main()
