"""An encoder-decoder (sequence to sequence) as one layer over the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from recur.call_repr import call_repr
from recur.checks import check_params, describe, from_context, signature
from recur.combine.context_values import Memory
from recur.keys import check_key, split
from recur.layer import Layer, check_layer
from recur.masks import make_mask
from recur.modules import as_module
from recur.sequences.padded import Padded
from recur.types import Bound, Carry, Context, Mask, Params


class EncoderDecoderParams(NamedTuple):
    """The params of `encoder_decoder`.

    Attributes:
      encoder: those of the encoder.
      decoder: those of the decoder.
      start: those of the module that makes the decoder's initial carry; () without one.
    """

    encoder: Params
    decoder: Params
    start: Params


class _Bound(NamedTuple):
    """The decoder bound to an encoded source, and its initial carry; None for its own."""

    decoder: Bound
    carry: Carry


@call_repr
def encoder_decoder(
    encoder: Layer,
    decoder: Layer,
    *,
    source: str = "source",
    memory: str = "memory",
    start: Any = None,
) -> Layer:
    """Joins an encoder and a decoder into one model (sequence to sequence, seq2seq).

        carry^e_S, m = encoder(source)
        carry_0 = start(carry^e_S)
        carry_t, y_t = decoder(carry_{t-1}, x_t, {memory: m})    for t = 1 ... T

    The xs are the steps of the target; the source is a value of the context. It is encoded once per
    sequence, in `bind`, before any loop over the target. So `recur.decode.teacher_forcing`,
    `free_running`, `scheduled_sampling`, `generate` and `beam_search` take the model as it is, with
    `context={"source": ...}`.

    Args:
      encoder: a layer over the source, which may read in both directions. Its outputs are the
        memory. A pooled layer gives one value for the whole source.
      decoder: a layer over the target. `recur.attend(cell, "memory")` reads the memory of an
        encoder, `recur.condition(cell, "memory")` the vector of a pooled one.
      source: the name of the source in the context: a `recur.sequences.Padded(steps, length)` with
        steps `[S, ...]`, or arrays `[S, ...]` whose steps all count.
      memory: the name of the memory in the context of the decoder, a
        `recur.combine.Memory(outputs, mask)`. The encoder and the decoder also read the other
        values of the context.
      start: a module or function from the last carry of the encoder to the initial carry of the
        decoder. None for the decoder's own initial carry.

    Returns:
      A `Layer` with `EncoderDecoderParams`, and the carry and the outputs of the decoder. With a
      key, the noise of the encoder is drawn once per sequence.

    Raises:
      TypeError: if one of them is not a layer, or start cannot be applied.
      ValueError: if a layer is batched, the decoder is pooled, or both names are the same; when
        tracing, if the context has no source, or has a memory already, the result of start is not
        a carry of the decoder, or there are resets and start is given.

    Example:
      >>> import jax, jax.numpy as jnp, recur
      >>> from flax import linen as nn
      >>> from recur.decode import argmax, generate
      >>> from recur.sequences import Padded
      >>> decoder = recur.chain(
      ...     nn.Embed(9, 8), recur.scan(recur.attend(recur.gru(16), "memory")),
      ...     lambda attended: attended.output, nn.Dense(9),
      ... )
      >>> encoder = recur.chain(nn.Embed(9, 8), recur.scan(recur.gru(16)))
      >>> model = recur.batch(recur.encoder_decoder(
      ...     encoder, decoder, start=lambda carry: ((), carry[1], (), ())
      ... ))
      >>> context = {"source": Padded(jnp.array([[3, 1, 4], [1, 5, 0]]), jnp.array([3, 2]))}
      >>> tokens = jnp.array([[8], [8]])
      >>> params = model.init(jax.random.key(0), tokens, context=context)
      >>> generate(
      ...     model, params, tokens, context=context, max_tokens=4, choose=argmax
      ... ).tokens.shape
      (2, 4)

    References:
      Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder for Statistical
      Machine Translation, https://arxiv.org/abs/1406.1078
      Sutskever, Vinyals & Le 2014, Sequence to Sequence Learning with Neural Networks,
      https://arxiv.org/abs/1409.3215
      Bahdanau, Cho & Bengio 2015, Neural Machine Translation by Jointly Learning to Align and
      Translate, https://arxiv.org/abs/1409.0473
    """
    check_layer(encoder, "encoder_decoder", may_be_pooled=True)
    check_layer(decoder, "encoder_decoder")
    _check_names(source, memory)
    starter = None if start is None else as_module(start)

    def encode(params, context, keys):
        """Returns the last carry of the encoder, and the context of the decoder."""
        steps, length = _source_of(context, source)
        mask = make_mask(steps, length=length)
        bound = encoder.bind(params, steps, key=keys[0], context=context)
        carry, ys = encoder.apply(bound, encoder.begin(bound, steps), steps, mask, keys[1])
        value = ys if encoder.is_pooled else Memory(ys, mask.valid)
        return carry, {**context, memory: value}

    def init(key, xs, context=None):
        encoder_key, decoder_key, start_key = split(check_key(key), 3)
        context = _checked(context, source, memory)
        steps = _source_of(context, source).steps
        params = encoder.init(encoder_key, steps, context=context)
        carry, seen = jax.eval_shape(lambda p, c: encode(p, c, (None, None)), params, dict(context))
        return EncoderDecoderParams(
            encoder=params,
            decoder=decoder.init(decoder_key, xs, context=seen),
            start=() if starter is None else starter.init(start_key, carry),
        )

    def bind(params, xs, *, key=None, context=None):
        check_params("encoder_decoder", params, EncoderDecoderParams)
        decoder_key, start_key, *encoder_keys = split(key, 4)
        context = _checked(context, source, memory)
        last, seen = encode(params.encoder, context, encoder_keys)
        bound = decoder.bind(params.decoder, xs, key=decoder_key, context=seen)
        if starter is None:
            return _Bound(bound, None)
        carry = starter.apply(params.start, last, key=start_key)
        return _Bound(bound, _check_start(carry, decoder.begin(bound, xs)))

    def begin(bound, xs):
        return decoder.begin(bound.decoder, xs) if starter is None else bound.carry

    def apply(bound, carry, xs, mask, key, *, all_carries=False):
        if starter is not None:
            _check_no_resets(mask)
        return decoder.apply(bound.decoder, carry, xs, mask, key, all_carries=all_carries)

    def find_output_shape(bound, xs):
        return decoder.output_shape(bound.decoder, xs)

    return Layer(
        init,
        bind,
        begin,
        apply,
        find_output_shape,
        direction=decoder.direction,
        is_truncated=decoder.is_truncated,
    )


def _source_of(context: Mapping[str, Any], name: str) -> Padded:
    """Returns the source; length is None if all steps count."""
    value = context[name]
    return value if isinstance(value, Padded) else Padded(value)


def _checked(context: Context, source: str, memory: str) -> Mapping[str, Any]:
    """Returns the context if it has a source and no memory."""
    from_context(context, source, "encoder_decoder")
    given = {} if context is None else context
    if memory in given:
        raise ValueError(
            f"encoder_decoder: the context has a value {memory!r}, the name of the encoder's "
            "outputs. Choose another name with memory=."
        )
    return given


def _check_names(source: Any, memory: Any) -> None:
    for name in (source, memory):
        if not isinstance(name, str):
            raise TypeError(
                "encoder_decoder: expected source and memory as names of values in the context, "
                f"got {name!r}."
            )
    if source == memory:
        raise ValueError(
            f"encoder_decoder: expected two names, got {source!r} for both source and memory."
        )


def _check_start(carry: Carry, expected: Carry) -> Carry:
    """Returns the carry that `start` made if it is one of the decoder."""
    came, expected = jax.eval_shape(lambda *trees: trees, carry, expected)
    if signature(came) != signature(expected):
        raise ValueError(
            "encoder_decoder: expected start to return the initial carry of the decoder, "
            f"{describe(expected)}, got {describe(came)}."
        )
    return carry


def _check_no_resets(mask: Mask) -> None:
    if mask.reset is not None:
        raise ValueError(
            "encoder_decoder: expected one target per row, got resets, at which the decoder would "
            "start from its own initial carry. Leave out start, or use pad or bucket instead of "
            "pack."
        )
