"""`--retry_failed`: tries the failed inputs of a data set again and adds the clips that can be made now.

The new data set is made beside the old one, which stays as it is until the new one is complete: record files are linked
or copied, the failures are removed from the old outcomes, and the workers' new clips come in new files.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

from beam_jobs.engines import storage
from beam_jobs.finish.assemble import LISTED_NAME, DatasetJob
from beam_jobs.inputs.selection import read_card
from beam_jobs.job.options import PreprocessOptions
from beam_jobs.job.prepare import Prepared, choose_engine, make, worker_settings
from beam_jobs.plan import shards
from beam_jobs.plan.output_folder import OutputFolder
from beam_jobs.plan.shards import ClipCutting, JobRecord, Shard
from beam_jobs.worker.outcomes import FAILED, OutcomeCounts, read_outcomes
from beam_jobs.worker.shard_maker import read_statistics, write_statistics
from pemt_tf.config import Config, load_config
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.errors import PemtError
from pemt_tf.formats.named import record_files
from pemt_tf.media.decoded_clip import DecodeSettings


def retry_failed(options: PreprocessOptions) -> Prepared:
    """Runs the job on the failed inputs of a data set, which decides geometry, plan and form of the records."""
    base = options.retry_failed.rstrip("/")
    base = base.rpartition("/")[0] or "." if base.rpartition("/")[2] == "errors" else base
    card = read_card(base)
    with storage.local_copy(storage.join(base, "config.json")) as path:
        config = load_config(Path(path))
    earlier = JobRecord.read(base)
    before = earlier.settings if earlier else {}
    _refuse_other_settings(options, base, card, config, before)
    options = _as_before(options, card, before)
    old_shards = [Shard.of_statistics(path, card.format) for path in storage.list_sizes(base, "stats/*.json")]
    outcomes = (one for shard in old_shards for one in read_outcomes(storage.join(base, shard.outcome_name)))
    failed = [outcome.input for outcome in outcomes if outcome.kind == FAILED]
    if not failed:
        return card, [f"nothing to do: no input of {base} failed in a way that can be tried again"]
    output = _output(options, base)
    settings = worker_settings(options, config, card.labels, output.work)
    record_files(card.format).require()
    numbers = [int(shard.tag[5:-1]) for shard in old_shards if shard.tag]
    plan = shards.plan_shards(failed, options.shards_per_split, f"retry{max(numbers, default=0) + 1}-", card.format)
    record = JobRecord.of(settings, plan, drop_duplicates=options.drop_duplicates, retry_of=card.content_hash)
    engine = choose_engine(options.runner, options.num_workers, options.beam_arguments)
    output.prepare(record, options.overwrite)
    retried = {clip.clip_id for clip in failed}
    with output.guarded():
        kept = [_take_over(base, output.work, shard, retried) for shard in old_shards]
        job = DatasetJob(
            folder=output.work,
            shards=[*kept, *shards.write_plan(output.work, plan)],
            settled=list(read_outcomes(storage.join(base, LISTED_NAME))),
            settings=settings,
            config=config,
            record=record,
            source=card.source,
            command=options.command,
            drop_duplicates=options.drop_duplicates,
        )
        new = make(job, output, engine, options)
    return new, [f"{len(failed)} failed inputs tried again: {new.clips - card.clips} clips gained"]


def _refuse_other_settings(
    options: PreprocessOptions, base: str, card: DatasetCard, config: Config, before: dict[str, Any]
) -> None:
    """Refuses flags that would make clips of another kind, if they were typed; their defaults do not count."""
    typed = options.typed
    for name in ("labels_from", "split_fractions", "input_root", "allow_outside"):
        if name in typed:
            raise PemtError(f"--{name} cannot go with --retry_failed: the data set has its inputs, labels and splits")
    differences: dict[str, list[str]] = {}
    if "preset" in typed or "set" in typed:
        wanted = (Config.from_preset(options.preset) if "preset" in typed else config).with_overrides(options.set)
        differences["preset" if "preset" in typed else "set"] = wanted.geometry.differences(config.geometry)
    there = _flags_of_all_clips(card, before)
    for name, value in there.items():
        if name in typed and getattr(options, name) != value:
            differences[name] = [f"{getattr(options, name)} here, {value} there"]
    if "store_waveform" in typed and not before.get("store_waveform"):
        differences["store_waveform"] = ["stored here, not stored there"]
    for name, found in differences.items():
        if found:
            raise PemtError(
                f"--{name} cannot go with --retry_failed: all clips of a data set are made the same way, and those "
                f"of {base} are made differently ({'; '.join(found)}); leave the flag out"
            )


def _flags_of_all_clips(card: DatasetCard, before: dict[str, Any]) -> dict[str, Any]:
    """The flags that say how the data set's clips were cut and stored."""
    plan, quality = ClipCutting(**card.plan), before.get("decoding.jpeg_quality", DecodeSettings.jpeg_quality)
    cutting = {"plan": plan.kind, "window": plan.window, "stride": plan.stride}
    return {**cutting, "payload": card.payload, "format": card.format, "jpeg_quality": quality}


def _as_before(options: PreprocessOptions, card: DatasetCard, before: dict[str, Any]) -> PreprocessOptions:
    """The data set's flags, except for those typed now: a clip without audio may be wanted this time."""
    flags = {
        **{f"on_missing_{modality}": before.get(f"on_missing.{modality}", "mask") for modality in ("audio", "video")},
        **{f"on_{flag}": before.get(f"on_flag.{flag}", "keep") for flag in ("silent", "frozen")},
        **{f"{stream}_stream": before.get(f"decoding.{stream}_stream") for stream in ("audio", "video")},
        "drop_duplicates": before.get("drop_duplicates", ""),
    }
    chosen = {name: value for name, value in flags.items() if name not in options.typed}
    fixed = {**_flags_of_all_clips(card, before), "store_waveform": bool(before.get("store_waveform"))}
    return dataclasses.replace(options, **chosen, **fixed)


def _output(options: PreprocessOptions, base: str) -> OutputFolder:
    output = OutputFolder(options.output)
    if output.is_remote:
        if output.is_finished or output.path == base:
            raise PemtError(
                f"{options.output} is a finished data set, and files there cannot be replaced all at once; "
                "give another --output"
            )
    elif output.is_finished and not options.overwrite and Path(output.path).resolve() != Path(base).resolve():
        raise PemtError(f"{options.output} already holds another finished data set; choose another --output")
    return output


def _take_over(base: str, work: str, shard: Shard, retried: set[str]) -> Shard:
    """Copies the part of a shard that is kept into the new data set; returns the shard with its number of inputs."""
    statistics = read_statistics(base, shard)
    kept = [
        outcome
        for outcome in read_outcomes(storage.join(base, shard.outcome_name))
        if outcome.kind != FAILED or outcome.input.clip_id not in retried
    ]
    with storage.open_write(storage.join(work, shard.outcome_name)) as file:
        for outcome in kept:
            file.write(outcome.line())
    if statistics["clips"]:
        _copy(storage.join(base, shard.name), storage.join(work, shard.name))
    write_statistics(work, shard, OutcomeCounts(kept), statistics["bytes"], statistics["sha256"])
    return dataclasses.replace(shard, clips=len(kept))


def _copy(source: str, target: str) -> None:
    if storage.is_remote(source) or storage.is_remote(target):
        storage.file_systems().copy([source], [target])
        return
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
