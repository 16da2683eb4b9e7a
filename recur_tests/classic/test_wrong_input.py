"""Wrong inputs of `recur.classic`: each is an error that says what was expected."""

import collections
import functools
import inspect
import pathlib
import tempfile

import jax
import numpy as np

import recur
from recur import classic
from recur.classic import (
    CRF,
    Contexts,
    ContextWindows,
    NGrams,
    Word2Vec,
    WordVectors,
    additive,
    as_embedding,
    autoregressive,
    backward,
    baum_welch,
    bio_constraints,
    cbow,
    crf_decode,
    crf_log_likelihood,
    crf_marginals,
    draw_noise,
    filtering,
    forward,
    hidden_markov,
    init_crf,
    init_word2vec,
    katz,
    keep_probability,
    kneser_ney,
    markov,
    ngram_cell,
    pca,
    skip_gram,
    smooth,
    unigram_noise,
    viterbi,
    word2vec_loss,
)
from recur_tests.classic.wrong_series import OF_LAYERS, OF_SERIES
from recur_tests.wrong_input import WRONG, Row, each_row

KEY = jax.random.key(0)
NO_ARRAY = "expected an array of numbers, got "
NO_REALS = "expected an array of real numbers, got "
NO_LENGTH = "length: expected from 0 to 4, the number of steps, got "
NOT_NUMBERS = [None, "a", True, [1.0], float("nan"), float("inf")]
NO_KEYS = [
    (None, TypeError, "expected a typed key, got None. Make one with jax.random.key(0)"),
    (3, TypeError, "expected a typed key, got 3. Make one with jax.random.key(0)"),
    (jax.random.PRNGKey(0), TypeError, "expected a typed key, got uint32[2]. Make one with"),
]
INITIAL, TRANSITION = [0.5, 0.5], [[0.4, 0.6], [0.6, 0.4]]
EMISSION = [[0.6, 0.4, 0.0], [0.4, 0.6, 0.0]]
CHAIN = markov.MarkovChain(np.log(INITIAL), np.log(TRANSITION))
MODEL = hidden_markov.HiddenMarkov(CHAIN, np.log([[0.6, 0.3, 0.1], [0.4, 0.5, 0.1]]))
SCORES, IDS = np.zeros((4, 2)), np.array([0, 1, 1, 0])


def rows(names, calls, changes):
    return [
        Row(name, functools.partial(calls[name], **change), error, sentence.format(name=name))
        for name in names
        for change, error, sentence in changes
    ]


def wholes(name, argument, least, call):
    """Rows of an argument that is a whole number; `call` takes it."""
    end = f"{argument}: expected a whole number of at least {least}, got "
    return [
        Row(name, functools.partial(call, value), ValueError, f"{end}{value!r}.")
        for value in (least - 1, 1.5, "a", None, True)
    ]


def of_scores(function):
    def call(chain=CHAIN, log_scores=SCORES, length=None, parallel=False):
        return function(chain, log_scores, length, parallel=parallel)

    return call


