"""Causal convolutions and the TCN, against a loop over steps in NumPy, Flax and PyTorch."""

import collections
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.classic import causal_conv, receptive_field, tcn, tcn_levels
from recur.decode import generate
from recur_tests.helpers import assert_close, random_like, to_numpy, weighted_sum

WIDE = {"param_dtype": jnp.float64}
LAYERS = {
    "conv": causal_conv(3, 3, dilation=2, **WIDE),
    "normed": causal_conv(3, 2, weight_norm=True, use_bias=False, **WIDE),
    "tcn": tcn(4, levels=3, kernel_size=3, **WIDE),
    "same width": tcn(2, levels=1, kernel_size=2, **WIDE),
}
XS = np.random.default_rng(0).standard_normal((17, 2))


def params_of(layer, seed=1):
    return random_like(layer.init(jax.random.key(0), XS), seed)


# --- Oracle ---------------------------------------------------------------------------------------


class Conv:
    """One convolution that keeps its last inputs, step by step."""

    def __init__(self, params, dilation):
        self.kernel, self.scale, self.bias = params
        if self.scale is not None:
            for f in range(self.kernel.shape[2]):
                kernel = self.kernel[:, :, f]
                self.kernel[:, :, f] = self.scale[f] * kernel / np.linalg.norm(kernel)
        self.dilation = dilation
        self.reset()

    def reset(self):
        self.inputs = collections.deque()

    def __call__(self, x):
        self.inputs.appendleft(x)
        y = np.zeros(self.kernel.shape[2]) if self.bias is None else self.bias.copy()
        for k, kernel in enumerate(self.kernel[::-1]):
            if k * self.dilation < len(self.inputs):
                y += self.inputs[k * self.dilation] @ kernel
        return y


def oracle(name, params, xs, valid=None, reset=None):
    """The outputs of a layer, step by step; steps that are not valid are skipped."""
    params = jax.tree.map(np.array, params)
    if name in ("conv", "normed"):
        convs = [Conv(params, 2 if name == "conv" else 1)]
        step = convs[0]
    else:
        blocks = [[Conv(p, d) for p in block[:2]] + [block[2] and Conv(block[2], 1)]
                  for block, d in zip(params, (1, 2, 4), strict=False)]  # fmt: skip
        convs = [conv for block in blocks for conv in block if conv]

        def step(x):
            for first, second, shortcut in blocks:
                z = np.maximum(second(np.maximum(first(x), 0)), 0)
                x = np.maximum(z + (shortcut(x) if shortcut else x), 0)
            return x

    ys = []
    for t, x in enumerate(xs):
        if reset is not None and reset[t]:
            for conv in convs:
                conv.reset()
        ys.append(step(x) if valid is None or valid[t] else None)
    width = next(len(y) for y in ys if y is not None)
    return np.stack([np.zeros(width) if y is None else y for y in ys])


HOLES = np.random.default_rng(1).random(17) < 0.6
RESETS = np.isin(np.arange(17), [3, 4, 11])


# --- Values ---------------------------------------------------------------------------------------


MASKS = {
    "none": {},
    "resets": {"reset": RESETS},
    "holes": {"mask": HOLES},
    "both": {"mask": HOLES, "reset": RESETS},
}
CASES = [(name, which) for name in ("conv", "tcn") for which in MASKS]
CASES += [(name, which) for name in ("normed", "same width") for which in ("none", "both")]


@pytest.mark.parametrize(("name", "which"), CASES)
def test_values_are_those_of_a_loop_over_steps(name, which):
    """Masked steps are skipped, also between others, and a reset starts from zeros."""
    layer, masks = LAYERS[name], MASKS[which]
    params = params_of(layer)
    xs = np.where(masks.get("mask", np.ones(17, bool))[:, None], XS, np.nan)
    found = np.asarray(layer(params, xs, **masks))
    expected = oracle(name, params, xs, masks.get("mask"), masks.get("reset"))
    assert_close(found, expected)
    if masks:
        assert abs(found - oracle(name, params, XS)).max() > 0.01


def test_it_is_the_convolution_of_flax():
    layer, params = LAYERS["conv"], params_of(LAYERS["conv"])
    flax = nn.Conv(3, (3,), padding="CAUSAL", kernel_dilation=2, param_dtype=jnp.float64)
    found = flax.apply({"params": {"kernel": params.kernel, "bias": params.bias}}, XS[None])[0]
    assert_close(layer(params, XS), found)


