import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import AxisType, PartitionSpec

import recur
from recur.lift.jacobians import exact_blocks, kind_for, system
from recur.lift.mask import Steps
from recur.lift.newton import NewtonReport, newton
from recur.structure import Parts, find_structure, is_elementwise_around_products
from recur.types import Cell
from recur_tests.contract.cases import BY_NAME, STEPS, example
from recur_tests.helpers import assert_close, counting_compilations, random_like, weighted_sum
from recur_tests.lift.test_online import noisy_cell

F64 = {"param_dtype": jnp.float64}
MARKS = {"mask": np.arange(STEPS) != 1, "reset": np.arange(STEPS) % 2 == 1}
ELMAN, GRU = recur.elman(3, **F64), recur.gru(3, **F64)
KINDS = pytest.mark.parametrize("jacobian", ["full", "diagonal"])


def given_for(cell, steps=STEPS, scale=1.0):
    given = example(BY_NAME["elman"]._replace(cell=cell), recur.scan(cell), steps=steps)
    return given._replace(params=jax.tree.map(lambda leaf: scale * leaf, given.params))


def run_and_grad(layer, **marks):
    """`(params, carry, xs) -> gradients, (carry, ys)`."""

    def loss(params, carry, xs):
        ends = layer.run(params, xs, carry=carry, **marks)
        return weighted_sum(ends), ends

    return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))


def assert_same(layer, oracle, given, **marks):
    arguments = (given.params, given.carry, given.xs)
    expected = run_and_grad(oracle, **marks)(*arguments)
    assert_close(run_and_grad(layer, **marks)(*arguments), expected)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lstm", {"jacobian": "full", "damping": 0.5}),
        ("lstm", {"jacobian": "diagonal", "reverse": True}),
        ("stack", {"jacobian": "diagonal", "damping": 0.5}),
        ("affine", {"jacobian": "diagonal"}),
    ],
)
def test_values_and_gradients_equal_the_scans(name, options):
    cell = BY_NAME[name].cell
    oracle = recur.scan(cell, reverse=options.get("reverse", False))
    assert_same(newton(cell, **options), oracle, given_for(cell), **MARKS)


def residuals(cell, given, counts, **options):
    """The residual after each number of steps."""
    layers = [newton(cell, max_steps=count, tolerance=0.0, **options) for count in counts]

    @jax.jit
    def after_each(params, xs):
        return jnp.stack([layer.solve(params, xs)[2].residual for layer in layers])

    return np.asarray(after_each(given.params, given.xs))


def test_whole_jacobians_square_the_error_and_blocks_take_off_a_part():
    given = given_for(GRU, steps=30)
    rounding = 1e-15
    whole = residuals(GRU, given, range(1, 6), jacobian="full")
    assert whole[0] > 1e-2 and whole[-1] < rounding
    assert (whole[1:] < 10 * whole[:-1] ** 2 + rounding).all()
    eighth, ninth = residuals(GRU, given, (8, 9), jacobian="diagonal")
    assert 1e3 * eighth**2 < ninth < 0.5 * eighth


def test_damping_takes_more_steps_to_the_same_place():
    given = given_for(GRU, steps=12)

    def solve(damping):
        return jax.jit(newton(GRU, damping=damping).solve)(given.params, given.xs)

    (_, plain, few), (_, damped, more) = solve(0.0), solve(0.5)
    assert_close(damped, plain)
    assert few.converged and more.converged and few.steps < more.steps


def test_a_report_of_how_it_converged():
    given = given_for(GRU)
    carry, ys, report = jax.jit(newton(GRU, tolerance=1e-3).solve)(given.params, given.xs)
    assert isinstance(report, NewtonReport)
    assert report.converged and 0 < report.residual <= 1e-3 and 0 < report.steps < STEPS
    expected = jax.jit(recur.scan(GRU).run)(given.params, given.xs)
    assert_close((carry, ys), expected, 1e-3)
    assert np.abs(ys - expected[1]).max() > 1e-9  # as loose as was asked for
    _, _, none = newton(GRU).solve(given.params, given.xs[:0], carry=given.carry)
    assert (none.steps, none.residual, none.converged) == (0, 0, True)


def test_a_solution_outside_of_jit_is_compiled_once():
    given, layer = given_for(GRU), newton(GRU)
    found = layer.solve(given.params, given.xs, length=3)
    with counting_compilations() as compiled:
        again = layer.solve(given.params, given.xs, length=3)
        layer.solve(given.params, given.xs, length=2)
    assert not compiled
    assert_close(again, found, 0)


