"""After the workers: checks that nothing was lost, and writes what describes the data set, the card last."""

from __future__ import annotations

import hashlib
import struct
import tempfile
from collections import Counter
from pathlib import Path

from beam_jobs import storage
from beam_jobs.outcomes import (
    FAILED,
    FILTERED,
    WRITTEN,
    Outcome,
    count_causes,
    read_outcomes,
    write_report,
)
from beam_jobs.records import outcome_name
from beam_jobs.sharding import PLAN_NAME, Shard
from pemt_tf.config import Config, save_config
from pemt_tf.data.dataset_card import CARD_NAME, SPLITS, DatasetCard, SplitCard
from pemt_tf.errors import PemtError

READ_BYTES = 2**20


def collect_outcomes(folder: str, shards: list[Shard], planned: list[str]) -> list[Outcome]:
    """Reads what became of the planned clips.

    Args:
        folder: of the data set in the making.
        shards: all that were to be written.
        planned: ids of the clips in them.

    Raises:
        PemtError: a clip has no outcome, or two.
    """
    outcomes = []
    for shard in shards:
        path = storage.join(folder, outcome_name(shard))
        if not storage.exists(path):
            raise PemtError(f"the job ended, but {shard.name} was never finished; run it again")
        outcomes += read_outcomes(path)
    found, expected = Counter(one.clip_id for one in outcomes), Counter(planned)
    if found != expected:
        lost, extra = sum((expected - found).values()), sum((found - expected).values())
        raise PemtError(f"{lost} clips were lost and {extra} came twice on the way; run the job again")
    return outcomes


def write_card(
    folder: str,
    shards: list[Shard],
    outcomes: list[Outcome],
    config: Config,
    vocabulary: list[str],
    source: str,
    command: str,
) -> DatasetCard:
    """Writes errors/, config.json and the card, and removes what only the making needed.

    Args:
        folder: of the data set in the making.
        shards: all, in the order of the plan.
        outcomes: of every input.
        config: resolved configuration.
        vocabulary: label names.
        source, command: where the data came from.
    """
    for name, kind, fields in (
        ("failures", FAILED, ("path", "stage", "cause", "detail")),
        ("filtered", FILTERED, ("path", "stage", "cause", "detail")),
        ("notes", WRITTEN, ("path", "notes")),
    ):
        chosen = [one for one in outcomes if one.kind == kind and (kind != WRITTEN or one.notes)]
        with storage.open_write(storage.join(folder, "errors", f"{name}.jsonl")) as file:
            write_report(file, chosen, fields)
    digest = hashlib.sha256()
    splits = _describe_splits(folder, shards, outcomes, digest)
    card = DatasetCard(
        geometry=config.geometry,
        labels=vocabulary,
        splits=splits,
        inputs=len(outcomes),
        written=sum(split.clips for split in splits.values()),
        filtered=count_causes(outcomes, FILTERED),
        failed=count_causes(outcomes, FAILED),
        preset=config.name,
        source=source,
        command=command,
        content_hash=digest.hexdigest(),
    )
    for shard in shards:
        storage.remove(storage.join(folder, outcome_name(shard)))
    for name in ("outcomes", PLAN_NAME):
        storage.remove(storage.join(folder, name))
    with tempfile.TemporaryDirectory() as scratch:
        save_config(config, Path(scratch, "config.json"))
        card.write(Path(scratch))
        for name in ("config.json", CARD_NAME):
            storage.write_text(storage.join(folder, name), Path(scratch, name).read_text(encoding="utf-8"))
    return card


def _describe_splits(folder: str, shards: list[Shard], outcomes: list[Outcome], digest) -> dict[str, SplitCard]:
    described = {}
    for split in SPLITS:
        written = [one for one in outcomes if one.kind == WRITTEN and one.split == split]
        if not written:
            continue
        files, in_files = [], 0
        for shard in (shard for shard in shards if shard.split == split):
            path = storage.join(folder, shard.name)
            if storage.exists(path):
                files.append(shard.name)
                in_files += count_and_hash_records(path, digest)
        if in_files != len(written):
            raise PemtError(
                f"{len(written)} clips of the {split} split were written, but its files hold {in_files}; the storage "
                "lost or repeated some: run the job again"
            )
        described[split] = SplitCard(
            files=files,
            clips=len(written),
            labels=dict(sorted(Counter(one.label for one in written if one.label is not None).items())),
            unlabelled=sum(one.label is None for one in written),
            with_video=sum(one.has_video for one in written),
            with_audio=sum(one.has_audio for one in written),
            seconds=round(sum(one.seconds for one in written), 6),
        )
    return described


def count_and_hash_records(path: str, digest) -> int:
    """Counts the records of a TFRecord file and adds its bytes to a digest.

    Raises:
        PemtError: the file ends within a record.
    """
    count = 0
    with storage.open_read(path) as file:
        while header := file.read(12):  # length (8 bytes), its checksum (4); then the record and its checksum
            digest.update(header)
            left = struct.unpack("<Q", header[:8])[0] + 4 if len(header) == 12 else 1
            while left:
                data = file.read(min(left, READ_BYTES))
                if not data:
                    raise PemtError(f"{path} ends within a record; run the job again")
                digest.update(data)
                left -= len(data)
            count += 1
    return count
