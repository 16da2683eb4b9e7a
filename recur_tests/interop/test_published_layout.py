"""The program that loads a published checkpoint, with weights of a model of PyTorch."""

import doctest
import importlib.util
import pathlib

import jax
import numpy as np
import pytest

import recur

PAGE = pathlib.Path(recur.__file__).parents[1] / "docs" / "programs" / "published_weights.md"

if importlib.util.find_spec("torch") is None:
    pytest.skip("PyTorch is not installed", allow_module_level=True)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("is_tied", [False, True])
def test_the_model_of_the_page_is_that_of_torch(kind, is_tied, tmp_path):
    import torch
    from safetensors.numpy import load_file
    from safetensors.torch import save_model

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Embedding(9, 5)
            self.rnn = getattr(torch.nn, kind)(5, 5 if is_tied else 6, 2)
            self.decoder = torch.nn.Linear(5 if is_tied else 6, 9)
            if is_tied:
                self.decoder.weight = self.encoder.weight

    torch.manual_seed(0)
    theirs, tokens = Model(), np.array([3, 0, 8, 8, 1])
    save_model(theirs, tmp_path / "a")
    weights = load_file(tmp_path / "a")
    assert len(weights) == 8 + 3 - is_tied
    examples = doctest.DocTestParser().get_examples(PAGE.read_text())
    names = {}
    for example in examples:
        if example.source.startswith(("import", "from", "def load_word_model")):
            exec(example.source, names)
    model, params = names["load_word_model"](weights)
    expected = theirs.decoder(theirs.rnn(theirs.encoder(torch.tensor(tokens)))[0])
    found = jax.jit(model)(params, tokens)
    np.testing.assert_allclose(found, expected.detach(), rtol=1e-5, atol=1e-6)
