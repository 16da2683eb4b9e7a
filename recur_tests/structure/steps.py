"""Steps as users may write them, with the expected products before, in and after the loop.

Each is a plain function of params, carry and x. A lift must give the values of `recur.loop` for
each of them, whatever its structure.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import recur
from recur.keys import is_key
from recur.partition_inexact import partition_inexact
from recur.types import Cell
from recur_tests.helpers import random_like, weighted_sum

STEPS, INPUT, HIDDEN = 4, 3, 4
HALF = 3e-2  # the tolerance where products are of 16 bits


def _shape(*shape: int, dtype: str = "float64") -> jax.ShapeDtypeStruct:
    with jax.enable_x64(True):
        return jax.ShapeDtypeStruct(shape, np.dtype(dtype))


_H = _shape(HIDDEN)
XS = np.random.default_rng(0).standard_normal((STEPS, INPUT))
WIDE_XS = np.random.default_rng(1).standard_normal((STEPS, HIDDEN))
IDS = np.array([2, 0, 4, 2])


class Step(NamedTuple):
    """A step, and its expected structure.

    Attributes:
      name: the id of the test.
      step: `(params, carry, x, key) -> (carry, y)`.
      products: the numbers of products before, in and after the loop; in the loop, of groups.
      carry: the shapes of the carry.
      xs: inputs `[T, ...]`.
      reverse_only: whether the step has no derivative in forward mode.
      tolerance: relative and absolute.
    """

    name: str
    step: Callable[..., Any]
    products: tuple[int, int, int]
    carry: Any
    xs: Any
    reverse_only: bool
    tolerance: float

    @property
    def is_noisy(self) -> bool:
        return "key" in inspect.signature(self.step).parameters

    @property
    def cell(self) -> Cell:
        return recur.cell(draw_params, lambda params, x: zeros_like(self.carry), self.step)

    @property
    def x(self) -> Any:
        """The input of one step."""
        return jax.tree.map(lambda leaf: leaf[1], self.xs)

    @property
    def key(self) -> jax.Array | None:
        return jax.random.key(3) if self.is_noisy else None


TABLE: dict[str, Step] = {}


def found(
    before: int,
    inside: int,
    after: int,
    *,
    carry: Any = _H,
    xs: Any = XS,
    reverse_only: bool = False,
    tolerance: float = 1e-9,
) -> Callable[[Callable], Callable]:
    """Adds a step to the table, with the expected products before, in and after the loop."""

    def enter(step):
        products = (before, inside, after)
        assert step.__name__ not in TABLE
        row = Step(step.__name__, step, products, carry, xs, reverse_only, tolerance)
        TABLE[step.__name__] = row
        return step

    return enter


def draw_params(key: jax.Array | None = None, x: Any = None) -> dict[str, jax.Array]:
    """Draws weights of all kinds; each step uses some of them."""
    shapes = {
        "W": (INPUT, HIDDEN),
        "U": (HIDDEN, HIDDEN),
        "V": (HIDDEN, HIDDEN),
        "W4": (INPUT, 4 * HIDDEN),
        "U4": (HIDDEN, 4 * HIDDEN),
        "heads": (2, HIDDEN // 2, HIDDEN // 2),
        "embedding": (5, HIDDEN),
        "filter": (2, 1, 1),
        "b": (HIDDEN,),
        "b4": (4 * HIDDEN,),
    }
    return random_like({name: _shape(*shape) for name, shape in shapes.items()}, 1)


def zeros_like(shapes: Any) -> Any:
    """Returns zeros, or a key where the dtype is that of a key."""
    return jax.tree.map(
        lambda s: jax.random.key(0) if is_key(s) else jnp.zeros(s.shape, s.dtype), shapes
    )


def draw_carry(shapes: Any, rows: int | None = None) -> Any:
    """Draws a nonzero carry, with a batch axis if there are rows."""
    leading = () if rows is None else (rows,)

    def draw(shape):
        if is_key(shape):
            return jax.random.split(jax.random.key(5), leading) if leading else jax.random.key(5)
        return random_like(jax.ShapeDtypeStruct((*leading, *shape.shape), shape.dtype), 2, 2.0)

    return jax.tree.map(draw, shapes)


def derivatives(
    layer: Any,
    case: Step,
    *,
    rows: int | None = None,
    impl: str | None = None,
    second: bool = True,
    **options: Any,
) -> list[jax.Array]:
    """Values, the gradient and a product with the Hessian, from a carry that is not zero.

    Of params, inputs and carry, as far as they are real or complex; in one compiled function.
    """
    xs = case.xs
    if rows is not None:
        xs = jax.tree.map(lambda leaf: np.stack([leaf, leaf[::-1], leaf][:rows]), xs)
    real, rest, join = partition_inexact((draw_params(), xs, draw_carry(case.carry, rows)))
    if case.is_noisy:
        options["key"] = jax.random.key(3, impl=impl)

    def loss(real):
        params, xs, carry = join(real, rest)
        ends = layer.run(params, xs, carry=carry, **options)
        return inexact_sum(ends), numbers(ends)

    gradient = jax.grad(loss, has_aux=True)

    @jax.jit
    def derive(real):
        if not second:
            return gradient(real)
        if not case.reverse_only:
            return jax.jvp(gradient, (real,), (random_like(real, 9),))

        def along(real):
            first, ends = gradient(real)
            return inexact_sum(first), (first, ends)

        return jax.grad(along, has_aux=True)(real)

    return numbers(derive(real))


def numbers(tree: Any) -> list[jax.Array]:
    """Returns the leaves of a tree, with keys as their bits, without float0 tangents."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if leaf.dtype != jax.dtypes.float0]
    return [jax.random.key_data(leaf) if is_key(leaf) else leaf for leaf in leaves]


