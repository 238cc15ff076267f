"""What to do: which inputs, in which splits, with which labels. Decodes nothing."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from beam_jobs.engines import storage
from beam_jobs.inputs import contained, file_listing, manifest, manifest_rows
from beam_jobs.inputs.file_listing import InputClip, InputListing, SkippedFile, hash_fraction
from beam_jobs.job.options import PreprocessOptions
from beam_jobs.worker.outcomes import FAILED, FILTERED, InputOutcome
from pemt_tf.data.dataset_card import CARD_NAME, SPLITS, DatasetCard
from pemt_tf.errors import PemtError

DEFAULT_FRACTIONS = "train=0.8,validation=0.1,test=0.1"


@dataclass(frozen=True)
class SelectedInputs:
    """What to do."""

    clips: list[InputClip]  # to decode, all with a split
    settled: list[InputOutcome]  # need no decoding: filtered files, unreadable folders, unknown labels
    vocabulary: list[str]
    extra_columns: tuple[str, ...] = ()  # of a manifest, kept in the index


def select_inputs(options: PreprocessOptions) -> SelectedInputs:
    """Lists the inputs and decides splits and labels; prints on standard error what the user should know."""
    listing = list_source(options.input, options.input_root, options.allow_outside)
    for note in listing.notes:
        sys.stderr.write(f"note: {note}\n")
    settled = [_settled(FILTERED, file) for file in listing.filtered]
    settled += [_settled(FAILED, folder) for folder in listing.unreadable]
    clips, vocabulary = listing.clips, None
    if options.labels_from:
        vocabulary = read_card(options.labels_from).labels
        known = []
        for clip in clips:
            unknown = [label for label in clip.labels if label not in vocabulary]
            if unknown:
                detail = f"label {unknown[0]!r} is not in the vocabulary of {options.labels_from}"
                settled.append(InputOutcome(FAILED, clip, "plan", "unknown_label", detail))
            else:
                known.append(clip)
        clips = known
    clips = assign_splits(clips, parse_fractions(options.split_fractions), vocabulary)
    if vocabulary is None:
        vocabulary = sorted({label for clip in clips for label in clip.labels})
    return SelectedInputs(clips, settled, vocabulary, listing.extra_columns)


def _settled(kind: str, file: SkippedFile) -> InputOutcome:
    clip = InputClip(file_listing.clip_id(file.name), file.path, file.name)
    return InputOutcome(kind, clip, "list", file.cause, file.detail)


def list_source(source: str, root: str | None = None, allow_outside: bool = False) -> InputListing:
    """Lists a manifest, folder, glob, single file, or files that hold media."""
    bundled = contained.bundles_named(source)
    if is_manifest(source) and not bundled and not contained.is_glob_of_parquet(source):
        return manifest.read_manifest(source, root, allow_outside)
    if root is not None:
        raise PemtError("--input_root belongs to a manifest (.csv, .tsv, .jsonl, .json or .parquet)")
    if bundled:
        listing = contained.list_named(bundled)
    else:
        listing = contained.with_contents(source, file_listing.find_files(source, allow_outside), allow_outside)
    file_listing.require_clips(source, listing)
    return listing


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


def parse_fractions(text: str) -> dict[str, float]:
    """Reads `train=0.8,validation=0.1,test=0.1`; a split that is not named gets nothing."""
    fractions: dict[str, float] = dict.fromkeys(SPLITS, 0.0)
    try:
        for part in text.split(","):
            name, _, value = part.partition("=")
            if name.strip() not in fractions:
                raise ValueError
            fractions[name.strip()] = float(value)
    except ValueError:
        raise PemtError(f"cannot read --split_fractions {text!r}; write them as in {DEFAULT_FRACTIONS}") from None
    if min(fractions.values()) < 0 or abs(sum(fractions.values()) - 1.0) > 1e-6:
        raise PemtError(f"--split_fractions {text!r} add up to {sum(fractions.values()):g}; they must add up to 1")
    return fractions


def hashed_split(name: str, fractions: dict[str, float]) -> str:
    """The split of a group that was given none, drawn by its name."""
    place, below = hash_fraction(name), 0.0
    for split in SPLITS:
        below += fractions[split]
        if place < below:
            return split
    return next(split for split in reversed(SPLITS) if fractions[split])  # rounding may leave the sum just below 1


def assign_splits(
    clips: list[InputClip], fractions: dict[str, float], vocabulary: list[str] | None = None
) -> list[InputClip]:
    """Gives every input its group's split: the one that the user gave to any of it, or one drawn by hash.

    If the draws alone would keep a label out of the training split, the label's group with the lowest hash moves there,
    unless it is in the `vocabulary` of another data set. If a label is then missing in the test or validation split,
    and has enough groups, the one with the highest hash moves there: in small data sets the draws alone would leave
    tests with only one or two labels.
    """
    given = _given_splits(clips)
    drawn = {clip.group_name: hashed_split(clip.group_name, fractions) for clip in clips}
    splits = {**drawn, **given}
    groups_of: dict[str, set[str]] = {}
    for clip in clips:
        for label in clip.labels:
            groups_of.setdefault(label, set()).add(clip.group_name)
    known = set(vocabulary or ())
    for label, groups in sorted(groups_of.items()):
        if label in known or any(splits[group] == "train" for group in groups):
            continue
        movable = groups - set(given)
        if not movable:
            raise PemtError(
                f"label {label!r} is in the {splits[min(groups)]} split but not in the train split, so it cannot be "
                "learned; add training clips of it, or take the vocabulary of a training set with --labels_from"
            )
        splits[min(movable, key=_by_hash)] = "train"
    for split in reversed(SPLITS[1:]):
        if fractions[split]:
            _spread_labels(split, splits, groups_of, set(given))
    return [dataclasses.replace(clip, split=splits[clip.group_name]) for clip in clips]


def _by_hash(group: str) -> tuple[float, str]:
    return hash_fraction(group), group


def _spread_labels(split: str, splits: dict[str, str], groups_of: dict[str, set[str]], given: set[str]) -> None:
    """Moves groups into a split until it has every label of which other splits can spare a group."""
    counts = Counter((label, splits[group]) for label, groups in groups_of.items() for group in groups)
    labels_of: dict[str, list[str]] = {}
    for label, groups in groups_of.items():
        for group in groups:
            labels_of.setdefault(group, []).append(label)
    for label, groups in sorted(groups_of.items()):
        if counts[label, split]:
            continue
        spare = [
            group
            for group in groups - given
            if all(counts[other, splits[group]] > 1 for other in labels_of[group])  # not the last one
        ]
        if spare:
            chosen = max(spare, key=_by_hash)
            for other in labels_of[chosen]:
                counts[other, splits[chosen]] -= 1
                counts[other, split] += 1
            splits[chosen] = split


def _given_splits(clips: list[InputClip]) -> dict[str, str]:
    given: dict[str, str] = {}
    for clip in clips:
        if clip.split is not None and given.setdefault(clip.group_name, clip.split) != clip.split:
            raise PemtError(
                f"{clip.group_name} is in the {given[clip.group_name]} split and in the {clip.split} split, so "
                "training would see what is tested; put it into one, or tell its parts apart with a column 'group'"
            )
    return given
