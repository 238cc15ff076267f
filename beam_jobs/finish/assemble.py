"""After the workers: checks that nothing was lost, and writes what describes the data set, the card last."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from beam_jobs.engines import storage
from beam_jobs.finish import drop_clips
from beam_jobs.finish.data_schema import SCHEMA_NAME, schema_text
from beam_jobs.finish.dataset_index import IndexWriter
from beam_jobs.finish.duplicates import DuplicatePair, Fingerprints, near_training, to_drop
from beam_jobs.finish.tally import Tally
from beam_jobs.plan.job_record import JobRecord
from beam_jobs.plan.sharding import Shard, read_plan
from beam_jobs.report.dataset_report import write_report
from beam_jobs.worker.outcomes import FAILED, FILTERED, WRITTEN, Outcome, read_outcomes
from beam_jobs.worker.shard_maker import ShardSettings
from beam_jobs.worker.shard_writer import read_statistics
from pemt_tf.config import Config, save_config
from pemt_tf.data.dataset_card import CARD_NAME, SPLITS, DatasetCard
from pemt_tf.errors import PemtError
from pemt_tf.files.names import printable

LABELS_NAME = "labels.txt"
DUPLICATES_NAME = "duplicates.jsonl"
LISTED_NAME = "outcomes/listed.jsonl"  # of inputs that no worker saw


@dataclass(frozen=True)
class Making:
    """What the last steps need to know about a job.

    Attributes:
        folder: of the data set in the making.
        shards: all, in the order of the plan.
        settled: outcomes of the inputs that no worker saw.
        settings: of the workers.
        config: resolved configuration.
        job: its record.
        source, command: where the data comes from.
        drop_duplicates: `""`, `across` or `all`.
    """

    folder: str
    shards: list[Shard]
    settled: list[Outcome]
    settings: ShardSettings
    config: Config
    job: JobRecord
    source: str
    command: str
    drop_duplicates: str = ""

    def outcomes(self, shard: Shard) -> Iterator[Outcome]:
        """What became of a shard's inputs."""
        return read_outcomes(storage.join(self.folder, shard.outcome_name))


def check_and_count(making: Making) -> Tally:
    """Checks that every planned input has exactly one outcome, and counts them.

    Raises:
        PemtError: a shard was never finished, or an input is missing or there twice.
    """
    tally = Tally()
    tally.add_all(making.settled)
    there = set(storage.list_sizes(making.folder, "stats/*.json"))
    for shard in making.shards:
        if storage.join(making.folder, shard.stats_name) not in there:
            raise PemtError(f"the job ended, but {shard.name} was never finished; run it again")
        found: Counter = Counter()
        for outcome in making.outcomes(shard):
            found[outcome.input.clip_id] += 1
            tally.add(outcome)
        if shard.length:
            expected = Counter(clip.clip_id for clip in read_plan(making.folder, shard))
            if found != expected:
                lost, extra = sum((expected - found).values()), sum((found - expected).values())
                raise PemtError(f"{lost} clips were lost and {extra} came twice on the way; run the job again")
    return tally


def finish(making: Making, speed: dict[str, float] | None = None) -> DatasetCard:
    """Looks for duplicates and writes everything beside the records; the card comes last.

    Args:
        making: the job.
        speed: for the report: `seconds`, `core_seconds` and `workers`; None where they are not known.
    """
    pairs = _settle_duplicates(making)
    tally = Tally()
    files, digest = _check_files(making)
    with _Reports(making.folder) as reports, IndexWriter(making.folder) as index:
        for outcome in making.settled:
            tally.add(outcome)
            reports.add(outcome)
        for shard in making.shards:
            for outcome in making.outcomes(shard):
                tally.add(outcome)
                reports.add(outcome)
                for clip in outcome.clips:
                    index.add(outcome, clip, shard.name)
    card = _card(making, tally, files, digest, pairs)
    _write_descriptions(making)
    write_report(making.folder, card, speed and _described(speed, card))
    with tempfile.TemporaryDirectory() as scratch:
        card.write(Path(scratch))
        storage.write_text(storage.join(making.folder, CARD_NAME), Path(scratch, CARD_NAME).read_text(encoding="utf-8"))
    return card


def _described(speed: dict[str, float], card: DatasetCard) -> dict[str, float]:
    return {
        **speed,
        "clips_per_second": card.clips / speed["seconds"],
        "clips_per_core_second": card.clips / speed["core_seconds"],
        "video_seconds": sum(split.seconds for split in card.splits.values()),
    }


def _settle_duplicates(making: Making) -> list[DuplicatePair]:
    """Finds near-duplicates, lists them, and leaves out those that are not wanted."""
    fingerprints = Fingerprints()
    for shard in making.shards:
        for outcome in making.outcomes(shard):
            fingerprints.add(outcome)
    pairs = fingerprints.pairs()
    unwanted = to_drop(pairs, making.drop_duplicates == "all") if making.drop_duplicates else {}
    pairs = [
        dataclasses.replace(pair, left_out=tuple(name for name in (pair.first, pair.second) if name in unwanted))
        for pair in pairs
    ]
    lines = [json.dumps(dataclasses.asdict(pair)) + "\n" for pair in pairs]
    storage.write_text(storage.join(making.folder, DUPLICATES_NAME), "".join(lines))
    drop_clips.drop(making.folder, making.shards, unwanted)
    return pairs


