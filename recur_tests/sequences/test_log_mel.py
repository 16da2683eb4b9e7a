"""Log-mel features against a Fourier transform by its definition, and the numbers of librosa."""

import numpy as np
from scipy import signal as scipy_signal

from recur.sequences import log_mel
from recur.sequences.log_mel import hz_to_mel
from recur_tests.helpers import assert_close

RATE = 8000
TIME = np.arange(1000) / RATE
CHIRP = 0.5 * np.sin(2 * np.pi * (200 + 4000 * TIME) * TIME) + 0.1 * np.cos(2 * np.pi * 3000 * TIME)

LIBROSA = np.array(
    [
        [6.0116, 6.6706, 1.0585, -8.9286, -12.8955, -15.2415, 1.9263, 3.7169],
        [-12.6287, -10.8089, -4.5595, 6.5145, 6.2636, -6.8289, 1.9263, 3.7169],
    ]
)


def by_definition(signal, rate, mels, width, window, hop, low, high):
    """Sums and triangles, one at a time."""
    corners = np.linspace(2595 * np.log10(1 + low / 700), 2595 * np.log10(1 + high / 700), mels + 2)
    corners = 700 * (10 ** (corners / 2595) - 1)
    taper = scipy_signal.get_window("hann", window)  # periodic
    matrix = np.exp(-2j * np.pi * np.outer(np.arange(width // 2 + 1), np.arange(window)) / width)
    features = []
    for begin in range(0, len(signal) - window + 1, hop):
        power = abs(matrix @ (taper * signal[begin : begin + window])) ** 2
        row = []
        for left, center, right in zip(corners, corners[1:], corners[2:], strict=False):
            total = 0.0
            for number, energy in enumerate(power):
                frequency = number * rate / width
                if left < frequency <= center:
                    total += energy * (frequency - left) / (center - left)
                elif center < frequency < right:
                    total += energy * (right - frequency) / (right - center)
            row.append(np.log(max(total, 1e-10)))
        features.append(row)
    return np.array(features)


def test_is_the_definition():
    expected = by_definition(CHIRP, RATE, 20, 256, 200, 80, 0.0, 4000.0)
    found = log_mel(CHIRP, RATE, num_mels=20)
    assert found.dtype == np.float32 and found.shape == expected.shape == (11, 20)
    assert_close(found, expected, 1e-5)
    expected = by_definition(CHIRP, RATE, 9, 512, 300, 100, 150.0, 3500.0)
    options = {"window": 300 / RATE, "hop": 100 / RATE, "low": 150.0, "high": 3500.0}
    assert_close(log_mel(CHIRP, RATE, num_mels=9, **options), expected, 1e-5)


def test_is_librosa():
    """The log of `librosa.feature.melspectrogram` 0.11 of the chirp, its first and last frame.

    `y=np.pad(CHIRP, 28), n_fft=256, win_length=200, hop_length=80, center=False, n_mels=8,
    htk=True, norm=None`: librosa centers the window in the width of the transform.
    """
    found = log_mel(CHIRP, RATE, num_mels=8)
    assert_close(found[[0, -1]], LIBROSA, 1e-4)


def test_the_scale_is_1000_mel_at_1000_hz_and_a_tone_is_in_its_filter():
    assert abs(hz_to_mel(1000.0) - 1000) < 0.02 and hz_to_mel(0.0) == 0
    for number in range(3, 20):
        mel = (number + 1) * hz_to_mel(4000.0) / 21  # the center of a filter
        tone = np.sin(2 * np.pi * 700 * (10 ** (mel / 2595) - 1) * TIME)
        assert (log_mel(tone, RATE, num_mels=20).argmax(1) == number).all()


def test_the_number_of_frames_and_silence():
    for count, frames in ((200, 1), (279, 1), (280, 2), (1000, 11)):
        assert log_mel(np.zeros(count), RATE).shape == (frames, 40)
    assert_close(log_mel(np.zeros(200, np.int16), RATE), np.full((1, 40), np.log(1e-10)), 1e-6)
    loud, quiet = log_mel(CHIRP, RATE, num_mels=8), log_mel(0.1 * CHIRP, RATE, num_mels=8)
    assert_close(loud - quiet, np.full((11, 8), np.log(100)), 1e-4)
