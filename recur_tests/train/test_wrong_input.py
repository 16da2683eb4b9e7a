"""Wrong inputs of `recur.train`: each is an error that says what was expected."""

import collections
import functools
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax

import recur
from recur import train
from recur.train import (
    Checkpoints,
    JsonLines,
    Report,
    TensorBoard,
    WeightsAndBiases,
    bits,
    by_path,
    chunked_cross_entropy,
    chunked_cross_entropy_sum,
    clip_by_average_norm,
    cross_entropy,
    dequantize_params,
    early_stopping,
    ema_params,
    every,
    every_epoch,
    fit,
    gradient_by_device,
    init_state,
    l1,
    l2,
    make_document_loss,
    make_sharded_step,
    make_step,
    masked_mean,
    params_ema,
    perplexity,
    quantize_params,
    read_json_lines,
    record_norms,
    recorded_norms,
    weight_drop,
    weight_noise,
)
from recur_tests.train import wrong_metrics, wrong_params_file
from recur_tests.wrong_input import Row, each_row

KEY = jax.random.key(0)
LOGITS, TARGETS = np.zeros((3, 4)), np.array([0, 1, 2])
PARAMS = {"kernel": np.ones(3), "bias": np.ones(2)}
OPTIMIZER = optax.sgd(0.1)
NO_ARRAY = "expected an array of numbers, got "
NO_KEYS = [
    (0, TypeError, "expected a typed key, got 0. Make one with jax.random.key(0)"),
    ("a", TypeError, "expected a typed key, got 'a'. Make one with jax.random.key(0)"),
    (jax.random.PRNGKey(0), TypeError, "expected a typed key, got uint32[2]. Make one with"),
    (jax.random.split(KEY, 2), ValueError, "expected one key, got an array of keys of shape (2,)"),
]


def loss_of(w, carry, batch, key):
    return jnp.square(w * batch).mean(), (carry, {})


def returns(value):
    """A loss that returns `value`, without a carry and metrics."""
    return lambda w, carry, batch, key: (value, (carry, {}))


def rows(names, calls, changes):
    return [
        Row(name, functools.partial(calls[name], **change), error, sentence.format(name=name))
        for name in names
        for change, error, sentence in changes
    ]


def of_losses(function):
    return lambda hs=LOGITS, targets=TARGETS, mask=None: function(hs, targets, mask)


def of_chunks(function):
    def call(hs=LOGITS, targets=TARGETS, mask=None, to_logits=lambda h: h, size=2, **options):
        return function(to_logits, hs, targets, mask, size=size, **options)

    return call


