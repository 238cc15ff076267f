"""The steps of `beam_jobs.preprocess`: list, plan, run, check, publish."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from beam_jobs.engines import storage
from beam_jobs.finish import assemble
from beam_jobs.finish.assemble import DatasetJob, split_findings
from beam_jobs.inputs.selection import read_card, select_inputs
from beam_jobs.job.options import PreprocessOptions
from beam_jobs.plan import shards
from beam_jobs.plan.output_folder import STOP_NAME, OutputFolder
from beam_jobs.plan.shards import ClipCutting, JobRecord, Shard, ShardSettings
from beam_jobs.worker.outcomes import (
    FAILED,
    FILTERED,
    WRITTEN,
    OutcomeCounts,
    describe,
    job_progress,
    outcome_lines,
    refuse_failures,
)
from beam_jobs.worker.shard_maker import LocalEngine
from pemt_tf.config import Config
from pemt_tf.data.dataset_card import CARD_NAME, DatasetCard
from pemt_tf.errors import PemtError
from pemt_tf.formats.named import record_files
from pemt_tf.media.decoded_clip import DecodeSettings
from pemt_tf.terminal.flags import UnknownOptionError

if TYPE_CHECKING:
    from beam_jobs.engines.beam_runners import BeamEngine

    Engine = LocalEngine | BeamEngine


Prepared = tuple[DatasetCard, list[str]]  # the card, and lines for the user, printed before the summary


def prepare(options: PreprocessOptions) -> Prepared:
    """Runs the whole job, or raises an error and publishes nothing."""
    config = Config.from_preset(options.preset).with_overrides(options.set)
    record_files(options.format).require()
    engine = choose_engine(options.runner, options.num_workers, options.beam_arguments)
    inputs = select_inputs(options)
    output = OutputFolder(options.output)
    settings = worker_settings(options, config, inputs.vocabulary, output.work)
    settings.plan.check(inputs.clips)
    plan = shards.plan_shards(inputs.clips, options.shards_per_split, format=options.format)
    record = JobRecord.of(settings, plan, drop_duplicates=options.drop_duplicates)
    if output.is_finished and not options.overwrite:
        return already_finished(options.output, options.resume, output, record)
    output.prepare(record, options.overwrite)
    extra = ", ".join(inputs.extra_columns)
    notes = [f"columns of the manifest that are carried along: {extra}"] if extra else []
    with output.guarded():
        job = DatasetJob(
            folder=output.work,
            shards=shards.write_plan(output.work, plan),
            settled=inputs.settled,
            settings=settings,
            config=config,
            record=record,
            source=options.input,
            command=options.command,
            drop_duplicates=options.drop_duplicates,
        )
        return make(job, output, engine, options), notes


def choose_engine(runner: str | None, num_workers: int | None, beam_arguments: tuple[str, ...]) -> Engine:
    """The engine that the flags name."""
    if of_beam := runner_of_beam(runner, beam_arguments):
        from beam_jobs.engines.beam_runners import BeamEngine  # Beam's import takes seconds

        return BeamEngine(of_beam, num_workers, beam_arguments)
    return LocalEngine(num_workers or 1)


def runner_of_beam(runner: str | None, beam_arguments: tuple[str, ...]) -> str | None:
    """Name of a runner of Beam, or None for this machine alone; without a name, flags of Beam mean its local runner."""
    runner = runner or ("FnApiRunner" if beam_arguments else "local")
    if runner.lower() != "local":
        return runner
    if beam_arguments:
        raise UnknownOptionError(beam_arguments[0], "see --help. Flags of Beam need a --runner of Beam")
    return None


def worker_settings(options: PreprocessOptions, config: Config, vocabulary: list[str], folder: str) -> ShardSettings:
    """What the workers need to know, from the flags."""
    return ShardSettings(
        folder=folder,
        geometry=config.geometry,
        vocabulary=tuple(vocabulary),
        plan=ClipCutting.from_flags(options.plan, options.window, options.stride, config.geometry),
        payload=options.payload,
        store_waveform=options.store_waveform,
        on_missing={"audio": options.on_missing_audio, "video": options.on_missing_video},
        on_flag={"silent": options.on_silent, "frozen": options.on_frozen},
        decoding=DecodeSettings(options.video_stream, options.audio_stream, options.jpeg_quality),
        decode_timeout=options.decode_timeout,
        decode_memory_mb=options.decode_memory_mb,
        format=options.format,
    )


def already_finished(typed: str, resume: bool, output: OutputFolder, record: JobRecord) -> Prepared:
    """What to say of a finished output with --resume; without it, or if the settings differ, an error.

    `typed` is the folder as the user gave it.
    """
    if not resume:
        raise PemtError(
            f"{typed} already holds a finished data set; choose another --output, or replace it with --overwrite"
        )
    earlier = JobRecord.read(output.path)
    if earlier != record:
        differences = "; ".join(record.differences(earlier)) if earlier else "its job.json is gone"
        raise PemtError(
            f"{typed} holds a finished data set of other settings: {differences}; choose another --output, "
            "or replace it with --overwrite"
        )
    return read_card(output.path), ["nothing to do: the data set is finished"]


def make(job: DatasetJob, output: OutputFolder, engine: Engine, options: PreprocessOptions) -> DatasetCard:
    """Makes the missing shards, checks and counts all of them, and publishes the data set."""
    todo = unfinished(job, output)
    begin, spent = time.monotonic(), _core_seconds()
    if todo:
        _run(engine, todo, job, output, options.max_bad_fraction)
    collected = assemble.collect(job)
    _refuse_bad_result(collected.counts, options.max_bad_fraction, output)
    speed = None
    if not output.is_remote and len(todo) == len(job.shards):  # otherwise others did the work, or a part of it
        speed = {
            "seconds": time.monotonic() - begin,
            "core_seconds": _core_seconds() - spent,
            "workers": options.num_workers or 1,
        }
    card = assemble.finish(job, collected, speed)
    output.publish()
    return card


def _core_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def unfinished(job: DatasetJob, output: OutputFolder) -> list[Shard]:
    """The shards that an earlier run has not finished."""
    finished = output.finished_shards()
    if not finished:
        return job.shards
    todo = [
        shard
        for shard in job.shards
        if storage.join(job.folder, shard.stats_name) not in finished or not assemble.is_whole(job.folder, shard)
    ]
    sys.stderr.write(f"continuing: {len(job.shards) - len(todo)} of {len(job.shards)} shards are finished\n")
    return todo


def _run(engine: Engine, todo: list[Shard], job: DatasetJob, output: OutputFolder, max_bad: float) -> None:
    clips = sum(shard.clips for shard in job.shards)
    inputs = clips + len(job.settled)
    most_bad = int(max_bad * inputs) - sum(one.kind == FAILED for one in job.settled)
    outcomes = stop = None
    if not output.is_remote:
        outcomes, stop = storage.join(output.work, "outcomes"), storage.join(output.work, STOP_NAME)
    try:
        with job_progress(outcomes, clips, most_bad=most_bad, stop_file=stop):
            engine.run(todo, job.settings)
    except PemtError:
        if stop and storage.exists(stop):
            so_far = [*job.settled, *assemble.outcomes_so_far(output.work)]
            with assemble.error_lists(output.work) as list_outcome:
                for outcome in so_far:
                    list_outcome(outcome)
            _refuse_bad_result(OutcomeCounts(so_far), max_bad, output, early_of=inputs)
        raise


def _refuse_bad_result(counts: OutcomeCounts, max_bad: float, output: OutputFolder, early_of: int = 0) -> None:
    failed, filtered, first = counts.causes[FAILED], counts.causes[FILTERED], counts.first_failure
    example = f"; for example {first.input.name}: {first.detail}" if first else ""
    if not counts.kinds[WRITTEN] and not early_of:
        others = f" and {sum(filtered.values())} were filtered ({describe(filtered)})" if filtered else ""
        output.discard()
        raise PemtError(f"no clip could be made: {failed.total()} inputs failed ({describe(failed)}){others}{example}")
    listed = f"; all of them: {storage.join(output.work, assemble.FAILURES_NAME)}"
    refuse_failures(failed, early_of or counts.inputs, max_bad, example + listed, counts.inputs if early_of else 0)


def summary(card: DatasetCard, output: str) -> list[str]:
    """The closing lines of `beam_jobs.preprocess`."""
    lines = [
        f"{name}: {split.clips} clips in {len(split.files)} files, {len(split.labels)} labels, "
        f"{split.unlabelled} unlabelled, {split.with_video} with video, {split.with_audio} with audio, "
        f"{split.seconds:.0f} s"
        for name, split in card.splits.items()
    ]
    by_cause, total = outcome_lines(card.filtered, card.failed, card.inputs, card.written)
    if card.left_out:
        lines.append(f"windows without a clip: {describe(card.left_out)} (errors/)")
    lines += by_cause
    if card.silent or card.frozen:
        lines.append(f"flagged: {card.silent} clips silent, {card.frozen} frozen (index.parquet)")
    if any(card.duplicates.values()):
        lines.append(
            f"near-duplicates: {card.duplicates['across_splits']} pairs across splits, "
            f"{card.duplicates['within_splits']} within (duplicates.jsonl)"
        )
    unlearned = sorted(
        {label for name, split in card.splits.items() if name != "train" for label in split.labels}
        - set(card.splits["train"].labels if "train" in card.splits else card.labels)
    )
    if unlearned:
        lines.append(f"warning: because of failures, no training clip is left of: {', '.join(unlearned)}")
    lines += [f"warning: {finding[0].lower()}{finding[1:]}" for finding in split_findings(card)]
    lines.append(total)
    if card.plan.get("kind") == "windows":
        lines.append(f"{card.clips} clips of {card.plan['window']:g} s, one every {card.plan['stride']:g} s")
    lines.append(f"wrote {storage.join(output, CARD_NAME)}")
    return lines
