"""Analysis of the jaxpr of a single step, and rewriting of steps for combinators."""

from recur.structure.classes import (
    Product,
    Structure,
    find_structure,
    has_callbacks,
    has_custom_vjp_or_control_flow,
)
from recur.structure.doors import (
    input_products,
    name,
    named_shapes,
    on_inputs,
    on_named,
    on_next_carry,
    on_products,
    recurrent_products,
)
from recur.structure.elementwise import is_elementwise_around_products
from recur.structure.groups import Group
from recur.structure.jaxprs import Traced
from recur.structure.linearity import Affine, linear_coefficients
from recur.structure.report import StructureReport, structure_of
from recur.structure.rows import ByRow, bind_rows
from recur.structure.step_parts import Parts, Prepared

__all__ = [
    "Affine",
    "ByRow",
    "Group",
    "Parts",
    "Prepared",
    "Product",
    "Structure",
    "StructureReport",
    "Traced",
    "bind_rows",
    "find_structure",
    "has_callbacks",
    "has_custom_vjp_or_control_flow",
    "input_products",
    "is_elementwise_around_products",
    "linear_coefficients",
    "name",
    "named_shapes",
    "on_inputs",
    "on_named",
    "on_next_carry",
    "on_products",
    "recurrent_products",
    "structure_of",
]
