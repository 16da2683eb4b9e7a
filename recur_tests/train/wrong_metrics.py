"""Wrong inputs of losses and metrics, for `test_wrong_input`."""

import functools

import jax
import numpy as np

from recur.train import (
    accumulate,
    accuracy,
    average,
    bleu,
    character_error_rate,
    confusion_matrix,
    cross_entropy,
    ctc_loss,
    edit_distance,
    evaluate,
    f1_score,
    gaussian_mixture_nll,
    gaussian_nll,
    interval_coverage,
    mae,
    mase,
    masked_mean,
    quantile_loss,
    rmse,
    seasonal_naive_error,
    span_f1,
    token_error_rate,
    top_k_accuracy,
    word_error_rate,
)
from recur_tests.wrong_input import Row

NO_ARRAY = "expected an array of numbers, got "
LOGITS, CLASSES = np.zeros((3, 4)), np.array([0, 1, 2])
NUMBERS, FLAGS = np.ones(3), np.ones(3, bool)
TAGS = ("O", "B-X", "I-X")


def rows(function, arguments, changes):
    """A row for each change of the arguments."""
    return [
        Row(
            function.__name__,
            functools.partial(function, **{**arguments, **change}),
            error,
            sentence.format(name=function.__name__),
        )
        for change, error, sentence in changes
    ]


