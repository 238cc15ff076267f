"""Rules for records that are trained on, beyond what statistics of scalars can check."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from pemt_tf.config import ClipGeometry
from pemt_tf.data import records

FINE = ""
_JPEG = b"\xff\xd8"


@dataclass(frozen=True)
class ClipRules:
    """The rules of one data set: its card's geometry and its vocabulary."""

    geometry: ClipGeometry
    labels: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> ClipRules:
        """The inverse of `to_plain`."""
        return cls(ClipGeometry(**values["geometry"]), tuple(values["labels"]))

    def judge(self, serialized: bytes) -> tuple[str, str]:
        """The fault of one record, worded to follow "clips have" (`FINE` if there is none), and the clip's id."""
        try:
            feature = dict(tf.train.Example.FromString(serialized).features.feature)
        except DecodeError:
            return "no readable record", "?"
        name = _texts(feature, records.CLIP_ID)[:1] or ["?"]
        checks = (self._labels, self._modalities, self._frames, self._audio)
        return next((wrong for check in checks if (wrong := check(feature))), FINE), name[0]

    def _labels(self, feature: dict) -> str:
        indices, names = _numbers(feature, records.LABEL_INDEX), _texts(feature, records.LABEL_STRING)
        if any(not 0 <= index < len(self.labels) for index in indices):
            return f"a label outside of the vocabulary of {len(self.labels)}"
        if names and names != [self.labels[index] for index in indices]:
            return "a label whose name does not match its number"
        return FINE

    def _modalities(self, feature: dict) -> str:
        flags = [_numbers(feature, name) for name in (records.HAS_VIDEO, records.HAS_AUDIO)]
        heard = records.LOG_MEL in feature and len(feature[records.LOG_MEL].float_list.value) > 0
        there = [len(_bytes(feature, records.IMAGE)) > 0, heard]
        if flags != [[int(each)] for each in there]:
            return "flags has_video and has_audio that contradict the record"
        return FINE if any(there) else "neither frames nor audio"

    def _frames(self, feature: dict) -> str:
        jpegs, geometry = _bytes(feature, records.IMAGE), self.geometry
        if not jpegs:
            return FINE
        wanted = geometry.segments * geometry.frames_per_segment
        if len(jpegs) != wanted:
            return f"a number of frames other than {wanted}, which the geometry requires"
        sides = [*_numbers(feature, records.IMAGE_HEIGHT), *_numbers(feature, records.IMAGE_WIDTH)]
        if len(sides) != 2 or min(sides) != geometry.stored_short_side:
            return f"frames whose short side is not the geometry's {geometry.stored_short_side} pixels"
        return FINE if all(jpeg.startswith(_JPEG) for jpeg in jpegs) else "a frame that is not a JPEG"

    def _audio(self, feature: dict) -> str:
        if records.LOG_MEL not in feature:
            return FINE
        values, geometry = np.asarray(feature[records.LOG_MEL].float_list.value, np.float32), self.geometry
        wanted = geometry.segments * geometry.mel_bins * geometry.mel_frames
        if values.size not in (0, wanted):
            return f"a number of spectrogram values other than {wanted}, which the geometry requires"
        return FINE if np.isfinite(values).all() else "NaN or infinity in the spectrogram"


def _numbers(feature: dict, name: str) -> list[int]:
    return list(feature[name].int64_list.value) if name in feature else []


def _bytes(feature: dict, name: str) -> list[bytes]:
    return list(feature[name].bytes_list.value) if name in feature else []


def _texts(feature: dict, name: str) -> list[str]:
    return [value.decode("utf-8", "replace") for value in _bytes(feature, name)]
