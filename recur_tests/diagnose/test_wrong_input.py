"""Wrong inputs of plots: each is an error that says what was expected."""

import functools

import numpy as np

import recur
from recur import diagnose
from recur.diagnose import (
    computation_graph,
    confusion,
    curves,
    forecast_fan,
    heatmap,
    image_grid,
    panels,
    pen_strokes,
    phase_portrait,
    posteriorgram,
    saliency_html,
    scatter,
    spectrum,
    step_weights,
    tagged,
    text_map,
)
from recur_tests.diagnose.wrong_layers import ROWS as OF_LAYERS
from recur_tests.diagnose.wrong_reports import ROWS as OF_REPORTS
from recur_tests.wrong_input import NO_CELLS, Row, check_five_rows, each_row

X = np.ones(3)
LINE = ([1, 2], [3.0, 4.0])
LINES = [
    (3, TypeError, "expected lines as a mapping of names to positions and values, got int."),
    (
        None,
        TypeError,
        "expected lines as a mapping of names to positions and values, got NoneType.",
    ),
    ([LINE], TypeError, "expected lines as a mapping of names to positions and values, got list."),
    ({"a": 3}, TypeError, "expected a pair of positions and values for 'a', got int."),
    ({"a": ([1],)}, TypeError, "expected a pair of positions and values for 'a', got tuple."),
    (
        {"a": ([1], [1, 2])},
        ValueError,
        "expected as many positions as values for 'a', got 1 and 2.",
    ),
    ({"a": ([1, 2], ["x", "y"])}, TypeError, "'a': expected numbers, got list."),
    (
        {"a": (np.ones((2, 2)), np.ones(2))},
        ValueError,
        "expected as many positions as values for 'a', got [2, 2] and 2.",
    ),
]
OF_LINES = [
    Row(name, lambda draw=draw, lines=lines: draw(lines), error, f"{name}: {sentence}")
    for name, draw in {"curves": curves, "panels": lambda lines: panels({"title": lines})}.items()
    for lines, error, sentence in LINES
]


def of_panels(**options):
    return lambda: panels(**{"panels": {"title": {"a": LINE}}, **options})


def of_points(points=((1, 2),), labels=("a",), **options):
    return lambda: scatter(points, labels, **options)


POINTS = "expected points of shape [N, 2] and N labels, got points of shape "
OWN = [
    Row("panels", of_panels(panels={}), ValueError, "panels: expected at least one panel"),
    Row(
        "panels", of_panels(panels=3), TypeError, "panels as a mapping of titles to lines, got int"
    ),
    Row(
        "panels",
        of_panels(levels={"other": {}}),
        ValueError,
        "and levels only of these panels, got",
    ),
    Row("panels", of_panels(levels=[1]), TypeError, "levels as a mapping of titles to levels"),
    Row("panels", of_panels(levels={"title": 3}), TypeError, "levels of 'title' as a mapping"),
    Row("panels", of_panels(levels={"title": {"b": "x"}}), ValueError, "the level 'b': expected a"),
    Row("panels", of_panels(logarithmic="x"), TypeError, "logarithmic: expected True or False"),
    Row("panels", of_panels(smooth=None), TypeError, "panels: smooth: expected True or False"),
    Row("panels", of_panels(share_y=1), TypeError, "panels: share_y: expected True or False"),
    Row("curves", lambda: curves({}, logarithmic=1), TypeError, "logarithmic: expected True or F"),
    Row("curves", lambda: curves({}, smooth="x"), TypeError, "curves: smooth: expected True or F"),
    Row(
        "spectrum", lambda: spectrum([1.0]), TypeError, "as a mapping of names to numbers, got list"
    ),
    Row("spectrum", lambda: spectrum({}), ValueError, "eigenvalues of at least one name, got none"),
    Row("spectrum", lambda: spectrum({"a": "x"}), TypeError, "'a': expected numbers, got str."),
    Row("spectrum", lambda: spectrum({"a": {}}), TypeError, "'a': expected numbers, got dict."),
    Row("spectrum", lambda: spectrum({"a": []}), ValueError, "at least one, got the shape [0]."),
    Row("spectrum", lambda: spectrum({"a": [np.nan]}), ValueError, "'a': expected finite numbers"),
    Row("scatter", of_points([], []), ValueError, f"{POINTS}[0] and 0 labels."),
    Row("scatter", of_points([[1, 2]], ["a", "b"]), ValueError, f"{POINTS}[1, 2] and 2 labels."),
    Row("scatter", of_points([[1, 2, 3]]), ValueError, f"{POINTS}[1, 3] and 1 labels."),
    Row("scatter", of_points(3), ValueError, f"{POINTS}[] and 1 labels."),
    Row("scatter", of_points([["x", "y"]]), TypeError, "points: expected numbers, got list."),
    Row("scatter", of_points(labels="a"), TypeError, "a sequence of strings, got str."),
    Row("scatter", of_points(labels=None), TypeError, "a sequence of strings, got NoneType."),
    Row("scatter", of_points(size="x"), ValueError, "size: expected a finite number, got 'x'."),
    Row("scatter", of_points(size=0), ValueError, "size: expected a number above 0, got 0."),
]


