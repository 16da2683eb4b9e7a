import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.combine.adapt import readin
from recur.combine.normalize import NormalizeParams, normalize
from recur_tests.combine.loops import products_in_loop
from recur_tests.contract.cases import dense
from recur_tests.contract.own_cells import block_diagonal_cell, leaky_integrator
from recur_tests.helpers import assert_close, random_like, weighted_sum

XS = np.linspace(-1, 1, 15).reshape(5, 3)
MAKE = {
    "elman": recur.elman(4, param_dtype=jnp.float64),
    "gru": recur.gru(4, param_dtype=jnp.float64),
    "lstm": recur.lstm(4, param_dtype=jnp.float64, peepholes="diagonal"),
    "block-diagonal": block_diagonal_cell(),
}
WIDE = {"param_dtype": jnp.float64}
EXACT = {"force_float32_reductions": False, **WIDE}
BARE = nn.LayerNorm(epsilon=1e-12, use_bias=False, use_scale=False, **EXACT)
FULL = nn.LayerNorm(**EXACT)
RMS = nn.RMSNorm(epsilon=1e-12, **EXACT)


def given(layer):
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), XS), seed=1)
    return params, random_like(layer.init_carry(params, XS), seed=2)


@pytest.mark.parametrize("name", MAKE)
def test_by_the_identity_it_is_the_cell(name):
    layer = recur.scan(normalize(MAKE[name], "identity"))
    params, carry = given(layer)
    expected = recur.scan(MAKE[name]).run(params.cell, XS, carry=carry)
    assert_close(layer.run(params, XS, carry=carry), expected)


def test_every_product_has_its_own_norm():
    cell = normalize(MAKE["lstm"], FULL)
    params, carry = given(recur.scan(cell))
    assert isinstance(params, NormalizeParams)
    assert (len(params.input), len(params.recurrent)) == (4, 4)
    assert params.recurrent[3]["bias"].shape == (4,)
    step = jax.jit(lambda params: cell.step(params, carry, XS[0])[1])
    for part in ("input", "recurrent"):
        for n in range(4):
            norms = list(getattr(params, part))
            norms[n] = jax.tree.map(lambda p: p + 1.0, norms[n])
            changed = params._replace(**{part: tuple(norms)})
            assert (step(changed) != step(params)).all(), (part, n)


def test_the_norms_are_in_the_order_of_the_step():
    """The third norm of an LSTM is that of g: its shift is one of b_g."""
    layer = recur.scan(normalize(MAKE["lstm"], FULL))
    params, carry = given(layer)
    for norms in (params.input, params.recurrent):
        shift = norms[2]["bias"]
        bias = params.cell.bias
        moved = bias._replace(candidate=bias.candidate + shift)
        expected = layer.run(
            params._replace(cell=params.cell._replace(bias=moved)), XS, carry=carry
        )
        doubled = (*norms[:2], {**norms[2], "bias": 2 * shift}, norms[3])
        part = "input" if norms is params.input else "recurrent"
        assert_close(layer.run(params._replace(**{part: doubled}), XS, carry=carry), expected)


def own_cell():
    """A user's cell, two gates in a product: h_t = σ(a) h_{t-1} + tanh(b), [a, b] = x W + h U."""

    def init(key, x):
        w, u = jax.random.split(key)
        return {"w": jax.random.normal(w, (3, 8)), "u": jax.random.normal(u, (4, 8))}

    def step(params, h, x):
        a, b = jnp.split(x @ params["w"] + h @ params["u"], 2)
        h = jax.nn.sigmoid(a) * h + jnp.tanh(b)
        return h, h

    return recur.cell(init, lambda params, x: jnp.zeros(4), step)