CHUNKED = {
    "chunked_cross_entropy": of_chunks(chunked_cross_entropy),
    "chunked_cross_entropy_sum": of_chunks(chunked_cross_entropy_sum),
}
LOSSES = {"cross_entropy": of_losses(cross_entropy), **CHUNKED}
OF_LOSSES = rows(
    LOSSES,
    LOSSES,
    [
        ({"hs": 1.0}, ValueError, "{name}: expected a row of numbers for each target, got one num"),
        ({"targets": None}, TypeError, f"{{name}}: targets: {NO_ARRAY}NoneType."),
        ({"targets": "a"}, TypeError, f"{{name}}: targets: {NO_ARRAY}str."),
        ({"targets": [[1], [1, 2]]}, TypeError, f"{{name}}: targets: {NO_ARRAY}list."),
        ({"targets": 1.5}, TypeError, "{name}: expected integer targets, got float64."),
        ({"targets": TARGETS > 0}, TypeError, "{name}: expected integer targets, got bool."),
        ({"targets": TARGETS[:2]}, ValueError, "{name}: expected targets of shape [3], one for"),
        ({"targets": TARGETS + 9}, ValueError, "targets that count from 0 to 3, got 9 at step 0."),
        ({"targets": TARGETS - 1}, ValueError, "targets that count from 0 to 3, got -1 at step 0."),
        ({"mask": "a"}, TypeError, f"{{name}}: mask: {NO_ARRAY}str."),
        ({"mask": TARGETS}, TypeError, "{name}: expected mask as bool flags, got int64."),
        ({"mask": TARGETS[:2] > 0}, ValueError, "{name}: expected a mask of the shape [3], got [2"),
    ],
)
OF_LOGITS = rows(
    ("cross_entropy",),
    LOSSES,
    [
        ({"hs": None}, TypeError, f"cross_entropy: logits: {NO_ARRAY}NoneType."),
        ({"hs": "a"}, TypeError, f"cross_entropy: logits: {NO_ARRAY}str."),
        ({"hs": LOGITS > 0}, TypeError, "cross_entropy: expected logits as floats, got bool."),
        ({"hs": LOGITS * 1j}, TypeError, "expected logits as floats, got complex128."),
        ({"hs": LOGITS.astype(int)}, TypeError, "expected logits as floats, got int64."),
    ],
)
OF_CHUNKS = rows(
    CHUNKED,
    CHUNKED,
    [
        ({"hs": None}, TypeError, f"{{name}}: hs: {NO_ARRAY}NoneType."),
        ({"class_weights": "a"}, TypeError, f"{{name}}: class_weights: {NO_ARRAY}str."),
        (
            {"class_weights": LOGITS[0] * 1j},
            TypeError,
            "{name}: class_weights: expected real numbers, got complex128.",
        ),
        (
            {"class_weights": np.ones(3)},
            ValueError,
            "{name}: expected class_weights of shape [4], one for each class, got [3].",
        ),
        *(
            (
                {"label_smoothing": value},
                ValueError,
                f"{{name}}: expected label_smoothing in [0, 1), got {value!r}",
            )
            for value in (1.0, -0.1, "a", None)
        ),
        ({"to_logits": None}, TypeError, "{name}: to_logits: expected a function, got NoneType."),
        ({"to_logits": LOGITS}, TypeError, "{name}: to_logits: expected a function, got ndarray."),
        ({"to_logits": lambda h: None}, TypeError, f"what to_logits returns: {NO_ARRAY}NoneType."),
        ({"to_logits": lambda h: "a"}, TypeError, f"what to_logits returns: {NO_ARRAY}str."),
        *(
            (
                {"to_logits": to_logits},
                TypeError,
                f"{{name}}: expected to_logits to return floats [2, V], a row for each {came}.",
            )
            for to_logits, came in (
                (lambda h: h[0], "of 2 steps, got float64[4]"),
                (lambda h: h[:1], "of 2 steps, got float64[1,4]"),
                (lambda h: h > 0, "of 2 steps, got bool[2,4]"),
                (lambda h: (h, h), "of 2 steps, got float64[2,2,4]"),
            )
        ),
        *(
            (
                {"size": size},
                ValueError,
                f"{{name}}: size: expected a whole number of at least 1, got {size!r}.",
            )
            for size in (0, -1, 1.5, "a", None, True)
        ),
    ],
)
OF_MEANS = [
    *(
        Row(function.__name__, functools.partial(function, value), TypeError, f"{what}: {sentence}")
        for function, what in (
            (masked_mean, "masked_mean: values"),
            (perplexity, "perplexity: nats"),
            (bits, "bits: nats"),
        )
        for value, sentence in (
            (None, f"{NO_ARRAY}NoneType."),
            ("a", f"{NO_ARRAY}str."),
            ([[1], [1, 2]], f"{NO_ARRAY}list."),
            ({"a": 1}, f"{NO_ARRAY}dict."),
        )
    ),
    *(
        Row(
            function.__name__,
            functools.partial(function, value),
            TypeError,
            f"{function.__name__}: nats: expected real numbers, got {came}.",
        )
        for function in (perplexity, bits)
        for value, came in ((1j, "complex128"), (True, "bool"), (KEY, "key<fry>"))
    ),
    Row("masked_mean", lambda: masked_mean(KEY), TypeError, "values as numbers, got key<fry>."),
    Row("masked_mean", lambda: masked_mean(LOGITS, LOGITS), TypeError, "mask as bool flags, got f"),
    Row(
        "masked_mean", lambda: masked_mean(LOGITS, True), ValueError, "of the shape [3, 4], got []"
    ),
]
OF_CLIPPING = [
    *(
        Row(
            "clip_by_average_norm",
            functools.partial(clip_by_average_norm, **{name: value}),
            ValueError,
            f"clip_by_average_norm: {name}: expected a finite number, got {value!r}.",
        )
        for name in ("factor", "decay")
        for value in (None, "a", True, [1.0], float("nan"), float("inf"), 1j)
    ),
    *(
        Row(
            "clip_by_average_norm",
            functools.partial(clip_by_average_norm, **change),
            ValueError,
            "clip_by_average_norm: expected factor > 0 and 0 <= decay < 1, got factor=",
        )
        for change in ({"factor": 0}, {"factor": -1}, {"decay": 1.0}, {"decay": -0.1})
    ),
]
OF_NORMS = [
    Row("record_norms", lambda: record_norms(3), TypeError, "optimizer: expected an Optax transf"),
    Row("record_norms", lambda: record_norms(optax.adam), TypeError, "adam(1e-3), got function."),
    Row("record_norms", lambda: record_norms(OPTIMIZER, 1.0), TypeError, "adam(1e-3), got float."),
    Row(
        "record_norms",
        lambda: record_norms(OPTIMIZER, depth=0),
        ValueError,
        "record_norms: depth: expected a whole number of at least 1, got 0.",
    ),
    Row(
        "record_norms",
        lambda: record_norms(OPTIMIZER).update(PARAMS, record_norms(OPTIMIZER).init(PARAMS)),
        ValueError,
        "record_norms: expected params in update(updates, state, params), got None.",
    ),
    *(
        Row(
            "recorded_norms",
            functools.partial(recorded_norms, state),
            ValueError,
            "recorded_norms: expected record_norms in the optimizer, got none. Wrap the optimizer",
        )
        for state in (None, 3, PARAMS, OPTIMIZER.init(PARAMS), record_norms(OPTIMIZER))
    ),
]
OF_AVERAGES = [
    *(
        Row(
            "params_ema",
            functools.partial(params_ema, decay),
            ValueError,
            f"params_ema: decay: expected a finite number, got {decay!r}.",
        )
        for decay in (None, "a", True, [0.5], float("nan"))
    ),
    *(
        Row(
            "params_ema",
            functools.partial(params_ema, decay),
            ValueError,
            f"params_ema: expected decay in [0, 1], got {decay}.",
        )
        for decay in (1.5, -0.1)
    ),
    Row(
        "params_ema",
        lambda: params_ema(0.5).update(PARAMS, params_ema(0.5).init(PARAMS)),
        ValueError,
        "params_ema: expected params in update(updates, state, params), got None.",
    ),
    *(
        Row("ema_params", functools.partial(ema_params, state), TypeError, "expected a TrainState")
        for state in (None, 3, PARAMS, params_ema(0.5).init(PARAMS))
    ),
    *(
        Row(
            "ema_params",
            lambda parts=parts: ema_params(init_state(PARAMS, optax.chain(*parts), KEY)),
            ValueError,
            f"ema_params: expected one params_ema in the optimizer, got {count}.",
        )
        for parts, count in (((OPTIMIZER,), "none"), ((params_ema(0.5), params_ema(0.9)), 2))
    ),
]


