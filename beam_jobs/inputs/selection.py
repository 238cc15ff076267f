"""What to do: which inputs, in which splits, with which labels. Decodes nothing."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from beam_jobs.engines import storage
from beam_jobs.inputs import file_listing, manifest, manifest_rows, splits
from beam_jobs.inputs.file_listing import InputClip, InputListing, SkippedFile
from beam_jobs.worker.outcomes import FAILED, FILTERED, InputOutcome
from pemt_tf.data.dataset_card import CARD_NAME, DatasetCard
from pemt_tf.errors import PemtError


@dataclass(frozen=True)
class SelectedInputs:
    """What to do."""

    clips: list[InputClip]  # to decode, all with a split
    settled: list[InputOutcome]  # need no decoding: filtered files, unreadable folders, unknown labels
    vocabulary: list[str]
    extra_columns: tuple[str, ...] = ()  # of a manifest, kept in the index


def select_inputs(
    source: str, root: str | None, allow_outside: bool, labels_from: str | None, split_fractions: str
) -> SelectedInputs:
    """Lists the inputs and decides splits and labels; prints on standard error what the user should know."""
    listing = list_source(source, root, allow_outside)
    for note in listing.notes:
        sys.stderr.write(f"note: {note}\n")
    settled = [_settled(FILTERED, file) for file in listing.filtered]
    settled += [_settled(FAILED, folder) for folder in listing.unreadable]
    clips, vocabulary = listing.clips, None
    if labels_from:
        vocabulary = read_card(labels_from).labels
        known = []
        for clip in clips:
            unknown = [label for label in clip.labels if label not in vocabulary]
            if unknown:
                detail = f"label {unknown[0]!r} is not in the vocabulary of {labels_from}"
                settled.append(InputOutcome(FAILED, clip, "plan", "unknown_label", detail))
            else:
                known.append(clip)
        clips = known
    clips = splits.assign_splits(clips, splits.parse_fractions(split_fractions), vocabulary)
    if vocabulary is None:
        vocabulary = sorted({label for clip in clips for label in clip.labels})
    return SelectedInputs(clips, settled, vocabulary, listing.extra_columns)


def _settled(kind: str, file: SkippedFile) -> InputOutcome:
    clip = InputClip(file_listing.clip_id(file.name), file.path, file.name)
    return InputOutcome(kind, clip, "list", file.cause, file.detail)


def list_source(source: str, root: str | None = None, allow_outside: bool = False) -> InputListing:
    """Lists a manifest, folder, glob or single file."""
    if is_manifest(source):
        return manifest.read_manifest(source, root, allow_outside)
    if root is not None:
        raise PemtError("--input_root belongs to a manifest (.csv, .tsv, .jsonl, .json or .parquet)")
    return file_listing.list_inputs(source, allow_outside)


def is_manifest(path: str) -> bool:
    """Whether a path has the suffix of a manifest."""
    return path.lower().removesuffix(manifest_rows.COMPRESSED).endswith(manifest_rows.SUFFIXES)


def read_card(folder: str) -> DatasetCard:
    """The card of a data set on any file system."""
    card = storage.join(folder, CARD_NAME)
    if not storage.is_remote(folder):
        return DatasetCard.read(Path(folder))
    if not storage.exists(card):
        raise PemtError(f"{folder} is not a finished data set: it has no {CARD_NAME}")
    with tempfile.TemporaryDirectory() as scratch, storage.open_read(card) as file:
        Path(scratch, CARD_NAME).write_bytes(file.read())
        return DatasetCard.read(Path(scratch))