OF_MASKS = [
    ({"mask": "a"}, TypeError, f"{{name}}: mask: {NO_ARRAY}str."),
    ({"mask": CLASSES}, TypeError, "{name}: expected mask as bool flags, got int64."),
    ({"mask": FLAGS[:2]}, ValueError, "{name}: expected a mask of the shape [3], got [2]."),
]
OF_WEIGHTS = [
    ({"weights": "a"}, TypeError, f"{{name}}: weights: {NO_ARRAY}str."),
    ({"weights": FLAGS}, TypeError, "{name}: weights: expected real numbers, got bool."),
    ({"weights": NUMBERS[:2]}, ValueError, "expected weights of the shape [3], got [2]."),
    ({"weights": -NUMBERS}, ValueError, "{name}: expected weights of at least 0, got -1.0 at [0]."),
]
SMOOTHED = rows(
    cross_entropy,
    {"logits": LOGITS, "targets": CLASSES},
    [
        ({"class_weights": "a"}, TypeError, f"{{name}}: class_weights: {NO_ARRAY}str."),
        ({"class_weights": NUMBERS}, ValueError, "class_weights of shape [4], one for each class"),
        ({"class_weights": LOGITS[0] * 1j}, TypeError, "expected real numbers, got complex128."),
        *(
            ({"label_smoothing": value}, ValueError, "expected label_smoothing in [0, 1), got ")
            for value in (1.0, -0.1, None, "a", True)
        ),
    ],
)
GAUSSIAN = {name: np.ones((3, 2)) for name in ("means", "stddevs", "targets")}
MIXTURE = {
    "logits": LOGITS,
    "means": np.ones((3, 4, 2)),
    "stddevs": np.ones((3, 4, 2)),
    "targets": np.ones((3, 2)),
}
QUANTILE = {"predicted": np.ones((3, 2)), "targets": NUMBERS, "quantiles": (0.1, 0.9)}
CTC = {"logits": np.zeros((2, 5, 4)), "targets": np.array([[1, 2], [3, 3]])}
OF_LOSSES = [
    *SMOOTHED,
    *rows(
        gaussian_nll,
        GAUSSIAN,
        [
            *OF_MASKS,
            ({"means": None}, TypeError, f"{{name}}: means: {NO_ARRAY}NoneType."),
            ({"means": NUMBERS * 1j}, TypeError, "{name}: means: expected real numbers, got comp"),
            (
                {"targets": NUMBERS},
                ValueError,
                "{name}: expected means of shape [..., O], here [3]",
            ),
            (
                {"means": NUMBERS},
                ValueError,
                "expected means of shape [..., O], here [3, 2], got [",
            ),
            (dict.fromkeys(GAUSSIAN, 1.0), ValueError, "of shape [..., O], here [], got []."),
            ({"stddevs": np.zeros((3, 2))}, ValueError, "stddevs above 0, got 0.0 at [0, 0]."),
            (
                {"stddevs": np.full((3, 2), np.nan)},
                ValueError,
                "stddevs above 0, got nan at [0, 0]",
            ),
        ],
    ),
    *rows(
        gaussian_mixture_nll,
        MIXTURE,
        [
            *OF_MASKS,
            ({"logits": "a"}, TypeError, f"{{name}}: logits: {NO_ARRAY}str."),
            ({"logits": LOGITS[:2]}, ValueError, "means of shape [..., K, O], here [2, 4, 2], got"),
            (
                {"targets": NUMBERS},
                ValueError,
                "means of shape [..., K, O], here [3, 4, 3], got [3",
            ),
            (
                {"targets": np.ones((2, 2))},
                ValueError,
                "targets of shape [..., O], here [3, 2], got",
            ),
            (
                {"stddevs": -MIXTURE["stddevs"]},
                ValueError,
                "stddevs above 0, got -1.0 at [0, 0, 0]",
            ),
        ],
    ),
    *rows(
        quantile_loss,
        QUANTILE,
        [
            *OF_MASKS,
            ({"targets": FLAGS}, TypeError, "{name}: targets: expected real numbers, got bool."),
            (
                {"predicted": NUMBERS},
                ValueError,
                "predicted of shape [..., Q], here [3, 2], got [3]",
            ),
            *(
                ({"quantiles": value}, ValueError, "{name}: expected quantiles as numbers above 0")
                for value in (0.5, (), "a", None, (0, 0.5), (0.5, 1.0), (True,), ("a",))
            ),
        ],
    ),
    *rows(
        ctc_loss,
        CTC,
        [
            ({"logits": None}, TypeError, f"{{name}}: logits: {NO_ARRAY}NoneType."),
            (
                {"logits": CTC["logits"] > 0},
                TypeError,
                "{name}: expected logits as floats, got bool",
            ),
            ({"targets": LOGITS}, TypeError, "{name}: expected integer targets, got float64."),
            ({"targets": CLASSES}, ValueError, "targets of shape [..., N], got [2, 5, 4] and [3]."),
            ({"targets": np.array(1)}, ValueError, "of shape [..., N], got [2, 5, 4] and []."),
            (
                {"logits": LOGITS},
                ValueError,
                "with T > 0 and targets of shape [..., N], got [3, 4]",
            ),
            ({"logits": np.zeros((2, 0, 4))}, ValueError, "with T > 0, got [2, 0, 4]."),
            ({"blank": -1}, ValueError, "{name}: blank: expected a whole number of at least 0"),
            ({"blank": 4}, ValueError, "{name}: expected blank from 0 to 3, got 4."),
            ({"blank": 2}, ValueError, "{name}: expected targets without the blank, 2, got "),
            ({"mask": FLAGS}, ValueError, "expected a mask of the shape [2, 5], got [3]."),
            ({"target_mask": CLASSES}, TypeError, "expected target_mask as bool flags, got int64."),
            ({"target_mask": FLAGS}, ValueError, "a target_mask of the shape [2, 2], got [3]."),
            (
                {"target_mask": np.array([[True, True], [False, True]])},
                ValueError,
                "{name}: expected targets padded on the right, got a mask with holes.",
            ),
            (
                {"targets": CTC["targets"] + 1},
                ValueError,
                "count from 0 to 3, got 4 at step 0 of row",
            ),
            (
                {"logits": np.zeros((2, 2, 4))},
                ValueError,
                "at least 3 frames for row 1, one for each target and one between equal targets",
            ),
            (
                {"mask": np.arange(5) < np.array([[1], [3]])},
                ValueError,
                "{name}: expected at least 2 frames for row 0",
            ),
        ],
    ),
    *rows(masked_mean, {"values": NUMBERS}, OF_WEIGHTS),
]
OF_CLASSES = [
    *OF_MASKS,
    *OF_WEIGHTS,
    ({"targets": "a"}, TypeError, f"{{name}}: targets: {NO_ARRAY}str."),
    ({"targets": NUMBERS}, TypeError, "{name}: expected integer targets, got float64."),
    ({"targets": CLASSES[:2], "mask": None}, ValueError, "{name}: expected targets of shape [3],"),
]
OF_CHOICES = [
    *OF_CLASSES,
    ({"predicted": None}, TypeError, f"{{name}}: predicted: {NO_ARRAY}NoneType."),
    (
        {"predicted": FLAGS},
        TypeError,
        "expected predicted as logits, floats [..., V], or as integer",
    ),
    ({"predicted": CLASSES[:2]}, ValueError, "{name}: expected targets of shape [2], one for each"),
    ({"predicted": LOGITS, "targets": CLASSES + 9}, ValueError, "that count from 0 to 3, got 9 at"),
]
OF_COUNTS = [
    *OF_CHOICES,
    ({"predicted": CLASSES + 9}, ValueError, "predicted classes that count from 0 to 3, got 9 at"),
    (
        {"targets": CLASSES - 1},
        ValueError,
        "{name}: expected targets that count from 0 to 3, got -1",
    ),
    *(
        ({"num_classes": value}, ValueError, "num_classes: expected a whole number of at least 1")
        for value in (0, 2.0, "a", None, True)
    ),
]
CHOICES = {"predicted": CLASSES, "targets": CLASSES}
OF_AVERAGES = [
    ({"average": value}, ValueError, '{name}: expected average as "macro" or "micro", got ')
    for value in (None, "weighted", 3)
]
OF_CLASSIFICATION = [
    *rows(accuracy, CHOICES, OF_CHOICES),
    *rows(
        top_k_accuracy,
        {"logits": LOGITS, "targets": CLASSES, "k": 2},
        [
            *OF_CLASSES,
            ({"logits": LOGITS > 0}, TypeError, "{name}: expected logits as floats, got bool."),
            (
                {"targets": CLASSES + 9},
                ValueError,
                "targets that count from 0 to 3, got 9 at step 0.",
            ),
            *(
                ({"k": value}, ValueError, "{name}: k: expected a whole number of at least 1, got")
                for value in (0, 1.5, None)
            ),
        ],
    ),
    *rows(confusion_matrix, {**CHOICES, "num_classes": 4}, OF_COUNTS),
    *rows(f1_score, {**CHOICES, "num_classes": 4}, [*OF_COUNTS, *OF_AVERAGES]),
    *rows(
        span_f1,
        {**CHOICES, "tags": TAGS},
        [
            *OF_MASKS,
            *OF_AVERAGES,
            ({"reset": CLASSES}, TypeError, "{name}: expected reset as bool flags, got int64."),
            (
                {"reset": FLAGS[:2]},
                ValueError,
                "{name}: expected a reset of the shape [3], got [2].",
            ),
            (
                {"predicted": FLAGS},
                TypeError,
                "expected predicted as logits, floats [..., V], or as",
            ),
            (
                {"predicted": CLASSES + 1},
                ValueError,
                "predicted classes that count from 0 to 2, got 3",
            ),
            (
                {"targets": CLASSES - 1},
                ValueError,
                "expected targets that count from 0 to 2, got -1",
            ),
            (
                {"predicted": LOGITS},
                ValueError,
                "{name}: expected logits of 3 classes, [..., 3], got [",
            ),
            (
                {"predicted": 1, "targets": 1},
                ValueError,
                "targets of shape [..., T], got one number",
            ),
            *(
                ({"tags": value}, ValueError, "{name}: expected tags as the names of tags, such as")
                for value in ("O", (), None, 3)
            ),
            *(
                (
                    {"tags": ("O", value)},
                    ValueError,
                    "expected each tag as O or a prefix and a type",
                )
                for value in ("X-PER", "O-PER", "", 3, "PER")
            ),
        ],
    ),
]
PAIR = {"predicted": NUMBERS, "targets": NUMBERS}
OF_PAIRS = [
    *OF_MASKS,
    *OF_WEIGHTS,
    ({"predicted": "a"}, TypeError, f"{{name}}: predicted: {NO_ARRAY}str."),
    (
        {"targets": NUMBERS * 1j},
        TypeError,
        "{name}: targets: expected real numbers, got complex128",
    ),
    ({"targets": NUMBERS[:2]}, ValueError, "predicted, targets of the same shape, got [3], [2]."),
]
OF_REGRESSION = [
    *rows(rmse, PAIR, OF_PAIRS),
    *rows(mae, PAIR, OF_PAIRS),
    *rows(
        mase,
        {**PAIR, "scale": 1.0},
        [
            *OF_PAIRS,
            (
                {"scale": NUMBERS},
                ValueError,
                "{name}: expected scale of shape [], one number for ea",
            ),
            ({"scale": 0.0}, ValueError, "{name}: expected scale above 0, got 0.0."),
            ({"scale": np.nan}, ValueError, "{name}: expected scale above 0, got nan."),
            (
                {"predicted": 1.0, "targets": 1.0},
                ValueError,
                "targets of shape [..., T], got one n",
            ),
        ],
    ),
    *rows(
        seasonal_naive_error,
        {"history": NUMBERS},
        [
            *OF_MASKS,
            ({"history": "a"}, TypeError, f"{{name}}: history: {NO_ARRAY}str."),
            ({"history": 1.0}, ValueError, "expected history of shape [..., T], got one number."),
            ({"season": 0}, ValueError, "{name}: season: expected a whole number of at least 1"),
        ],
    ),
    *rows(
        interval_coverage,
        {"lower": NUMBERS, "upper": NUMBERS, "targets": NUMBERS},
        [
            *OF_MASKS,
            *OF_WEIGHTS,
            ({"lower": FLAGS}, TypeError, "{name}: lower: expected real numbers, got bool."),
            ({"upper": 1.0}, ValueError, "upper, targets of the same shape, got [3], [], [3]."),
        ],
    ),
]