def of_weights(function):
    return lambda params=PARAMS, where=None: function(params, where)


WEIGHTS = {
    "l1": of_weights(l1),
    "l2": of_weights(l2),
    "quantize_params": of_weights(quantize_params),
    "weight_drop": lambda params=PARAMS, where=None, key=KEY: weight_drop(0.5, where)(key, params),
    "weight_noise": lambda params=PARAMS, where=None, key=KEY: weight_noise(1.0, where)(
        key, params
    ),
}
WHERE = (
    "{name}: expected where as a pytree of bools like params, or a function that returns one, such "
    'as by_path("*kernel"), got '
)
NUMBERS = "expected an array of numbers or flags, got str."
OF_WEIGHTS = [
    *rows(
        WEIGHTS,
        WEIGHTS,
        [
            ({"params": "a"}, TypeError, f"{{name}}: params: {NUMBERS}"),
            ({"params": {"w": "a"}}, TypeError, f"{{name}}: params['w']: {NUMBERS}"),
            ({"where": "*kernel"}, TypeError, f"{WHERE}str[]."),
            ({"where": 3}, TypeError, f"{WHERE}int[]."),
            ({"where": lambda params: "a"}, TypeError, f"{WHERE}str[]."),
            ({"where": lambda params: None}, ValueError, f"{WHERE}None."),
            ({"where": [True, False]}, ValueError, f"{WHERE}[bool[], bool[]]. The params are"),
        ],
    ),
    *(
        row
        for key, error, sentence in NO_KEYS
        for row in rows(("weight_drop", "weight_noise"), WEIGHTS, [({"key": key}, error, sentence)])
    ),
    *(
        Row(
            "weight_drop",
            functools.partial(weight_drop, rate, None),
            ValueError,
            f"weight_drop: expected rate in [0, 1), got {rate!r}",
        )
        for rate in (1.0, -0.1, None, "a", True, [0.5], float("nan"))
    ),
    *(
        Row(
            "weight_noise",
            functools.partial(weight_noise, stddev),
            ValueError,
            f"weight_noise: expected stddev of at least 0, got {stddev!r}.",
        )
        for stddev in (-1.0, None, "a", True, [0.5], float("nan"), float("inf"))
    ),
    *(
        Row(
            "by_path",
            functools.partial(by_path, pattern),
            TypeError,
            f"by_path: expected patterns as strings, got {pattern!r}.",
        )
        for pattern in (3, None, ["a"], b"a", True)
    ),
    Row("by_path", by_path, ValueError, 'at least one pattern, such as "*kernel", got none.'),
    Row(
        "by_path", lambda: by_path("k")(PARAMS), ValueError, "got 'k'. The paths are bias, kernel."
    ),
]


