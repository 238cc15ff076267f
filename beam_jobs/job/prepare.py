"""What `beam_jobs.preprocess` does: list, plan, run the graph, check, publish."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from dataclasses import dataclass

from beam_jobs.engines import choice, storage
from beam_jobs.engines.choice import Engine
from beam_jobs.finish import assemble
from beam_jobs.finish.assemble import Making
from beam_jobs.finish.tally import Tally
from beam_jobs.inputs.clip_windows import ClipPlan
from beam_jobs.inputs.selection import InputPlan, make_plan, read_card
from beam_jobs.job.progress import JobProgress
from beam_jobs.plan import sharding
from beam_jobs.plan.job_record import JobRecord
from beam_jobs.plan.output_folder import OutputFolder
from beam_jobs.plan.sharding import Shard
from beam_jobs.worker import outcomes
from beam_jobs.worker.outcomes import FAILED, FILTERED, WRITTEN
from beam_jobs.worker.shard_maker import STOP_NAME, ShardSettings
from pemt_tf.config import Config
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.errors import PemtError
from pemt_tf.media.decoded_clip import DecodeSettings


class JobInterrupted(KeyboardInterrupt):
    """The user stopped the job; the message says what is left of it."""


@dataclass(frozen=True)
class Result:
    """What a job made.

    Attributes:
        card: of the data set.
        notes: lines for the user, said before the summary.
    """

    card: DatasetCard
    notes: tuple[str, ...] = ()


def prepare(options: argparse.Namespace, beam_arguments: list[str], command: str) -> Result:
    """Runs the whole job.

    Args:
        options: of this job.
        beam_arguments: flags for Beam.
        command: as typed, for the card.

    Raises:
        PemtError: nothing was published; says why.
        JobInterrupted: the user stopped it.
    """
    config = Config.from_preset(options.preset).with_overrides(options.set)
    engine = choice.choose(options, beam_arguments)
    plan = make_plan(options)
    output = OutputFolder(options.output)
    settings = worker_settings(options, config, plan.vocabulary, output.work)
    settings.plan.check(plan.clips)
    sharded = sharding.plan_shards(plan.clips, options.shards_per_split)
    job = JobRecord.of(settings, sharded, options.drop_duplicates)
    if output.is_finished and not options.overwrite:
        return _already_finished(options, output, job)
    output.prepare(job, options.overwrite)
    notes = _carried_along(plan)
    shards = guarded(output, lambda: sharding.write_plan(output.work, sharded))
    making = Making(
        output.work, shards, plan.settled, settings, config, job, options.input, command, options.drop_duplicates
    )
    card = guarded(output, lambda: make(making, output, engine, options))
    return Result(card, notes)


def worker_settings(options: argparse.Namespace, config: Config, vocabulary: list[str], folder: str) -> ShardSettings:
    """What the workers need to know, from the flags.

    Raises:
        PemtError: flags contradict each other.
    """
    return ShardSettings(
        folder=folder,
        geometry=config.geometry,
        vocabulary=tuple(vocabulary),
        plan=ClipPlan.from_flags(options.plan, options.window, options.stride, config.geometry),
        payload=options.payload,
        store_waveform=options.store_waveform,
        on_missing={"audio": options.on_missing_audio, "video": options.on_missing_video},
        on_flag={"silent": options.on_silent, "frozen": options.on_frozen},
        decoding=DecodeSettings(options.video_stream, options.audio_stream),
        decode_timeout=options.decode_timeout,
        decode_memory_mb=options.decode_memory_mb,
    )


def _already_finished(options: argparse.Namespace, output: OutputFolder, job: JobRecord) -> Result:
    if not options.resume:
        raise PemtError(
            f"{options.output} already holds a finished data set; choose another --output, or replace it with "
            "--overwrite"
        )
    earlier = JobRecord.read(output.path)
    if earlier != job:
        differences = "; ".join(job.differences(earlier)) if earlier else "its job.json is gone"
        raise PemtError(
            f"{options.output} holds a finished data set of other settings: {differences}; choose another --output, "
            "or replace it with --overwrite"
        )
    return Result(read_card(output.path), ("nothing to do: the data set is finished",))


def _carried_along(plan: InputPlan) -> tuple[str, ...]:
    if not plan.extra_columns:
        return ()
    return (f"columns of the manifest that are carried along: {', '.join(plan.extra_columns)}",)


def guarded(output: OutputFolder, step):
    """Runs a step; if it fails, finished shards stay for the next run and the message says so."""
    try:
        return step()
    except choice.JobWritten:
        raise  # its engine will read the plan
    except KeyboardInterrupt:
        left = output.leave()
        kept = f"{left} finished shards are kept: the same command goes on from there" if left else "nothing is kept"
        raise JobInterrupted(f"interrupted; nothing was written to {output.path}; {kept}") from None
    except OSError as error:
        output.leave()
        raise PemtError(f"cannot write to the output folder {output.path}: {error.strerror or error}") from None
    except BaseException:
        output.leave()
        raise


def make(making: Making, output: OutputFolder, engine: Engine, options: argparse.Namespace) -> DatasetCard:
    """Makes the shards that are missing, checks and counts all of them, and publishes the data set.

    Args:
        making: what is to be made.
        output: where; the working folder is prepared.
        engine: what runs it.
        options: of this job.

    Returns:
        The card.

    Raises:
        PemtError: nothing was published; says why.
    """
    todo = _unfinished(making, output)
    begin, spent = time.monotonic(), _core_seconds()
    if todo:
        _run(engine, todo, making, output, options.max_bad_fraction)
    tally = assemble.check_and_count(making)
    _refuse_bad_result(tally, options.max_bad_fraction, output)
    speed = None
    if not output.is_remote and len(todo) == len(making.shards):  # else others did the work, or did a part of it
        speed = {
            "seconds": time.monotonic() - begin,
            "core_seconds": _core_seconds() - spent,
            "workers": options.num_workers or 1,
        }
    card = assemble.finish(making, speed)
    output.publish()
    return card


def _core_seconds() -> float:
    """CPU time of this process and of those that it has seen end."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _unfinished(making: Making, output: OutputFolder) -> list[Shard]:
    """The shards that are to be made; what another run has finished is passed over."""
    there = output.finished_shards()
    if not there:
        return making.shards
    todo = [
        shard
        for shard in making.shards
        if storage.join(making.folder, shard.stats_name) not in there or not assemble.is_whole(making.folder, shard)
    ]
    sys.stderr.write(f"going on: {len(making.shards) - len(todo)} of {len(making.shards)} shards are finished\n")
    return todo


