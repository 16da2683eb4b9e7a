"""`encoder_decoder` against its parts by hand, and as a model that all of `recur.decode` takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.combine import Memory
from recur.decode import (
    argmax,
    beam_search,
    free_running,
    generate,
    scheduled_sampling,
    teacher_forcing,
)
from recur.sequences import Padded, pool
from recur_tests.contract.cases import dense
from recur_tests.helpers import assert_close, inner_jaxprs, random_like, weighted_sum

F64 = {"param_dtype": jnp.float64}
VOCABULARY, WIDTH = 7, 4
ENCODER = recur.chain(
    nn.Embed(VOCABULARY, 5, **F64),
    recur.bidirectional(
        recur.scan(recur.gru(WIDTH, **F64)), recur.scan(recur.gru(WIDTH, **F64), reverse=True)
    ),
)


def decoder(query="output", name="memory"):
    return recur.chain(
        nn.Embed(VOCABULARY, 3, **F64),
        recur.scan(recur.attend(recur.gru(WIDTH, **F64), name, query=query, **F64)),
        lambda attended: attended.output,
        dense(VOCABULARY),
    )


class Start(nn.Module):
    """The initial carry of the decoder from the last carry of the backward encoder."""

    @nn.compact
    def __call__(self, carry):
        return ((), nn.Dense(WIDTH, **F64)(carry[1].backward), (), ())


MODELS = {
    "output": recur.encoder_decoder(ENCODER, decoder()),
    "state": recur.encoder_decoder(ENCODER, decoder("state"), start=Start()),
}
SOURCE = np.array([[1, 2, 3, 4, 5], [3, 1, 0, 0, 0]])
LENGTHS = np.array([5, 2])
TOKENS = np.array([[6, 1, 2, 3], [6, 4, 4, 1]])
CONTEXT = {"source": Padded(SOURCE, LENGTHS)}


def drawn(layer, xs=TOKENS, context=CONTEXT):
    shapes = jax.eval_shape(lambda key: layer.init(key, xs, context=context), jax.random.key(0))
    return random_like(shapes, 1)


def by_hand(model, params, row):
    """The context of the decoder and its initial carry, of the source without padding."""
    source = SOURCE[row, : LENGTHS[row]]
    carry, ys = ENCODER.run(params.encoder, source)
    carry = Start().apply({"params": params.start}, carry) if params.start else None
    return carry, {"memory": Memory(ys)}


each_model = pytest.mark.parametrize("name", MODELS)


@each_model
def test_equals_the_encoder_and_the_decoder_by_hand(name):
    """In values and gradients, in a batch, though the padding of the source has tokens in it."""
    model, other = MODELS[name], decoder("state" if name == "state" else "output")
    params = drawn(recur.batch(model))
    length = np.array([4, 3])

    def together(params):
        return recur.batch(model)(params, TOKENS, context=CONTEXT, length=length)

    def alone(params):
        rows = []
        for row in range(2):
            carry, context = by_hand(model, params, row)
            options = {"carry": carry, "context": context, "length": length[row]}
            rows.append(other(params.decoder, TOKENS[row], **options))
        return jnp.stack(rows)

    def derived(function):
        return jax.jit(jax.value_and_grad(lambda params: weighted_sum(function(params))))(params)

    assert_close(together(params), alone(params))
    value, gradient = derived(together)
    assert_close((value, gradient), derived(alone))
    for leaf in jax.tree.leaves(gradient.encoder) + jax.tree.leaves(gradient.start):
        assert leaf.any()


@each_model
def test_a_source_of_plain_arrays_counts_whole(name):
    model = MODELS[name]
    params = drawn(model, TOKENS[0], {"source": SOURCE[0]})
    found = model(params, TOKENS[0], context={"source": SOURCE[0]})
    assert_close(found, model(params, TOKENS[0], context={"source": Padded(SOURCE[0], 5)}))
    assert_close(found, model(params, TOKENS[0], context={"source": Padded(SOURCE[0])}))
    memory = model.bind(params, TOKENS[0], context={"source": SOURCE[0]}).decoder[1].memory
    assert memory.mask is None


@each_model
def test_decoding_takes_the_model_as_it_is(name):
    """Each way of feeding equals the decoder alone, with the memory as its context."""
    model = recur.batch(MODELS[name])
    other = recur.batch(decoder("state" if name == "state" else "output"))
    params = drawn(model)
    carries, values = recur.batch(ENCODER).run(params.encoder, SOURCE, length=LENGTHS)
    mask = np.arange(5) < LENGTHS[:, None]
    context = {"memory": Memory(values, mask)}
    carry = None
    if params.start:
        carry = jax.vmap(lambda c: Start().apply({"params": params.start}, c))(carries)
    key, prompt = jax.random.key(0), TOKENS[:, :1]
    runs = {
        teacher_forcing: {},
        free_running: {},
        scheduled_sampling: {"rate": 0.5, "key": key},
        generate: {"max_tokens": 4, "choose": argmax},
        beam_search: {"num_beams": 3, "max_tokens": 4},
    }
    for run, options in runs.items():
        tokens = prompt if run in (generate, beam_search) else TOKENS
        found = run(model, params, tokens, context=CONTEXT, **options)
        expected = run(other, params.decoder, tokens, context=context, carry=carry, **options)
        assert_close(found, expected)


def products(jaxpr, kernels, in_loop=False):
    """For each product with kernels of these shapes, whether it is inside of a while loop."""
    for equation in jaxpr.eqns:
        shapes = {getattr(atom.aval, "shape", ()) for atom in equation.invars}
        is_product = equation.primitive.name in ("dot_general", "product", "loop_product")
        if is_product and shapes & kernels:
            yield in_loop
        for inner in inner_jaxprs(equation):
            yield from products(inner, kernels, in_loop or equation.primitive.name == "while")


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("search", ["generate", "beam_search"])
def test_the_source_is_encoded_and_projected_once_outside_of_the_loop(search, batched):
    """The encoder is 11 wide, and nothing else is."""
    encoder = recur.chain(nn.Embed(VOCABULARY, 11, **F64), recur.scan(recur.elman(11, **F64)))
    model = recur.encoder_decoder(encoder, decoder("state"))
    model = recur.batch(model) if batched else model
    rows = slice(None) if batched else 0
    context = {"source": SOURCE[rows]}
    params = drawn(model, TOKENS[rows], context)

    def run(params, context):
        if search == "generate":
            return generate(model, params, TOKENS[rows], context=context, max_tokens=3,
                            choose=argmax)  # fmt: skip
        return beam_search(model, params, TOKENS[rows], context=context, max_tokens=3, num_beams=2)

    kernels = {(11, 11), (11, WIDTH)}  # two of the encoder, and that of the memory
    assert list(products(jax.make_jaxpr(run)(params, context).jaxpr, kernels)) == 3 * [False]
    in_cell = {(WIDTH, 4 * WIDTH)}  # the control: the decoder's own product
    assert any(products(jax.make_jaxpr(run)(params, context).jaxpr, in_cell))


def test_a_pooled_encoder_gives_one_value():
    encoder = recur.pooled(ENCODER, pool.max)
    cell = recur.condition(recur.gru(WIDTH, **F64), "image", **F64)
    other = recur.chain(nn.Embed(VOCABULARY, 3, **F64), recur.scan(cell), dense(2))
    model = recur.batch(recur.encoder_decoder(encoder, other, memory="image"))
    params = drawn(model)
    image = recur.batch(encoder)(params.encoder, SOURCE, length=LENGTHS)
    expected = recur.batch(other)(params.decoder, TOKENS, context={"image": image})
    assert_close(model(params, TOKENS, context=CONTEXT), expected)


def test_two_sources_are_two_encoders_with_names_of_their_own():
    first = recur.scan(recur.gru(WIDTH, **F64))
    cell = recur.attend(recur.gru(WIDTH, **F64), "m", **F64)
    reads = recur.readin(recur.readout(cell, lambda attended: attended.output), dense(3))
    other = recur.scan(recur.attend(reads, "n", **F64))
    model = recur.encoder_decoder(
        first, recur.encoder_decoder(first, other, source="b", memory="n"), source="a", memory="m"
    )
    draws = np.random.default_rng(0).standard_normal
    xs, context = draws((4, 3)), {"a": Padded(draws((5, 2)), 3), "b": draws((6, 2))}
    params = drawn(model, xs, context)
    memories = {
        "m": first(params.encoder, context["a"].steps[:3]),
        "n": first(params.decoder.encoder, context["b"]),
    }
    expected = other(params.decoder.decoder, xs, context=memories)
    assert_close(model(params, xs, context=context), expected)


def test_noise_of_the_encoder_is_drawn_once_and_needs_a_key():
    encoder = recur.chain(nn.Dropout(0.5))
    other = recur.scan(recur.attend(recur.gru(WIDTH, **F64), "memory", **F64))
    model = recur.encoder_decoder(encoder, recur.chain(other, lambda attended: attended.context))
    xs, context = np.ones((3, 2)), {"source": np.ones((1, 64))}
    params = drawn(model, xs, context)
    assert (model(params, xs, context=context) == 1).all()
    ys = model(params, xs, context=context, key=jax.random.key(0))
    assert set(np.unique(ys)) == {0, 2}
    assert_close(ys, jnp.broadcast_to(ys[:1], ys.shape))
    assert (ys != model(params, xs, context=context, key=jax.random.key(1))).any()


@pytest.mark.parametrize(
    "wrap", [lambda m: recur.checkpoint(m, 2), lambda m: recur.truncate(m, 2, 4)]
)
def test_checkpoint_and_truncate_are_around_it(wrap):
    """Both bind it once; a window as long as the target truncates nothing."""
    model = MODELS["state"]
    params, context = drawn(model, TOKENS[0], {"source": SOURCE[0]}), {"source": SOURCE[0]}

    def derived(layer):
        return jax.grad(lambda p: weighted_sum(layer(p, TOKENS[0], context=context)))(params)

    assert_close(derived(wrap(model)), derived(model))


def test_the_carry_and_resets_are_those_of_the_decoder():
    model, other = MODELS["output"], decoder()
    context, reset = {"source": SOURCE[0]}, np.array([False, False, True, False])
    params = drawn(model, TOKENS[0], context)
    memory = {"memory": ENCODER(params.encoder, SOURCE[0])}
    found = model.run(params, TOKENS[0], context=context, reset=reset)
    assert_close(found, other.run(params.decoder, TOKENS[0], context=memory, reset=reset))
    whole = model.run(params, TOKENS[0], context=context)
    carry, first = model.run(params, TOKENS[0][:2], context=context)
    carry, second = model.run(params, TOKENS[0][2:], context=context, carry=carry)
    assert_close((carry, jnp.concatenate([first, second])), whole)
    started = MODELS["state"]
    params = drawn(started, TOKENS[0], context)
    expected = by_hand(started, params, 0)[0]
    assert_close(started.init_carry(params, TOKENS[0], context=context), expected)
    with pytest.raises(ValueError, match="one target per row, got resets"):
        started(params, TOKENS[0], context=context, reset=reset)


def test_the_weights_of_attention_come_out_of_the_same_run():
    """As the guide on composition has it: another merge, the same params."""

    def build(merge):
        head = recur.chain(lambda attended: attended.output, dense(VOCABULARY))
        cell = recur.attend(recur.gru(WIDTH, **F64), "memory", **F64)
        embed = nn.Embed(VOCABULARY, 3, **F64)
        outputs = recur.parallel(head, lambda attended: attended.weights, merge=merge)
        return recur.encoder_decoder(ENCODER, recur.chain(embed, recur.scan(cell), outputs))

    model, viewer = build(lambda logits, weights: logits), build(lambda *outputs: outputs)
    context = {"source": Padded(SOURCE[0], 3)}
    params = drawn(model, TOKENS[0], context)
    logits, weights = viewer(params, TOKENS[0], context=context, length=3)
    assert_close(logits, model(params, TOKENS[0], context=context, length=3))
    assert_close(weights.sum(1), np.array([1.0, 1, 1, 0]))
    assert weights.shape == (4, 5) and not weights[:, 3:].any()
