"""Sampling the next input from a distribution that the outputs of one step parameterize.

`gaussian`, `gaussian_mixture` and `bernoulli` make functions `(y, key) -> x` for the argument
`next_input` of `generate`, `free_running` and `scheduled_sampling`. Those made by equal calls are
equal and hashable, and their temperatures are leaves of a pytree, as of the choosers.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from recur.arrays import as_array, check_one_number
from recur.checks import describe, known_value
from recur.decode.next_input import NextInput
from recur.dtypes import as_float
from recur.keys import check_key


def gaussian(temperature: float | jax.Array = 1.0) -> NextInput:
    """Samples the next input from a Gaussian, given its means and standard deviations.

        x = mean + sqrt(temperature) · stddev · ε,    ε ~ N(0, I)

    `recur.train.gaussian_nll` is the loss of the same outputs.

    Args:
      temperature: multiplies the variance; at 0, x is the mean, and no key is needed. It may be
        traced.

    Returns:
      `(y, key) -> x` for outputs y = `(means, stddevs)`, a tuple of arrays `[..., D]`; x is
      `[..., D]`.

    Raises:
      TypeError: if temperature is not one number; of the function, if y is not such a tuple, or the
        key is missing.
      ValueError: if temperature is below 0; of the function, if the shapes differ.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.decode import gaussian
      >>> y = jnp.array([1.0, 2.0]), jnp.array([0.5, 0.0])
      >>> gaussian(0)(y, None).tolist(), gaussian()(y, jax.random.key(0))[1].item()
      ([1.0, 2.0], 2.0)
    """
    return _Gaussian(_check_temperature("gaussian", temperature))


def gaussian_mixture(temperature: float | jax.Array = 1.0) -> NextInput:
    """Samples the next input from a mixture of Gaussians (mixture density network).

        k ~ softmax(logits / temperature)
        x = mean_k + sqrt(temperature) · stddev_k · ε,    ε ~ N(0, I)

    `recur.train.gaussian_mixture_nll` is the loss of the same outputs.

    Args:
      temperature: divides the logits and multiplies the variances; at 0, x is the mean of the most
        likely component, and no key is needed. It may be traced.

    Returns:
      `(y, key) -> x` for outputs y = `(logits, means, stddevs)`, a tuple of arrays `[..., K]`,
      `[..., K, D]` and `[..., K, D]`; x is `[..., D]`.

    Raises:
      TypeError: if temperature is not one number; of the function, if y is not such a tuple, or the
        key is missing.
      ValueError: if temperature is below 0; of the function, if the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from recur.decode import gaussian_mixture
      >>> logits, means = jnp.array([0.0, 1.0]), jnp.array([[1.0, 2.0], [3.0, 4.0]])
      >>> gaussian_mixture(0)((logits, means, jnp.ones((2, 2))), None).tolist()
      [3.0, 4.0]

    References:
      Graves 2013, Generating Sequences With Recurrent Neural Networks,
      https://arxiv.org/abs/1308.0850
      Ha & Eck 2017, A Neural Representation of Sketch Drawings, https://arxiv.org/abs/1704.03477
    """
    return _GaussianMixture(_check_temperature("gaussian_mixture", temperature))


def bernoulli(temperature: float | jax.Array = 1.0) -> NextInput:
    """Samples the next input from independent Bernoulli distributions, such as a piano roll.

        p(x_i = 1) = sigmoid(logit_i / temperature)

    Args:
      temperature: divides the logits; at 0, x is 1 where its probability is above 0.5, and no key
        is needed. It may be traced.

    Returns:
      `(y, key) -> x` for logits y, an array; x is bool of the same shape.

    Raises:
      TypeError: if temperature is not one number; of the function, if y is not an array, or the key
        is missing.
      ValueError: if temperature is below 0.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from recur.decode import bernoulli
      >>> bernoulli()(jnp.array([-100.0, 100.0]), jax.random.key(0)).tolist()
      [False, True]

    References:
      Boulanger-Lewandowski, Bengio & Vincent 2012, Modeling Temporal Dependencies in
      High-Dimensional Sequences, https://arxiv.org/abs/1206.6392
    """
    return _Bernoulli(_check_temperature("bernoulli", temperature))


@partial(jax.tree_util.register_dataclass, data_fields=["temperature"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class _Gaussian:
    temperature: float | jax.Array | None  # None for 0

    def __call__(self, y: Any, key: jax.Array | None = None) -> jax.Array:
        means, stddevs = _parts("gaussian", y, "means", "stddevs")
        _check_shape("gaussian", "stddevs", stddevs, means.shape)
        if self.temperature is None:
            return means
        return _draw(means, stddevs, self.temperature, _check_key("gaussian", key))


@partial(jax.tree_util.register_dataclass, data_fields=["temperature"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class _GaussianMixture:
    temperature: float | jax.Array | None  # None for 0

    def __call__(self, y: Any, key: jax.Array | None = None) -> jax.Array:
        logits, means, stddevs = _parts("gaussian_mixture", y, "logits", "means", "stddevs")
        _check_shape("gaussian_mixture", "means", means, (*logits.shape, *means.shape[-1:]))
        _check_shape("gaussian_mixture", "stddevs", stddevs, means.shape)
        if self.temperature is None:
            return _take_component(means, logits.argmax(-1))
        component_key, noise_key = jax.random.split(_check_key("gaussian_mixture", key))
        divided = logits / _cast(self.temperature, logits)
        component = jax.random.categorical(component_key, divided)
        means, stddevs = (_take_component(each, component) for each in (means, stddevs))
        return _draw(means, stddevs, self.temperature, noise_key)


@partial(jax.tree_util.register_dataclass, data_fields=["temperature"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class _Bernoulli:
    temperature: float | jax.Array | None  # None for 0

    def __call__(self, y: Any, key: jax.Array | None = None) -> jax.Array:
        logits = _as_floats("bernoulli: logits", y)
        if self.temperature is None:
            return logits > 0
        p = jax.nn.sigmoid(logits / _cast(self.temperature, logits))
        return jax.random.bernoulli(_check_key("bernoulli", key), p)


def _draw(means: jax.Array, stddevs: jax.Array, temperature: Any, key: jax.Array) -> jax.Array:
    scale = jnp.sqrt(_cast(temperature, means)) * stddevs.astype(means.dtype)
    return means + scale * jax.random.normal(key, means.shape, means.dtype)


def _take_component(values: jax.Array, component: jax.Array) -> jax.Array:
    """Takes one component of values `[..., K, D]`."""
    return jnp.take_along_axis(values, component[..., None, None], axis=-2)[..., 0, :]


def _cast(number: Any, like: jax.Array) -> jax.Array:
    return jnp.asarray(number).astype(like.dtype)


def _parts(caller: str, y: Any, *names: str) -> list[jax.Array]:
    """Returns the parameters of a distribution, at least float32."""
    if not isinstance(y, (tuple, list)) or len(y) != len(names):
        raise TypeError(
            f"{caller}: expected outputs as a tuple ({', '.join(names)}), got {describe(y)}."
        )
    return [_as_floats(f"{caller}: {name}", value) for name, value in zip(names, y, strict=True)]


def _as_floats(name: str, value: Any) -> jax.Array:
    array = as_array(name, value)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name}: expected real numbers, got {array.dtype}.")
    return as_float(array)


def _check_shape(caller: str, name: str, array: jax.Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(
            f"{caller}: expected {name} of the shape {list(shape)}, got {list(array.shape)}."
        )


def _check_key(caller: str, key: Any) -> jax.Array:
    if key is None:
        raise TypeError(
            f"{caller}: expected a typed key to sample with, got None. Pass one, such as "
            f"jax.random.key(0), or the temperature 0: {caller}(0)."
        )
    return check_key(key)


def _check_temperature(caller: str, value: Any) -> Any:
    """Returns the temperature, or None if it is known to be 0."""
    check_one_number(f"{caller}: temperature", value)
    known = known_value(value)
    if known is not None and not 0 <= known < jnp.inf:
        raise ValueError(f"{caller}: expected a finite temperature of at least 0, got {value}.")
    return None if known is not None and known == 0 else value