ALGORITHMS = {each.__name__: of_scores(each) for each in (forward, backward, smooth, viterbi)}
NO_CHAINS = [
    (None, TypeError, "expected a MarkovChain, got NoneType."),
    (MODEL, TypeError, "expected a MarkovChain, got HiddenMarkov. Give model.chain."),
    (tuple(CHAIN), TypeError, "expected a MarkovChain, got tuple."),
    (CHAIN._replace(log_initial=None), TypeError, "log_initial: expected an array of numbers or f"),
    (CHAIN._replace(log_transition=np.zeros((3, 3))), ValueError, "got [2] and [3, 3]."),
]
NO_MODELS = [
    (None, TypeError, "expected a HiddenMarkov, got NoneType."),
    (CHAIN, TypeError, "expected a HiddenMarkov, got MarkovChain."),
    (3, TypeError, "expected a HiddenMarkov, got int."),
    (MODEL._replace(chain=None), TypeError, "expected a MarkovChain, got NoneType."),
    (MODEL._replace(log_emission=SCORES), ValueError, "of [2, V], a row for each state, got [4, 2"),
]
OF_ALGORITHMS = rows(
    ALGORITHMS,
    ALGORITHMS,
    [
        *(({"chain": chain}, error, f"{{name}}: {end}") for chain, error, end in NO_CHAINS[:3]),
        ({"log_scores": None}, TypeError, f"{{name}}: log_scores: {NO_ARRAY}NoneType."),
        ({"log_scores": "a"}, TypeError, f"{{name}}: log_scores: {NO_ARRAY}str."),
        ({"log_scores": IDS}, TypeError, "expected log scores as floats, got int64. Those of"),
        ({"log_scores": SCORES[:, :1]}, ValueError, "of [T, 2], one for each state of the chain"),
        ({"log_scores": SCORES[0]}, ValueError, "the chain, got [2]. Use jax.vmap for rows."),
        ({"length": 9}, ValueError, f"{NO_LENGTH}9."),
        ({"length": 1.5}, TypeError, "length: expected an integer, got float64."),
        ({"length": "a"}, TypeError, "length: expected an array of numbers or flags, got str."),
        *(
            (
                {"parallel": flag},
                TypeError,
                f"{{name}}: parallel: expected True or False, got {flag!r}.",
            )
            for flag in ("no", 1, None)
        ),
    ],
)
OF_FILTERING = [
    Row(
        "filtering",
        functools.partial(recur.scan(filtering()), params, SCORES),
        TypeError,
        f"filtering: expected params as MarkovChain, got {type(params).__name__}.",
    )
    for params in (None, MODEL)
] + [
    Row("filtering", functools.partial(recur.scan(filtering()).init, KEY, xs), error, sentence)
    for xs, error, sentence in (
        (SCORES[0], ValueError, "filtering: expected log scores of [S] at a step, one for each"),
        (SCORES[None], ValueError, "filtering: expected log scores of [S] at a step, one for each"),
        (IDS[:, None], TypeError, "filtering: expected log scores as floats, got int64."),
    )
]
OF_FILTERING += [
    Row(
        "filtering",
        lambda: recur.scan(filtering())(CHAIN, np.zeros((4, 3))),
        ValueError,
        "filtering: expected log scores of [2] at a step, one for each state, got [3].",
    )
]
NO_PROBABILITIES = [
    (None, TypeError, f"{NO_REALS}NoneType."),
    ("a", TypeError, f"{NO_REALS}str."),
    ([[1], [1, 2]], TypeError, f"{NO_REALS}list."),
    ([1j], TypeError, f"{NO_REALS}complex128."),
    (3, ValueError, "axes, got the shape []."),
]


def chain_of(initial=INITIAL, transition=TRANSITION):
    return markov.from_probabilities(initial, transition)


def model_of(initial=INITIAL, transition=TRANSITION, emission=EMISSION):
    return hidden_markov.from_probabilities(initial, transition, emission)