def _run(engine: Engine, shards: list[Shard], making: Making, output: OutputFolder, max_bad: float) -> None:
    total = sum(shard.clips for shard in making.shards)
    settled_bad = sum(one.kind == FAILED for one in making.settled)
    most_bad = int(max_bad * (total + len(making.settled))) - settled_bad
    watched = None if output.is_remote else output.work
    stop = watched and storage.join(watched, STOP_NAME)
    try:
        with JobProgress(watched and storage.join(watched, "outcomes"), total, most_bad=most_bad, stop_file=stop):
            engine.run(shards, making.settings)
    except PemtError:
        if stop and storage.exists(stop):
            tally = Tally()
            tally.add_all(making.settled)
            tally.add_all(assemble.outcomes_so_far(output.work))
            _refuse_bad_result(tally, max_bad, output, early_of=total + len(making.settled))
        raise


def _refuse_bad_result(tally: Tally, max_bad: float, output: OutputFolder, early_of: int | None = None) -> None:
    failed, filtered = tally.causes(FAILED), tally.causes(FILTERED)
    bad, total = sum(failed.values()), early_of or tally.inputs
    causes = outcomes.describe(failed)
    example = f"; for example {tally.example.input.name}: {tally.example.detail}" if tally.example else ""
    if not tally.kinds[WRITTEN] and early_of is None:
        left_out = f" and {sum(filtered.values())} were left out ({outcomes.describe(filtered)})" if filtered else ""
        output.discard()
        raise PemtError(f"no clip could be made: {bad} inputs failed ({causes}){left_out}{example}")
    if bad > max_bad * total:
        stopped = f"stopped after {tally.inputs} of {total} inputs: " if early_of else ""
        raise PemtError(
            f"{stopped}{bad} of {total} inputs failed ({causes}), more than --max_bad_fraction={max_bad:g} "
            f"allows{example}; all of them: {assemble.write_failures(output.work)}"
        )