def test_it_is_the_network_of_pytorch():
    """With the modules of the authors' code: Conv1d with weight norm, chomp, ReLU, residual."""
    torch = pytest.importorskip("torch")
    layer = LAYERS["tcn"]
    params = to_numpy(params_of(layer))

    def conv(weights, dilation):
        size, width, features = weights.kernel.shape
        padding = (size - 1) * dilation
        made = torch.nn.Conv1d(width, features, size, padding=padding, dilation=dilation)
        if weights.scale is not None:
            made = torch.nn.utils.parametrizations.weight_norm(made)
            scale, direction = (
                getattr(made.parametrizations.weight, f"original{n}") for n in (0, 1)
            )
            scale.data = torch.tensor(weights.scale[:, None, None])
        else:
            direction = made.weight
        direction.data = torch.tensor(weights.kernel.transpose(2, 1, 0).copy())
        made.bias.data = torch.tensor(weights.bias)
        return lambda xs: made(xs)[..., : xs.shape[-1]]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xs = torch.tensor(XS.T[None])
        for level, block in enumerate(params):
            ys = conv(block.second, 2**level)(conv(block.first, 2**level)(xs).relu()).relu()
            xs = (ys + (conv(block.shortcut, 1)(xs) if block.shortcut else xs)).relu()
    assert_close(np.asarray(layer(params, XS)), xs[0].detach().numpy().T)


@pytest.mark.parametrize(("levels", "size"), [(1, 2), (3, 3), (2, 1)])
def test_the_receptive_field_is_what_a_step_reads(levels, size):
    layer = tcn(3, levels, size, **WIDE)
    reach = receptive_field(levels, size)
    xs = np.random.default_rng(0).standard_normal((reach + 4, 2)) ** 2
    params = jax.tree.map(abs, random_like(layer.init(jax.random.key(0), xs), 1))  # no ReLU is dead
    gradient = jax.grad(lambda xs: layer(params, xs)[-1].sum())(xs)
    assert (gradient[-reach:] != 0).all() and not gradient[:-reach].any()


@pytest.mark.parametrize("size", [2, 7])
def test_the_levels_are_the_fewest_that_read_the_steps(size):
    for steps in (1, 2, 3, 4, 12, 13, 14, 784):
        levels = tcn_levels(steps, size)
        assert receptive_field(levels, size) >= steps
        assert levels == 1 or receptive_field(levels - 1, size) < steps


# --- Carry ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["conv", "tcn"])
def test_pieces_are_the_whole(name):
    """Of any length, with masks and resets, a single step and none; all carries too."""
    layer, cuts = LAYERS[name], (0, 1, 1, 6, 13, 17)
    params, masks = params_of(layer), {"mask": HOLES, "reset": RESETS}
    whole_carry, whole = layer.run(params, XS, **masks)
    carries, _ = layer.run(params, XS, **masks, all_carries=True)
    carry, found = None, []
    for begin, end in zip(cuts, cuts[1:], strict=False):
        piece = {each: flags[begin:end] for each, flags in masks.items()}
        carry, ys = layer.run(params, XS[begin:end], carry=carry, **piece)
        found.append(ys)
        if end > 0:
            assert_close(carry, jax.tree.map(lambda leaf, t=end - 1: leaf[t], carries))
    assert_close(jnp.concatenate(found), whole)
    assert_close(carry, whole_carry)
    assert_close(jax.tree.map(lambda leaf: leaf[-1], carries), whole_carry)


@pytest.mark.parametrize("name", ["conv", "tcn"])
def test_the_carry_holds_through_padding_and_is_cleared_by_a_reset(name):
    layer = LAYERS[name]
    params = params_of(layer)
    padded = np.concatenate([XS, np.full((4, 2), np.nan)])
    carry, ys = layer.run(params, padded, length=17)
    expected_carry, expected = layer.run(params, XS)
    assert_close((carry, ys[:17]), (expected_carry, expected))
    assert not ys[17:].any()
    late = np.arange(21) == 19  # a reset in the padding
    carry, _ = layer.run(params, padded, length=17, reset=late)
    assert not any(leaf.any() for leaf in jax.tree.leaves(carry))


@pytest.mark.parametrize("name", ["normed", "tcn"])
def test_padding_has_no_effect_on_gradients(name):
    layer, batched = LAYERS[name], recur.batch(LAYERS[name])
    params, rows = params_of(layer), [5, 0, 17]
    padded = np.stack([np.where(np.arange(17)[:, None] < n, XS * (n + 1), np.nan) for n in rows])

    def loss(params, padded):
        carry, ys = batched.run(params, padded, length=jnp.array(rows))
        return weighted_sum(ys) + weighted_sum(carry) / 7, ys

    grad = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (_, ys), (of_params, of_xs) = grad(params, padded)
    for row, n in enumerate(rows):
        assert not of_xs[row, n:].any() and not ys[row, n:].any()
        assert_close(ys[row, :n], layer(params, XS[:n] * (n + 1)))
    _, (expected, _) = grad(params, np.nan_to_num(padded))
    assert_close(of_params, expected)
    along = random_like(params, 5)
    shifted = [jax.tree.map(lambda a, b, sign=sign: a + sign * 1e-6 * b, params, along)
               for sign in (1, -1)]  # fmt: skip
    up, down = (float(grad(each, padded)[0][0]) for each in shifted)
    parts = jax.tree.map(lambda a, b: (a * b).sum(), of_params, along)
    assert sum(jax.tree.leaves(parts)) == pytest.approx((up - down) / 2e-6, rel=1e-4)


