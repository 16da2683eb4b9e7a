import re
import zipfile

import jax
import numpy as np
import pytest
from flax import linen as nn

import recur
from recur.classic.word_vectors import WordVectors, as_embedding, pca
from recur_tests.helpers import assert_close

WORDS = ("cat", "cats", "dog", "dogs", "the", "nil")
MATRIX = np.array(
    [[1.0, 0, 1, 0], [1, 1, 1, 0], [-1, 0, 1, 0], [-2, 2, 2, 0], [0, 0, 0, -3], [0, 0, 0, 0]]
)
VECTORS = WordVectors(WORDS, MATRIX)


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def test_nearest_are_ordered_by_cosine():
    vector = np.array([0.3, -0.2, 0.5, 0.1])
    found = VECTORS.nearest(vector, 5)
    assert {word for word, _ in found} | {"the", "nil"} == set(WORDS)
    for word, near in found:
        expected = 0.0 if word == "nil" else cosine(vector, VECTORS[word])
        assert near == pytest.approx(expected, abs=1e-12)
    assert [near for _, near in found] == sorted((near for _, near in found), reverse=True)
    assert [word for word, _ in VECTORS.nearest("cat", 2)] == ["cats", "dog"]
    assert "cat" not in dict(VECTORS.nearest("cat", 99)) and len(VECTORS.nearest("cat", 99)) == 5
    assert VECTORS.nearest(MATRIX[0], 1)[0] == ("cat", pytest.approx(1))
    assert VECTORS.similarity("cats", "dogs") == pytest.approx(cosine(MATRIX[1], MATRIX[3]))


def test_analogies_add_directions_not_lengths():
    for a, b, c, d in (("cat", "cats", "dog", "dogs"), ("dogs", "dog", "cats", "cat")):
        found = VECTORS.analogy(a, b, c, 6)
        unit = [VECTORS[word] / np.linalg.norm(VECTORS[word]) for word in (a, b, c)]
        assert found[0] == (d, pytest.approx(cosine(unit[1] - unit[0] + unit[2], VECTORS[d])))
        assert {word for word, _ in found} == {d, "the", "nil"}
    assert len(VECTORS.analogy("cat", "cats", "dog")) == 1


def test_a_file_holds_them(tmp_path):
    vectors = WordVectors(("ein", "Größe", "日本"), MATRIX[:3].astype(np.float32))
    vectors.save(tmp_path / "bare")
    again = WordVectors.load(tmp_path / "bare")
    assert again.words == vectors.words and again.matrix.dtype == np.float32
    np.testing.assert_array_equal(again.matrix, vectors.matrix)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare"]


def test_one_long_word_costs_its_own_length(tmp_path):
    words = (*(f"w{n}" for n in range(5000)), "http://" + "a" * 3000, "ends in zeros\0\0", "")
    vectors = WordVectors(words, np.zeros((5003, 4), np.float32))
    vectors.save(tmp_path / "file")
    assert (tmp_path / "file").stat().st_size < 200_000  # and not 60 MB
    assert WordVectors.load(tmp_path / "file").words == words


