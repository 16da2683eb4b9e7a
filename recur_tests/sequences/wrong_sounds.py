"""Wrong inputs of sounds and their features."""

import functools
import pathlib
import tempfile

import numpy as np
import soundfile

from recur.sequences import log_mel, read_audio
from recur_tests.wrong_input import Row

SIGNAL = np.zeros(400)


def written(samples, rate=8000, **options):
    """The path of a sound file."""
    path = pathlib.Path(tempfile.mkdtemp()) / "sound.wav"
    soundfile.write(path, samples, rate, **options)
    return path


def read(make_path, **options):
    return read_audio(make_path(), **{"rate": 8000, **options})


def no_sound():
    path = pathlib.Path(tempfile.mkdtemp()) / "text.wav"
    path.write_text("no sound")
    return path


def features(**change):
    return log_mel(**{"signal": SIGNAL, "rate": 8000, **change})


def silence():
    return written(SIGNAL)


SOUNDS = [
    (silence, {"rate": 0}, ValueError, "read_audio: rate: expected a whole number of at least 1"),
    (silence, {"rate": 8000.0}, ValueError, "rate: expected a whole number of at least 1, got 8"),
    (silence, {"max_clipped": 2}, ValueError, "expected max_clipped from 0 to 1, got 2."),
    (lambda: "nowhere/a.wav", {}, FileNotFoundError, "nowhere/a.wav"),
    (no_sound, {}, ValueError, "text.wav: expected a sound file, such as WAV or FLAC, got one"),
    (lambda: written(np.zeros(0)), {}, ValueError, "sound.wav: expected a sound, got no samples."),
    (lambda: written(np.zeros((0, 2))), {}, ValueError, "expected a sound, got no samples."),
    (
        lambda: written(np.ones(9)),
        {},
        ValueError,
        "at most 1% of the samples at full scale, got 10",
    ),
    (
        lambda: written(np.full(9, np.nan), subtype="FLOAT"),
        {},
        ValueError,
        "sound.wav: expected finite samples, got NaN or infinity.",
    ),
]
FEATURES = [
    ({"signal": "a"}, TypeError, "log_mel: signal: expected an array of real numbers, got"),
    ({"signal": SIGNAL + 1j}, TypeError, "expected an array of real numbers, got complex128"),
    ({"signal": SIGNAL[None]}, ValueError, "a signal [N] of one channel, got [1, 400]. Average"),
    ({"signal": SIGNAL[:199]}, ValueError, "at least 200 samples, one window, got 199."),
    (
        {"signal": np.full(400, np.nan)},
        ValueError,
        "log_mel: expected finite samples, got nan at 0",
    ),
    ({"rate": 0}, ValueError, "log_mel: rate: expected a whole number of at least 1, got 0."),
    ({"num_mels": 0}, ValueError, "log_mel: num_mels: expected a whole number of at least 1"),
    ({"window": 0}, ValueError, "log_mel: expected window as a number above 0, got 0."),
    ({"hop": "a"}, ValueError, "log_mel: expected hop as a number above 0, got 'a'."),
    ({"floor": 0.0}, ValueError, "log_mel: expected floor as a number above 0, got 0.0."),
    ({"low": -1}, ValueError, "frequencies with 0 <= low < high <= 4000, half of the rate, got lo"),
    ({"high": 4001}, ValueError, "half of the rate, got low=0.0 and high=4001."),
    ({"low": 900, "high": 800}, ValueError, "half of the rate, got low=900 and high=800."),
    ({"num_mels": 90}, ValueError, "filters that are wider than 31.2 Hz, the distance of two freq"),
]
OF_SOUNDS = [
    *(
        Row("read_audio", functools.partial(read, path, **options), error, sentence)
        for path, options, error, sentence in SOUNDS
    ),
    *(
        Row("log_mel", functools.partial(features, **change), error, sentence)
        for change, error, sentence in FEATURES
    ),
]