def test_a_cell_of_plain_functions():
    """A product that the step splits into gates is one product a gate."""
    layer = recur.scan(normalize(own_cell(), FULL))
    params, h = given(layer)
    assert [norm["scale"].shape for norm in (*params.input, *params.recurrent)] == 4 * [(4,)]

    def norm(a, p):
        return (a - a.mean()) / jnp.sqrt(a.var() + 1e-6) * p["scale"] + p["bias"]

    _, hs = layer.run(params, XS, carry=h)
    for x, found in zip(XS, hs, strict=True):
        u, m = jnp.split(x @ params.cell["w"], 2), jnp.split(h @ params.cell["u"], 2)
        a, b = (norm(u[n], params.input[n]) + norm(m[n], params.recurrent[n]) for n in (0, 1))
        h = jax.nn.sigmoid(a) * h + jnp.tanh(b)
        assert_close(found, h)


def test_only_the_last_products_of_the_input_are_normalized():
    cell = normalize(readin(MAKE["elman"], nn.Sequential([dense(6), nn.tanh, dense(5)])), FULL)
    params = cell.init(jax.random.key(0), XS[0])
    assert [norm["scale"].shape for norm in params.input] == [(4,)]
    cell = normalize(recur.readout(MAKE["elman"], dense(7)), FULL)
    params = cell.init(jax.random.key(0), XS[0])
    assert [norm["scale"].shape for norm in (*params.input, *params.recurrent)] == [(4,), (4,)]


def test_norms_of_the_input_are_not_in_the_loop():
    assert products_in_loop(normalize(MAKE["lstm"], FULL)) == [(16,)]
    weighted = normalize(MAKE["elman"], dense(4))
    assert products_in_loop(weighted) == [(4,), (4,)]  # h U and its own: none of x W


def test_each_gate_is_normalised_over_its_units():
    layer = recur.scan(normalize(MAKE["gru"], FULL))
    params, h = given(layer)

    def norm(a, p):
        return (a - a.mean()) / jnp.sqrt(a.var() + 1e-6) * p["scale"] + p["bias"]

    def by_hand(params, h, xs):
        weights, hs = params.cell, []
        for x in xs:
            u = [norm(x @ w, p) for w, p in zip(weights.kernel, params.input, strict=True)]
            u = [a + b for a, b in zip(u, weights.bias, strict=True)]
            each = zip(weights.recurrent_kernel, params.recurrent, strict=True)
            m = [norm(h @ kernel, p) for kernel, p in each]
            r, z = jax.nn.sigmoid(u[0] + m[0]), jax.nn.sigmoid(u[1] + m[1])
            h = z * h + (1 - z) * jnp.tanh(u[2] + r * (m[2] + weights.recurrent_bias))
            hs.append(h)
        return h, jnp.stack(hs)

    def gradients(run):
        def loss(*given):
            ends = run(*given)
            return weighted_sum(ends), ends

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(params, h, XS[:3])

    actual = gradients(lambda params, h, xs: layer.run(params, xs, carry=h))
    assert_close(actual, gradients(by_hand))


@pytest.mark.parametrize("norm", [BARE, RMS])
@pytest.mark.parametrize("make", [recur.elman, recur.lstm])
def test_the_cell_does_not_feel_the_scale_of_its_kernels(make, norm):
    plain = make(4, use_bias=False, param_dtype=jnp.float64)
    layer = recur.scan(normalize(plain, norm))
    params, carry = given(layer)
    scaled = params._replace(cell=jax.tree.map(lambda kernel: 7 * kernel, params.cell))
    run = jax.jit(layer.run)
    assert_close(run(scaled, XS, carry=carry), run(params, XS, carry=carry), 1e-6)
    run_plain = jax.jit(recur.scan(plain))
    differ = run_plain(scaled.cell, XS) - run_plain(params.cell, XS)
    assert abs(differ).max() > 0.1


def test_a_norm_with_noise_draws_for_each_gate_and_step():
    cell = normalize(recur.elman(64, activation="identity", use_bias=False), nn.Dropout(0.5))
    xs = jnp.ones((4, 3), jnp.float32)
    scanned, looped = recur.scan(cell), recur.loop(cell)
    params = scanned.init(jax.random.key(0), xs)
    hs = scanned(params, xs, key=jax.random.key(1))
    assert_close(hs, looped(params, xs, key=jax.random.key(1)), 1e-5)
    assert_close(
        scanned(params, xs),
        recur.scan(recur.elman(64, activation="identity"))(params.cell, xs),
        1e-5,
    )
    # Where both masks are zero so is the unit: at a quarter of them if they are drawn apart.
    assert 0.15 < (hs[1:] == 0).mean() < 0.35
    assert ((hs[1] == 0) != (hs[2] == 0)).any()


