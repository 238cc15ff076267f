"""The log-mel front end against a NumPy restatement of docs/reference_model.md section 11 in float64."""

import math

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.features import spectrogram


def reference_log_mel(waveform, sample_rate, mel_bins, mel_frames):
    """[samples] float64 to [mel_bins, mel_frames]: loops and np.fft, one frame at a time."""
    w = len(waveform)
    hop = w // mel_frames + 1
    n_fft = 2 * hop
    window = np.array([0.5 - 0.5 * math.cos(2 * math.pi * n / n_fft) for n in range(n_fft)])
    padded = np.concatenate([waveform[hop:0:-1], waveform, waveform[-2 : -hop - 2 : -1]])
    top = sample_rate // 2
    frequencies = np.linspace(0, top, n_fft // 2 + 1)
    mels = np.linspace(0, 2595 * math.log10(1 + top / 700), mel_bins + 2)
    p = 700 * (10 ** (mels / 2595) - 1)
    result = np.zeros((mel_bins, mel_frames))
    for t in range(1 + w // hop):
        power = np.abs(np.fft.rfft(padded[t * hop : t * hop + n_fft] * window)) ** 2
        for j in range(mel_bins):
            rising = (frequencies - p[j]) / (p[j + 1] - p[j])
            falling = (p[j + 2] - frequencies) / (p[j + 2] - p[j + 1])
            result[j, t] = math.log(1e-6 + float(np.maximum(0, np.minimum(rising, falling)) @ power))
    return result


@pytest.mark.parametrize(
    ("samples", "mel_frames", "expected"),
    [(88_200, 128, (1380, 690)), (94_080, 128, (1472, 736)), (8000, 32, (502, 251)), (2000, 16, (252, 126))],
)
def test_fft_length_and_hop(samples, mel_frames, expected):
    assert spectrogram.spectrogram_sizes(samples, mel_frames) == expected


@pytest.mark.parametrize(
    ("samples", "rate", "bins", "frames"),
    [(2000, 4000, 16, 16), (8000, 16_000, 40, 32), (1999, 4000, 7, 20), (300, 8000, 10, 5)],
)
def test_equals_the_restatement(samples, rate, bins, frames):
    rng = np.random.default_rng(samples)
    waveform = 0.3 * np.sin(np.arange(samples) * 0.3) + 0.1 * rng.normal(size=samples)
    expected = reference_log_mel(waveform, rate, bins, frames)
    actual = np.asarray(spectrogram.log_mel_spectrogram(waveform[None, None].astype(np.float32), rate, bins, frames))
    assert actual.shape == (1, 1, bins, frames) and actual.dtype == np.float32
    np.testing.assert_allclose(actual[0, 0], expected, atol=2e-3)
    # Most of that tolerance is for bins with almost no energy; where there is sound it is much closer.
    loud = expected > -8
    np.testing.assert_allclose(actual[0, 0][loud], expected[loud], atol=1e-4)


def test_missing_frames_are_zero_after_the_logarithm():
    """Silence is ln(1e-6). 2000 samples fill 24 frames (hop 84); 129 samples give 44 of 64 (hop 3)."""
    full = np.asarray(spectrogram.log_mel_spectrogram(np.zeros((1, 2000), np.float32), 4000, 8, 24))
    np.testing.assert_allclose(full, math.log(1e-6), atol=1e-4)
    short = np.asarray(spectrogram.log_mel_spectrogram(np.zeros((1, 129), np.float32), 4000, 8, 64))
    np.testing.assert_allclose(short[0, :, :44], math.log(1e-6), atol=1e-4)
    assert not short[0, :, 44:].any()


def test_a_tone_shows_up_in_its_band():
    """1 kHz at 16 kHz; 40 bands up to 8 kHz: band centres are 700 (10^(m/2595) - 1)."""
    tone = np.sin(2 * math.pi * 1000 * np.arange(8000) / 16_000).astype(np.float32)
    log_mel = np.asarray(spectrogram.log_mel_spectrogram(tone[None], 16_000, 40, 32))[0]
    centres = 700 * (10 ** (np.linspace(0, 2595 * math.log10(1 + 8000 / 700), 42)[1:-1] / 2595) - 1)
    assert log_mel[:, 5:25].mean(1).argmax() == np.abs(centres - 1000).argmin()


def test_ten_times_the_amplitude_is_log_100_more():
    waveform = np.random.default_rng(0).normal(size=(1, 2000)).astype(np.float32)
    quiet, loud = (np.asarray(spectrogram.log_mel_spectrogram(x, 4000, 16, 16)) for x in (waveform, 10 * waveform))
    np.testing.assert_allclose(loud - quiet, math.log(100), atol=1e-3)


def test_filters_have_peak_one_and_no_area_normalization():
    filters = spectrogram.mel_filterbank(16_000, 4096, 40)
    assert filters.shape == (2049, 40) and filters.min() == 0.0
    assert filters.max(0).min() > 0.9 and filters.max() <= 1.0
    # Neighbouring triangles add up to one between the first and the last centre.
    inside = filters.sum(1)[filters.argmax(0)[0] + 1 : filters.argmax(0)[-1]]
    np.testing.assert_allclose(inside, 1.0, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 2])
def test_too_short_to_reflect(samples):
    with pytest.raises(ValueError, match="is too short for 2 frames"):
        spectrogram.log_mel_spectrogram(np.zeros((1, samples), np.float32), 4000, 4, 2)


def test_in_a_graph_with_dynamic_batch_it_is_the_same():
    geometry = Config.from_preset("tiny").geometry
    waveform = np.random.default_rng(0).normal(size=(2, 4, 8000)).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 8000], tf.float32)])
    def compiled(x):
        return spectrogram.log_mel(x, geometry)

    outputs = compiled(waveform)
    assert outputs.shape == (2, 4, 40, 32)
    np.testing.assert_allclose(outputs, np.asarray(spectrogram.log_mel(waveform, geometry)), atol=1e-4)