MARKOV = {
    "markov.from_probabilities": chain_of,
    "hidden_markov.from_probabilities": model_of,
}
OF_PROBABILITIES = [
    *rows(
        MARKOV,
        MARKOV,
        [
            *(
                ({part: value}, error, f"{part}: {end}" if error is TypeError else end)
                for part in ("initial", "transition")
                for value, error, end in NO_PROBABILITIES
            ),
            ({"initial": [0.5, 0.6]}, ValueError, "sum to 1.1. Divide them by their sum."),
            ({"initial": [-0.5, 1.5]}, ValueError, "probabilities from 0 to 1, got -0.5."),
            ({"transition": [[0.5, 0.4]] * 2}, ValueError, "and row 0 sums to 0.9. Divide them"),
            ({"initial": [0.2, 0.3, 0.5]}, ValueError, "got [3] and [2, 2]."),
        ],
    ),
    *rows(
        ("hidden_markov.from_probabilities",),
        MARKOV,
        [
            ({"emission": "a"}, TypeError, f"emission: {NO_REALS}str."),
            ({"emission": EMISSION[:1]}, ValueError, "a row for each state, got [1, 3]."),
        ],
    ),
]
OF_CHAINS = [
    *(
        Row(name, functools.partial(call, chain), error, end)
        for name, call in (
            ("MarkovChain", markov.stationary),
            ("markov.stationary", markov.stationary),
            ("markov.log_likelihood", lambda chain: markov.log_likelihood(chain, IDS)),
            ("markov.sample", lambda chain: markov.sample(chain, KEY, 2)),
            ("hidden_markov.normalise", hidden_markov.normalise),
        )
        for chain, error, end in NO_CHAINS
        if not (name == "hidden_markov.normalise" and chain is MODEL)
    ),
    *(
        Row(name, functools.partial(call, model), error, end)
        for name, call in (
            ("HiddenMarkov", lambda model: hidden_markov.observe(model, IDS)),
            ("hidden_markov.observe", lambda model: hidden_markov.observe(model, IDS)),
            ("hidden_markov.log_likelihood", lambda m: hidden_markov.log_likelihood(m, IDS)),
            ("hidden_markov.sample", lambda model: hidden_markov.sample(model, KEY, 2)),
            ("baum_welch.update", lambda model: baum_welch.update(model, IDS[None])),
        )
        for model, error, end in NO_MODELS
    ),
    Row(
        "hidden_markov.normalise",
        lambda: hidden_markov.normalise(MODEL._replace(log_emission=SCORES)),
        ValueError,
        "normalise: expected log_emission of [2, V], a row for each state, got [4, 2].",
    ),
    *(
        Row(name, functools.partial(call, ids), error, end)
        for name, call in (
            ("markov.log_likelihood", functools.partial(markov.log_likelihood, CHAIN)),
            ("hidden_markov.log_likelihood", functools.partial(hidden_markov.observe, MODEL)),
            ("hidden_markov.observe", functools.partial(hidden_markov.observe, MODEL)),
        )
        for ids, error, end in (
            (None, TypeError, f"s: {NO_ARRAY}NoneType."),
            ("a", TypeError, f"s: {NO_ARRAY}str."),
            (IDS * 1.0, TypeError, "s, got float64."),
            (IDS + 9, ValueError, ", got 9 at step 0."),
            (IDS - 1, ValueError, ", got -1 at step 0."),
            (IDS[None], ValueError, "of [T], got [1, 4]. Use jax.vmap for rows."),
        )
    ),
    *(
        Row(name, functools.partial(call, key), error, end)
        for name, call in (
            ("markov.sample", lambda key: markov.sample(CHAIN, key, 2)),
            ("hidden_markov.sample", lambda key: hidden_markov.sample(MODEL, key, 2)),
            ("hidden_markov.init", lambda key: hidden_markov.init(key, 2, 2)),
        )
        for key, error, end in NO_KEYS
    ),
    *wholes("markov.sample", "sample: steps", 0, lambda n: markov.sample(CHAIN, KEY, n)),
    *wholes(
        "hidden_markov.sample", "sample: steps", 0, lambda n: hidden_markov.sample(MODEL, KEY, n)
    ),
    *wholes("hidden_markov.init", "init: states", 1, lambda n: hidden_markov.init(KEY, n, 2)),
    *wholes("hidden_markov.init", "init: symbols", 1, lambda n: hidden_markov.init(KEY, 2, n)),
]
OF_FITS = [
    *wholes("markov.fit_chain", "fit_chain: states", 1, lambda n: markov.fit_chain([IDS], n)),
    *(
        Row(
            "markov.fit_chain",
            functools.partial(markov.fit_chain, [IDS], 2, smoothing),
            ValueError,
            f"fit_chain: expected smoothing of at least 0, got {smoothing!r}.",
        )
        for smoothing in (-1, *NOT_NUMBERS)
    ),
    *(
        Row("markov.fit_chain", functools.partial(markov.fit_chain, sequences, 2), error, end)
        for sequences, error, end in (
            (3, TypeError, "expected a list of sequences, got int. Put a single one in a list."),
            (["a"], TypeError, f"fit_chain: sequence 0: {NO_ARRAY}str."),
            ([[0.5]], TypeError, "sequence 0: expected integer states, got float"),
            ([[0], [9]], ValueError, "sequence 1: expected states from 0 to 1, got 9 at step 0."),
            ([], ValueError, "expected at least one sequence with a state in it, got 0"),
            (IDS, ValueError, "sequence 0: expected states of [T], got []. Use jax.vmap for rows."),
        )
    ),
    *(
        Row("baum_welch.update", functools.partial(baum_welch.update, MODEL, xs), error, end)
        for xs, error, end in (
            ("a", TypeError, f"update: xs: {NO_ARRAY}str."),
            (IDS, ValueError, "expected xs of [B, T] with B >= 1, got [4]. One row is xs[None]."),
            (IDS[None] * 1.0, TypeError, "update: expected integer symbols, got float64."),
            (IDS[None] + 9, ValueError, "expected symbols from 0 to 2, got 9 at step 0 of row 0."),
        )
    ),
    *(
        Row(
            "baum_welch.update",
            functools.partial(baum_welch.update, MODEL, IDS[None], **{name: value}),
            error,
            f"update: {end}",
        )
        for name, value, error, end in (
            ("length", "a", TypeError, f"length: {NO_ARRAY}str."),
            ("length", 2, ValueError, "expected lengths of [1], one for each row of xs, got []."),
            ("pseudo_count", -1, ValueError, "expected pseudo_count of at least 0, got -1."),
            ("pseudo_count", np.inf, ValueError, "expected pseudo_count of at least 0, got inf."),
            ("pseudo_count", "a", TypeError, "pseudo_count: expected one number, got 'a'."),
            ("pseudo_count", None, TypeError, "pseudo_count: expected one number, got None."),
        )
    ),
]
TOKENS = [np.array([0, 1, 2, 1, 2])]
NGRAMS = {
    each.__name__: lambda documents=TOKENS, order=2, size=3, each=each, **options: each(
        documents, order, size, **options
    )
    for each in (additive, kneser_ney, katz)
}
TABLES = additive(TOKENS, 2, 3)
OF_NGRAMS = [
    *(
        Row(
            "ngram_cell",
            functools.partial(ngram_cell, model),
            TypeError,
            f"returns it, got {came}.",
        )
        for model, came in (
            (None, "NoneType"),
            (3, "int"),
            (TOKENS, "list"),
            (TABLES.levels[0], "Level"),
            (NGrams, "type"),
        )
    ),
    *rows(
        NGRAMS,
        NGRAMS,
        [
            *(
                (
                    {name: value},
                    ValueError,
                    f"{{name}}: {name}: expected a whole number of at least 1, got {value!r}.",
                )
                for name in ("order", "size")
                for value in (0, 1.5, "a", None, True)
            ),
            ({"documents": None}, TypeError, "expected a list of documents, got NoneType."),
            ({"documents": iter(TOKENS)}, TypeError, "Convert an iterator with list(...)."),
            ({"documents": []}, ValueError, "expected at least one document, got none."),
            ({"documents": [[0]]}, ValueError, "document 0: expected an array of at least 2 token"),
            ({"documents": [[0.5, 1.0]]}, TypeError, "expected integer tokens, got float64."),
            ({"documents": [[0, 9]]}, ValueError, "document 0: expected ids from 0 to 2, the size"),
        ],
    ),
    *(
        Row(
            "additive",
            functools.partial(additive, TOKENS, 2, 3, alpha),
            ValueError,
            f"additive: expected alpha above 0, got {alpha!r}.",
        )
        for alpha in (0, -1, *NOT_NUMBERS)
    ),
    *(
        Row(
            "kneser_ney",
            functools.partial(kneser_ney, TOKENS, 2, 3, discounts=discounts),
            ValueError,
            f'"modified", "one", or a number above 0 and at most 1, got {discounts!r}.',
        )
        for discounts in (0, 2.0, "other", *NOT_NUMBERS)
    ),
    *wholes("katz", "katz: largest", 2, lambda n: katz(TOKENS, 2, 3, largest=n)),
    *wholes("katz", "katz: least", 1, lambda n: katz(TOKENS, 2, 3, least=n)),
    *(
        Row("NGrams", functools.partial(call, ids), error, f"{name}: {end}")
        for name, call in (
            ("context", TABLES.probabilities),
            ("context", functools.partial(TABLES.sample, max_tokens=1)),
            ("forbidden", lambda ids: TABLES.sample([], max_tokens=1, forbidden=ids)),
        )
        for ids, error, end in (
            (None, TypeError, "expected a sequence of whole numbers, got None."),
            ("a", TypeError, "expected a sequence of whole numbers, got 'a'."),
            ([0.5], TypeError, "expected a sequence of whole numbers, got [0.5]."),
            ([9], ValueError, "expected ids from 0 to 2, the size of the vocabulary less 1, got"),
        )
    ),
    Row("NGrams", lambda: TABLES.nats([[0, 9]]), ValueError, "expected ids from 0 to 2, the size"),
    *wholes("NGrams", "max_tokens", 0, lambda n: TABLES.sample([], max_tokens=n)),
    *wholes("NGrams", "seed", 0, lambda n: TABLES.sample([], max_tokens=1, seed=n)),
    *(
        row
        for row in wholes("NGrams", "eos", 0, lambda n: TABLES.sample([], max_tokens=1, eos=n))
        if "None" not in row.sentence
    ),
]
SENTENCES = [np.array([0, 1, 2]), np.array([3, 4])]
NO_COUNTS = "expected the count of each word, [V] numbers of at least 0 with one above 0, got "
OF_CONTEXTS = [
    *(
        Row("Contexts", functools.partial(Contexts, sentences, 1), error, end)
        for sentences, error, end in (
            (None, TypeError, "Contexts: expected a list of sentences, got NoneType."),
            (iter(SENTENCES), TypeError, "An iterator becomes a list with list(...)."),
            (["ab"], TypeError, f"sentence 0: {NO_ARRAY}str."),
            ([[0, [1]]], TypeError, f"sentence 0: {NO_ARRAY}list."),
            ([[0.5, 1.0]], TypeError, "sentence 0: expected integer ids, got float"),
            ([[0, -1]], ValueError, "sentence 0: expected a vector of ids from 0 on, got [ 0 -1]."),
            ([[0]], ValueError, "expected a sentence of at least two words, got none"),
        )
    ),
    *wholes("Contexts", "Contexts: batch_size", 1, lambda n: Contexts(SENTENCES, n)),
    *wholes("Contexts", "Contexts: window", 1, lambda n: Contexts(SENTENCES, 1, window=n)),
    *wholes("Contexts", "Contexts: seed", 0, lambda n: Contexts(SENTENCES, 1, seed=n)),
    *(
        Row(
            name,
            functools.partial(call, sample),
            ValueError,
            f"{name}: expected sample above 0, or None, got {sample!r}.",
        )
        for name, call in (
            ("Contexts", lambda sample: Contexts(SENTENCES, 1, sample=sample)),
            ("keep_probability", lambda sample: keep_probability([1, 2], sample)),
        )
        for sample in (0, -1.0, *NOT_NUMBERS)
        if sample is not None
    ),
    Row(
        "Contexts", lambda: Contexts(SENTENCES, 9), ValueError, "a batch_size of at most 5, the wo"
    ),
    Row("Contexts", lambda: Contexts(SENTENCES, 1).set_state({}), ValueError, "that get_state ret"),
    *(
        Row(name, functools.partial(call, counts), error, f"{name}: {end}")
        for name, call in (
            ("keep_probability", lambda counts: keep_probability(counts, 0.1)),
            ("unigram_noise", unigram_noise),
        )
        for counts, error, end in (
            (None, TypeError, f"counts: {NO_REALS}NoneType."),
            ("a", TypeError, f"counts: {NO_REALS}str."),
            ([True, False], TypeError, f"counts: {NO_REALS}bool."),
            (3, ValueError, f"{NO_COUNTS}3."),
            ([-1, 2], ValueError, f"{NO_COUNTS}[-1, 2]."),
            ([0, 0], ValueError, f"{NO_COUNTS}[0, 0]."),
            ([[1]], ValueError, f"{NO_COUNTS}[[1]]."),
        )
    ),
    *(
        Row(
            "unigram_noise",
            functools.partial(unigram_noise, [1, 2], power),
            ValueError,
            f"unigram_noise: power: expected a finite number, got {power!r}.",
        )
        for power in NOT_NUMBERS
    ),
]
NOISE = unigram_noise([1, 2, 3, 4, 5])
OF_NOISE = [
    *(
        Row(
            name,
            functools.partial(call, noise),
            TypeError,
            "expected noise as a NoiseDistribution, as unigram_noise makes it, got "
            + type(noise).__name__,
        )
        for name, call in (
            ("NoiseDistribution", lambda noise: draw_noise(KEY, noise, (2,))),
            ("draw_noise", lambda noise: draw_noise(KEY, noise, (2,))),
            ("word2vec_loss", lambda noise: word2vec_loss(skip_gram, noise)),
        )
        for noise in (None, 3, "a", [1, 2], tuple(NOISE))
    ),
    *(
        Row(
            "draw_noise",
            functools.partial(draw_noise, KEY, NOISE, shape),
            TypeError,
            f"draw_noise: expected shape as a tuple of whole numbers, got {shape!r}.",
        )
        for shape in (None, 3, "a")
    ),
    *wholes("draw_noise", "a size in shape", 0, lambda n: draw_noise(KEY, NOISE, (n,))),
    *(
        Row(name, functools.partial(call, key), error, end)
        for name, call in (
            ("draw_noise", lambda key: draw_noise(key, NOISE, (2,))),
            ("init_word2vec", lambda key: init_word2vec(key, 2, 2)),
        )
        for key, error, end in NO_KEYS
    ),
    *wholes("init_word2vec", "words", 1, lambda n: init_word2vec(KEY, n, 2)),
    *wholes("init_word2vec", "features", 1, lambda n: init_word2vec(KEY, 2, n)),
    *(
        Row("init_word2vec", functools.partial(init_word2vec, KEY, 2, 2, dtype), error, end)
        for dtype, error, end in WRONG["dtype"]
    ),
    *wholes("word2vec_loss", "negatives", 1, lambda n: word2vec_loss(skip_gram, NOISE, n)),
    *(
        Row(
            "word2vec_loss",
            functools.partial(word2vec_loss, objective, NOISE),
            TypeError,
            f"word2vec_loss: objective: expected a function, got {type(objective).__name__}.",
        )
        for objective in (None, 3, "skip_gram")
    ),
]
VECTORS = Word2Vec(np.zeros((5, 3)), np.zeros((5, 3)))
WINDOWS = ContextWindows(np.array([1, 2]), np.array([[0, 2], [1, 3]]), np.ones((2, 2), bool))
NEGATIVES = np.array([[0], [4]])