@KINDS
def test_where_it_does_not_converge_the_scan_runs_with_a_warning(jacobian):
    given = given_for(ELMAN, steps=12, scale=8.0)
    layer = newton(ELMAN, jacobian=jacobian, max_steps=1)
    with pytest.warns(RuntimeWarning, match="after 1 steps the residual was"):
        assert_same(layer, recur.scan(ELMAN), given)
        jax.effects_barrier()
    carry, ys, report = jax.jit(layer.solve)(given.params, given.xs)
    jax.effects_barrier()  # where a warning would be an error
    assert not report.converged and report.steps == 1 and report.residual > 0.1
    assert_close((carry, ys), jax.jit(recur.scan(ELMAN).run)(given.params, given.xs))


def test_rows_that_converge_and_rows_that_do_not():
    """In a batch, over two devices, with gradients: there is a warning for the second row only."""
    easy, hard = given_for(ELMAN, 12, 0.1), given_for(ELMAN, 12, 8.0)
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), easy.params, hard.params)
    layer = newton(ELMAN, max_steps=6)
    _, _, report = jax.jit(jax.vmap(layer.solve, (0, None)))(params, easy.xs)
    assert report.converged.tolist() == [True, False]
    assert report.steps[0] < report.steps[1] == 6

    def gradients(layer, params):
        def loss(params):
            ys = jax.vmap(layer, (0, None))(params, easy.xs)
            return jnp.cos(ys).sum(), ys

        return jax.grad(loss, has_aux=True)(params)

    expected = jax.jit(lambda params: gradients(recur.scan(ELMAN), params))(params)

    def check(run):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with jax.checking_leaks():
                assert_close(run(params), expected)
            jax.effects_barrier()
        assert [str(each.message)[:21] for each in caught] == ["newton: after 6 steps"]

    def run(params):
        return gradients(layer, params)

    rows, mesh = PartitionSpec("rows"), jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
    check(jax.jit(run))
    check(jax.jit(jax.shard_map(run, mesh=mesh, in_specs=rows, out_specs=rows)))


def test_a_solution_that_is_not_a_number_has_not_converged():
    cell, count = recur.gru(8), 512  # jnp.max ignores NaN in an array of this size on CPUs
    xs = jax.random.normal(jax.random.key(0), (count, 3), jnp.float32)
    layer = newton(cell)
    params = layer.init(jax.random.key(1), xs)
    large = jax.tree.map(lambda leaf: 16 * leaf, params.recurrent_kernel)
    params = params._replace(recurrent_kernel=large)
    _, ys, report = layer.solve(params, xs)
    assert not report.converged and jnp.isnan(report.residual)
    np.testing.assert_allclose(ys, recur.scan(cell)(params, xs), atol=1e-4)


@KINDS
def test_a_reset_discards_a_carry_that_is_not_a_number(jacobian):
    given = given_for(GRU)._replace(carry=jnp.full(3, jnp.nan))
    reset = jnp.zeros(STEPS, bool).at[0].set(True)
    layer = newton(GRU, jacobian=jacobian)
    assert_same(layer, recur.scan(GRU), given, reset=reset)
    solve = jax.jit(layer.solve)
    assert solve(given.params, given.xs, carry=given.carry, reset=reset)[2].converged


@KINDS
def test_derivatives_of_second_order_in_both_modes(jacobian):
    cell = recur.gru(2, **F64)

    def results(layer):
        given = given_for(cell, steps=3)
        values = (given.params, given.carry)
        direction = random_like(values, 9)

        def loss(values):
            return weighted_sum(layer.run(values[0], given.xs, carry=values[1]))

        @jax.jit
        def derive(values, direction):
            def slope(values):
                return jax.jvp(loss, (values,), (direction,))

            forward = jax.jvp(slope, (values,), (direction,))
            return forward, jax.grad(lambda values: slope(values)[1])(values)

        return derive(values, direction)

    assert_close(results(newton(cell, jacobian=jacobian)), results(recur.scan(cell)))


@pytest.mark.parametrize(
    ("cell", "jacobian"),
    [(noisy_cell(), "full"), (recur.readout(GRU, nn.Dropout(0.5)), "diagonal")],
    ids=["step", "read"],
)
def test_noise_is_that_of_the_scan(cell, jacobian):
    layer = newton(cell, jacobian=jacobian)
    assert_same(layer, recur.scan(cell), given_for(cell), key=jax.random.key(3))


def structure_for(cell, given):
    """The structure of a step, and the system of its equations for the first input."""
    bound = cell.bind(given.params, given.xs[0])
    found = find_structure(cell.step, bound, given.carry, given.xs[0], None)
    parts = Parts(found, bound)
    steps = Steps(parts.prepare(given.xs[0]).inside, None, None, None)
    carry = jax.tree.map(jnp.asarray, given.carry)
    weights = (parts.kernels, parts.constants)
    return found, system(parts, "diagonal", *weights, carry, carry, steps), steps


