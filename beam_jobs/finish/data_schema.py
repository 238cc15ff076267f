"""The schema of the records in the text format of TensorFlow Metadata, `schema.pbtxt`.

TFDV and TFX use it for statistics and validation. The few lines are written without the TensorFlow Metadata package; a
test checks that it reads them.
"""

from __future__ import annotations

from pemt_tf.config import ClipGeometry
from pemt_tf.data import record_format as records

SCHEMA_NAME = "schema.pbtxt"


def schema_text(geometry: ClipGeometry, vocabulary: list[str], with_waveform: bool) -> str:
    """The schema of a data set's records.

    Args:
        geometry: the clips' geometry.
        vocabulary: label names.
        with_waveform: whether the records hold the waveform.
    """
    frames = geometry.segments * geometry.frames_per_segment
    mel = geometry.segments * geometry.mel_bins * geometry.mel_frames
    one = (1, 1)
    index = f"int_domain {{ min: 0 max: {max(len(vocabulary) - 1, 0)} }}"
    flag = "int_domain { min: 0 max: 1 }"
    features = [
        _feature(records.CLIP_ID, "BYTES", one, True),
        _feature(records.DATA_PATH, "BYTES", one, True),
        _feature(records.START, "INT", one, True, "int_domain { min: 0 }"),
        _feature(records.END, "INT", one, True, "int_domain { min: 0 }"),
        _feature(records.LABEL_INDEX, "INT", (0, max(len(vocabulary), 1)), False, index),
        _feature(records.LABEL_STRING, "BYTES", (0, max(len(vocabulary), 1)), False, 'domain: "labels"'),
        _feature(records.IMAGE, "BYTES", (frames, frames), False),
        _feature(records.IMAGE_TIMESTAMP, "INT", (frames, frames), False),
        _feature(records.IMAGE_HEIGHT, "INT", one, True, "int_domain { min: 0 }"),
        _feature(records.IMAGE_WIDTH, "INT", one, True, "int_domain { min: 0 }"),
        _feature(records.LOG_MEL, "FLOAT", (mel, mel), False),
        _feature(records.HAS_VIDEO, "INT", one, True, flag),
        _feature(records.HAS_AUDIO, "INT", one, True, flag),
    ]
    if with_waveform:
        samples = geometry.segments * geometry.samples_per_segment
        features.append(_feature(records.WAVEFORM, "FLOAT", (samples, samples), False))
    domain = "\n".join(f"  value: {_quoted(label)}" for label in vocabulary)
    return "\n".join([*features, f'string_domain {{\n  name: "labels"\n{domain}\n}}\n'])


def _feature(name: str, kind: str, count: tuple[int, int], required: bool, domain: str = "") -> str:
    lines = [
        f"  name: {_quoted(name)}",
        f"  type: {kind}",
        f"  value_count {{ min: {count[0]} max: {count[1]} }}",
        f"  presence {{ min_fraction: {1.0 if required else 0.0} }}",
        *([f"  {domain}"] if domain else []),
    ]
    return "\n".join(["feature {", *lines, "}"])


def _quoted(text: str) -> str:
    """A string of the text format: printable ASCII, with all other bytes as octal escapes."""
    data = text.encode("utf-8", "surrogateescape")
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in data) + '"'
