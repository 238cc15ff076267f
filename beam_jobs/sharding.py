"""Which record file a clip goes to, decided before anything is decoded.

The plan is a file; Beam only carries where in it a shard's clips stand. So neither the list of two million clips nor
any media byte travels between stages, memory does not grow with the input, and a shard is the unit that a worker
does, loses or repeats as a whole. The plan depends on the list of clips alone: the bytes of the shards are the same
whatever the runner and the number of workers.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from beam_jobs import storage
from beam_jobs.inputs import InputClip
from beam_jobs.splits import hash_fraction
from pemt_tf.data.dataset_card import SPLITS

PLAN_NAME = "plan.jsonl"
CLIPS_PER_SHARD = 64  # about 150 MB of avbert_base records
SMALL_SHARD = 8  # clips; lets a few workers share a small data set
SMALL_SHARDS = 16


@dataclass(frozen=True)
class Shard:
    """One record file to be written.

    Attributes:
        split, number, count: it is `number` of the `count` files of `split`.
        offset, length: where in the plan file its clips are, bytes.
        clips: how many.
    """

    split: str
    number: int
    count: int
    offset: int
    length: int
    clips: int

    @property
    def name(self) -> str:
        """File name, relative to the data set."""
        return f"{self.split}/clips-{self.number:05d}-of-{self.count:05d}.tfrecord"


def default_shard_count(clips: int) -> int:
    """Shards of one split: many small ones for small sets, so that workers can share, then files of a good size."""
    return max(1, -(-clips // CLIPS_PER_SHARD), min(SMALL_SHARDS, -(-clips // SMALL_SHARD)))


def plan_shards(clips: list[InputClip], per_split: int | None) -> list[tuple[Shard, list[InputClip]]]:
    """Deals clips into shards, evenly and in an order that has nothing to do with their names.

    Args:
        clips: all with a split.
        per_split: shards of each split; None for `default_shard_count`.

    Returns:
        Shards (without a place in the plan file) and their clips, sorted by id.
    """
    plan = []
    for split in SPLITS:
        chosen = sorted(
            (clip for clip in clips if clip.split == split),
            key=lambda clip: (hash_fraction("shard " + clip.clip_id), clip.clip_id),
        )
        count = min(per_split or default_shard_count(len(chosen)), len(chosen))
        for number in range(count):
            part = chosen[number * len(chosen) // count : (number + 1) * len(chosen) // count]
            part.sort(key=lambda clip: clip.clip_id)
            plan.append((Shard(split, number, count, 0, 0, len(part)), part))
    return plan


def write_plan(folder: str, plan: list[tuple[Shard, list[InputClip]]]) -> list[Shard]:
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
    return [InputClip(**json.loads(line)) for line in lines.splitlines()]
