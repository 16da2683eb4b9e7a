"""Files of params, against safetensors' own functions for NumPy."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
from flax import linen as nn
from safetensors.numpy import load_file, save_file

import recur
from recur.train import by_path, load_params, params_file, read_metadata, save_params

MODEL = recur.chain(recur.scan(recur.lstm(3)), recur.scan(recur.gru(2)), nn.Dense(2))
XS = jnp.ones((4, 3))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def same(found, expected):
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert np.asarray(found).tobytes() == np.asarray(expected).tobytes()


def test_a_model_round_trips_and_the_library_reads_it(path):
    params = MODEL.init(jax.random.key(0), XS)
    save_params(str(path), params, {"cell": "lstm", "é\n": ""})
    loaded = load_params(path, like=jax.eval_shape(MODEL.init, jax.random.key(1), XS))
    assert jax.tree.structure(loaded) == jax.tree.structure(params)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loaded))
    jax.tree.map(same, loaded, params)
    by_library = load_file(path)
    flat = load_params(path)
    assert flat.keys() == by_library.keys()
    for name, leaf in flat.items():
        same(leaf, by_library[name])
        assert sum(jax.tree.leaves(by_path(name)(params))) == 1
    assert read_metadata(path) == {"cell": "lstm", "é\n": ""}
    with safetensors.safe_open(path, framework="numpy") as file:
        assert file.metadata() == {"cell": "lstm", "é\n": ""}


def test_files_of_the_library_are_read(path):
    arrays = {"a/b": np.arange(6.0).reshape(2, 3), "c": np.array(True)}
    save_file(arrays, path)
    loaded = load_params(path, like={"a": {"b": np.zeros((2, 3))}, "c": True})
    same(loaded["a"]["b"], arrays["a/b"])
    assert loaded["c"] is True and read_metadata(path) == {}


@pytest.mark.filterwarnings("ignore:.* are NaN:UserWarning")
@pytest.mark.parametrize("dtype", params_file._DTYPES.values())
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (2, 3)])
def test_every_dtype_and_shape_is_exact(path, dtype, shape):
    size = int(np.prod(shape)) * jnp.dtype(dtype).itemsize
    data = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 256, size, np.uint8)
    array = np.frombuffer(data.tobytes(), jnp.dtype(dtype)).reshape(shape)  # with NaN payloads
    save_params(path, [array])
    same(load_params(path)["0"], array)
    for kind in (np.asarray, jnp.asarray, lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype)):
        (loaded,) = load_params(path, like=[kind(np.zeros(shape, array.dtype))])
        same(loaded, array)
        assert isinstance(loaded, np.ndarray if kind is np.asarray else jax.Array)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_a_nan_is_saved_with_a_warning(path, dtype):
    params = {"a": np.ones(2), "b": np.array([1, np.nan, np.inf], jnp.dtype(dtype))}
    with pytest.warns(
        UserWarning, match="save_params: params: 1 of 3 entries of 'b' are NaN. Save"
    ):
        save_params(path, params)
    same(load_params(path)["b"], params["b"])


def test_numbers_keep_their_types(path):
    params = [True, 3, -0.5, np.float32(7), np.int8(-3), np.array(2.5)]
    save_params(path, params)
    loaded = load_params(path, like=[False, 0, 0.0, np.float32(0), np.int8(0), np.array(0.0)])
    assert loaded == params
    assert [type(each) for each in loaded] == [type(each) for each in params]


@pytest.mark.parametrize("params", [{}, (), None, {"a": None}])
def test_no_arrays(path, params):
    for metadata in (None, {}, {"a": "b"}):
        save_params(path, params, metadata)
        assert load_params(path) == load_file(path) == {}
        assert read_metadata(path) == (metadata or {})
        if params is not None:
            assert load_params(path, like=params) == params


@pytest.mark.parametrize("name", ["", "a b", "é/ü", '"\\', "\n\0", "0", "a.b", "['a']", "🙂"])
def test_odd_names(path, name):
    save_params(path, {name: np.arange(3)})
    assert list(load_params(path)) == list(load_file(path)) == [name]
    same(load_params(path, like={name: np.zeros(3, int)})[name], np.arange(3))


def test_one_array_has_an_empty_name(path):
    save_params(path, jnp.arange(3.0))
    assert list(load_params(path)) == [""]
    same(load_params(path, like=jnp.zeros(3)), np.arange(3.0))


def test_any_layout_in_memory(path):
    array = np.arange(12.0).reshape(3, 4)
    params = {"t": array.T, "step": array[::2, ::-1], "big": array.astype(">f8"), "f": array[:, 0]}
    save_params(path, params)
    for name, leaf in load_file(path).items():
        same(leaf, np.ascontiguousarray(params[name].astype("<f8")))
    same(load_params(path, like=params)["big"], array)


def test_sharded_arrays_are_saved_whole(path):
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    array = jnp.arange(8.0).reshape(4, 2)
    sharded = jax.device_put(array, sharding)
    save_params(path, {"w": sharded, "b": jnp.ones(2)})
    same(load_file(path)["w"], array)
    for w in (sharded, jax.ShapeDtypeStruct((4, 2), array.dtype, sharding=sharding)):
        loaded = load_params(path, like={"w": w, "b": jnp.zeros(2)})
        assert loaded["w"].sharding == sharding and not loaded["b"].committed
        same(loaded["w"], array)


def test_a_failed_write_changes_nothing(path, monkeypatch):
    save_params(path, {"a": np.ones(2)})
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_params(path, {"a": np.zeros(99)})
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_float64_array_is_never_rounded(path):
    save_params(path, {"a": np.ones(2)})
    like = {"a": jax.ShapeDtypeStruct((2,), np.float64)}
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match="got float64, which needs jax.config.update"):
            load_params(path, like=like)
        assert load_params(path)["a"].dtype == np.float64


@pytest.mark.parametrize("function", [save_params, load_params, read_metadata])
def test_without_safetensors(path, monkeypatch, function):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=rf"{function.__name__} needs .*recur-jax\[train\]"):
        function(path, {}) if function is save_params else function(path)