def test_recurrent_dropout_masks_the_candidate_and_not_the_norm():
    cell = normalize(recur.recurrent_dropout(recur.lstm(32, param_dtype=jnp.float64), 0.5), FULL)
    layer = recur.scan(cell)
    params, _ = given(layer)
    run = jax.jit(layer.run)
    (quiet, _), (noisy, _) = (run(params, XS, key=key) for key in (None, jax.random.key(1)))
    dropped = noisy.cell == 0  # nothing was ever added there
    assert 4 < dropped.sum() < 28 and not (quiet.cell == 0).any()
    one_step, _ = run(params, XS[:1], key=jax.random.key(1))
    expected = 2 * run(params, XS[:1])[0].cell  # what is kept is scaled up
    assert_close(one_step.cell[~dropped], expected[~dropped])


def test_zoneout_may_stand_within_and_around():
    """Norms act on products, so the order does not matter."""
    cells = [
        normalize(recur.zoneout(MAKE["gru"], 0.3), FULL),
        recur.zoneout(normalize(MAKE["gru"], FULL), 0.3),
    ]
    params, h = given(recur.scan(cells[0]))
    assert_close(*(recur.scan(cell).run(params, XS, carry=h) for cell in cells))


def test_products_keep_their_dtype():
    with jax.numpy_dtype_promotion("standard"):
        layer = recur.scan(normalize(recur.gru(4, dtype=jnp.bfloat16), nn.LayerNorm()))
        xs = jnp.asarray(XS, jnp.float32)
        params = jax.eval_shape(layer.init, jax.random.key(0), xs)
        assert jax.eval_shape(layer, params, xs).dtype == jnp.bfloat16


def test_it_nests_and_runs_in_a_batch():
    inner = normalize(readin(MAKE["lstm"], dense(6)), FULL)
    layer = recur.scan(recur.readout(recur.stack(inner, normalize(MAKE["gru"], BARE)), dense(2)))
    params, _ = given(layer)
    xs = jnp.stack([XS, np.sin(5 * XS)])
    ys = jax.jit(recur.batch(layer))(params, xs.at[1, 3:].set(jnp.nan), length=jnp.array([5, 3]))
    run = jax.jit(layer)
    assert_close(ys[0], run(params, xs[0]))
    assert_close(ys[1], jnp.zeros((5, 2)).at[:3].set(run(params, xs[1, :3])))


def test_wrong_input_is_an_error():
    with pytest.raises(TypeError, match="normalize: expected a cell, got a layer"):
        normalize(recur.scan(MAKE["gru"]), FULL)
    for cell in (leaky_integrator(), recur.indrnn(4, **WIDE), recur.conv_gru(2, (3,), **WIDE)):
        xs = XS[..., None] if cell.call.startswith("conv") else XS
        with pytest.raises(TypeError, match="normalize: expected a cell with recurrent products"):
            recur.scan(normalize(cell, FULL)).init(jax.random.key(0), xs)
    with pytest.raises(TypeError, match="expected a module"):
        normalize(MAKE["gru"], 3)
    with pytest.raises(ValueError, match="unknown activation"):
        normalize(MAKE["gru"], "layer_norm")
    with pytest.raises(ValueError, match="mutable collections"):
        batch_norm = nn.BatchNorm(False, **EXACT)
        normalize(MAKE["gru"], batch_norm).init(jax.random.key(0), XS[0])
    layer = recur.scan(normalize(MAKE["gru"], dense(3)))
    params = layer.init(jax.random.key(0), XS)
    with pytest.raises(ValueError, match=r"norm to keep the shape \[4\], got \[3\]"):
        layer(params, XS)
