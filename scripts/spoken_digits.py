"""Speech that is made up: digits spoken by a formant synthesizer, for `transcribe.py`.

A voice is a sum of harmonics under an envelope with three resonances, the formants, and a hiss is
noise in a band. Both move from one sound to the next. A speaker has a pitch, a length of the vocal
tract, which scales all formants, and an accent, which shifts each vowel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RATE = 8000  # samples per second
FRAME = 40  # samples from one frame of the synthesizer to the next


class Sound(NamedTuple):
    """A sound of speech: frequencies in Hz, a length in seconds, and levels of voice and noise."""

    formants: tuple[float, float, float]
    length: float
    voice: float = 1.0
    noise: float = 0.0
    center: float = 2000.0  # of the noise
    width: float = 800.0


# Formants of vowels: the means of men by Peterson & Barney 1952, Control Methods Used in a Study of
# the Vowels, https://doi.org/10.1121/1.1906875. The other sounds are rough.
SOUNDS = {
    "iy": Sound((270, 2290, 3010), 0.12),
    "ih": Sound((390, 1990, 2550), 0.09),
    "eh": Sound((530, 1840, 2480), 0.10),
    "aa": Sound((730, 1090, 2440), 0.11),
    "ao": Sound((570, 840, 2410), 0.12),
    "uw": Sound((300, 870, 2240), 0.13),
    "ah": Sound((640, 1190, 2390), 0.09),
    "r": Sound((310, 1060, 1380), 0.07, voice=0.6),
    "w": Sound((290, 610, 2150), 0.07, voice=0.5),
    "n": Sound((250, 1450, 2500), 0.08, voice=0.35),
    "v": Sound((250, 1100, 2300), 0.06, voice=0.3, noise=0.05, center=2500, width=1500),
    "z": Sound((250, 1700, 2600), 0.08, voice=0.25, noise=0.3, center=3700, width=500),
    "s": Sound((400, 1700, 2600), 0.11, voice=0.0, noise=0.5, center=3700, width=500),
    "f": Sound((400, 1100, 2300), 0.10, voice=0.0, noise=0.12, center=2500, width=1800),
    "th": Sound((400, 1400, 2500), 0.08, voice=0.0, noise=0.08, center=3000, width=1500),
    "-": Sound((400, 1500, 2500), 0.05, voice=0.0),
    "t": Sound((400, 1800, 2600), 0.03, voice=0.0, noise=0.5, center=3300, width=900),
    "k": Sound((400, 1700, 2300), 0.03, voice=0.0, noise=0.5, center=1900, width=600),
}
WORDS = {
    "zero": "z iy r ao uw",
    "one": "w ah n",
    "two": "- t uw",
    "three": "th r iy",
    "four": "f ao r",
    "five": "f aa iy v",
    "six": "s ih - k s",
    "seven": "s eh v ah n",
    "eight": "eh iy - t",
    "nine": "n aa iy n",
}


class Speaker(NamedTuple):
    """How somebody speaks.

    Attributes:
      pitch: the frequency of the voice in Hz.
      tract: a factor of all frequencies of formants.
      accent: the factors of the formants of each sound.
    """

    pitch: float
    tract: float
    accent: dict[str, np.ndarray]


def draw_speaker(rng: np.random.Generator) -> Speaker:
    """Draws a speaker; those with a higher pitch tend to have a shorter vocal tract."""
    height = rng.normal()
    return Speaker(
        pitch=float(np.clip(150 * np.exp(0.3 * height + rng.normal(0, 0.1)), 70, 320)),
        tract=float(np.exp(0.08 * height + rng.normal(0, 0.03))),
        accent={name: np.exp(rng.normal(0, 0.04, 3)) for name in SOUNDS},
    )


def speak(
    text: str,
    speaker: Speaker,
    rng: np.random.Generator,
    *,
    speed: float = 1.0,
    noise: float = 0.01,
) -> np.ndarray:
    """Speaks digits.

    Args:
      text: digit words, such as "three one four".
      speaker: who speaks.
      rng: the source of all randomness: no two utterances are the same.
      speed: 2 is twice as fast as usual.
      noise: the level of white noise relative to that of the speech.

    Returns:
      float32 `[N]`, at `RATE` samples per second.
    """
    names, lengths = ["-"], [rng.uniform(0.05, 0.2)]
    for word in text.split():
        for name in WORDS[word].split():
            names.append(name)
            lengths.append(SOUNDS[name].length * np.exp(rng.normal(0, 0.15)) / speed)
        names.append("-")
        lengths.append(rng.uniform(0.0, 0.15) / speed)
    lengths[-1] += rng.uniform(0.05, 0.2)
    tracks = _tracks(names, lengths, speaker, rng)
    sound = _voice(tracks, speaker, rng) + _hiss(tracks, rng)
    sound /= np.sqrt((sound**2).mean()) + 1e-9
    sound += noise * rng.normal(0, 1, len(sound))
    return (0.5 * np.exp(rng.normal(0, 0.3)) * sound / np.abs(sound).max()).astype(np.float32)


def _tracks(names, lengths, speaker, rng) -> dict[str, np.ndarray]:
    """The formants and levels at each frame, smoothed so that sounds run into each other."""
    counts = np.maximum(1, np.round(np.array(lengths) * RATE / FRAME).astype(int))
    sounds = [SOUNDS[name] for name in names]
    shift = [
        speaker.tract * speaker.accent[name] * np.exp(rng.normal(0, 0.02, 3)) for name in names
    ]
    formants = [np.array(sound.formants) * each for sound, each in zip(sounds, shift, strict=True)]
    tracks = {f"formant{i}": np.array([each[i] for each in formants]) for i in range(3)}
    for field in ("voice", "noise", "center", "width"):
        tracks[field] = np.array([getattr(sound, field) for sound in sounds])
    smooth = {"voice": 3, "noise": 2}
    return {
        name: _smooth(np.repeat(track, counts), smooth.get(name, 9))
        for name, track in tracks.items()
    }


def _smooth(track: np.ndarray, width: int) -> np.ndarray:
    """The running mean over some frames."""
    padded = np.pad(track, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")


def _voice(tracks, speaker, rng) -> np.ndarray:
    """Harmonics of a pitch that falls and trembles, each with the gain of the formants."""
    count = len(tracks["voice"]) * FRAME
    drift = np.cumsum(rng.normal(0, 0.03, 2 + count // RATE))
    pitch = speaker.pitch * np.exp(_stretch(drift, count) - 0.1 * np.arange(count) / count)
    tone = np.exp(2j * np.pi * np.cumsum(pitch) / RATE)
    harmonic, total = tone.copy(), np.zeros(count)
    for number in range(1, int(0.95 * RATE / 2 / pitch.max()) + 1):
        frequency = number * pitch[::FRAME]
        gain = sum(
            level / (1 + ((frequency - tracks[f"formant{i}"]) / width) ** 2)
            for i, (level, width) in enumerate(((1.0, 90.0), (0.5, 120.0), (0.25, 180.0)))
        )
        total += _stretch(tracks["voice"] * gain, count) * harmonic.imag
        harmonic *= tone
    return total


def _hiss(tracks, rng) -> np.ndarray:
    """White noise in a band that moves, by overlapping windows of its Fourier transform."""
    frames = len(tracks["noise"])
    hann, size = np.hanning(4 * FRAME + 1)[:-1], 4 * FRAME  # windows at every second frame
    count = frames // 2 + 3
    noise = rng.normal(0, 1, (count + 2) * size // 2)
    pieces = np.lib.stride_tricks.sliding_window_view(noise, size)[:: size // 2][:count]
    at = np.minimum(2 * np.arange(count), frames - 1)
    distance = np.fft.rfftfreq(size, 1 / RATE) - tracks["center"][at, None]
    band = np.exp(-0.5 * (distance / tracks["width"][at, None]) ** 2)
    pieces = np.fft.irfft(np.fft.rfft(hann * pieces) * band)
    halves = pieces.reshape(count, 2, size // 2)
    total = (halves[1:, 0] + halves[:-1, 1]).ravel()[: frames * FRAME]
    return 2 * _stretch(tracks["noise"], len(total)) * total


def _stretch(track: np.ndarray, count: int) -> np.ndarray:
    """The values of a track at each of `count` samples."""
    return np.interp(np.linspace(0, len(track) - 1, count), np.arange(len(track)), track)
