import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from recur.masks import (
    check_known_length,
    drop_leading_axis,
    expand_like,
    is_known,
    leading_shape,
    make_mask,
    step_count,
    zero_invalid,
)
from recur.types import Mask

SHAPES = {0: (5,), 1: (2, 5), 2: (3, 2, 5)}  # the leading axes, by the number of row axes
NESTED = pytest.mark.parametrize("batch_axes", SHAPES)


def inputs(batch_axes):
    return {"x": jnp.ones((*SHAPES[batch_axes], 4)), "id": jnp.ones(SHAPES[batch_axes], int)}


def flags(batch_axes, seed=0):
    return np.random.default_rng(seed).random(SHAPES[batch_axes]) < 0.6


def lengths(batch_axes):
    rows = SHAPES[batch_axes][:-1]
    return np.random.default_rng(1).integers(0, 6, rows)


def as_steps(length):
    """The first `length` of five steps, row by row, by counting."""
    found = np.zeros((*np.shape(length), 5), bool)
    for row in np.ndindex(*np.shape(length)):
        found[row][: np.asarray(length)[row]] = True
    return found


@NESTED
def test_without_marks_all_steps_count(batch_axes):
    assert make_mask(inputs(batch_axes), batch_axes=batch_axes) == Mask(None, None)


@pytest.mark.parametrize("is_traced", [False, True], ids=["eager", "traced"])
@NESTED
def test_length_and_mask_are_combined(batch_axes, is_traced):
    mask, reset, length = flags(batch_axes), flags(batch_axes, 2), lengths(batch_axes)
    make = functools.partial(make_mask, inputs(batch_axes), batch_axes=batch_axes)
    make = jax.jit(make) if is_traced else make
    within = as_steps(length)
    assert not within.all() and within.any()
    for given, expected in (
        ({"length": length}, Mask(within, None)),
        ({"mask": mask}, Mask(mask, None)),
        ({"reset": reset}, Mask(None, reset)),
        ({"length": length, "mask": mask}, Mask(within & mask, None)),
        ({"length": length, "mask": mask, "reset": reset}, Mask(within & mask, reset)),
    ):
        found = make(**given)
        for flag, expected_flag in zip(found, expected, strict=True):
            assert (flag is None) == (expected_flag is None)
            if flag is not None:
                assert flag.dtype == jnp.bool_ and flag.shape == SHAPES[batch_axes]
                assert np.array_equal(flag, expected_flag)


@pytest.mark.parametrize("length", [0, 3, 5, np.int8(3), np.uint8(3), jnp.asarray(3, jnp.int16)])
def test_integers_of_every_dtype_are_lengths(length):
    assert make_mask(jnp.ones(5), length=length).valid.tolist() == as_steps(length).tolist()


def test_lists_are_lengths_and_flags():
    found = make_mask(
        jnp.ones((2, 3)), length=[1, 3], reset=[[True, False, False]] * 2, batch_axes=1
    )
    assert found.valid.tolist() == [[True, False, False], [True, True, True]]
    assert found.reset.tolist() == [[True, False, False]] * 2


def test_no_steps_and_no_rows():
    assert make_mask(jnp.ones((0, 3)), length=0).valid.shape == (0,)
    assert make_mask(jnp.ones((0, 4, 3)), length=jnp.ones(0, int), batch_axes=1).valid.shape == (
        0,
        4,
    )


@pytest.mark.parametrize(
    ("given", "batch_axes", "error", "message"),
    [
        ({"length": 6}, 0, ValueError, "length: expected from 0 to 5, the number of steps, got 6"),
        (
            {"length": -1},
            0,
            ValueError,
            "length: expected from 0 to 5, the number of steps, got -1",
        ),
        ({"length": [2, 7]}, 1, ValueError, "length of row 1: expected from 0 to 5, .* got 7"),
        (
            {"length": [[1, 2], [3, 9], [1, 1]]},
            2,
            ValueError,
            "length of row 1, 1: expected from 0 to 5, .* got 9",
        ),
        ({"length": 3.0}, 0, TypeError, "length: expected an integer, got float"),
        ({"length": True}, 0, TypeError, "length: expected an integer, got bool"),
        ({"length": [1, 2]}, 0, ValueError, r"one integer for one sequence .* recur.batch.* \[2\]"),
        ({"length": 3}, 1, ValueError, r"one integer for each row, of shape \[2\], got .* \[\]"),
        (
            {"length": [1, 2, 3]},
            1,
            ValueError,
            r"for each row, of shape \[2\], got the shape \[3\]",
        ),
        ({"mask": np.ones(5)}, 0, TypeError, "mask: expected bool flags, got float"),
        ({"reset": np.ones(5, int)}, 0, TypeError, "reset: expected bool flags, got int"),
        (
            {"mask": np.ones(4, bool)},
            0,
            ValueError,
            r"mask: expected one flag per step, of shape \[5\], got \[4\]. For a batch of seq",
        ),
        (
            {"reset": np.ones(5, bool)},
            1,
            ValueError,
            r"reset: expected one flag per step, of shape \[2, 5\], got \[5\].$",
        ),
        (
            {"mask": np.ones((5, 2), bool)},
            1,
            ValueError,
            r"mask: expected one flag per step, of shape \[2, 5\], got \[5, 2\].$",
        ),
    ],
)
def test_wrong_lengths_and_flags_are_errors(given, batch_axes, error, message):
    with pytest.raises(error, match=message):
        make_mask(inputs(batch_axes), **given, batch_axes=batch_axes)


