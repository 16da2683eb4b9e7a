import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import recur
from recur.modules import ACTIVATIONS, activation, as_module

X = jnp.ones(4, jnp.float32)


class Asks(nn.Module):
    """A module with the argument `deterministic`, which sets that of a nested one itself."""

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
    with pytest.raises(TypeError, match="whose arrays would not be trained"):
        recur.modules.activation(eqx.nn.Linear(3, 4, key=jax.random.key(0)))


def test_recurrent_modules_are_lifted_as_cells():
    import equinox as eqx
    from flax import nnx

    of_nnx = nnx.GRUCell(3, 4, rngs=nnx.Rngs(0))
    of_equinox = eqx.nn.GRUCell(3, 4, key=jax.random.key(0))
    for door, modules in {
        "from_linen": (nn.GRUCell(3), nn.RNN(nn.GRUCell(3))),
        "from_nnx": (of_nnx, nnx.RNN(of_nnx)),
        "from_equinox": (of_equinox, eqx.nn.LSTMCell(3, 4, key=jax.random.key(0))),
    }.items():
        for module in modules:
            with pytest.raises(TypeError, match=f"keeps a state over time. Lift its cell.*{door}"):
                recur.chain(module)
            with pytest.raises(TypeError, match="keeps a state over time"):
                recur.readout(recur.gru(3), module)


def stateful_modules():
    import equinox as eqx
    from flax import nnx

    keys, rngs = jax.random.split(jax.random.key(0)), nnx.Rngs(0)
    return {
        "nnx": nnx.Sequential(nnx.Linear(4, 9, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)),
        "equinox": eqx.nn.Sequential(
            [eqx.nn.Linear(4, 9, key=keys[0], dtype=jnp.float32), eqx.nn.Dropout(0.5)]
        ),
    }


@pytest.mark.parametrize("library", ["nnx", "equinox"])
def test_dropout_of_modules_that_hold_weights_is_on_when_a_key_is_given(library):
    """And the module itself, its random streams included, stays as it is."""
    module = stateful_modules()[library]
    before = [leaf.tolist() for leaf in jax.tree.leaves(module) if hasattr(leaf, "tolist")]
    layer, xs = recur.batch(recur.chain(module)), jnp.ones((2, 3, 4), jnp.float32)
    params = layer.init(jax.random.key(0), xs)
    quiet = layer(params, xs)
    assert (quiet == layer(params, xs)).all() and (quiet[0, 0] == quiet[1, 2]).all()
    noisy = layer(params, xs, key=jax.random.key(1))
    assert (noisy == layer(params, xs, key=jax.random.key(1))).all()
    masks = {(row == 0).tobytes() for row in jax.device_get(noisy).reshape(6, 9)}
    assert len(masks) == 6  # each step of each row has its own
    after = [leaf.tolist() for leaf in jax.tree.leaves(module) if hasattr(leaf, "tolist")]
    assert before == after


def test_a_scalar_given_to_a_layer_of_vectors_is_an_error():
    for module in (nn.Dense(2), nn.Sequential([nn.Dense(3), nn.tanh])):
        module = as_module(module)
        with pytest.raises(ValueError, match=r"got the shape \(\). An axis is missing"):
            module.init(jax.random.key(0), X[0])
        with pytest.raises(ValueError, match="An axis is missing"):
            module.apply(module.init(jax.random.key(0), X), X[0])
    embed = as_module(nn.Embed(5, 3))
    assert embed.apply(embed.init(jax.random.key(0), jnp.array(2)), jnp.array(2)).shape == (3,)
