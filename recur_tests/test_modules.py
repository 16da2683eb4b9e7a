import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import recur
from recur.modules import ACTIVATIONS, activation, as_module

X = jnp.ones(4, jnp.float32)


class Asks(nn.Module):
    """A module that must be told, and tells a nested one that would be told otherwise."""

    @nn.compact
    def __call__(self, x, deterministic):
        x = nn.Dropout(0.5)(x, deterministic=deterministic)
        return nn.Dropout(0.5, deterministic=True)(x)


@pytest.mark.parametrize(
    "module", [nn.Dropout(0.5), nn.Sequential([nn.tanh, nn.Dropout(0.5)]), Asks()]
)
def test_noise_is_on_when_a_key_is_given(module):
    module = as_module(module)
    params = module.init(jax.random.key(0), X)
    quiet = module.apply(params, X)
    assert (quiet == module.apply(params, X)).all()
    draws = [module.apply(params, X, key=jax.random.key(seed)) for seed in range(8)]
    assert any((draw == 0).any() for draw in draws)
    assert any((draw != quiet).any() for draw in draws)


def test_a_module_that_has_decided_keeps_to_it():
    module = as_module(nn.Dropout(0.5, deterministic=True))
    assert (module.apply({}, X, key=jax.random.key(0)) == X).all()


def test_functions_and_names_have_no_params():
    for thing, function in (("tanh", jnp.tanh), (jnp.sin, jnp.sin)):
        module = as_module(thing)
        assert module.init(jax.random.key(0), X) == ()
        assert (module.apply((), X) == function(X)).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_name_is_a_function_of_one_step(name):
    assert activation(name)(X).shape == X.shape


def test_what_cannot_be_applied_is_an_error():
    with pytest.raises(ValueError, match="unknown activation 'sofmax'. Known by name: celu"):
        as_module("sofmax")
    with pytest.raises(TypeError, match="expected a module, a function or an activation's name"):
        as_module(3)
    with pytest.raises(TypeError, match="an activation's name, got Cell"):
        as_module(recur.lstm(3))
    with pytest.raises(
        TypeError, match="a function without weights, got Dense, whose arrays would"
    ):
        activation(nn.Dense(3))
    with pytest.raises(TypeError, match="got the class Dense: call it first"):
        as_module(nn.Dense)


def test_mutable_collections_are_an_error():
    with pytest.raises(ValueError, match="BatchNorm keeps mutable collections"):
        as_module(nn.BatchNorm(use_running_average=True)).init(jax.random.key(0), X)
    with pytest.raises(ValueError, match="Sequential keeps mutable collections"):
        as_module(nn.Sequential([nn.Dense(3), nn.BatchNorm()])).init(jax.random.key(0), X)


def test_another_width_is_an_error():
    module = as_module(nn.Dense(2))
    params = module.init(jax.random.key(0), X)
    with pytest.raises(ValueError, match="Dense was initialised for inputs of another width"):
        module.apply(params, X[:3])


def test_a_record_given_to_a_layer_of_one_array_names_its_fields():
    decoder = recur.chain(recur.scan(recur.attend(recur.lstm(4), "memory")), nn.Dense(3))
    xs = jnp.ones((5, 3), jnp.float32)
    with pytest.raises(TypeError, match="got Attended with the fields output, weights, context"):
        decoder.init(jax.random.key(0), xs, context={"memory": xs})


def test_modules_of_nnx_and_equinox_are_trained():
    import equinox as eqx
    from flax import nnx

    xs = jnp.ones((5, 3), jnp.float32)
    for module in (
        nnx.Linear(3, 4, rngs=nnx.Rngs(0)),
        eqx.nn.Linear(3, 4, key=jax.random.key(0), dtype=jnp.float32),
    ):
        layer = recur.chain(module)
        params = layer.init(jax.random.key(0), xs)
        grads = jax.grad(lambda params, layer=layer: layer(params, xs).sum())(params)
        assert all((leaf != 0).any() for leaf in jax.tree.leaves(grads))
        assert len(jax.tree.leaves(grads)) == 2


def test_modules_with_a_state_are_refused():
    import equinox as eqx
    from flax import nnx

    with pytest.raises(ValueError, match="neither parameters nor random streams"):
        as_module(nnx.BatchNorm(3, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"keeps state \(eqx.nn.State\)"):
        as_module(eqx.nn.BatchNorm(3, "rows", mode="ema"))
    with pytest.raises(TypeError, match="which keeps a state over time"):
        as_module(nn.RNN(nn.GRUCell(3)))
    with pytest.raises(TypeError, match="whose arrays would not be trained"):
        recur.modules.activation(eqx.nn.Linear(3, 4, key=jax.random.key(0)))
