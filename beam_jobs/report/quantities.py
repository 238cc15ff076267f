"""The quantities that a report draws, with their units, and round borders for the columns of a histogram."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from beam_jobs.finish.dataset_index import numbers

MOST_COLUMNS = 24
FINE, COARSE, COARSEST = (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1,)  # borders in each power of ten
LOGARITHMIC_FROM = 100  # ratio of the largest to the smallest value
DIGITS = 6  # behind the point: of times that were computed, more would be noise


@dataclass(frozen=True)
class Quantity:
    """One figure of every clip."""

    title: str
    unit: str
    columns: tuple[str, ...]  # of the index
    compute: Callable[..., np.ndarray]  # float64 arrays, one for each column -> figures; NaN where there is none
    missing: str  # why a clip may have no figure
    smallest_step: float  # the least width of a column of the histogram, in the unit
    note: str = ""  # what the figure means, if that needs words

    def values(self, table: pa.Table) -> np.ndarray:
        """[rows] float64; NaN where there is no figure."""
        arrays = [numbers(table.column(name)) for name in self.columns]
        values = np.round(self.compute(*arrays), DIGITS)
        return np.where(np.isfinite(values), values, np.nan)


def _itself(values: np.ndarray) -> np.ndarray:
    return values


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)


QUANTITIES = (
    Quantity("Length", "s", ("start", "end"), lambda start, end: end - start, "of unknown length", 0.1),
    Quantity(
        "Frame rate of the source", "frames/s", ("source_frame_rate",), _positive, "without frames or a known rate", 1
    ),
    Quantity(
        *("Size of the source", "pixels", ("source_width", "source_height")),
        lambda width, height: _positive(np.minimum(width, height)),
        *("without frames", 10, "The shorter side."),
    ),
    Quantity("Size of the record", "kB", ("bytes",), lambda size: size / 1000, "of unknown size", 1),
    Quantity("Loudness", "dB", ("loudness_db",), _itself, "without audio", 1, "Root mean square; full scale is 0."),
    Quantity("Peak", "dB", ("peak_db",), _itself, "without audio", 1, "Largest sample; full scale is 0."),
    Quantity(
        *("Motion", "grey levels", ("motion",), _itself, "without successive frames", 0.1),
        "Mean difference between successive stored frames, of 255.",
    ),
    Quantity("Brightness", "grey levels", ("brightness",), _itself, "without frames", 1, "Mean, of 255."),
)


def round_edges(low: float, high: float, smallest_step: float) -> tuple[float, ...]:
    """Borders of at most `MOST_COLUMNS` columns, from `low` or a little less to more than `high`.

    They are 1, 2 or 5 times a power of ten apart, and not nearer than `smallest_step`. Positive values that spread over
    more than two powers of ten get columns that grow with the value instead.
    """
    if low > 0 and high / low >= LOGARITHMIC_FROM:
        return _growing_edges(low, high)
    least = max(smallest_step, (high - low) / MOST_COLUMNS)
    power = math.floor(math.log10(least)) - 1
    for step in (factor * 10.0**exponent for exponent in range(power, power + 4) for factor in COARSE):
        first, last = math.floor(low / step + 1e-9), math.floor(high / step + 1e-9) + 1
        first -= first * step > low + 1e-9  # among huge values a small one below zero
        if step >= least * (1 - 1e-9) and last - first <= MOST_COLUMNS:
            break
    return tuple(round(number * step, 9) for number in range(first, last + 1))


def _growing_edges(low: float, high: float) -> tuple[float, ...]:
    powers = range(math.floor(math.log10(low)) - 1, math.floor(math.log10(high)) + 2)
    for factors in (FINE, COARSE, COARSEST):
        borders = [round(factor * 10.0**power, 9) for power in powers for factor in factors]
        first = max(place for place, border in enumerate(borders) if border <= low)
        last = min(place for place, border in enumerate(borders) if border > high)
        if last - first <= MOST_COLUMNS:
            break
    return tuple(borders[first : last + 1])
