"""Lists what is to be embedded, in units that a worker reads as a whole: a record file of a data set, or a few videos.

The plan depends on the input alone, and every clip has its place in it. So the rows of the result are the same, in the
same order, whatever the runner and the number of workers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_jobs.engines import storage
from beam_jobs.inputs.file_listing import InputClip, SkippedFile
from beam_jobs.inputs.manifest_rows import LABEL_SEPARATOR
from beam_jobs.inputs.paths import WILDCARDS
from beam_jobs.inputs.selection import is_manifest, list_source, read_card
from beam_jobs.plan.shards import PLAN_NAME
from pemt_tf.config import ClipGeometry
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.dataset_card import CARD_NAME, DatasetCard
from pemt_tf.errors import PemtError
from pemt_tf.files.names import original
from pemt_tf.search.embedding_card import RECORDS, VIDEOS

RECORDS_OF_MODELS = "example"  # what the signature for records parses
VIDEOS_PER_UNIT = 8  # lets a few workers share a small input


@dataclass(frozen=True)
class InputUnit:
    """What a worker reads at once."""

    number: int  # place among all units; rows are sorted by it
    shard: int  # number of the Parquet file that its rows go to
    record_file: str = ""  # as written in the data set's card; empty for videos
    split: str = ""
    offset: int = 0  # of its videos in the plan file, bytes
    length: int = 0


@dataclass(frozen=True)
class EmbeddingInput:
    """Everything that is to be embedded."""

    kind: str  # `records` or `videos`
    path: str
    root: str
    source_hash: str
    units: list[InputUnit]
    clips: int  # their number
    filtered: list[SkippedFile] = dataclasses.field(default_factory=list)
    compression: str = ""  # of the record files, as TensorFlow names it
    plan: bytes = b""  # contents of the plan file, for videos
    unreadable: list[SkippedFile] = dataclasses.field(default_factory=list)  # folders, each a failure
    notes: tuple[str, ...] = ()  # what the user should know about how videos were understood, one line each

    @property
    def shards(self) -> int:
        """Number of Parquet files."""
        return self.units[-1].shard + 1


def open_source(path: str, geometry: ClipGeometry, split: str, clips_per_file: int) -> EmbeddingInput:
    """Lists a data set of ours or videos; decodes nothing."""
    if storage.exists(storage.join(path, CARD_NAME)):
        return _records(path, geometry, split, clips_per_file)
    return _videos(path, split, clips_per_file)


def _records(path: str, geometry: ClipGeometry, split: str, clips_per_file: int) -> EmbeddingInput:
    source, card = _open_data_set(path)
    source.require_geometry(geometry)
    if card.payload != RECORDS_OF_MODELS:
        raise PemtError(
            f"{path} holds records of the form {card.payload}, but models read {RECORDS_OF_MODELS}; give the videos as "
            "--input, or preprocess them with --payload=example"
        )
    if split != "all":
        source.require_split(split)
    units, clips = [], 0
    for name, part in card.splits.items():
        if split not in ("all", name):
            continue
        source.require_whole(name)
        # The card does not say how many clips each file has; files of one split have about as many.
        for number, file in enumerate(part.files):
            before = clips + part.clips * number // len(part.files)
            units.append(InputUnit(len(units), before // clips_per_file, file, name))
        clips += part.clips
    units = _without_gaps(units)
    if not clips:
        raise PemtError(f"the data set {path} holds no clip; preprocess videos first")
    place = path if storage.is_remote(path) else str(Path(path).absolute())
    root = _root(original(card.source)) if card.source else ""
    return EmbeddingInput(RECORDS, place, root, card.content_hash, units, clips, compression=source.compression)


def _without_gaps(units: list[InputUnit]) -> list[InputUnit]:
    """Numbers the shards 0, 1, 2 ..., without the gaps that large record files leave."""
    numbers = {shard: number for number, shard in enumerate(dict.fromkeys(unit.shard for unit in units))}
    return [dataclasses.replace(unit, shard=numbers[unit.shard]) for unit in units]


def _open_data_set(path: str) -> tuple[ClipSource, DatasetCard]:
    card = read_card(path)
    card.require_tfrecord(path)
    if not storage.is_remote(path):
        return ClipSource.open(path), card
    files = {name: tuple(part.files) for name, part in card.splits.items()}
    return ClipSource(files, card.geometry, tuple(card.labels), path, card.content_hash), card


def _videos(path: str, split: str, clips_per_file: int) -> EmbeddingInput:
    listing = list_source(path)
    clips = [clip for clip in listing.clips if split in ("all", clip.split)]
    if not clips:
        raise PemtError(f"no clip of {path} is in the split {split!r}; use --split all, or name the splits by folders")
    units, lines, offset = [], [], 0
    for first in range(0, len(clips), VIDEOS_PER_UNIT):
        part = b"".join(_plan_line(clip) for clip in clips[first : first + VIDEOS_PER_UNIT])
        units.append(InputUnit(len(units), first // clips_per_file, offset=offset, length=len(part)))
        lines.append(part)
        offset += len(part)
    is_all = split == "all"
    return EmbeddingInput(
        kind=VIDEOS,
        path=path if storage.is_remote(path) else str(Path(path).absolute()),
        root=_root(path),
        source_hash=_listing_hash(clips),
        units=_without_gaps(units),
        clips=len(clips),
        filtered=listing.filtered if is_all else [],
        plan=b"".join(lines),
        unreadable=listing.unreadable if is_all else [],
        notes=listing.notes,
    )


def _root(path: str) -> str:
    """The folder that the names of the videos are relative to, which depends on how they were listed."""
    if not storage.is_remote(path):
        path = str(Path(path).absolute())
        if Path(path).is_dir():
            return path
    elif not is_manifest(path) and not WILDCARDS.search(path):
        return path.rstrip("/")
    return WILDCARDS.split(path, maxsplit=1)[0].rpartition("/")[0]


def _plan_line(clip: InputClip) -> bytes:
    values = {
        "location": clip.path,
        "id": clip.clip_id,
        "path": clip.name,
        "start": clip.start,
        "end": clip.end,
        "label": LABEL_SEPARATOR.join(clip.labels) or None,
        "split": clip.split,
    }
    return json.dumps(values).encode("ascii") + b"\n"


def _listing_hash(clips: list[InputClip]) -> str:
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(json.dumps([clip.name, clip.size, clip.start, clip.end]).encode("ascii") + b"\n")
    return digest.hexdigest()


def read_plan(folder: str, unit: InputUnit) -> list[dict[str, Any]]:
    """The videos of a unit: `location`, and the known columns of their rows."""
    with storage.open_read(storage.join(folder, PLAN_NAME)) as file:
        file.seek(unit.offset)
        return [json.loads(line) for line in file.read(unit.length).splitlines()]
