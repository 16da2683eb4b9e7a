import numpy as np
import pytest
import soundfile

from recur.sequences import log_mel, read_audio
from recur_tests.helpers import assert_close

TIME = np.arange(4410) / 44100
TONE = 0.5 * np.sin(2 * np.pi * 440 * TIME)


def test_samples_of_the_same_rate_are_as_in_the_file(tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, TONE, 44100)  # 16 bits
    found = read_audio(path, 44100)
    assert found.dtype == np.float32 and found.shape == TONE.shape
    assert_close(found, TONE, 2**-15)
    assert_close(read_audio(str(path), 44100), found, 0)


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_another_rate_is_the_same_tone(tmp_path, rate):
    path = tmp_path / "tone.flac"
    above = 0.3 * np.sin(2 * np.pi * 15_000 * TIME)  # 8,000 and 16,000 cannot hold it
    soundfile.write(path, TONE + above, 44100)
    found = read_audio(path, rate)
    time = np.arange(len(found)) / rate
    expected = 0.5 * np.sin(2 * np.pi * 440 * time)
    if rate == 48000:
        expected += 0.3 * np.sin(2 * np.pi * 15_000 * time)
    middle = slice(len(found) // 10, -len(found) // 10)
    assert len(found) == rate // 10
    assert np.abs(found - expected)[middle].max() < 0.01


def test_channels_are_averaged(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.column_stack([TONE, np.zeros_like(TONE)]), 44100, subtype="FLOAT")
    assert_close(read_audio(path, 44100), TONE / 2, 1e-7)


def test_clipped_sounds_are_refused(tmp_path):
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.clip(3 * TONE, -1, 1), 44100)
    with pytest.raises(ValueError, match=r"loud.wav: expected at most 1% .* got 5\d.\d%: the rec"):
        read_audio(path, 8000)
    assert len(read_audio(path, 8000, max_clipped=0.6)) == 800
    soundfile.write(path, 2 * TONE, 44100)  # reaches full scale at a few peaks
    assert len(log_mel(read_audio(path, 8000, max_clipped=0.05), 8000)) == 8