def test_traced_lengths_are_checked_in_shape_and_dtype_alone():
    xs = jnp.ones(5)
    make = jax.jit(lambda length: make_mask(xs, length=length).valid)
    assert make(7).tolist() == [True] * 5
    assert make(-1).tolist() == [False] * 5
    with pytest.raises(TypeError, match="length: expected an integer"):
        make(2.0)
    with pytest.raises(ValueError, match="one integer for one sequence"):
        make(jnp.ones(2, int))


def test_known_lengths_are_checked_inside_of_a_transformation():
    with pytest.raises(ValueError, match="length: expected from 0 to 5, the number of steps"):
        jax.jit(lambda xs: make_mask(xs, length=6).valid)(jnp.ones(5))
    check_known_length(None, 5)
    check_known_length(np.array([0, 5]), 5)
    jax.jit(lambda length: check_known_length(length, 5))(6)


@NESTED
def test_leading_shape(batch_axes):
    assert leading_shape(inputs(batch_axes), batch_axes) == SHAPES[batch_axes]
    shapes = jax.eval_shape(lambda: inputs(batch_axes))
    assert leading_shape(shapes, batch_axes) == SHAPES[batch_axes]


@pytest.mark.parametrize(
    ("xs", "batch_axes", "message"),
    [
        ((), 0, r"xs holds no array, .* width 0, jnp.zeros\(\(T, 0\)\)"),
        ({"none": None}, 1, "xs holds no array"),
        (jnp.ones(()), 0, r"xs: expected arrays with one leading time axis, got shapes \[\]"),
        (
            [1.0, 2.0],
            0,
            r"got shapes \[\], \[\]. Convert a list of numbers with jnp.asarray",
        ),
        ((jnp.ones(3), jnp.ones(4)), 0, r"one leading time axis, got shapes \[3\], \[4\]"),
        (jnp.ones(3), 1, r"batch: expected xs of shape \[B, T, ...\], got \[3\]. .* xs\[None\]"),
        ((jnp.ones((2, 3)), jnp.ones((2, 4))), 1, r"\[B, T, ...\], got \[2, 3\], \[2, 4\]"),
    ],
)
def test_arrays_that_share_no_leading_axes_are_an_error(xs, batch_axes, message):
    with pytest.raises(ValueError, match=message):
        leading_shape(xs, batch_axes)
    with pytest.raises(ValueError, match=message):
        make_mask(xs, batch_axes=batch_axes)


def test_step_count():
    assert step_count((jnp.ones((7, 2)), np.ones(7))) == 7
    assert is_known(step_count(jnp.ones(7)))
    (symbol,) = export.symbolic_shape("T")
    shape = jax.ShapeDtypeStruct((symbol, 2), jnp.float32)
    assert step_count(shape) == symbol
    assert not is_known(step_count(shape))


def test_drop_leading_axis():
    tree = {
        "array": jnp.ones((5, 3), jnp.float32),
        "shape": jax.ShapeDtypeStruct((5,), jnp.int8),
        "keys": jax.random.split(jax.random.key(0), 5),
        "none": None,
        "numpy": np.ones((5, 2, 1)),
    }
    found = drop_leading_axis(tree)
    assert isinstance(found["array"], jax.ShapeDtypeStruct)
    assert found["none"] is None
    assert [(each.shape, each.dtype) for each in jax.tree.leaves(found)] == [
        ((3,), jnp.float32),
        ((), jax.random.key(0).dtype),
        ((2, 1), jnp.float64),
        ((), jnp.int8),
    ]
    with jax.enable_x64(False):  # the dtypes are those that JAX would give the arrays
        found = drop_leading_axis((np.ones((5, 2)), np.ones(5, np.int64)))
        assert [each.dtype for each in found] == [jnp.float32, jnp.int32]


@pytest.mark.parametrize("leading", [(4,), (2, 4)], ids=str)
def test_zero_invalid(leading):
    valid = np.random.default_rng(0).random(leading) < 0.5
    assert valid.any() and not valid.all()
    tree = {
        "flat": jnp.full(leading, 2, jnp.int8),
        "wide": jnp.full((*leading, 3, 2), jnp.nan),
        "on": jnp.ones(leading, bool),
        "none": None,
    }
    found = zero_invalid(jnp.asarray(valid), tree)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), found) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), tree
    )
    for name in ("flat", "wide", "on"):
        kept, zeroed = found[name][valid], np.asarray(found[name])[~valid]
        assert np.array_equal(kept, tree[name][valid], equal_nan=name == "wide")
        assert not zeroed.any()


def test_zero_invalid_leaves_keys_and_unmasked_trees_alone():
    keys = jax.random.split(jax.random.key(0), 3)
    assert zero_invalid(jnp.zeros(3, bool), keys) is keys
    tree = (jnp.ones(3), None)
    assert zero_invalid(None, tree) is tree


def test_expand_like_adds_an_axis_for_each_feature_axis():
    of_steps = jnp.arange(6).reshape(2, 3)
    assert expand_like(of_steps, jnp.ones((2, 3))).shape == (2, 3)
    expanded = expand_like(of_steps, jnp.ones((2, 3, 4, 5)))
    assert expanded.shape == (2, 3, 1, 1)
    assert np.array_equal(expanded[..., 0, 0], of_steps)
