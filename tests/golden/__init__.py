"""Golden tensors: inputs, weights and results of the authors' model, run once in float64, shipped with the tests.

Key prefixes: `w/NAME` weights under the reference's parameter names, `in/` inputs (`cot` is the cotangent c of the loss
sum(output * c)), `out64/` results in float64, `meta/` and `config_json` settings.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

DIRECTORY = Path(__file__).parent


class Golden:
    """One golden file.

    Args:
        name: file name without `.npz`.
    """

    def __init__(self, name: str):
        with np.load(DIRECTORY / f"{name}.npz") as archive:
            self.arrays = {key: archive[key] for key in archive.files}

    def __getitem__(self, key: str) -> np.ndarray:
        """An array by its full key; float16 ones are exact and become float32."""
        array = self.arrays[key]
        return array.astype(np.float32) if array.dtype == np.float16 else array

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def section(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays below a prefix, by the rest of their keys."""
        return {key[len(prefix) :]: self[key] for key in self.arrays if key.startswith(prefix)}

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Weights by reference name, float32."""
        return self.section("w/")

    @property
    def config(self) -> dict:
        """The settings of the file."""
        return json.loads(str(self.arrays["config_json"]))


def assert_close(actual, expected, tolerance: float = 1e-5) -> None:
    """Compares within `tolerance` x the largest absolute expected value (the README's "scale")."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    scale = max(np.abs(expected).max(), 1e-3) if expected.size else 1.0
    error = np.abs(actual - expected).max() / scale if expected.size else 0.0
    assert error <= tolerance, f"off by {error:.2e} of the scale {scale:.3g}, allowed {tolerance:.0e}"