def _check_files(making: Making) -> tuple[dict[str, list[str]], str]:
    """Record files by split, and the hash of all: compared with what the workers said of them."""
    sizes: dict[str, int] = {}
    for split in SPLITS:
        sizes |= storage.list_sizes(making.folder, f"{split}/clips-*.tfrecord")
    files: dict[str, list[str]] = {split: [] for split in SPLITS}
    digest = hashlib.sha256()
    for shard in making.shards:
        statistics = read_statistics(making.folder, shard)
        clips = sum(len(outcome.clips) for outcome in making.outcomes(shard))
        size = sizes.get(storage.join(making.folder, shard.name), 0)
        if (size, clips) != (statistics["bytes"], statistics["clips"]):
            raise PemtError(
                f"{shard.name} holds {size} bytes; {statistics['bytes']} with {statistics['clips']} clips were written "
                f"and {clips} expected: the storage lost or repeated some; run the job again"
            )
        if clips:
            files[shard.split].append(shard.name)
            digest.update(f"{shard.name} {statistics['sha256']}\n".encode())
    return files, digest.hexdigest()


def _card(
    making: Making, tally: Tally, files: dict[str, list[str]], digest: str, pairs: list[DuplicatePair]
) -> DatasetCard:
    settings = making.settings
    across = sum(pair.is_across for pair in pairs)
    near = near_training(pairs)
    splits = {
        name: dataclasses.replace(split, near_duplicates=len(near[name])) for name, split in tally.splits(files).items()
    }
    return DatasetCard(
        geometry=making.config.geometry,
        labels=list(settings.vocabulary),
        splits=splits,
        inputs=tally.inputs,
        written=tally.kinds[WRITTEN],
        filtered=tally.causes(FILTERED),
        failed=tally.causes(FAILED),
        left_out=tally.left_out(),
        plan=settings.plan.to_json(),
        payload=settings.payload,
        silent=tally.silent,
        frozen=tally.frozen,
        duplicates={"across_splits": across, "within_splits": len(pairs) - across},
        preset=making.config.name,
        source=printable(making.source),
        command=printable(making.command),
        configuration_hash=making.job.configuration_hash,
        content_hash=digest,
    )


def _write_descriptions(making: Making) -> None:
    settings, folder = making.settings, making.folder
    labels = "".join(f"{label}\n" for label in settings.vocabulary)
    storage.write_text(storage.join(folder, LABELS_NAME), labels)
    schema = schema_text(making.config.geometry, list(settings.vocabulary), settings.store_waveform)
    storage.write_text(storage.join(folder, SCHEMA_NAME), schema)
    with storage.open_write(storage.join(folder, LISTED_NAME)) as file:
        for outcome in making.settled:
            file.write(outcome.line())
    with tempfile.TemporaryDirectory() as scratch:
        save_config(making.config, Path(scratch, "config.json"))
        config = Path(scratch, "config.json").read_text(encoding="utf-8")
        storage.write_text(storage.join(folder, "config.json"), config)


class _Reports:
    """The files under errors/, as JSON lines. Use it as a context manager."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> _Reports:
        names = ("failures", "filtered", "notes")
        self._files = {name: storage.open_write(self._path(name)) for name in names}
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def _path(self, name: str) -> str:
        return storage.join(self._folder, "errors", f"{name}.jsonl")

    def _write(self, name: str, values: dict) -> None:
        self._files[name].write(json.dumps(values).encode("ascii") + b"\n")

    def add(self, outcome: Outcome) -> None:
        """Notes what is to be noted of an outcome."""
        one = outcome.input
        about = {"stage": outcome.stage, "cause": outcome.cause, "detail": outcome.detail}
        if outcome.kind == FAILED:
            self._write("failures", {"id": one.clip_id, "path": one.name, **about})
        elif outcome.kind == FILTERED:
            self._write("filtered", {"id": one.clip_id, "path": one.name, **about})
        else:
            for window in outcome.left_out:
                where = {"id": one.clip_id, "path": one.name, "start": window.start, "end": window.end}
                name = "failures" if window.kind == FAILED else "filtered"
                self._write(name, {**where, "stage": "decode", "cause": window.cause, "detail": window.detail})
        for clip in outcome.clips:
            if clip.notes:
                self._write("notes", {"id": clip.clip_id, "path": one.name, "notes": clip.notes})


def is_whole(folder: str, shard: Shard) -> bool:
    """Whether a shard that has statistics is all there: files may be lost when a machine stops."""
    outcomes = storage.list_sizes(folder, shard.outcome_name)
    size = next(iter(storage.list_sizes(folder, shard.name).values()), 0)
    try:
        return bool(outcomes) and read_statistics(folder, shard)["bytes"] == size
    except (ValueError, KeyError):
        return False


def outcomes_so_far(folder: str) -> Iterator[Outcome]:
    """Outcomes in a local working folder, those of unfinished shards too."""
    for path in sorted(Path(folder, "outcomes").glob("*.jsonl*")):
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield Outcome.from_line(line)


def write_failures(folder: str) -> str:
    """Lists the failures so far, for a job that is given up; returns where."""
    if storage.is_remote(folder):
        return storage.join(folder, "outcomes")
    with _Reports(folder) as reports:
        for outcome in outcomes_so_far(folder):
            reports.add(outcome)
    return storage.join(folder, "errors", "failures.jsonl")
