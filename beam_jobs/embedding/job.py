"""The steps of `beam_jobs.embed`: list, plan, run, check, publish."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.ml.inference.base import RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PCollection

from beam_jobs.embedding.files import NoteProgress, WriteFile, file_name, outcome_name
from beam_jobs.embedding.model import SavedModelHandler, local_model
from beam_jobs.embedding.reading import ReadSettings, ReadUnit
from beam_jobs.embedding.sources import EmbeddingInput, open_source
from beam_jobs.engines import beam_runners, storage
from beam_jobs.job.options import EmbedOptions
from beam_jobs.plan.output_folder import OutputFolder
from beam_jobs.plan.shards import PLAN_NAME
from beam_jobs.worker.outcomes import FAILED, by_name, describe, job_progress, outcome_lines, refuse_failures
from pemt_tf.config import ClipGeometry
from pemt_tf.errors import PemtError
from pemt_tf.export.saved_model import ServableMetadata
from pemt_tf.files.names import printable, readable
from pemt_tf.files.strict_json import json_text
from pemt_tf.search.embedding_card import CARD_NAME, AlignedVectors, EmbeddingCard, model_hash

OUTCOMES, PROGRESS = "outcomes", "progress"


def build_graph(
    pipeline: beam.Pipeline,
    source: EmbeddingInput,
    handler: SavedModelHandler,
    reading: ReadSettings,
    writing: WriteFile,
    noted: str | None,
) -> PCollection:
    """Units -> clips -> RunInference -> Parquet files -> (kind of outcome, count)."""
    read = (
        pipeline
        | "Units" >> beam.Create(source.units)
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(ReadUnit(reading)).with_outputs(FAILED, main="examples")
    )
    embedded = read.examples | "Embed" >> RunInference(handler)
    # Noted before they are joined: a runner may first gather both completely, and progress would show only at the end.
    results = (
        embedded | "NoteEmbedded" >> beam.ParDo(NoteProgress(noted)),
        read[FAILED] | "NoteFailed" >> beam.ParDo(NoteProgress(noted)),
    )
    return (
        results
        | "All" >> beam.Flatten()
        | "ByFile" >> beam.GroupByKey()
        | "Write" >> beam.ParDo(writing)
        | "Count" >> beam.CombinePerKey(sum)
    )


def embed(options: EmbedOptions) -> EmbeddingCard:
    """Runs the whole job, or raises an error and publishes nothing."""
    pipeline_options = beam_runners.beam_options(options.runner, options.num_workers, options.beam_arguments)
    if beam_runners.only_writes(pipeline_options):
        raise PemtError("this job must run, because it checks its result; it cannot be written as a template")
    with local_model(options.model) as directory:
        metadata, digest = ServableMetadata.read(directory), model_hash(directory)
        model = options.model if storage.is_remote(options.model) else str(directory.absolute())
    source = open_source(options.input, metadata.config.geometry, options.split, options.clips_per_file)
    for note in source.notes:
        sys.stderr.write(f"note: {note}\n")
    output = OutputFolder(options.output, CARD_NAME, "embeddings")
    if output.is_finished and not options.overwrite:
        raise PemtError(
            f"{options.output} already holds finished embeddings; choose another --output, or replace them with "
            "--overwrite"
        )
    output.prepare()
    with output.guarded():
        _run(pipeline_options, source, SavedModelHandler(model, options.batch_size), metadata, output, options)
        card = _checked_card(output.work, source, options, model, digest, metadata.config.geometry)
        _tidy(output.work, source)
        storage.write_text(storage.join(output.work, CARD_NAME), card.text())
        output.publish()
    return card


def _checked_card(
    folder: str, source: EmbeddingInput, options: EmbedOptions, model: str, digest: str, geometry: ClipGeometry
) -> EmbeddingCard:
    """Writes errors/ and makes the card, if the files hold what was written and not too many inputs failed."""
    summaries = _collect(folder, source)
    failures = _write_errors(folder, source, summaries)
    inputs = source.clips + len(source.filtered) + len(source.unreadable)
    _refuse_bad_result(failures, summaries, inputs, options.max_bad_fraction)
    full = [summary for summary in summaries if summary["rows"]]
    _check_rows(folder, full)
    return EmbeddingCard(
        model=model,
        model_hash=digest,
        vector_size=full[0]["width"],
        geometry=geometry,
        files={summary["name"]: summary["rows"] for summary in full},
        inputs=inputs,
        written=sum(summary["rows"] for summary in full),
        filtered=by_name(Counter(file.cause for file in source.filtered)),
        failed=by_name(Counter(row["cause"] for row in failures)),
        source_kind=source.kind,
        source=readable(source.path),
        root=readable(source.root),
        source_hash=source.source_hash,
        content_hash=hashlib.sha256("".join(summary["sha256"] for summary in full).encode("ascii")).hexdigest(),
        command=printable(options.command),
        aligned=_aligned(full),
    )


def _aligned(summaries: list[dict[str, Any]]) -> AlignedVectors | None:
    """What the card says about the vectors in the aligned space; None if there are none."""
    rows: Counter[str] = Counter()
    for summary in summaries:
        rows.update(summary["aligned"])
    return AlignedVectors(summaries[0]["aligned_size"], by_name(rows)) if rows else None


def _run(
    pipeline_options: PipelineOptions,
    source: EmbeddingInput,
    handler: SavedModelHandler,
    metadata: ServableMetadata,
    output: OutputFolder,
    options: EmbedOptions,
) -> None:
    if source.plan:
        with storage.open_write(storage.join(output.work, PLAN_NAME)) as file:
            file.write(source.plan)
    reading = ReadSettings(
        source=source.path,
        compression=source.compression,
        folder=output.work,
        geometry=metadata.config.geometry,
        modalities=metadata.modalities,
        decode_timeout=options.decode_timeout,
        decode_memory_mb=options.decode_memory_mb,
    )
    files = {unit.number: unit.record_file for unit in source.units if unit.record_file}
    writing = WriteFile(output.work, source.shards, files)
    noted = None if output.is_remote else storage.join(output.work, PROGRESS)
    with _without_false_warning(), job_progress(noted, source.clips):
        beam_runners.run(
            pipeline_options, lambda pipeline: build_graph(pipeline, source, handler, reading, writing, noted)
        )


@contextlib.contextmanager
def _without_false_warning() -> Iterator[None]:
    """Hides a warning about a package that only Beam's optional ModelManager needs, which we do not use."""

    def passes(record: logging.LogRecord) -> bool:
        return "Resource module is not available" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(passes)
    try:
        yield
    finally:
        root.removeFilter(passes)


