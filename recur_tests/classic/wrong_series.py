"""Rows of `test_wrong_input`: autoregressive models and convolutions."""

from functools import partial

import jax
import numpy as np

import recur
from recur.classic import (
    Autoregression,
    autoregressive,
    causal_conv,
    gaussian_head,
    latent_autoregression,
    mlp_autoregression,
    receptive_field,
    tcn,
    tcn_levels,
)
from recur_tests.wrong_input import NO_CELLS, Row, rows_of_options

KEY = jax.random.key(0)
XS = np.sin(np.arange(20.0))[:, None]
GAPS = np.where(np.arange(20)[:, None] % 3 == 0, np.nan, XS)
MODEL = Autoregression(np.array([[[0.5]], [[0.1]]]), np.zeros(1), np.ones((1, 1)))
FORECAST = autoregressive.Forecast(np.zeros((2, 1)), np.ones((2, 1, 1)))
NO_SERIES = [
    (None, TypeError, "series: expected an array of numbers, got NoneType."),
    ("a", TypeError, "series: expected an array of numbers, got str."),
    (XS > 0, TypeError, "expected a series of real numbers, got bool."),
    (XS[:, 0], ValueError, "expected a series [T, D], got the shape [20]. Write series[:, None]"),
    (XS[None], ValueError, "expected a series [T, D], got the shape [1, 20, 1]."),
    (
        np.where(XS > 0.8, np.inf, XS),
        ValueError,
        "expected finite values, or NaN for a gap, got inf at step 1.",
    ),
    (XS[:2], ValueError, "steps"),
]
NO_MODELS = [
    (None, TypeError, "expected an Autoregression, got NoneType."),
    (tuple(MODEL), TypeError, "expected an Autoregression, got tuple."),
    (MODEL._replace(intercept=np.zeros(2)), ValueError, "got [2, 1, 1], [2], [1, 1]."),
    (MODEL._replace(covariance=np.ones(1)), ValueError, "got [2, 1, 1], [1], [1]."),
    (MODEL._replace(coefficients=np.ones((1, 1))), ValueError, "expected coefficients [p, D, D]"),
]
TAKES_SERIES = {
    "fit": lambda xs: autoregressive.fit(xs, 2),
    "criteria": lambda xs: autoregressive.criteria(xs, 2),
    "select_order": lambda xs: autoregressive.select_order(xs, 2),
    "predict": partial(autoregressive.predict, MODEL),
}
TAKES_MODEL = {
    "predict": lambda model: autoregressive.predict(model, XS),
    "forecast": lambda model: autoregressive.forecast(model, XS, 2),
    "sample": lambda model: autoregressive.sample(model, KEY, 2, XS),
    "roots": autoregressive.roots,
    "is_stationary": autoregressive.is_stationary,
}
TAKES_HISTORY = {
    "forecast": lambda xs: autoregressive.forecast(MODEL, xs, 2),
    "sample": lambda xs: autoregressive.sample(MODEL, KEY, 2, xs),
}
NO_HISTORIES = [
    *NO_SERIES[:-1],
    (XS[:1], ValueError, "at least the 2 steps that the model reads, got 1."),
    (np.ones((4, 2)), ValueError, "expected a series [T, 1], as the model has, got [4, 2]."),
    (GAPS[:19], ValueError, "expected no gap in the last 2 steps of the history"),
]
COUNTS = {
    "fit: order": lambda n: autoregressive.fit(XS, n),
    "criteria: largest": lambda n: autoregressive.criteria(XS, n),
    "forecast: steps": lambda n: autoregressive.forecast(MODEL, XS, n),
    "sample: steps": lambda n: autoregressive.sample(MODEL, KEY, n, XS),
}


def table(calls, values):
    return [
        Row(f"autoregressive.{name}", partial(call, value), error, sentence)
        for name, call in calls.items()
        for value, error, sentence in values
    ]


OF_SERIES = [
    *table(TAKES_SERIES, NO_SERIES),
    *table(TAKES_MODEL, NO_MODELS),
    *(row._replace(name="Autoregression") for row in table({"": autoregressive.roots}, NO_MODELS)),
    *table(TAKES_HISTORY, NO_HISTORIES),
    *(
        Row(f"autoregressive.{name.split(':')[0]}", partial(call, value), ValueError,
            f"{name}: expected a whole number of at least {'steps' in name:d}, got {value!r}.")
        for name, call in COUNTS.items()
        for value in (-1, 1.5, "a", None, True)
    ),
    *table(
        {"fit": lambda xs: autoregressive.fit(xs, 2), "criteria": TAKES_SERIES["criteria"]},
        [(GAPS, ValueError, "without a gap in the steps before them, as the coefficients of this")],
    ),
    *table(
        {"fit": lambda flag: autoregressive.fit(XS, 1, unbiased=flag)},
        [(flag, TypeError, f"fit: unbiased: expected True or False, got {flag!r}.")
         for flag in (1, None)],
    ),
    *table(
        {"select_order": lambda name: autoregressive.select_order(XS, 2, name)},
        [(name, ValueError, f'expected criterion "aic" or "bic", got {name!r}.')
         for name in ("hqic", None, 3)],
    ),
    *table(
        {"interval": lambda coverage: autoregressive.interval(FORECAST, coverage)},
        [
            (0, ValueError, "interval: expected coverage above 0 and below 1, got 0."),
            (1, ValueError, "interval: expected coverage above 0 and below 1, got 1."),
            (95, ValueError, "interval: expected coverage above 0 and below 1, got 95."),
            ("a", ValueError, "interval: coverage: expected a finite number, got 'a'."),
            (None, ValueError, "interval: coverage: expected a finite number, got None."),
        ],
    ),
    *table(
        {"interval": autoregressive.interval},
        [(None, TypeError, "interval: expected a Forecast, got NoneType."),
         (tuple(FORECAST), TypeError, "interval: expected a Forecast, got tuple.")],
    ),
    *table(
        {"sample": lambda key: autoregressive.sample(MODEL, key, 2, XS)},
        [(3, TypeError, "expected a typed key, got 3.")],
    ),
]  # fmt: skip