def of_fans(history=(1.0, 2.0), fans=None, **options):
    return lambda: forecast_fan(
        history, {"a": np.ones((3, 2))} if fans is None else fans, **options
    )


FANS = [
    Row("forecast_fan", of_fans(fans=3), TypeError, "forecast_fan: expected fans as a mapping of"),
    Row("forecast_fan", of_fans(fans={}), ValueError, "at least one fan, and lines only of these"),
    Row("forecast_fan", of_fans(lines={"b": [1]}), ValueError, "fans ['a'] and lines of ['b']."),
    Row("forecast_fan", of_fans(lines=[1]), TypeError, "expected lines as a mapping of names"),
    Row("forecast_fan", of_fans(fans={"a": "x"}), TypeError, "'a': expected numbers, got str."),
    Row("forecast_fan", of_fans(fans={"a": [1.0]}), ValueError, "for all, got [1] for 'a'."),
    Row(
        "forecast_fan",
        of_fans(fans={"a": np.ones((3, 2)), "b": np.ones((3, 1))}),
        ValueError,
        "expected paths [N, S] with the same S for all, got [3, 1] for 'b'.",
    ),
    Row("forecast_fan", of_fans(fans={"a": [[np.inf]]}), ValueError, "finite paths, got others fo"),
    Row("forecast_fan", of_fans(future=[1]), ValueError, "expected future of shape [2], as the pa"),
    Row("forecast_fan", of_fans(lines={"a": [1]}), ValueError, "expected a of shape [2], as the p"),
    Row("forecast_fan", of_fans(history=[]), ValueError, "expected a history [T] with a value"),
    Row("forecast_fan", of_fans(history=[np.nan]), ValueError, "a history [T] with a value, got"),
    Row("forecast_fan", of_fans(history=None), ValueError, "a history [T] with a value, got"),
]


def of_counts(counts=((1, 0), (0, 1)), names=("a", "b")):
    return lambda: confusion(counts, names)


def of_weights(steps=("a", "b"), weights=(0.5, 0.5)):
    return lambda: step_weights([("title", steps, weights)])


