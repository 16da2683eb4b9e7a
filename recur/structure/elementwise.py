"""Test of whether a step is elementwise except for its matrix products."""

from __future__ import annotations

from collections.abc import Iterable

from jax.extend.core import JaxprEqn, Literal, Var

from recur.structure.classes import Product, Structure
from recur.structure.jaxprs import aval_of, variables

# By name, since JAX adds and renames primitives; an unknown one is treated as not elementwise.
ELEMENTWISE = frozenset(
    """
    abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp conj
    convert_element_type copy copy_p cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor
    ge gt imag integer_pow is_finite lgamma log log1p logistic lt le max min mul name ne neg
    nextafter not optimization_barrier or pcast pow pvary real reduce_precision rem round rsqrt
    select_n sign sin sinh sqrt square stop_gradient sub tan tanh xor
    """.split()
)

# A trace keeps functions with a custom derivative as one equation, and the calls within them.
_FUNCTIONS = {"custom_jvp_call": "call_jaxpr", "jit": "jaxpr", "pjit": "jaxpr"}


def is_elementwise_around_products(found: Structure) -> bool:
    """Whether units depend on each other only through square products with the carry.

    True for `tanh(x @ W + h @ U)` and for an LSTM. False if there is a norm or a softmax in the
    loop, or if products depend on each other, as in a GRU with the reset gate before the product.
    """
    on_carry, on_product = set(found.carry), set[Var]()
    for equation in found.inside:
        if not on_carry & set(variables(equation.invars)):
            continue
        on_carry.update(equation.outvars)
        product = found.products.get(equation.outvars[0])
        if on_product & set(variables(equation.invars)):
            on_product.update(equation.outvars)
        if product is not None:
            if product.factor in on_product or not _is_square(product):
                return False
            on_product.update(equation.outvars)
        elif not _is_elementwise(equation, on_carry):
            return False
    return True


def _is_square(product: Product) -> bool:
    width = aval_of(product.factor).shape
    return len(width) == 1 and aval_of(product.kernel).shape == 2 * width


def _is_elementwise(equation: JaxprEqn, on_carry: set[Var]) -> bool:
    depending = [var for var in variables(equation.invars) if var in on_carry]
    shapes = {aval_of(var).shape for var in [*depending, *equation.outvars]}
    if len(shapes) > 1:
        return False
    if equation.primitive.name in _FUNCTIONS:
        inner = equation.params[_FUNCTIONS[equation.primitive.name]].jaxpr
        pairs = zip(inner.invars, equation.invars, strict=True)
        given = {var for var, atom in pairs if not isinstance(atom, Literal) and atom in on_carry}
        return _are_elementwise(inner.eqns, given)
    return equation.primitive.name in ELEMENTWISE


def _are_elementwise(equations: Iterable[JaxprEqn], on_carry: set[Var]) -> bool:
    """Whether all equations of a function are elementwise, as in `jax.nn.relu`."""
    for equation in equations:
        if on_carry & set(variables(equation.invars)):
            on_carry.update(equation.outvars)
            if not _is_elementwise(equation, on_carry):
                return False
    return True
