"""Wrong inputs of the conversions of weights, and of layers as modules of other libraries."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx

import recur
from recur import interop
from recur.lift import Directions
from recur_tests.wrong_input import NO_LAYERS, Row

XS = np.ones((5, 3))


def zeros(function):
    """Returns zeros of the shapes that a function returns."""
    shapes = jax.eval_shape(function)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def drawn(cell, **changes):
    """Returns params of a cell."""
    params = zeros(lambda: recur.scan(cell).init(jax.random.key(0), XS))
    return params._replace(**changes)


def tensors(gates=4, **changes):
    shapes = {"weight_ih_l0": (gates * 4, 3), "weight_hh_l0": (gates * 4, 4)}
    shapes |= {"bias_ih_l0": (gates * 4,), "bias_hh_l0": (gates * 4,)}
    made = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()} | changes
    return {name: array for name, array in made.items() if array is not None}


def row(name, sentence, /, *arguments, error=ValueError, **options):
    return Row(name, lambda: getattr(interop, name)(*arguments, **options), error, sentence)


def torch_rows():
    nan = np.full(16, np.nan, np.float32)
    name = "from_torch_weights"
    return [
        row(
            name,
            "expected the tensors weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0; missing"
            " bias_hh_l0.",
            tensors(bias_hh_l0=None),
        ),
        row(name, "unexpected weight_g.", tensors(weight_g=XS)),
        row(
            name,
            "bias_ih_l0 has 16 of 16 entries that are NaN or infinite",
            tensors(bias_ih_l0=nan),
        ),
        row(
            name, "bias_ih_l0: expected the shape [16], got [15].", tensors(bias_ih_l0=np.zeros(15))
        ),
        row(
            name,
            "expected the shape [4H, H] of an LSTM, [3H, H] of a GRU or [H, H] of an RNN, got "
            "[20, 4].",
            tensors(5),
        ),
        row(
            name,
            "weight_hh_l0: expected floating-point numbers, got int",
            tensors(weight_hh_l0=np.ones((16, 4), int)),
            error=TypeError,
        ),
        row(
            name,
            "such as weight_ih_l0 and weight_hh_l0, got weight, bias. Pass prefix=",
            {"weight": XS, "bias": XS},
        ),
        row(name, "such as weight_ih_l0 and weight_hh_l0, got none. Pass prefix=", {}),
        row(
            name,
            "no tensor has the prefix 'lstm'; the names are weight_ih_l0",
            tensors(),
            prefix="lstm",
        ),
        row(
            name,
            "expected a module such as torch.nn.LSTM or its state dict, got list",
            [XS],
            error=TypeError,
        ),
        row(name, 'nonlinearity must be "tanh" or "relu"', tensors(1), nonlinearity="gelu"),
        row(
            name,
            "missing weight_ih_l1, weight_hh_l1, bias_ih_l1",
            tensors(weight_ih_l2=np.zeros((16, 4))),
        ),
        row(
            name,
            "unexpected weight_ih_l9999999999.",
            tensors(weight_ih_l9999999999=np.zeros((16, 4))),
        ),
        row(
            name, "expected an array of numbers, got str", tensors(bias_ih_l0="x"), error=TypeError
        ),
    ]


def params_rows(name):
    """Makes the rows of what no other library has."""
    peephole, learned = (
        recur.lstm(4, peepholes="full"),
        recur.lstm(4, initial_carry_init=nn.initializers.zeros),
    )
    nan = jax.tree.map(lambda a: a + np.nan, drawn(recur.lstm(4)))
    return [
        row(
            name,
            "expected the params of recur.lstm, projected_lstm, gru or elman, got GatedParams",
            drawn(recur.mgu(4)),
            error=TypeError,
        ),
        row(name, "expected the params of recur.lstm", None, error=TypeError),
        row(name, "hold a learned initial carry", drawn(learned)),
        row(name, "has no peepholes", drawn(peephole)),
        *(
            []
            if name == "to_torch_weights"
            else [row(name, "has no projection", drawn(recur.projected_lstm(4, 2)))]
        ),
        *(
            []
            if name in ("to_keras_weights", "to_linen_weights")
            else [
                row(
                    name,
                    "has no convolutional LSTM",
                    zeros(
                        lambda: recur.scan(recur.conv_lstm(2, (3,))).init(
                            jax.random.key(0), XS[..., None]
                        )
                    ),
                )
            ]
        ),
        row(name, "kernel/input has 12 of 12 entries that are NaN or infinite", nan),
    ]


def gru_rows(name):
    return [
        row(
            name,
            "resets after the product with the recurrent kernel, and this one resets before "
            "it. No weights make them equal.",
            drawn(recur.gru(4, reset="before")),
            reset="before",
        ),
        row(
            name,
            'reset="after" was given, but the params have no recurrent_bias, as those of '
            'recur.gru(..., reset="before") do',
            drawn(recur.gru(4, reset="before")),
        ),
        row(name, 'reset must be "after" or "before", got 1.', drawn(recur.gru(4)), reset=1),
        row(name, 'update must be "keep" or "replace", got None', drawn(recur.gru(4)), update=None),
    ]


TO = {
    "to_cudnn_weights": [
        row("to_cudnn_weights", "has only an LSTM, got the params of gru", drawn(recur.gru(4))),
    ],
    "to_equinox_weights": [
        *gru_rows("to_equinox_weights"),
        row("to_equinox_weights", "Equinox has no cell of this kind", drawn(recur.elman(4))),
    ],
    "to_haiku_weights": [
        row(
            "to_haiku_weights",
            "resets before the product with the recurrent kernel, and this one resets after it",
            drawn(recur.gru(4)),
        ),
        row(
            "to_haiku_weights",
            "name must be a string, got 3",
            drawn(recur.lstm(4)),
            name=3,
            error=TypeError,
        ),
    ],
    "to_keras_weights": [
        row(
            "to_keras_weights",
            "has no peepholes",
            Directions(drawn(recur.lstm(4, peepholes="full")), drawn(recur.lstm(4))),
        ),
    ],
    "to_linen_weights": gru_rows("to_linen_weights"),
    "to_nnx_weights": [
        *gru_rows("to_nnx_weights"),
        row(
            "to_nnx_weights",
            "expected a recurrent_bias of zeros, since NNX's GRU has no bias inside "
            "its reset, got others. Use Linen's GRU",
            drawn(recur.gru(4), recurrent_bias=np.ones(4, np.float32)),
        ),
        row(
            "to_nnx_weights",
            "optimized: expected True or False",
            drawn(recur.lstm(4)),
            optimized=1,
            error=TypeError,
        ),
    ],
    "to_torch_weights": [
        *gru_rows("to_torch_weights"),
        row("to_torch_weights", "expected params of at least one layer, got ()", ()),
        row(
            "to_torch_weights",
            "has layers of one kind and width, got lstm(4) with biases in one "
            "direction and, as layer 1, gru(4) with biases in one direction",
            (drawn(recur.lstm(4)), drawn(recur.gru(4))),
        ),
        row(
            "to_torch_weights",
            "layer 1 reads 3 numbers, but layer 0 returns 4",
            (drawn(recur.lstm(4)), drawn(recur.lstm(4))),
        ),
    ],
}


def from_rows():
    cudnn, linen = "from_cudnn_weights", "from_linen_weights"
    weights = np.zeros(144)
    gru = nn.GRUCell(4)
    params = zeros(lambda: gru.init(jax.random.key(0), jnp.zeros(4), XS[0])["params"])
    nan = {**params, "hn": {**params["hn"], "bias": np.full(4, np.nan)}}
    of_nnx = nnx.eval_shape(lambda: nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)))
    gated = nnx.eval_shape(lambda: nnx.GRUCell(3, 4, rngs=nnx.Rngs(0), gate_fn=nnx.tanh))
    state = {
        "dense_i": {"kernel": np.zeros((3, 12)), "bias": np.zeros(12)},
        "dense_h": {"kernel": np.zeros((4, 12))},
    }
    haiku = {"gru": {"w_i": np.zeros((3, 12)), "w_h": np.zeros((4, 12)), "b": np.zeros(12)}}
    name, nnx_name = "from_haiku_weights", "from_nnx_weights"
    return [
        row(
            cudnn,
            "expected weights [144] for input_size=3, hidden_size=4, num_layers=1, "
            "bidirectional=False, got [3].",
            weights[:3],
            3,
            4,
        ),
        row(cudnn, "input_size: expected a whole number", weights, 3.5, 4),
        row(cudnn, "num_layers: expected a whole number of at least 1", weights, 3, 4, 0),
        row(cudnn, "bidirectional: expected True", weights, 3, 4, 1, 2, error=TypeError),
        row(cudnn, "weights has 144 of 144 entries that are NaN", weights + np.nan, 3, 4),
        row(linen, "expected params as a mapping, got list", gru, [], error=TypeError),
        row(linen, "expected a LSTMCell, OptimizedLSTMCell", nn.Dense(3), {}, error=TypeError),
        row(linen, "missing ir/kernel, iz/kernel", gru, {}),
        row(linen, "unexpected extra/kernel", gru, params | {"extra": {"kernel": XS}}),
        row(linen, "expected the tensors cell; missing cell", nn.RNN(gru), {"params": 3}),
        row(
            linen,
            "expected the tensors forward_rnn, backward_rnn; missing backward_rnn",
            nn.Bidirectional(nn.RNN(gru), nn.RNN(gru)),
            {"forward_rnn": 3},
        ),
        row(linen, "hn/bias has 4 of 4 entries", gru, nan),
        row(
            linen,
            "ir/kernel: expected the shape [2, 4], got",
            gru,
            params
            | {
                "iz": {"kernel": np.zeros((2, 4)), "bias": np.zeros(4)},
                "ir": {"kernel": np.zeros((2, 5)), "bias": np.zeros(4)},
            },
        ),
        row(linen, "GRUCell with gate_fn=", nn.GRUCell(4, gate_fn=nn.tanh), params),
        row(
            linen,
            "SimpleCell with residual=True has no equal here",
            nn.SimpleCell(4, residual=True),
            {"i": {"kernel": XS}},
        ),
        row(
            linen,
            "expected an RNN of a cell, got GRUCell",
            nn.Bidirectional(gru, gru),
            {"forward_rnn": {}, "backward_rnn": {}},
            error=TypeError,
        ),
        row(nnx_name, "expected a LSTMCell", nnx.Dropout(0.5), {}, error=TypeError),
        row(nnx_name, "expected a LSTMCell", 3, error=TypeError),
        row(nnx_name, "missing dense_i/kernel", of_nnx, {"dense_h": state["dense_h"]}),
        row(nnx_name, "expected the tensors", of_nnx, {"dense_h": 3.0}),
        row(nnx_name, "GRUCell with gate_fn=", nnx.RNN(gated), {"cell": state}),
        row(name, "expected the params of Haiku, a mapping of module names", [], error=TypeError),
        row(name, "expected the params of Haiku", {"gru": XS}, error=TypeError),
        row(name, "no module has the name 'lstm'; the names are gru.", haiku, prefix="lstm"),
        row(name, "unexpected other/w", haiku | {"other": {"w": XS}}),
        row(
            name,
            "w_h: expected the shape [4, 12], got [4, 11]",
            {"gru": haiku["gru"] | {"w_h": np.zeros((4, 11))}},
        ),
        row(
            name,
            "b has 12 of 12 entries that are NaN",
            {"gru": haiku["gru"] | {"b": np.full(12, np.inf)}},
        ),
        row(name, "missing linear/w, linear/b", {}),
        row(name, "prefix must be a string, got 3", haiku, prefix=3, error=TypeError),
        *(
            row(
                "from_keras_weights",
                "expected a layer LSTM, GRU, SimpleRNN or ConvLSTM of Keras",
                value,
                error=TypeError,
            )
            for value in (3, None, "lstm", gru, [XS])
        ),
        *(
            row(
                "from_equinox_weights",
                "expected an eqx.nn.LSTMCell or eqx.nn.GRUCell",
                value,
                error=TypeError,
            )
            for value in (3, None, "lstm", gru, [XS])
        ),
    ]


def module_rows():
    layer = recur.scan(recur.gru(4))
    names = ("to_equinox", "to_linen", "to_nnx")
    no_layers = [
        row(name, sentence, value, {}, error=TypeError)
        for name in names
        for value, sentence in NO_LAYERS.values()
    ]
    no_params = [
        row(name, f"{name}: params", layer, params, error=TypeError)
        for name in names
        for params in ("x", [XS, "x"])
    ]
    return (
        no_layers
        + no_params
        + [
            row(
                name,
                "expected params as `init` of the layer returns them",
                layer,
                3,
                error=TypeError,
            )
            for name in names
        ]
    )


ROWS = [
    *torch_rows(),
    *from_rows(),
    *module_rows(),
    *(each for name, rows in TO.items() for each in (*params_rows(name), *rows)),
]
