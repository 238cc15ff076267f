"""What the Evaluator slices the held-out clips by. Two of these features are computed when clips are imported."""

from __future__ import annotations

import tensorflow as tf

from pemt_tf.data import records

DURATION, SOURCE = "slice/duration", "slice/source"
# Name in reports, in their order, to the feature that holds the value.
SLICES = {
    "label": records.LABEL_STRING,
    "source": SOURCE,
    "duration": DURATION,
    "has_audio": records.HAS_AUDIO,
}
SOURCE_COLUMN = f"{records.EXTRA}source"
_BOUNDS = (2, 5, 10, 30)  # seconds


def add_slices(example: tf.train.Example) -> tf.train.Example:
    """Adds to a record the features that it is sliced by. Training and serving do not read them."""
    feature = example.features.feature
    start, end = (feature[name].int64_list.value[:1] for name in (records.START, records.END))
    length = (end[0] - start[0]) / 1e6 if start and end else 0.0
    for name, value in ((DURATION, duration_in_words(length)), (SOURCE, _source(feature))):
        feature[name].bytes_list.value[:] = [value.encode("utf-8", "surrogateescape")]
    return example


def duration_in_words(seconds: float) -> str:
    """The range of a clip's length; the lower bound is included."""
    for lower, upper in zip((0, *_BOUNDS), _BOUNDS, strict=False):
        if seconds < upper:
            return f"{lower} to {upper} s"
    return f"{_BOUNDS[-1]} s and more"


def _source(feature) -> str:
    """The manifest's column `source`, or else the file's folder."""
    given = feature[SOURCE_COLUMN].bytes_list.value if SOURCE_COLUMN in feature else ()
    if given:
        return given[0].decode("utf-8", "surrogateescape")
    path = b"".join(feature[records.DATA_PATH].bytes_list.value[:1]).decode("utf-8", "surrogateescape")
    return path.rpartition("/")[0] or "."
