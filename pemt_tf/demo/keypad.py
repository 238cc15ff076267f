"""The audio of the demo: the telephone keypad (DTMF) tone pair of a digit, held down with changing loudness, in noise.

Only the tone pair depends on the digit. Loudness, noise and distracting tones are drawn at random; loudness, noise and
the balance of the two tones anew for each of the short takes of a clip.
"""

from __future__ import annotations

import functools

import numpy as np

# ITU-T Q.23: the row (low) and the column (high) frequency of a key, Hz; the list index is the digit.
ROW_HERTZ = (697.0, 770.0, 852.0, 941.0)
COLUMN_HERTZ = (1209.0, 1336.0, 1477.0)
TONE_PAIRS = tuple(
    (ROW_HERTZ[3], COLUMN_HERTZ[1]) if digit == 0 else (ROW_HERTZ[(digit - 1) // 3], COLUMN_HERTZ[(digit - 1) % 3])
    for digit in range(10)
)

TAKE_SECONDS = (0.30, 0.60)  # length of a take

# How hard it is to hear the digit. Lower SNR, more and louder distractors: harder.
SIGNAL_TO_NOISE_DECIBELS = (8.0, 20.0)  # of the key against the noise
TWIST_DECIBELS = (-2.0, 2.0)  # high tone against low tone
GAIN_DECIBELS = (-20.0, -12.0)  # of the key, against full scale
DISTRACTORS = (0, 1)  # short foreign tones per clip, from first to last inclusive
DISTRACTOR_HERTZ = (300.0, 3400.0)
DISTRACTOR_DECIBELS = (-14.0, -4.0)  # against the key
PEAK = 0.97  # of full scale: louder clips are turned down, never clipped


def ratio(decibels: float | np.ndarray) -> float | np.ndarray:
    """Decibels to an amplitude ratio."""
    return 10.0 ** (decibels / 20.0)


def key_sound(
    digit: int, seconds: float, sample_rate: int, channels: int, generator: np.random.Generator
) -> np.ndarray:
    """Synthesizes one clip's audio: [channels, samples] float32 within -1 and 1.

    The channels share the key and the distractors, but not the noise.
    """
    count = round(seconds * sample_rate)
    time = np.arange(count) / sample_rate
    low, high = TONE_PAIRS[digit]
    phases = generator.uniform(0, 2 * np.pi, 2)
    take = np.searchsorted(_take_ends(seconds, generator), time, side="right")
    draw = functools.partial(_per_take, take, generator)
    twist = ratio(draw(TWIST_DECIBELS))
    tones = np.sin(2 * np.pi * low * time + phases[0]) + twist * np.sin(2 * np.pi * high * time + phases[1])
    tones /= np.sqrt((1 + twist**2) / 2)  # power 1 while the key is down
    generator.random()  # unused: with it a seed gives the same corpus as in earlier releases
    signal = tones * _swell(time, generator) + _distractors(time, generator)
    noise_level = ratio(-draw(SIGNAL_TO_NOISE_DECIBELS))
    noise = np.stack([_noise(take, sample_rate, generator) for _ in range(channels)]) * noise_level
    sound = (signal + noise) * ratio(draw(GAIN_DECIBELS))
    return (sound * min(1.0, PEAK / np.abs(sound).max())).astype(np.float32)


def _take_ends(seconds: float, generator: np.random.Generator) -> np.ndarray:
    """End of each take but the last, seconds, ascending."""
    ends = np.cumsum(generator.uniform(*TAKE_SECONDS, size=1 + int(seconds / TAKE_SECONDS[0])))
    return ends[ends < seconds]


def _per_take(take: np.ndarray, generator: np.random.Generator, bounds: tuple[float, float]) -> np.ndarray:
    """One uniform draw per take, repeated for its samples; `take` is the number of each sample's take."""
    return generator.uniform(*bounds, size=take[-1] + 1)[take]


def _swell(time: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Loudness of a key that is held down and swells slowly: 0.4 to 1, [samples]."""
    rate, phase = generator.uniform(0.3, 2.0), generator.uniform(0, 2 * np.pi)
    return 0.7 + 0.3 * np.sin(2 * np.pi * rate * time + phase)


def _distractors(time: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Short gliding tones that have nothing to do with the digit, [samples]."""
    sound = np.zeros_like(time)
    for _ in range(generator.integers(DISTRACTORS[0], DISTRACTORS[1] + 1)):
        low, high = np.log(DISTRACTOR_HERTZ)
        logarithms = generator.uniform(low, high, 2)
        begin, length = generator.uniform(0, time[-1]), generator.uniform(0.1, 0.5)
        progress = (time - begin) / length
        hertz = np.exp(logarithms[0] + np.clip(progress, 0, 1) * (logarithms[1] - logarithms[0]))
        phase = 2 * np.pi * np.cumsum(hertz) * (time[1] - time[0])
        window = np.where((progress > 0) & (progress < 1), np.sin(np.pi * progress) ** 2, 0)
        sound += np.sqrt(2) * ratio(generator.uniform(*DISTRACTOR_DECIBELS)) * window * np.sin(phase)
    return sound


def _noise(take: np.ndarray, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
    """Noise of power 1, [samples]; each take has a random spectrum between white and pink."""
    return np.concatenate([_coloured(count, sample_rate, generator) for count in np.bincount(take)])


def _coloured(count: int, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
    """Noise with a spectrum between white and pink, [count]."""
    spectrum = np.fft.rfft(generator.standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / sample_rate)
    spectrum *= np.maximum(hertz, 50.0) ** -generator.uniform(0.0, 0.5)
    noise = np.fft.irfft(spectrum, count)
    return noise / max(noise.std(), 1e-9)  # a take of one sample has no spread
