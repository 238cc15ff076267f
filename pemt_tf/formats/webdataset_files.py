"""WebDataset: tars in which the members of a clip follow each other, with one key before the first dot of their names.

    train-00000-of-00004-000000.json          all that is not content
    train-00000-of-00004-000000.000.jpg ...   the frames, row-major
    train-00000-of-00004-000000.log_mel.npy   float32 [segments, mel_bins, mel_frames]
    train-00000-of-00004-000000.waveform.npy  float32 [segments, samples], if it is stored

Times are seconds. A missing modality has no members. Equal records give equal bytes: headers hold no time and no user.
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pemt_tf.data.record_format import ClipRecord
from pemt_tf.files.tar_members import tar_members
from pemt_tf.formats.named import SUFFIXES
from pemt_tf.formats.record_files import WEBDATASET, RecordFiles, RecordShape, RecordSink, facts, file_digest

ABOUT, FRAME, LOG_MEL, WAVEFORM = "json", "jpg", "log_mel.npy", "waveform.npy"
BUFFER_BYTES = 2**20


class WebDatasetFiles(RecordFiles):
    """Tars of JPEGs, arrays and JSON."""

    name, suffix, keeps_bytes = WEBDATASET, SUFFIXES[WEBDATASET], False

    def sink(self, path: Path, name: str, shape: RecordShape) -> RecordSink:
        """Begins a file; see `RecordFiles.sink`."""
        return WebDatasetSink(path, name.removesuffix(self.suffix).replace("/clips-", "-").replace("/", "-"), shape)

    def records(self, path: Path, shape: RecordShape, first: int = 0) -> Iterator[bytes]:
        """The records of a file; see `RecordFiles.records`."""
        if not path.stat().st_size:
            return
        with path.open("rb", BUFFER_BYTES) as file:
            samples = itertools.groupby(tar_members(file), key=lambda member: member.name.partition(".")[0])
            for number, (key, members) in enumerate(samples):
                if number < first:
                    continue
                parts = {member.name.partition(".")[2]: _content(file, member) for member in members}
                try:
                    yield shape.record(_clip(parts))
                except (KeyError, ValueError, TypeError) as error:
                    said = f"it has no {error}" if isinstance(error, KeyError) else str(error)
                    raise ValueError(f"sample {key!r} is not a clip: {said}") from None


class WebDatasetSink(RecordSink):
    """Writes a tar; `prefix` begins all keys of the file."""

    def __init__(self, path: Path, prefix: str, shape: RecordShape) -> None:
        self._path, self._prefix, self._shape = path, prefix, shape
        self._file = path.open("wb", BUFFER_BYTES)
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        self._rows = 0

    def write(self, record: bytes | memoryview) -> None:
        """Adds a record."""
        clip = self._shape.clip(record)
        key = f"{self._prefix}-{self._rows:06d}"
        self._add(f"{key}.{ABOUT}", json.dumps(_about(clip)).encode("ascii"))
        digits = max(3, len(str(len(clip.jpegs or ()) - 1)))
        for number, jpeg in enumerate(clip.jpegs or ()):
            self._add(f"{key}.{number:0{digits}d}.{FRAME}", jpeg)
        for name, array in ((LOG_MEL, clip.log_mel), (WAVEFORM, clip.waveform)):
            if array is not None:
                self._add(f"{key}.{name}", _array_file(array))
        self._rows += 1

    def _add(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))
        self._tar.members = []  # pyright: ignore[reportAttributeAccessIssue] - it would keep all of them

    def close(self) -> None:
        """Completes the file."""
        if not self._file.closed:
            with self._file:
                self._tar.close()

    def digest(self) -> tuple[int, str]:
        """Size and SHA-256 of the file."""
        return file_digest(self._path)


def _about(clip: ClipRecord) -> dict[str, Any]:
    """What the JSON member says."""
    return {
        **facts(clip),
        "frame_times": clip.image_times,
        "extra": dict(clip.extra),
    }


def _clip(parts: dict[str, bytes]) -> ClipRecord:
    about = json.loads(parts[ABOUT])
    frames = [content for name, content in sorted(parts.items()) if name.endswith(f".{FRAME}")]
    if bool(frames) != about["has_video"] or (LOG_MEL in parts) != about["has_audio"]:
        raise ValueError(f"its {ABOUT} names modalities that are not there, or members that it does not name are")
    return ClipRecord(
        clip_id=about["id"],
        data_path=about["path"],
        start=about["start"],
        end=about["end"],
        jpegs=frames if about["has_video"] else None,
        image_times=about["frame_times"],
        height=about["height"],
        width=about["width"],
        log_mel=_array(parts, LOG_MEL),
        labels=tuple(about["labels"]),
        label_indices=tuple(about["label_indices"]),
        waveform=_array(parts, WAVEFORM),
        extra=tuple(sorted(about["extra"].items())),
    )


def _array_file(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array, "<f4"), allow_pickle=False)
    return file.getvalue()


def _array(parts: dict[str, bytes], name: str) -> np.ndarray | None:
    return np.load(io.BytesIO(parts[name]), allow_pickle=False) if name in parts else None


def _content(file: BinaryIO, member: tarfile.TarInfo) -> bytes:
    file.seek(member.offset_data)
    content = file.read(member.size)
    if len(content) < member.size:
        raise ValueError(f"the tar ends within {member.name}")
    return content
