"""Which record file a clip goes to and how its clips are cut, decided before anything is decoded.

The plan is a file; Beam only carries where in it a shard's clips stand. So neither the list of two million clips nor
any media byte travels between stages, memory does not grow with the input, and a shard is the unit that a worker
does, loses or repeats as a whole. The plan depends on the list of clips alone: the bytes of the shards are the same
whatever the runner and the number of workers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from beam_jobs.engines import storage
from beam_jobs.inputs.file_listing import InputClip, hash_fraction
from beam_jobs.inputs.members import dealt_as
from pemt_tf.config import ClipGeometry, flat_fields
from pemt_tf.data.dataset_card import SPLITS
from pemt_tf.data.record_format import EXAMPLE
from pemt_tf.errors import PemtError
from pemt_tf.formats.named import SUFFIXES
from pemt_tf.formats.record_files import TFRECORD, RecordShape
from pemt_tf.media.decoded_clip import DecodeSettings

UNIFORM, WINDOWS, SEGMENTS = "uniform", "windows", "segments"
PLAN_NAME, JOB_NAME = "plan.jsonl", "job.json"
NOT_IN_RESULT = ("folder", "decode_timeout", "decode_memory_mb")  # settings that good clips do not depend on
ONLY_IF_OTHER = {"format": TFRECORD}  # settings that are recorded if they differ from what was once the only one
CLIPS_PER_SHARD = 64  # about 150 MB of avbert_base records
SMALL_SHARD = 8  # clips; lets a few workers share a small data set
SMALL_SHARDS = 16
STATISTICS_NAME = re.compile(r"stats/(\w+)-((?:\w+-)?)(\d{5})-of-(\d{5})\.json$")


@dataclass(frozen=True)
class ClipCutting:
    """How clips are cut from an input (`--plan`)."""

    kind: str = UNIFORM  # spread over all of it; of a fixed length; as the manifest says
    window: float | None = None  # length, seconds
    stride: float | None = None  # from the start of one window to the start of the next, seconds

    @classmethod
    def from_flags(cls, kind: str, window: float | None, stride: float | None, geometry: ClipGeometry) -> ClipCutting:
        """Reads the flags; by default a window is as long as all segments side by side."""
        if kind != WINDOWS:
            if window is not None or stride is not None:
                raise PemtError("--window and --stride belong to --plan=windows")
            return cls(kind)
        window = geometry.segments * geometry.segment_seconds if window is None else window
        if window < geometry.segment_seconds:
            raise PemtError(
                f"--window={window:g} is shorter than one segment of the preset, {geometry.segment_seconds:.3f} s; "
                "make it longer, or choose another geometry"
            )
        return cls(kind, window, window if stride is None else stride)

    def check(self, clips: list[InputClip]) -> None:
        """Refuses inputs without the start and end that `segments` needs."""
        without = next((clip for clip in clips if clip.start is None or clip.end is None), None)
        if self.kind == SEGMENTS and without is not None:
            raise PemtError(
                f"--plan=segments needs a manifest with start and end in every row; {without.name} has "
                f"{'no end' if without.start is not None else 'no start'}"
            )


@dataclass(frozen=True)
class ShardSettings:
    """What a worker needs to know."""

    folder: str  # working folder of the data set
    geometry: ClipGeometry
    vocabulary: tuple[str, ...]  # a label's index is its place
    plan: ClipCutting = field(default_factory=ClipCutting)
    payload: str = EXAMPLE  # form of the records, a name in `record_format.PAYLOADS`
    store_waveform: bool = False
    on_missing: dict[str, str] = field(default_factory=lambda: {"audio": "mask", "video": "mask"})
    on_flag: dict[str, str] = field(default_factory=lambda: {"silent": "keep", "frozen": "keep"})
    decoding: DecodeSettings = field(default_factory=DecodeSettings)
    decode_timeout: float = 120.0  # seconds for a clip
    decode_memory_mb: int = 4096
    format: str = TFRECORD  # form of the record files, a name in `record_files.FORMATS`

    @property
    def shape(self) -> RecordShape:
        """What all records have in common."""
        return RecordShape(self.geometry, self.payload, self.vocabulary, self.store_waveform)


@dataclass(frozen=True)
class Shard:
    """One record file to be written: `number` of the `count` files of `split`."""

    split: str
    number: int
    count: int
    offset: int  # of its clips in the plan file, bytes; length 0: no place there
    length: int
    clips: int  # number of inputs, each of which becomes one clip or, cut into windows, several
    tag: str = ""  # where shards are added to a data set, so that no name is used twice
    format: str = TFRECORD  # form of the record file

    @classmethod
    def of_statistics(cls, path: str, format: str = TFRECORD) -> Shard:
        """The shard that a statistics file belongs to, without a place in a plan."""
        found = STATISTICS_NAME.search(path)
        if found is None:
            raise PemtError(f"{path} is not the name of a statistics file; remove it from the data set")
        split, tag, number, count = found.groups()
        return cls(split, int(number), int(count), 0, 0, 0, tag, format)

    @property
    def name(self) -> str:
        """The record file, relative to the data set."""
        return f"{self.split}/clips-{self._place}{SUFFIXES[self.format]}"

    @property
    def stats_name(self) -> str:
        """The statistics file, relative to the data set. Where it exists, the shard is finished."""
        return f"stats/{self.split}-{self._place}.json"

    @property
    def outcome_name(self) -> str:
        """The file with the outcome of each input, relative to the data set."""
        return f"outcomes/{self.split}-{self._place}.jsonl"

    @property
    def _place(self) -> str:
        return f"{self.tag}{self.number:05d}-of-{self.count:05d}"


PlannedShard = tuple[Shard, list[InputClip]]


def default_shard_count(clips: int) -> int:
    """Shards of one split: many small ones for small sets, so that workers can share, then files of a good size."""
    return max(1, -(-clips // CLIPS_PER_SHARD), min(SMALL_SHARDS, -(-clips // SMALL_SHARD)))


def plan_shards(
    clips: list[InputClip], per_split: int | None, tag: str = "", format: str = TFRECORD
) -> list[PlannedShard]:
    """Deals clips into shards, evenly and in an order that has nothing to do with their names."""
    plan = []
    for split in SPLITS:
        chosen = sorted(
            (clip for clip in clips if clip.split == split),
            # Parts of one file stay together, and so do the cells of one row group.
            key=lambda clip: (hash_fraction("shard " + dealt_as(clip.path, clip.name)), clip.clip_id),
        )
        count = min(per_split or default_shard_count(len(chosen)), len(chosen))
        for number in range(count):
            part = chosen[number * len(chosen) // count : (number + 1) * len(chosen) // count]
            part.sort(key=lambda clip: (clip.name, clip.clip_id))
            plan.append((Shard(split, number, count, 0, 0, len(part), tag, format), part))
    return plan


def write_plan(folder: str, plan: list[PlannedShard]) -> list[Shard]:
    """Writes the plan file; returns the shards with their places in it."""
    placed, offset = [], 0
    with storage.open_write(storage.join(folder, PLAN_NAME)) as file:
        for shard, clips in plan:
            lines = "".join(json.dumps(dataclasses.asdict(clip)) + "\n" for clip in clips).encode("ascii")
            file.write(lines)
            placed.append(dataclasses.replace(shard, offset=offset, length=len(lines)))
            offset += len(lines)
    return placed


def read_plan(folder: str, shard: Shard) -> list[InputClip]:
    """The clips of one shard."""
    with storage.open_read(storage.join(folder, PLAN_NAME)) as file:
        file.seek(shard.offset)
        lines = file.read(shard.length)
    return [InputClip.from_json(json.loads(line)) for line in lines.splitlines()]


@dataclass(frozen=True)
class JobRecord:
    """Everything that determines the bytes of a data set, so that another run can tell whether it does the same."""

    settings: dict[str, Any]  # by name; nested names are joined by dots
    inputs: int  # their number
    inputs_hash: str  # SHA-256 of their list: names and sizes count, the place of the files does not

    @classmethod
    def of(cls, settings: ShardSettings, plan: list[PlannedShard], **others: str) -> JobRecord:
        """Records a job; `others` are further settings."""
        digest = hashlib.sha256()
        for shard, clips in plan:
            digest.update(shard.name.encode() + b"\n")
            for clip in clips:
                line = json.dumps({**dataclasses.asdict(clip), "path": ""}, sort_keys=True)
                digest.update(line.encode("ascii") + b"\n")
        fields = dataclasses.asdict(settings)
        left_out = {*NOT_IN_RESULT, *(name for name, usual in ONLY_IF_OTHER.items() if fields[name] == usual)}
        chosen = flat_fields({name: value for name, value in fields.items() if name not in left_out})
        values = json.loads(json.dumps({**chosen, **others}))  # as they will be read: JSON makes lists of tuples
        return cls(values, sum(len(clips) for _, clips in plan), digest.hexdigest())

    @property
    def configuration_hash(self) -> str:
        """SHA-256 of the whole record."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()

    def differences(self, earlier: JobRecord) -> list[str]:
        """The differences from an earlier job, one sentence each."""
        found = [
            f"{name} was {earlier.settings.get(name)!r} and is {self.settings.get(name)!r}"
            for name in sorted(set(self.settings) | set(earlier.settings))
            if self.settings.get(name) != earlier.settings.get(name)
        ]
        if self.inputs != earlier.inputs:
            found.append(f"there were {earlier.inputs} inputs and are {self.inputs}")
        elif self.inputs_hash != earlier.inputs_hash:
            found.append("the list of inputs (names, sizes, labels, splits or number of shards) is different")
        return found

    def write(self, folder: str) -> None:
        """Writes `job.json`."""
        storage.write_text(storage.join(folder, JOB_NAME), json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, folder: str) -> JobRecord | None:
        """Reads `job.json`; None where there is none, or where a crash left half of it."""
        path = storage.join(folder, JOB_NAME)
        if not storage.exists(path):
            return None
        try:
            with storage.open_read(path) as file:
                return cls(**json.loads(file.read()))
        except OSError as error:
            raise PemtError(f"cannot read {path}: {error.strerror or error}") from None
        except (ValueError, TypeError):
            return None
