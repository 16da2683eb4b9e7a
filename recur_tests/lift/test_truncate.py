import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur_tests.helpers import assert_close, random_like, weighted_sum
from recur_tests.oracles.bptt import bptt

F64 = {"param_dtype": jnp.float64}
MODEL = recur.chain(
    recur.scan(recur.elman(4, use_bias=False, **F64)), nn.Dense(5, use_bias=False, **F64)
)


def textbook(steps_back):
    """The loss and gradients of s_t = tanh(U x_t + W s_{t-1}), o_t = softmax(V s_t), by hand."""
    xs = np.eye(5)[[0, 3, 1, 4, 2, 2, 0]]
    targets = np.array([3, 1, 4, 2, 2, 0, 1])
    params = random_like(jax.eval_shape(MODEL.init, jax.random.key(0), jnp.asarray(xs)), 1)
    carry = (jnp.array([0.3, -0.2, 0.5, 0.1]), ())
    u, w, v = params[0].kernel.T, params[0].recurrent_kernel.T, params[1]["kernel"].T
    arrays = (np.asarray(array) for array in (u, v, w))
    by_hand = bptt(*arrays, xs, targets, np.asarray(carry[0]), steps_back)

    def loss(params, model):
        logits = model.run(params, jnp.asarray(xs), carry=carry)[1]
        return -jax.nn.log_softmax(logits)[jnp.arange(7), targets].sum()

    return by_hand, lambda model: jax.jit(jax.value_and_grad(loss), static_argnums=1)(params, model)


@pytest.mark.parametrize("steps_back", [0, 1, 3, None])
def test_is_the_textbooks_backpropagation_through_time(steps_back):
    """With k1 = 1 and k2 = n + 1, and full backpropagation with `scan`."""
    (loss, (du, dv, dw)), differentiate = textbook(steps_back)
    plain = steps_back is None
    model = MODEL if plain else recur.truncate(MODEL, k1=1, k2=steps_back + 1)
    value, gradient = differentiate(model)
    assert_close(float(value), float(loss), 1e-12)
    assert_close(np.asarray(gradient[0].kernel).T, du)
    assert_close(np.asarray(gradient[0].recurrent_kernel).T, dw)
    assert_close(np.asarray(gradient[1]["kernel"]).T, dv)


def test_the_textbooks_model_has_the_textbooks_number_of_parameters():
    model = recur.chain(
        recur.scan(recur.elman(100, use_bias=False)), nn.Dense(8000, use_bias=False)
    )
    spec = jax.ShapeDtypeStruct((3, 8000), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), spec)
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert count == 2 * 100 * 8000 + 100**2 == 1_610_000


def by_definition(layer, k1, k2, params, carry, xs, mask, reset):
    """Each block of k1 outputs from a constant carry k2 steps before its end, one by one."""
    end = max(t for t in range(len(xs)) if mask[t] or reset[t]) + 1
    flags = {"mask": jnp.asarray(mask), "reset": jnp.asarray(reset)}

    def piece(carry, begin, end):
        part = {name: flag[begin:end] for name, flag in flags.items()}
        return layer.run(params, xs[begin:end], carry=carry, **part)

    ys, final = [], carry
    for e in (min(e, end) for e in range(k1, len(xs) + k1, k1)):
        begin = max(e - k2, 0)
        first = carry if begin == 0 else jax.lax.stop_gradient(piece(carry, 0, begin)[0])
        final, window = piece(first, begin, e)
        ys.append(window[len(window) - (e - sum(map(len, ys))) :])
    return final, jnp.concatenate(ys)


@pytest.mark.parametrize(("k1", "k2"), [(2, 3), (3, 5), (4, 4)])
def test_is_its_definition(k1, k2):
    layer = recur.scan(recur.elman(2, **F64))
    xs = random_like(jax.ShapeDtypeStruct((7, 3), jnp.float64), 0)
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), xs), 1)
    arguments = params, random_like(layer.init_carry(params, xs), 2), xs

    def truncated(params, carry, xs, mask, reset):
        flags = {"mask": jnp.asarray(mask), "reset": jnp.asarray(reset)}
        return recur.truncate(layer, k1, k2).run(params, xs, carry=carry, **flags)

    def defined(*arguments):
        final, ys = by_definition(layer, k1, k2, *arguments)
        return final, jnp.zeros((7, 2)).at[: len(ys)].set(ys)

    def results(run, arguments, mask, reset):
        def loss(arguments):
            ends = run(*arguments, mask, reset)
            return weighted_sum(ends), ends

        return jax.grad(loss, has_aux=True)(arguments)

    find = jax.jit(lambda *given: results(truncated, *given))
    for mask, reset in [
        (np.arange(7) != 2, np.arange(7) == 4),
        (np.arange(7) < 4, np.arange(7) == 5),
    ]:
        by_hand = jax.jit(lambda given, flags=(mask, reset): results(defined, given, *flags))
        assert_close(find(arguments, mask, reset), by_hand(arguments))


def test_each_window_draws_noise_when_a_key_is_given():
    layer = recur.truncate(recur.chain(recur.scan(recur.gru(8)), nn.Dropout(0.5)), 2, 3)
    xs = jnp.ones((6, 3), jnp.float32)
    params = layer.init(jax.random.key(0), xs)
    run = jax.jit(layer)
    one, other = (run(params, xs, key=jax.random.key(seed)) for seed in (1, 2))
    assert (one != other).any()
    assert (one == run(params, xs, key=jax.random.key(1))).all()
    assert (run(params, xs) != 0).all()


@pytest.mark.parametrize(
    ("k1", "k2", "message"),
    [
        (3, 2, "expected k2 >= k1, got k1=3 and k2=2"),
        (0, 2, "truncate: k1: expected a whole number of at least 1, got 0"),
        (-1, 1, "truncate: k1: expected a whole number of at least 1, got -1"),
        (1.0, 2, "truncate: k1: expected a whole number of at least 1, got 1.0"),
        (1, True, "truncate: k2: expected a whole number of at least 1, got True"),
    ],
)
def test_windows_shorter_than_blocks_are_an_error(k1, k2, message):
    with pytest.raises(ValueError, match=message):
        recur.truncate(recur.scan(recur.gru(4)), k1, k2)


def test_layers_that_cannot_be_fed_in_pieces_are_an_error():
    backward = recur.scan(recur.gru(4), reverse=True)
    both = recur.bidirectional(recur.scan(recur.gru(4)), backward)
    for layer in (backward, both, recur.chain(both, nn.Dense(2))):
        with pytest.raises(ValueError, match="does not read forward only"):
            recur.truncate(layer, 2, 2)
    with pytest.raises(TypeError, match="expected a layer, got Cell"):
        recur.truncate(recur.gru(4), 2, 2)