def test_it_generates_from_its_carry():
    """Free running reads its own outputs one step at a time."""
    layer = recur.chain(LAYERS["tcn"], causal_conv(2, 1, **WIDE))
    params = jax.tree.map(lambda leaf: leaf / 2, params_of(layer))
    ys = generate(layer, params, XS, next_input=lambda y, key: jnp.tanh(y), steps=6)
    whole = np.concatenate([XS, ys])
    assert_close(np.asarray(jnp.tanh(layer(params, whole))[16:-1]), np.asarray(ys))


# --- Noise, dtypes, gradients ---------------------------------------------------------------------


def test_dropout_drops_channels_of_whole_sequences():
    layer = tcn(64, levels=1, kernel_size=1, dropout=0.25, **WIDE)
    params = layer.init(jax.random.key(0), XS[:, :1])
    xs = np.ones((5, 1))
    positive = jax.tree.map(lambda leaf: jnp.abs(leaf) + 1, params)
    shortcut = positive[0].shortcut._replace(kernel=jnp.zeros((1, 1, 64)), bias=jnp.zeros(64))
    positive = (positive[0]._replace(shortcut=shortcut),)
    plain, noisy = layer(positive, xs), layer(positive, xs, key=jax.random.key(1))
    assert_close(layer(positive, xs), tcn(64, 1, 1, **WIDE)(positive, xs, key=jax.random.key(1)))
    assert (noisy == noisy[:1]).all(), "the same at all steps"
    dropped = np.asarray(noisy[0] == 0)
    assert 6 < dropped.sum() < 28  # of the second convolution; the first scales all of them
    rows = recur.batch(layer)(positive, np.stack([xs, xs]), key=jax.random.key(1))
    assert (rows[0] != rows[1]).any() and plain.all()


DTYPES = [(jnp.float32, jnp.bfloat16), (jnp.bfloat16, jnp.float32), (None, jnp.int8)]


@pytest.mark.parametrize(("dtype", "of_xs"), DTYPES)
def test_dtypes(dtype, of_xs):
    layer = tcn(4, 2, 3, dtype=dtype)
    xs = jnp.asarray(3 * XS, of_xs)
    params = layer.init(jax.random.key(0), xs)
    carry, ys = layer.run(params, xs, length=9)
    expected = jnp.dtype(dtype or jnp.float32)
    assert ys.dtype == expected and {leaf.dtype for leaf in jax.tree.leaves(carry)} == {expected}
    as_doubles = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
    exact = tcn(4, 2, 3)(as_doubles, jnp.asarray(xs, jnp.float64), length=9)
    tolerance = 0.1 if dtype == jnp.bfloat16 else 1e-4
    np.testing.assert_allclose(np.float64(ys), exact, atol=tolerance * abs(exact).max())


def test_without_resets_the_inputs_of_each_step_are_not_copied():
    layer, xs = causal_conv(4, kernel_size=16), jnp.ones((100, 4), jnp.float32)
    params = layer.init(jax.random.key(0), xs)

    def temporary(**masks):
        compiled = jax.jit(layer).lower(params, xs, **masks).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    copies = 16 * xs.nbytes
    assert temporary() < copies / 2 < temporary(reset=jnp.ones(100, bool))


def test_weight_norm_starts_as_the_kernel_and_needs_no_scale_of_it():
    layer = LAYERS["normed"]
    params = layer.init(jax.random.key(0), XS)
    plain = causal_conv(3, 2, use_bias=False, **WIDE)
    assert_close(layer(params, XS), plain(params._replace(scale=None), XS), 1e-6)
    params = params_of(layer)
    longer = params._replace(kernel=7 * params.kernel)
    assert_close(layer(params, XS), layer(longer, XS))


def test_shapes_are_known_without_tracing():
    for layer in LAYERS.values():
        shape = jax.ShapeDtypeStruct((0, 2), jnp.float64)
        bound = jax.eval_shape(lambda s, f=layer: f.bind(f.init(jax.random.key(0), s), s), shape)
        params = jax.eval_shape(lambda s, f=layer: f.init(jax.random.key(0), s), shape)
        chex.assert_trees_all_equal_shapes(
            layer.output_shape(bound, shape), jax.eval_shape(layer, params, shape)
        )
