"""The next input of a decoder that reads its own outputs: a chosen token, or any other input."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from recur.arrays import as_array
from recur.checks import check_function, describe
from recur.decode.prompt import check_inputs, check_tokens
from recur.decode.sample import Chooser, check_token
from recur.layer import Layer
from recur.manual_axes import drop_axes

NextInput = Callable[[Any, jax.Array | None], Any]
_KINDS = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)


def check_decoder_inputs(
    caller: str,
    layer: Any,
    xs: Any,
    what: str,
    choose: Any,
    default: Chooser,
    next_input: Any,
) -> Any:
    """Returns the inputs of a decoder as arrays: tokens, or any inputs if there is `next_input`."""
    if next_input is None:
        otherwise = " For inputs that are not tokens, pass next_input."
        xs = check_tokens(layer, xs, what, caller, otherwise)
        check_function(f"{caller}: choose", choose)
        return xs
    xs = check_inputs(layer, xs, caller)
    check_function(f"{caller}: next_input", next_input)
    if choose is not default:
        raise ValueError(
            f"{caller}: expected choose, which is for tokens, or next_input, got both. next_input "
            "may be a chooser."
        )
    return xs


def make_next_input(
    caller: str, layer: Layer, xs: Any, choose: Chooser, next_input: NextInput | None
) -> NextInput:
    """Makes the function from outputs and a key to the next input of a decoder of xs."""
    if next_input is None:
        return _choose_token(choose, xs.dtype)
    return _choose_input(next_input, xs, layer.batch_axes, caller)


def _choose_token(choose: Chooser, dtype: Any) -> NextInput:
    """Makes `(logits, key) -> token` of a dtype from a chooser; gradients do not flow through."""

    def next_token(logits, key):
        return check_token(choose(jax.lax.stop_gradient(logits), key)).astype(dtype)

    return next_token


def _choose_input(next_input: NextInput, xs: Any, batch_axes: int, caller: str) -> NextInput:
    """Checks the results of `next_input` and casts them to the dtypes of xs, `[*B, T, ...]`."""
    expected = jax.tree.map(lambda leaf: drop_axes(leaf, 1 + batch_axes), xs)

    def checked(y, key):
        x = jax.tree.map(partial(as_array, f"{caller}: next_input"), next_input(y, key))
        if not _fits(x, expected):
            raise TypeError(
                f"{caller}: expected next_input(y, key) to return one input of the layer, "
                f"{describe(expected)}, got {describe(x)}."
            )
        return jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), x, expected)

    return checked


def _fits(x: Any, expected: Any) -> bool:
    """Whether x has the structure and shapes of an input, and dtypes that can be cast to its."""
    (leaves, *structure), (likes, *expected_structure) = map(jax.tree.flatten, (x, expected))
    return structure == expected_structure and all(
        leaf.shape == like.shape and _kind(leaf.dtype) <= _kind(like.dtype)
        for leaf, like in zip(leaves, likes, strict=True)
    )


def _kind(dtype: Any) -> int:
    return next((n for n, kind in enumerate(_KINDS) if jnp.issubdtype(dtype, kind)), len(_KINDS))
