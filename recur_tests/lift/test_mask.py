"""Wrong inputs of sequences, lengths, masks and carries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur

XS = np.ones((5, 3))
CELL = recur.gru(4, param_dtype=jnp.float64)
LAYERS = {
    "loop": recur.loop(CELL),
    "scan": recur.scan(CELL),
    "truncate": recur.truncate(recur.scan(CELL), 1, 2),
    "bidirectional": recur.bidirectional(recur.scan(CELL), recur.scan(CELL, reverse=True)),
    "chain": recur.chain("tanh", recur.scan(CELL)),
}


@pytest.fixture(params=LAYERS.values(), ids=LAYERS.keys())
def run(request):
    params = request.param.init(jax.random.key(0), XS)
    return lambda xs=XS, **options: jax.eval_shape(lambda: request.param.run(params, xs, **options))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"length": 2.5}, TypeError, "length: expected an integer, got float"),
        ({"length": True}, TypeError, "length: expected an integer, got bool"),
        (
            {"length": [2, 3]},
            ValueError,
            r"length: expected one integer for one sequence .* recur.batch.*, got the shape \[2\]",
        ),
        ({"length": 6}, ValueError, "length: expected from 0 to 5, the number of steps, got 6"),
        ({"length": -1}, ValueError, "length: expected from 0 to 5, the number of steps, got -1"),
        ({"mask": [1, 1, 1, 0, 0]}, TypeError, "mask: expected bool flags, got int"),
        ({"mask": [True] * 4}, ValueError, r"mask: expected .* shape \[5\], got \[4\]"),
        ({"reset": [1.0] * 5}, TypeError, "reset: expected bool flags, got float"),
        ({"reset": [[True] * 5]}, ValueError, r"reset: expected .* shape \[5\], got \[1, 5\]"),
        ({"carry": np.ones(3)}, ValueError, "carry"),
        ({"carry": (np.ones((2, 4)), np.ones((2, 4)))}, ValueError, "carry"),
    ],
)
def test_wrong_options_are_an_error_while_tracing(run, options, error, message):
    options = {n: v if n == "carry" else jnp.asarray(v) for n, v in options.items()}
    with pytest.raises(error, match=message):
        run(**options)


@pytest.mark.parametrize(
    ("xs", "message"),
    [
        ({}, "holds no array"),
        (
            {"a": np.ones((5, 3)), "b": np.ones((4, 3))},
            r"one leading time axis, got shapes \[5, 3",
        ),
        (np.ones(()), "one leading time axis"),
    ],
)
def test_wrong_sequences_are_an_error(xs, message):
    for layer in LAYERS.values():
        with pytest.raises(ValueError, match=message):
            layer.init(jax.random.key(0), xs)


@pytest.mark.parametrize(
    "carry", [np.ones(3), np.ones((2, 4)), (np.ones(4),), np.ones(4, np.float32), None]
)
@pytest.mark.parametrize("lift", [recur.loop, recur.scan])
def test_a_carry_of_another_structure_shape_or_dtype_is_an_error(lift, carry):
    layer = lift(CELL)
    bound = layer.bind(layer.init(jax.random.key(0), XS), XS)
    with pytest.raises(
        ValueError, match=r"carry: expected float64\[4\], as init_carry returns, got "
    ):
        layer.apply(bound, carry, XS, recur.Mask(), None)


def test_an_empty_sequence_has_no_outputs_and_keeps_the_carry():
    for name, layer in LAYERS.items():
        params = layer.init(jax.random.key(0), XS)
        given = jax.tree.map(lambda leaf: leaf + 0.5, layer.init_carry(params, XS))
        carry, ys = layer.run(params, XS[:0], carry=given)
        assert ys.shape == (0, 8 if name == "bidirectional" else 4)
        assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), carry, given))
