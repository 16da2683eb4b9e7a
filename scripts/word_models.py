"""The models of `word_lm.py`: published recipes, the model, its loss and its optimizer.

`lecture` is a small Elman network. `zaremba-small`, `-medium` and `-large` are by Zaremba,
Sutskever & Vinyals 2014, https://arxiv.org/abs/1409.2329. `awd` is by Merity, Keskar & Socher 2018,
https://arxiv.org/abs/1708.02182, without penalties on activations and with windows of equal length.
Its loss is the mean over the 70 words of a window; here it is the sum, so the learning rate is
divided by 70, and clip and weight decay are multiplied by 70. On two cores only the first two
finish within a day.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

import recur
from recur.runs import Count, NonNegative, Positive, Rate, Seed, Size, between
from recur.train import TrainState, by_path, chunked_cross_entropy_sum, weight_drop

CELLS = {"elman": recur.elman, "gru": recur.gru, "lstm": recur.lstm}
CHUNK = 200  # steps, over all rows, whose logits are in memory at a time


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a recurrent language model of words with truncated backpropagation through time.

    Without --train it trains on the documentation that comes with Python: docstrings and comments
    of the standard library, and the topics of `help()`. To generate sentences: `word_lm.py generate
    --help`.
    """

    preset: Literal["lecture", "zaremba-small", "zaremba-medium", "zaremba-large", "awd"] = (
        "lecture"
    )
    """A published recipe, whose values are the defaults of the other options."""
    train: pathlib.Path | None = None
    """Training text, one sentence per line."""
    valid: pathlib.Path | None = None
    """Validation text, which selects the best epoch."""
    test: pathlib.Path | None = None
    """Test text, on which the best epoch is evaluated."""
    run: pathlib.Path | None = None
    """The folder of the run. A new folder starts a run; an existing one resumes its run with the
    same options. Default: runs/word_lm-1, -2 ..."""

    split: Literal["space", "punctuation"] = "space"
    """Split words at spaces only, as in tokenized text, or at punctuation too."""
    lowercase: bool = False
    """Whether to convert text to lower case."""
    vocabulary: Size | None = 8000
    """Size of the vocabulary, with special tokens; other words are unknown. None keeps all."""
    sentences: bool = True
    """Whether sentences are independent, between start and end tokens; otherwise the text is one
    stream, with an end token after each sentence."""

    cell: Literal["elman", "gru", "lstm"] = "elman"
    """The recurrent cell."""
    layers: Annotated[int, between(1, 1000)] = 1
    """The number of recurrent layers."""
    features: Size = 100
    """Units of each layer; of the last one too, unless the weights are tied."""
    embedding: Size = 100
    """Size of the word embedding."""
    tied: bool = False
    """Whether logits use the embedding as kernel; the last layer then has its size."""
    initial: Positive | None = None
    """Initialize all weights uniformly from -initial to initial; None for the defaults."""

    dropout: Rate = 0.0
    """Dropout rate between layers, with a new mask at each step (Zaremba et al.)."""
    input_dropout: Rate = 0.0
    """Variational dropout rate of the inputs of the first layer (Gal & Ghahramani)."""
    layer_dropout: Rate = 0.0
    """Variational dropout rate between layers."""
    output_dropout: Rate = 0.0
    """Variational dropout rate after the last layer."""
    word_dropout: Rate = 0.0
    """Share of words whose embedding is zero for a window."""
    weight_drop: Rate = 0.0
    """Dropout rate of recurrent weights, once per window (Merity et al.)."""

    epochs: Count = 6
    """Number of epochs. Resume a finished run with more to continue it."""
    batch_size: Size = 20
    """Number of text streams that are read in parallel."""
    unroll: Size = 35
    """Words of each stream per update, and the length of backpropagation."""
    optimizer: Literal["sgd", "adam"] = "adam"
    """Its loss is summed over the words of a window, and averaged over rows."""
    learning_rate: Positive = 2e-3
    """Initial learning rate."""
    constant_epochs: Count = 3
    """Epochs after which the learning rate is divided by --decay in each epoch."""
    decay: Positive = 2.0
    """The divisor of the learning rate per epoch."""
    average_after: Count | None = None
    """Average weights (NT-ASGD, Merity et al.) once an epoch is worse on --valid than the best one
    up to this number of epochs before; never if None."""
    clip: Positive = 5.0
    """Maximum gradient norm."""
    weight_decay: NonNegative = 0.0
    """Weight decay of all weights, per unit of learning rate."""

    seed: Seed = 0
    """Seed of weights, order of sentences, dropout and samples."""
    report_every: Count = 50
    """Updates between two log entries."""
    checkpoint_every: Count = 500
    """Updates between two checkpoints, and one per epoch; the last 3 and the best are kept."""


