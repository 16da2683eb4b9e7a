"""The linear recurrent unit: its initialization, its closed form, its normalization."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.cells.lru import LRUParams, lru
from recur_tests.helpers import assert_close, random_like, weighted_sum

X = jax.ShapeDtypeStruct((3,), jnp.float64)
F64 = {"param_dtype": jnp.float64}


def eigenvalues(params):
    return np.exp(-np.exp(params.rate) + 1j * np.exp(params.angle))


def matrices(params):
    """B [I, N] and C [N, I], complex."""
    b = np.split(np.asarray(params.kernel), 2, axis=1)
    c = np.split(np.asarray(params.output_kernel), 2, axis=0)
    return b[0] + 1j * b[1], c[0] + 1j * c[1]


@pytest.mark.parametrize(
    ("radius", "max_angle"),
    [((0.0, 1.0), 2 * np.pi), ((0.9, 0.999), np.pi / 10), ((0.5, 0.5), 1.0)],
)
def test_eigenvalues_start_on_the_ring_uniformly_over_its_area(radius, max_angle):
    cell = lru(2000, radius=radius, max_angle=max_angle, **F64)
    params = jax.jit(lambda key: cell.init(key, X))(jax.random.key(0))
    values = eigenvalues(params)
    sizes, angles = abs(values), np.angle(values) % (2 * np.pi)
    assert radius[0] - 1e-9 <= sizes.min() and sizes.max() <= min(radius[1] + 1e-9, 1)
    assert angles.max() <= max_angle
    np.testing.assert_allclose(angles.mean(), max_angle / 2, rtol=0.05)
    middle = (radius[0] ** 2 + radius[1] ** 2) / 2  # half of the area lies within
    np.testing.assert_allclose((sizes**2).mean(), middle, rtol=0.05)
    np.testing.assert_allclose(np.exp(2 * params.scale), 1 - sizes**2, rtol=1e-9)


def test_initial_values_have_the_variances_of_the_paper():
    params = lru(400, **F64).init(jax.random.key(0), jax.ShapeDtypeStruct((200,), jnp.float64))
    b, c = matrices(params)
    np.testing.assert_allclose((abs(b) ** 2).mean(), 1 / 200, rtol=0.03)
    np.testing.assert_allclose((abs(c) ** 2).mean(), 2 / 400, rtol=0.03)
    np.testing.assert_allclose(params.skip.var(), 1, rtol=0.3)


@pytest.mark.parametrize("param_dtype", [jnp.float32, jnp.bfloat16])
def test_initial_weights_are_finite_at_the_edges_of_the_ring(param_dtype):
    for radius in [(0.0, 0.0), (0.0, 1.0), (0.999999, 1.0), (1.0, 1.0)]:
        cell = lru(1000, radius=radius, max_angle=1e-30, param_dtype=param_dtype)
        params = cell.init(jax.random.key(0), X)
        assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("lift", [recur.scan, recur.associative])
def test_the_response_to_an_impulse_is_its_closed_form(lift):
    layer = lift(lru(4, **F64))
    impulse = random_like(X, 0)
    xs = jnp.zeros((30, 3)).at[0].set(impulse)
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), xs), 1)
    b, c = matrices(params)
    fed = np.exp(params.scale) * (np.asarray(impulse) @ b)
    expected = [((eigenvalues(params) ** t * fed) @ c).real for t in range(30)]
    expected[0] = expected[0] + np.asarray(params.skip * impulse)
    assert_close(np.asarray(jax.jit(layer)(params, xs)), np.asarray(expected), 1e-12)


def test_white_noise_gives_every_unit_the_variance_of_what_it_reads():
    cell = lru(16, radius=(0.3, 0.97), **F64)
    layer = recur.batch(recur.associative(cell))
    xs = jax.random.normal(jax.random.key(1), (400, 200, 3))
    params = layer.init(jax.random.key(0), xs)
    final = jax.jit(lambda params, xs: layer.run(params, xs)[0])(params, xs)
    variance = (abs(final) ** 2).mean(axis=0)
    expected = (abs(matrices(params)[0]) ** 2).sum(axis=0)
    np.testing.assert_allclose(variance / expected, np.ones(16), atol=0.25)
    np.testing.assert_allclose((variance / expected).mean(), 1, atol=0.05)


def test_all_ways_to_run_it_agree_in_values_and_gradients():
    cell = lru(4, **F64)
    xs = random_like(jax.ShapeDtypeStruct((2, 7, 3), jnp.float64), 0)
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0), X), 1)
    length = jnp.array([7, 4])

    def run(lift):
        layer = recur.batch(lift(cell))

        def loss(params, xs):
            ends = layer.run(params, xs, length=length)
            return weighted_sum(ends), ends

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(params, xs)

    expected = run(recur.loop)
    assert expected[0][1][0].dtype == jnp.complex128
    for lift in (recur.scan, recur.associative):
        assert_close(run(lift), expected)


def test_half_precision_keeps_its_state_in_single():
    cell = lru(4, radius=(0.999, 0.999), dtype=jnp.bfloat16)
    layer = recur.scan(cell)
    xs = jnp.ones((5, 3), jnp.float32)
    params = layer.init(jax.random.key(0), xs)
    final, ys = layer.run(params, xs)
    assert (final.dtype, ys.dtype) == (jnp.complex64, jnp.bfloat16)
    bound, h = cell.bind(params, xs[0]), jnp.zeros(4, jnp.complex64)
    decay = jax.jvp(lambda h: cell.step(bound, h, xs[0])[0], (h,), (jnp.ones_like(h),))[1]
    assert (abs(decay) < 0.9991).all() and (abs(decay) > 0.9989).all()
    stored = lru(4, param_dtype=jnp.bfloat16).init(jax.random.key(0), X)
    assert {leaf.dtype for leaf in stored} == {jnp.dtype("bfloat16")}


def test_shapes():
    params = lru(4).init(jax.random.key(0), X)
    shapes = LRUParams((4,), (4,), (4,), (3, 8), (8, 3), (3,))
    assert LRUParams(*(leaf.shape for leaf in params)) == shapes


@pytest.mark.parametrize("radius", [(0.9, 0.5), (-0.1, 0.5), (0.5, 1.1), 0.9, (0.1, 0.2, 0.3)])
def test_a_wrong_radius_is_an_error(radius):
    with pytest.raises(ValueError, match="radius must be a tuple of the smallest and the largest"):
        lru(4, radius=radius)


@pytest.mark.parametrize("max_angle", [0.0, -1.0, 7.0, float("nan")])
def test_a_wrong_angle_is_an_error(max_angle):
    with pytest.raises(ValueError, match="max_angle must be above 0 and at most 2π"):
        lru(4, max_angle=max_angle)


def test_inputs_of_another_width_or_rank_are_an_error():
    cell = lru(4, **F64)
    params = cell.init(jax.random.key(0), X)
    with pytest.raises(ValueError, match="lru: expected inputs of width 3, as at init, got 2"):
        cell.step(params, cell.init_carry(params, X), jnp.zeros(2))
    with pytest.raises(ValueError, match=r"x of shape \[I\], got \[5, 3\]"):
        cell.init(jax.random.key(0), jnp.zeros((5, 3)))