def inexact_sum(tree: Any) -> jax.Array:
    """A weighted sum of the leaves that have a derivative, in float64."""
    leaves = [leaf for leaf in numbers(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    is_complex = [jnp.issubdtype(leaf.dtype, jnp.complexfloating) for leaf in leaves]
    widest = [
        leaf.astype("complex128" if flag else "float64")
        for leaf, flag in zip(leaves, is_complex, strict=True)
    ]
    return weighted_sum([jnp.zeros(1), *widest])


def by_name(*names: str) -> dict[str, Any]:
    """Arguments of `pytest.mark.parametrize` for the given steps of the table, by default all."""
    rows = [TABLE[name] for name in names or TABLE]
    return {"argvalues": rows, "ids": [row.name for row in rows]}


# Plain recurrences


@found(1, 1, 0)
def elman(p, h, x):
    h = jnp.tanh(x @ p["W"] + h @ p["U"] + p["b"])
    return h, h


@found(1, 1, 1)
def readout(p, h, x):
    h = jnp.tanh(x @ p["W"] + h @ p["U"])
    return h, jax.nn.softmax(h @ p["V"])


@found(4, 1, 0, carry=(_H, _H))
def wide_lstm(p, carry, x):
    c, h = carry
    i, f, g, o = jnp.split(x @ p["W4"] + h @ p["U4"] + p["b4"], 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (c, h), h


@found(4, 1, 0, carry=(_H, _H))
def sliced_lstm(p, carry, x):
    c, h = carry
    m = x @ p["W4"] + h @ p["U4"] + p["b4"]
    i, f, g, o = (m[n * HIDDEN : (n + 1) * HIDDEN] for n in range(4))
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (c, h), h


@found(2, 2, 0)
def reset_before(p, h, x):
    r = jax.nn.sigmoid(x @ p["W"] + h @ p["U"])
    h = 0.5 * h + jnp.tanh(x @ p["W"] + (r * h) @ p["V"])
    return h, h


@found(1, 1, 0)
def reset_after(p, h, x):
    r = jax.nn.sigmoid(x @ p["W"] + h @ p["U"])
    h = 0.5 * h + jnp.tanh(p["b"] + r * (h @ p["V"] + p["b"]))
    return h, h


@found(1, 3, 0)
def deep_transition(p, h, x):
    h = jnp.tanh(x @ p["W"] + h @ p["U"])
    h = jnp.tanh(jnp.tanh(h @ p["V"]) @ p["U"])
    return h, h


@found(1, 2, 0, carry=(_H, _H))
def jordan(p, carry, x):
    h, y = carry
    h = jnp.tanh(x @ p["W"] + y @ p["U"])
    y = jax.nn.sigmoid(h @ p["V"])
    return (h, y), y


@found(1, 2, 0, carry=(_H, _shape(2)))
def projected(p, carry, x):
    c, r = carry
    c = 0.5 * c + jnp.tanh(x @ p["W"] + r @ p["U"][:2])
    r = jnp.tanh(c) @ p["V"][:, :2]
    return (c, r), r


@found(1, 1, 0)
def layer_norm(p, h, x):
    m = h @ p["U"]
    m = (m - m.mean()) / jnp.sqrt(m.var() + 1e-3)
    h = jnp.tanh(x @ p["W"] + p["b"] * m)
    return h, h


# Kernels


@found(1, 2, 1)
def tied(p, h, x):
    h = jnp.tanh(x @ p["W"] + h @ p["U"])
    h = jnp.tanh(h @ p["U"] + h)
    return h, h @ p["U"]


@found(1, 1, 0)
def derived(p, h, x):
    normed = p["V"] / jnp.linalg.norm(p["V"], axis=0, keepdims=True)
    m = h @ p["U"].T + h @ normed + h @ jnp.concatenate([p["U"][:2], p["V"][2:]])
    h = jnp.tanh(x @ p["W"] + m)
    return h, h


@found(1, 1, 0)
def also_elementwise(p, h, x):
    h = jnp.tanh(h @ p["U"] + jnp.diag(p["U"]) * h + x @ p["W"])
    return h, h * p["U"].sum()


@found(1, 1, 0)
def kernel_on_the_left(p, h, x):
    h = jnp.tanh(p["U"] @ h + p["W"].T @ x)
    return h, h


@found(1, 1, 0)
def both_sides(p, h, x):
    h = jnp.tanh(p["U"] @ h + h @ p["V"] + x @ p["W"])
    return h, h


@found(1, 1, 0)
def jnp_dot(p, h, x):
    h = jnp.tanh(jnp.dot(x, p["W"]) + jnp.dot(h, p["U"]))
    return h, h


@found(1, 1, 0)
def heads(p, h, x):
    m = jnp.einsum("nd,nde->ne", h.reshape(2, 2), p["heads"])
    h = jnp.tanh(m.reshape(HIDDEN) + x @ p["W"])
    return h, h


@found(1, 2, 1)
def vectors(p, h, x):
    gate = jax.nn.sigmoid(h @ p["b"])
    h = gate * h + jnp.tanh(x @ p["W"])
    return h * jnp.cos(h @ p["U"][0]), h @ p["b"]


@found(1, 1, 0)
def rows_of_one(p, h, x):
    h = jnp.tanh((h[None] @ p["U"])[0] + (x[None] @ p["W"])[0])
    return h, h


@found(1, 1, 0)
def stopped(p, h, x):
    h = jnp.tanh(h @ jax.lax.stop_gradient(p["U"]) + x @ p["W"])
    return h, h


@found(1, 1, 1, carry=_shape(2, HIDDEN))
def matrix_carry(p, c, x):
    c = jnp.tanh(c @ p["U"] + (x @ p["W"])[None])
    return c, c @ p["V"]


@found(1, 1, 0, carry=_shape(HIDDEN, HIDDEN))
def matrix_memory(p, c, x):
    """A product of the carry with itself has no kernel."""
    q = jnp.tanh(x @ p["W"])
    c = 0.5 * c + jnp.outer(q, jnp.tanh(c @ p["b"]))
    return c, jnp.tanh(c @ q)


# Derivatives of their own, control flow, calls


@jax.custom_jvp
def steep(a):
    return jnp.tanh(a)


@steep.defjvp
def _steep_jvp(primals, tangents):
    return jnp.tanh(*primals), 2 * tangents[0] * jnp.cos(primals[0])


@jax.custom_vjp
def spike(a):
    return (a > 0).astype(a.dtype)


spike.defvjp(lambda a: (spike(a), a), lambda a, g: (g / (1 + jnp.abs(a)) ** 2,))


@jax.custom_vjp
def multiply(h, kernel):
    return h @ kernel


multiply.defvjp(
    lambda h, u: (multiply(h, u), (h, u)), lambda r, g: (2 * r[1] @ g, jnp.outer(r[0], g))
)


@jax.custom_jvp
def soft_multiply(h, kernel):
    return jnp.tanh(h @ kernel)


@soft_multiply.defjvp
def _soft_multiply_jvp(primals, tangents):
    return jax.jvp(lambda h, u: 2 * jnp.tanh(h @ u), primals, tangents)


@found(1, 1, 0)
def custom_jvp(p, h, x):
    h = steep(x @ p["W"] + h @ p["U"])
    return h, h


@found(1, 1, 0, reverse_only=True)
def custom_vjp(p, h, x):
    h = 0.5 * h + spike(x @ p["W"] + h @ p["U"])
    return h, h


@found(1, 1, 0, reverse_only=True)
def custom_vjp_within_jit(p, h, x):
    h = 0.5 * h + jax.jit(jax.checkpoint(spike))(x @ p["W"] + h @ p["U"])
    return h, h


@found(1, 1, 1)
def custom_jvp_with_a_product(p, h, x):
    h = soft_multiply(h, p["U"]) + x @ p["W"] + 0.1 * h @ p["V"]
    return 0.5 * h, h @ p["U"]


@found(1, 1, 1, reverse_only=True)
def custom_vjp_with_a_product(p, h, x):
    h = jnp.tanh(multiply(h, p["U"]) + x @ p["W"] + h @ p["V"])
    return 0.5 * h, h @ p["U"]


@found(1, 0, 0, reverse_only=True)
def cond_on_the_carry(p, h, x):
    h = jax.lax.cond(h[0] > 0, lambda h: jnp.tanh(h @ p["U"]), lambda h: h @ p["V"], h)
    h = h + 0.3 * x @ p["W"]
    return h, h


@found(0, 1, 0, reverse_only=True)
def cond_on_x(p, h, x):
    u = jax.lax.cond(x[0] > 0, lambda x: x @ p["W"], lambda x: p["b"], x)
    h = jnp.tanh(u + h @ p["U"])
    return h, h


@found(1, 2, 0, reverse_only=True)
def product_of_a_cond(p, h, x):
    u = jax.lax.cond(x[0] > 0, lambda x: x @ p["W"], lambda x: p["b"], x)
    h = jnp.tanh(u @ p["V"] + h @ p["U"] + x @ p["W"])
    return h, h


@found(1, 1, 0, reverse_only=True)
def scan_within(p, h, x):
    m, _ = jax.lax.scan(lambda a, _: (jnp.tanh(a @ p["V"]), None), h @ p["U"], None, length=2)
    h = jnp.tanh(m + x @ p["W"])
    return h, h


@found(1, 1, 0, reverse_only=True)
def scan_of_x(p, h, x):
    u, _ = jax.lax.scan(lambda a, each: (jnp.sin(a + each), None), jnp.zeros(()), x)
    h = jnp.tanh(u + h @ p["U"] + x @ p["W"])
    return h, h


@found(1, 1, 0, reverse_only=True)
def while_without_derivative(p, h, x):
    """A `while` of integers whose number of iterations depends on the carry."""
    n = jax.lax.while_loop(lambda n: n < 3, lambda n: n + 1, (h[0] > 0).astype(jnp.int32))
    h = jnp.tanh(n.astype(h.dtype) * 0.1 + h @ p["U"] + x @ p["W"])
    return h, h


@found(1, 1, 0, reverse_only=True)
def control_flow_for_the_output(p, h, x):
    h = jnp.tanh(h @ p["U"] + x @ p["W"])
    return h, jax.lax.cond(h[0] > 0, jnp.sin, jnp.cos, h)


@found(1, 1, 0)
def checkpointed(p, h, x):
    h = jax.checkpoint(lambda h, x: jnp.tanh(x @ p["W"] + h @ p["U"]))(h, x)
    return h, h


@found(1, 1, 1)
def jitted(p, h, x):
    h = jax.jit(lambda h, x: jnp.tanh(x @ p["W"] + jax.jit(jnp.matmul)(h, p["U"])))(h, x)
    return h, jax.jit(jnp.matmul)(h, p["V"])


# Kinds of numbers

_COMPLEX = _shape(HIDDEN, dtype="complex128")


@found(1, 1, 0, carry=_COMPLEX)
def complex_carry(p, h, x):
    h = h @ jax.lax.complex(p["U"], p["V"]) + (x @ p["W"]).astype(h.dtype)
    h = h / (1 + jnp.abs(h)).astype(h.dtype)
    return h, h.real


@found(1, 1, 0)
def complex_kernel(p, h, x):
    m = h.astype(jnp.complex128) @ jax.lax.complex(p["U"], p["V"])
    h = jnp.tanh(m.real + jnp.sin(m.imag) + x @ p["W"])
    return h, m


@found(1, 1, 0, tolerance=HALF)
def bfloat16(p, h, x):
    p = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), p)
    m = x.astype(jnp.bfloat16) @ p["W"] + h.astype(jnp.bfloat16) @ p["U"]
    h = jnp.tanh(m).astype(jnp.float64)
    return h, h


@found(1, 1, 1, tolerance=HALF)
def bfloat16_summed_in_float32(p, h, x):
    def times(x, kernel):
        return jnp.dot(
            x.astype(jnp.bfloat16),
            kernel.astype(jnp.bfloat16),
            preferred_element_type=jnp.float32,
        )

    h = jnp.tanh(times(x, p["W"]) + times(h, p["U"])).astype(jnp.float64)
    return h, times(h, p["V"])


@found(1, 1, 1, carry=_shape(HIDDEN, dtype="float16"), tolerance=HALF)
def float16(p, h, x):
    p = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), p)
    h = jnp.tanh(x.astype(jnp.float16) @ p["W"] + h @ p["U"])
    return h, h @ p["V"]


