"""Custom cells from plain functions."""

import jax
import jax.numpy as jnp
import pytest

import recur


def layer_of(step, **options):
    """A scan of a user's step over a state of four numbers."""
    return recur.scan(
        recur.cell(
            init=lambda key, x: {"w": jax.random.normal(key, (x.shape[0], 4))},
            init_carry=lambda params, x: jnp.zeros(4),
            step=step,
            **options,
        )
    )


def run(step, **options):
    layer, xs = layer_of(step, **options), jnp.ones((5, 3))
    return layer.run(layer.init(jax.random.key(0), xs), xs)


def test_functions_get_the_options_that_they_take():
    def init(key, x, context):
        return context["scale"]

    def bind(params, x, key):
        return params if key is None else -params

    def step(bound, h, x, key):
        h = h + bound * x + (0 if key is None else 1)
        return h, h

    layer = recur.scan(recur.cell(init, lambda params, x: jnp.zeros(x.shape), step, bind))
    xs, context = jnp.ones((3, 2)), {"scale": jnp.asarray(2.0)}
    params = layer.init(jax.random.key(0), xs, context=context)
    assert layer(params, xs)[-1].tolist() == [6.0, 6.0]
    assert layer(params, xs, key=jax.random.key(1))[-1].tolist() == [-3.0, -3.0]


def test_a_part_that_is_no_function_is_named():
    with pytest.raises(TypeError, match="cell: init_carry: expected a function, got int"):
        recur.cell(lambda key, x: (), 3, lambda params, h, x: (h, h))


@pytest.mark.parametrize("result", [None, jnp.zeros(4), (jnp.zeros(4),)])
def test_a_step_that_returns_no_pair_is_refused(result):
    with pytest.raises(TypeError, match=r"expected a tuple \(carry, y\)"):
        run(lambda params, h, x: result)


def test_a_change_in_place_is_refused():
    def step(params, h, x):
        params["w"] = 2 * params["w"]
        return h, h

    with pytest.raises(TypeError, match="changes its params, carry or x in place"):
        run(step)


@pytest.mark.parametrize("carry", [jnp.zeros(5), jnp.zeros(4, jnp.int32), (jnp.zeros(4),)])
def test_a_step_that_changes_its_carry_is_refused(carry):
    with pytest.raises(ValueError, match="expected the next carry to have the structure"):
        run(lambda params, h, x: (carry, h))
