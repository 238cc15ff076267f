"""The front end on NumPy is the front end on Keras: the same code, the same numbers but for float32 rounding."""

import types

import numpy as np
import pytest

from pemt_tf.config import Config
from pemt_tf.features import numpy_ops, spectrogram
from tests.golden import Golden


@pytest.fixture
def in_float64():
    """The operations in twice the precision, to tell whose rounding is worse."""
    chosen = types.SimpleNamespace(**{name: value for name, value in vars(numpy_ops).items() if name[0] != "_"})
    chosen.cast = lambda values, _: np.asarray(values, np.float64)
    chosen.convert_to_tensor = lambda values: np.asarray(values, np.float64)
    return chosen


def waveform(geometry):
    random = np.random.default_rng(0)
    loud = np.geomspace(1e-4, 1, geometry.segments)[:, None]
    return (loud * random.normal(size=(geometry.segments, geometry.samples_per_segment))).astype(np.float32)


@pytest.mark.parametrize("preset", ["tiny", "avbert_base"])
def test_numpy_is_as_exact_as_keras(preset, in_float64):
    geometry = Config.from_preset(preset).geometry
    sound = waveform(geometry)
    exact = spectrogram.log_mel(sound, geometry, in_float64)
    ours, theirs = spectrogram.log_mel(sound, geometry, numpy_ops), np.asarray(spectrogram.log_mel(sound, geometry))
    assert ours.dtype == theirs.dtype == np.float32 and ours.shape == theirs.shape
    assert np.abs(ours - exact).max() < 2 * np.abs(theirs - exact).max() + 1e-5


def test_numpy_equals_the_reference():
    sound = Golden("logmel")
    rate = sound["meta/n_fft_hop_rawframes_sr0"].tolist()[-1]
    wave = (sound["in/wave0"] / 256.0).astype(np.float32)
    result = spectrogram.log_mel_spectrogram(wave, rate, 80, 128, numpy_ops)
    np.testing.assert_allclose(result, sound["out64/logmel0"], rtol=0, atol=3e-4)