@found(1, 0, 1, carry=(_H, _shape(HIDDEN, dtype="int32")))
def integers(p, carry, x):
    """A product of integers has no derivative and stays in the loop as it is."""
    h, n = carry
    matrix = jnp.arange(HIDDEN * HIDDEN, dtype=jnp.int32).reshape(HIDDEN, HIDDEN)
    n = n @ matrix % 5
    h = jnp.tanh(h * 0.1 * n.astype(h.dtype) + x @ p["W"])
    return (h, n), (h @ p["V"], n)


_FLAGS = _shape(HIDDEN, dtype="bool")


@found(1, 1, 0, carry=(_H, _shape(dtype="int32"), _FLAGS))
def counters_and_flags(p, carry, x):
    h, n, flags = carry
    h = jnp.tanh(x @ p["W"] + jnp.where(flags, h, 0.0) @ p["U"])
    return (h, n + 1, ~flags), (h * n.astype(h.dtype), n)


@found(0, 1, 1, xs=IDS)
def tokens(p, h, x):
    h = jnp.tanh(p["embedding"][x] + h @ p["U"])
    return h, h @ p["embedding"].T


@found(1, 1, 0, xs=IDS)
def one_hot_tokens(p, h, x):
    h = jnp.tanh(jax.nn.one_hot(x, 5, dtype=h.dtype) @ p["embedding"] + h @ p["U"])
    return h, h


