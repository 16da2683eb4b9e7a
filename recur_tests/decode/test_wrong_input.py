"""Wrong inputs of decoding: each is an error that says what was expected."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import recur
from recur import decode
from recur.decode import (
    argmax,
    beam_search,
    bernoulli,
    categorical,
    forbid,
    free_running,
    gaussian,
    gaussian_mixture,
    generate,
    inverse_sigmoid_decay,
    scheduled_sampling,
    search,
    teacher_forcing,
    temperature,
    top_k,
    top_p,
)
from recur_tests.decode.wrong_ctc import OF_CTC
from recur_tests.wrong_input import NO_LAYERS, Row, check_five_rows, each_row

KEY, LOGITS, TOKENS = jax.random.key(0), np.zeros(5), np.array([1, 2, 3])
LAYER = recur.chain(lambda token: jax.nn.one_hot((token + 1) % 5, 5))
BACKWARD = recur.scan(recur.gru(3), reverse=True)
NO_KEYS = [
    (0, TypeError, "expected a typed key, got 0. Make one with jax.random.key(0)"),
    (jax.random.PRNGKey(0), TypeError, "expected a typed key, got uint32[2]. Make one with"),
    (jax.random.split(KEY, 2), ValueError, "expected one key, got an array of keys of shape (2,)"),
]


def decoder(function, layer=LAYER, tokens=TOKENS, **base):
    """Calls a function of a layer, its params and tokens, with some arguments changed."""

    def call(layer=layer, params=((),), tokens=tokens, **options):
        return function(layer, params, tokens, **{**base, **options})

    return call


DECODERS = {
    "teacher_forcing": decoder(teacher_forcing),
    "free_running": decoder(free_running),
    "scheduled_sampling": decoder(scheduled_sampling, rate=0.5, key=KEY),
    "generate": decoder(generate, max_tokens=2, choose=argmax),
    "beam_search": decoder(beam_search, max_tokens=2, num_beams=2),
}


def beams_of(step=lambda carry, token: (carry, LOGITS), carry=(), logits=LOGITS, **options):
    return search(step, carry, logits, **{"max_tokens": 2, "num_beams": 2, **options})


SEARCHES = {
    **{name: DECODERS[name] for name in ("generate", "beam_search")},
    "search": beams_of,
}


def rows(names, calls, changes):
    return [
        Row(name, functools.partial(calls[name], **change), error, sentence.format(name=name))
        for name in names
        for change, error, sentence in changes
    ]


OF_DECODERS = rows(
    DECODERS,
    DECODERS,
    [
        *(
            ({"layer": layer}, TypeError, f"{{name}}: {sentence}")
            for layer, sentence in NO_LAYERS.values()
        ),
        ({"layer": BACKWARD}, ValueError, "{name}: expected a causal layer, got one that reads"),
        ({"layer": recur.batch(LAYER)}, ValueError, "tokens of shape [B, T] with at least one"),
        ({"tokens": TOKENS[None]}, ValueError, "of shape [T] with at least one token, got [1, 3]."),
        ({"tokens": TOKENS[:0]}, ValueError, "with at least one token, got [0]."),
        ({"tokens": TOKENS * 1.0}, TypeError, "integer tokens, got float64."),
        ({"tokens": TOKENS > 0}, TypeError, "integer tokens, got bool."),
        ({"tokens": "abc"}, TypeError, "{name}: tokens: expected an array of numbers, got str."),
        ({"tokens": None}, TypeError, "tokens: expected an array of numbers, got NoneType."),
        ({"tokens": [[1], [2, 3]]}, TypeError, "tokens: expected an array of numbers, got list."),
        ({"tokens": TOKENS - 2}, ValueError, "got -1 at step 0."),
        ({"context": 3}, TypeError, "expected the context as a mapping of names to values"),
        ({"length": 2.0}, TypeError, "integer"),
        ({"length": "a"}, TypeError, "length: expected an array of numbers"),
    ],
)
OF_DECODERS += [
    *rows(("generate", "beam_search"), DECODERS, [({"length": 9}, ValueError, "1 to 3, got 9.")]),
    *rows(
        ("teacher_forcing", "free_running", "scheduled_sampling"),
        DECODERS,
        [
            (
                {"length": 9},
                ValueError,
                "length: expected from 0 to 3, the number of steps, got 9.",
            ),
            ({"mask": TOKENS}, TypeError, "mask: expected bool flags, got int64."),
            ({"mask": TOKENS[:2] > 0}, ValueError, "one flag per step, of shape [3], got [2]."),
        ],
    ),
    *(
        row
        for key, error, sentence in NO_KEYS
        for row in rows(
            ("teacher_forcing", "free_running", "scheduled_sampling", "generate"),
            DECODERS,
            [({"key": key}, error, sentence)],
        )
    ),
]
OF_CHOICES = rows(
    ("free_running", "scheduled_sampling", "generate"),
    DECODERS,
    [
        ({"choose": 3}, TypeError, "{name}: choose: expected a function, got int."),
        ({"choose": None}, TypeError, "{name}: choose: expected a function, got NoneType."),
        ({"choose": lambda logits, key: 0.5}, TypeError, "returns one integer, got float64[]."),
        ({"choose": lambda logits, key: logits}, TypeError, "one integer, got float64[5]."),
        ({"choose": lambda logits, key: "a"}, TypeError, "choose: expected an array of numbers"),
    ],
)
NO_WHOLE = "{name}: %s: expected a whole number of at least %d, got "
OF_SEARCHES = rows(
    SEARCHES,
    SEARCHES,
    [
        *(
            ({"max_tokens": value}, ValueError, NO_WHOLE % ("max_tokens", 1) + f"{value!r}.")
            for value in (0, 1.5, "a", None, True)
        ),
        ({"min_tokens": -1}, ValueError, NO_WHOLE % ("min_tokens", 0) + "-1."),
        (
            {"min_tokens": 5},
            ValueError,
            "{name}: expected min_tokens from 0 to max_tokens, got max",
        ),
        ({"eos": 9}, ValueError, "{name}: expected ids from 0 to 4, the size of the vocabulary"),
        *(
            ({"eos": value}, ValueError, NO_WHOLE % ("eos", 0) + f"{value!r}.")
            for value in (-1, 1.5, "</s>", [1], True)
        ),
        ({"forbidden": 3}, TypeError, "forbidden: expected a sequence of whole numbers, got 3."),
        ({"forbidden": "ab"}, TypeError, "{name}: forbidden: expected a sequence of whole numb"),
        ({"forbidden": None}, TypeError, "{name}: forbidden: expected a sequence of whole numb"),
        ({"forbidden": [9]}, ValueError, "{name}: expected ids from 0 to 4, the size of the"),
        ({"forbidden": range(5)}, ValueError, "{name}: expected at least one token that is all"),
    ],
)
OF_BEAMS = rows(
    ("beam_search", "search"),
    SEARCHES,
    [
        *(
            ({"num_beams": value}, ValueError, NO_WHOLE % ("num_beams", 1) + f"{value!r}.")
            for value in (0, 1.5, None)
        ),
        ({"num_beams": 7}, ValueError, "expected num_beams from 1 to the 5 tokens of the vocabul"),
        ({"num_return": 0}, ValueError, NO_WHOLE % ("num_return", 1) + "0."),
        (
            {"num_return": 3},
            ValueError,
            "{name}: expected num_return from 1 to num_beams, 2, got 3",
        ),
        ({"length_penalty": np.nan}, ValueError, "{name}: expected a finite length_penalty, got n"),
        *(
            ({"length_penalty": value}, TypeError, "length_penalty: expected one number, got ")
            for value in ("a", None, [1.0], np.ones(2), True)
        ),
    ],
)
OF_STEPS = rows(
    ("search",),
    SEARCHES,
    [
        ({"step": 3}, TypeError, "search: step: expected a function, got int."),
        ({"step": lambda carry, token: LOGITS}, TypeError, "((), float64[5]), got float64[5]."),
        ({"step": lambda carry, token: (1, LOGITS)}, TypeError, "got (int64[], float64[5])."),
        ({"logits": None}, TypeError, "search: logits: expected an array of numbers, got NoneType"),
        (
            {"logits": jnp.arange(5)},
            TypeError,
            "expected logits of the first token as floats [V], got",
        ),
        ({"logits": np.ones((2, 5))}, TypeError, "as floats [V], got float64[2,5]."),
        ({"carry": "a"}, TypeError, "search: carry: expected an array of numbers, got str."),
    ],
)
OF_RATES = rows(
    ("scheduled_sampling",),
    DECODERS,
    [
        ({"rate": 2.0}, ValueError, "a rate from 0 (free running) to 1 (teacher forcing), got"),
        ({"rate": np.nan}, ValueError, "to 1 (teacher forcing), got nan."),
        *(
            ({"rate": value}, TypeError, "scheduled_sampling: rate: expected one number, got ")
            for value in ("a", None, [0.5], np.ones(2), True)
        ),
        ({"key": None}, TypeError, "expected a typed key, got None."),
    ],
)
CHOOSERS = {"argmax": argmax, "categorical": categorical}
NO_LOGITS = [
    (None, TypeError, "logits: expected an array of numbers, got NoneType."),
    ("a", TypeError, "logits: expected an array of numbers, got str."),
    (np.zeros(3, complex), TypeError, "expected logits as real numbers, got complex128."),
    (jnp.zeros(0), ValueError, "expected logits [V] with V >= 1, got shape [0]."),
    (1.0, ValueError, "expected logits [V] with V >= 1, got shape []."),
    (jnp.zeros((2, 3)), ValueError, "got shape [2, 3]. Use jax.vmap for a batch."),
]
OF_CHOOSERS = [
    Row(name, functools.partial(choose, logits, KEY), error, sentence)
    for name, choose in CHOOSERS.items()
    for logits, error, sentence in NO_LOGITS
] + [
    Row("categorical", functools.partial(categorical, LOGITS, key), error, sentence)
    for key, error, sentence in [*NO_KEYS, (None, TypeError, "expected a typed key to sample with")]
]
NO_CHOOSERS = [
    Row(
        name,
        functools.partial(make, value, choose),
        TypeError,
        f"{name}: choose: expected a function, got {type(choose).__name__}.",
    )
    for name, make, value in (
        ("temperature", temperature, 1.0),
        ("top_k", top_k, 2),
        ("top_p", top_p, 0.5),
        ("forbid", forbid, [1]),
    )
    for choose in (3, None, "argmax")
]
OF_NUMBERS = [
    *(
        Row(name, functools.partial(make, value), TypeError, f"{what}: expected one number, got ")
        for name, make, what in (
            ("temperature", temperature, "temperature: value"),
            ("top_p", top_p, "top_p: p"),
        )
        for value in ("hot", None, True, [1.0], np.ones(2))
    ),
    *(
        Row(
            "temperature", functools.partial(temperature, value), ValueError, "a value above 0, got"
        )
        for value in (0, -1.0, np.nan)
    ),
    *(
        Row("top_p", functools.partial(top_p, value), ValueError, "p above 0 and at most 1, got")
        for value in (0, 1.1, np.nan)
    ),
    *(
        Row(
            "top_k",
            functools.partial(top_k, k),
            ValueError,
            f"a whole number of at least 1, got {k}",
        )
        for k in (0, -1, 1.5, None, True)
    ),
    *(
        Row(
            "forbid", functools.partial(forbid, tokens), TypeError, "forbid: expected a sequence of"
        )
        for tokens in ([1.5], "ab", 3, None, [[1]], [True])
    ),
    Row(
        "forbid", lambda: forbid([-1]), ValueError, "forbid: expected tokens of at least 0, got -1"
    ),
    Row("forbid", lambda: forbid([9])(LOGITS, KEY), ValueError, "forbid: expected ids from 0 to 4"),
    Row("forbid", lambda: forbid(range(5))(LOGITS, KEY), ValueError, "got all 5 forbidden."),
    *(
        Row(
            "inverse_sigmoid_decay",
            functools.partial(inverse_sigmoid_decay, k),
            ValueError,
            f"inverse_sigmoid_decay: expected k as a number of at least 1, got {k!r}.",
        )
        for k in (0, 0.5, "a", None, np.nan, np.inf, True)
    ),
]
HALVE = recur.chain(lambda x: x / 2)  # reads floats
XS = np.ones((3, 2))
INPUTS = {
    name: decoder(function, HALVE, XS, **{"next_input": lambda y, key: y, **options})
    for name, function, options in (
        ("free_running", free_running, {}),
        ("scheduled_sampling", scheduled_sampling, {"rate": 0.5, "key": KEY}),
        ("generate", generate, {"steps": 2}),
    )
}
OF_INPUTS = [
    *rows(
        INPUTS,
        INPUTS,
        [
            ({"next_input": 3}, TypeError, "{name}: next_input: expected a function, got int."),
            (
                {"choose": top_k(2)},
                ValueError,
                "{name}: expected choose, which is for tokens, or next_input, got both.",
            ),
            ({"layer": recur.gru(3)}, TypeError, "{name}: expected a layer, got Cell."),
            ({"layer": BACKWARD}, ValueError, "{name}: expected a causal layer, got one that"),
            ({"tokens": XS[:0]}, ValueError, "{name}: expected inputs of at least one step, got n"),
            ({"tokens": "a"}, TypeError, "{name}: inputs: expected an array of numbers, got str."),
            ({"tokens": None}, ValueError, "holds no array, so it has no steps."),
            ({"next_input": lambda y, key: y[0]}, TypeError, "got float64[]."),
            ({"next_input": lambda y, key: (y,)}, TypeError, "got (float64[2],)."),
            (
                {"next_input": lambda y, key: "a"},
                TypeError,
                "{name}: next_input: expected an array of numbers, got str.",
            ),
            (
                {"tokens": np.ones((3, 2), np.int8)},
                TypeError,
                "expected next_input(y, key) to return one input of the layer, int8[2], got float",
            ),
            ({"length": 9}, ValueError, "3, "),
            ({"next_input": gaussian()}, TypeError, "gaussian: expected outputs as"),
            (
                {"tokens": XS[None], "layer": recur.batch(HALVE), "length": [1, 2]},
                ValueError,
                "[1]",
            ),
        ],
    ),
    *rows(
        ("free_running", "generate"),
        INPUTS,
        [
            (
                {"next_input": bernoulli()},
                TypeError,
                "bernoulli: expected a typed key to sample with, got None. Pass one, such as",
            ),
        ],
    ),
    *rows(
        ("free_running", "scheduled_sampling", "generate"),
        DECODERS,
        [({"tokens": XS}, TypeError, "got float64. For inputs that are not tokens, pass next_in")],
    ),
    *rows(
        ("teacher_forcing",),
        DECODERS,
        [({"tokens": XS}, TypeError, "float64. For inputs that are not tokens, call the layer.")],
    ),
    *rows(
        ("generate",),
        INPUTS,
        [
            *(
                (
                    {name: value},
                    ValueError,
                    f"expected no {name} with next_input, got {name}={value!r}. Use steps for",
                )
                for name, value in (
                    ("max_tokens", 5),
                    ("min_tokens", 1),
                    ("eos", 0),
                    ("forbidden", [1]),
                )
            ),
            *(
                ({"steps": value}, ValueError, NO_WHOLE % ("steps", 1) + f"{value!r}.")
                for value in (None, 0, 1.5, "a")
            ),
        ],
    ),
    *rows(
        ("generate",),
        DECODERS,
        [({"steps": 3}, ValueError, "expected no steps without next_input, got steps=3. Use max")],
    ),
]
DENSITIES = {"bernoulli": bernoulli, "gaussian": gaussian, "gaussian_mixture": gaussian_mixture}
OF_DENSITIES = [
    *(
        Row(name, functools.partial(make, value), error, f"{name}: {sentence}")
        for name, make in DENSITIES.items()
        for value, error, sentence in (
            (-1, ValueError, "expected a finite temperature of at least 0, got -1."),
            (np.nan, ValueError, "expected a finite temperature of at least 0, got nan."),
            (np.inf, ValueError, "expected a finite temperature of at least 0, got inf."),
            ("a", TypeError, "temperature: expected one number, got 'a'."),
            (None, TypeError, "temperature: expected one number, got None."),
            (np.ones(2), TypeError, "temperature: expected one number, got float64[2]."),
        )
    ),
    *(
        Row(name, functools.partial(DENSITIES[name](), y, KEY), error, sentence)
        for name, y, error, sentence in (
            ("bernoulli", "a", TypeError, "logits: expected an array of numbers, got str."),
            ("bernoulli", np.ones(2, complex), TypeError, "logits: expected real numbers, got c"),
            ("gaussian", XS, TypeError, "expected outputs as a tuple (means, stddevs), got float"),
            ("gaussian", (XS,), TypeError, "a tuple (means, stddevs), got (float64[3,2],)."),
            ("gaussian", (XS, "a"), TypeError, "stddevs: expected an array of numbers, got str."),
            ("gaussian", (XS, XS[0]), ValueError, "stddevs of the shape [3, 2], got [2]."),
            ("gaussian_mixture", (XS, XS), TypeError, "a tuple (logits, means, stddevs), got ("),
            (
                "gaussian_mixture",
                (XS[:, 0], XS[:2], XS),
                ValueError,
                "expected means of the shape [3, 2], got [2, 2].",
            ),
            ("gaussian_mixture", (XS[:, 0], XS, XS.T), ValueError, "stddevs of the shape [3, 2]"),
            ("gaussian_mixture", (XS, XS, XS), ValueError, "means of the shape [3, 2, 2], got [3"),
        )
    ),
    *(
        Row(name, functools.partial(DENSITIES[name](), y, key), error, sentence)
        for name, y in (
            ("bernoulli", LOGITS),
            ("gaussian", (LOGITS, LOGITS)),
            ("gaussian_mixture", (LOGITS, XS[[0] * 5], XS[[0] * 5])),
        )
        for key, error, sentence in [
            *NO_KEYS,
            (None, TypeError, f"{name}: expected a typed key to sample with, got None. Pass one"),
        ]
    ),
]
ROWS = [
    *OF_CTC,
    *OF_DECODERS,
    *OF_INPUTS,
    *OF_DENSITIES,
    *OF_CHOICES,
    *OF_SEARCHES,
    *OF_BEAMS,
    *OF_STEPS,
    *OF_RATES,
    *OF_CHOOSERS,
    *NO_CHOOSERS,
    *OF_NUMBERS,
    *rows(
        ("generate",),
        DECODERS,
        [({"choose": categorical}, TypeError, "a typed key to sample with")],
    ),
]


@each_row(ROWS)
def test_wrong_input(row):
    row.check()


def test_every_function_has_five():
    check_five_rows(decode, ROWS)
