"""The log-mel front end (docs/reference_model.md section 11): one copy for Beam, tf.data and the exported graph.

It is written in `keras.ops`; with `ops=numpy_ops` the same code runs on NumPy, in processes that import no Keras.

`keras.layers.MelSpectrogram` differs in the FFT length, the window, the mel scale, the padding and the logarithm.
"""

from __future__ import annotations

import functools
import importlib
import math
from types import ModuleType
from typing import Any

import numpy as np

from pemt_tf.config import ClipGeometry

LOG_OFFSET = 1e-6
Array = Any  # an array of NumPy or a tensor, depending on `ops`


def spectrogram_sizes(samples: int, mel_frames: int) -> tuple[int, int]:
    """FFT length (= window length) and hop, samples; the hop is such that at most `mel_frames` frames come out."""
    hop = samples // mel_frames + 1
    return 2 * hop, hop


@functools.lru_cache(maxsize=8)
def mel_filterbank(sample_rate: int, n_fft: int, mel_bins: int) -> np.ndarray:
    """[n_fft / 2 + 1, mel_bins] float32: triangular filters on the HTK mel scale, peak 1, no area normalization."""
    top = sample_rate // 2
    frequencies = np.linspace(0.0, top, n_fft // 2 + 1)
    mel_points = np.linspace(0.0, 2595.0 * math.log10(1.0 + top / 700.0), mel_bins + 2)
    corners = 700.0 * (10.0 ** (mel_points / 2595.0) - 1.0)
    rising = (frequencies[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - frequencies[:, None]) / (corners[2:] - corners[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


@functools.lru_cache(maxsize=8)
def _periodic_hann(length: int) -> np.ndarray:
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / length)).astype(np.float32)


def log_mel_spectrogram(
    waveform: Array, sample_rate: int, mel_bins: int, mel_frames: int, ops: ModuleType | None = None
) -> Array:
    """[..., mel_bins, mel_frames] float32: ln(1e-6 + mel power) of equally long mono waveforms in -1 to 1.

    They are [..., samples] float32. The number of samples must be static and exceed half of the FFT length
    (`spectrogram_sizes`), because the edges are padded by reflection. Missing time steps at the end are 0.0 AFTER the
    logarithm, as in the reference. `ops` are `keras.ops` (default) or `pemt_tf.features.numpy_ops`.
    """
    ops = importlib.import_module("keras.ops") if ops is None else ops
    waveform = ops.cast(ops.convert_to_tensor(waveform), "float32")
    samples = waveform.shape[-1]
    n_fft, hop = spectrogram_sizes(samples, mel_frames)
    if samples <= hop:
        raise ValueError(f"a waveform of {samples} samples is too short for {mel_frames} frames; {hop + 1} are needed")
    leading = ops.shape(waveform)[:-1]
    flat = ops.reshape(waveform, (-1, samples))
    padded = ops.pad(flat, ((0, 0), (hop, hop)), mode="reflect")
    count = 1 + samples // hop
    # A window is two hops long, so frame i is block i followed by block i + 1: no gather is needed.
    blocks = ops.reshape(padded[:, : (count + 1) * hop], (-1, count + 1, hop))
    frames = ops.concatenate([blocks[:, :-1], blocks[:, 1:]], axis=-1)
    real, imaginary = ops.rfft(frames * _periodic_hann(n_fft))
    power = ops.square(real) + ops.square(imaginary)
    mel = ops.matmul(power, mel_filterbank(sample_rate, n_fft, mel_bins))
    log_mel = ops.transpose(ops.log(mel + LOG_OFFSET), (0, 2, 1))
    log_mel = ops.pad(log_mel, ((0, 0), (0, 0), (0, mel_frames - count)))
    return ops.reshape(log_mel, (*leading, mel_bins, mel_frames))


def log_mel(waveform: Array, geometry: ClipGeometry, ops: ModuleType | None = None) -> Array:
    """`log_mel_spectrogram` with the sizes of a clip geometry."""
    return log_mel_spectrogram(waveform, geometry.sample_rate, geometry.mel_bins, geometry.mel_frames, ops)
