"""Recording of the norms of gradients, updates and weights of each layer in an optimizer."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from recur.checks import check_optimizer, check_whole, leaf_name
from recur.dtypes import at_least_float32
from recur.types import Params


class LayerNorms(NamedTuple):
    """The norms of one layer in the last update, each a float32 scalar.

    Attributes:
      gradient: the norm of the gradient, before clipping.
      update: the norm of the update that the optimizer adds to the weights.
      weight: the norm of the weights, before the update.
      clipped: the norm of the gradient after clipping; None without clipping.
      is_clipped: 1 if clipping changed the gradient, else 0; None without clipping.
    """

    gradient: jax.Array
    update: jax.Array
    weight: jax.Array
    clipped: jax.Array | None = None
    is_clipped: jax.Array | None = None


class RecordNormsState(NamedTuple):
    """The state of `record_norms`.

    Attributes:
      clip: the state of the clipping transformation; None without one.
      optimizer: the state of the optimizer.
      layers: the `LayerNorms` of each layer, by its path in the params.
    """

    clip: Any
    optimizer: Any
    layers: dict[str, LayerNorms]


def record_norms(
    optimizer: optax.GradientTransformation,
    clip: optax.GradientTransformation | None = None,
    *,
    depth: int = 1,
) -> optax.GradientTransformation:
    """Records gradient, update and weight norms of each layer: gradient monitoring.

        c_t = clip(g_t),    u_t = optimizer(c_t)

    The updates are those of `optax.chain(clip, optimizer)`. `make_step` adds the recorded values to
    its metrics, so `fit` reports their means, and they are logged with the loss. For the params of
    a chain, and for each of its parts n with weights:

        gradient_norm/n    |g_t|, before clipping
        clipped_norm/n     |c_t|, after clipping; with clip only
        clipped/n          1 if c_t differs from g_t: its mean is the share of updates clipped
        update_ratio/n     |u_t| / |w_{t-1}|, often near 1e-3 in a network that learns well
        weight_norm/n      |w_{t-1}|

    Norms are over all arrays of a layer. Inside `optax.MultiSteps` they are those of the last
    update of the weights.

    Args:
      optimizer: an Optax transformation.
      clip: the transformation that clips gradients before the optimizer, such as
        `optax.clip_by_global_norm(1.0)`; None for no clipping.
      depth: how many entries of the path of a weight name its layer: 1 for the parts of a chain, 2
        for the parts of its parts.

    Returns:
      An `optax.GradientTransformation`.

    Raises:
      TypeError: if optimizer or clip is not an Optax transformation.
      ValueError: if depth is below 1; when updating, if no params are given.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from recur.train import init_state, make_step, record_norms
      >>> optimizer = record_norms(optax.sgd(0.5), clip=optax.clip_by_global_norm(1.0))
      >>> def loss(params, carry, batch, key):
      ...     return jnp.sum(params["w"] ** 2), (carry, {})
      >>> step = jax.jit(make_step(loss, optimizer))
      >>> _, metrics = step(init_state({"w": jnp.ones(4)}, optimizer, jax.random.key(0)), None)
      >>> {name: round(float(value), 2) for name, value in metrics.items() if name.endswith("/w")}
      ... # doctest: +NORMALIZE_WHITESPACE
      {'clipped/w': 1.0, 'clipped_norm/w': 1.0, 'gradient_norm/w': 4.0, 'update_ratio/w': 0.25,
       'weight_norm/w': 2.0}
    """
    check_optimizer(optimizer)
    depth = check_whole("record_norms: depth", depth, 1)
    if clip is not None:
        check_optimizer(clip)

    def init(params: Params) -> Any:
        names = _by_layer(params, depth)
        layers = {n: LayerNorms(*(_zero() for _ in range(3 if clip is None else 5))) for n in names}
        clip_state = None if clip is None else clip.init(params)
        return RecordNormsState(clip_state, optimizer.init(params), layers)

    def update(updates, state, params=None, **extra):
        gradient = updates
        if params is None:
            raise ValueError(
                "record_norms: expected params in update(updates, state, params), got None."
            )
        clipped, clip_state = gradient, None
        if clip is not None:
            clipped, clip_state = _update(clip, gradient, state.clip, params, extra)
        updates, inner = _update(optimizer, clipped, state.optimizer, params, extra)
        before, after, made, weights = (
            _by_layer(tree, depth) for tree in (gradient, clipped, updates, params)
        )
        layers = {}
        for name, leaves in before.items():
            norms = LayerNorms(_norm(leaves), _norm(made[name]), _norm(weights[name]))
            if clip is not None:
                norms = norms._replace(
                    clipped=_norm(after[name]), is_clipped=_differ(leaves, after[name])
                )
            layers[name] = norms
        return updates, RecordNormsState(clip_state, inner, layers)

    return optax.GradientTransformationExtraArgs(init, update)


def recorded_norms(state: Any) -> dict[str, jax.Array]:
    """Returns the values that `record_norms` has recorded, by their names as metrics.

    `make_step` adds them to its metrics; this function is for other training loops.

    Args:
      state: the state of an optimizer with `record_norms` in it, at any depth of `optax.chain`,
        `optax.MultiSteps`, `optax.masked` and the like; or a `TrainState`.

    Returns:
      A dict of scalars, of the last update; zeros before the first.

    Raises:
      ValueError: if there is no `record_norms` in the optimizer.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from recur.train import record_norms, recorded_norms
      >>> optimizer = optax.chain(optax.clip(1.0), record_norms(optax.adam(1e-3)))
      >>> sorted(recorded_norms(optimizer.init({"w": jnp.ones(3)})))
      ['gradient_norm/w', 'update_ratio/w', 'weight_norm/w']
    """
    found = find_norms(state)
    if not found:
        raise ValueError(
            "recorded_norms: expected record_norms in the optimizer, got none. Wrap the optimizer: "
            "record_norms(optax.adam(1e-3), clip=optax.clip_by_global_norm(1.0))."
        )
    return found


def find_norms(state: Any) -> dict[str, jax.Array]:
    """The recorded values in a pytree with optimizer states; none if it has none."""
    found: dict[str, jax.Array] = {}
    for node in jax.tree.leaves(state, is_leaf=_is_state):
        for layer, norms in node.layers.items() if _is_state(node) else ():
            ratio = jnp.where(norms.weight > 0, norms.update / norms.weight, 0)
            values = {
                "gradient_norm": norms.gradient,
                "clipped_norm": norms.clipped,
                "clipped": norms.is_clipped,
                "update_ratio": ratio,
                "weight_norm": norms.weight,
            }
            found |= {f"{kind}/{layer}": v for kind, v in values.items() if v is not None}
    return found


def _is_state(node: Any) -> bool:
    return isinstance(node, RecordNormsState)


def _zero() -> jax.Array:
    return jnp.zeros((), jnp.float32)


def _update(transformation: Any, updates: Any, state: Any, params: Params, extra: Any) -> Any:
    """Calls a transformation, with the extra arguments if it takes them."""
    return optax.with_extra_args_support(transformation).update(updates, state, params, **extra)


def _by_layer(tree: Any, depth: int) -> dict[str, list[Any]]:
    """The leaves of each layer, by the first entries of their paths."""
    layers: dict[str, list[Any]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        layers.setdefault(leaf_name(path[:depth]) or "params", []).append(leaf)
    return layers


def _norm(leaves: list[Any]) -> jax.Array:
    precise = [at_least_float32(jnp.asarray(leaf)) for leaf in leaves]
    return optax.tree.norm(precise).astype(jnp.float32)


def _differ(before: list[Any], after: list[Any]) -> jax.Array:
    pairs = zip(before, after, strict=True)
    return jnp.any(jnp.stack([jnp.any(g != c) for g, c in pairs])).astype(jnp.float32)
