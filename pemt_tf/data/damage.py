"""Finds the record that cannot be read and names its file and place, which TensorFlow's errors do not."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from pemt_tf.data import records
from pemt_tf.data.record_format import EXTRA_BYTES, read_records
from pemt_tf.errors import PemtError
from pemt_tf.terminal.progress import Progress

if TYPE_CHECKING:
    from pemt_tf.data.clip_source import ClipSource

_LONGEST_CAUSE = 160  # characters
_PATIENCE = 5.0  # seconds before progress is shown
_AGAIN = "copy the data set again, or preprocess again"
# What TensorFlow raises for records; UnicodeDecodeError where its message holds bytes of one.
READ_ERRORS = (tf.errors.OpError, UnicodeDecodeError)


class UnreadableClipsError(PemtError):
    """Clips could not be read; `naming_damage` finds out which."""


@contextlib.contextmanager
def naming_damage(source: ClipSource, split: str) -> Iterator[None]:
    """Around code that reads a split: `UnreadableClipsError` becomes a PemtError that names file and byte."""
    try:
        yield
    except UnreadableClipsError as error:
        raise PemtError(find_damage(source, split) or str(error)) from None


def plain_cause(error: Exception) -> str:
    """The first line of an error's message, without TensorFlow's graph nodes and bytes of records."""
    if isinstance(error, UnicodeDecodeError):
        return "a record cannot be parsed"
    message = getattr(error, "message", None) or getattr(error, "strerror", None) or str(error)
    asserted = re.search(r"assertion failed: \[(.*?)\]\s*(\[|$|\n)", message, re.S)
    if asserted:  # a sentence of ours, inside of a graph
        message = asserted[1]
    lines = [" ".join(re.sub(r"\{\{.*?\}\}", "", line).split()) for line in message.splitlines()]
    line = next((line for line in lines if line), "no reason given")
    line = re.split(r",? value: '|\[Op:", line)[0].strip()
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    return line if len(line) <= _LONGEST_CAUSE else line[: _LONGEST_CAUSE - 3] + "..."


def find_damage(source: ClipSource, split: str) -> str | None:
    """The first damaged record of a split, as a sentence; None if all can be read.

    Lengths, checksums and fields of all records are checked first, then the frames.
    """
    files = source.files.get(split, ())
    started = time.monotonic()
    progress = Progress(f"looking for the damaged record of {split}", 2 * len(files), "files")
    for done, (check, file) in enumerate(itertools.product((record_problem, frame_problem), files)):
        found = _find_in_file(file, source, check)
        if found is not None:
            return found
        if time.monotonic() - started > _PATIENCE:
            progress.update(done + 1)
    return None


def _find_in_file(file: str, source: ClipSource, check: Callable[[bytes, ClipSource], str]) -> str | None:
    number = offset = 0
    try:
        with contextlib.ExitStack() as stack:
            opened: Any = stack.enter_context(tf.io.gfile.GFile(file, "rb"))  # a file, but has no class of its own
            if source.compression:
                opened = stack.enter_context(gzip.GzipFile(fileobj=opened))
            for raw in read_records(opened):
                wrong = check(raw, source)
                if wrong:
                    return f"{file}: record {number}, at byte {offset}, {wrong}; {_AGAIN}"
                number, offset = number + 1, offset + EXTRA_BYTES + len(raw)
    except ValueError as error:
        return f"{file}: {error}; {_AGAIN}"
    except (OSError, EOFError, tf.errors.OpError) as error:
        return f"{file} cannot be read after byte {offset} ({plain_cause(error)}); {_AGAIN}"
    return None


def record_problem(raw: bytes, source: ClipSource) -> str:
    """What is wrong with the fields of a record, to follow on "record 3"; empty if nothing is."""
    try:
        counts = records.count_values(raw, source.payload)
    except DecodeError:
        return "holds something else than a clip"
    wanted = source.wrong_counts(counts)
    if wanted:
        return (
            f"holds {counts[0]} frames and {counts[1]} spectrogram values; by the geometry there must be {wanted[0]} "
            f"and {wanted[1]}"
        )
    try:
        clip = records.parse(tf.constant(raw), source.geometry, source.payload)
    except READ_ERRORS as error:
        return f"lacks a field of a clip ({plain_cause(error)})"
    labels = len(source.labels)
    unknown = [label for label in clip["labels"].numpy().tolist() if not records.UNLABELLED <= label < labels]
    if labels and unknown:
        return f"clip {_name(clip)!r}, has label {unknown[0]}, but the vocabulary has {labels} labels, from 0"
    return ""


def frame_problem(raw: bytes, source: ClipSource) -> str:
    """What is wrong with the frames of a record, to follow on "record 3"; empty if nothing is."""
    clip = records.parse(tf.constant(raw), source.geometry, source.payload)
    if not bool(clip["has_video"]):
        return ""
    name, size = _name(clip), (int(clip["height"]), int(clip["width"]))
    for number, jpeg in enumerate(clip["jpegs"].numpy()):
        try:
            there = tuple(tf.io.extract_jpeg_shape(jpeg).numpy()[:2].tolist())
            tf.io.decode_jpeg(jpeg, ratio=8)
        except tf.errors.OpError:
            return f"clip {name!r}, holds a frame that is not a JPEG or is cut off (frame {number})"
        if there != size:
            return f"clip {name!r}, holds a frame of {there} pixels (frame {number}), but says {size}"
    return ""


def _name(clip: dict[str, tf.Tensor]) -> str:
    return bytes(clip["id"].numpy()).decode("utf-8", "backslashreplace")
