import jax
import jax.numpy as jnp

from recur.partition_inexact import partition_inexact


def test_inexact_leaves_are_split_from_the_rest_and_joined_again():
    tree = {"h": jnp.ones(2), "key": jax.random.key(0), "none": None, "on": jnp.array(True)}
    tree |= {"count": jnp.arange(2), "z": jnp.ones(1, jnp.complex128)}
    inexact, rest, join = partition_inexact(tree)
    assert [leaf is not None for leaf in inexact] == [False, True, False, False, True]
    assert all((a is None) is not (b is None) for a, b in zip(inexact, rest, strict=True))
    again = join([None if leaf is None else 2 * leaf for leaf in inexact], rest)
    assert jax.tree.structure(again) == jax.tree.structure(tree)
    assert again["h"].tolist() == [2, 2] and again["count"] is tree["count"]
