import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.diagnose import FixedPoints, phase_portrait

RNG = np.random.default_rng(0)
STATES = RNG.normal(size=(3, 5, 4)) * [1.0, 5.0, 2.0, 0.1]


def fixed(points, slopes, converged=None):
    count, size = np.shape(points)
    converged = np.ones(count, bool) if converged is None else np.array(converged)
    jacobian = np.stack([np.diag([slope, *[0.5] * (size - 1)]) for slope in slopes])
    parts = points, np.zeros(count), converged, np.zeros(count, int), jacobian
    return FixedPoints(*map(jnp.asarray, parts))


def project(states):
    """Principal components by the covariance, with the largest weight of each positive."""
    flat = np.reshape(states, (-1, np.shape(states)[-1]))
    _, vectors = np.linalg.eigh(np.cov(flat.T))
    rows = vectors.T[:-3:-1]
    rows = rows * np.sign([row[np.abs(row).argmax()] for row in rows])[:, None]
    return lambda points: (points - flat.mean(0)) @ rows.T


def test_trajectories_are_projected_on_principal_components(tmp_path):
    figure = phase_portrait(STATES, title="$h$")
    axes = figure.axes[0]
    expected = project(STATES)(STATES)
    drawn = np.stack([line.get_xydata() for line in axes.lines])
    assert np.allclose(drawn, expected)
    (dots,) = axes.collections
    assert np.allclose(dots.get_offsets(), expected.reshape(-1, 2))
    assert dots.get_array().tolist() == [0, 1, 2, 3, 4] * 3
    variances = np.sort(np.linalg.eigvalsh(np.cov(STATES.reshape(-1, 4).T)))[::-1]
    share = round(100 * variances[0] / variances.sum())
    assert axes.get_xlabel() == f"principal component 1 ({share} % of the variance)"
    assert not figure.legends and figure.axes[1].get_ylabel() == "step"
    figure.savefig(tmp_path / "phase.png")


def test_a_carry_of_several_arrays_and_one_sequence():
    joined = phase_portrait(STATES[0]).axes[0].collections[0].get_offsets()
    apart = phase_portrait({"cell": STATES[0, :, :3], "hidden": STATES[0, :, 3:]})
    assert np.allclose(apart.axes[0].collections[0].get_offsets(), joined)


@pytest.mark.parametrize("labels", [["a", "b", "a"], [list("aaaaa"), list("bbbbb"), list("aaaaa")]])
def test_points_by_label(labels):
    figure = phase_portrait(STATES, labels=labels)
    first, second = figure.axes[0].collections
    expected = project(STATES)(STATES)
    assert np.allclose(first.get_offsets(), expected[[0, 2]].reshape(-1, 2))
    assert np.allclose(second.get_offsets(), expected[1])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert not np.array_equal(first.get_paths()[0].vertices, second.get_paths()[0].vertices)


def test_fixed_points_once_each_by_stability():
    points = [*STATES[0, :3], STATES[0, 1] + 1e-3, STATES[1, 4]]
    found = fixed(points, [0.9, 1.1, -0.9, 1.1, 0.9], [True, True, True, True, False])
    figure = phase_portrait(STATES, fixed_points=found)
    _, unstable, stable = figure.axes[0].collections
    at = project(STATES)
    assert np.allclose(unstable.get_offsets(), at(STATES[0, 1:2]))
    assert np.allclose(stable.get_offsets(), at(STATES[0, [0, 2]]))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["unstable fixed point (1)", "stable fixed point (2)"]


def test_other_fixed_points_do_not_fit():
    with pytest.raises(ValueError, match="expected fixed points of 4 units"):
        phase_portrait(STATES, fixed_points=fixed(np.zeros((1, 2)), [0.5]))


def test_vector_field_of_two_units_along_their_axes():
    states = RNG.normal(size=(6, 2))
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    axes = phase_portrait(states, step=lambda h: h @ turn).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("unit 1", "unit 2")
    assert np.allclose(axes.lines[0].get_xydata(), states)
    field = axes.collections[-1]
    places, arrows = np.stack([field.X, field.Y], 1), np.stack([field.U, field.V], 1)
    moves = places @ turn - places
    cosines = (
        (moves * arrows).sum(1) / np.linalg.norm(moves, axis=1) / np.linalg.norm(arrows, axis=1)
    )
    assert np.allclose(cosines, 1)
    order = np.argsort(np.linalg.norm(moves, axis=1))
    assert (np.diff(np.linalg.norm(arrows, axis=1)[order]) > -1e-9).all()  # the longer the faster


def test_vector_field_in_the_plane_of_the_components():
    def step(h):  # towards the mean of the states, of a carry of two arrays
        return jax.tree.map(lambda leaf, mean: leaf + 0.5 * (mean - leaf), h, mean)

    states = {"a": STATES[..., :1], "b": STATES[..., 1:]}
    mean = jax.tree.map(lambda leaf: jnp.asarray(leaf.mean((0, 1))), states)
    field = phase_portrait(states, step=step).axes[0].collections[-1]
    places, arrows = np.stack([field.X, field.Y], 1), np.stack([field.U, field.V], 1)
    assert np.allclose(places[:, 0] * arrows[:, 1], places[:, 1] * arrows[:, 0], atol=1e-6)
    assert ((places * arrows).sum(1) < 0).all()


def test_steps_are_marked_at_whole_numbers():
    states = np.random.default_rng(0).normal(size=(3, 2))
    ticks = phase_portrait(states).axes[1].get_yticks()
    assert len(ticks) and (ticks % 1 == 0).all()
