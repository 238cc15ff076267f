"""Removes clips from record files that are written already."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from beam_jobs.engines import storage
from beam_jobs.finish.duplicates import DuplicatePair
from beam_jobs.plan.shards import Shard
from beam_jobs.worker.outcomes import FILTERED, InputOutcome, SkippedWindow, read_outcomes
from beam_jobs.worker.shard_maker import ShardWriter
from pemt_tf.data.record_format import read_records


def drop(folder: str, shards: list[Shard], unwanted: dict[str, DuplicatePair]) -> None:
    """Rewrites every shard that holds an unwanted clip without it; the clip counts as filtered.

    Args:
        folder: working folder of the data set.
        shards: all shards.
        unwanted: clip ids, each with the pair that is the reason.
    """
    for shard in shards:
        outcomes = list(read_outcomes(storage.join(folder, shard.outcome_name)))
        if any(clip.clip_id in unwanted for outcome in outcomes for clip in outcome.clips):
            _rewrite(folder, shard, outcomes, unwanted)


def _rewrite(folder: str, shard: Shard, outcomes: list[InputOutcome], unwanted: dict[str, DuplicatePair]) -> None:
    # Without its statistics the shard is unfinished: if the job is killed in between, the next run makes it again.
    storage.remove(storage.join(folder, shard.stats_name))
    with tempfile.TemporaryDirectory() as scratch:
        old = Path(scratch, "clips.tfrecord")
        with storage.local_copy(storage.join(folder, shard.name)) as local:
            old.write_bytes(Path(local).read_bytes())
        storage.remove(storage.join(folder, shard.name))
        with old.open("rb") as file, ShardWriter(folder, shard) as writer:
            records = read_records(file)
            for outcome in outcomes:
                for clip in outcome.clips:
                    record = next(records)
                    if clip.clip_id not in unwanted:
                        writer.write(record)
                writer.note(_without(outcome, unwanted))
            writer.finish()


def _without(outcome: InputOutcome, unwanted: dict[str, DuplicatePair]) -> InputOutcome:
    dropped = tuple(
        SkippedWindow(clip.start, clip.end, FILTERED, "duplicate", _why(clip.clip_id, unwanted[clip.clip_id]))
        for clip in outcome.clips
        if clip.clip_id in unwanted
    )
    if not dropped:
        return outcome
    clips = tuple(clip for clip in outcome.clips if clip.clip_id not in unwanted)
    if clips:
        return dataclasses.replace(outcome, clips=clips, left_out=outcome.left_out + dropped)
    return InputOutcome(
        FILTERED, outcome.input, "duplicates", "duplicate", dropped[0].detail, left_out=dropped, source=outcome.source
    )


def _why(name: str, pair: DuplicatePair) -> str:
    other, split = (pair.second, pair.second_split) if pair.first == name else (pair.first, pair.first_split)
    return f"same {pair.what} as {other} in the {split} split"
