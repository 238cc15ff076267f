"""The few `keras.ops` of the log-mel front end, on NumPy arrays.

With them the one copy of the front end also runs in the decoding processes, which import neither Keras nor TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.fft

Widths = Sequence[tuple[int, int]]  # before and after each axis

cast = np.asarray
convert_to_tensor = np.asarray
shape = np.shape
reshape = np.reshape
concatenate = np.concatenate
square = np.square
matmul = np.matmul
transpose = np.transpose
log = np.log


def pad(
    values: np.ndarray, widths: tuple[tuple[int, int], ...], mode: Literal["constant", "reflect"] = "constant"
) -> np.ndarray:
    """As `keras.ops.pad`."""
    return np.pad(values, widths, mode=mode)


def rfft(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary part of the Fourier transform of the last axis, in the precision of the input."""
    spectrum = scipy.fft.rfft(values)
    return spectrum.real, spectrum.imag