_ZAREMBA = Options(
    vocabulary=10_000, sentences=False, cell="lstm", layers=2, optimizer="sgd", learning_rate=1.0
)
PRESETS = {
    "lecture": Options(),
    "zaremba-small": dataclasses.replace(
        _ZAREMBA, features=200, embedding=200, initial=0.1,
        unroll=20, epochs=13, constant_epochs=4, decay=2.0, clip=5.0,
    ),
    "zaremba-medium": dataclasses.replace(
        _ZAREMBA, features=650, embedding=650, initial=0.05, dropout=0.5,
        unroll=35, epochs=39, constant_epochs=6, decay=1.2, clip=5.0,
    ),
    "zaremba-large": dataclasses.replace(
        _ZAREMBA, features=1500, embedding=1500, initial=0.04, dropout=0.65,
        unroll=35, epochs=55, constant_epochs=14, decay=1.15, clip=10.0,
    ),
    "awd": dataclasses.replace(
        _ZAREMBA, layers=3, features=1150, embedding=400, tied=True, unroll=70, epochs=500,
        input_dropout=0.4, layer_dropout=0.25, output_dropout=0.4, word_dropout=0.1,
        weight_drop=0.5, learning_rate=30.0 / 70, constant_epochs=500, average_after=5,
        clip=0.25 * 70, weight_decay=1.2e-6 * 70,
    ),
}  # fmt: skip
PRESETS = {name: dataclasses.replace(made, preset=name) for name, made in PRESETS.items()}


class Params(NamedTuple):
    """Weights of a `WordModel`."""

    body: Any  # of the embedding and the recurrent layers
    kernel: jax.Array | None  # of the logits, [H, V]; None if tied
    bias: jax.Array  # [V]


class WordModel(NamedTuple):
    """A language model whose logits are computed separately, so that they can be in chunks."""

    body: recur.Layer  # int [T] -> [T, H]
    init: Callable[[jax.Array], Params]

    def logits(self, params: Params, hs: jax.Array) -> jax.Array:
        """`[..., H] -> [..., V]`."""
        kernel = params.kernel
        if kernel is None:
            kernel = params.body[0]["embedding"].T
        return hs @ kernel + params.bias

    def decoding_layer(self, params: Params) -> recur.Layer:
        """A batched layer of `params.body` from words to logits, for `recur.decode`."""
        return recur.batch(recur.chain(self.body, lambda h: self.logits(params, h)))


def build_model(options: Options, size: int) -> WordModel:
    """Builds a model: embedding, recurrent layers with dropout, and logits."""
    parts: list[Any] = [nn.Embed(size, options.embedding)]
    for layer in range(options.layers):
        last = layer == options.layers - 1
        features = options.embedding if last and options.tied else options.features
        cell = recur.variational_dropout(
            CELLS[options.cell](features),
            inputs=options.layer_dropout if layer else options.input_dropout,
            outputs=options.output_dropout if last else 0.0,
        )
        parts += [nn.Dropout(options.dropout)] * bool(options.dropout) + [recur.scan(cell)]
    parts += [nn.Dropout(options.dropout)] * bool(options.dropout)
    body = recur.chain(*parts)

    def init(key):
        body_key, kernel_key, uniform_key = jax.random.split(key, 3)
        kernel = None
        if not options.tied:
            kernel = nn.initializers.lecun_normal()(kernel_key, (options.features, size))
        params = Params(body.init(body_key, jnp.zeros(1, jnp.int32)), kernel, jnp.zeros(size))
        return params if options.initial is None else uniform(uniform_key, params, options.initial)

    return WordModel(body, init)


