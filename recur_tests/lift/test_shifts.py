"""The loop of a step and its derivatives, against `recur.loop` of the same cell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback
from jax.sharding import AxisType, PartitionSpec

import recur
from recur_tests.helpers import (
    assert_close,
    inner_jaxprs,
    random_like,
    weighted_sum,
)
from recur_tests.structure.steps import (
    HIDDEN,
    TABLE,
    XS,
    by_name,
    derivatives,
    draw_carry,
    draw_params,
    numbers,
    spike,
)

FLAGS = {
    "mask": np.array([True, True, False, True]),
    "reset": np.array([False, False, True, False]),
}
PRODUCTS = {"product", "loop_product", "dot_general", "conv_general_dilated"}


@pytest.mark.parametrize("case", **by_name())
def test_values_and_both_derivatives_are_those_of_the_loop(case):
    """In a batch, with lengths; and alone, with a mask and a reset, in value and gradient."""
    alone = (
        derivatives(lift(case.cell), case, second=False, **FLAGS)
        for lift in (recur.scan, recur.loop)
    )
    assert_close(*alone, case.tolerance)
    batched = (
        derivatives(recur.batch(lift(case.cell)), case, rows=2, length=jnp.array([4, 2]))
        for lift in (recur.scan, recur.loop)
    )
    assert_close(*batched, case.tolerance)


OPTIONS = {
    "unrolled": (recur.scan, {"unroll": 2}, {}),
    "backward": (recur.scan, {"reverse": True}, {}),
    "all-carries": (recur.scan, {}, {"all_carries": True}),
    "all-carries-backward": (recur.scan, {"reverse": True}, {"all_carries": True}),
}


@pytest.mark.parametrize("case", **by_name("wide_lstm", "custom_vjp", "without_products"))
@pytest.mark.parametrize("lift, options, given", OPTIONS.values(), ids=OPTIONS.keys())
def test_options_of_the_loop(case, lift, options, given):
    plain = recur.loop(case.cell, reverse=options.get("reverse", False))
    found = derivatives(lift(case.cell, **options), case, **FLAGS, **given)
    assert_close(found, derivatives(plain, case, **FLAGS, **given))


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
@pytest.mark.parametrize("rows", [None, 2])
def test_keys_that_draw_other_numbers_under_vmap_draw_those_of_the_loop(impl, rows):
    """Their noise stays in the loop, including noise that only the output needs."""
    case = TABLE["noise"]
    wrap = recur.batch if rows else lambda layer: layer
    found, expected = (
        derivatives(wrap(lift(case.cell)), case, rows=rows, impl=impl)
        for lift in (recur.scan, recur.loop)
    )
    assert_close(found, expected)


@pytest.mark.parametrize("case", **by_name())
def test_no_steps(case):
    """The carry of an empty sequence is the given one, and the gradient of the params is zero."""
    params, carry = draw_params(), draw_carry(case.carry)
    xs = jax.tree.map(lambda leaf: leaf[:0], case.xs)

    def shapes(lift):
        run = lambda p: lift(case.cell).run(p, xs, carry=carry, key=case.key)  # noqa: E731
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), jax.eval_shape(run, params))

    assert shapes(recur.scan) == shapes(recur.loop)
    if case.name in ("wide_lstm", "custom_vjp", "without_products", "noise", "without_x"):

        @jax.jit
        def derive(params):
            def loss(params):
                ends = recur.scan(case.cell).run(params, xs, carry=carry, key=case.key)
                return weighted_sum(ends), ends[0]

            return jax.grad(loss, has_aux=True)(params)

        gradient, last = derive(params)
        assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))
        assert_close(numbers(last), numbers(carry))


def test_first_derivatives_of_functions_with_derivatives_of_their_own():
    """Custom derivatives are used, even if they are not those of the function."""

    @jax.custom_jvp
    def act(a):
        return jnp.tanh(a)

    act.defjvp(lambda a, d: (act(*a), 3 * d[0]))

    def step(p, h, x):
        h = act(x @ p["W"] + h @ p["U"])
        return h, h

    cell = recur.cell(draw_params, lambda p, x: jnp.zeros(HIDDEN), step)

    def gradient(lift):
        return jax.jit(jax.grad(lambda p: weighted_sum(lift(cell)(p, XS))))(draw_params())

    assert_close(gradient(recur.scan), gradient(recur.loop))


LIFTS = {
    "scan": recur.scan,
    "checkpoint": lambda cell: recur.checkpoint(recur.scan(cell)),
    "truncate": lambda cell: recur.truncate(recur.scan(cell), 4, 4),
    "bidirectional": lambda cell: recur.bidirectional(
        recur.scan(cell), recur.scan(cell, reverse=True)
    ),
}


@pytest.mark.parametrize("lift", LIFTS.values(), ids=LIFTS.keys())
@pytest.mark.parametrize("make", [recur.elman, recur.gru, recur.lstm])
def test_spikes_are_trained_in_a_batch(make, lift):
    """An activation with a surrogate gradient, which has no forward mode."""
    cell = make(HIDDEN, activation=spike, param_dtype=jnp.float64)
    xs = np.stack([XS, -XS])
    plain = recur.loop
    if lift is LIFTS["bidirectional"]:
        plain = lambda cell: recur.bidirectional(  # noqa: E731
            recur.loop(cell), recur.loop(cell, reverse=True)
        )

    def gradient(lift):
        layer = recur.batch(lift(cell))
        params = random_like(jax.eval_shape(layer.init, jax.random.key(0), xs), 1)
        loss = lambda p: weighted_sum(layer(p, xs, length=jnp.array([4, 3])))  # noqa: E731
        return jax.jit(jax.grad(loss))(params)

    found, expected = gradient(lift), gradient(plain)
    assert_close(found, expected)
    assert any(leaf.any() for leaf in jax.tree.leaves(found))


def closing_over(params):
    """A cell without its own params: weights are constants of its step, or tracers."""

    def step(_, h, x):
        kernel = params["U"] / jnp.linalg.norm(params["U"])
        h = jnp.tanh(x @ params["W"] + h @ kernel + params["b"])
        return h, h @ params["V"]

    return recur.cell(lambda key, x: (), lambda _, x: jnp.sin(params["b"]), step)


TRANSFORMS = {
    "grad": jax.grad,
    "jit of grad": lambda loss: jax.jit(jax.grad(loss)),
    "grad of jit": lambda loss: jax.grad(jax.jit(loss)),
    "grad of grad": lambda loss: jax.jit(jax.grad(lambda p: weighted_sum(jax.grad(loss)(p)))),
    "third": lambda loss: jax.jit(
        lambda p: jax.jvp(lambda p: jax.jvp(jax.grad(loss), (p,), (p,))[1], (p,), (p,))[1]
    ),
    "jacfwd": lambda loss: jax.jit(jax.jacfwd(loss)),
    "vmap of grad": lambda loss: jax.jit(
        lambda p: jax.vmap(jax.grad(loss))(jax.tree.map(lambda a: jnp.stack([a, 2 * a]), p))
    ),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_params_that_a_step_closes_over(transform):
    """Tracers of an outer transformation, as constants of the traced step."""

    def transformed(lift):
        def loss(params):
            return weighted_sum(lift(closing_over(params)).run((), XS, **FLAGS))

        return transform(loss)(draw_params())

    assert_close(transformed(recur.scan), transformed(recur.loop))


def test_a_layer_is_not_bound_to_the_tracers_of_its_first_call():
    weights = draw_params()["U"]

    def step(scale, h, x):
        h = jnp.tanh(scale * (h @ weights) + x.sum())
        return h, h

    layer = recur.scan(recur.cell(lambda key, x: 1.0, lambda p, x: jnp.zeros(HIDDEN), step))
    first = jax.jit(jax.grad(lambda s: layer(s, XS).sum()))(0.5)
    assert_close(jax.grad(lambda s: layer(s, XS).sum())(0.5), first)
    assert_close(layer(0.5, XS), jax.jit(layer)(0.5, XS))


@pytest.mark.parametrize("rows", [None, 2])
def test_arrays_of_numpy_within_a_compiled_function(rows):
    """As constants: the carry and what a step closes over, or a row of the context."""

    def bind(params, x, context=None):
        return params, context["v"]

    def step(bound, h, x):
        params, v = bound
        h = jnp.tanh(x @ params["W"] + h @ params["U"] + v * h)
        return h, h

    cell = recur.cell(draw_params, lambda p, x: jnp.zeros(HIDDEN), step, bind)
    wrap = recur.batch if rows else lambda layer: layer
    leading = (rows,) if rows else ()
    xs, v, carry = (np.ones((*leading, *shape)) for shape in (XS.shape, (HIDDEN,), (HIDDEN,)))

    def run(lift):
        return jax.jit(lambda p: wrap(lift(cell)).run(p, xs, carry=carry, context={"v": v}))

    assert_close(run(recur.scan)(draw_params()), run(recur.loop)(draw_params()))


def test_numbers_in_the_padding_do_not_matter():
    """Also NaN has no effect, in values and in gradients."""
    padded = np.concatenate([XS[:2], np.full((1, XS.shape[1]), np.nan), XS[2:3]])
    mask = np.array([True, True, False, False])
    for name in ("wide_lstm", "custom_vjp", "layer_norm", "readout"):
        layer = recur.scan(TABLE[name].cell)
        carry = draw_carry(TABLE[name].carry)

        @jax.jit
        def derive(params, xs, layer=layer, carry=carry, **flags):
            def loss(params, xs, carry):
                last, ys = layer.run(params, xs, carry=carry, **flags)
                return weighted_sum((last, ys[:2])), (last, ys)

            return jax.grad(loss, (0, 1, 2), has_aux=True)(params, xs, carry)

        (of_params, of_xs, of_carry), (last, ys) = derive(draw_params(), padded, mask=mask)
        (short, short_xs, short_carry), ends = derive(draw_params(), XS[:2])
        assert_close((of_params, of_carry, (last, ys[:2])), (short, short_carry, ends))
        assert_close(of_xs, jnp.concatenate([short_xs, jnp.zeros_like(short_xs)]))
        assert (ys[2:] == 0).all()


def test_the_carry_after_a_reset_is_the_initial_one():
    """A reset is a select, not a product, since the carry may be NaN."""
    case = TABLE["wide_lstm"]
    layer = recur.scan(case.cell)
    nan = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), draw_carry(case.carry))

    def loss(params, carry, **flags):
        last, ys = layer.run(params, XS, carry=carry, **flags)
        return weighted_sum((last, ys)), (last, ys)

    derive = jax.jit(jax.grad(loss, has_aux=True))
    first = np.array([True, False, False, False])
    assert_close(derive(draw_params(), nan, reset=first), derive(draw_params(), None))


@pytest.mark.parametrize(
    "case",
    **by_name(
        "wide_lstm",
        "reset_before",
        "projected",
        "tied",
        "heads",
        "complex_carry",
        "bfloat16_summed_in_float32",
        "custom_vjp",
        "integers",
        "without_products",
        "outputs_of_all_kinds",
        "input_read_twice",
        "control_flow_for_the_output",
    ),
)
def test_within_a_shard_map(case):
    """Rows are spread over devices, and the types of all values say over which axes they vary."""
    layer = recur.batch(recur.scan(case.cell))
    xs = jax.tree.map(lambda leaf: np.stack([leaf, leaf[::-1]]), case.xs)
    lengths, carry = jnp.array([4, 2]), draw_carry(case.carry, 2)

    def run(params, xs, lengths, carry):
        return layer.run(params, xs, carry=carry, length=lengths)

    rows, whole = PartitionSpec("rows"), PartitionSpec()
    sharded = jax.shard_map(
        run,
        mesh=jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,)),
        in_specs=(whole, rows, rows, rows),
        out_specs=rows,
    )

    def results(run):
        def loss(params):
            ends = run(params, xs, lengths, carry)
            real = [leaf.real for leaf in numbers(ends) if leaf.dtype != jnp.int32]
            return weighted_sum([leaf.astype(jnp.float64) for leaf in real]), numbers(ends)

        gradient = jax.grad(loss, has_aux=True)
        if case.reverse_only:
            return jax.jit(gradient)(draw_params())
        direction = random_like(draw_params(), 9)
        return jax.jit(lambda p: jax.jvp(gradient, (p,), (direction,))[1][0])(draw_params())

    assert_close(results(sharded), results(run), case.tolerance)


def counted(jaxpr):
    """The number of products outside of loops, and in the body of each loop."""
    outside, loops = 0, []
    for equation in jaxpr.eqns:
        if equation.primitive.name in PRODUCTS:
            outside += 1
        elif equation.primitive.name == "scan":
            within, deeper = counted(equation.params["jaxpr"].jaxpr)
            loops += [within, *deeper]
        else:
            for inner in inner_jaxprs(equation):
                within, deeper = counted(inner)
                outside, loops = outside + within, loops + deeper
    return outside, loops


def counts_of(case):
    """Of the values, and of the gradient with respect to params, inputs and carry."""
    layer, carry = recur.batch(recur.scan(case.cell)), draw_carry(case.carry, 2)
    xs = jnp.stack([case.xs, case.xs])

    def loss(params, xs, carry):
        ends = layer.run(params, xs, carry=carry)
        return sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(ends))

    given = (draw_params(), xs, carry)
    values, gradient = loss, jax.grad(loss, (0, 1, 2))
    return [counted(jax.make_jaxpr(f)(*given).jaxpr) for f in (values, gradient)]


GRADIENTS = {
    # before: y, dx, dW; after: y, dh, dW; in the loop: h U, dh; and one dU for each kernel
    "elman": (4, [1, 1]),
    "readout": (4 + 3, [1, 1]),
    "wide_lstm": (4 * 3 + 4, [1, 1]),
    "reset_before": (2 * 3 + 2, [2, 2]),
    "tied": (3 + 2 + 3, [2, 2]),
    "derived": (3 + 3, [1, 1]),
    "deep_transition": (3 + 3, [3, 3]),
    "heads": (3 + 1, [1, 1]),
    "custom_vjp": (3 + 1, [1, 1]),
    "without_products": (0, [0, 0]),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_the_gradient_of_a_kernel_is_one_product_after_the_loop(name):
    case = TABLE[name]
    values, gradient = counts_of(case)
    before, inside, after = case.products
    assert values == (before + after, [inside])
    assert gradient == GRADIENTS[name]


def in_loops(jaxpr, inside=False):
    """The equations in the bodies of loops."""
    for equation in jaxpr.eqns:
        if inside:
            yield equation
        for inner in inner_jaxprs(equation):
            yield from in_loops(inner, inside or equation.primitive.name == "scan")


def test_the_products_of_all_rows_are_one_product_with_one_kernel():
    """In the loop and on the way back: h U of rows `[B, H]`, and dh by the transposed kernel."""
    case = TABLE["wide_lstm"]
    layer, xs = recur.batch(recur.scan(case.cell)), jnp.stack([case.xs, case.xs, case.xs])
    jaxpr = jax.make_jaxpr(jax.grad(lambda p: jnp.sin(layer(p, xs)).sum()))(draw_params()).jaxpr
    factors = [
        [var.aval.shape for var in equation.invars[:2]]
        for equation in in_loops(jaxpr)
        if equation.primitive.name in PRODUCTS
    ]
    wide = 4 * HIDDEN
    assert factors == [[(3, HIDDEN), (HIDDEN, wide)], [(3, wide), (wide, HIDDEN)]]


def test_rows_with_weights_of_their_own():
    """Kernels by row, as of an ensemble; and what bind makes of a context, as masks by row."""

    def step(bound, h, x):
        params, mask = bound
        h = jnp.tanh(x @ params["W"] + (h * mask) @ (params["U"] * mask[:, None]))
        return h, h

    cell = recur.cell(
        init=draw_params,
        init_carry=lambda bound, x: jnp.zeros(HIDDEN),
        step=step,
        bind=lambda params, x, context=None: (params, context["mask"]),
    )
    xs, masks = jnp.stack([XS, XS]), jnp.array([[1.0, 0, 1, 2], [1, 1, 0, 1]])
    models = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), draw_params())

    def results(lift):
        def of_masks(params):
            return weighted_sum(recur.batch(lift(cell))(params, xs, context={"mask": masks}))

        def of_models(params):
            return weighted_sum(lift(cell)(params, XS, context={"mask": masks[0]}))

        along = random_like(draw_params(), 9)
        both = jax.jvp(jax.grad(of_masks), (draw_params(),), (along,))
        return both, jax.vmap(jax.value_and_grad(of_models))(models)

    assert_close(jax.jit(lambda: results(recur.scan))(), jax.jit(lambda: results(recur.loop))())


def test_a_loop_stores_its_products_and_recomputes_the_rest():
    """The residuals of an LSTM step are four sums, the cell state, and h twice."""
    case = TABLE["wide_lstm"]
    carry = draw_carry(case.carry)

    xs = np.zeros((20, XS.shape[1]))

    def loss(params):
        return weighted_sum(recur.scan(case.cell).run(params, xs, carry=carry))

    def scans(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name == "scan":
                yield equation
            for inner in inner_jaxprs(equation):
                yield from scans(inner)

    forward, backward = scans(jax.make_jaxpr(jax.grad(loss))(draw_params()).jaxpr)
    stored = [var.aval for var in forward.outvars if var.aval.shape[:1] == (len(xs),)]
    assert sum(aval.size for aval in stored) == len(xs) * HIDDEN * 7
    assert backward.params["reverse"]


def test_without_anything_to_move_the_lift_is_a_scan():
    def step(p, h, x):
        h = jnp.sin(h * p["b"]) + x
        return h, h

    cell = recur.cell(draw_params, lambda p, x: jnp.zeros(HIDDEN), step)
    xs = jnp.ones((4, HIDDEN))
    [equation] = jax.make_jaxpr(lambda p: recur.scan(cell)(p, xs))(draw_params()).jaxpr.eqns[-1:]
    assert equation.primitive.name == "scan"
    assert not counted(jax.make_jaxpr(lambda p: recur.scan(cell)(p, xs))(draw_params()).jaxpr)[0]


def test_what_is_the_same_at_all_steps_is_computed_once():
    """Also in the gradient, and also values that only the loop reads."""

    def step(p, h, x):
        kernel = jnp.arctan(p["U"]) / jnp.linalg.norm(p["U"])
        h = jnp.tanh(x @ jnp.arcsinh(p["W"]) + h @ kernel) * jnp.arctan(p["b"])
        return h, h @ jnp.arctan(p["V"])

    cell = recur.cell(draw_params, lambda p, x: jnp.zeros(HIDDEN), step)

    def loss(params):
        return recur.scan(cell)(params, XS).sum()

    def names_in_loops(jaxpr, inside=False):
        for equation in jaxpr.eqns:
            if inside:
                yield equation.primitive.name
            for inner in inner_jaxprs(equation):
                yield from names_in_loops(inner, inside or equation.primitive.name == "scan")

    for function in (loss, jax.grad(loss)):
        jaxpr = jax.make_jaxpr(function)(draw_params()).jaxpr
        assert not {"atan", "asinh", "sqrt"} & set(names_in_loops(jaxpr))
        assert {"atan", "asinh", "sqrt"} <= {name for name in names_in_loops(jaxpr, True)}


def printing(what):
    """A step with an effect on one of its values."""

    def step(p, log, h, x, call):
        kernel = p["U"]
        u, m = x @ p["W"], h @ kernel
        after = jnp.tanh(u + m)
        y = after @ p["V"]
        values = {"x": x, "u": u, "bound": jnp.exp(kernel), "carry": h, "next": after, "y": y}
        if what != "nothing":
            call(values[what])
        else:
            jax.debug.callback(lambda: log.append(0.0))
        return after, y

    return step


CALLS = {
    "unordered": lambda log: lambda v: jax.debug.callback(lambda v: log.append(float(v)), v),
    "ordered": lambda log: (
        lambda v: jax.debug.callback(lambda v: log.append(float(v)), v, ordered=True)
    ),
    "io": lambda log: lambda v: io_callback(lambda v: log.append(float(v)), None, v, ordered=True),
}


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("what", ["x", "u", "bound", "carry", "next", "y", "nothing"])
def test_effects_happen_once_a_step_and_in_order(what, kind):
    """Also where the value is the input's or a weight's alone, and once in a gradient."""
    if what == "nothing" and kind != "unordered":
        pytest.skip("an effect without a value is tried once")
    log = []
    call = CALLS[kind](log)

    def step(p, h, x):
        return printing(what)(p, log, h, x, lambda v: call(v.ravel()[0]))

    cell = recur.cell(draw_params, lambda p, x: jnp.zeros(HIDDEN), step)

    def logged(function, *given):
        log.clear()
        jax.block_until_ready(jax.jit(function)(*given))
        jax.effects_barrier()
        return [*log]

    expected = logged(recur.loop(cell), draw_params(), XS)
    assert len(expected) == len(XS)
    assert_close(logged(recur.scan(cell), draw_params(), XS), expected)
    if kind == "unordered":
        loss = lambda p: recur.scan(cell)(p, XS).sum()  # noqa: E731
        times = logged(jax.grad(loss), draw_params())
        # JAX takes an effect out of a loop whose values are the same at all steps.
        assert_close(times, expected if what not in ("bound", "nothing") else expected[:1])


def test_functions_of_the_host_are_called_as_in_a_scan():
    """They need no `vmap_method`, and no derivative where their input has none."""

    def step(p, h, x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        h = jnp.tanh(jax.pure_callback(np.sin, shape, x) @ p["W"] + h @ p["U"])
        shape = jax.ShapeDtypeStruct(h.shape, h.dtype)
        return h, jax.pure_callback(np.cos, shape, jax.lax.stop_gradient(h)) @ p["V"]

    cell = recur.cell(draw_params, lambda p, x: jnp.zeros(HIDDEN), step)

    def results(lift):
        def loss(params):
            ys = lift(cell)(params, XS)
            return weighted_sum(ys), ys

        return jax.jit(jax.grad(loss, has_aux=True))(draw_params())

    assert_close(results(recur.scan), results(recur.loop))


def test_a_step_that_returns_another_carry_is_an_error():
    def step(p, h, x):
        return (h @ p["U"]).astype(jnp.float32), h

    layer = recur.scan(recur.cell(draw_params, lambda p, x: jnp.zeros(HIDDEN), step))
    with pytest.raises(ValueError, match=r"carry .* float64\[4\], got float32\[4\]"):
        layer(draw_params(), XS)
