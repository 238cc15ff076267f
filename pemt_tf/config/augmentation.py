"""Configuration of the random augmentation of training clips; part of `pemt_tf.config.Config`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pemt_tf.config.allowed_values import number, whole
from pemt_tf.config.checks import check_fields


@dataclass(frozen=True)
class AugmentationConfig:
    """What training does to spectrograms at random, besides the crops and flips of pictures.

    The defaults are the authors' (docs/reference_model.md section 12). Fields marked ours are for small sets of sounds.
    Every draw follows from the run's seed and the clip's position in the data, and is the same for all segments of a
    clip.

    Attributes:
        mask_share: each mask hides up to this share of its axis, cut to whole positions first; 0 turns masks off.
        mask_count: this many frequency masks and as many time masks (ours if not 1).
        gain_db: louder or softer by up to this many decibels, uniformly: a shift of the log-mel (ours; 0 is off).
        time_roll: turned round in time by up to this share of a segment, either way, uniformly (ours; 0 is off). What
            leaves at one end comes back at the other.
    """

    mask_share: Annotated[float, number(0, 0.5, allowed="0 (off) to 0.5")] = 0.05
    mask_count: Annotated[int, whole(0, 10, "a whole number from 0 (off) to 10")] = 1
    gain_db: Annotated[float, number(0, 60, allowed="0 (off) to 60 decibels")] = 0.0
    time_roll: Annotated[float, number(0, 0.5, allowed="0 (off) to 0.5, half a segment either way")] = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "augmentation")
