"""What a form of record files must do: write a file record by record, and give the same records back."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pemt_tf.config import ClipGeometry
from pemt_tf.data.clip_reader import read_clip
from pemt_tf.data.dataset_card import TFRECORD
from pemt_tf.data.record_format import EXAMPLE, ClipRecord, serialize

WEBDATASET, PARQUET, ARRAY_RECORD = "webdataset", "parquet", "array_record"
FORMATS = (TFRECORD, WEBDATASET, PARQUET, ARRAY_RECORD)
HASHED_BYTES = 2**20


@dataclass(frozen=True)
class RecordShape:
    """What all records of a data set have in common.

    Attributes:
        geometry: clip geometry.
        payload: form of a serialized record, a name in `record_format.PAYLOADS`.
        labels: the vocabulary.
        with_waveform: whether records hold waveforms.
    """

    geometry: ClipGeometry
    payload: str = EXAMPLE
    labels: tuple[str, ...] = ()
    with_waveform: bool = False

    def clip(self, record: bytes | memoryview) -> ClipRecord:
        """The clip of a serialized record; ValueError if it is not one."""
        return read_clip(record, self.geometry, self.payload)

    def record(self, clip: ClipRecord) -> bytes:
        """The serialized record of a clip."""
        return serialize(clip, self.geometry, self.payload)


class RecordSink(ABC):
    """A record file that is being written."""

    @abstractmethod
    def write(self, record: bytes | memoryview) -> None:
        """Adds a serialized record, which it may use during the call only."""

    @abstractmethod
    def close(self) -> None:
        """Completes the file."""

    @abstractmethod
    def digest(self) -> tuple[int, str]:
        """Size in bytes and SHA-256 of the file, after `close`."""


class RecordFiles(ABC):
    """A form of record files.

    Attributes:
        name: what users call it.
        suffix: ending of a file's name.
        keeps_bytes: whether a file holds serialized records as they are, not taken apart into columns or members.
    """

    name: str
    suffix: str
    keeps_bytes: bool

    def require(self) -> None:  # noqa: B027 - most forms need nothing
        """Refuses with a PemtError if the package that the form needs is missing."""

    @abstractmethod
    def sink(self, path: Path, name: str, shape: RecordShape) -> RecordSink:
        """Begins a local file; `name` is what it will be called in the data set, such as `train/clips-...tar`."""

    @abstractmethod
    def records(self, path: Path, shape: RecordShape, first: int = 0) -> Iterator[bytes]:
        """The serialized records of a local file in their order, without the `first` ones.

        ValueError says what is damaged. Memory does not grow with the file.
        """


def facts(clip: ClipRecord) -> dict[str, Any]:
    """What a form that takes clips apart says of one, beside its content."""
    return {
        "id": clip.clip_id,
        "path": clip.data_path,
        "start": clip.start,
        "end": clip.end,
        "label": clip.label_indices[0] if clip.label_indices else None,
        "labels": clip.labels,
        "label_indices": clip.label_indices,
        "has_video": clip.jpegs is not None,
        "has_audio": clip.log_mel is not None,
        "height": clip.height,
        "width": clip.width,
    }


def file_digest(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(HASHED_BYTES):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()
