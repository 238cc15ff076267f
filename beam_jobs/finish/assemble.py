"""After the workers: checks that nothing was lost, and writes what describes the data set, the card last."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beam_jobs.engines import storage
from beam_jobs.finish.data_schema import SCHEMA_NAME, schema_text
from beam_jobs.finish.dataset_index import IndexWriter
from beam_jobs.finish.duplicates import DuplicatePair, Fingerprints, drop_clips, near_training, to_drop
from beam_jobs.finish.hub_readme import README_NAME, readme_text
from beam_jobs.plan.shards import JobRecord, Shard, ShardSettings, read_plan
from beam_jobs.worker.outcomes import FAILED, FILTERED, WRITTEN, InputOutcome, OutcomeCounts, by_name, read_outcomes
from beam_jobs.worker.shard_maker import read_statistics
from pemt_tf.config import Config, save_config
from pemt_tf.data.dataset_card import CARD_NAME, SPLITS, DatasetCard, SplitCard
from pemt_tf.errors import PemtError
from pemt_tf.files.names import printable
from pemt_tf.formats.named import SUFFIXES, record_files
from pemt_tf.formats.record_files import PARQUET

LABELS_NAME = "labels.txt"
DUPLICATES_NAME = "duplicates.jsonl"
LISTED_NAME = "outcomes/listed.jsonl"  # outcomes of inputs that no worker saw
FAILURES_NAME = "errors/failures.jsonl"
FEW_CLIPS = 30  # in a test split; with fewer, one more correct clip adds over three points to a result
NAMED = 5  # labels that a finding names


@dataclass(frozen=True)
class DatasetJob:
    """What the last steps need to know about a job."""

    folder: str  # working folder
    shards: list[Shard]  # all of them, in the order of the plan
    settled: list[InputOutcome]  # inputs that no worker saw
    settings: ShardSettings
    config: Config
    record: JobRecord
    source: str
    command: str
    drop_duplicates: str = ""  # `""`, `across` or `all`


@dataclass
class Collected:
    """What the outcomes of a data set say."""

    counts: OutcomeCounts = field(default_factory=OutcomeCounts)
    splits: dict[str, OutcomeCounts] = field(default_factory=lambda: {split: OutcomeCounts() for split in SPLITS})
    files: dict[str, list[str]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    digest: Any = field(default_factory=hashlib.sha256)  # hashlib has no public type for it
    fingerprints: Fingerprints = field(default_factory=Fingerprints)


def collect(job: DatasetJob) -> Collected:
    """Reads all outcomes, each once: checks, counts and hashes them, and writes errors/ and the index."""
    collected = Collected()
    finished = storage.list_sizes(job.folder, "stats/*.json")
    sizes: dict[str, int] = {}
    for split in SPLITS:
        sizes |= storage.list_sizes(job.folder, f"{split}/clips-*{SUFFIXES[job.settings.format]}")
    with error_lists(job.folder) as list_outcome, IndexWriter(job.folder) as index:
        for outcome in job.settled:
            collected.counts.add(outcome)
            list_outcome(outcome)
        for shard in job.shards:
            if storage.join(job.folder, shard.stats_name) not in finished:
                raise PemtError(f"the job ended, but {shard.name} was never finished; run it again")
            outcomes = list(read_outcomes(storage.join(job.folder, shard.outcome_name)))
            _check_inputs(job.folder, shard, outcomes)
            _check_file(job.folder, shard, outcomes, sizes.get(storage.join(job.folder, shard.name), 0), collected)
            for outcome in outcomes:
                collected.counts.add(outcome)
                collected.splits[shard.split].add(outcome)
                collected.fingerprints.add(outcome)
                list_outcome(outcome)
                for clip in outcome.clips:
                    index.add(outcome, clip, shard.name)
    return collected


def _check_inputs(folder: str, shard: Shard, outcomes: list[InputOutcome]) -> None:
    """Checks that every planned input has exactly one outcome; a shard that a retry kept has no plan."""
    if not shard.length:
        return
    found = Counter(outcome.input.clip_id for outcome in outcomes)
    expected = Counter(clip.clip_id for clip in read_plan(folder, shard))
    if found != expected:
        lost, extra = sum((expected - found).values()), sum((found - expected).values())
        raise PemtError(f"{lost} clips were lost and {extra} came twice on the way; run the job again")


def _check_file(folder: str, shard: Shard, outcomes: list[InputOutcome], size: int, collected: Collected) -> None:
    """Compares a record file with what the worker said about it, and notes it."""
    statistics = read_statistics(folder, shard)
    clips = sum(len(outcome.clips) for outcome in outcomes)
    if (size, clips) != (statistics["bytes"], statistics["clips"]):
        raise PemtError(
            f"{shard.name} holds {size} bytes; {statistics['bytes']} with {statistics['clips']} clips were written "
            f"and {clips} expected: the storage lost or repeated some; run the job again"
        )
    if clips:
        collected.files[shard.split].append(shard.name)
        collected.digest.update(f"{shard.name} {statistics['sha256']}\n".encode())


def finish(job: DatasetJob, collected: Collected, speed: dict[str, float] | None = None) -> DatasetCard:
    """Settles duplicates and writes everything beside the records; the card comes last. `speed` is for the report."""
    pairs = collected.fingerprints.pairs()
    unwanted = to_drop(pairs, job.drop_duplicates == "all") if job.drop_duplicates else {}
    if unwanted:
        drop_clips(job.folder, job.shards, unwanted, job.settings.shape)
        collected = collect(job)
    pairs = [
        dataclasses.replace(pair, left_out=tuple(name for name in (pair.first, pair.second) if name in unwanted))
        for pair in pairs
    ]
    lines = [json.dumps(dataclasses.asdict(pair)) + "\n" for pair in pairs]
    storage.write_text(storage.join(job.folder, DUPLICATES_NAME), "".join(lines))
    card = _card(job, collected, pairs)
    describe(job, card, speed and _described(speed, card))
    return card


def describe(job: DatasetJob, card: DatasetCard, speed: dict[str, float] | None = None) -> None:
    """Writes labels, schema, configuration, report and, last, the card."""
    _write_descriptions(job)
    if card.format == PARQUET:
        storage.write_text(storage.join(job.folder, README_NAME), readme_text(card))
    from beam_jobs.report.dataset_report import write_report  # templates and codecs: a refusal needs none

    write_report(job.folder, card, speed)
    storage.write_text(storage.join(job.folder, CARD_NAME), card.text())


def _described(speed: dict[str, float], card: DatasetCard) -> dict[str, float]:
    return {
        **speed,
        "clips_per_second": card.clips / speed["seconds"],
        "clips_per_core_second": card.clips / speed["core_seconds"],
        "video_seconds": sum(split.seconds for split in card.splits.values()),
    }


def _card(job: DatasetJob, collected: Collected, pairs: list[DuplicatePair]) -> DatasetCard:
    counts, near = collected.counts, near_training(pairs)
    across = sum(pair.is_across for pair in pairs)
    splits = {
        name: split_card(split, collected.files[name], len(near[name]))
        for name, split in collected.splits.items()
        if split.clips
    }
    return DatasetCard(
        geometry=job.config.geometry,
        labels=list(job.settings.vocabulary),
        splits=splits,
        inputs=counts.inputs,
        written=counts.kinds[WRITTEN],
        filtered=by_name(counts.causes[FILTERED]),
        failed=by_name(counts.causes[FAILED]),
        left_out=by_name(counts.skipped_windows),
        plan={name: value for name, value in dataclasses.asdict(job.settings.plan).items() if value is not None},
        payload=job.settings.payload,
        silent=counts.flags["silent"],
        frozen=counts.flags["frozen"],
        duplicates={"across_splits": across, "within_splits": len(pairs) - across},
        preset=job.config.name,
        source=printable(job.source),
        command=printable(job.command),
        configuration_hash=job.record.configuration_hash,
        content_hash=collected.digest.hexdigest(),
        format=job.settings.format,
    )


def split_card(counts: OutcomeCounts, files: list[str], near_duplicates: int | None = None) -> SplitCard:
    """The part of the card about one split."""
    return SplitCard(
        files=files,
        clips=counts.clips,
        labels=by_name(counts.labels),
        unlabelled=counts.unlabelled,
        with_video=counts.flags["has_video"],
        with_audio=counts.flags["has_audio"],
        seconds=round(counts.seconds, 6),
        near_duplicates=near_duplicates,
    )


def _write_descriptions(job: DatasetJob) -> None:
    settings, folder = job.settings, job.folder
    labels = "".join(f"{label}\n" for label in settings.vocabulary)
    storage.write_text(storage.join(folder, LABELS_NAME), labels)
    if record_files(settings.format).keeps_bytes:
        schema = schema_text(job.config.geometry, list(settings.vocabulary), settings.store_waveform)
        storage.write_text(storage.join(folder, SCHEMA_NAME), schema)
    with storage.open_write(storage.join(folder, LISTED_NAME)) as file:
        for outcome in job.settled:
            file.write(outcome.line())
    with tempfile.TemporaryDirectory() as scratch:
        save_config(job.config, Path(scratch, "config.json"))
        config = Path(scratch, "config.json").read_text(encoding="utf-8")
        storage.write_text(storage.join(folder, "config.json"), config)


@contextlib.contextmanager
def error_lists(folder: str) -> Iterator[Callable[[InputOutcome], None]]:
    """Opens the files under errors/; yields a function that lists an outcome in them, as lines of JSON."""
    names = {FAILED: "failures", FILTERED: "filtered", "note": "notes"}
    with contextlib.ExitStack() as stack:
        files = {
            kind: stack.enter_context(storage.open_write(storage.join(folder, "errors", f"{name}.jsonl")))
            for kind, name in names.items()
        }

        def write(kind: str, name: str, values: dict[str, Any]) -> None:
            files[kind].write(json.dumps({"id": name, **values}).encode("ascii") + b"\n")

        def add(outcome: InputOutcome) -> None:
            one, path = outcome.input, {"path": outcome.input.name}
            if outcome.kind != WRITTEN:
                why = {"stage": outcome.stage, "cause": outcome.cause, "detail": outcome.detail}
                write(outcome.kind, one.clip_id, {**path, **why})
            else:
                for window in outcome.left_out:
                    where = {"start": window.start, "end": window.end, "stage": "decode"}
                    why = {"cause": window.cause, "detail": window.detail}
                    write(window.kind, one.clip_id, {**path, **where, **why})
            for clip in outcome.clips:
                if clip.notes:
                    write("note", clip.clip_id, {**path, "notes": clip.notes})

        yield add


def is_whole(folder: str, shard: Shard) -> bool:
    """Whether a shard that has statistics is complete: files may be lost when a machine stops."""
    outcomes = storage.list_sizes(folder, shard.outcome_name)
    size = next(iter(storage.list_sizes(folder, shard.name).values()), 0)
    try:
        return bool(outcomes) and read_statistics(folder, shard)["bytes"] == size
    except (ValueError, KeyError):
        return False


def outcomes_so_far(folder: str) -> Iterator[InputOutcome]:
    """Outcomes in a local working folder, including those of unfinished shards."""
    for path in sorted(Path(folder, "outcomes").glob("*.jsonl*")):
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield InputOutcome.from_line(line)


def split_findings(card: DatasetCard) -> list[str]:
    """One sentence for each weak point of the splits, the worst first."""
    held_out = {name: split for name, split in card.splits.items() if name != "train"}
    findings = [_near_duplicates(name, split) for name, split in held_out.items()]
    labels = sorted({label for split in card.splits.values() for label in split.labels})
    findings += [_labels(name, split, labels) for name, split in held_out.items()]
    test = held_out.get("test")
    if labels and test and test.clips < FEW_CLIPS:
        clips = "1 clip" if test.clips == 1 else f"{test.clips} clips"
        findings.append(f"The test split has only {clips}; a single one changes a result by {100 / test.clips:.0f} %.")
    return [finding for finding in findings if finding]


def _near_duplicates(name: str, split: SplitCard) -> str:
    count = split.near_duplicates
    if not count:
        return ""
    are = "is a near-duplicate" if count == 1 else "are near-duplicates"
    return (
        f"{count:,} of {split.clips:,} {name} clips {are} of training clips, so results on "
        "them are too good (duplicates.jsonl); --drop_duplicates leaves the training clips out."
    )


def _labels(name: str, split: SplitCard, labels: list[str]) -> str:
    missing = [label for label in labels if label not in split.labels]
    if not missing or len(labels) < 2:
        return ""
    some = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else "")
    return f"The {name} split has no clip of {len(missing):,} of {len(labels):,} labels: {some}."
