"""A layer: a recurrence over one whole sequence, or over a batch of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
from jax.core import Tracer

from recur.arguments import suggests_keywords
from recur.checks import check_context, check_flag, check_leaves
from recur.keys import check_key, split
from recur.masks import make_mask
from recur.types import (
    Carry,
    Context,
    Direction,
    LayerApply,
    LayerBegin,
    LayerBind,
    LayerInit,
    LayerOutputShape,
    Mask,
    Params,
    Shaped,
)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Layer:
    """A recurrent layer: a recurrence over a sequence `[T, ...]`, created from a cell by a lift.

    Call `init` to create params, and the layer itself or `run` to apply it. Outside `jax.jit` a
    call and its gradient are compiled once for each layer and shape. The other functions are for
    authors of lifts.

    Attributes:
      init: `init(key, xs, context=None) -> params`; `xs` is an example or its shape.
      bind: `bind(params, xs, *, key=None, context=None) -> bound`, once per sequence.
      begin: `begin(bound, xs) -> carry`, the initial carry.
      apply: `apply(bound, carry, xs, mask, key, *, all_carries=False) -> (carry, ys)`.
      find_output_shape: `(bound, xs) -> shapes`, if they are known without tracing `apply`.
      direction: the direction in which the layer reads; "stepwise" if it has no carry.
      batch_axes: the number of batch axes before the time axis; 1 after `recur.batch`.
      is_truncated: whether gradients are those of truncated backpropagation through time.
      is_pooled: whether outputs have no time axis, as those of `recur.pooled`.
      parts: layers within it that read one after the other, by the paths of their params.
      call: the call that created the layer, shown by `repr`.
    """

    init: LayerInit
    bind: LayerBind
    begin: LayerBegin
    apply: LayerApply
    find_output_shape: LayerOutputShape | None = None
    direction: Direction = "forward"
    batch_axes: int = 0
    is_truncated: bool = False
    is_pooled: bool = False
    parts: Mapping[str, Layer] = dataclasses.field(default_factory=dict)
    call: str = dataclasses.field(default="Layer(...)", kw_only=True)

    def __repr__(self) -> str:
        return self.call

    @property
    def is_causal(self) -> bool:
        """Whether outputs depend on earlier steps only, so that a sequence can be fed in pieces."""
        return self.direction in ("forward", "stepwise")

    @property
    def is_batched(self) -> bool:
        """Whether all values have a batch axis before the time axis."""
        return self.batch_axes > 0

    @suggests_keywords
    def run(
        self,
        params: Params,
        xs: Any,
        *,
        carry: Carry = None,
        context: Context = None,
        length: Any = None,
        mask: Any = None,
        reset: Any = None,
        key: jax.Array | None = None,
        all_carries: bool = False,
    ) -> tuple[Carry, Any]:
        """Runs the layer and returns the carry and the outputs: `(params, xs) -> (carry_T, ys)`.

        Args:
          params: from `init`.
          xs: a pytree of arrays `[T, ...]`. In a batched layer it and all arguments below have a
            batch axis, `[B, T, ...]`.
          carry: the carry to start from; the initial carry by default.
          context: a mapping of names to values that do not change over time.
          length: integer, the number of steps that count; later steps are padding.
          mask: bool `[T]`, True where the step counts; masked steps may lie between others.
          reset: bool `[T]`, True at the first step of a segment, which starts from the initial
            carry.
          key: a typed key; noise such as dropout is on if it is given.
          all_carries: whether to return the carry after every step, `[T, ...]`, instead of the
            last. Masked steps keep the carry. If the layer reads backward, the carry at t depends
            on the steps from t to the end.

        Returns:
          The carry after the last step that counts, and outputs `[T, ...]`, zero where masked. A
          pooled layer returns one output without a time axis.
        """
        if key is not None:
            check_key(key)
        check_context(context)
        check_flag("all_carries", all_carries)
        for name, tree in {"params": params, "xs": xs, "carry": carry}.items():
            check_leaves(name, tree)
        masks = make_mask(xs, length=length, mask=mask, reset=reset, batch_axes=self.batch_axes)
        given = (params, xs, carry, context, masks, key)
        run = self._run if is_traced(given) else self._compiled_run
        return run(*given, all_carries=all_carries)

    @suggests_keywords
    def __call__(
        self,
        params: Params,
        xs: Any,
        *,
        carry: Carry = None,
        context: Context = None,
        length: Any = None,
        mask: Any = None,
        reset: Any = None,
        key: jax.Array | None = None,
    ) -> Any:
        """Runs the layer and returns the outputs; the arguments are those of `run`."""
        return self.run(
            params,
            xs,
            carry=carry,
            context=context,
            length=length,
            mask=mask,
            reset=reset,
            key=key,
        )[1]

    @suggests_keywords
    def init_carry(
        self,
        params: Params,
        xs: Shaped,
        *,
        context: Context = None,
        key: jax.Array | None = None,
    ) -> Carry:
        """Returns the initial carry, from which `run` starts by default.

        Args:
          params: from `init`.
          xs: an example of the inputs or its shape; a batched layer returns a carry for each row.
          context: as in `run`.
          key: as in `run`.
        """
        check_context(context)
        return self.begin(self.bind(params, xs, key=split(key, 2)[0], context=context), xs)

    def output_shape(self, bound: Any, xs: Shaped) -> Shaped:
        """Returns the shapes and dtypes of the outputs, as `jax.ShapeDtypeStruct`."""
        if self.find_output_shape is not None:
            return self.find_output_shape(bound, xs)
        return jax.eval_shape(self._first_outputs, bound, xs)

    def _first_outputs(self, bound, xs):
        return self.apply(bound, self.begin(bound, xs), xs, Mask(), None)[1]

    def _run(self, params, xs, carry, context, mask, key, *, all_carries):
        bind_key, apply_key = split(key, 2)
        bound = self.bind(params, xs, key=bind_key, context=context)
        carry = self.begin(bound, xs) if carry is None else carry
        return self.apply(bound, carry, xs, mask, apply_key, all_carries=all_carries)

    @functools.cached_property
    def _compiled_run(self):
        return jax.jit(self._run, static_argnames="all_carries")


def check_is_layer(layer: Any, caller: str, *, may_be_pooled: bool = False) -> None:
    """Raises an error unless `layer` is a layer, batched or not, with an output for each step."""
    if not isinstance(layer, Layer):
        raise TypeError(
            f"{caller}: expected a layer, got {type(layer).__name__}. Lift a cell with recur.scan "
            "first."
        )
    if layer.is_pooled and not may_be_pooled:
        raise ValueError(
            f"{caller}: expected a layer with one output per step, got a pooled layer, whose "
            "output has no time axis. Apply recur.pooled last, and recur.batch to it; the modules "
            "after pooling are its head."
        )


def check_layer(layer: Any, caller: str, *, may_be_pooled: bool = False) -> None:
    """Raises an error unless `layer` is a layer over one sequence, with an output for each step."""
    check_is_layer(layer, caller, may_be_pooled=may_be_pooled)
    if layer.is_batched:
        raise ValueError(
            f"{caller}: the layer is batched; expected a layer over one sequence. Apply batch "
            f"last: recur.batch(recur.{caller}(...))."
        )


def is_traced(tree: Any) -> bool:
    """Whether a leaf is a tracer, except for derivatives that are computed outside `jax.jit`."""
    return any(map(_is_traced, jax.tree.leaves(tree)))


def _is_traced(leaf: Any) -> bool:
    # The tracers of jax.grad and jax.jvp hold the value that is differentiated.
    while isinstance(leaf, Tracer) and hasattr(leaf, "primal"):
        leaf = leaf.primal
    return isinstance(leaf, Tracer)
