"""Wrong inputs of every cell: each is an error that says what was expected."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.cells import positive, scaled_identity
from recur_tests.wrong_input import Row, check_five_rows, each_row, rows_of_options

X = jnp.ones(3)
FRAME = jnp.ones((5, 3))
KEY = jax.random.key(0)
MORE = {
    "jordan": {"outputs": 2},
    "nary_lstm": {"arity": 2},
    "projected_lstm": {"projection": 2},
    "recurrent_highway": {"depth": 2},
    "conv_lstm": {"kernel_size": (3,), "peepholes": True},
    "conv_gru": {"kernel_size": (3,)},
    "lstm": {"peepholes": "full"},
    "diagonal": {"complex_state": True},
}
FACTORIES = {
    name: getattr(recur.cells, name)
    for name in recur.cells.__all__
    if "features" in inspect.signature(getattr(recur.cells, name)).parameters
} | {"leaky_integrator": recur.leaky_integrator}
EVERY = pytest.mark.parametrize("name", FACTORIES)


def make(name, **options):
    width = {} if name == "leaky_integrator" else {"features": 4}
    return FACTORIES[name](**{**width, **MORE.get(name, {}), **options})


def options_of(name):
    def call(**options):
        return make(name, **options)

    own = {"max_angle": "lru: max_angle must be above 0 and at most 2π, got "}
    return rows_of_options(FACTORIES[name], call, own)


GENERATED = [row for name in FACTORIES for row in options_of(name)]
CHOICES = {
    "gru": {
        "reset": 'reset must be "after" or "before", got',
        "update": 'update must be "keep" or "replace", got',
    },
    "mgu": {"reset": 'reset must be "before" or "after", got'},
    "lstm": {"peepholes": 'peepholes must be None, "diagonal" or "full"'},
    "slstm": {"forget_gate": 'forget_gate must be "exponential" or "sigmoid"'},
}
CHOSEN = [
    Row(
        name,
        lambda name=name, argument=argument, value=value: make(name, **{argument: value}),
        ValueError,
        f"{name}: {sentence}",
    )
    for name, sentences in CHOICES.items()
    for argument, sentence in sentences.items()
    for value in ("x", 3, ["after"], True)
]
SIZES = [
    Row(
        name,
        lambda name=name, size=size: make(name, kernel_size=size),
        ValueError,
        f"{name}: kernel_size",
    )
    for name in ("conv_lstm", "conv_gru")
    for size in (3, None, (), (3, 3, 3, 3), (0,), (2.0,), "3", (True,))
]


def lambda_cell(step=lambda params, h, x: (h, h), **parts):
    parts = {"init": lambda key, x: (), "init_carry": lambda params, x: jnp.zeros(3)} | parts
    return recur.cell(step=step, **parts)


def run_step(step):
    return lambda: recur.scan(lambda_cell(step))((), FRAME)


OWN = [
    Row("cell", lambda: lambda_cell(init=3), TypeError, "cell: init: expected a function, got i"),
    Row("cell", lambda: lambda_cell(init_carry=X), TypeError, "cell: init_carry: expected a func"),
    Row("cell", lambda: lambda_cell(step=None), TypeError, "cell: step: expected a function, got"),
    Row(
        "cell",
        lambda: lambda_cell(init=lambda key: 0),
        TypeError,
        "cell: init: expected a function of (key, x), got one of (key).",
    ),
    Row(
        "cell",
        lambda: lambda_cell(step=lambda h, x: (h, x)),
        TypeError,
        "cell: step: expected a function of (params, carry, x), got one of (h, x).",
    ),
    Row("cell", lambda: lambda_cell(bind="x"), TypeError, "cell: bind: expected a function, got s"),
    Row("cell", run_step(lambda p, h, x: h), TypeError, "step: expected a tuple (carry, y), got"),
    Row("cell", run_step(lambda p, h, x: None), TypeError, "(carry, y), got None."),
    Row("cell", run_step(lambda p, h, x: (h[:2], h)), ValueError, "step: expected the next carry"),
]
FUNCTIONS = [
    Row("positive", lambda value=value: positive(value), TypeError, sentence)
    for value, sentence in (
        ("x", "positive: a: expected an array of numbers or flags, got str."),
        (None, "positive: a: expected an array of numbers or flags, got NoneType."),
        ([1.0], "positive: a: expected an array of numbers or flags, got list."),
        (
            np.array(["x"]),
            "positive: a: expected an array of numbers or flags, got an array of <U",
        ),
        (jnp.ones(2, jnp.complex64), "positive: expected a real input, got complex64."),
    )
] + rows_of_options(scaled_identity, scaled_identity)
ROWS = [*GENERATED, *CHOSEN, *SIZES, *OWN, *FUNCTIONS]


@each_row(ROWS)
def test_wrong_input(row):
    row.check()


def test_every_public_function_has_five_rows():
    check_five_rows(recur.cells, ROWS)


@EVERY
def test_whole_numbers_and_flags_may_be_numpys(name):
    """And numbers."""
    kinds = {"int": np.int64(4), "bool": np.True_, "float": np.float32(1)}
    for argument, parameter in inspect.signature(FACTORIES[name]).parameters.items():
        if parameter.annotation in kinds:
            assert isinstance(make(name, **{argument: kinds[parameter.annotation]}), recur.Cell)


def example_of(name):
    return FRAME if name.startswith("conv") else X


@EVERY
def test_params_of_another_type_are_an_error(name):
    cell, x = make(name), example_of(name)
    expected = type(jax.eval_shape(cell.init, KEY, x)).__name__
    for params in (None, (), {"kernel": X}, X, 3):
        sentence = f"{name}: expected params as {expected}, got {type(params).__name__}. Pass what"
        with pytest.raises(TypeError) as caught:
            cell.bind(params, x)
        assert sentence in str(caught.value)


@EVERY
def test_params_of_another_width_are_an_error(name):
    if name == "leaky_integrator":  # as wide as its input
        pytest.skip("a leaky integrator is as wide as its input, and names both widths")
    x = example_of(name)
    wide = {"features": 6} | ({"heads": 2} if name == "slstm" else {})
    params = jax.eval_shape(make(name, **wide).init, KEY, x)
    with pytest.raises(TypeError, match=rf"{name}: expected params\.\w+ as \[.*4.*\], got \[.*6"):
        make(name).bind(params, x)


def test_params_of_other_options_are_an_error():
    def bind(given, wanted, factory=recur.lstm):
        params = jax.eval_shape(factory(4, **given).init, KEY, X)
        factory(4, **wanted).bind(params, X)

    with pytest.raises(TypeError, match="lstm: expected params.peephole as None, got Peepholes"):
        bind({"peepholes": "full"}, {})
    with pytest.raises(TypeError, match=r"params.peephole as \[4, 4\], got \[4\]"):
        bind({"peepholes": "diagonal"}, {"peepholes": "full"})
    with pytest.raises(
        TypeError, match="params.recurrent_kernel as a tuple of 3 layers, got a tuple of 2"
    ):
        bind({"depth": 2}, {"depth": 3}, recur.recurrent_highway)
    params = jax.eval_shape(recur.gru(4).init, KEY, X)
    with pytest.raises(TypeError, match="params.kernel as arrays, got NoneType"):
        recur.gru(4).bind(params._replace(kernel=None), X)


@EVERY
def test_inputs_that_are_no_array_are_an_error(name):
    for x in ([X, X], None, (X,)):
        with pytest.raises(
            ValueError, match=f"{name}: expected (x as one array|one frame).* got [^ ]"
        ):
            make(name).init(KEY, x)


def test_a_list_of_steps_becomes_an_array_by_stack():
    with pytest.raises(
        ValueError, match="gru: expected x as one array .* list of steps with jnp.stack"
    ):
        recur.scan(recur.gru(4)).init(KEY, [X] * 5)


def test_an_initialiser_must_return_an_array_of_the_shape():
    def init(initialiser):
        return recur.gru(4, kernel_init=initialiser).init(KEY, X)

    with pytest.raises(
        TypeError, match="expected an initialiser, .* a function that returns function"
    ):
        init(jax.nn.initializers.orthogonal)
    with pytest.raises(ValueError, match=r"returns the shape it is given, \[3, 4\], got \[7\]"):
        init(lambda key, shape, dtype: jnp.ones(7, dtype))
    with pytest.raises(TypeError, match="gru: the initializer of kernel: .* got None"):
        recur.gru(4, kernel_init=None)
    with pytest.raises(TypeError, match="with use_bias=True: .* got None"):
        recur.gru(4, bias_init=None)


def test_the_radius_of_an_lru_is_two_numbers():
    for radius in (
        0.5,
        (0.1,),
        (0.9, 0.1),
        (-0.1, 0.5),
        (0.1, 1.5),
        ("a", 1),
        (None, 1),
        (False, 1),
    ):
        with pytest.raises(
            ValueError, match="lru: radius must be a tuple of the smallest and the large"
        ):
            recur.lru(4, radius=radius)


def test_heads_divide_features():
    for heads in (0, 2.0, True, 3):
        with pytest.raises(
            ValueError, match="slstm: (heads: expected a whole|heads must divide features, got 3)"
        ):
            recur.slstm(4, heads)
