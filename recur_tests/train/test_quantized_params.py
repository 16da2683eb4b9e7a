"""Weight-only int8 against NumPy, and the layers that use it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.train import (
    QuantizedArray,
    by_path,
    dequantize_params,
    load_params,
    quantize_params,
    save_params,
)

RNG = np.random.default_rng(0)


def by_numpy(w):
    """Columns one by one, in float64."""
    values, scales = np.zeros(w.shape, int), np.zeros(w.shape[1])
    for column in range(w.shape[1]):
        largest = max(abs(float(x)) for x in w[:, column])
        scales[column] = largest / 127
        for row in range(w.shape[0]):
            values[row, column] = round(float(w[row, column]) / scales[column]) if largest else 0
    return values, scales


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_is_the_rounding_of_each_channel(dtype):
    w = (RNG.normal(size=(40, 7)) * np.logspace(-6, 6, 7)).astype(dtype)
    w[:, 3] = 0
    found = jax.jit(quantize_params)({"w": w})["w"]
    values, scales = by_numpy(w)
    assert found.values.dtype == jnp.int8 and found.scale.dtype == dtype
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_allclose(found.scale[0], scales, 1e-6)
    assert np.abs(found.values).max(0).tolist() == [127, 127, 127, 0, 127, 127, 127]
    back = dequantize_params({"w": found})["w"]
    assert back.dtype == dtype
    np.testing.assert_allclose(back, values * scales, 1e-5)
    assert (np.abs(back - w) <= scales * 0.5001).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_weights_of_16_bits_are_within_half_a_rounded_scale(dtype):
    w = jnp.asarray(RNG.normal(size=(3, 50, 6)), dtype)
    found = quantize_params(w)
    assert found.scale.shape == (3, 1, 6) and found.scale.dtype == dtype
    exact = np.asarray(found.values, np.float64) * np.asarray(found.scale, np.float64)
    error = np.abs(exact - np.asarray(w, np.float64))
    assert (error <= 0.5001 * np.asarray(found.scale, np.float64)).all()


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (2, 0, 4)])
def test_empty_kernels(shape):
    found = quantize_params({"w": np.zeros(shape, np.float32)})
    assert found["w"].scale.shape == (*shape[:-2], 1, shape[-1])
    assert dequantize_params(found)["w"].shape == shape


def test_only_the_selected_matrices_change():
    params = {
        "kernel": np.ones((2, 3)),
        "bias": np.ones(3),
        "ids": np.ones((2, 2), int),
        "table": np.ones((4, 2)),
    }
    kinds = jax.tree.map(type, quantize_params(params), is_leaf=lambda x: isinstance(x, tuple))
    kept = {"bias", "ids"}
    assert {name for name, kind in kinds.items() if kind is not QuantizedArray} == kept
    chosen = quantize_params(params, by_path("kernel"))
    assert isinstance(chosen["kernel"], QuantizedArray) and chosen["table"] is params["table"]
    assert dequantize_params(params) == params


def test_a_layer_runs_on_what_a_file_holds(tmp_path):
    layer = recur.batch(recur.chain(recur.scan(recur.lstm(16)), recur.scan(recur.gru(8))))
    xs = RNG.normal(size=(3, 10, 5)).astype(np.float32)
    params = layer.init(jax.random.key(0), xs)
    quantized = quantize_params(params)
    save_params(tmp_path / "q.safetensors", quantized)
    like = jax.eval_shape(quantize_params, params)
    loaded = load_params(tmp_path / "q.safetensors", like=like)
    ys = jax.jit(lambda params, xs: layer(dequantize_params(params), xs))(loaded, xs)
    rounded = jax.tree.map(jnp.asarray, _rounded(params))
    np.testing.assert_allclose(ys, layer(rounded, xs), atol=1e-6)
    whole = layer(params, xs)
    assert 0 < np.abs(ys - whole).max() < 0.02


def _rounded(params):
    def of(w):
        if np.ndim(w) < 2:
            return w
        values, scales = by_numpy(np.asarray(w))
        return (values * scales).astype(w.dtype)

    return jax.tree.map(of, params)


def test_gradients_reach_the_scales_and_other_weights():
    params = quantize_params({"kernel": RNG.normal(size=(4, 3)), "bias": RNG.normal(size=3)})

    def loss(scale, bias):
        kernel = params["kernel"]._replace(scale=scale)
        weights = dequantize_params({"kernel": kernel, "bias": bias})
        return jnp.square(jnp.ones(4) @ weights["kernel"] + weights["bias"]).sum()

    by_scale, by_bias = jax.grad(loss, (0, 1))(params["kernel"].scale, params["bias"])
    values, scale = np.asarray(params["kernel"].values, float), np.asarray(params["kernel"].scale)
    outputs = values.sum(0) * scale[0] + params["bias"]
    np.testing.assert_allclose(by_bias, 2 * outputs, 1e-6)
    np.testing.assert_allclose(by_scale[0], 2 * outputs * values.sum(0), 1e-6)
