"""Rows of `test_wrong_input`: values that are not finite, summaries and reports."""

import functools

import jax.numpy as jnp

import recur
from recur.diagnose import explain_non_finite, find_non_finite, summary
from recur_tests.wrong_input import Row


def rows(function, *cases):
    """Each case: the arguments, the error, and its sentence."""
    return [
        Row(function.__name__, functools.partial(function, *args), error, sentence)
        for args, error, sentence in cases
    ]


XS = jnp.ones((5, 3))
LAYER = recur.scan(recur.elman(2))
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
]
