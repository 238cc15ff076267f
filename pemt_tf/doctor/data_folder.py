"""The check of a data set: is it complete, and can all of it be read?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pemt_tf.doctor.finding import OK, PROBLEM, WARNING, Finding

if TYPE_CHECKING:
    from pemt_tf.data.dataset_card import DatasetCard

_PATIENCE = 5.0  # seconds before progress is shown


def check_data(directory: Path) -> Finding:
    """Checks that a folder holds a finished data set with all its files and clips, and reads every record."""
    from pemt_tf.data.dataset_card import TFRECORD, DatasetCard
    from pemt_tf.errors import PemtError

    again = f"copy the data set again, or run beam_jobs.preprocess again with --output {directory}"
    try:
        card = DatasetCard.read(directory)
    except PemtError as error:
        return Finding(PROBLEM, "data", str(error), again)
    files = [directory / file for split in card.splits.values() for file in split.files]
    gone = [file for file in files if not file.is_file()]
    if gone:
        return Finding(PROBLEM, "data", f"{len(gone)} of {len(files)} record files are missing, first {gone[0]}", again)
    if card.format == TFRECORD:
        faults = [*_counted_faults(directory, card), *_read_faults(files, card)]
    else:
        faults = list(_faults_of_other_files(directory, card))
    if faults:
        more = f"; and {len(faults) - 1} more such records or files" if len(faults) > 1 else ""
        return Finding(PROBLEM, "data", faults[0] + more, again)
    gigabytes = sum(file.stat().st_size for file in files) / 1e9
    clips = {name: split.clips for name, split in card.splits.items()}
    counts = ", ".join(f"{count:,} {name}" for name, count in clips.items())
    found = f"{counts} clips, {gigabytes:.2f} GB at {directory}"
    if card.format != TFRECORD:
        fix = f"python -m beam_jobs.convert --input {directory} --output NEW --format {TFRECORD}"
        return Finding(OK, "data", f"{found}, as {card.format}; training reads {TFRECORD}", fix)
    if not clips.get("train"):
        fix = "put videos in a folder train/, see docs/data_format.md"
        return Finding(WARNING, "data", f"{found}; none to train on", fix)
    return Finding(OK, "data", found)


def _counted_faults(directory: Path, card: DatasetCard) -> Iterator[str]:
    """Splits whose files do not hold what the card states."""
    from pemt_tf.data.record_count import require_whole
    from pemt_tf.errors import PemtError

    for name, split in card.splits.items():
        try:
            require_whole(directory, name, split.files, split.clips)
        except PemtError as error:
            yield str(error)


def _read_faults(files: list[Path], card: DatasetCard) -> Iterator[str]:
    """Records that are damaged or cannot be trained on; for a damaged file, only the first."""
    from pemt_tf.data.record_fields import record_fault
    from pemt_tf.data.record_format import EXTRA_BYTES, read_records
    from pemt_tf.terminal.progress import Progress

    started, progress = time.monotonic(), Progress("reading the data", len(files), "files")
    for done, path in enumerate(files, 1):
        offset = 0
        try:
            with path.open("rb") as file:
                for number, record in enumerate(read_records(file)):
                    fault = record_fault(record, len(card.labels), card.payload)
                    if fault:
                        yield f"{path}: record {number}, at byte {offset}, {fault}"
                    offset += EXTRA_BYTES + len(record)
        except ValueError as error:
            yield f"{path}: {error}"
        except OSError as error:
            yield f"{path} cannot be read after byte {offset} ({error.strerror or error})"
        if time.monotonic() - started > _PATIENCE:
            progress.update(done)


def _faults_of_other_files(directory: Path, card: DatasetCard) -> Iterator[str]:
    """Records of another form than TFRecord that are damaged, missing or too many."""
    from pemt_tf.data.record_count import require_count
    from pemt_tf.data.record_fields import record_fault
    from pemt_tf.errors import PemtError
    from pemt_tf.formats.named import record_files
    from pemt_tf.formats.record_files import RecordShape

    files, shape = record_files(card.format), RecordShape(card.geometry, card.payload)
    for name, split in card.splits.items():
        clips = number = 0
        try:
            for path in (directory / file for file in split.files):
                number = 0
                for record in files.records(path, shape):
                    fault = record_fault(record, len(card.labels), card.payload)
                    if fault:
                        yield f"{path}: record {number}, {fault}"
                    number += 1
                clips += number
            require_count(str(directory), name, clips, split.clips)
        except PemtError as error:
            yield str(error)
        except (ValueError, OSError) as error:
            yield f"{path}: record {number} cannot be read ({error})"
