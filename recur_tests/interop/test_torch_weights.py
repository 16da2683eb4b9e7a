"""Weights of PyTorch, in both directions: outputs, carries and gradients are those of PyTorch."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur.cells import LSTMState
from recur.interop import from_torch_weights, to_torch_weights
from recur.lift import Directions
from recur_tests.helpers import assert_close

if importlib.util.find_spec("torch") is None:
    pytest.skip("PyTorch is not installed", allow_module_level=True)


@pytest.fixture(autouse=True, scope="module")
def _torch():
    """Imports PyTorch when it is needed, since that takes longer than all of recur."""
    global torch
    import torch


INPUTS, STEPS, ROWS, DRAWS = 3, 4, 2, 7
CASES = {
    "LSTM": [
        {},
        {"bias": False},
        {"bidirectional": True},
        {"num_layers": 2, "proj_size": 2},
        {"num_layers": 2, "bidirectional": True, "proj_size": 2, "bias": False},
    ],
    "GRU": [{}, {"bias": False, "bidirectional": True}, {"num_layers": 3}],
    "RNN": [{}, {"nonlinearity": "relu", "num_layers": 2, "bidirectional": True, "bias": False}],
}
ALL = [(kind, options) for kind, cases in CASES.items() for options in cases]


def carry_of(state, module):
    """Returns h_n, or h_n and c_n, of PyTorch as a carry of the layer."""
    arrays = [jnp.asarray(each.detach().numpy()) for each in state]
    flat = [LSTMState(*each) if len(each) == 2 else each[0] for each in zip(*arrays, strict=True)]
    if module.bidirectional:
        flat = [Directions(*flat[i : i + 2]) for i in range(0, len(flat), 2)]
    return tuple(flat) if module.num_layers > 1 else flat[0]


def by_torch(module, xs, state):
    """Returns the outputs and last carry, and gradients of all weights and of the inputs."""
    xs = xs.clone().requires_grad_()
    module.zero_grad()
    ys, last = module(xs, state if len(state) == 2 else state[0])
    last = last if isinstance(last, tuple) else (last,)
    (ys.square().sum() + sum(each.sin().sum() for each in last)).backward()
    gradients = {name: jnp.asarray(w.grad.numpy()) for name, w in module.named_parameters()}
    ends = jnp.asarray(ys.detach().numpy()), carry_of(last, module)
    return ends, (gradients, jnp.asarray(xs.grad.numpy()))


def draw(module, dtype):
    """Draws weights, inputs and an initial state."""
    with torch.no_grad():
        for weight in module.parameters():
            weight.uniform_(-0.9, 0.9)
    count = module.num_layers * (1 + module.bidirectional)
    width = module.proj_size or module.hidden_size
    sizes = [width, module.hidden_size][: 1 + (module.mode == "LSTM")]
    state = tuple(torch.randn(count, ROWS, size, dtype=dtype) for size in sizes)
    return torch.randn(ROWS, STEPS, INPUTS, dtype=dtype), state


def jitted(nonlinearity):
    @jax.jit
    def run(weights, xs, carry):
        def loss(weights, xs):
            layer, params = from_torch_weights(weights, nonlinearity=nonlinearity)
            last, ys = recur.batch(layer).run(params, xs, carry=carry)
            return jnp.square(ys).sum() + sum(jnp.sin(c).sum() for c in jax.tree.leaves(last)), (
                ys,
                last,
            )

        gradients, ends = jax.grad(loss, (0, 1), has_aux=True)(weights, xs)
        return ends, gradients

    return run


def arrays_of(module):
    return {name: jnp.asarray(w.detach().numpy()) for name, w in module.state_dict().items()}


@pytest.mark.parametrize(("kind", "options"), ALL, ids=str)
def test_computes_what_pytorch_computes(kind, options):
    torch.manual_seed(ALL.index((kind, options)))
    module = getattr(torch.nn, kind)(INPUTS, 4, batch_first=True, **options).double()
    run = jitted(options.get("nonlinearity", "tanh"))
    for _ in range(DRAWS):
        xs, state = draw(module, torch.float64)
        found = run(arrays_of(module), xs.numpy(), carry_of(state, module))
        assert_close(found, by_torch(module, xs, state), 1e-12)

    _, params = from_torch_weights(module)
    back = to_torch_weights(params)
    assert {name: a.shape for name, a in back.items()} == {
        name: tuple(w.shape) for name, w in module.state_dict().items()
    }
    theirs = getattr(torch.nn, kind)(INPUTS, 4, batch_first=True, **options).double()
    theirs.load_state_dict({name: torch.from_dlpack(array) for name, array in back.items()})
    state = state if len(state) == 2 else state[0]
    assert torch.allclose(theirs(xs, state)[0], module(xs, state)[0], rtol=0, atol=1e-12)
    assert_close(from_torch_weights(back)[1], params, 0)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_float32(kind):
    module = getattr(torch.nn, kind)(INPUTS, 4, batch_first=True)
    run = jitted("tanh")
    for _ in range(DRAWS):
        xs, state = draw(module, torch.float32)
        found = run(arrays_of(module), xs.numpy(), carry_of(state, module))
        assert_close(found[0], by_torch(module, xs, state)[0], 1e-6)
    layer, params = from_torch_weights(module.bfloat16())
    assert params.kernel.candidate.dtype == jnp.bfloat16
    assert params.kernel.candidate[0, 0] == module.state_dict()["weight_ih_l0"][8, 0].item()
    assert "bfloat16" in repr(layer)


def test_one_step_modules_and_dropout():
    xs = jnp.ones((3, INPUTS))
    for kind in ("LSTMCell", "GRUCell", "RNNCell"):
        module = getattr(torch.nn, kind)(INPUTS, 4).double()
        layer, params = from_torch_weights(module)
        state = None
        for x in xs:
            state = module(torch.from_numpy(np.array(x))[None], state)
        hidden = state[0] if isinstance(state, tuple) else state
        assert_close(layer(params, xs)[-1], hidden[0].detach().numpy(), 1e-12)
    assert repr(from_torch_weights(torch.nn.RNNCell(3, 4, nonlinearity="relu"))[0]) == (
        "scan(elman(4, activation='relu'))"
    )
    module = torch.nn.GRU(INPUTS, 4, num_layers=2, dropout=0.5).double()
    layer, params = from_torch_weights(module)
    module.eval()
    with torch.no_grad():
        expected = module(torch.ones(3, INPUTS, dtype=torch.float64))[0].numpy()
    assert_close(layer(params, xs), expected, 1e-12)
    assert (layer(params, xs, key=jax.random.key(0)) != expected).any()
    weights = to_torch_weights(params)
    assert_close(weights["weight_hh_l1"], module.weight_hh_l1.detach().numpy(), 0)


def test_a_module_in_a_larger_model():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LSTM(3, 4)).double()
    expected = from_torch_weights(model[1])[1]
    assert_close(from_torch_weights(model, prefix="1")[1], expected, 0)
    assert_close(from_torch_weights(model.state_dict(), prefix="1")[1], expected, 0)
    assert set(to_torch_weights(expected, prefix="1")) < set(model.state_dict())
    with pytest.raises(ValueError, match="no module has the name 'lstm'; the names are 0, 1"):
        from_torch_weights(model, prefix="lstm")
    with pytest.raises(ValueError, match="got 0.weight, 0.bias, 1.weight_ih.* Pass prefix="):
        from_torch_weights(model)
    with pytest.raises(TypeError, match="got the class LSTM"):
        from_torch_weights(torch.nn.LSTM)


def test_the_other_sense_of_the_update_gate():
    xs = jnp.ones((3, INPUTS))
    layer = recur.scan(recur.gru(4, update="replace", param_dtype=jnp.float64))
    params = jax.tree.map(lambda a: a + 0.1, layer.init(jax.random.key(0), xs))
    module = torch.nn.GRU(INPUTS, 4).double()
    weights = to_torch_weights(params, update="replace")
    module.load_state_dict({name: torch.from_dlpack(array) for name, array in weights.items()})
    ys = module(torch.from_numpy(np.array(xs)))[0]
    assert_close(layer(params, xs), ys.detach().numpy(), 1e-12)