def test_what_was_saved_before_is_there_until_it_is_replaced(tmp_path, monkeypatch):
    path = tmp_path / "file"
    VECTORS.save(path)

    def fail(*args, **options):
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="no space left"):
        WordVectors(("a",), MATRIX[:1]).save(path)
    assert WordVectors.load(path).words == VECTORS.words
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_only_files_of_its_own_are_replaced(tmp_path):
    path = tmp_path / "file"
    for content in (b"", None):  # an empty file, and one of vectors
        if content is not None:
            path.write_bytes(content)
        VECTORS.save(path)
    np.savez(tmp_path / "other.npz", matrix=MATRIX)
    (tmp_path / "notes.txt").write_text("mine")
    for name in ("other.npz", "notes.txt"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(ValueError, match=f"{name}: expected a new file, or one that WordVec"):
            VECTORS.save(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before


def test_sizes_beyond_the_file_are_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "file"
    stated = {"one_array": "(10000000000000, 1)", "of_nothing": "(10000000000000, 0)"}
    for name, shape in stated.items():
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        array = b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header
        VECTORS.save(path)
        with zipfile.ZipFile(path) as archive:
            kept = {entry: archive.read(entry) for entry in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for entry, data in (kept | {"matrix.npy": array}).items():
                archive.writestr(entry, data)
        with pytest.raises(ValueError, match="expected a file that WordVectors.save wrote"):
            WordVectors.load(path), name
    bomb = np.zeros(10**7, np.uint8)
    np.savez_compressed(tmp_path / "bomb.npz", utf8=bomb, ends=np.array([10**7]), matrix=MATRIX)
    with pytest.raises(ValueError, match="arrays of more than the .* bytes of the file"):
        WordVectors.load(tmp_path / "bomb.npz")


def test_vectors_of_16_bits_are_held_in_32():
    matrix = np.array([[300.0, 1.0], [300.0, 2.0]])  # whose square is no float16
    for dtype in (np.float16, jax.numpy.bfloat16):
        vectors = WordVectors(("a", "b"), matrix.astype(dtype))
        assert vectors.matrix.dtype == np.float32 and vectors.similarity("a", "b") > 0.99


def test_files_that_are_others(tmp_path):
    with pytest.raises(FileNotFoundError):
        WordVectors.load(tmp_path / "none")
    path = tmp_path / "file"
    np.savez(tmp_path / "other.npz", words=np.array(["a"]))
    np.save(tmp_path / "one.npy", MATRIX)
    np.savez(tmp_path / "objects.npz", words=np.array([{}]), matrix=MATRIX)
    (tmp_path / "text").write_text("no vectors")
    (tmp_path / "empty").write_bytes(b"")
    VECTORS.save(path)
    (tmp_path / "half").write_bytes(path.read_bytes()[:200])
    np.savez(tmp_path / "twice.npz", words=np.array(["a", "a"]), matrix=MATRIX[:2])
    for name in ("other.npz", "one.npy", "objects.npz", "text", "empty", "half", "twice.npz"):
        message = re.escape(f"{tmp_path / name}: expected a file that WordVectors.save wrote")
        with pytest.raises(ValueError, match=message):
            WordVectors.load(tmp_path / name)


def test_a_model_embeds_with_them():
    vectors, tokens = WordVectors(WORDS, MATRIX.astype(np.float32)), ("<unk>", *WORDS[::-1])
    model = recur.chain(nn.Embed(len(tokens), 4), recur.scan(recur.elman(3)))
    ids = np.arange(len(tokens))
    drawn, *rest = model.init(jax.random.key(0), ids)
    params = as_embedding(vectors, tokens)
    assert jax.tree.structure(params) == jax.tree.structure(drawn)
    expected = np.concatenate([vectors.matrix.mean(0, keepdims=True), vectors.matrix[::-1]])
    np.testing.assert_array_equal(recur.chain(nn.Embed(len(tokens), 4))((params,), ids), expected)
    by_hand = recur.scan(recur.elman(3))(rest[0], expected)
    assert_close(model((params, *rest), ids), by_hand, 1e-6)
    own = recur.chain(nn.Embed(len(vectors), 4))
    np.testing.assert_array_equal(own((as_embedding(vectors),), np.arange(6)), vectors.matrix)


def test_projections_keep_what_varies_most():
    draws = np.random.default_rng(0)
    points = draws.standard_normal((40, 5)) * [1, 9, 0.1, 3, 0.5] + 7
    found = pca(points, 3)
    covariance = np.cov(found.T)
    variances = np.sort(np.linalg.eigvalsh(np.cov(points.T)))[::-1]
    np.testing.assert_allclose(covariance, np.diag(variances[:3]), atol=1e-9)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-9)
    weights = np.linalg.lstsq(points - points.mean(0), found, rcond=None)[0]
    assert (weights.max(0) == np.abs(weights).max(0)).all()
    assert pca(points).shape == (40, 2)


def test_there_is_a_row_for_each_word():
    assert len(VECTORS) == 6 and "cat" in VECTORS and "cow" not in VECTORS
    np.testing.assert_array_equal(VECTORS["dogs"], MATRIX[3])
    np.testing.assert_allclose(np.linalg.norm(VECTORS.unit, axis=1), [1, 1, 1, 1, 1, 0])


def test_words_without_a_vector_are_told_with_what_is_near():
    asks = [VECTORS.nearest, VECTORS.__getitem__, lambda w: VECTORS.similarity("the", w)]
    asks += [
        lambda w, n=n: VECTORS.analogy(*"cat dog".split()[:n], w, *["the"] * (2 - n))
        for n in range(3)
    ]
    for ask in asks:
        with pytest.raises(
            ValueError, match="'cast' is none of the 6 words with a vector. Did you mean 'cat'"
        ):
            ask("cast")
    with pytest.raises(ValueError, match=r"with a vector\.$"):
        VECTORS.nearest("xyz")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: WordVectors(WORDS, MATRIX.astype(int)),
            TypeError,
            "matrix of floats, got int64",
        ),
        (
            lambda: WordVectors(WORDS[:5], MATRIX),
            ValueError,
            r"of the 5 words, got .* \[6, 4\]",
        ),
        (lambda: WordVectors(WORDS, MATRIX[:, 0]), ValueError, r"got a matrix of shape \[6\]"),
        (
            lambda: WordVectors(WORDS, MATRIX / MATRIX),
            ValueError,
            "finite .*, got .* for 'cat'",
        ),
        (lambda: WordVectors((*WORDS[:5], "dog"), MATRIX), ValueError, "once, got 'dog' again"),
        (lambda: VECTORS.nearest(np.ones(3)), ValueError, r"vector of 4 numbers, got .* \[3\]"),
        (lambda: VECTORS.nearest("cat", 0), ValueError, "how many words: expected a whole number"),
        (lambda: pca(MATRIX, 5), ValueError, r"at least 5 rows and columns, got \[6, 4\]"),
        (lambda: pca(MATRIX[0]), ValueError, r"expected points \[N, D\]"),
    ],
)
def test_wrong_input(call, error, message):
    with np.errstate(invalid="ignore"), pytest.raises(error, match=message):
        call()