def of_words(objective):
    def call(params=VECTORS, windows=WINDOWS, negatives=NEGATIVES):
        return objective(params, windows, negatives)

    return call


def loss_of(params=VECTORS, windows=WINDOWS):
    return word2vec_loss(skip_gram, NOISE)(params, None, windows, KEY)


WORDS = {
    "skip_gram": of_words(skip_gram),
    "cbow": of_words(cbow),
    "word2vec_loss": loss_of,
    "Word2Vec": of_words(skip_gram),
    "ContextWindows": of_words(skip_gram),
}
NO_WINDOWS = "expected windows with centers [B], contexts [B, C] and mask [B, C], got "
OF_WORDS = [
    *rows(
        ("skip_gram", "cbow", "word2vec_loss", "Word2Vec"),
        WORDS,
        [
            ({"params": None}, TypeError, "expected params as Word2Vec, got NoneType."),
            ({"params": tuple(VECTORS)}, TypeError, "expected params as Word2Vec, got tuple."),
            ({"params": VECTORS._replace(input="a")}, TypeError, f"input: {NO_ARRAY}str."),
            (
                {"params": VECTORS._replace(input=np.zeros((5, 3), int))},
                TypeError,
                "expected params of floats, got int64 and float64.",
            ),
            (
                {"params": VECTORS._replace(output=np.zeros((4, 3)))},
                ValueError,
                "expected params with input and output of one shape [V, D], got [5, 3] and [4, 3].",
            ),
        ],
    ),
    *rows(
        ("skip_gram", "cbow", "word2vec_loss", "ContextWindows"),
        WORDS,
        [
            ({"windows": None}, TypeError, "expected ContextWindows, got NoneType."),
            ({"windows": tuple(WINDOWS)}, TypeError, "expected ContextWindows, got tuple."),
            ({"windows": WINDOWS._replace(mask=None)}, TypeError, f"mask: {NO_ARRAY}NoneType."),
            (
                {"windows": WINDOWS._replace(mask=WINDOWS.contexts)},
                TypeError,
                "expected mask as bool flags, got int64.",
            ),
            (
                {"windows": WINDOWS._replace(centers=np.array([1.0, 2.0]))},
                TypeError,
                "expected centers as integers, got float64.",
            ),
            (
                {"windows": WINDOWS._replace(centers=np.array([9, 1]))},
                ValueError,
                "expected centers from 0 to 4, got 9 at step 0.",
            ),
            (
                {"windows": WINDOWS._replace(contexts=NEGATIVES)},
                ValueError,
                f"{NO_WINDOWS}[2], [2, 1] and [2, 2].",
            ),
            ({"windows": WINDOWS._replace(centers=3)}, ValueError, f"{NO_WINDOWS}[], [2, 2] and ["),
        ],
    ),
    *rows(
        ("skip_gram", "cbow"),
        WORDS,
        [
            ({"negatives": None}, TypeError, f"word2vec: negatives: {NO_ARRAY}NoneType."),
            ({"negatives": NEGATIVES * 1.0}, TypeError, "negatives as integers, got float64."),
            ({"negatives": NEGATIVES > 0}, TypeError, "negatives as integers, got bool."),
            ({"negatives": NEGATIVES + 9}, ValueError, "from 0 to 4, got 9 at step 0 of row 0."),
            ({"negatives": NEGATIVES[:1]}, ValueError, "the 2 windows, [2, K], got [1, 1]."),
        ],
    ),
    Row(
        "word2vec_loss",
        lambda: loss_of(Word2Vec(VECTORS.input[:3], VECTORS.output[:3])),
        ValueError,
        "expected params of the 5 words of the noise, got 3.",
    ),
]
NAMED = WordVectors(("a", "b"), np.eye(2))