COUNTS = "expected counts of shape [V, V] and V names, got counts of shape "
CONFUSION = [
    Row("confusion", of_counts(None), ValueError, f"{COUNTS}[] and 2 names."),
    Row("confusion", of_counts([["x", "y"]]), TypeError, "counts: expected numbers, got list."),
    Row("confusion", of_counts(names="ab"), TypeError, "names as a sequence of strings, got str."),
    Row("confusion", of_counts(names=3), TypeError, "names as a sequence of strings, got int."),
    Row("confusion", of_counts(names=["a"]), ValueError, f"{COUNTS}[2, 2] and 1 names."),
    Row("confusion", of_counts(np.ones((2, 3))), ValueError, f"{COUNTS}[2, 3] and 2 names."),
    Row("confusion", of_counts([], []), ValueError, f"{COUNTS}[0] and 0 names."),
    Row("confusion", of_counts([[1, -1], [0, 1]]), ValueError, "counts of at least 0, got others"),
    Row("confusion", of_counts([[1, np.nan], [0, 1]]), ValueError, "finite counts of at least 0"),
]
WEIGHT = "example 0: expected a weight for each step, got "
WEIGHTS = [
    Row("step_weights", lambda: step_weights("abc"), TypeError, "a sequence of (title, steps, "),
    Row("step_weights", lambda: step_weights(None), TypeError, "weights), got NoneType."),
    Row("step_weights", lambda: step_weights([]), ValueError, "at least one example, got none."),
    Row("step_weights", lambda: step_weights([("a", ["b"])]), TypeError, "example 0: expected (ti"),
    Row(
        "step_weights", of_weights(weights=[1.0]), ValueError, f"{WEIGHT}2 steps and weights of sh"
    ),
    Row("step_weights", of_weights((), ()), ValueError, f"{WEIGHT}0 steps"),
    Row("step_weights", of_weights(weights=["x", "y"]), TypeError, "weights: expected numbers"),
    Row("step_weights", of_weights(weights=[1, np.inf]), ValueError, "expected finite weights"),
    Row("step_weights", of_weights("ab"), TypeError, "example 0: steps: expected numbers, got str"),
    Row(
        "step_weights", of_weights(np.ones((2, 1, 1, 3))), ValueError, "got the shape [2, 1, 1, 3]"
    ),
    Row("step_weights", of_weights(3.0, 1.0), ValueError, "[T, H, W, 1], got the shape []."),
]
PARTS = "expected words, target tags and predicted tags, got "
COUNTED = "expected at least one word and a target and a predicted tag for each, got "
TAGGED = [
    *(
        Row(
            "posteriorgram",
            functools.partial(
                posteriorgram, **{"probabilities": np.eye(3), "symbols": "_ a b".split(), **change}
            ),
            error,
            f"posteriorgram: {sentence}",
        )
        for change, error, sentence in [
            ({"probabilities": "a"}, TypeError, "probabilities: expected an array of real numbers"),
            ({"probabilities": np.ones(3)}, ValueError, "expected probabilities [T, V] with T > 0"),
            ({"probabilities": np.zeros((0, 3))}, ValueError, "expected probabilities [T, V] with"),
            ({"symbols": "abc"}, TypeError, "expected symbols as a sequence of strings, got str."),
            ({"symbols": ["a"]}, ValueError, "expected probabilities [T, V] with T > 0 and V symb"),
            ({"blank": 3}, ValueError, "expected blank from 0 to 2, got 3."),
            ({"blank": "a"}, ValueError, "blank: expected a whole number of at least 0, got 'a'."),
            ({"targets": ["a"]}, TypeError, "targets: expected a sequence of whole numbers"),
            ({"targets": [3]}, ValueError, "targets: expected ids from 0 to 2"),
            ({"targets": [1]}, ValueError, "expected begin for each of 1 targets, got 0."),
            ({"targets": [1], "begin": [4]}, ValueError, "begin: expected ids from 0 to 3"),
            ({"targets": [1], "begin": [0]}, ValueError, "expected end for each of 1 targets, go"),
            ({"steps": "a"}, TypeError, "steps: expected an array of real numbers"),
            ({"steps": np.zeros((0, 2))}, ValueError, "expected steps [S] or [S, D] with S > 0"),
        ]
    ),
    Row("tagged", lambda: tagged("abc"), TypeError, "sentences as a sequence of words, target"),
    Row("tagged", lambda: tagged(None), TypeError, "predicted tags, got NoneType."),
    Row("tagged", lambda: tagged([]), ValueError, "tagged: expected at least one sentence, got"),
    Row("tagged", lambda: tagged([(["a"], ["X"])]), TypeError, f"sentence 0: {PARTS}"),
    Row("tagged", lambda: tagged(["abc"]), TypeError, f"sentence 0: {PARTS}'abc'."),
    Row("tagged", lambda: tagged([(["a"], ["X"], "X")]), TypeError, "sequences of strings, got 'X"),
    Row("tagged", lambda: tagged([(["a"], [1], ["X"])]), TypeError, "of strings, got [1]."),
    Row("tagged", lambda: tagged([([], [], [])]), ValueError, f"{COUNTED}0 words, 0 targets and 0"),
    Row("tagged", lambda: tagged([(["a"], ["X"], [])]), ValueError, "1 targets and 0 predicted"),
]


def of_map(values=((1.0, 2.0),), rows=("a",), columns=("b", "c"), **options):
    return lambda: heatmap(values, rows, columns, **options)