@found(1, 1, 0, carry=_shape(dtype="int32"))
def lookup_by_the_carry(p, n, x):
    n = jnp.argmax(p["embedding"][n] @ p["U"] + x @ p["W"]).astype(jnp.int32)
    return n, p["embedding"][n]


@found(0, 1, 0, xs=XS[:, :, None])
def convolution(p, h, x):
    """A convolution of x is not a product, but is moved like one."""
    u = jax.lax.conv_general_dilated(x.T[None], p["filter"].T, (1,), "VALID")
    h = jnp.tanh(jnp.pad(u[0, 0], (0, 2)) + h @ p["U"])
    return h, h


# Noise


@found(1, 1, 1)
def noise(p, h, x, key):
    first, second = jax.random.split(key)
    h = h * jax.random.bernoulli(first, 0.7, h.shape).astype(h.dtype)
    h = jnp.tanh(x @ p["W"] + h @ p["U"])
    return h, h @ p["V"] * jax.random.normal(second, h.shape, h.dtype)


@found(1, 1, 0, carry=(_H, jax.eval_shape(lambda: jax.random.key(0))))
def key_in_the_carry(p, carry, x):
    h, key = carry
    key, own = jax.random.split(key)
    h = jnp.tanh(x @ p["W"] + h @ p["U"]) * jax.random.uniform(own, h.shape, h.dtype)
    return (h, key), h


