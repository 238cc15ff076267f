"""Configuration of the random augmentation of training clips; part of `pemt_tf.config.Config`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pemt_tf.config.allowed_values import number, whole
from pemt_tf.config.checks import check_fields


@dataclass(frozen=True)
class AugmentationConfig:
    """Random augmentation of spectrograms, besides the crops and flips of frames.

    The defaults are the authors' (docs/reference_model.md section 12). Fields marked ours are for small data sets.
    Every random number follows from the run's seed and the clip's place in the stream, and is the same for all
    segments of a clip.

    Attributes:
        mask_share: largest share of its axis that a mask hides, rounded down to whole positions; 0 turns masks off.
        mask_count: number of frequency masks, and of time masks (ours if not 1).
        gain_db: largest change of loudness in decibels, uniform: a shift of the log-mel (ours; 0 is off).
        time_roll: largest rotation in time as a share of a segment, either way, uniform (ours; 0 is off). What leaves
            at one end comes back at the other.
    """

    mask_share: Annotated[float, number(0, 0.5, allowed="0 (off) to 0.5")] = 0.05
    mask_count: Annotated[int, whole(0, 10, "a whole number from 0 (off) to 10")] = 1
    gain_db: Annotated[float, number(0, 60, allowed="0 (off) to 60 decibels")] = 0.0
    time_roll: Annotated[float, number(0, 0.5, allowed="0 (off) to 0.5, half a segment either way")] = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "augmentation")
