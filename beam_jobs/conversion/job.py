"""The steps of `beam_jobs.convert`: look, convert each record file, check, publish."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.conversion.shard_converter import AGAIN, Conversion
from beam_jobs.engines import storage
from beam_jobs.finish import assemble
from beam_jobs.finish.assemble import DUPLICATES_NAME, LISTED_NAME, DatasetJob
from beam_jobs.finish.dataset_index import INDEX_NAME
from beam_jobs.inputs.selection import read_card
from beam_jobs.job.prepare import already_finished, runner_of_beam, unfinished
from beam_jobs.plan.output_folder import OutputFolder
from beam_jobs.plan.shards import ClipCutting, JobRecord, Shard, ShardSettings
from beam_jobs.worker.outcomes import InputOutcome, job_progress, read_outcomes
from beam_jobs.worker.shard_maker import read_statistics
from pemt_tf.config import Config, load_config
from pemt_tf.data.dataset_card import SPLITS, TFRECORD, DatasetCard
from pemt_tf.errors import PemtError
from pemt_tf.formats.named import record_files

Engine = Callable[[Conversion, list[Shard]], None]


@dataclass(frozen=True)
class ConvertOptions:
    """The flags of `beam_jobs.convert`: a field has the name and the meaning of its flag."""

    input: str
    output: str
    format: str
    overwrite: bool
    resume: bool
    num_workers: int | None
    runner: str | None
    beam_arguments: tuple[str, ...]  # flags that are Beam's


def convert(options: ConvertOptions) -> list[str]:
    """Runs the whole job, or raises an error and publishes nothing; returns lines for the user."""
    source = options.input.rstrip("/") or "/"
    card = read_card(source)
    _check(options, source, card)
    engine = _engine(options)
    output = OutputFolder(options.output)
    earlier = JobRecord.read(source)
    settings = _settings(card, earlier, options.format, output.work)
    conversion = Conversion(source, card.format, settings)
    shards = _shards(conversion, card)
    config, settled, duplicates = _descriptions(source)
    record = _record(card, earlier, options.format)
    if output.is_finished and not options.overwrite:
        return already_finished(options.output, options.resume, output, record)[1]
    output.prepare(record, options.overwrite)
    with output.guarded():
        job = DatasetJob(output.work, shards, settled, settings, config, record, card.source, card.command)
        _run(engine, conversion, job, output)
        storage.write_text(storage.join(job.folder, DUPLICATES_NAME), duplicates)
        new = _finish(job, source, card)
        output.publish()
    clips = "1 clip" if new.clips == 1 else f"{new.clips:,} clips"
    count = sum(len(split.files) for split in new.splits.values())
    files = "1 file" if count == 1 else f"{count:,} files"
    return [
        f"{clips} in {files}, from {card.format} to {new.format}; nothing was decoded",
        f"wrote {storage.join(options.output, assemble.CARD_NAME)}",
    ]


def _check(options: ConvertOptions, source: str, card: DatasetCard) -> None:
    if card.format == options.format:
        raise PemtError(f"{source} is already in the form {card.format}; copy it, or choose another --format")
    if _place(source) == _place(options.output):
        raise PemtError(f"--output {options.output} is the input itself; choose another --output")
    if _place(source).startswith(f"{_place(options.output)}/"):
        raise PemtError(f"--output {options.output} holds the input, {source}; choose another --output")
    for name in (card.format, options.format):
        record_files(name).require()


def _place(path: str) -> str:
    return path.rstrip("/") if storage.is_remote(path) else str(Path(path).resolve())


def _settings(card: DatasetCard, earlier: JobRecord | None, form: str, folder: str) -> ShardSettings:
    return ShardSettings(
        folder=folder,
        geometry=card.geometry,
        vocabulary=tuple(card.labels),
        plan=ClipCutting(**card.plan),
        payload=card.payload,
        store_waveform=bool(earlier and earlier.settings.get("store_waveform")),
        format=form,
    )


def _record(card: DatasetCard, earlier: JobRecord | None, form: str) -> JobRecord:
    """The settings of the source, so that its failures can be tried again, and from which data set this one came."""
    settings = {name: value for name, value in (earlier.settings if earlier else {}).items() if name != "format"}
    settings |= {"converted_from": card.content_hash, **({} if form == TFRECORD else {"format": form})}
    inputs, inputs_hash = (earlier.inputs, earlier.inputs_hash) if earlier else (card.inputs, "")
    return JobRecord(settings, inputs, inputs_hash)


def _shards(conversion: Conversion, card: DatasetCard) -> list[Shard]:
    """All shards of the source under their new names, in the order of its index; those without a clip come last."""
    source, form = conversion.source, conversion.settings.format
    found = [Shard.of_statistics(path, form) for path in storage.list_sizes(source, "stats/*.json")]
    old_name = {shard: conversion.source_shard(shard).name for shard in found}
    place = {name: number for number, name in enumerate(_indexed_files(source))}
    named = {file for split in card.splits.values() for file in split.files}
    there = {old_name[shard] for shard in found}
    if not named <= there or named != set(place):
        lost = sorted(named - there) or sorted(named ^ set(place))
        raise PemtError(
            f"{source}: {lost[0]} has no statistics file or is not in {INDEX_NAME}; only a whole data set of "
            f"beam_jobs.preprocess can be converted: {AGAIN}"
        )
    found.sort(key=lambda shard: (SPLITS.index(shard.split), shard.tag, shard.number))
    found.sort(key=lambda shard: place.get(old_name[shard], len(place)))
    try:
        inputs = [read_statistics(source, conversion.source_shard(shard))["inputs"] for shard in found]
    except (OSError, ValueError, KeyError) as error:
        raise PemtError(f"{source}: a statistics file cannot be read ({error}); {AGAIN}") from None
    return [dataclasses.replace(shard, clips=count) for shard, count in zip(found, inputs, strict=True)]


def _descriptions(source: str) -> tuple[Config, list[InputOutcome], str]:
    """Configuration, outcomes of inputs that no worker saw, and near-duplicates of the source."""
    try:
        with storage.local_copy(storage.join(source, "config.json")) as path:
            config = load_config(Path(path))
        settled = list(read_outcomes(storage.join(source, LISTED_NAME)))
        with storage.open_read(storage.join(source, DUPLICATES_NAME)) as file:
            return config, settled, file.read().decode("utf-8")
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = " ".join(str(error).split())
        raise PemtError(
            f"{source} lacks what describes a data set ({said}); only a whole data set of beam_jobs.preprocess can be "
            f"converted: {AGAIN}"
        ) from None


def _indexed_files(source: str) -> list[str]:
    """The record files of the index, in its order."""
    path = storage.join(source, INDEX_NAME)
    try:
        with storage.local_copy(path) as local:
            return list(dict.fromkeys(pq.read_table(local, columns=["file"])["file"].to_pylist()))
    except (OSError, pa.ArrowException) as error:
        raise PemtError(f"cannot read {path} ({' '.join(str(error).split())}); {AGAIN}") from None


def _run(engine: Engine, conversion: Conversion, job: DatasetJob, output: OutputFolder) -> None:
    todo = unfinished(job, output)
    noted = None if output.is_remote else storage.join(output.work, "outcomes")
    with job_progress(noted, sum(shard.clips for shard in job.shards)):
        if todo:
            engine(conversion, sorted(todo, key=lambda shard: -shard.clips))


def _finish(job: DatasetJob, source: str, card: DatasetCard) -> DatasetCard:
    """Checks and counts all shards, and writes what describes the data set; its history stays that of the source."""
    collected = assemble.collect(job)
    counts = {name: split.clips for name, split in collected.splits.items() if split.clips}
    wanted = {name: split.clips for name, split in card.splits.items() if split.clips}
    if counts != wanted:
        raise PemtError(f"{source} holds the clips {counts}, but its data card says {wanted}; {AGAIN}")
    new = dataclasses.replace(
        card,
        splits={name: dataclasses.replace(split, files=collected.files[name]) for name, split in card.splits.items()},
        content_hash=collected.digest.hexdigest(),
        format=job.settings.format,
    )
    assemble.describe(job, new)
    return new


def _engine(options: ConvertOptions) -> Engine:
    """What converts the shards: this process, several on this machine, or a runner of Beam."""
    if runner := runner_of_beam(options.runner, options.beam_arguments):
        from beam_jobs.conversion.beam_conversion import beam_engine  # Beam's import takes seconds

        return beam_engine(runner, options.num_workers, options.beam_arguments)
    return LocalConverter(options.num_workers or 1)


class LocalConverter:
    """Converts shards on this machine, in this process or in several."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def __call__(self, conversion: Conversion, shards: list[Shard]) -> None:
        """Converts all shards."""
        workers = min(self._workers, len(shards))
        if workers == 1:
            for shard in shards:
                conversion.convert(shard)
            return
        context = multiprocessing.get_context("spawn")
        pool = concurrent.futures.ProcessPoolExecutor(workers, context, _ignore_interrupts)
        try:
            for done in concurrent.futures.as_completed([pool.submit(conversion.convert, shard) for shard in shards]):
                done.result()
        except BrokenProcessPool:
            raise PemtError(
                "a worker process ended before its work was done, killed or out of memory; the same command continues "
                "from the finished shards"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    """Ctrl-C is for the job, which lets its workers end the file that they are writing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