def state_of(params=PARAMS, optimizer=OPTIMIZER, key=KEY, carry=None):
    return init_state(params, optimizer, key, carry)


STATE = init_state(np.asarray(2.0), OPTIMIZER, KEY)
REPORT = Report(1, 0, STATE, {"loss": 1.0})


def step_of(loss=loss_of, optimizer=OPTIMIZER, state=STATE):
    return make_step(loss, optimizer)(state, jnp.ones(4))


def sharded_step_of(loss=loss_of, optimizer=OPTIMIZER, state=STATE, batch=np.ones(4), **options):
    return make_sharded_step(loss, optimizer, **options)(state, batch)


def gradient_of(loss=loss_of, batch=np.ones(4), carry=None, key=KEY, **options):
    return gradient_by_device(loss, **options)(jnp.asarray(2.0), carry, batch, key)


STEPS = {
    "init_state": state_of,
    "make_step": step_of,
    "make_sharded_step": sharded_step_of,
    "gradient_by_device": gradient_of,
    "TrainState": step_of,
}
NO_PAIR = "loss: expected it to return (value, (carry, metrics)), with metrics as a dict, got "
OF_STEPS = [
    *rows(
        ("init_state",),
        STEPS,
        [
            *(({"key": key}, error, sentence) for key, error, sentence in NO_KEYS),
            ({"params": {"w": "a"}}, TypeError, f"params['w']: {NUMBERS}"),
            (
                {"params": jnp.tanh},
                TypeError,
                "params: expected an array of numbers or flags, got ",
            ),
            ({"carry": {"h": "a"}}, TypeError, f"carry['h']: {NUMBERS}"),
        ],
    ),
    *rows(
        ("init_state", "make_step", "make_sharded_step"),
        STEPS,
        [
            (
                {"optimizer": optimizer},
                TypeError,
                f"transformation, such as optax.adam(1e-3), got {type(optimizer).__name__}.",
            )
            for optimizer in (None, "sgd", 0.1, optax.sgd)
        ],
    ),
    *rows(
        ("make_step", "make_sharded_step", "gradient_by_device"),
        STEPS,
        [
            ({"loss": None}, TypeError, "loss: expected a function, got NoneType."),
            ({"loss": 3}, TypeError, "loss: expected a function, got int."),
            ({"loss": lambda w, carry, batch, key: w}, TypeError, f"{NO_PAIR}float64[]."),
            ({"loss": lambda w, *rest: (w, {})}, TypeError, f"{NO_PAIR}(float64[], {{{{}}}})."),
            ({"loss": lambda w, *rest: (w, (None, 3))}, TypeError, NO_PAIR),
            ({"loss": returns(np.ones(3))}, ValueError, "a scalar as its value, got float64[3]."),
            (
                {"loss": returns(None)},
                ValueError,
                "loss: expected a scalar as its value, got None.",
            ),
            ({"loss": returns(np.int32(1))}, TypeError, "a float as its value, got int32[]."),
            (
                {"loss": returns(np.array(1j))},
                TypeError,
                "a float as its value, got complex128[].",
            ),
            (
                {"loss": lambda w, *rest: (w, (None, {"m": "a"}))},
                TypeError,
                f"loss: metrics['m']: {NUMBERS}",
            ),
        ],
    ),
    *rows(
        ("TrainState", "make_sharded_step"),
        STEPS,
        [
            (
                {"state": state},
                TypeError,
                f"state: expected a TrainState, as init_state makes it, got {type(state).__name__}",
            )
            for state in (None, 3, "a", PARAMS, tuple(STATE))
        ],
    ),
    *rows(
        ("make_sharded_step", "gradient_by_device"),
        STEPS,
        [
            *(
                (
                    {"devices": devices},
                    TypeError,
                    f"expected a list of devices, such as jax.devices()[:2], got {devices!r}.",
                )
                for devices in (3, "cpu", ["cpu"], [None])
            ),
            ({"devices": []}, ValueError, "devices: expected at least one device, got none."),
            ({"weight": 3}, TypeError, "weight: expected a function, got int."),
            ({"weight": lambda batch: None}, TypeError, "weight: expected one number, got None."),
            ({"weight": lambda batch: batch}, TypeError, "weight: expected one number, got float"),
            ({"batch": None}, ValueError, "of the same number of rows, got the shapes []."),
            ({"batch": "a"}, TypeError, f"batch: {NUMBERS}"),
            ({"batch": 3.0}, ValueError, "of the same number of rows, got the shapes [[]]."),
            ({"batch": (np.ones(3), np.ones(4))}, ValueError, "got the shapes [[3], [4]]."),
        ],
    ),
    *(
        row
        for key, error, sentence in NO_KEYS
        for row in rows(("gradient_by_device",), STEPS, [({"key": key}, error, sentence)])
    ),
]


