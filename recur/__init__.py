"""recur: recurrent sequence models in JAX. Write one pure step, and run, batch and train it.

structure  what is found in a step: products before, in and after the loop; names for values
cells      elman, jordan, lstm, gru and their variants; cell, for your own functions
combine    a cell in, a cell out: depth, attention, conditioning, dropout, norms, feedback
lift       loop, scan, associative, newton, online, tree: ways to run a cell; truncate,
           checkpoint, bidirectional, chain, parallel, pooled, inner, sequencewise,
           encoder_decoder, batch: layers of layers and modules
sequences  batches of sequences of any length, streams, pooling;  text  strings to ids
decode     sampling, generation, beam search, teacher forcing
train      losses, clipping, penalties, an update, the training loop, checkpoints
classic    n-grams, Markov models and word2vec, to compare with
diagnose   pictures;  interop  cells of Flax, Haiku and Equinox
runs       the folder of a run, resuming, results, and the command line of a script
"""

from typing import TYPE_CHECKING

from recur import cells, combine, lift, sequences, serialization, structure, types
from recur.cells import (
    cell,
    child_sum_lstm,
    conv_gru,
    conv_lstm,
    coupled_lstm,
    diagonal,
    elman,
    gru,
    indrnn,
    jordan,
    layer_norm_lstm,
    leaky_integrator,
    lru,
    lstm,
    mgu,
    min_gru,
    min_lstm,
    nary_lstm,
    original_lstm,
    projected_lstm,
    recurrent_highway,
    slstm,
    ugrnn,
)
from recur.combine import (
    attend,
    condition,
    deep_transition,
    feedback,
    film,
    highway,
    normalize,
    readin,
    readout,
    recurrent_dropout,
    residual,
    soft_window,
    stack,
    variational_dropout,
    zoneout,
)
from recur.layer import Layer
from recur.lift import (
    associative,
    batch,
    bidirectional,
    chain,
    checkpoint,
    encoder_decoder,
    inner,
    loop,
    newton,
    online,
    parallel,
    pooled,
    scan,
    sequencewise,
    tree,
    truncate,
)
from recur.structure import name, structure_of
from recur.types import Cell, Mask

if TYPE_CHECKING:
    from recur import classic, decode, diagnose, interop, runs, text, train

    __version__: str
else:

    def __getattr__(name: str):
        """Imports a room, or looks up the version, when it is first used."""
        import importlib.metadata

        if name in ("classic", "decode", "diagnose", "interop", "runs", "text", "train"):
            return importlib.import_module(f"recur.{name}")
        if name != "__version__":
            raise AttributeError(f"module 'recur' has no attribute {name!r}")
        try:
            return importlib.metadata.version("recur-jax")
        except importlib.metadata.PackageNotFoundError:
            return "0+unknown"  # a checkout that is not installed

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, "__version__"})


serialization.register_namedtuples()

__all__ = [
    "Cell",
    "Layer",
    "Mask",
    "associative",
    "attend",
    "batch",
    "bidirectional",
    "cell",
    "cells",
    "chain",
    "checkpoint",
    "child_sum_lstm",
    "classic",
    "combine",
    "condition",
    "conv_gru",
    "conv_lstm",
    "coupled_lstm",
    "decode",
    "deep_transition",
    "diagnose",
    "diagonal",
    "elman",
    "encoder_decoder",
    "feedback",
    "film",
    "gru",
    "highway",
    "indrnn",
    "inner",
    "interop",
    "jordan",
    "layer_norm_lstm",
    "leaky_integrator",
    "lift",
    "loop",
    "lru",
    "lstm",
    "mgu",
    "min_gru",
    "min_lstm",
    "name",
    "nary_lstm",
    "newton",
    "normalize",
    "online",
    "original_lstm",
    "parallel",
    "pooled",
    "projected_lstm",
    "readin",
    "readout",
    "recurrent_dropout",
    "recurrent_highway",
    "residual",
    "runs",
    "scan",
    "sequences",
    "sequencewise",
    "slstm",
    "soft_window",
    "stack",
    "structure",
    "structure_of",
    "text",
    "train",
    "tree",
    "truncate",
    "types",
    "ugrnn",
    "variational_dropout",
    "zoneout",
]