def load(content):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "vectors"
        path.write_bytes(content)
        WordVectors.load(path)


OF_VECTORS = [
    *(
        Row("WordVectors", functools.partial(WordVectors, words, matrix), error, end)
        for words, matrix, error, end in (
            ("ab", np.eye(2), TypeError, "expected words as a sequence of strings, got 'ab'."),
            (None, np.eye(2), TypeError, "expected words as a sequence of strings, got None."),
            (("a", 3), np.eye(2), TypeError, "WordVectors: expected words as strings, got 3."),
            (("a", "a"), np.eye(2), ValueError, "expected each word once, got 'a' again."),
            (("a",), np.eye(2), ValueError, "a row for each of the 1 words, got a matrix of shape"),
            (("a", "b"), None, TypeError, f"WordVectors: matrix: {NO_REALS}NoneType."),
            (("a", "b"), [[1.0], [1.0, 2.0]], TypeError, f"WordVectors: matrix: {NO_REALS}list."),
            (("a", "b"), np.eye(2, dtype=int), TypeError, "a matrix of floats, got int64."),
            (("a", "b"), np.eye(2) * np.nan, ValueError, "finite numbers, got others for 'a'."),
        )
    ),
    *(
        Row("WordVectors", functools.partial(call, word), error, end)
        for call in (
            NAMED.__getitem__,
            functools.partial(NAMED.similarity, "a"),
            functools.partial(NAMED.analogy, "a", "b"),
        )
        for word, error, end in (
            (3, TypeError, "expected a word as a string, got 3."),
            (["a"], TypeError, "expected a word as a string, got ['a']."),
            ("x", ValueError, "'x' is none of the 2 words with a vector."),
        )
    ),
    *(
        Row("WordVectors", functools.partial(NAMED.nearest, near), error, f"nearest: {end}")
        for near, error, end in (
            (None, TypeError, f"a vector: {NO_REALS}NoneType."),
            ([1j, 1], TypeError, f"a vector: {NO_REALS}complex128."),
            (np.ones(3), ValueError, "expected a word, or a vector of 2 numbers, got the shape [3"),
            ([np.nan, 1], ValueError, "expected a vector of finite numbers, got [nan, 1.0]."),
        )
    ),
    *wholes("WordVectors", "how many words", 1, lambda n: NAMED.nearest("a", n)),
    Row(
        "WordVectors", lambda: load(b"a"), ValueError, "a file that WordVectors.save wrote, got an"
    ),
    *(
        Row("as_embedding", functools.partial(as_embedding, *given), error, f"as_embedding: {end}")
        for given, error, end in (
            ((None,), TypeError, "expected WordVectors, got NoneType."),
            ((VECTORS,), TypeError, "expected WordVectors, got Word2Vec."),
            ((NAMED, "ab"), TypeError, "expected tokens as a sequence of strings, got 'ab'."),
            ((NAMED, 3), TypeError, "expected tokens as a sequence of strings, got 3."),
            ((NAMED, ["a", 3]), TypeError, "expected tokens as strings, got 3."),
            ((NAMED, []), ValueError, "expected at least one token, got none."),
        )
    ),
    *wholes("pca", "pca: n", 1, lambda n: pca(np.eye(3), n)),
    *(
        Row("pca", functools.partial(pca, points), error, f"pca: {end}")
        for points, error, end in (
            (None, TypeError, f"points: {NO_REALS}NoneType."),
            ("ab", TypeError, f"points: {NO_REALS}str."),
            ([[1], [1, 2]], TypeError, f"points: {NO_REALS}list."),
            (np.eye(2) * 1j, TypeError, f"points: {NO_REALS}complex128."),
            (
                np.eye(1),
                ValueError,
                "expected points [N, D] of at least 2 rows and columns, got [1",
            ),
            (np.eye(2) * np.nan, ValueError, "expected points of finite numbers, got others."),
        )
    ),
]


