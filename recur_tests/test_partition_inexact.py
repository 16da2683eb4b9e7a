"""What can be differentiated stands apart from what cannot, and joins again."""

import jax
import jax.numpy as jnp

from recur.lift.numbers import split_numbers


def test_numbers_stand_apart_and_join_again():
    tree = {"h": jnp.ones(2), "key": jax.random.key(0), "none": None, "on": jnp.array(True)}
    tree |= {"count": jnp.arange(2), "z": jnp.ones(1, jnp.complex128)}
    numbers, rest, join = split_numbers(tree)
    assert [leaf is not None for leaf in numbers] == [False, True, False, False, True]
    assert all((a is None) is not (b is None) for a, b in zip(numbers, rest, strict=True))
    again = join([None if leaf is None else 2 * leaf for leaf in numbers], rest)
    assert jax.tree.structure(again) == jax.tree.structure(tree)
    assert again["h"].tolist() == [2, 2] and again["count"] is tree["count"]
