"""Requests that a servable of the small configuration must refuse, and what it must say; for Python and for C++."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from pemt_tf.config import ClipGeometry
from pemt_tf.data import records

# Case: signature, inputs, part of the message.
Case = tuple[str, dict[str, np.ndarray], str]


def malformed_requests(geometry: ClipGeometry) -> dict[str, Case]:
    """Every kind of mistake, each in one request."""
    good = records.serialize(records.get_fake_clip(geometry, 1, width=31), geometry)
    return {**_media_cases(geometry), **_record_cases(good), **_metadata_cases()}


def _media_cases(geometry: ClipGeometry) -> dict[str, Case]:
    frames = np.zeros((2, 3, geometry.frames_per_segment, 26, 33, 3), np.uint8)
    waveform = np.zeros((2, 3, geometry.samples_per_segment), np.float32)
    nan, infinite, integers = (np.array(waveform) for _ in range(3))
    nan[1, 2, 7], infinite[0, 0, 0], integers[0, 1, 5] = np.nan, -np.inf, -32768
    shape = "expected uint8 [clips, segments, 2, height, width, 3] with at least one clip, 1 to 7 segments"
    sound = "expected float32 [clips, segments, 2000] with at least one clip and 1 to 7 segments"
    return {
        "rank_frames": ("embed_visual", {"frames": frames[0]}, f"frames has the shape [3 2 26 33 3]; {shape}"),
        "scalar_frames": ("embed_visual", {"frames": frames[0, 0, 0, 0, 0, 0]}, f"frames has the shape []; {shape}"),
        "no_clips": ("embed_visual", {"frames": frames[:0]}, f"frames has the shape [0 3 2 26 33 3]; {shape}"),
        "no_segments": ("embed_visual", {"frames": frames[:, :0]}, shape),
        "no_pixels": ("embed_visual", {"frames": frames[..., :0, :]}, shape),
        "many_segments": ("embed_visual", {"frames": np.repeat(frames, 3, axis=1)}, "frames has the shape [2 9 2 26"),
        "other_frames": ("classify_visual", {"frames": frames[:, :, :1]}, "frames has the shape [2 3 1 26 33 3]"),
        "gray_frames": ("classify_visual", {"frames": frames[..., :1]}, "frames has the shape [2 3 2 26 33 1]"),
        "wide_frames": ("embed_visual", {"frames": np.zeros((1, 1, 2, 1, 16385, 3), np.uint8)}, "from 1 to 16384"),
        "type_frames": ("embed_visual", {"frames": frames.astype(np.float32)}, "uint8"),
        "rank_waveform": ("embed_audio", {"waveform": waveform[0]}, f"waveform has the shape [3 2000]; {sound}"),
        "no_sound": ("embed_audio", {"waveform": waveform[:0]}, sound),
        "other_rate": ("classify_audio", {"waveform": waveform[..., :1999]}, "waveform has the shape [2 3 1999]"),
        "nan": ("classify_audio", {"waveform": nan}, "waveform holds NaN or infinite samples; expected finite"),
        "infinite": ("embed_audio", {"waveform": infinite}, "waveform holds NaN or infinite samples"),
        "integers": ("embed_audio", {"waveform": integers}, "waveform has samples up to 32768; expected full scale"),
        "clips": ("classify", {"frames": frames[:1], "waveform": waveform}, "frames has [1 3] clips and segments but"),
        "segments": ("embed", {"frames": frames, "waveform": waveform[:, :2]}, "waveform has [2 2]; expected the same"),
    }


def _record_cases(good: bytes) -> dict[str, Case]:
    cases = {
        "nonsense": (b"nonsense", "examples[1] (8 bytes) is not a tf.train.Example, or is truncated"),
        "nothing": (b"", "examples[1] (0 bytes) is not a tf.train.Example"),
        "cut": (good[:-9], f"examples[1] ({len(good) - 9} bytes) is not a tf.train.Example, or is truncated"),
        "longer": (good + b"\0", "or is truncated"),
        "no_features": (b"\x0a\x00", "examples[1] has 0 values of has_video; expected one"),
    }
    edits: dict[str, tuple[Callable, str]] = {
        "pictures": (lambda f: f[records.IMAGE].bytes_list.value.pop(), "examples[1] has 5 frames; expected 6 (3"),
        "no_jpeg": (_put(records.IMAGE, 1, b"GIF89a"), "examples[1] has a frame that is not a JPEG"),
        "half_a_jpeg": (
            lambda f: _shorten(f[records.IMAGE].bytes_list.value),
            "examples[1] has a frame that is truncated",
        ),
        "damaged_jpeg": (lambda f: _damage(f[records.IMAGE].bytes_list.value), "Invalid JPEG data"),
        "height": (
            _put(records.IMAGE_HEIGHT, 0, 23),
            "have [23 31] rows and columns, but the first has [24 31]",
        ),
        "width": (_put(records.IMAGE_WIDTH, 0, -5), "frames have 24 rows and -5 columns; expected 1 to 16384"),
        "mel_count": (lambda f: f[records.LOG_MEL].float_list.value.pop(), "767 spectrogram values; expected 768"),
        "mel_nan": (_put(records.LOG_MEL, 5, np.nan), "examples[1] has NaN or infinite values in its spectrogram"),
        "kind": (lambda f: f[records.HAS_VIDEO].bytes_list.value.append(b"x"), "has_video"),
        "flags": (lambda f: f[records.HAS_AUDIO].int64_list.value.append(1), "2 values of has_audio; expected one"),
    }
    for name, (edit, message) in edits.items():
        example = tf.train.Example.FromString(good)
        edit(example.features.feature)
        cases[name] = (example.SerializeToString(), message)
    found = {
        f"record_{name}": ("serving_default", {"examples": np.array([good, raw], object)}, message)
        for name, (raw, message) in cases.items()
    }
    expected = "expected a list of at least one string: records as beam_jobs.preprocess"
    found["no_records"] = ("serving_default", {"examples": np.array([], object)}, f"shape [0]; {expected}")
    found["one_record"] = ("serving_default", {"examples": np.array(good, object)}, f"shape []; {expected}")
    found["record_lists"] = ("serving_default", {"examples": np.array([[good]], object)}, f"shape [1 1]; {expected}")
    return found


def _metadata_cases() -> dict[str, Case]:
    fields = np.array([b"labels", b"price"], object)
    return {"field": ("metadata", {"fields": fields}, 'has no metadata field \\"price\\"; expected labels, version')}


def _put(name: str, place: int, value) -> Callable:
    def edit(features) -> None:
        feature = features[name]
        getattr(feature, feature.WhichOneof("kind")).value[place] = value

    return edit


def _shorten(pictures) -> None:
    pictures[1] = pictures[1][:100]


def _damage(pictures) -> None:
    """Behind a good begin and before a good end."""
    pictures[1] = pictures[1][:20] + b"\xff\xc0" * 40 + pictures[1][100:]