SHAPE = "expected values of shape [R, C], R rows and C columns, got the shape "
HEATMAP = [
    Row("heatmap", of_map("x"), TypeError, "heatmap: values: expected numbers, got str."),
    Row("heatmap", of_map(3), ValueError, f"{SHAPE}[], 1 rows and 2 columns."),
    Row("heatmap", of_map([[1.0]]), ValueError, f"{SHAPE}[1, 1], 1 rows and 2 columns."),
    Row("heatmap", of_map([], [], []), ValueError, f"{SHAPE}[0], 0 rows and 0 columns."),
    Row("heatmap", of_map(rows="a"), TypeError, "rows: expected a sequence of labels, got str."),
    Row("heatmap", of_map(columns=3), TypeError, "columns: expected a sequence of labels, got int"),
    Row("heatmap", of_map(low="x"), ValueError, "low: expected a finite number, got 'x'."),
    Row("heatmap", of_map(low=1, high=0), ValueError, "expected low of at most high, got 1"),
]


def of_images(images=np.zeros((1, 2, 2)), titles=("a",), **options):
    return lambda: image_grid(images, titles, **options)


SHAPED = "image 0: expected [H, W] or [H, W, 3], got the shape "
IMAGES = [
    Row("image_grid", of_images(3), TypeError, "expected images as a sequence of arrays, got int."),
    Row("image_grid", of_images(["x"]), TypeError, "image 0: expected an array of numbers, got "),
    Row("image_grid", of_images([], []), ValueError, "expected at least one image, got none."),
    Row("image_grid", of_images([3]), ValueError, f"{SHAPED}[]."),
    Row("image_grid", of_images(np.zeros((1, 2, 2, 4))), ValueError, f"{SHAPED}[2, 2, 4]."),
    Row("image_grid", of_images(np.zeros((1, 0, 2))), ValueError, f"{SHAPED}[0, 2]."),
    Row(
        "image_grid", of_images(np.full((1, 2, 2, 3), 9)), ValueError, "from 0 to 1, or uint8, got"
    ),
    Row("image_grid", of_images(titles="a"), TypeError, "titles as a sequence of strings, got str"),
    Row(
        "image_grid", of_images(titles=["a", "b"]), ValueError, "expected 1 titles, as images, got"
    ),
    Row("image_grid", of_images(right=[]), ValueError, "expected 1 right, as images, got 0."),
    Row("image_grid", of_images(weights=[[1.0]]), ValueError, "weights 0: expected finite numbers"),
    Row(
        "image_grid", of_images(weights=[[[-1]]]), ValueError, "[h, w] of at least 0, got the shape"
    ),
    Row("image_grid", of_images(columns=0), ValueError, "columns: expected"),
]
POINTS = np.zeros((2, 3))
STROKES = [
    Row("pen_strokes", lambda given=given: pen_strokes(given), error, f"pen_strokes: {sentence}")
    for given, error, sentence in [
        (3, TypeError, "expected samples as a sequence of titles and points, got int."),
        ("ab", TypeError, "expected samples as a sequence of titles and points, got str."),
        ([], ValueError, "expected at least one sample, got none."),
        ([POINTS], TypeError, "sample 0: expected a tuple of a title and points, or also symbols"),
        ([("a", POINTS, "x")], TypeError, "sample 0: expected a tuple of a title and points, or"),
        ([("a", POINTS), ("b", "x")], TypeError, "sample 1: points: expected an array of real"),
        ([("a", np.zeros((2, 2)))], ValueError, "sample 0: points: expected [T, 3], got [2, 2]."),
        ([("a", np.zeros((0, 3)))], ValueError, "sample 0: points: expected [T, 3], got [0, 3]."),
        ([("a", POINTS + np.nan)], ValueError, "sample 0: points: expected finite numbers [T, 3]"),
        (
            [("a", POINTS, "xy", np.ones((4, 3)))],
            ValueError,
            "sample 0: weights: expected [S, 2], got [4",
        ),
        (
            [("a", POINTS, "xy", np.ones(4))],
            ValueError,
            "sample 0: weights: expected finite number",
        ),
    ]
]
STATES = np.arange(12.0).reshape(2, 3, 2)
PHASES = [
    Row("phase_portrait", functools.partial(phase_portrait, *given, **options), error, sentence)
    for given, options, error, sentence in [
        (["x"], {}, TypeError, "phase_portrait: states: expected numbers, got str."),
        ([STATES * 1j], {}, TypeError, "states: expected real numbers, got complex ones."),
        ([()], {}, ValueError, "[T, H] or [N, T, H] of at least two units, got no array."),
        ([STATES[0, 0]], {}, ValueError, "of at least two units, got [2]."),
        ([STATES[..., :1]], {}, ValueError, "of at least two units, got [2, 3, 1]."),
        ([(STATES, STATES[0])], {}, ValueError, "two units, got [2, 3, 2], [3, 2]."),
        ([STATES + np.nan], {}, ValueError, "states: expected finite numbers, got others."),
        (
            [STATES],
            {"labels": ["a"]},
            ValueError,
            "2 sequences or 3 steps, got labels of shape [1]",
        ),
        ([STATES], {"fixed_points": 3}, TypeError, "what find_fixed_points returns, got int."),
        ([STATES], {"step": 3}, TypeError, "phase_portrait: step: expected a function, got int."),
    ]
]
SALIENCY = [
    Row("saliency_html", functools.partial(saliency_html, *given), error, sentence)
    for given, error, sentence in [
        ((3, [1.0]), TypeError, "expected tokens as a sequence of strings, got 3."),
        (([1, 2], [1.0, 2.0]), TypeError, "tokens as a sequence of strings, got [1, 2]."),
        ((b"ab", [1.0, 2.0]), TypeError, "tokens as a sequence of strings, got b'ab'."),
        (("ab", "cd"), TypeError, "saliency_html: values: expected numbers, got str."),
        (("ab", [1.0]), ValueError, "got 2 tokens and values of shape [1]."),
        (("ab", [[1.0], [2.0]]), ValueError, "got 2 tokens and values of shape [2, 1]."),
        (([], []), ValueError, "at least one token, got 0 tokens and values of shape [0]."),
        (("ab", [1.0, np.nan]), ValueError, "saliency_html: values: expected finite numbers"),
    ]
]
GRAPHS = [
    Row("computation_graph", functools.partial(computation_graph, cell, X), TypeError, sentence)
    for cell, sentence in NO_CELLS.values()
] + [
    Row(
        "computation_graph",
        functools.partial(computation_graph, recur.elman(3), X, **options),
        error,
        sentence,
    )
    for options, error, sentence in [
        ({"steps": 0}, ValueError, "computation_graph: steps: expected a whole number of at least"),
        ({"steps": 1.5}, ValueError, "steps: expected a whole number of at least 1, got 1.5."),
        ({"context": 3}, TypeError, "expected the context as a mapping of names to values"),
    ]
]
TEXTS = [
    Row("text_map", functools.partial(text_map, *given, **options), error, sentence)
    for given, options, error, sentence in [
        ((3, [[1.0]], ["a"]), {}, TypeError, "text_map: text: expected a string, got int."),
        (("x", [[1.0]], "a"), {}, TypeError, "names: expected a sequence of strings, got str."),
        (("x", "y", ["a"]), {}, TypeError, "text_map: values: expected numbers, got str."),
        (("x", [1.0], ["a"]), {}, ValueError, "got the shape [1], 1 names and 1 characters."),
        (("", [[]], ["a"]), {}, ValueError, "got the shape [1, 0], 1 names and 0 characters."),
        (("x", [[1.0]], ["a"]), {"columns": 0}, ValueError, "columns: expected a whole number"),
        (("x", [[1.0]], ["a"]), {"low": 1}, ValueError, "expected low below high, got 1.0 and 1.0"),
    ]
]
ROWS = [
    *HEATMAP,
    *TEXTS,
    *GRAPHS,
    *SALIENCY,
    *PHASES,
    *STROKES,
    *IMAGES,
    *OF_LINES,
    *OWN,
    *CONFUSION,
    *FANS,
    *WEIGHTS,
    *TAGGED,
    *OF_LAYERS,
    *OF_REPORTS,
]


@each_row(ROWS)
def test_wrong_input(row):
    row.check()


def test_every_public_function_has_five_rows():
    check_five_rows(diagnose, ROWS)