def _collect(folder: str, source: EmbeddingInput) -> list[dict[str, Any]]:
    """What the workers noted about every Parquet file."""
    summaries: list[dict[str, Any]] = []
    places: Counter[tuple[int, ...]] = Counter()
    for shard in range(source.shards):
        path = storage.join(folder, outcome_name(shard))
        # A shard of empty record files has no clips, and so no outcomes.
        if storage.exists(path):
            with storage.open_read(path) as file:
                summaries.append({**json.loads(file.read()), "name": file_name(shard, source.shards)})
            places.update(map(tuple, summaries[-1].pop("places")))
    twice = sum(places.values()) - len(places)
    if twice or len(places) != source.clips:
        raise PemtError(
            f"{source.clips} clips were to be embedded, but {len(places)} arrived and {twice} of them came twice; run "
            "the job again. If that does not help, the data set does not hold what its card says: preprocess again"
        )
    return summaries


def _write_errors(folder: str, source: EmbeddingInput, summaries: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Writes errors/; returns the failures."""
    failures = [failure for summary in summaries for failure in summary["failed"]]
    for one in source.unreadable:
        about = {"id": one.name, "path": one.name, "stage": "list", "cause": one.cause}
        failures.append({**about, "detail": one.detail})
    filtered = [{"id": file.name, "path": file.name, "stage": "list", "cause": file.cause} for file in source.filtered]
    for name, rows in (("failures", failures), ("filtered", filtered)):
        with storage.open_write(storage.join(folder, "errors", f"{name}.jsonl")) as file:
            for row in sorted(rows, key=lambda row: (row["id"], row["path"])):
                file.write(json_text(row).encode("ascii") + b"\n")
    return failures


def _refuse_bad_result(
    failures: list[dict[str, str]], summaries: list[dict[str, Any]], inputs: int, max_bad: float
) -> None:
    causes = Counter(row["cause"] for row in failures)
    example = f"; for example {failures[0]['path']}: {failures[0]['detail']}" if failures else ""
    if not any(summary["rows"] for summary in summaries):
        said = f"{len(failures)} of {inputs} inputs failed ({describe(causes)})"
        raise PemtError(f"no clip could be embedded: {said}{example}")
    refuse_failures(causes, inputs, max_bad, example)


def _check_rows(folder: str, summaries: list[dict[str, Any]]) -> None:
    """Checks that the Parquet files hold what was written."""
    for summary in summaries:
        with storage.open_read(storage.join(folder, summary["name"])) as file:
            rows = pq.ParquetFile(file).metadata.num_rows
        if rows != summary["rows"]:
            raise PemtError(f"{summary['rows']} clips were written to {summary['name']}, which holds {rows}; run again")


def _tidy(folder: str, source: EmbeddingInput) -> None:
    """Removes what only the workers needed."""
    for shard in range(source.shards):
        storage.remove(storage.join(folder, outcome_name(shard)))
    for name in (OUTCOMES, PROGRESS):
        storage.remove(storage.join(folder, name))


def summary(card: EmbeddingCard, output: str) -> list[str]:
    """The closing lines of `beam_jobs.embed`."""
    by_cause, total = outcome_lines(card.filtered, card.failed, card.inputs, card.written)
    return [
        f"{card.written} embeddings of {card.vector_size} numbers in {len(card.files)} files",
        *([f"aligned vectors of {card.aligned.size} numbers: {describe(card.aligned.rows)}"] if card.aligned else []),
        *by_cause,
        total,
        f"wrote {storage.join(output, CARD_NAME)}",
    ]
