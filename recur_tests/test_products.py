"""Products with one kernel for all rows: values, derivatives of both orders, and their layout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from recur.products import loop_product, product
from recur_tests.helpers import assert_close, inner_jaxprs, weighted_sum

DRAWS = np.random.default_rng(0)


def of_one_step(x, kernel, **params):
    return loop_product(x, kernel, kernel.T, **params)


BOTH = pytest.mark.parametrize("multiply", [product, of_one_step])


def drawn(*shape):
    return jnp.asarray(DRAWS.standard_normal(shape))


def over_rows(multiply, count):
    for _ in range(count):
        multiply = jax.vmap(multiply, (0, None))
    return multiply


def value_and_derivatives(multiply, kernel, x):
    """The value, the gradient, its gradient, and derivatives in forward mode of either order."""

    def value(kernel, x):
        return weighted_sum(multiply(jnp.sin(x), kernel))

    gradient = jax.grad(value, (0, 1))

    @jax.jit
    def derive(kernel, x):
        given, direction = (kernel, x), (jnp.cos(kernel), jnp.cos(x))
        twice = jax.grad(lambda *given: weighted_sum(gradient(*given)), (0, 1))
        forward = jax.jvp(value, given, direction)
        forward_over_reverse = jax.jvp(gradient, given, direction)
        return value(*given), gradient(*given), twice(*given), forward, forward_over_reverse

    return derive(kernel, x)


def equations_of(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in inner_jaxprs(equation):
            yield from equations_of(inner)


def equations(function, *args):
    return list(equations_of(jax.make_jaxpr(function)(*args).jaxpr))


def named(found, name):
    return [equation for equation in found if equation.primitive.name == name]


@pytest.mark.parametrize("shape", [(), (5,), (2, 5), (0, 5), (3, 2, 5)], ids=str)
@BOTH
def test_values_and_derivatives_are_those_of_a_plain_product(multiply, shape):
    kernel, x = drawn(4, 3), drawn(*shape, 4)
    expected = value_and_derivatives(jnp.matmul, kernel, x)
    found = value_and_derivatives(over_rows(multiply, len(shape)), kernel, x)
    assert_close(found, expected, 1e-12)
    if multiply is product:  # which takes all leading axes without a vmap
        assert_close(value_and_derivatives(product, kernel, x), expected, 1e-12)


@BOTH
def test_values_are_the_same_eagerly(multiply):
    kernel, x = drawn(4, 3), drawn(4)
    assert_close(multiply(x, kernel), x @ kernel, 1e-15)


@BOTH
def test_rows_may_be_on_any_axis(multiply):
    kernel, x = drawn(4, 3), drawn(4, 5)
    found = jax.vmap(multiply, (1, None), out_axes=1)(x, kernel)
    assert_close(found, (x.T @ kernel).T, 1e-12)


@pytest.mark.parametrize("axes", [(0, 0), (None, 0), (0, None)], ids=str)
@BOTH
def test_kernels_that_differ_by_row_and_gradients_by_row(multiply, axes):
    x = drawn(4) if axes[0] is None else drawn(2, 4)
    kernel = drawn(4, 3) if axes[1] is None else drawn(2, 4, 3)

    def by_row(multiply):
        def derive(x, kernel):
            return value_and_derivatives(multiply, kernel, x)

        return jax.vmap(derive, axes)(x, kernel)

    assert_close(by_row(multiply), by_row(jnp.matmul), 1e-12)


def test_kernels_of_rows_within_rows():
    """Heads have a kernel each, which all sequences share."""
    kernels, xs = drawn(2, 4, 3), drawn(5, 2, 4)
    for multiply in (product, of_one_step):
        found = jax.vmap(jax.vmap(multiply), (0, None))(xs, kernels)
        assert_close(found, jnp.einsum("nhi,hij->nhj", xs, kernels), 1e-12)


def test_rows_come_after_steps():
    steps_of = jax.vmap(product, (0, None))
    found = equations(jax.vmap(steps_of, (0, None)), drawn(2, 5, 4), drawn(4, 3))
    [inside] = named(found, "product")
    assert inside.outvars[0].aval.shape == (5, 2, 3)


@pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 3, 2)], ids=str)
def test_the_gradient_of_a_kernel_has_x_on_the_left_and_dy_is_not_moved(shape):
    x, kernel, dy = drawn(*shape, 4), drawn(4, 3), drawn(*shape, 3)
    jaxpr = jax.make_jaxpr(lambda x, kernel, dy: jax.vjp(product, x, kernel)[1](dy))(x, kernel, dy)
    of_x, of_kernel, of_dy = jaxpr.jaxpr.invars
    found = list(equations_of(jaxpr.jaxpr))
    [gradient] = named(found, "dot_general")
    assert gradient.invars == [of_x, of_dy]
    (left, right), batch_axes = gradient.params["dimension_numbers"]
    assert tuple(left) == tuple(right) == tuple(range(len(shape)))
    assert not any(batch_axes)
    assert gradient.outvars[0].aval.shape == kernel.shape
    [transposition] = named(found, "transpose")
    assert transposition.invars == [of_kernel]
    for reshaping in ("reshape", "copy", "squeeze", "broadcast_in_dim"):
        assert not named(found, reshaping)


def test_the_gradient_of_a_kernel_keeps_its_layout_under_vmap():
    """Rows that a `vmap` adds are summed by the same product, without a move of dy."""
    x, kernel, dy = drawn(5, 2, 4), drawn(4, 3), drawn(5, 2, 3)
    rows = jax.vmap(product, (1, None), out_axes=1)
    found = equations(lambda kernel, dy: jax.vjp(rows, x, kernel)[1](dy)[1], kernel, dy)
    [gradient] = named(found, "dot_general")
    assert [each.aval.shape for each in gradient.invars] == [x.shape, dy.shape]
    moved = {equation.invars[0].aval.shape for equation in named(found, "transpose")}
    assert dy.shape not in moved


def test_a_step_of_a_loop_transposes_no_kernel():
    kernel, h = drawn(4, 4), drawn(4)

    def end(h, kernel, transposed):
        def step(h, _):
            return jnp.tanh(loop_product(h, kernel, transposed)), None

        return jax.lax.scan(step, h, None, length=3)[0].sum()

    found = equations(jax.grad(end), h, kernel, kernel.T)
    assert not named(found, "transpose") and not named(found, "dot_general")
    forward, backward = named(found, "loop_product")
    assert forward.invars[1:] != backward.invars[1:]
    expected = jax.grad(lambda h: jnp.tanh(jnp.tanh(jnp.tanh(h @ kernel) @ kernel) @ kernel).sum())
    assert_close(jax.grad(end)(h, kernel, kernel.T), expected(h), 1e-12)


def test_the_way_back_of_a_loop_product_is_by_the_transposed_kernel():
    h, kernel, another = drawn(4), drawn(4, 3), drawn(3, 4)
    value, back = jax.vjp(lambda h: loop_product(h, kernel, another), h)
    dy = drawn(3)
    assert_close(value, h @ kernel, 1e-12)
    assert_close(back(dy)[0], dy @ another, 1e-12)


def test_the_transposed_kernel_alone_has_no_gradient():
    h, kernel = drawn(4), drawn(4, 3)
    gradient = jax.grad(lambda transposed: loop_product(h, kernel, transposed).sum())(kernel.T)
    assert not gradient.any()


@BOTH
def test_precision_is_that_of_the_products_of_the_derivative_too(multiply):
    kernel, x, dy = drawn(4, 3), drawn(2, 4), drawn(2, 3)
    precise = over_rows(functools.partial(multiply, precision=jax.lax.Precision.HIGHEST), 1)

    def value_and_gradient(x, kernel, dy):
        y, back = jax.vjp(precise, x, kernel)
        return y, back(dy)

    text = jax.jit(value_and_gradient).lower(x, kernel, dy).as_text()
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert len(products) == 3
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


@BOTH
def test_dtypes_are_those_of_a_plain_product(multiply):
    kernel, x = drawn(4, 3).astype(jnp.float32), drawn(4).astype(jnp.bfloat16)
    with jax.numpy_dtype_promotion("standard"):
        y, back = jax.vjp(multiply, x, kernel)
        assert y.dtype == jnp.float32
        assert [each.dtype for each in back(y)] == [jnp.bfloat16, jnp.float32]
    wide = functools.partial(multiply, preferred_element_type=jnp.float32)
    y, back = jax.vjp(wide, x, kernel.astype(jnp.bfloat16))
    assert y.dtype == jnp.float32
    assert [each.dtype for each in back(y)] == [jnp.bfloat16, jnp.bfloat16]


@BOTH
def test_inside_of_a_shard_map(multiply):
    """Rows vary over devices and kernels do not: their gradients are summed."""
    kernel, h = drawn(4, 3), drawn(2, 4)

    def gradients(multiply):
        return jax.jit(jax.grad(lambda *given: weighted_sum(multiply(*given)), (0, 1)))(h, kernel)

    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
    split, whole = PartitionSpec("rows"), PartitionSpec()
    rows = over_rows(multiply, 1)
    sharded = jax.shard_map(rows, mesh=mesh, in_specs=(split, whole), out_specs=split)
    assert_close(gradients(sharded), gradients(jnp.matmul), 1e-12)


@BOTH
def test_on_a_mesh_of_explicit_axes(multiply):
    """The gradient of a kernel is a sum over rows of all devices, sharded as the kernel is."""
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Explicit,))
    kernel, x = drawn(4, 3), drawn(5, 2, 4)
    rows = over_rows(multiply, 2)

    def gradients(x, kernel):
        return jax.grad(lambda *given: (rows(*given) ** 2).sum(), (0, 1))(x, kernel)

    plain = jax.grad(lambda *given: (jnp.matmul(*given) ** 2).sum(), (0, 1))(x, kernel)
    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec(None, "rows")))
        found = jax.jit(gradients)(sharded, kernel)
        assert jax.typeof(found[0]).sharding.spec == PartitionSpec(None, "rows", None)
        assert jax.typeof(found[1]).sharding.is_fully_replicated
    assert_close(jax.device_get(found), jax.device_get(plain), 1e-12)
