"""Maps high dynamic range (PQ and HLG, BT.2020) to standard dynamic range: BT.709, white at 203 cd/m2.

It works on frames that are already small, with NumPy: FFmpeg's own conversions need a library that the wheels lack, or
seconds to set up. The curve is that of Report ITU-R BT.2390 from 1000 cd/m2 to 203 cd/m2 (the reference white of
Report ITU-R BT.2408): light below 92 cd/m2 is kept, brighter light is compressed smoothly, and white comes out at
90 % of the code range.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

PQ, HLG = 16, 18  # transfer characteristics of ITU-T H.273
BT709_PRIMARIES = 1
REFERENCE_WHITE = 203.0  # cd/m2
PEAK = 1000.0  # cd/m2; brighter light is clipped to it
DISPLAY_GAMMA = 2.4  # BT.1886
HLG_SYSTEM_GAMMA = 1.2  # BT.2100, for a display of 1000 cd/m2
LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)  # BT.2020
# BT.2087, from BT.2020 to BT.709 in linear light
TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    np.float32,
)
_CODES = 4096  # steps of the table of light
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128  # BT.2100, PQ


def tone_mapped(rgb: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """[height, width, 3] uint16 of high dynamic range, full range as coded, to uint8 for a BT.1886 display.

    `transfer` is `PQ` or `HLG`; all primaries (numbers of ITU-T H.273) but BT.709 are treated as BT.2020.
    """
    light = _light(transfer)[rgb >> 4]
    if transfer == HLG:
        luminance = light @ LUMINANCE
        light *= (PEAK * luminance ** (HLG_SYSTEM_GAMMA - 1))[..., None]
    brightest = np.minimum(light.max(axis=-1), PEAK)
    light *= _gain()[np.rint(brightest).astype(np.int32)][..., None] / np.float32(REFERENCE_WHITE)
    if primaries != BT709_PRIMARIES:
        light = light @ TO_BT709.T
    return np.rint(255 * np.clip(light, 0, 1) ** np.float32(1 / DISPLAY_GAMMA)).astype(np.uint8)


@lru_cache(maxsize=2)
def _light(transfer: int) -> np.ndarray:
    """[codes] float32: PQ gives light on the display, cd/m2; HLG light of the scene, 0 to 1."""
    code = np.arange(_CODES) / (_CODES - 1)
    if transfer == PQ:
        return np.minimum(_light_of_pq(code), PEAK).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)


def _pq(light: np.ndarray | float) -> np.ndarray:
    power = (np.asarray(light) / 10_000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _light_of_pq(code: np.ndarray) -> np.ndarray:
    root = code ** (1 / _M2)
    return 10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)


@lru_cache(maxsize=1)
def _gain() -> np.ndarray:
    """[1001] float32: factors for light of 0 to 1000 cd/m2; BT.2390, section 5.4.1."""
    light = np.arange(PEAK + 1)
    code = _pq(light) / _pq(PEAK)
    largest = _pq(REFERENCE_WHITE) / _pq(PEAK)
    knee = 1.5 * largest - 0.5
    t = np.clip((code - knee) / (1 - knee), 0, 1)
    rolled = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * largest
    mapped = _light_of_pq(rolled * _pq(PEAK))
    return np.where(code > knee, mapped / np.maximum(light, 1), 1.0).astype(np.float32)