def of_crf(function, *tags):
    def call(crf=MODEL_CRF, scores=SCORES, tags=tags, **options):
        return function(crf, scores, *tags, **options)

    return call


MODEL_CRF = CRF(np.zeros((2, 2)), np.zeros(2), np.zeros(2))
CRFS = {
    "crf_log_likelihood": of_crf(crf_log_likelihood, IDS),
    "crf_decode": of_crf(crf_decode),
    "crf_marginals": of_crf(crf_marginals),
}
NO_CRFS = [
    (None, TypeError, "crf_decode: expected a CRF, got NoneType."),
    (CHAIN, TypeError, "crf_decode: expected a CRF, got MarkovChain."),
    (MODEL_CRF._replace(start=None), TypeError, "start: expected an array of numbers or flags"),
    (MODEL_CRF._replace(end=IDS[:2]), TypeError, "expected end as floats, got int64."),
    (
        MODEL_CRF._replace(end=SCORES[0, :1]),
        ValueError,
        "of [S, S], start and end of [S], got transitions [2, 2], start [2], end [1].",
    ),
    (MODEL_CRF._replace(transitions=SCORES), ValueError, "got transitions [4, 2], start [2], end"),
]
OF_CRFS = [
    *(
        Row("CRF", functools.partial(CRFS["crf_decode"], crf=crf), error, sentence)
        for crf, error, sentence in NO_CRFS
    ),
    *rows(
        CRFS,
        CRFS,
        [
            ({"crf": 3}, TypeError, "{name}: expected a CRF, got int."),
            ({"scores": None}, TypeError, f"{{name}}: scores: {NO_ARRAY}NoneType."),
            ({"scores": IDS}, TypeError, "{name}: expected scores as floats, got int64."),
            (
                {"scores": SCORES[:, :1]},
                ValueError,
                "scores of [T, 2], one for each tag, got [4, 1",
            ),
            ({"scores": SCORES[None]}, ValueError, "got [1, 4, 2]. Use jax.vmap for rows."),
            ({"length": 9}, ValueError, f"{NO_LENGTH}9."),
            ({"length": 1.5}, TypeError, "length: expected an integer, got float64."),
            ({"mask": IDS}, TypeError, "mask: expected bool flags, got int64."),
            ({"mask": IDS[:2] > 0}, ValueError, "one flag per step, of shape [4], got [2]."),
            ({"reset": IDS}, TypeError, "reset: expected bool flags, got int64."),
            ({"reset": IDS[:2] > 0}, ValueError, "one flag per step, of shape [4], got [2]."),
            ({"parallel": 1}, TypeError, "{name}: parallel: expected True or False, got 1."),
        ],
    ),
    *rows(
        ("crf_log_likelihood",),
        CRFS,
        [
            ({"tags": ("a",)}, TypeError, f"crf_log_likelihood: tags: {NO_ARRAY}str."),
            ({"tags": (IDS * 1.0,)}, TypeError, "expected integer tags, got float64."),
            ({"tags": (IDS[:3],)}, ValueError, "expected tags of [4], got [3]."),
            ({"tags": (IDS[None],)}, ValueError, "expected tags of [4], got [1, 4]."),
            ({"tags": (IDS + 1,)}, ValueError, "expected tags from 0 to 1, got 2 at step 1."),
        ],
    ),
    *wholes("init_crf", "init_crf: tags", 1, init_crf),
    Row(
        "init_crf",
        lambda: init_crf(2, param_dtype=int),
        TypeError,
        "init_crf: expected param_dtype as a real floating-point dtype",
    ),
    *(
        Row("bio_constraints", functools.partial(bio_constraints, tags), error, sentence)
        for tags, error, sentence in (
            (3, TypeError, "bio_constraints: expected tags as a sequence of strings, got 3."),
            ("BIO", TypeError, "expected tags as a sequence of strings, got 'BIO'."),
            ([0, 1], TypeError, "expected tags as a sequence of strings, got [0, 1]."),
            ([], ValueError, "and a B-X for each I-X, got []."),
            (["O", "O"], ValueError, "and a B-X for each I-X, got ['O', 'O']."),
            (["O", "S-PER"], ValueError, "and a B-X for each I-X, got 'S-PER'."),
            (["O", "I-PER", "B-LOC"], ValueError, "and a B-X for each I-X, got 'I-PER'."),
        )
    ),
]
ROWS = [
    *OF_ALGORITHMS,
    *OF_CRFS,
    *OF_FILTERING,
    *OF_PROBABILITIES,
    *OF_CHAINS,
    *OF_FITS,
    *OF_NGRAMS,
    *OF_CONTEXTS,
    *OF_NOISE,
    *OF_LAYERS,
    *OF_SERIES,
    *OF_WORDS,
    *OF_VECTORS,
]


@each_row(ROWS)
def test_wrong_input(row):
    row.check()


RECORDS = {
    "Filtered",
    "Level",
    "NGramTable",
    "Smoothed",
    "autoregressive.Criteria",
    "autoregressive.Forecast",
}  # made by the library, never by hand


def test_every_function_and_class_has_five():
    counts = collections.Counter(row.name for row in ROWS)
    names = {name for name in classic.__all__ if not inspect.ismodule(getattr(classic, name))}
    names |= {"baum_welch.update"}
    titles = {
        "autoregressive": autoregressive,
        "hidden_markov": hidden_markov,
        "markov": markov,
    }
    for title, room in titles.items():
        names |= {f"{title}.{name}" for name in set(room.__all__) - names}
    assert {name: counts[name] for name in names - RECORDS if counts[name] < 5} == {}