def step(batch):
    return average(batch)


OF_EVALUATION = [
    *rows(
        average,
        {"values": NUMBERS},
        [
            *OF_MASKS,
            *OF_WEIGHTS,
            ({"values": "a"}, TypeError, f"{{name}}: values: {NO_ARRAY}str."),
            ({"values": jax.random.key(0)}, TypeError, "expected values as numbers, got key<fry>."),
            ({"transform": 3}, TypeError, "{name}: transform: expected a function, got int."),
        ],
    ),
    *(
        row
        for function in (accumulate, evaluate)
        for row in rows(
            function,
            {"step": step, "batches": [NUMBERS]},
            [
                ({"step": 3}, TypeError, "{name}: step: expected a function, got int."),
                ({"batches": 3}, TypeError, "expected batches as an iterable, got int."),
                ({"batches": []}, ValueError, "{name}: expected at least one batch, got none."),
                (
                    {"step": lambda batch: 3.0},
                    TypeError,
                    '"loss": average(losses, mask)}}, got floa',
                ),
                ({"step": lambda batch: {}}, TypeError, "expected step to return metrics, such as"),
                ({"step": lambda batch: None}, TypeError, "expected step to return metrics, such"),
                (
                    {"step": lambda batch: {"a": step(batch), "b": 1.0}},
                    TypeError,
                    "{name}: expected step to return metrics, such as",
                ),
            ],
        )
    ),
    Row(
        "evaluate",
        lambda: evaluate(lambda batch: average(batch, transform=lambda x: x), [NUMBERS, NUMBERS]),
        TypeError,
        "merge: expected two metrics of the same type and options, got ",
    ),
    Row(
        "evaluate",
        lambda: evaluate(lambda batch: {batch: average(NUMBERS)}, "ab"),
        ValueError,
        "evaluate: expected step to return the same metrics for every batch, got ",
    ),
    Row(
        "evaluate",
        lambda: evaluate(lambda size: f1_score(CLASSES * 0, CLASSES * 0, num_classes=size), [1, 2]),
        ValueError,
        "merge: expected two metrics with sums of the same shapes, got ",
    ),
]
TEXTS = {"hypotheses": ["a b"], "references": ["a c"]}
OF_LISTS = [
    (
        {"hypotheses": []},
        ValueError,
        "{name}: expected as many hypotheses as references, got 0 and",
    ),
]
OF_STRINGS = [
    *OF_LISTS,
    *(
        ({"hypotheses": value}, TypeError, "{name}: expected hypotheses as a list of strings, got ")
        for value in ("a", None, 3, [3])
    ),
]
OF_TEXTS = [
    *rows(word_error_rate, TEXTS, OF_STRINGS),
    *rows(character_error_rate, TEXTS, OF_STRINGS),
    *rows(
        token_error_rate,
        TEXTS,
        [
            *OF_LISTS,
            *(
                ({"hypotheses": value}, TypeError, "expected hypotheses as a list, one for each")
                for value in ("a", None, 3)
            ),
            ({"references": [3]}, TypeError, "references: expected a sequence of tokens, got int."),
        ],
    ),
    *rows(
        edit_distance,
        {"hypothesis": "a", "reference": "b"},
        [
            *(
                ({"hypothesis": value}, TypeError, "hypothesis: expected a sequence of tokens, got")
                for value in (None, 3, {1, 2}, np.ones((2, 2)))
            ),
            (
                {"reference": [[1]]},
                TypeError,
                "{name}: reference: expected tokens that can be hashed",
            ),
        ],
    ),
    *rows(
        bleu,
        TEXTS,
        [
            *OF_STRINGS,
            ({"references": "a"}, TypeError, "{name}: expected references as a list, got str."),
            (
                {"references": [3]},
                TypeError,
                "{name}: expected references as a list of strings, got",
            ),
            (
                {"references": [[]]},
                ValueError,
                "at least one reference for each hypothesis, got none",
            ),
            ({"tokenize": "a"}, ValueError, "{name}: expected tokenize as one of none, zh, 13a"),
            ({"lowercase": 1}, TypeError, "{name}: lowercase: expected True or False, got 1."),
        ],
    ),
]
ROWS = [
    *OF_LOSSES,
    *OF_CLASSIFICATION,
    *OF_REGRESSION,
    *OF_EVALUATION,
    *OF_TEXTS,
]
