"""Tree-LSTMs, whose steps join the states of the children of a node: child-sum and N-ary."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal, orthogonal, zeros

from recur.call_repr import call_repr
from recur.cells.initial import GatedParams, Initializer, Weight, gate_weights, optional
from recur.cells.lstm import LSTMGates, LSTMState, lstm_carry
from recur.cells.parts import Activation, cast, linear_each, make_cell, sigmoid
from recur.checks import check_whole, describe
from recur.modules import activation as activation_of
from recur.structure import name
from recur.types import Cell


class NaryGates(NamedTuple):
    """The recurrent kernels of `nary_lstm`, except that of the forget gates.

    Attributes:
      input: U_i of the input gate i.
      candidate: U_g of the candidate g.
      output: U_o of the output gate o.
    """

    input: jax.Array
    candidate: jax.Array
    output: jax.Array


class NaryLSTMParams(NamedTuple):
    """Weights of `nary_lstm`, for up to N children.

    Attributes:
      kernel: input kernels W_i, W_f, W_g and W_o, each `[I, H]`.
      recurrent_kernel: recurrent kernels U_i, U_g and U_o, each `[N H, H]`.
      forget_kernel: U_f, `[N H, N H]`, whose columns are the forget gates of the N children.
      bias: biases b_i, b_f, b_g and b_o, each `[H]`; None without biases.
    """

    kernel: LSTMGates
    recurrent_kernel: NaryGates
    forget_kernel: jax.Array
    bias: LSTMGates | None


@call_repr
def child_sum_lstm(
    features: int,
    *,
    activation: Activation = "tanh",
    use_bias: bool = True,
    forget_bias: float = 1.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """Child-sum Tree-LSTM, for `recur.tree`: any number of children, whose order does not matter.

        s_n = Σ_k h_k                                    the sum over the children k of node n
        i_n = sigmoid(x_n W_i + s_n U_i + b_i)
        f_nk = sigmoid(x_n W_f + h_k U_f + b_f)
        g_n = φ(x_n W_g + s_n U_g + b_g)
        o_n = sigmoid(x_n W_o + s_n U_o + b_o)
        c_n = i_n ⊙ g_n + Σ_k f_nk ⊙ c_k
        h_n = o_n ⊙ φ(c_n)
        y_n = h_n

    Absent children do not count. With one child per node it is `lstm`.

    Args:
      features: H, the width of the state.
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether to add biases.
      forget_bias: added to the initial b_f, so that the cell states are kept at first; stored in
        the weights. Without biases it has no effect.
      kernel_init: initializer of W_i, W_f, W_g and W_o `[I, H]`, each drawn with its own key.
      recurrent_kernel_init: initializer of U_i, U_f, U_g and U_o `[H, H]`, likewise.
      bias_init: initializer of b_i, b_f, b_g and b_o `[H]`.
      dtype: dtype of the products, h and y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of c and of the gates; by default that of the products, at least float32.

    Returns:
      A `Cell` with `GatedParams` of `LSTMGates`; x is `[I]`, the carry is `LSTMState`, y is `[H]`.
      Its step takes `recur.lift.Children` in place of a carry.

    Raises:
      ValueError: if features is not a positive int, the activation is unknown, or x is not `[I]`.
      TypeError: if a dtype or x is not real, an option or params have the wrong type, or the step
        does not get `Children`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.sequences import Node, post_order
      >>> layer = recur.tree(recur.child_sum_lstm(4))
      >>> leaf = Node(jnp.ones(3))
      >>> nodes = post_order(Node(jnp.ones(3), (leaf, Node(jnp.ones(3), (leaf, leaf)))))
      >>> params = layer.init(jax.random.key(0), nodes)
      >>> root, ys = layer.run(params, nodes)
      >>> root.hidden.shape, ys.shape
      ((4,), (5, 4))

    References:
      Tai, Socher & Manning 2015, Improved Semantic Representations From Tree-Structured Long
      Short-Term Memory Networks, https://arxiv.org/abs/1503.00075
    """
    phi = activation_of(activation)
    inits = kernel_init, recurrent_kernel_init, optional(bias_init, use_bias)
    weights = gate_weights(LSTMGates, features, inits, forget=forget_bias)

    def step(bound, children, x, key=None):
        u = linear_each(x, bound.kernel, bound.bias, "child_sum_lstm")
        h, c = _states(children, "child_sum_lstm")
        kernels = bound.recurrent_kernel
        joined = jax.tree.map(lambda u, kernel: u + h.sum(0) @ kernel, u, kernels)
        forget = u.forget[None] + h @ kernels.forget  # one gate for each child
        return _update(joined._replace(forget=forget), h, c, phi)

    dtypes = dtype, param_dtype, carry_dtype
    carry = lstm_carry(features, features, None)
    return make_cell("child_sum_lstm", features, GatedParams, weights, carry, step, dtypes)


@call_repr
def nary_lstm(
    features: int,
    arity: int,
    *,
    activation: Activation = "tanh",
    use_bias: bool = True,
    forget_bias: float = 1.0,
    kernel_init: Initializer = lecun_normal(),
    recurrent_kernel_init: Initializer = orthogonal(),
    bias_init: Initializer = zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    carry_dtype: Any = None,
) -> Cell:
    """N-ary Tree-LSTM, for `recur.tree`: up to N children in order, each with its own weights.

        s_n = [h_1, ..., h_N]                            of the children of node n
        i_n = sigmoid(x_n W_i + s_n U_i + b_i)
        [f_n1, ..., f_nN] = sigmoid([x_n W_f + b_f, ..., x_n W_f + b_f] + s_n U_f)
        g_n = φ(x_n W_g + s_n U_g + b_g)
        o_n = sigmoid(x_n W_o + s_n U_o + b_o)
        c_n = i_n ⊙ g_n + Σ_k f_nk ⊙ c_k
        h_n = o_n ⊙ φ(c_n)
        y_n = h_n

    The state of an absent child is zero. For binary trees, as of constituents, N is 2.

    Args:
      features: H, the width of the state.
      arity: N, the largest number of children of a node.
      activation: φ, a name in `recur.modules.ACTIVATIONS` or any elementwise function.
      use_bias: whether to add biases.
      forget_bias: added to the initial b_f, so that the cell states are kept at first; stored in
        the weights. Without biases it has no effect.
      kernel_init: initializer of W_i, W_f, W_g and W_o `[I, H]`, each drawn with its own key.
      recurrent_kernel_init: initializer of U_i, U_g and U_o `[N H, H]`, likewise, and of U_f
        `[N H, N H]`.
      bias_init: initializer of b_i, b_f, b_g and b_o `[H]`.
      dtype: dtype of the products, h and y; by default what the weights and the input promote to.
      param_dtype: dtype of the weights.
      carry_dtype: dtype of c and of the gates; by default that of the products, at least float32.

    Returns:
      A `Cell` with `NaryLSTMParams`; x is `[I]`, the carry is `LSTMState`, y is `[H]`. Its step
      takes `recur.lift.Children` in place of a carry.

    Raises:
      ValueError: if features or arity is not a positive int, the activation is unknown, x is not
        `[I]`, or the nodes have another arity.
      TypeError: if a dtype or x is not real, an option or params have the wrong type, or the step
        does not get `Children`.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from recur.sequences import Node, post_order
      >>> layer = recur.tree(recur.nary_lstm(4, arity=2))
      >>> leaf = Node(jnp.ones(3))
      >>> nodes = post_order(Node(jnp.zeros(3), (leaf, leaf)), arity=2)
      >>> params = layer.init(jax.random.key(0), nodes)
      >>> layer(params, nodes).shape, params.forget_kernel.shape
      ((3, 4), (8, 8))

    References:
      Tai, Socher & Manning 2015, Improved Semantic Representations From Tree-Structured Long
      Short-Term Memory Networks, https://arxiv.org/abs/1503.00075
    """
    arity = check_whole("nary_lstm: arity", arity, 1)
    check_whole("nary_lstm: features", features, 1)
    phi, wide = activation_of(activation), arity * features
    inits = kernel_init, recurrent_kernel_init, optional(bias_init, use_bias)
    of_inputs, _, bias = gate_weights(LSTMGates, features, inits, forget=forget_bias)
    weights = [
        of_inputs,
        Weight(recurrent_kernel_init, (wide, features), NaryGates),
        Weight(recurrent_kernel_init, (wide, wide)),
        bias,
    ]

    def step(bound, children, x, key=None):
        u = linear_each(x, bound.kernel, bound.bias, "nary_lstm")
        h, c = _states(children, "nary_lstm")
        if len(h) != arity:
            raise ValueError(
                f"nary_lstm: expected nodes with room for {arity} children, back [N, {arity}], got "
                f"[N, {len(h)}]. Pass post_order(root, arity={arity})."
            )
        s = h.reshape(-1)
        summed = jax.tree.map(lambda kernel: s @ kernel, bound.recurrent_kernel)
        forget = u.forget[None] + (s @ bound.forget_kernel).reshape(h.shape)
        i, g, o = (getattr(u, gate) + getattr(summed, gate) for gate in NaryGates._fields)
        return _update(LSTMGates(i, forget, g, o), h, c, phi)

    dtypes = dtype, param_dtype, carry_dtype
    carry = lstm_carry(features, features, None)
    return make_cell("nary_lstm", features, NaryLSTMParams, weights, carry, step, dtypes)


def _states(children: Any, caller: str) -> LSTMState:
    """Returns the states of the children, each `[C, H]`, zero where a child is absent."""
    if not hasattr(children, "mask"):
        raise TypeError(
            f"{caller}: expected the Children of a node, got {describe(children)}. Run the cell "
            "with recur.tree."
        )
    there = children.mask[:, None]
    return LSTMState(*(jnp.where(there, part, jnp.zeros_like(part)) for part in children.carry))


def _update(a: LSTMGates, h: jax.Array, c: jax.Array, phi: Any) -> tuple[LSTMState, jax.Array]:
    """Returns the state and output of a node from its pre-activations and its children's c."""
    a = cast(a, c.dtype)
    i, f = sigmoid(a.input, "input"), sigmoid(a.forget, "forget")
    g = name(phi(a.candidate), "candidate")
    c = i * g + (f * c).sum(0)
    h = (sigmoid(a.output, "output") * phi(c)).astype(h.dtype)
    return LSTMState(h, c), h
