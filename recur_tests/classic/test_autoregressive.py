"""Against statsmodels: AutoReg for one value per step, VAR for several."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.classic import Autoregression, autoregressive
from recur_tests.helpers import assert_close

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from statsmodels.tsa.ar_model import AutoReg, ar_select_order
    from statsmodels.tsa.vector_ar.var_model import VAR

TRUE = np.array([[[0.5, 0.2], [-0.3, 0.4]], [[-0.2, 0.1], [0.0, 0.3]]])


def series(width, count=120, seed=0):
    """A path of a stationary vector model of order 2, with a mean far from zero."""
    draws = np.random.default_rng(seed)
    xs = np.zeros((count, 2))
    for t in range(2, count):
        xs[t] = TRUE[0] @ xs[t - 1] + TRUE[1] @ xs[t - 2] + draws.standard_normal(2) * [1, 0.3]
    return (xs + [30, -4])[:, :width]


@pytest.mark.parametrize("order", [0, 1, 3])
def test_one_value_is_that_of_autoreg(order):
    xs = series(1)
    reference = AutoReg(xs[:, 0], order).fit()
    model = autoregressive.fit(xs, order)
    assert_close(np.append(model.intercept, model.coefficients.ravel()), reference.params)
    assert_close(np.asarray(model.covariance), np.array([[reference.sigma2]]))
    assert_close(np.asarray(autoregressive.predict(model, xs)[:, 0]), reference.fittedvalues)
    ahead = autoregressive.forecast(model, xs, 8)
    expected = reference.get_prediction(len(xs), len(xs) + 7)
    assert_close(np.asarray(ahead.mean[:, 0]), expected.predicted_mean)
    for coverage in (0.8, 0.95):
        bounds = np.concatenate(autoregressive.interval(ahead, coverage), axis=1)
        assert_close(bounds, expected.conf_int(alpha=1 - coverage), 1e-8)
    found = autoregressive.roots(model)
    assert_close(np.sort(abs(found)), np.sort(abs(reference.roots)), 1e-8)


def test_several_values_are_those_of_var():
    xs = series(2)
    reference = VAR(xs).fit(3, trend="c")
    model = autoregressive.fit(xs, 3, unbiased=True)
    assert_close(np.asarray(model.coefficients), reference.coefs)
    assert_close(np.asarray(model.intercept), reference.intercept)
    assert_close(np.asarray(model.covariance), np.asarray(reference.sigma_u))
    assert_close(np.asarray(autoregressive.predict(model, xs)), reference.fittedvalues)
    ahead = autoregressive.forecast(model, xs, 6)
    mean, lower, upper = reference.forecast_interval(xs, 6, alpha=0.2)[:3]
    assert_close(np.asarray(ahead.mean), mean)
    found = autoregressive.interval(ahead, 0.8)
    assert_close(tuple(map(np.asarray, found)), (lower, upper), 1e-8)
    assert_close(np.sort(abs(autoregressive.roots(model))), np.sort(abs(reference.roots)), 1e-8)
    assert autoregressive.is_stationary(model) and reference.is_stable()
    biased = autoregressive.fit(xs, 3).covariance
    assert_close(np.asarray(biased), np.asarray(reference.sigma_u_mle))


def test_the_order_is_selected_on_a_common_sample():
    for seed in range(3):
        xs = series(2, seed=seed)
        scores = autoregressive.criteria(xs, 5)
        reference = VAR(xs).select_order(5, trend="c").ics
        assert_close(tuple(map(np.asarray, scores)), (np.array(reference["aic"]),
                                                      np.array(reference["bic"])))  # fmt: skip
        for name in ("aic", "bic"):
            expected = ar_select_order(xs[:, 0], 6, ic=name).ar_lags
            assert autoregressive.select_order(xs[:, :1], 6, name) == max(expected or [0])


def test_gaps_leave_out_the_steps_that_need_them():
    xs = series(2)
    xs[[10, 50, 51, 119], [0, 1, 0, 1]] = np.nan
    rows = [t for t in range(2, 120) if np.isfinite(xs[t - 2 : t + 1]).all()]
    assert len(rows) == 118 - 8
    inputs = np.array([[1, *xs[t - 1], *xs[t - 2]] for t in rows])
    expected, errors = np.linalg.lstsq(inputs, xs[rows])[:2]
    model = jax.jit(autoregressive.fit, static_argnames="order")(xs, order=2)
    assert_close(np.asarray(model.intercept), expected[0])
    found = np.asarray(model.coefficients).transpose(0, 2, 1).reshape(4, 2)
    assert_close(found, expected[1:])
    assert_close(np.diag(model.covariance) * len(rows), errors)
    predicted = np.asarray(autoregressive.predict(model, xs))
    usable = [np.isfinite(xs[t - 2 : t]).all() for t in range(2, 120)]
    assert (np.isfinite(predicted).all(1) == usable).all()
    whole = autoregressive.criteria(xs, 2).aic[2]
    sign, log = np.linalg.slogdet(np.asarray(model.covariance))
    assert whole == pytest.approx(log + 2 * 10 / len(rows)) and sign == 1


def test_gradients_of_a_series_with_gaps_are_finite():
    xs = series(1, 40)
    xs[7] = np.nan

    def loss(xs):
        return autoregressive.fit(xs, 2).coefficients.sum()

    found = jax.grad(loss)(jnp.asarray(xs))
    assert np.isfinite(found).all() and found[7] == 0
    moved = xs.copy()
    moved[20] += 1e-5
    assert float(found[20, 0]) == pytest.approx((loss(moved) - loss(xs)).item() / 1e-5, rel=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_series_stays_constant(dtype):
    model = autoregressive.fit(np.full((30, 1), 0.1, dtype), 3)
    assert not model.coefficients.any() and not model.covariance.any()
    ahead = autoregressive.forecast(model, np.full((3, 1), 0.1, dtype), 2)
    assert np.asarray(ahead.mean).ravel().tolist() == pytest.approx([0.1, 0.1])


def test_many_series_at_once_in_float32():
    """Values far from zero, as temperatures in Kelvin; whole numbers are converted."""
    xs = np.float32(np.stack([series(1, seed=seed) for seed in (0, 1)]) + 300)
    found = jax.vmap(lambda x: autoregressive.fit(x, 2))(xs)
    for row in range(2):
        expected = autoregressive.fit(np.float64(xs[row]), 2)
        assert found.intercept[row].dtype == jnp.float32
        single = jax.tree.map(lambda leaf, row=row: np.float64(leaf[row]), found)
        assert_close(single, jax.tree.map(np.asarray, expected), 2e-3)
    rounded = np.int32(xs[0])
    assert_close(autoregressive.fit(rounded, 1), autoregressive.fit(np.float64(rounded), 1))


def test_paths_have_the_moments_of_the_forecast():
    model = autoregressive.fit(series(2), 2)
    history = series(2)[-5:]
    keys = jax.random.split(jax.random.key(0), 4000)
    paths = jax.vmap(lambda key: autoregressive.sample(model, key, 5, history))(keys)
    ahead = autoregressive.forecast(model, history, 5)
    deviations = np.sqrt(np.diagonal(ahead.covariance, axis1=1, axis2=2))
    np.testing.assert_allclose(paths.mean(0), ahead.mean, atol=0.07 * deviations.max())
    for t in range(5):
        found = np.cov(np.asarray(paths[:, t]).T)
        np.testing.assert_allclose(found, ahead.covariance[t], atol=0.1)
    # A step depends on the sampled step before it.
    errors = np.asarray(paths[:, 1] - paths[:, 0] @ model.coefficients[0].T)
    found = np.cov(errors.T)
    np.testing.assert_allclose(found, model.covariance, atol=0.08)


def test_roots_of_known_polynomials():
    def model(*coefficients):
        values = jnp.array(coefficients)[:, None, None]
        return Autoregression(values, jnp.zeros(1), jnp.ones((1, 1)))

    # (1 - z / 2)(1 + z / 4) = 1 - z / 4 - z² / 8
    assert_close(np.sort(autoregressive.roots(model(0.25, 0.125)).real), np.array([-4.0, 2.0]))
    assert autoregressive.is_stationary(model(0.25, 0.125))
    assert autoregressive.roots(model(0.5, 0.0)).tolist() == [np.inf, 2]
    assert not autoregressive.is_stationary(model(1.0)), "a random walk"
    assert not autoregressive.is_stationary(model(0.0, 1.5))
    nothing = autoregressive.fit(series(1), 0)
    assert autoregressive.is_stationary(nothing) and not len(autoregressive.roots(nothing))
    noise = autoregressive.fit(series(2), 0)
    assert autoregressive.is_stationary(noise) and not len(autoregressive.roots(noise))
