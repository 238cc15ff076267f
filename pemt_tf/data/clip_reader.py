"""From the bytes of a record back to its clip, without TensorFlow; `record_format.serialize` is the other way."""

from __future__ import annotations

import numpy as np

from pemt_tf.config import ClipGeometry
from pemt_tf.data import record_format as names
from pemt_tf.data.record_fields import bytes_of, entries_of, features_of, floats_of, integers_of
from pemt_tf.data.record_format import EXAMPLE, SEQUENCE_EXAMPLE, ClipRecord

_SCALARS = (
    *(names.CLIP_ID, names.DATA_PATH, names.START, names.END, names.LABEL_INDEX, names.LABEL_STRING),
    *(names.IMAGE_HEIGHT, names.IMAGE_WIDTH, names.HAS_VIDEO, names.HAS_AUDIO),
)
_CONTENT = (names.IMAGE, names.IMAGE_TIMESTAMP, names.LOG_MEL, names.WAVEFORM)
_FOLLOWING = (names.IMAGE_FORMAT, names.SEQUENCE_LOG_MEL_SHAPE, names.WAVEFORM_RATE)  # from geometry and content


def read_clip(record: bytes | memoryview, geometry: ClipGeometry, payload: str = EXAMPLE) -> ClipRecord:
    """The clip that a record holds; ValueError if the record is not one, or has a feature that a clip has not.

    Args:
        record: a serialized `tf.train.Example` or `tf.train.SequenceExample`.
        geometry: clip geometry of the data set.
        payload: form of the record, a name in `record_format.PAYLOADS`.
    """
    try:
        return _clip(record, geometry, payload)
    except (KeyError, IndexError, UnicodeDecodeError, TypeError) as error:
        raise ValueError(f"the record is not a clip ({type(error).__name__}: {error})") from None


def _clip(record: bytes | memoryview, geometry: ClipGeometry, payload: str) -> ClipRecord:
    scalars = features_of(record, 1)
    if payload == SEQUENCE_EXAMPLE:
        lists = features_of(record, 2)
        _require_known(scalars, (*_SCALARS, *_FOLLOWING))
        _require_known(lists, (names.IMAGE, names.IMAGE_TIMESTAMP, names.SEQUENCE_LOG_MEL, names.WAVEFORM))
        content = {name: entries_of(lists, name) for name in lists}
        log_mel = content.get(names.SEQUENCE_LOG_MEL)
    else:
        _require_known(scalars, (*_SCALARS, *_CONTENT))
        content = {name: [scalars[name]] for name in _CONTENT if name in scalars}
        log_mel = content.get(names.LOG_MEL)
    jpegs, times, waveform = (content.get(name) for name in (names.IMAGE, names.IMAGE_TIMESTAMP, names.WAVEFORM))
    mel_shape = (geometry.segments, geometry.mel_bins, geometry.mel_frames)
    return ClipRecord(
        clip_id=_bytes(scalars, names.CLIP_ID).decode(),
        data_path=_bytes(scalars, names.DATA_PATH).decode("utf-8", "surrogateescape"),
        start=_number(scalars, names.START) / 1e6,
        end=_number(scalars, names.END) / 1e6,
        jpegs=None if jpegs is None else [jpeg for entry in jpegs for jpeg in bytes_of(entry)],
        image_times=[time / 1e6 for entry in times or () for time in integers_of(entry)],
        height=_number(scalars, names.IMAGE_HEIGHT),
        width=_number(scalars, names.IMAGE_WIDTH),
        log_mel=None if log_mel is None else _floats(log_mel).reshape(mel_shape),
        labels=tuple(label.decode() for label in bytes_of(scalars[names.LABEL_STRING])),
        label_indices=tuple(integers_of(scalars[names.LABEL_INDEX])),
        waveform=None if waveform is None else _floats(waveform).reshape(geometry.segments, -1),
        extra=tuple(
            (name.removeprefix(names.EXTRA), _bytes(scalars, name).decode("utf-8", "surrogateescape"))
            for name in sorted(scalars)
            if name.startswith(names.EXTRA)
        ),
    )


def _require_known(features: dict[str, memoryview], known: tuple[str, ...]) -> None:
    unknown = [name for name in features if name not in known and not name.startswith(names.EXTRA)]
    if unknown:
        raise ValueError(f"the record has a feature {unknown[0]!r}, which is not one of a clip")


def _bytes(features: dict[str, memoryview], name: str) -> bytes:
    (value,) = bytes_of(features[name])
    return value


def _number(features: dict[str, memoryview], name: str) -> int:
    (value,) = integers_of(features[name])
    return value


def _floats(entries: list[memoryview]) -> np.ndarray:
    return np.concatenate([floats_of(entry) for entry in entries])
