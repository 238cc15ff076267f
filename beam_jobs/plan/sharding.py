"""Which record file a clip goes to, decided before anything is decoded.

The plan is a file; Beam only carries where in it a shard's clips stand. So neither the list of two million clips nor
any media byte travels between stages, memory does not grow with the input, and a shard is the unit that a worker
does, loses or repeats as a whole. The plan depends on the list of clips alone: the bytes of the shards are the same
whatever the runner and the number of workers.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass

from beam_jobs.engines import storage
from beam_jobs.inputs.file_listing import InputClip
from beam_jobs.inputs.splits import hash_fraction
from pemt_tf.data.dataset_card import SPLITS

PLAN_NAME = "plan.jsonl"
CLIPS_PER_SHARD = 64  # about 150 MB of avbert_base records
SMALL_SHARD = 8  # clips; lets a few workers share a small data set
SMALL_SHARDS = 16
STATISTICS_NAME = re.compile(r"stats/(\w+)-((?:\w+-)?)(\d{5})-of-(\d{5})\.json$")


@dataclass(frozen=True)
class Shard:
    """One record file to be written.

    Attributes:
        split, number, count: it is `number` of the `count` files of `split`.
        offset, length: where in the plan file its clips are, bytes.
        tag: begins the file's number where shards are added to a data set: no name is used twice.
        clips: inputs, each of which becomes one clip or, cut into windows, several.
    """

    split: str
    number: int
    count: int
    offset: int
    length: int
    clips: int
    tag: str = ""

    @classmethod
    def of_statistics(cls, path: str) -> Shard:
        """The shard that a file of statistics belongs to; without a place in a plan."""
        split, tag, number, count = STATISTICS_NAME.search(path).groups()
        return cls(split, int(number), int(count), 0, 0, 0, tag)

    @property
    def name(self) -> str:
        """Of the record file, relative to the data set."""
        return f"{self.split}/clips-{self._place}.tfrecord"

    @property
    def stats_name(self) -> str:
        """Of the file of statistics, relative to the data set. Where it is, the shard is finished."""
        return f"stats/{self.split}-{self._place}.json"

    @property
    def outcome_name(self) -> str:
        """Of the file that says what became of each input, relative to the working folder."""
        return f"outcomes/{self.split}-{self._place}.jsonl"

    @property
    def _place(self) -> str:
        return f"{self.tag}{self.number:05d}-of-{self.count:05d}"


def default_shard_count(clips: int) -> int:
    """Shards of one split: many small ones for small sets, so that workers can share, then files of a good size."""
    return max(1, -(-clips // CLIPS_PER_SHARD), min(SMALL_SHARDS, -(-clips // SMALL_SHARD)))


def plan_shards(clips: list[InputClip], per_split: int | None, tag: str = "") -> list[tuple[Shard, list[InputClip]]]:
    """Deals clips into shards, evenly and in an order that has nothing to do with their names.

    Args:
        clips: all with a split.
        per_split: shards of each split; None for `default_shard_count`.
        tag: of the shards.

    Returns:
        Shards (without a place in the plan file) and their clips, sorted by name and id.
    """
    plan = []
    for split in SPLITS:
        chosen = sorted(
            (clip for clip in clips if clip.split == split),
            key=lambda clip: (hash_fraction("shard " + clip.name), clip.clip_id),  # parts of one file stay together
        )
        count = min(per_split or default_shard_count(len(chosen)), len(chosen))
        for number in range(count):
            part = chosen[number * len(chosen) // count : (number + 1) * len(chosen) // count]
            part.sort(key=lambda clip: (clip.name, clip.clip_id))
            plan.append((Shard(split, number, count, 0, 0, len(part), tag), part))
    return plan


def write_plan(folder: str, plan: list[tuple[Shard, list[InputClip]]]) -> list[Shard]:
    """Writes the plan file; returns the shards with their places in it."""
    placed, offset = [], 0
    with storage.open_write(storage.join(folder, PLAN_NAME)) as file:
        for shard, clips in plan:
            lines = "".join(json.dumps(clip.to_json()) + "\n" for clip in clips).encode("ascii")
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
