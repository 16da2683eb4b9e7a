"""Log-mel features of a sound."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from recur.arrays import as_reals
from recur.checks import check_whole, is_number


def log_mel(
    signal: Any,
    rate: int,
    *,
    num_mels: int = 40,
    window: float = 0.025,
    hop: float = 0.010,
    low: float = 0.0,
    high: float | None = None,
    floor: float = 1e-10,
) -> np.ndarray:
    """Computes log-mel features (log mel filter bank energies) of a sound, in NumPy.

        X_t = DFT(hann * x_{t hop .. t hop + window})
        y_{t,m} = log max(floor, Σ_f w_{m,f} |X_{t,f}|²)

    The filters are triangles of height 1 over frequency. Their corners are equally spaced on the
    mel scale of HTK, mel(f) = 2595 log10(1 + f / 700), and each filter reaches from the center of
    the one before it to that of the one after it. The window is a periodic Hann window, padded with
    zeros to a power of 2. It equals the natural logarithm of `librosa.feature.melspectrogram` with
    `htk=True, norm=None` where both take the same frames.

    It is in NumPy because sounds differ in length, and `jax.jit` compiles for each length.

    Args:
      signal: real numbers `[N]`, usually from -1 to 1, of one channel.
      rate: samples per second.
      num_mels: M, the number of filters.
      window: length of a window in seconds.
      hop: distance of the starts of two windows in seconds.
      low: the lowest frequency of a filter, in Hz.
      high: the highest; rate / 2 by default.
      floor: the least energy, so that the logarithm of silence is finite.

    Returns:
      float32 `[T, M]` with T = 1 + (N - W) // H for windows of W samples and hops of H samples.

    Raises:
      TypeError: if the signal does not hold real numbers.
      ValueError: if the signal is not `[N]`, is shorter than a window, or holds NaN or infinity; if
        a number is out of range; or if a filter is so narrow that it has no frequency of the DFT.

    Example:
      >>> import numpy as np
      >>> from recur.sequences import log_mel
      >>> tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)  # one second
      >>> features = log_mel(tone, 8000, num_mels=24)
      >>> features.shape, int(features[0].argmax())
      ((98, 24), 5)

    References:
      Davis & Mermelstein 1980, Comparison of Parametric Representations for Monosyllabic Word
      Recognition in Continuously Spoken Sentences, https://doi.org/10.1109/TASSP.1980.1163420
    """
    rate, num_mels = (
        check_whole("log_mel: rate", rate, 1),
        check_whole("log_mel: num_mels", num_mels, 1),
    )
    high = rate / 2 if high is None else high
    for name, value in {"window": window, "hop": hop, "floor": floor}.items():
        if not is_number(value) or not 0 < value < math.inf:
            raise ValueError(f"log_mel: expected {name} as a number above 0, got {value!r}.")
    if not is_number(low) or not is_number(high) or not 0 <= low < high <= rate / 2:
        raise ValueError(
            f"log_mel: expected frequencies with 0 <= low < high <= {rate / 2:g}, half of the "
            f"rate, got low={low!r} and high={high!r}."
        )
    size, step = max(1, round(window * rate)), max(1, round(hop * rate))
    samples = _check_signal(signal, size)
    width = 1 << (size - 1).bit_length()
    filters = _filters(rate, width, num_mels, float(low), float(high))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::step]
    power = np.abs(np.fft.rfft(frames * hann, width)) ** 2
    return np.log(np.maximum(floor, power @ filters)).astype(np.float32)


def hz_to_mel(frequency: float) -> float:
    """The mel scale of HTK: 1,000 mel at 1,000 Hz."""
    return 2595 * math.log10(1 + frequency / 700)


@functools.lru_cache(maxsize=8)
def _filters(rate: int, width: int, num_mels: int, low: float, high: float) -> np.ndarray:
    """The weights of the filters, `[width / 2 + 1, M]`."""
    mels = np.linspace(hz_to_mel(low), hz_to_mel(high), num_mels + 2)
    corners = 700 * (10 ** (mels / 2595) - 1)
    bins = np.arange(width // 2 + 1)[:, None] * rate / width
    left, center, right = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (bins - left) / (center - left), (right - bins) / (right - center)
    weights = np.maximum(0, np.minimum(rising, falling))
    empty = np.flatnonzero(weights.max(0) == 0)
    if len(empty):
        raise ValueError(
            f"log_mel: expected filters that are wider than {rate / width:.1f} Hz, the distance of "
            f"two frequencies, got {len(empty)} of {num_mels} without a frequency. Use fewer "
            "filters, or a longer window."
        )
    return weights


def _check_signal(signal: Any, size: int) -> np.ndarray:
    samples = as_reals("log_mel: signal", signal)
    if samples.ndim != 1:
        raise ValueError(
            f"log_mel: expected a signal [N] of one channel, got {list(samples.shape)}. Average "
            "the channels."
        )
    if len(samples) < size:
        raise ValueError(
            f"log_mel: expected a signal of at least {size} samples, one window, got "
            f"{len(samples)}."
        )
    samples = samples.astype(np.float64)
    if not np.isfinite(samples).all():
        first = int(np.argmin(np.isfinite(samples)))
        raise ValueError(f"log_mel: expected finite samples, got {samples[first]} at {first}.")
    return samples