def fit_of(step=make_step(loss_of, OPTIMIZER), state=STATE, steps=1, **options):
    return fit(step, state, [np.ones(4)], steps=steps, **options)


def early_stopping_of(metric="valid", patience=1, **options):
    return early_stopping(metric, patience, **options)


def document_loss_of(losses=print, documents=(np.arange(3),), **options):
    return make_document_loss(recur.batch(recur.scan(recur.gru(2))), losses, documents, **options)


LOOPS = {
    "fit": fit_of,
    "every": lambda count: every(count, print),
    "early_stopping": early_stopping_of,
    "every_epoch": every_epoch,
    "make_document_loss": document_loss_of,
}
NO_WHOLE = "{name}: %s: expected a whole number of at least %d, got "
OF_LOOPS = rows(
    ("fit",),
    LOOPS,
    [
        *(
            ({name: value}, ValueError, NO_WHOLE % (name, least) + f"{value!r}.")
            for name, least in (("steps", 0), ("report_every", 1))
            for value in (-1, 1.5, "a", True)
        ),
        (
            {"state": STATE._replace(step=np.arange(2))},
            ValueError,
            "fit: expected the same number of updates in all members of an ensemble, got [0, 1].",
        ),
        ({"callbacks": [lambda report: 3]}, TypeError, "a dict of numbers or None, got int."),
        ({"callbacks": [lambda r: {"a": "b"}]}, TypeError, "numbers, got str for 'a'."),
        ({"stop": 3}, TypeError, "fit: stop: expected a function, got int."),
        ({"explain": "x"}, TypeError, "fit: explain: expected a function, got str."),
        ({"epochs": 2}, ValueError, "fit: expected either steps or epochs, got 1 and 2."),
        ({"steps": None}, ValueError, "fit: expected either steps or epochs, got None and None."),
        (
            {"steps": None, "epochs": -1},
            ValueError,
            "fit: epochs: expected a whole number of at least 0, got -1.",
        ),
        ({"callbacks": [3]}, TypeError, "fit: a callback: expected a function, got int."),
        ({"step": 3}, TypeError, "fit: step: expected a function, got int."),
        ({"step": lambda state, batch: state}, TypeError, "return (state, metrics), with metrics"),
        ({"step": lambda state, batch: (state, {"a": "b"})}, TypeError, "the metrics of the step"),
        ({"state": STATE.params}, TypeError, "state: expected a TrainState, as init_state makes"),
    ],
) + rows(
    ("every",),
    LOOPS,
    [
        ({"count": value}, ValueError, NO_WHOLE % ("count", 1) + f"{value!r}.")
        for value in (0, -1, 1.5, "a", None, True)
    ],
)
OF_LOOPS += rows(
    ("early_stopping",),
    LOOPS,
    [
        *(
            ({"patience": value}, ValueError, NO_WHOLE % ("patience", 1) + f"{value!r}.")
            for value in (0, 1.5, "a", None)
        ),
        ({"metric": 3}, TypeError, "early_stopping: metric: expected a name, got int."),
        ({"min_delta": -1}, ValueError, "early_stopping: min_delta: expected at least 0, got -1"),
        ({"min_delta": "a"}, ValueError, "early_stopping: min_delta: expected a finite number"),
    ],
)
OF_LOOPS += rows(
    ("every_epoch",),
    LOOPS,
    [
        ({"callback": value}, TypeError, "every_epoch: callback: expected a function, got")
        for value in (3, None, "a", [], {})
    ],
) + rows(
    ("make_document_loss",),
    LOOPS,
    [
        ({"losses": 3}, TypeError, "make_document_loss: losses: expected a function, got int."),
        ({"width": 0}, ValueError, "make_document_loss: width: expected a whole number of at"),
        ({"documents": [np.arange(1)]}, ValueError, "at least 2 tokens"),
        ({"documents": [np.ones(3)]}, TypeError, "expected integer tokens, got float64."),
        ({"documents": []}, ValueError, "expected at least one document, got none."),
        ({"documents": 3}, TypeError, "expected a list of documents, got int."),
    ],
)
OF_LOOPS.append(
    Row("every", lambda: every(1, None), TypeError, "every: callback: expected a function, got")
)