# Outputs, inputs and carries of odd kinds


@found(0, 1, 0, carry=(_H, _H))
def outputs_of_all_kinds(p, carry, x):
    """Constants, params, the input, and the carry before and after."""
    c, h = carry
    h = jnp.tanh(h @ p["U"] + c)
    return (c, h), (1.0, np.arange(2), p["b"], x, c, carry[1], h)


@found(0, 0, 0, carry=(_H, _H))
def swapped(p, carry, x):
    a, b = carry
    return (b, a), a + x[0]


@found(0, 1, 1, carry=(_H, _H))
def swapped_and_multiplied(p, carry, x):
    a, b = carry
    return (b @ p["V"], a), a @ p["U"]


@found(0, 1, 0)
def without_x(p, h, x):
    h = jnp.tanh(h @ p["U"] + p["b"])
    return h, h


@found(0, 0, 0)
def without_products(p, h, x):
    h = jnp.tanh(h * p["b"] + x.sum())
    return h, h


@found(1, 0, 0, carry=())
def without_carry(p, carry, x):
    return (), jnp.tanh(x @ p["W"])


@found(1, 0, 0)
def constant_carry(p, h, x):
    return h, h + x @ p["W"]


@found(1, 0, 0)
def forgetful(p, h, x):
    h = jnp.tanh(x @ p["W"])
    return h, h


