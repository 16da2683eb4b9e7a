"""The parallel scan of cells that are linear in their carry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur_tests.helpers import assert_close, random_like, weighted_sum

F64 = {"param_dtype": jnp.float64}
XS = np.random.default_rng(0).standard_normal((5, 3))


def of_step(step, init_carry=lambda params, x: jnp.zeros(3)):
    """Makes a layer from a step with one weight per unit."""
    return recur.associative(recur.cell(lambda key, x: jnp.full(3, 0.5), init_carry, step))


LINEAR = {
    "interpolated": lambda w, h, x: h + w * (x - h),
    "divided": lambda w, h, x: (h - x) / (2 + w) - h,
    "selected": lambda w, h, x: jnp.where(x > 0, w * h, -h) + x,
    "cast": lambda w, h, x: (h.astype(jnp.float32) * 0.5).astype(jnp.float64) + x,
    "reshaped": lambda w, h, x: (h[None] * w[None] + x[None]).reshape(3),
    "jitted": lambda w, h, x: jax.jit(lambda h: w * h)(h) + jax.checkpoint(jnp.tanh)(x),
    "named": lambda w, h, x: recur.name(w * h, "decayed") + x,
    "forgotten": lambda w, h, x: w * x,
    "held": lambda w, h, x: h,
    "literal": lambda w, h, x: 1 - h,
}


@pytest.mark.parametrize("name", LINEAR)
def test_coefficients_are_found_in_a_step(name):
    def step(w, h, x):
        after = LINEAR[name](w, h, x)
        return after, jnp.tanh(after) + h  # the output may read the carry as it likes

    layer = of_step(step)
    oracle = recur.loop(recur.cell(lambda key, x: x, lambda w, x: jnp.zeros(3), step))

    def results(layer):
        def loss(w, carry):
            ends = layer.run(w, XS, carry=carry, length=4)
            return weighted_sum(ends), ends

        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(jnp.full(3, 0.5), jnp.full(3, 0.3))

    assert_close(results(layer), results(oracle), 1e-6 if name == "cast" else 1e-9)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda w, h, x: jnp.tanh(w * h + x), "the primitive 'tanh'"),
        (lambda w, h, x: h * h, "the primitive 'mul' to it, as both factors"),
        (lambda w, h, x: x / (2 + h), "the primitive 'div'"),
        (lambda w, h, x: jnp.where(h > 0, x, h), "the primitive 'gt'"),
        (lambda w, h, x: h @ jnp.diag(w) + x, "the primitive 'dot_general'"),
        (lambda w, h, x: h[::-1] + x, "the primitive 'rev'"),
        (lambda w, h, x: jnp.roll(h, 1), "the primitive '(slice|split|gather|concatenate)'"),
        (lambda w, h, x: h.astype(jnp.int32).astype(jnp.float64), "'convert_element_type'"),
        (lambda w, h, x: jax.nn.relu(h), "the primitive '(custom_jvp_call|max)'"),
        (lambda w, h, x: jax.lax.cond(x[0] > 0, jnp.negative, jnp.abs, h), "the primitive 'cond'"),
    ],
)
def test_a_step_that_is_not_linear_is_an_error_that_names_the_primitive(step, message):
    layer = of_step(lambda w, h, x: (step(w, h, x), h))
    with pytest.raises(TypeError, match=f"linear in its carry.*{message}.*recur.scan, recur.loop"):
        layer(jnp.full(3, 0.5), XS)


def test_parts_of_a_carry_that_mix_are_an_error():
    def swap(w, carry, x):
        a, b = carry
        return (b, a + x), a

    def mix(w, carry, x):
        a, b = carry
        return (a + b, b), a

    def both(w, x):
        return jnp.zeros(3), jnp.zeros(3)

    with pytest.raises(TypeError, match="one whose next part 0 depends on part 1"):
        of_step(swap, both)(jnp.ones(3), XS)
    with pytest.raises(TypeError, match="the primitive 'add' to it, which mixes parts"):
        of_step(mix, both)(jnp.ones(3), XS)


def test_cells_that_are_not_linear_and_what_is_no_cell():
    xs = jnp.ones((4, 3))
    leaky, gru = recur.leaky_integrator(**F64), recur.gru(3, **F64)
    for cell in (recur.lstm(3, **F64), recur.stack(leaky, gru)):
        layer = recur.associative(cell)
        params = layer.init(jax.random.key(0), xs)
        with pytest.raises(TypeError, match=r"associative: expected a step that is linear"):
            layer(params, xs)
    with pytest.raises(TypeError, match="expected a cell, got a layer"):
        recur.associative(recur.scan(recur.leaky_integrator()))


@pytest.mark.parametrize("reverse", [False, True])
def test_hundreds_of_steps_equal_the_scan(reverse):
    cell = recur.stack(recur.diagonal(3, complex_state=True, **F64), recur.leaky_integrator(**F64))
    xs = random_like(jax.ShapeDtypeStruct((501, 2), jnp.float64), 0)
    layer, oracle = recur.associative(cell, reverse=reverse), recur.scan(cell, reverse=reverse)
    params = layer.init(jax.random.key(0), xs)
    reset = jnp.arange(501) % 130 == 5
    marks = {"length": 420, "reset": reset}

    @jax.jit
    def both(params, xs):
        return layer.run(params, xs, **marks), oracle.run(params, xs, **marks)

    assert_close(*both(params, xs), 1e-10)


@pytest.mark.parametrize("reverse", [False, True])
def test_what_comes_before_a_reset_does_not_matter_nan_included(reverse):
    layer = recur.associative(recur.leaky_integrator(**F64), reverse=reverse)
    xs = random_like(jax.ShapeDtypeStruct((7, 2), jnp.float64), 0)
    params = layer.init(jax.random.key(0), xs)
    seam = 4
    first, second = (
        (slice(seam, 7), slice(0, seam)) if reverse else (slice(0, seam), slice(seam, 7))
    )

    reset = jnp.arange(7) == seam
    clean = layer(params, xs, reset=reset)[second]
    for lost, carry in ((xs.at[first].set(jnp.nan), jnp.zeros(2)), (xs, jnp.full(2, jnp.nan))):
        assert_close(layer.run(params, lost, carry=carry, reset=reset)[1][second], clean)


def test_a_carry_of_nan_does_not_matter_where_the_first_step_is_a_reset():
    layer = recur.associative(recur.leaky_integrator(**F64))
    xs = random_like(jax.ShapeDtypeStruct((7, 2), jnp.float64), 0)
    params = layer.init(jax.random.key(0), xs)

    @jax.value_and_grad
    def loss(params, carry):
        return layer.run(params, xs, carry=carry, reset=jnp.arange(7) == 0)[1].sum()

    assert_close(loss(params, jnp.full(2, jnp.nan)), loss(params, jnp.zeros(2)))


def test_depth_grows_with_the_logarithm_of_the_length():
    layer = recur.associative(recur.leaky_integrator())

    def size(count):
        xs = jnp.ones((count, 2), jnp.float32)
        params = layer.init(jax.random.key(0), xs)
        return len(str(jax.make_jaxpr(layer)(params, xs)).splitlines())

    sizes = np.array([size(2**k) for k in (6, 8, 10, 12)])
    assert len(set(np.diff(sizes))) <= 2 and sizes[-1] < 3 * sizes[0]


def given_coefficients():
    """The cell whose inputs (a_t, b_t) are its coefficients, and whose params are its carry_0."""

    def step(params, h, x):
        a, b = x
        h = a * h + b
        return h, h

    return recur.cell(lambda key, x: x[1], lambda params, x: params, step)


@pytest.mark.parametrize("reverse", [False, True])
def test_zeros_resets_and_padding_in_log_space_have_the_values_and_derivatives_of_the_loop(reverse):
    cell = given_coefficients()
    a, b, carry = jnp.abs(random_like(jnp.zeros((3, 9, 2)), 0))
    a, b = a.at[4, 0].set(0), b.at[0, 0].set(0).at[5, 1].set(0).at[6].set(0)
    xs, params, carry = (a, b), jnp.array([0.0, 0.7]), carry[0].at[1].set(0)
    marks = {"reset": jnp.arange(9) == 3, "mask": ~jnp.isin(jnp.arange(9), jnp.array([1, 8]))}

    @jax.jit
    def results(*arguments):
        def of(layer):
            def loss(params, carry, xs):
                results = layer.run(params, xs, carry=carry, **marks)
                return weighted_sum(results), results

            def slope(*arguments):
                _, tangent = jax.jvp(lambda *a: loss(*a)[0], arguments, random_like(arguments, 5))
                return tangent

            first = jax.grad(loss, (0, 1, 2), has_aux=True)(*arguments)
            return first, jax.grad(slope, (0, 1, 2))(*arguments)

        lifted = recur.associative(cell, reverse=reverse, log_space=True)
        return of(lifted), of(recur.scan(cell, reverse=reverse))

    actual, expected = results(params, carry, xs)
    assert_close(actual, expected)


def test_in_log_space_what_comes_before_a_reset_does_not_matter():
    layer = recur.associative(recur.leaky_integrator(**F64), log_space=True)
    xs = jnp.abs(random_like(jnp.zeros((7, 2)), 0))
    params = layer.init(jax.random.key(0), xs)
    reset = jnp.arange(7) == 4
    run = jax.jit(lambda xs: layer.run(params, xs, reset=reset, all_carries=True))
    lost, expected = run(xs.at[2].set(-1.0)), run(xs)  # which has no logarithm
    after = [jax.tree.map(lambda leaf: leaf[4:], ends) for ends in (lost, expected)]
    assert_close(*after)
    assert jnp.isnan(lost[0][2:4]).all()


def test_in_log_space_products_of_coefficients_do_not_overflow():
    a, b = jnp.full((64, 1), 1e30), jnp.zeros((64, 1)).at[-2].set(1.0)
    layer = recur.associative(given_coefficients(), log_space=True)
    ys = jax.jit(layer)(jnp.zeros(1), (a, b))
    assert_close(ys[-3:], jnp.array([[0.0], [1.0], [1e30]]))


def test_in_log_space_complex_numbers_are_refused():
    turning = recur.diagonal(3, complex_state=True, **F64)
    layer = recur.associative(recur.stack(turning, recur.leaky_integrator(**F64)), log_space=True)
    xs = jnp.ones((4, 2))
    params = layer.init(jax.random.key(0), xs)
    with pytest.raises(TypeError, match="log_space expects real, nonnegative .* got complex128"):
        layer(params, xs)