def in_folder(use):
    """Calls `use` with a folder that is there while it runs."""

    def call():
        with tempfile.TemporaryDirectory() as folder:
            use(pathlib.Path(folder))

    return call


def of_file(read, content):
    def use(folder):
        path = folder / "metrics.jsonl"
        path.write_bytes(content)
        read(path)

    return in_folder(use)


def of_checkpoints(use, **options):
    def open_and_use(folder):
        with Checkpoints(folder, **options) as checkpoints:
            use(checkpoints)

    return in_folder(open_and_use)


def restore(checkpoints, like=STATE, step=None):
    checkpoints.save(STATE)
    checkpoints.restore(like, step)


def restore_params(like, step=None):
    def use(checkpoints):
        checkpoints.save(STATE)
        checkpoints.restore_params(like, step)

    return use


OF_FILES = [
    *(
        Row(read.__name__, of_file(read, content), ValueError, sentence)
        for read in (read_json_lines, JsonLines)
        for content, sentence in (
            (
                b"a\nb\n",
                "line 1: expected one JSON object a line, got 'a'. Correct or remove the line",
            ),
            (b'{"step": 1}\n[]\n', "line 2: expected one JSON object a line, got '[]'."),
            (b"3\n", "line 1: expected one JSON object a line, got '3'."),
            (b"null\n", "line 1: expected one JSON object a line, got 'null'."),
            (b"\xff\n", "metrics.jsonl: expected JSON lines in UTF-8, got"),
        )
    ),
    *(
        Row("JsonLines", of_file(JsonLines, content), ValueError, sentence)
        for content, sentence in (
            (b'{"loss": 2}\n', "the number of an update, got None. Correct or remove the line"),
            (b'{"step": "a"}\n', "the number of an update, got 'a'. Correct or remove the line"),
            (b'{"step": 1}\n', "expected a new file, got one with metrics up to update 1."),
        )
    ),
    *(
        Row(
            "JsonLines",
            in_folder(lambda folder, step=step: JsonLines(folder / "a", step)),
            ValueError,
            f"JsonLines: step: expected a whole number of at least 0, got {step!r}.",
        )
        for step in (-1, 1.5, "a", True)
    ),
    *(
        Row("Checkpoints", of_checkpoints(use), TypeError, sentence)
        for use, sentence in (
            (lambda each: each.save(None), "state: expected a TrainState"),
            (lambda each: each.save(STATE, metrics=[3]), "metrics: expected a dict of numbers"),
            (
                lambda each: each.save(STATE, metrics={"a": "b"}),
                "metrics: expected numbers, got str",
            ),
            (lambda each: each.save(STATE, unread=[3]), "unread: expected a dict of numbers"),
            (lambda each: each.restore(3), "Checkpoints.restore: like: expected a TrainState"),
            (lambda each: each.callback(1, [3]), "batches: expected an iterator with get_state()"),
        )
    ),
    *(
        Row(
            "Checkpoints",
            in_folder(lambda folder, best=best: Checkpoints(folder, best=best)),
            TypeError,
            "Checkpoints: best: expected the name of a metric, got",
        )
        for best in (3, ["loss"])
    ),
    *(
        Row(
            "Checkpoints",
            of_checkpoints(lambda each, step=step: restore(each, step=step)),
            ValueError,
            f"restore: step: expected a whole number of at least 0, got {step!r}.",
        )
        for step in ("a", 1.5, True, -1)
    ),
    *(
        Row(
            "Checkpoints",
            in_folder(functools.partial(Checkpoints, keep=keep)),
            ValueError,
            f"Checkpoints: keep: expected a whole number of at least 1, got {keep!r}.",
        )
        for keep in (0, -1, 1.5, "a", None, True)
    ),
    *(
        Row(
            "Checkpoints",
            of_checkpoints(functools.partial(Checkpoints.callback, every=count)),
            ValueError,
            f"Checkpoints.callback: every: expected a whole number of at least 1, got {count!r}.",
        )
        for count in (0, 1.5, None)
    ),
    Row(
        "Checkpoints",
        in_folder(lambda folder: Checkpoints(folder / "a*b")),
        ValueError,
        "expected a path without any of *?[",
    ),
    Row(
        "Checkpoints",
        of_checkpoints(lambda checkpoints: checkpoints.save(STATE, stream={1, 2})),
        TypeError,
        "stream: expected a value for JSON",
    ),
    Row(
        "Checkpoints",
        of_checkpoints(functools.partial(restore, step=9)),
        ValueError,
        "expected the update of a checkpoint, got 9; there are 0.",
    ),
    Row(
        "Checkpoints",
        of_checkpoints(functools.partial(restore, like=STATE._replace(params=PARAMS))),
        ValueError,
        "expected float64[2] at params/bias, as in like, but the checkpoint has nothing.",
    ),
    *(
        Row("Checkpoints", of_checkpoints(restore_params(*given)), error, sentence)
        for given, error, sentence in (
            (("a",), TypeError, "restore_params: like: params: expected numbers, which a checkpoi"),
            (({"w": 3.0},), ValueError, "expected float64[] at params/w, as in like, but the che"),
            ((3,), ValueError, "expected int64[] at params, as in like, but the checkpoint has f"),
            ((2.0, 1), ValueError, "expected the update of a checkpoint, got 1; there are 0."),
            ((2.0, "a"), ValueError, "Checkpoints.restore_params: step: expected a whole number"),
        )
    ),
    Row(
        "Checkpoints",
        of_checkpoints(lambda checkpoints: checkpoints.restore_params(STATE.params)),
        ValueError,
        "expected a checkpoint, got none.",
    ),
]
OF_LOGGERS = [
    *(
        Row(
            "TensorBoard",
            in_folder(lambda folder, step=step: TensorBoard(folder, step)),
            ValueError,
            f"TensorBoard: step: expected a whole number of at least 0, got {step!r}.",
        )
        for step in (-1, 1.5, "a", True)
    ),
    Row(
        "TensorBoard",
        in_folder(lambda folder: [TensorBoard(folder)(REPORT), TensorBoard(folder)]),
        ValueError,
        "expected a folder without events of TensorBoard, got one with some. Pass step=",
    ),
    *(
        Row(
            "WeightsAndBiases",
            functools.partial(WeightsAndBiases, run),
            TypeError,
            f"expected a run, as wandb.init returns it, got {type(run).__name__}.",
        )
        for run in (None, 3, "run", {"log": print}, PARAMS["bias"])
    ),
]
OF_QUANTIZED = [
    *(
        Row(
            "quantize_params",
            lambda value=value: quantize_params({"kernel": np.full((2, 3), value)}),
            ValueError,
            "quantize_params: 'kernel': expected finite weights, got NaN or infinity.",
        )
        for value in (np.nan, np.inf)
    ),
    Row(
        "quantize_params",
        lambda: quantize_params(quantize_params({"kernel": np.ones((2, 3))})),
        ValueError,
        "quantize_params: expected params without quantized weights, got a QuantizedArray. Pass",
    ),
    *(
        Row(
            "dequantize_params",
            lambda params=params: dequantize_params(params),
            TypeError,
            f"dequantize_params: params{place}: {NUMBERS}",
        )
        for params, place in (("a", ""), ({"w": "a"}, "['w']"), ([np.ones(2), "a"], "[1]"))
    ),
    *(
        Row(
            "dequantize_params",
            lambda shape=shape: dequantize_params(
                {"w": train.QuantizedArray(np.ones((4, 3), np.int8), np.ones(shape))}
            ),
            ValueError,
            "dequantize_params: 'w': expected a scale of shape [1, 3] for values of shape [4, 3], "
            f"got {list(shape)}.",
        )
        for shape in ((3,), (4, 1), ())
    ),
]
ROWS = [
    *OF_LOSSES,
    *OF_LOGITS,
    *OF_CHUNKS,
    *OF_MEANS,
    *OF_CLIPPING,
    *OF_NORMS,
    *OF_AVERAGES,
    *OF_WEIGHTS,
    *OF_QUANTIZED,
    *OF_STEPS,
    *OF_LOOPS,
    *OF_FILES,
    *OF_LOGGERS,
    *wrong_metrics.ROWS,
    *wrong_params_file.ROWS,
]
# Made by the library, never by hand.
RECORDS = {
    "ClipByAverageNormState",
    "LayerNorms",
    "RecordNormsState",
    "ParamsEmaState",
    "QuantizedArray",
    "Report",
    "Restored",
}
RECORDS |= {"Average", "Bleu", "ConfusionMatrix", "F1Score", "Metric"}


@each_row(ROWS)
def test_wrong_input(row):
    row.check()


def test_every_function_and_class_has_five():
    counts = collections.Counter(row.name for row in ROWS)
    assert {n: counts[n] for n in set(train.__all__) - RECORDS if counts[n] < 5} == {}