def conv(features=3, kernel_size=2, **options):
    return causal_conv(features, kernel_size, **options)


def network(features=3, levels=2, kernel_size=2, **options):
    return tcn(features, levels, kernel_size, **options)


CONV, NETWORK = conv(), network()
NARROW = np.float32(XS)
OF_CONV, OF_NETWORK = (layer.init(KEY, NARROW) for layer in (CONV, NETWORK))
BLOCK = OF_NETWORK[0]
NO_INPUTS = [
    (None, ValueError, "holds no array"),
    (XS[:, 0], ValueError, "{}: expected one step of one sequence, x of shape [I], got []."),
    (XS[None], ValueError, "{}: expected one step of one sequence, x of shape [I], got [20, 1]."),
    (XS + 1j, TypeError, "{}: expected a real input, got complex128."),
    (np.ones((20, 3)), ValueError, "expected inputs of width 1"),
]
NO_CONVS = [
    (None, TypeError, "causal_conv: expected params as CausalConvParams, got NoneType."),
    (tuple(OF_CONV), TypeError, "causal_conv: expected params as CausalConvParams, got tuple."),
    (OF_NETWORK, TypeError, "causal_conv: expected params as CausalConvParams, got tuple."),
    (OF_CONV._replace(kernel=np.ones((3, 1, 3))), TypeError, "expected params.kernel as [2, 1, 3]"),
    (OF_CONV._replace(kernel=np.ones((2, 3))), TypeError, "as [2, 1, 3], got [2, 3]."),
]
NO_BLOCKS = [
    (tuple(BLOCK), TypeError, "tcn: expected params as TCNBlockParams, got tuple."),
    (None, TypeError, "tcn: expected params as TCNBlockParams, got NoneType."),
    (BLOCK._replace(shortcut=None), TypeError, "tcn: expected params as CausalConvParams, got Non"),
    (BLOCK._replace(first=BLOCK.second), ValueError, "tcn: expected inputs of width 3, as at init"),
    (
        BLOCK._replace(second=BLOCK.shortcut),
        TypeError,
        "params.kernel as [2, 3, 3], got [1, 1, 3].",
    ),
]
CARRY = np.zeros((3, 1))  # of one step too many
OF_LAYERS = [
    *rows_of_options(causal_conv, conv),
    *rows_of_options(tcn, network, {"dropout": "tcn: expected dropout in [0, 1), got "}),
    *rows_of_options(receptive_field, lambda levels=2, kernel_size=2: receptive_field(
        levels, kernel_size)),
    *(
        Row("tcn_levels", partial(tcn_levels, *given), ValueError, f"tcn_levels: {sentence}")
        for given, sentence in (
            ((0, 2), "steps: expected a whole number of at least 1, got 0."),
            ((2.0, 2), "steps: expected a whole number of at least 1, got 2.0."),
            ((True, 2), "steps: expected a whole number of at least 1, got True."),
            ((2, 1), "kernel_size: expected a whole number of at least 2, got 1."),
            ((2, None), "kernel_size: expected a whole number of at least 2, got None."),
        )
    ),
    *rows_of_options(gaussian_head, lambda width: gaussian_head(width)),
    *rows_of_options(mlp_autoregression, lambda width=1, **rest: mlp_autoregression(width, **rest)),
    *rows_of_options(
        latent_autoregression, lambda width: latent_autoregression(recur.gru(2), width)
    ),
    *(
        Row("latent_autoregression", partial(latent_autoregression, cell, 1), TypeError, sentence)
        for cell, sentence in NO_CELLS.values()
    ),
    *(
        Row("mlp_autoregression", partial(mlp_autoregression, 1, features=sizes), error, sentence)
        for sizes, error, sentence in (
            (3, TypeError, "mlp_autoregression: expected features as a sequence of sizes, such as"),
            ("10", TypeError, "expected features as a sequence of sizes, such as (10, 10), got '1"),
            ((10, 0), ValueError, "features: expected a whole number of at least 1, got 0."),
        )
    ),
    *(
        Row(name, partial(layer, params, xs), error, sentence.format(name))
        for name, layer, params in (("causal_conv", CONV, OF_CONV), ("tcn", NETWORK, OF_NETWORK))
        for xs, error, sentence in NO_INPUTS
    ),
    *(
        Row(name, partial(CONV, params, XS), error, sentence)
        for name in ("causal_conv", "CausalConvParams")
        for params, error, sentence in NO_CONVS
    ),
    *(
        Row(name, partial(NETWORK, (params, OF_NETWORK[1]), XS), error, sentence)
        for name in ("tcn", "TCNBlockParams")
        for params, error, sentence in NO_BLOCKS
    ),
    Row("tcn", partial(NETWORK, OF_NETWORK[:1], XS), TypeError, "as a tuple of 2 blocks, got a t"),
    Row("tcn", partial(NETWORK, None, XS), TypeError, "as a tuple of 2 blocks, got NoneType."),
    Row("causal_conv", lambda: CONV.run(OF_CONV, NARROW, carry=CARRY), ValueError, "carry: expec"),
    Row("tcn", lambda: NETWORK.run(OF_NETWORK, NARROW, carry=CARRY), ValueError, "carry: expected"),
]  # fmt: skip