BLOCKS = """
    elman elman-relu jordan lstm lstm-no-bias lstm-diagonal original_lstm coupled_lstm ugrnn
    mgu-after gru gru-replace slstm indrnn layer_norm_lstm gru-before mgu block-diagonal
    projected_lstm cell plain wide branching recurrent_highway from_linen from_nnx
""".split()
ELEMENTWISE = """
    elman elman-relu lstm lstm-no-bias lstm-diagonal original_lstm coupled_lstm ugrnn mgu-after gru
    gru-replace slstm indrnn plain wide from_linen from_nnx
""".split()


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_those_of_the_jacobian(name):
    """Also where they are found from the products, by p tangents for all units."""
    cell = BY_NAME[name].cell
    given = given_for(cell, steps=2)
    seen = {}

    @jax.jit
    def both(given):
        found, equations, steps = structure_for(cell, given)
        seen["elementwise"] = is_elementwise_around_products(found)
        seen["few tangents"] = equations.find is not exact_blocks
        z = equations.first
        near = equations.find(lambda z: equations.near(z, steps), z)
        return near, exact_blocks(lambda z: equations.step(z, steps), z)

    near, exact = both(given)
    assert_close(near, exact)
    assert np.abs(near).max() > 0
    is_elementwise = name in ELEMENTWISE
    assert seen == {"elementwise": is_elementwise, "few tangents": is_elementwise}


def test_leaves_of_several_shapes_have_plain_diagonals():
    """Each entry is a unit, without derivatives between them; the layer still equals the scan."""

    def step(w, carry, x):
        total, h = carry
        h = jnp.tanh(w * h + x + 0.3 * total)
        return (0.5 * total + h.sum(), h), h

    cell = recur.cell(
        init=lambda key, x: jax.random.normal(key, x.shape),
        init_carry=lambda w, x: (jnp.zeros(()), jnp.zeros(x.shape)),
        step=step,
    )
    assert_same(newton(cell, jacobian="diagonal"), recur.scan(cell), given_for(cell))


def test_half_precision_keeps_its_dtypes():
    cell = recur.gru(4, dtype=jnp.bfloat16)
    layer = newton(cell)
    xs = random_like(jax.ShapeDtypeStruct((STEPS, 3), jnp.float32), 0)
    params = layer.init(jax.random.key(0), xs)
    carry, ys, report = jax.jit(layer.solve)(params, xs)
    assert (carry.dtype, ys.dtype) == (jnp.float32, jnp.bfloat16) and report.converged
    expected = jax.jit(recur.scan(cell))(params, xs)
    assert_close(ys.astype(jnp.float32), expected.astype(jnp.float32), 0.1)


def test_large_carries_have_diagonal_jacobians():
    assert kind_for((jnp.zeros(32), jnp.zeros(32)), None) == "full"
    assert kind_for((jnp.zeros(32), jnp.zeros(33)), None) == "diagonal"
    assert kind_for(jnp.zeros(2), "diagonal") == "diagonal"


@pytest.mark.parametrize(
    ("given", "meant"), [("lengths", "length"), ("valid", "mask"), ("masks", "mask")]
)
def test_misspelt_keywords_of_solve_are_an_error_that_names_the_right_one(given, meant):
    layer = newton(GRU)
    for call in (layer.solve, layer.run, layer):
        with pytest.raises(TypeError, match=f"keyword argument '{given}'. Did you mean '{meant}'"):
            call(None, None, **{given: 3})


def test_what_cannot_be_solved_is_refused():
    with pytest.raises(TypeError, match="newton: expected a cell"):
        newton(recur.scan(GRU))
    with pytest.raises(ValueError, match="'full' or 'diagonal'"):
        newton(GRU, jacobian="blocks")
    with pytest.raises(ValueError, match="tolerance of at least 0"):
        newton(GRU, tolerance=-1.0)
    with pytest.raises(ValueError, match="max_steps: expected a whole number of at least 0"):
        newton(GRU, max_steps=-1)
    with pytest.raises(ValueError, match=r"damping in \[0, 1\)"):
        newton(GRU, damping=1.0)
    for dtype in (jnp.int32, jnp.complex128):
        cell = Cell(
            init=lambda key, x, context=None: (),
            bind=lambda params, x, *, key=None, context=None: (),
            init_carry=lambda bound, x, dtype=dtype: {"h": jnp.zeros(2), "n": jnp.zeros((), dtype)},
            step=lambda bound, carry, x, key=None: (carry, x),
        )
        with pytest.raises(TypeError, match=rf"got {jnp.dtype(dtype)} at carry\['n'\]"):
            newton(cell)((), jnp.ones((2, 1)))
