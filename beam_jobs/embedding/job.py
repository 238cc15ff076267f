"""What `beam_jobs.embed` does: list, plan, run the graph, check, publish."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.ml.inference.base import RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs.embedding.files import FileSettings, NoteProgress, WriteFile, file_name, outcome_name
from beam_jobs.embedding.model import SavedModelHandler, local_model
from beam_jobs.embedding.output import EmbeddingFolder
from beam_jobs.embedding.reading import FAILED, ReadSettings, ReadUnit
from beam_jobs.embedding.sources import PLAN_NAME, Source, open_source
from beam_jobs.engines import beam_runners, storage
from beam_jobs.job.progress import JobProgress
from pemt_tf.errors import PemtError
from pemt_tf.export.saved_model import ServableMetadata
from pemt_tf.files.names import printable, readable
from pemt_tf.files.strict_json import json_text
from pemt_tf.search.embedding_card import CARD_NAME, EmbeddingCard, model_hash

OUTCOMES, PROGRESS = "outcomes", "progress"


def build_graph(
    pipeline: beam.Pipeline,
    source: Source,
    handler: SavedModelHandler,
    reading: ReadSettings,
    writing: FileSettings,
    noted: str | None,
) -> beam.PCollection:
    """Units -> clips -> RunInference -> Parquet files -> (kind of outcome, count)."""
    read = (
        pipeline
        | "Units" >> beam.Create(source.units)
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(ReadUnit(reading)).with_outputs(FAILED, main="examples")
    )
    embedded = read.examples | "Embed" >> RunInference(handler)
    # Noted before they are joined: a runner may gather all of both first, and nothing would seem to move till the end.
    results = (
        embedded | "NoteEmbedded" >> beam.ParDo(NoteProgress(noted)),
        read[FAILED] | "NoteFailed" >> beam.ParDo(NoteProgress(noted)),
    )
    return (
        results
        | "All" >> beam.Flatten()
        | "ByFile" >> beam.GroupByKey()
        | "Write" >> beam.ParDo(WriteFile(writing))
        | "Count" >> beam.CombinePerKey(sum)
    )


def embed(options: argparse.Namespace, beam_arguments: list[str], command: str) -> EmbeddingCard:
    """Runs the whole job.

    Args:
        options: of this job.
        beam_arguments: flags for Beam.
        command: as typed, for the card.

    Raises:
        PemtError: nothing was published; says why.
    """
    pipeline_options = beam_runners.beam_options(options.runner, options.num_workers, beam_arguments)
    if beam_runners.only_writes(pipeline_options):
        raise PemtError("this job runs to its end and then checks the result; it cannot be written as a template")
    with local_model(options.model) as directory:
        config, digest = ServableMetadata.read(directory).config, model_hash(directory)
        model = options.model if storage.is_remote(options.model) else str(directory.absolute())
    source = open_source(options.input, config.geometry, options.split, options.clips_per_file)
    for note in source.notes:
        sys.stderr.write(f"note: {note}\n")
    output = EmbeddingFolder(options.output, options.overwrite)
    output.prepare()
    try:
        if source.plan:
            with storage.open_write(storage.join(output.work, PLAN_NAME)) as file:
                file.write(source.plan)
        reading = ReadSettings(
            source=source.path,
            compression=source.compression,
            folder=output.work,
            geometry=config.geometry,
            modalities=tuple(config.model.modalities),
            decode_timeout=options.decode_timeout,
            decode_memory_mb=options.decode_memory_mb,
        )
        handler = SavedModelHandler(model, options.batch_size)
        files = {unit.number: unit.record_file for unit in source.units if unit.record_file}
        writing = FileSettings(output.work, source.shards, files)
        _run(pipeline_options, source, handler, reading, writing, output)
        summaries = _collect(output.work, source)
        card = _card(source, summaries, options, output.work, model, digest, config.geometry, command)
        _tidy(output.work, source)
        storage.write_text(storage.join(output.work, CARD_NAME), card.text())
        output.publish()
    except OSError as error:
        output.discard()
        raise PemtError(f"cannot write to the output folder {output.path}: {error.strerror or error}") from None
    except BaseException:
        output.discard()
        raise
    return card


def _run(
    pipeline_options: PipelineOptions,
    source: Source,
    handler: SavedModelHandler,
    reading: ReadSettings,
    writing: FileSettings,
    output: EmbeddingFolder,
) -> None:
    noted = None if output.is_remote else storage.join(output.work, PROGRESS)
    with _without_false_warning(), JobProgress(noted, source.clips):
        beam_runners.run(
            pipeline_options, lambda pipeline: build_graph(pipeline, source, handler, reading, writing, noted)
        )


@contextlib.contextmanager
def _without_false_warning() -> Iterator[None]:
    """Beam says so where its own optional ModelManager lacks a package; nothing is wrong, and we do not use that."""

    def passes(record: logging.LogRecord) -> bool:
        return "Resource module is not available" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(passes)
    try:
        yield
    finally:
        root.removeFilter(passes)


def _collect(folder: str, source: Source) -> list[dict]:
    """What the workers noted of every Parquet file.

    Raises:
        PemtError: a clip has no outcome, or two.
    """
    summaries, places = [], Counter()
    for shard in range(source.shards):
        path = storage.join(folder, outcome_name(shard))
        # A shard of empty record files has no clip, hence no outcome.
        if storage.exists(path):
            with storage.open_read(path) as file:
                summaries.append({**json.loads(file.read()), "name": file_name(shard, source.shards)})
            places.update(map(tuple, summaries[-1].pop("places")))
    twice = sum(places.values()) - len(places)
    if twice or len(places) != source.clips:
        raise PemtError(
            f"{source.clips} clips were to be embedded, but {len(places)} arrived and {twice} of them came twice; run "
            "the job again, and if it says so again the data set does not hold what its card says: preprocess again"
        )
    return summaries


def _card(
    source: Source,
    summaries: list[dict],
    options: argparse.Namespace,
    folder: str,
    model: str,
    digest: str,
    geometry,
    command: str,
) -> EmbeddingCard:
    """Writes errors/ and makes the card, after the last checks."""
    failures = [failure for summary in summaries for failure in summary["failed"]]
    for one in source.unreadable:
        about = {"id": one.name, "path": one.name, "stage": "list", "cause": "not_found"}
        failures.append({**about, "detail": one.detail})
    filtered = [{"id": file.name, "path": file.name, "stage": "list", "cause": file.rule} for file in source.filtered]
    for name, rows in (("failures", failures), ("filtered", filtered)):
        with storage.open_write(storage.join(folder, "errors", f"{name}.jsonl")) as file:
            for row in sorted(rows, key=lambda row: (row["id"], row["path"])):
                file.write(json_text(row).encode("ascii") + b"\n")
    written = sum(summary["rows"] for summary in summaries)
    inputs = source.clips + len(filtered) + len(source.unreadable)
    _refuse_bad_result(failures, written, inputs, options.max_bad_fraction)
    full = [summary for summary in summaries if summary["rows"]]
    for summary in full:
        with storage.open_read(storage.join(folder, summary["name"])) as file:
            rows = pq.ParquetFile(file).metadata.num_rows
        if rows != summary["rows"]:
            raise PemtError(f"{summary['rows']} clips were written to {summary['name']}, which holds {rows}; run again")
    return EmbeddingCard(
        model=model,
        model_hash=digest,
        vector_size=full[0]["width"],
        geometry=geometry,
        files={summary["name"]: summary["rows"] for summary in full},
        inputs=inputs,
        written=written,
        filtered=_counts(filtered),
        failed=_counts(failures),
        source_kind=source.kind,
        source=readable(source.path),
        root=readable(source.root),
        source_hash=source.source_hash,
        content_hash=hashlib.sha256("".join(summary["sha256"] for summary in full).encode("ascii")).hexdigest(),
        command=printable(command),
    )


def _counts(rows: list[dict]) -> dict[str, int]:
    return dict(sorted(Counter(row["cause"] for row in rows).items()))


def _describe(counts: dict[str, int]) -> str:
    """`open_failed 3, too_short 1`; the most frequent first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{cause} {count}" for cause, count in ranked)


