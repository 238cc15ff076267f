"""Configuration of the geometry of clips; part of `pemt_tf.config.Config`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from pemt_tf.config.allowed_values import Count, list_of, number, whole
from pemt_tf.config.checks import check_fields, require

_PIXELS = Annotated[int, whole(1, 65_500)]  # the longest side of a JPEG
_TWO_SIZES = Annotated[tuple[int, int], list_of(whole(1, 65_500), 2, "two sizes in pixels, as in [128, 160]")]


@dataclass(frozen=True)
class ClipGeometry:
    """What one clip looks like on disk and to the model. Data sets and models with different geometry do not mix.

    Attributes:
        segments: segments per clip, each seen by one call of the CNNs.
        frames_per_segment: frames of one segment.
        frame_rate: frames per second within a segment.
        stored_short_side: short side of the stored JPEGs, pixels.
        train_crop: side of the random training crop, pixels.
        train_scale: smallest and largest short side (pixels) that the random training scale imitates.
        test_crop: side of the square test crop, pixels; the short side is scaled to it.
        sample_rate: audio samples per second, mono.
        samples_per_segment: waveform samples of one segment.
        mel_bins: mel bands of a spectrogram.
        mel_frames: time steps of a spectrogram.
    """

    segments: Count = 10
    frames_per_segment: Count = 32
    frame_rate: Annotated[float, number(0.01, 1000)] = 15.0
    stored_short_side: _PIXELS = 160
    train_crop: _PIXELS = 112
    train_scale: _TWO_SIZES = (128, 160)
    test_crop: _PIXELS = 128
    sample_rate: Annotated[int, whole(2)] = 44_100
    samples_per_segment: Count = 94_080
    mel_bins: Count = 80
    mel_frames: Annotated[int, whole(2)] = 128

    def __post_init__(self) -> None:
        check_fields(self, "geometry")
        low, high = self.train_scale
        allowed = f"two sizes, smallest first, not below train_crop ({self.train_crop})"
        require(self.train_crop <= low <= high, "geometry.train_scale", self.train_scale, allowed)
        samples, seconds = self.samples_per_segment, self.segment_seconds
        allowed = (
            f"the samples of {seconds:.4f} s (frames_per_segment / frame_rate) at {self.sample_rate} Hz: "
            f"{round(seconds * self.sample_rate)}"
        )
        fits = abs(samples / self.sample_rate - seconds) < 1e-3
        require(fits, "geometry.samples_per_segment", samples, allowed)
        steps, hop = self.mel_frames, samples // self.mel_frames + 1
        allowed = f"more than the {hop} samples between two of the {steps} steps of a spectrogram (mel_frames)"
        require(samples > hop, "geometry.samples_per_segment", samples, allowed)

    @property
    def segment_seconds(self) -> float:
        """Length of one segment, seconds."""
        return self.frames_per_segment / self.frame_rate

    def differences(self, other: ClipGeometry) -> list[str]:
        """The fields in which two geometries differ, as `field: VALUE here, VALUE there`."""
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return [f"{name}: {mine[name]} here, {theirs[name]} there" for name in mine if mine[name] != theirs[name]]
