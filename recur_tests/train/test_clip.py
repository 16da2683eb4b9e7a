import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur.train import clip_by_average_norm
from recur_tests.helpers import assert_close

GRADIENTS = [
    {"a": scale * np.array([3.0, 0.0]), "b": scale * np.array([[4.0]])}  # of norm 5 scale
    for scale in (1.0, 2.0, 0.1, 50.0, 1.0, 3.0)
]


def norm(tree):
    return float(np.sqrt(sum((np.asarray(leaf) ** 2).sum() for leaf in jax.tree.leaves(tree))))


@pytest.mark.parametrize(("factor", "decay"), [(1.0, 0.9), (2.5, 0.5), (1.0, 0.0)])
def test_clips_to_the_running_mean_of_unclipped_norms(factor, decay):
    clip = clip_by_average_norm(factor, decay)
    state = clip.init(GRADIENTS[0])
    update = jax.jit(clip.update)
    weights, norms = [], []
    for number, gradient in enumerate(GRADIENTS):
        clipped, state = update(gradient, state)
        threshold = factor * np.average(norms, weights=weights) if norms and sum(weights) else None
        expected = norm(gradient) if threshold is None else min(norm(gradient), threshold)
        assert_close(norm(clipped), expected, 1e-6)
        direction = jax.tree.map(lambda g: g * (expected / norm(gradient)), gradient)  # noqa: B023
        assert_close(clipped, direction, 1e-6)
        norms.append(norm(gradient))
        weights = [decay ** (number - i) for i in range(number + 1)]


def test_a_gradient_that_is_not_finite_leaves_the_mean_alone():
    clip = clip_by_average_norm()
    state = clip.init(GRADIENTS[0])
    _, state = clip.update(GRADIENTS[0], state)
    passed, after = clip.update(jax.tree.map(lambda g: g * jnp.nan, GRADIENTS[0]), state)
    assert np.isnan(passed["a"]).all()
    assert_close(after, state)


def test_keeps_dtypes_and_chains():
    optimizer = optax.chain(clip_by_average_norm(), optax.sgd(0.1))
    params = {"w": jnp.ones(3, jnp.bfloat16)}
    state = optimizer.init(params)
    updates, _ = optimizer.update(params, state, params)
    assert updates["w"].dtype == jnp.bfloat16


@pytest.mark.parametrize("options", [{"factor": 0.0}, {"decay": 1.0}, {"decay": -0.1}])
def test_wrong_input(options):
    with pytest.raises(ValueError, match="expected factor > 0 and 0 <= decay < 1"):
        clip_by_average_norm(**options)
