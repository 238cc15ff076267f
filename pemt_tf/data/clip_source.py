"""Record files by split, with their vocabulary and geometry."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tensorflow as tf
from google.protobuf.message import DecodeError

from pemt_tf.config import ClipGeometry
from pemt_tf.data import record_count, records
from pemt_tf.data.damage import plain_cause
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.errors import PemtError

_SIZED = 64  # files whose sizes are looked at


@dataclass(frozen=True)
class ClipSource:
    """Record files that belong together.

    Attributes:
        files: split name to record files.
        geometry: clip geometry of all records.
        labels: the vocabulary.
        name: how messages call the source.
        content_hash: the data set's content hash, if it has a card.
        train_labels: labels in the training split, or None if unknown.
        payload: form of the records, a name in `records.PAYLOADS`.
        clips: split name to number of clips, as far as known.
        labelled: split name to number of clips with a label, as far as known.
        given_labels: split name to number of labels of all its clips, as far as known; a clip may have several.
        directory: folder of the data card; None for files without one.
    """

    files: dict[str, tuple[str, ...]]
    geometry: ClipGeometry
    labels: tuple[str, ...]
    name: str
    content_hash: str = ""
    train_labels: tuple[str, ...] | None = None
    payload: str = records.EXAMPLE
    clips: dict[str, int] = field(default_factory=dict)
    labelled: dict[str, int] = field(default_factory=dict)
    given_labels: dict[str, int] = field(default_factory=dict)
    directory: Path | None = None

    @property
    def compression(self) -> Literal["", "GZIP"]:
        """As `tf.data.TFRecordDataset` names it: `GZIP` for *.gz files, which TFX writes, else none."""
        return "GZIP" if any(file.endswith(".gz") for split in self.files.values() for file in split) else ""

    @property
    def can_seek(self) -> bool:
        """Whether a record can be read without those before it: local files without compression."""
        return not self.compression and not any("://" in file for split in self.files.values() for file in split)

    @classmethod
    def open(cls, directory: str | Path) -> ClipSource:
        """Opens a data set written by `beam_jobs.preprocess`.

        Raises:
            PemtError: there is no finished data set, or files of its card are gone.
        """
        directory = Path(directory)
        card = DatasetCard.read(directory)
        card.require_tfrecord(directory)
        files = {name: tuple(str(directory / file) for file in split.files) for name, split in card.splits.items()}
        gone = [file for split in files.values() for file in split if not Path(file).is_file()]
        if gone:
            raise PemtError(f"{directory}: the card names {gone[0]}, which is not there; run the job again")
        train = card.splits.get("train")
        return cls(
            files=files,
            geometry=card.geometry,
            labels=tuple(card.labels),
            name=str(directory),
            content_hash=card.content_hash,
            train_labels=tuple(train.labels) if train else (),
            payload=card.payload,
            clips={name: split.clips for name, split in card.splits.items()},
            labelled={name: split.clips - split.unlabelled for name, split in card.splits.items()},
            given_labels={name: sum(split.labels.values()) for name, split in card.splits.items()},
            directory=directory,
        )

    def require_geometry(self, geometry: ClipGeometry) -> None:
        """Refuses records made for another clip geometry, with the fields that differ and both values."""
        differences = geometry.differences(self.geometry)
        if differences:
            raise PemtError(
                f"{self.name} has another clip geometry than the model ({'; '.join(differences)}); "
                "preprocess again with the model's preset, or train a model with the data's"
            )

    def require_split(self, split: str) -> tuple[str, ...]:
        """The files of a split; PemtError if the data set has no such split."""
        files = self.files.get(split, ())
        if not files:
            known = ", ".join(name for name, found in self.files.items() if found) or "none"
            raise PemtError(f"{self.name} has no split {split!r}; it has: {known}")
        return files

    def are_few(self, split: str, count: int, most_bytes: int) -> bool:
        """Whether `count` clips are a minor part of a split and fit into `most_bytes` of memory; False if unknown."""
        clips, files = self.clips.get(split, 0), self.files[split]
        if not clips or count * 2 > clips:
            return False
        some = files[:: math.ceil(len(files) / _SIZED)]  # a bucket answers one question at a time
        size = sum(tf.io.gfile.stat(file).length for file in some) * len(files) / len(some)
        return count / clips * size <= most_bytes

    def require_known_labels(self) -> None:
        """Refuses a vocabulary that training cannot learn, as with a label that the training split never shows."""
        if not self.labels:
            raise PemtError(
                f"{self.name} has no labels; put labelled videos in sub-folders, or name them in a manifest"
            )
        if len(self.labels) == 1:
            raise PemtError(f"{self.name} has one label only, {self.labels[0]!r}; there must be two to tell apart")
        unseen = [] if self.train_labels is None else [x for x in self.labels if x not in self.train_labels]
        if unseen:
            raise PemtError(
                f"{self.name}: label {', '.join(map(repr, unseen))} has no clip in the training split, so it cannot be "
                "learned; add one to train, or take the label out"
            )

    def parse(self, raw: tf.Tensor) -> dict[str, tf.Tensor]:
        """A parsed clip, see `records.parse`, inside a tf.data pipeline; its labels must be of the vocabulary."""
        clip = records.parse(raw, self.geometry, self.payload)
        known = tf.reduce_all((clip["labels"] >= records.UNLABELLED) & (clip["labels"] < len(self.labels)))
        with tf.control_dependencies([tf.debugging.Assert(known, ["a label is not one of the vocabulary"])]):
            return {**clip, "label": tf.identity(clip["label"]), "labels": tf.identity(clip["labels"])}

    def targets(self, clip: dict[str, tf.Tensor]) -> tf.Tensor:
        """[classes] float32 of a parsed clip: 1 for each of its labels, 0 for the others."""
        return tf.minimum(tf.reduce_sum(tf.one_hot(clip["labels"], len(self.labels)), axis=0), 1.0)

    def require_whole(self, split: str) -> None:
        """Refuses a split with clips missing or added, by the data card; what the records hold is not read."""
        files = [Path(file) for file in self.require_split(split)]
        folder = self.directory
        if folder is None or split not in self.clips or not all(file.is_relative_to(folder) for file in files):
            return
        names = [file.relative_to(folder).as_posix() for file in files]
        record_count.require_whole(folder, split, names, self.clips[split])

    def wrong_counts(self, counts: tuple[int, int]) -> tuple[int, int] | None:
        """Numbers of frames and spectrogram values by the geometry, if `records.count_values` gave others."""
        size = self.geometry
        wanted = size.segments * size.frames_per_segment, size.segments * size.mel_bins * size.mel_frames
        return None if all(count in (0, want) for count, want in zip(counts, wanted, strict=True)) else wanted

    def require_count(self, split: str, found: int, labelled: bool = False) -> None:
        """Refuses a pass over a split that `found` fewer or more clips than its data card says."""
        wanted = (self.labelled if labelled else self.clips).get(split)
        record_count.require_count(self.name, split, found, wanted, " with a label" if labelled else "")

    def require_readable(self, split: str) -> None:
        """Compares a split with the data card, and its first record's shape with the geometry; refuses what differs."""
        for file in self.require_split(split):
            try:
                raw = next(iter(tf.data.TFRecordDataset(file, self.compression).take(1)), None)
            except tf.errors.OpError as error:
                raise PemtError(f"{file} is not a readable record file: {plain_cause(error)}") from None
            if raw is None:
                continue  # Beam may write shards without a record
            try:
                counts = records.count_values(bytes(raw.numpy()), self.payload)
            except DecodeError:
                raise PemtError(f"{file} holds something else than clips; preprocess the videos again") from None
            wanted = self.wrong_counts(counts)
            if wanted:
                raise PemtError(
                    f"{file} holds clips of another geometry: {counts[0]} frames and {counts[1]} spectrogram values "
                    f"a clip; the model needs {wanted[0]} and {wanted[1]}"
                )
            break
        else:
            self.require_whole(split)
            raise PemtError(f"{self.name}: split {split!r} holds no clip")
        self.require_whole(split)
