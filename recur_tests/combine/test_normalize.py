import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.combine.adapt import readin
from recur.combine.normalize import NormalizeParams, normalize
from recur.types import Cell
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
EXACT = {"param_dtype": jnp.float64, "force_float32_reductions": False}
BARE = nn.LayerNorm(epsilon=1e-12, use_bias=False, use_scale=False, **EXACT)
FULL = nn.LayerNorm(**EXACT)
RMS = nn.RMSNorm(epsilon=1e-12, **EXACT)


def given(layer):
    params = random_like(jax.eval_shape(layer.init, jax.random.key(0), XS), seed=1)
    return params, random_like(layer.start(layer.bind(params, XS), XS), seed=2)


@pytest.mark.parametrize("name", MAKE)
def test_by_the_identity_it_is_the_cell(name):
    layer = recur.scan(normalize(MAKE[name], "identity"))
    params, carry = given(layer)
    expected = recur.scan(MAKE[name]).run(params.cell, XS, carry=carry)
    assert isinstance(normalize(MAKE[name], "identity"), Cell)
    assert_close(layer.run(params, XS, carry=carry), expected)


def test_every_gate_has_norms_of_its_own():
    cell = normalize(MAKE["lstm"], FULL)
    params, carry = given(recur.scan(cell))
    assert isinstance(params, NormalizeParams)
    assert type(params.input) is type(params.cell.kernel)
    assert type(params.recurrent) is type(params.cell.recurrent_kernel)
    assert params.recurrent.output["bias"].shape == (4,)
    step = jax.jit(lambda params: cell.step(params, carry, XS[0])[1])
    for part in ("input", "recurrent"):
        for gate in params.input._fields:
            norms = getattr(params, part)
            other = norms._replace(**{gate: jax.tree.map(lambda p: p + 1.0, getattr(norms, gate))})
            assert (step(params._replace(**{part: other})) != step(params)).all(), (part, gate)


def test_each_gate_is_normalised_over_its_units():
    gru = MAKE["gru"]
    cell = normalize(gru, FULL)
    layer = recur.scan(cell)
    params, h = given(layer)

    def norm(a, p):
        return (a - a.mean()) / jnp.sqrt(a.var() + 1e-6) * p["scale"] + p["bias"]

    def each(parts, norms):
        return type(parts)(*(norm(a, p) for a, p in zip(parts, norms, strict=True)))

    def by_hand(params, h, xs):
        hs = []
        for x in xs:
            u = each(gru.project(params.cell, x), params.input)
            m = each(gru.products(params.cell, h), params.recurrent)
            h, _ = gru.gates(params.cell, h, u, m)
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


def test_what_reaches_the_gates_keeps_its_dtype():
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
    for cell in (recur.stack(MAKE["gru"]), leaky_integrator(), normalize(MAKE["gru"], FULL)):
        with pytest.raises(TypeError, match="normalize: expected a GatedCell.*got"):
            normalize(cell, FULL)
    with pytest.raises(TypeError, match="expected a module"):
        normalize(MAKE["gru"], 3)
    with pytest.raises(ValueError, match="unknown activation"):
        normalize(MAKE["gru"], "layer_norm")
    with pytest.raises(ValueError, match="mutable collections"):
        batch_norm = nn.BatchNorm(False, **EXACT)
        normalize(MAKE["gru"], batch_norm).init(jax.random.key(0), XS[0])
    layer = recur.scan(normalize(MAKE["gru"], dense(3)))
    params = layer.init(jax.random.key(0), XS)
    with pytest.raises(ValueError, match=r"must keep the shape, \[4\]; it gave \[3\]"):
        layer(params, XS)
    layer = recur.scan(normalize(recur.zoneout(MAKE["gru"], 0.1), FULL))
    params = layer.init(jax.random.key(0), XS)
    with pytest.raises(TypeError, match="normalize: .* there is noise: .* Put it around"):
        layer(params, XS, key=jax.random.key(1))
