"""Rows of `test_wrong_input`: values that are not finite, summaries and reports."""

import functools
import pathlib
import tempfile

import jax
import jax.numpy as jnp

import recur
from recur.diagnose import (
    diagnose_example,
    explain_non_finite,
    find_non_finite,
    log_saturation,
    named_over_time,
    summary,
    write_report,
)
from recur.sequences import pool
from recur_tests.wrong_input import Row

EMPTY = pathlib.Path(tempfile.mkdtemp())
NEW, BROKEN = (pathlib.Path(tempfile.mkdtemp()) for _ in range(2))
(NEW / "options.json").write_text("{}")
(BROKEN / "options.json").write_text("{")


def rows(function, *cases):
    """Each case: the arguments, the error, and its sentence."""
    return [
        Row(function.__name__, functools.partial(function, *args), error, sentence)
        for args, error, sentence in cases
    ]


XS = jnp.ones((5, 3))
LAYER = recur.scan(recur.elman(2))
GRU = recur.scan(recur.gru(2))
OF_GRU = GRU.init(jax.random.key(0), XS)
ROWS = [
    *rows(
        find_non_finite,
        ((3,), TypeError, "find_non_finite: function: expected a function, got int."),
        ((None, 1.0), TypeError, "find_non_finite: function: expected a function, got NoneType."),
        ((jnp.log, "x"), TypeError, "find_non_finite: arguments[0]: expected an array of numbers"),
        ((jnp.add, 1.0, object()), TypeError, "arguments[1]: expected an array of numbers or fl"),
        (({"a": jnp.log}, 1.0), TypeError, "find_non_finite: function: expected a function, got "),
    ),
    *rows(
        explain_non_finite,
        ((3,), TypeError, "loss: expected a function, got int."),
        ((None,), TypeError, "loss: expected a function, got NoneType."),
        (("loss",), TypeError, "loss: expected a function, got str."),
        ((lambda params: 0.0,), TypeError, "loss: expected"),
        ((lambda params, batch: 0.0,), TypeError, "loss: expected"),
    ),
    *rows(
        summary,
        ((recur.elman(2), XS), TypeError, "summary: expected a layer, got Cell."),
        ((3, XS), TypeError, "summary: expected a layer, got int."),
        ((LAYER, "x"), TypeError, "summary: xs: expected an array of numbers"),
        ((LAYER, XS, {"kernel": "x"}), TypeError, "summary: params['kernel']: expected an array"),
        ((LAYER, jnp.ones(())), ValueError, "[]"),
        ((recur.batch(LAYER), jnp.ones(5)), ValueError, "[5]"),
    ),
    *rows(
        named_over_time,
        ((recur.gru(2), OF_GRU, XS), TypeError, "named_over_time: expected a layer, got Cell."),
        ((None, OF_GRU, XS), TypeError, "named_over_time: expected a layer, got NoneType."),
        ((GRU, OF_GRU, XS, 3), TypeError, "named_over_time: expected names as strings, got 3."),
        ((GRU, OF_GRU, XS, "forget"), ValueError, "'update'], got 'forget'. A step names its val"),
        ((LAYER, LAYER.init(jax.random.key(0), XS), XS, "a"), ValueError, "got 'a'. A step names"),
    ),
    *rows(
        log_saturation,
        ((recur.gru(2), XS), TypeError, "log_saturation: expected a layer, got Cell."),
        ((3, XS), TypeError, "log_saturation: expected a layer, got int."),
    ),
    *(
        Row(
            "log_saturation",
            functools.partial(log_saturation, GRU, XS, threshold=threshold),
            ValueError,
            f"log_saturation: {sentence}",
        )
        for threshold, sentence in (
            ("a", "threshold: expected a finite number, got 'a'."),
            (0.6, "expected a threshold from 0 to 0.5, got 0.6."),
            (-1, "expected a threshold from 0 to 0.5, got -1.0."),
        )
    ),
    *rows(
        diagnose_example,
        ((recur.gru(2), OF_GRU, XS), TypeError, "diagnose_example: expected a layer, got Cell."),
        ((recur.pooled(GRU, pool.last), OF_GRU, XS), ValueError, "got a pooled layer"),
        (
            (recur.chain("tanh"), ((),), XS),
            ValueError,
            "a recurrent layer, got one without a carry",
        ),
        ((GRU, OF_GRU, XS, 3), TypeError, "loss: expected a function, got int."),
        (
            (GRU, OF_GRU, XS, lambda y: y),
            ValueError,
            "a loss that returns one real number, got float",
        ),
    ),
    *(
        Row(
            "diagnose_example",
            functools.partial(diagnose_example, GRU, OF_GRU, XS, labels=labels),
            error,
            f"diagnose_example: expected {sentence}",
        )
        for labels, error, sentence in (
            ("abcde", TypeError, "labels as a sequence of strings, got str."),
            (["a"], ValueError, "a label for each of 5 steps, got 1."),
        )
    ),
    *rows(
        write_report,
        ((EMPTY,), ValueError, "expected the folder of a run, with options.json in it, got one wi"),
        ((EMPTY / "none",), ValueError, "with options.json in it, got none."),
        ((__file__,), ValueError, "with options.json in it, got a file."),
        ((NEW,), ValueError, "expected a run with a checkpoint, got none. Train it longer."),
        ((BROKEN,), ValueError, "options.json: expected JSON, got a damaged file"),
    ),
]
