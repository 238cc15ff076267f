"""What is to be done: which inputs, in which splits, with which labels. Decodes nothing."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from beam_jobs.engines import storage
from beam_jobs.inputs import file_listing, manifest, manifest_rows, splits
from beam_jobs.inputs.file_listing import InputClip, Listing
from beam_jobs.worker.outcomes import FAILED, FILTERED, Outcome
from pemt_tf.data.dataset_card import CARD_NAME, DatasetCard
from pemt_tf.errors import PemtError


@dataclass(frozen=True)
class InputPlan:
    """What is to be done.

    Attributes:
        clips: to be decoded, all with a split.
        settled: outcomes that need no decoding: filtered files, unknown labels.
        vocabulary: label names.
        extra_columns: of a manifest, carried along.
    """

    clips: list[InputClip]
    settled: list[Outcome]
    vocabulary: list[str]
    extra_columns: tuple[str, ...] = ()


def make_plan(options: argparse.Namespace) -> InputPlan:
    """Lists the inputs and settles splits and labels; says on standard error what the user should know of it.

    Raises:
        PemtError: there is nothing to do, or what the user says contradicts itself.
    """
    listing = list_source(options.input, options.input_root, options.allow_outside)
    for note in listing.notes:
        sys.stderr.write(f"note: {note}\n")
    settled = [
        Outcome(FILTERED, InputClip(file_listing.clip_id(file.name), file.path, file.name), "list", file.rule)
        for file in listing.filtered
    ] + [
        Outcome(FAILED, InputClip(file_listing.clip_id(one.name), one.path, one.name), "list", "not_found", one.detail)
        for one in listing.unreadable
    ]
    clips, vocabulary = listing.clips, None
    if options.labels_from:
        vocabulary = read_card(options.labels_from).labels
        known = []
        for clip in clips:
            unknown = [label for label in clip.labels if label not in vocabulary]
            if unknown:
                detail = f"label {unknown[0]!r} is not in the vocabulary of {options.labels_from}"
                settled.append(Outcome(FAILED, clip, "plan", "unknown_label", detail))
            else:
                known.append(clip)
        clips = known
    clips = splits.assign_splits(clips, splits.parse_fractions(options.split_fractions), vocabulary)
    if vocabulary is None:
        vocabulary = sorted({label for clip in clips for label in clip.labels})
    return InputPlan(clips, settled, vocabulary, listing.extra_columns)


def list_source(source: str, root: str | None = None, allow_outside: bool = False) -> Listing:
    """Lists a manifest, folder, glob or single file.

    Raises:
        PemtError: there is nothing to do, or a row of the manifest is wrong.
    """
    if manifest_rows.is_manifest(source):
        return manifest.read_manifest(source, root, allow_outside)
    if root is not None:
        raise PemtError("--input_root belongs to a manifest (.csv, .tsv, .jsonl, .json or .parquet)")
    return file_listing.list_inputs(source, allow_outside)


def read_card(folder: str) -> DatasetCard:
    """The card of a data set on any file system.

    Raises:
        PemtError: there is none, or it cannot be read.
    """
    card = storage.join(folder, CARD_NAME)
    if not storage.is_remote(folder):
        return DatasetCard.read(Path(folder))
    if not storage.exists(card):
        raise PemtError(f"{folder} is not a finished data set: it has no {CARD_NAME}")
    with tempfile.TemporaryDirectory() as scratch, storage.open_read(card) as file:
        Path(scratch, CARD_NAME).write_bytes(file.read())
        return DatasetCard.read(Path(scratch))