def uniform(key: jax.Array, params: Params, bound: float) -> Params:
    """Draws all weights and biases uniformly from -bound to bound."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        jax.random.uniform(key, leaf.shape, leaf.dtype, -bound, bound)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)


def make_loss(options: Options, model: WordModel):
    """Makes the loss, nats summed over a window and averaged over rows, as in Zaremba et al."""
    body = recur.batch(model.body)
    drop_weights = weight_drop(options.weight_drop, by_path("*recurrent_kernel"))
    drop_words = nn.Dropout(options.word_dropout, broadcast_dims=(1,), deterministic=False)
    is_noisy = any(
        (options.dropout, options.input_dropout, options.layer_dropout, options.output_dropout)
    )

    def add_noise(key, params):
        weight_key, word_key = jax.random.split(key)
        noisy = drop_weights(weight_key, params) if options.weight_drop else params
        if options.word_dropout:
            table = params.body[0]["embedding"]
            table = drop_words.apply({}, table, rngs={"dropout": word_key})
            body = ({"embedding": table}, *noisy.body[1:])
            noisy = noisy._replace(body=body)
        return noisy

    def loss(params, carry, window, key):
        weights_key, key = jax.random.split(key)
        noisy = add_noise(weights_key, params)
        key = key if is_noisy else None
        carry, hs = body.run(noisy.body, window.inputs, carry=carry, reset=window.reset, key=key)
        total = chunked_cross_entropy_sum(
            partial(model.logits, params), hs, window.targets, window.mask, size=CHUNK
        )
        mean = total / jnp.maximum(window.mask.sum(), 1)
        return total / len(hs), (carry, {"nats": mean})

    return loss


class Average(NamedTuple):
    """The state of `average_when_begun`."""

    begun: jax.Array  # bool
    count: jax.Array  # int32, updates in the mean
    mean: Params


def average_when_begun() -> optax.GradientTransformation:
    """Averages the weights after each update once begun; the last part of an Optax chain.

    mean_n = mean_{n-1} + (params_n - mean_{n-1}) / n
    """

    def init(params):
        mean = jax.tree.map(jnp.copy, params)  # a donated state must not contain an array twice
        return Average(jnp.zeros((), bool), jnp.zeros((), jnp.int32), mean)

    def update(updates, state, params=None):
        after = optax.apply_updates(params, updates)
        count = state.count + state.begun
        share = 1 / jnp.maximum(count, 1)
        mean = jax.tree.map(lambda m, p: m + (p - m) * share.astype(p.dtype), state.mean, after)
        return updates, Average(state.begun, count, mean)

    return optax.GradientTransformation(init, update)


def build_optimizer(options: Options, windows_per_epoch: int) -> optax.GradientTransformation:
    """Gradient clipping, then the optimizer with a learning rate that decays by epochs."""
    constant = min(options.constant_epochs, options.epochs)
    rate = optax.exponential_decay(
        options.learning_rate,
        windows_per_epoch,
        1 / options.decay,
        transition_begin=(constant - 1) * windows_per_epoch,
        staircase=True,
    )
    parts = [
        optax.clip_by_global_norm(options.clip),
        optax.scale_by_adam() if options.optimizer == "adam" else optax.identity(),
        optax.add_decayed_weights(options.weight_decay) if options.weight_decay else None,
        optax.scale_by_learning_rate(rate),
        average_when_begun() if options.average_after is not None else None,
    ]
    return optax.chain(*(part for part in parts if part is not None))


def begin_average(state: TrainState) -> TrainState:
    """Starts the averaging of weights."""
    *others, average = state.optimizer
    return state._replace(optimizer=(*others, average._replace(begun=jnp.ones((), bool))))


def has_begun(state: TrainState) -> bool:
    """Whether weights are being averaged."""
    return bool(state.optimizer[-1].begun)


def weights_to_judge(state: TrainState) -> Params:
    """The mean of the weights if averaging has begun, otherwise the weights."""
    average = state.optimizer[-1]
    if isinstance(average, Average) and average.count > 0:
        return average.mean
    return state.params
