import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.combine.film import FilmParams, film
from recur_tests.combine.loops import products_in_loop
from recur_tests.helpers import assert_close, random_like, weighted_sum

F64 = {"param_dtype": jnp.float64}
GRU = recur.gru(4, **F64)
XS = np.sin(np.arange(15.0)).reshape(5, 3)
Z = np.array([0.5, -1.0])
LIFTS = (recur.scan, recur.loop)
LAYER = recur.scan(film(GRU, "style", **F64))


def given(layer=LAYER):
    context = {"style": Z}
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), XS, context=context))
    return random_like(shapes, 1), context


def test_it_scales_and_shifts_each_feature():
    params, context = given()
    assert isinstance(params, FilmParams)
    carry, ys = LAYER.run(params, XS, context=context)
    expected, hs = recur.scan(GRU).run(params.cell, XS)
    scale, shift = 1 + Z @ params.scale_kernel, Z @ params.shift_kernel
    assert_close((carry, ys), (expected, scale[None] * hs + shift[None]), 1e-12)


def test_with_zero_kernels_it_is_the_cell():
    params, context = given()
    params = jax.tree.map(jnp.zeros_like, params)._replace(cell=params.cell)
    assert_close(LAYER(params, XS, context=context), recur.scan(GRU)(params.cell, XS), 0)


def test_kernels_are_drawn_apart():
    params = LAYER.init(jax.random.key(0), XS, context={"style": Z})
    assert params.scale_kernel.shape == params.shift_kernel.shape == (2, 4)
    assert (params.scale_kernel != params.shift_kernel).all()


def test_only_the_recurrent_product_is_in_the_loop():
    assert products_in_loop(film(GRU, "style", **F64), context={"style": Z}) == [(12,)]


def test_a_linear_cell_stays_linear():
    cell = film(recur.diagonal(4, **F64), "style", **F64)
    params, context = given(recur.scan(cell))
    scanned = recur.scan(cell).run(params, XS, context=context)
    assert_close(recur.associative(cell).run(params, XS, context=context), scanned)


def test_scan_equals_loop_in_values_and_gradients():
    params, _ = given()

    def results(lift, *arguments):
        layer = lift(film(GRU, "style", **F64), reverse=True)

        def loss(params, z):
            ends = layer.run(params, XS, context={"style": z}, length=3)
            return weighted_sum(ends), ends

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(*arguments)

    both = jax.jit(lambda *arguments: [results(lift, *arguments) for lift in LIFTS])
    scanned, looped = both(params, Z)
    assert_close(scanned, looped)
    assert scanned[0][1].all()


def test_each_row_of_a_batch_has_its_own():
    params, _ = given()
    xs, zs = np.stack([XS, -XS]), np.stack([Z, 3 * Z])
    run, run_rows = jax.jit(LAYER), jax.jit(recur.batch(LAYER))
    ys = run_rows(params, xs, context={"style": zs}, length=jnp.array([5, 2]))
    alone = [
        run(params, x, context={"style": z}, length=n)
        for x, z, n in zip(xs, zs, (5, 2), strict=True)
    ]
    assert_close(ys, jnp.stack(alone))


def test_channels_of_images_are_scaled_everywhere():
    summing = recur.cell(
        init=lambda key, x: jnp.ones(()),
        init_carry=lambda params, x: jnp.zeros(x.shape),
        step=lambda params, h, x: (h + x, h + x),
    )
    layer = recur.scan(film(summing, "style", **F64))
    xs = random_like(jax.ShapeDtypeStruct((2, 5, 6, 3), jnp.float64), 2)
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), xs, context={"style": Z}), 1)
    scale, shift = 1 + Z @ params.scale_kernel, Z @ params.shift_kernel
    y = jax.jit(layer)(params, xs, context={"style": Z})[0, 4, 2]
    assert_close(y, scale * xs[0, 4, 2] + shift)


def test_the_output_keeps_the_dtype_of_the_cell():
    layer = recur.scan(film(recur.gru(4, dtype=jnp.bfloat16), "style"))
    xs, context = XS.astype(np.float32), {"style": Z.astype(np.float32)}
    params = jax.eval_shape(lambda: layer.init(jax.random.key(0), xs, context=context))
    ys = jax.eval_shape(lambda params: layer(params, xs, context=context), params)
    assert (params.scale_kernel.dtype, ys.dtype) == (jnp.float32, jnp.bfloat16)


def test_wrong_use_is_an_error():
    with pytest.raises(TypeError, match="film: expected a cell, got a layer"):
        film(recur.scan(GRU), "style")
    params, _ = given()
    with pytest.raises(ValueError, match="film needs the context 'style', and got nothing"):
        LAYER(params, XS)
    with pytest.raises(ValueError, match="film: 'style': expected the width 2, as at init, got 3"):
        LAYER(params, XS, context={"style": np.zeros(3)})
    with pytest.raises(ValueError, match=r"film: 'style': expected \[D\] of one sequence, got"):
        LAYER(params, XS, context={"style": np.zeros((5, 2))})
    with pytest.raises(TypeError, match=r"film: 'style': expected real numbers \[D\], got int64"):
        LAYER(params, XS, context={"style": np.arange(2)})
    with pytest.raises(ValueError, match="one entry for each of 4 rows"):
        recur.batch(LAYER)(params, np.zeros((4, 5, 3)), context={"style": np.zeros((3, 2))})
    paired = recur.readout(GRU, lambda v: (v, v))
    with pytest.raises(
        ValueError, match=r"film: expected a cell with outputs \[F\], got \(float64"
    ):
        recur.scan(film(paired, "style", **F64)).init(jax.random.key(0), XS, context={"style": Z})