@found(1, 1, 0, carry=({"a": _H, "b": (_H,)}))
def nested_carry(p, carry, x):
    a, (b,) = carry["a"], carry["b"]
    a = jnp.tanh(a @ p["U"] + b + x @ p["W"])
    return {"a": a, "b": (0.5 * b + a,)}, {"y": a}


# Sums that must not be taken for changes of an input


@found(1, 1, 0)
def product_read_twice(p, h, x):
    m = h @ p["U"]
    h = jnp.tanh(x @ p["W"] + m) + 0.1 * m
    return h, h


@found(1, 1, 0)
def input_read_twice(p, h, x):
    u = x @ p["W"]
    h = jnp.tanh(u + h @ p["U"]) * u
    return h, h


@found(1, 1, 0)
def sum_read_by_the_output(p, h, x):
    m = x @ p["W"] + h @ p["U"]
    h = jnp.tanh(m)
    return h, jnp.sin(m)


@found(1, 1, 0)
def product_added_to_itself(p, h, x):
    m = h @ p["U"]
    h = jnp.tanh((m + m) + x @ p["W"])
    return h, h


@found(1, 1, 0)
def input_added_to_itself(p, h, x):
    u = x @ p["W"]
    h = jnp.tanh((u + u) + h @ p["U"])
    return h, h


@found(2, 1, 0)
def sum_of_two_inputs(p, h, x):
    h = jnp.tanh(x @ p["W"] + (jnp.sin(x) @ p["W"] + h @ p["U"]))
    return h, h


@found(0, 1, 0, xs={"a": IDS, "b": WIDE_XS, "c": IDS > 1, "d": -WIDE_XS})
def sum_with_x_itself(p, h, x):
    """The input of the sum is one of several leaves of x, of which some have no derivative."""
    h = jnp.where(x["c"], jnp.tanh(p["b"] + (x["d"] + h @ p["U"])), x["b"])
    return h, x["a"]


@found(0, 1, 0, xs=WIDE_XS)
def constant_added_and_read(p, h, x):
    h = jnp.tanh(x + h @ p["U"] + p["b"]) * p["b"]
    return h, h


@found(2, 1, 0)
def two_sums_of_one_group(p, h, x):
    r = jax.nn.sigmoid(x @ p["W"] + h @ p["U"] + p["b"])
    h = r * h + jnp.tanh(x @ jnp.sin(p["W"]) + r * (h @ p["V"]))
    return h, h


# Wide pre-activations that cannot all be narrowed


@found(2, 1, 0)
def wide_and_read_whole(p, h, x):
    m = (x @ p["W4"] + h @ p["U4"])[: 2 * HIDDEN]
    a, b = jnp.split(m, 2)
    h = jnp.tanh(a) * jax.nn.sigmoid(b)
    return h, h


@found(1, 1, 0)
def wide_with_a_norm(p, h, x):
    m = x @ p["W4"] + h @ p["U4"]
    m = m / (1 + jnp.abs(m).max())
    a, b, c, d = jnp.split(m, 4)
    h = jnp.tanh(a) * jax.nn.sigmoid(b) + c * d
    return h, h


@found(1, 1, 0)
def wide_and_an_output(p, h, x):
    m = x @ p["W4"] + h @ p["U4"]
    a, b, c, d = jnp.split(m, 4)
    h = jnp.tanh(a) * jax.nn.sigmoid(b) + jnp.tanh(c + d)
    return h, m


@found(2, 1, 0)
def wide_and_scaled(p, h, x):
    m = 0.5 * (x @ p["W4"][:, : 2 * HIDDEN] + p["b4"][: 2 * HIDDEN] * (p["U4"].T @ h)[: 2 * HIDDEN])
    h = jnp.tanh(m[:HIDDEN]) * jax.nn.sigmoid(m[HIDDEN:])
    return h, h
