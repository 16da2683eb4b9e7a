"""Wrong inputs of CTC decoding."""

import functools

import jax
import numpy as np

import recur
from recur.decode import LanguageModel, ctc_align, ctc_beam_search, ctc_greedy
from recur_tests.wrong_input import Row

LOGITS, TARGETS = np.zeros((2, 5, 4)), np.array([[1, 2], [3, 3]])
MASK = np.ones((2, 5), bool)
LAYER = recur.chain(lambda token: jax.nn.one_hot(token, 4))
BACKWARD = recur.scan(recur.gru(3), reverse=True)


def model_of(layer=LAYER, params=((),), **options):
    return {"language_model": LanguageModel(layer, params, **options)}


def greedy(logits=LOGITS, mask=None, **options):
    return ctc_greedy(logits, mask, **options)


def beams(logits=LOGITS, mask=None, **options):
    return ctc_beam_search(logits, mask, **{"num_beams": 3, **options})


def align(logits=LOGITS, targets=TARGETS, mask=None, target_mask=None, **options):
    return ctc_align(logits, targets, mask, target_mask, **options)


CALLS = {
    "ctc_greedy": greedy,
    "ctc_beam_search": beams,
    "ctc_align": align,
}
OF_LOGITS = [
    ({"logits": None}, TypeError, "{name}: logits: expected an array of numbers, got NoneType."),
    ({"logits": LOGITS > 0}, TypeError, "{name}: expected logits as floats, got bool."),
    ({"logits": LOGITS[0, 0]}, ValueError, "{name}: expected logits of shape [..., T, V] with T >"),
    ({"logits": LOGITS[:, :0]}, ValueError, "of shape [..., T, V] with T > 0, got [2, 0, 4]."),
    ({"mask": MASK.astype(int)}, TypeError, "{name}: expected mask as bool flags, got int64."),
    ({"mask": MASK[0]}, ValueError, "{name}: expected a mask of the shape [2, 5], got [5]."),
    ({"blank": -1}, ValueError, "{name}: blank: expected a whole number of at least 0, got -1."),
    ({"blank": 4}, ValueError, "{name}: expected blank from 0 to 3, got 4."),
]
OF_CALLS = {
    "ctc_beam_search": [
        ({"num_beams": 0}, ValueError, "{name}: num_beams: expected a whole number of at least 1"),
        ({"num_return": 4}, ValueError, "expected num_return from 1 to num_beams, 3, got 4."),
        (
            {"max_tokens": 0},
            ValueError,
            "{name}: max_tokens: expected a whole number of at least 1",
        ),
        ({"language_model": LAYER}, TypeError, "as a LanguageModel(layer, params), got Layer."),
        (model_of(recur.gru(3)), TypeError, "expected a layer, got Cell."),
        (model_of(BACKWARD), ValueError, "{name}: expected a causal layer, got one that reads"),
        (model_of(weight=-1.0), ValueError, "{name}: expected a weight of at least 0, got -1.0."),
        (model_of(weight="a"), TypeError, "{name}: weight: expected one number, got 'a'."),
        (model_of(bonus=np.inf), ValueError, "{name}: expected a bonus that is finite, got inf."),
        (
            {"logits": np.zeros((2, 5, 3)), **model_of()},
            ValueError,
            "expected a language model with logits of 3 ids for each token, as the CTC model has",
        ),
    ],
    "ctc_align": [
        ({"targets": LOGITS}, TypeError, "{name}: expected integer targets, got float64."),
        ({"targets": TARGETS[0]}, ValueError, "targets of shape [..., N], got [2, 5, 4] and [2]."),
        ({"targets": TARGETS + 1}, ValueError, "that count from 0 to 3, got 4 at step 0 of row 1"),
        (
            {"targets": TARGETS - 1},
            ValueError,
            "{name}: expected targets without the blank, 0, got",
        ),
        ({"target_mask": MASK}, ValueError, "a target_mask of the shape [2, 2], got [2, 5]."),
        (
            {"target_mask": np.array([[True, True], [False, True]])},
            ValueError,
            "{name}: expected targets padded on the right, got a mask with holes.",
        ),
        (
            {"logits": LOGITS[:, :2]},
            ValueError,
            "{name}: expected at least 3 frames for row 1, one for each target and one between",
        ),
        (
            {"mask": np.arange(5) < np.array([[1], [3]])},
            ValueError,
            "{name}: expected at least 2 frames for row 0",
        ),
    ],
}
OF_CTC = [
    Row(name, functools.partial(call, **change), error, sentence.format(name=name))
    for name, call in CALLS.items()
    for change, error, sentence in [*OF_LOGITS, *OF_CALLS.get(name, [])]
]