def _refuse_bad_result(failures: list[dict], written: int, inputs: int, max_bad_fraction: float) -> None:
    causes = _describe(_counts(failures))
    example = f"; for example {failures[0]['path']}: {failures[0]['detail']}" if failures else ""
    if not written:
        raise PemtError(f"no clip could be embedded: {len(failures)} of {inputs} inputs failed ({causes}){example}")
    if len(failures) > max_bad_fraction * inputs:
        raise PemtError(
            f"{len(failures)} of {inputs} inputs failed ({causes}), more than --max_bad_fraction="
            f"{max_bad_fraction:g} allows{example}"
        )


def _tidy(folder: str, source: Source) -> None:
    """Removes what only the making needed."""
    for shard in range(source.shards):
        storage.remove(storage.join(folder, outcome_name(shard)))
    for name in (OUTCOMES, PROGRESS, PLAN_NAME):
        storage.remove(storage.join(folder, name))


def summary(card: EmbeddingCard, output: str) -> list[str]:
    """The closing lines."""
    lines = [f"{card.written} embeddings of {card.vector_size} numbers in {len(card.files)} files"]
    if card.filtered:
        lines.append(f"filtered: {_describe(card.filtered)} (errors/filtered.jsonl)")
    if card.failed:
        lines.append(f"failed: {_describe(card.failed)} (errors/failures.jsonl)")
    lines.append(
        f"{card.inputs} inputs = {card.written} written + {sum(card.filtered.values())} filtered + "
        f"{sum(card.failed.values())} failed"
    )
    lines.append(f"wrote {storage.join(output, CARD_NAME)}")
    return lines
