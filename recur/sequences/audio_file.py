"""Reads sounds from files, by soundfile."""

from __future__ import annotations

import math
import os

import numpy as np

from recur.checks import check_whole, is_number

_FULL = 1 - 2**-14  # the largest values of 16 bits, with room for dither and rounding


def read_audio(path: str | os.PathLike, rate: int, *, max_clipped: float = 0.01) -> np.ndarray:
    """Reads a sound file, such as WAV or FLAC, as one channel of a given sample rate.

    Several channels are averaged. Another sample rate is converted by `scipy.signal.resample_poly`,
    which filters out what the new rate cannot hold. It needs `pip install "recur-jax[audio]"`.

    Args:
      path: the file, of any format that libsndfile reads.
      rate: samples per second of the result.
      max_clipped: the largest share of samples at full scale, from 0 to 1. More of them mean that
        the recording was too loud, and its peaks are cut off.

    Returns:
      float32 `[N]`, from -1 to 1 for integer formats, and N ≥ 1.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is not a sound file, has no samples, NaN or infinity, or is clipped;
        or a number is out of range. It names the file.
      ModuleNotFoundError: if soundfile is not installed.

    Example:
      >>> import pathlib, tempfile, numpy as np, soundfile
      >>> from recur.sequences import read_audio
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "stereo.wav"
      >>> soundfile.write(path, np.zeros((44100, 2)), 44100)  # one second
      >>> read_audio(path, 8000).shape
      (8000,)
    """
    import soundfile
    from scipy import signal

    rate = check_whole("read_audio: rate", rate, 1)
    if not is_number(max_clipped) or not 0 <= max_clipped <= 1:
        raise ValueError(f"read_audio: expected max_clipped from 0 to 1, got {max_clipped!r}.")
    with open(path, "rb") as file:  # its errors name the file
        try:
            samples, found = soundfile.read(file, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise ValueError(
                f"{path}: expected a sound file, such as WAV or FLAC, got one that libsndfile "
                f"cannot read: {error.error_string}"
            ) from error
    if not samples.size:
        raise ValueError(f"{path}: expected a sound, got no samples.")
    if not np.isfinite(samples).all():
        raise ValueError(f"{path}: expected finite samples, got NaN or infinity.")
    clipped = float((np.abs(samples) >= _FULL).mean())
    if clipped > max_clipped:
        raise ValueError(
            f"{path}: expected at most {max_clipped:.0%} of the samples at full scale, got "
            f"{clipped:.1%}: the recording is clipped. Record it at a lower level, or leave it out."
        )
    one = samples.mean(1)
    if found != rate:
        common = math.gcd(rate, found)
        one = signal.resample_poly(one, rate // common, found // common)
    return np.asarray(one, np.float32)
