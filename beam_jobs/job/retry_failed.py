"""`--retry_failed`: tries the failed inputs of a data set again and adds what can be made of them now.

The new data set is made beside the old one, which stays as it is until the new one is complete: record files are linked
or copied, the failures are taken out of the old outcomes, and what the workers make of them comes in new files.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

from beam_jobs.engines import choice, storage
from beam_jobs.finish.assemble import LISTED_NAME, Making
from beam_jobs.inputs.clip_windows import ClipPlan
from beam_jobs.inputs.selection import read_card
from beam_jobs.job.prepare import Result, guarded, make, worker_settings
from beam_jobs.plan import sharding
from beam_jobs.plan.job_record import JobRecord
from beam_jobs.plan.output_folder import OutputFolder
from beam_jobs.plan.sharding import Shard
from beam_jobs.worker.outcomes import FAILED, Outcome, read_outcomes
from beam_jobs.worker.shard_writer import ShardStatistics, read_statistics, write_statistics
from pemt_tf.config import Config, load_config
from pemt_tf.data.dataset_card import CARD_NAME, DatasetCard
from pemt_tf.errors import PemtError


def retry_failed(options: argparse.Namespace, beam_arguments: list[str], command: str) -> Result:
    """Runs the job on the failed inputs of a data set.

    Args:
        options: of the job; geometry, plan and form of the records are the data set's.
        beam_arguments: flags for Beam.
        command: as typed, for the card.

    Raises:
        PemtError: nothing was changed; says why.
    """
    base = options.retry_failed.rstrip("/")
    base = base.rpartition("/")[0] or "." if base.rpartition("/")[2] == "errors" else base
    card = read_card(base)
    with storage.local_copy(storage.join(base, "config.json")) as path:
        config = load_config(Path(path))
    earlier = JobRecord.read(base)
    was = earlier.settings if earlier else {}
    _refuse_other_settings(options, base, card, config, was)
    options = _as_before(options, card, was)
    old_shards = [Shard.of_statistics(path) for path in storage.list_sizes(base, "stats/*.json")]
    failed = [
        outcome.input
        for shard in old_shards
        for outcome in read_outcomes(storage.join(base, shard.outcome_name))
        if outcome.kind == FAILED
    ]
    if not failed:
        return Result(card, (f"nothing to do: no input of {base} failed in a way that can be tried again",))
    output = _output(options, base)
    settings = worker_settings(options, config, card.labels, output.work)
    numbers = [int(shard.tag[5:-1]) for shard in old_shards if shard.tag]
    sharded = sharding.plan_shards(failed, options.shards_per_split, f"retry{max(numbers, default=0) + 1}-")
    job = JobRecord.of(settings, sharded, options.drop_duplicates)
    job = dataclasses.replace(job, settings={**job.settings, "retry_of": card.content_hash})
    engine = choice.choose(options, beam_arguments)
    output.prepare(job, options.overwrite)
    retried = {clip.clip_id for clip in failed}

    def everything() -> DatasetCard:
        kept = [_take_over(base, output.work, shard, retried) for shard in old_shards]
        shards = sharding.write_plan(output.work, sharded)
        settled = list(read_outcomes(storage.join(base, LISTED_NAME)))
        making = Making(
            output.work, [*kept, *shards], settled, settings, config, job, card.source, command,
            options.drop_duplicates,
        )  # fmt: skip
        return make(making, output, engine, options)

    new = guarded(output, everything)
    gained = new.clips - card.clips
    return Result(new, (f"{len(failed)} failed inputs tried again: {gained} clips gained",))


def _refuse_other_settings(
    options: argparse.Namespace, base: str, card: DatasetCard, config: Config, was: dict[str, Any]
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
    plan = _plan(card)
    for name in ("plan", "window", "stride"):
        if name in typed and getattr(options, name) != plan[name]:
            differences[name] = [f"{getattr(options, name)} here, {plan[name]} there"]
    if "payload" in typed and options.payload != card.payload:
        differences["payload"] = [f"{options.payload} here, {card.payload} there"]
    if "store_waveform" in typed and not was.get("store_waveform"):
        differences["store_waveform"] = ["stored here, not stored there"]
    for name, found in differences.items():
        if found:
            raise PemtError(
                f"--{name} cannot go with --retry_failed: clips of one data set are all made the same way, and those "
                f"of {base} are made otherwise ({'; '.join(found)}); leave the flag out"
            )


def _plan(card: DatasetCard) -> dict[str, Any]:
    """The flags that say how the data set's clips were cut."""
    plan = ClipPlan(**card.plan)
    return {"plan": plan.kind, "window": plan.window, "stride": plan.stride}


def _as_before(options: argparse.Namespace, card: DatasetCard, was: dict[str, Any]) -> argparse.Namespace:
    """The flags of the data set, but for those that were typed now: a clip without sound may be wanted after all."""
    before = {
        **{f"on_missing_{stream}": was.get(f"on_missing.{stream}", "mask") for stream in ("audio", "video")},
        **{f"on_{flag}": was.get(f"on_flag.{flag}", "keep") for flag in ("silent", "frozen")},
        **{f"{stream}_stream": was.get(f"decoding.{stream}_stream") for stream in ("audio", "video")},
        "drop_duplicates": was.get("drop_duplicates", ""),
    }
    chosen = {name: value for name, value in before.items() if name not in options.typed}
    fixed = {**_plan(card), "payload": card.payload, "store_waveform": bool(was.get("store_waveform"))}
    return argparse.Namespace(**{**vars(options), **chosen, **fixed})


def _output(options: argparse.Namespace, base: str) -> OutputFolder:
    output = OutputFolder(options.output)
    same = not output.is_remote and Path(output.path).resolve() == Path(base).resolve()
    if output.is_remote:
        if storage.exists(storage.join(output.path, CARD_NAME)) or output.path == base:
            raise PemtError(f"{options.output} is a finished data set, and files there cannot be replaced all at once; "
                            "give another --output")  # fmt: skip
    elif output.is_finished and not same and not options.overwrite:
        raise PemtError(f"{options.output} already holds another finished data set; choose another --output")
    return output


def _take_over(base: str, work: str, shard: Shard, retried: set[str]) -> Shard:
    """Puts what is kept of a shard into the new data set; returns the shard with the number of inputs kept."""
    statistics = read_statistics(base, shard)
    kept = [one for one in read_outcomes(storage.join(base, shard.outcome_name)) if _is_kept(one, retried)]
    counted = ShardStatistics(shard)
    with storage.open_write(storage.join(work, shard.outcome_name)) as file:
        for outcome in kept:
            counted.add(outcome)
            file.write(outcome.line())
    if statistics["clips"]:
        _copy(storage.join(base, shard.name), storage.join(work, shard.name))
    values = {**counted.to_json(), "bytes": statistics["bytes"], "sha256": statistics["sha256"]}
    write_statistics(work, shard, values)
    return dataclasses.replace(shard, clips=len(kept))


def _is_kept(outcome: Outcome, retried: set[str]) -> bool:
    return outcome.kind != FAILED or outcome.input.clip_id not in retried


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
