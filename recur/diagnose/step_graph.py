"""The operations of a step in groups, and which group feeds which."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import JaxprEqn, Literal, Var

from recur.checks import leaf_name
from recur.structure import Product, Structure, find_structure
from recur.structure.jaxprs import aval_of, is_control_flow, variables
from recur.types import Cell, Context

_SYMBOLS = {"add": "+", "add_any": "+", "sub": "−", "mul": "×", "div": "÷", "logistic": "σ"}
_UNSEEN = frozenset(
    "name broadcast_in_dim reshape convert_element_type squeeze expand_dims slice transpose copy "
    "stop_gradient".split()
)  # they move values without computing
_OWN = frozenset({"dot_general", "conv_general_dilated", "random_bits"})
_MOST = 4  # operations that a label lists


class StepNode(NamedTuple):
    """A group of operations of a step.

    Attributes:
      label: what it computes, such as "recurrent product" or the name of a gate.
      detail: its operations, or the shapes of a product.
      place: where it runs: "before", "inside" or "after" the loop.
    """

    label: str
    detail: str
    place: str


class StepGraph(NamedTuple):
    """The groups of operations of a step, and their edges.

    Ends of edges are numbers of nodes, "x", "y", or the name of a part of the carry: as a source it
    is that before the step, as a target that after it.

    Attributes:
      nodes: the groups, in the order of the step.
      edges: pairs of a source and a target.
      carry: the names of the parts of the carry.
    """

    nodes: list[StepNode]
    edges: list[tuple[int | str, int | str]]
    carry: list[str]


def find_step_graph(cell: Cell, x: Any, context: Context) -> StepGraph:
    """Groups the operations of the step of a cell by the product, gate or state they compute.

    Each product with a weight, each named value, each part of the next carry and the output is the
    end of a group. An operation belongs to the group that it leads to; if it leads to several, it
    is in a group with those that lead to the same ones.
    """
    graphs: list[StepGraph] = []

    def trace(key, x, context):
        bound = cell.bind(cell.init(key, x, context=context), x, key=None, context=context)
        carry = cell.init_carry(bound, x)
        paths = [leaf_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(carry)]
        paths = [path if path[-1:].isalpha() else f"{path}/h".lstrip("/") for path in paths]
        found = find_structure(cell.step, bound, carry, x, None)
        graphs.append(_Groups(found, paths).graph())

    jax.eval_shape(trace, jax.random.key(0), x, context)
    return graphs[0]


class _Groups:
    """The group of each equation: a key that all equations of the group have."""

    def __init__(self, found: Structure, carry: Sequence[str]):
        self.found, self.carry = found, [f"carry {name}" for name in carry]
        places = {"before": found.before, "inside": found.inside, "after": found.after}
        self.place = {id(e): place for place, equations in places.items() for e in equations}
        self.equations = [e for e in found.traced.jaxpr.eqns if id(e) in self.place]
        self.maker = {var: e for e in self.equations for var in e.outvars}
        self.given: dict[Var, str] = {var: "x" for var in found.traced.arguments[2]}
        self.given.update(zip(found.carry, self.carry, strict=True))
        self.ends = self._find_ends()
        self.key = self._find_keys()

    def _find_ends(self) -> dict[int, Hashable]:
        """The key of each equation that ends a group."""
        ends: dict[int, Hashable] = {}
        for equation in self.equations:
            name, place = equation.primitive.name, self.place[id(equation)]
            product = self.found.products.get(equation.outvars[0]) if equation.outvars else None
            if product is not None:  # those of one factor are one group
                ends[id(equation)] = ("product", place, product.factor)
            elif name == "name" or name in _OWN or is_control_flow(equation):
                ends[id(equation)] = (name, id(equation))
        for label, atoms in (("next", self.found.next_carry), ("output", self.found.outputs)):
            for number, atom in enumerate(atoms):
                maker = None if isinstance(atom, Literal) else self.maker.get(atom)
                if maker is not None:
                    ends.setdefault(id(maker), (label, number))
        return ends

    def _find_keys(self) -> dict[int, Hashable]:
        """The group of each equation, from the last one to the first."""
        readers: dict[Var, set[Hashable]] = {}
        keys = dict(self.ends)
        places = {key: self.place[each] for each, key in keys.items()}
        for equation in reversed(self.equations):
            reached = frozenset().union(*(readers.get(var, set()) for var in equation.outvars))
            place = self.place[id(equation)]
            if id(equation) not in keys:
                (only,) = reached if len(reached) == 1 else (None,)
                is_same = only is not None and places.get(only) == place
                keys[id(equation)] = only if is_same else ("shared", place, reached)
            own = {keys[id(equation)]} if id(equation) in self.ends else reached
            for var in variables(equation.invars):
                readers.setdefault(var, set()).update(own)
        return keys

    def graph(self) -> StepGraph:
        """The groups as nodes, and their edges."""
        members: dict[Hashable, list[JaxprEqn]] = {}
        for equation in self.equations:
            members.setdefault(self.key[id(equation)], []).append(equation)
        self.seen = {
            key for key, each in members.items() if key in self.ends.values() or _ops(each)
        }
        order = {key: max(map(self.equations.index, each)) for key, each in members.items()}
        shown = sorted(self.seen, key=lambda key: order[key])
        number: dict[Hashable, int] = {key: n for n, key in enumerate(shown)}
        edges: dict[tuple[Any, Any], None] = {}
        for key in shown:
            atoms = [atom for equation in members[key] for atom in equation.invars]
            for source in self._sources(atoms):
                if source != key:
                    edges[number.get(source, source), number[key]] = None
        for name, atom in zip(self.carry, self.found.next_carry, strict=True):
            edges.update(dict.fromkeys((number.get(s, s), name) for s in self._sources([atom])))
        outputs = self._sources(self.found.outputs)
        edges.update(dict.fromkeys((number.get(s, s), "y") for s in outputs))
        nodes = [self._node(key, members[key]) for key in shown]
        named = [(_bare(source), _bare(target)) for source, target in edges]
        return StepGraph(nodes, named, [_bare(name) for name in self.carry])

    def _sources(self, atoms: Iterable[Any]) -> list[Any]:
        """The groups, "x" and parts of the carry that some atoms are read from."""
        sources: dict[Any, None] = {}
        for var in variables(atoms):
            equation = self.maker.get(var)
            if var in self.given:
                sources[self.given[var]] = None
            elif equation is not None and self.key[id(equation)] in self.seen:
                sources[self.key[id(equation)]] = None
            elif equation is not None:
                sources.update(dict.fromkeys(self._sources(equation.invars)))
        return [*sources]

    def _node(self, key: Any, equations: Sequence[JaxprEqn]) -> StepNode:
        place, names = self.place[id(equations[-1])], _ops(equations)
        operations = ", ".join(names if len(names) <= _MOST else [*names[: _MOST - 1], "…"])
        kind = key[0]
        if kind == "product":
            products = self.found.products_of(equations)
            factor = products[0].factor
            from_below = all(s[0] == "next" for s in self._sources([factor]))  # of a stack
            is_input = from_below or factor not in self.found.on_carry
            word = {"after": "output"}.get(place, "input" if is_input else "recurrent")
            return StepNode(f"{word} product", _shapes(products), place)
        if kind == "name":
            return StepNode(equations[-1].params["name"], operations, place)
        if kind == "next":
            return StepNode(f"next {_bare(self.carry[key[1]])}", operations, place)
        labels = {"output": "output", "shared": "elementwise", "dot_general": "product"}
        return StepNode(str(labels.get(kind, kind)), operations, place)


def _ops(equations: Iterable[JaxprEqn]) -> list[str]:
    """The operations of some equations, each once, without those that only move values."""
    names = [_operation(e) for e in equations if e.primitive.name not in _UNSEEN]
    return [*dict.fromkeys(_SYMBOLS.get(name, name) for name in names)]


def _operation(equation: JaxprEqn) -> str:
    """The name of the function or primitive of an equation."""
    if "call_jaxpr" in equation.params:  # with a custom derivative, such as relu
        info = getattr(equation.params["call_jaxpr"], "jaxpr", None)
        return str(getattr(getattr(info, "debug_info", None), "func_name", equation.primitive.name))
    return str(equation.params.get("name", equation.primitive.name))


def _shapes(products: Sequence[Product]) -> str:
    """The shapes of products of one factor, with their kernels joined."""
    factor, kernel = aval_of(products[0].factor), list(aval_of(products[0].kernel).shape)
    if kernel:
        kernel[-1] = sum(aval_of(product.kernel).shape[-1] for product in products)
    return f"{list(factor.shape)} × {kernel}"


def _bare(end: Any) -> Any:
    return end.removeprefix("carry ") if isinstance(end, str) else end
