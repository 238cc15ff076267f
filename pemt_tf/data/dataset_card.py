"""The data-set card: `dataset_card.json`, written last, beside the records.

A folder without a card is not a data set: its job did not finish. No TensorFlow is needed here.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pemt_tf.config import ClipGeometry
from pemt_tf.errors import PemtError
from pemt_tf.files.strict_json import json_text
from pemt_tf.files.whole_file import write_text

CARD_NAME = "dataset_card.json"
TFRECORD = "tfrecord"  # the form of record files that training reads
FORMAT_VERSION = 1
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class SplitCard:
    """Counts and files of one split."""

    files: list[str] = field(default_factory=list)  # record files, relative to the card
    clips: int = 0
    labels: dict[str, int] = field(default_factory=dict)  # clips per label; clips without a label count in none
    unlabelled: int = 0
    with_video: int = 0
    with_audio: int = 0
    seconds: float = 0.0  # total length of the clips
    near_duplicates: int | None = None  # near-duplicates of training clips; None in cards of earlier releases


@dataclass(frozen=True)
class DatasetCard:
    """What a data set holds and how it was made.

    Attributes:
        geometry: clip geometry of all records.
        labels: the vocabulary; a record's label index is a row of it.
        splits: cards of the splits that have clips, by name.
        inputs, written: number of inputs, and of those that gave clips. inputs == written + sum(filtered) +
            sum(failed). An input that was cut into windows is one input and several clips.
        filtered: inputs excluded on purpose, by rule.
        failed: inputs that gave no clip, by cause.
        left_out: windows of written inputs that gave no clip, by cause.
        plan: how clips were chosen from an input.
        payload: form of the records, a name in `records.PAYLOADS`.
        silent, frozen: number of clips whose audio is silence, whose frames do not change.
        duplicates: number of near-duplicate pairs, `across_splits` and `within_splits`.
        preset, source, command: origin of the data.
        configuration_hash: SHA-256 of all settings and of the list of inputs.
        content_hash: SHA-256 over names and SHA-256 of the record files, in the order of `splits` and `files`.
        format: form of the record files, a name in `record_files.FORMATS`; the file has it if it is not `tfrecord`.
    """

    geometry: ClipGeometry
    labels: list[str]
    splits: dict[str, SplitCard]
    inputs: int
    written: int
    filtered: dict[str, int]
    failed: dict[str, int]
    left_out: dict[str, int] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    payload: str = "example"
    silent: int = 0
    frozen: int = 0
    duplicates: dict[str, int] = field(default_factory=dict)
    preset: str = ""
    source: str = ""
    command: str = ""
    configuration_hash: str = ""
    content_hash: str = ""
    format: str = TFRECORD
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        accounted = self.written + sum(self.filtered.values()) + sum(self.failed.values())
        if accounted != self.inputs:
            raise PemtError(
                f"{self.inputs} inputs but {accounted} accounted for ({self.written} written, "
                f"{sum(self.filtered.values())} filtered, {sum(self.failed.values())} failed); "
                "clips were lost or duplicated, so the data set must not be used: run the job again"
            )

    @property
    def clips(self) -> int:
        """Records in all splits."""
        return sum(split.clips for split in self.splits.values())

    def text(self) -> str:
        """The content of the file."""
        values = dataclasses.asdict(self)
        if self.format == TFRECORD:
            del values["format"]  # earlier releases read these cards
        return json_text(values, indent=2) + "\n"

    def require_tfrecord(self, directory: str | Path) -> None:
        """Refuses a data set in another form, for code that reads TFRecord files only."""
        if self.format != TFRECORD:
            raise PemtError(
                f"the records of {directory} have the form {self.format}, but this reads tfrecord; convert them with "
                f"`python -m beam_jobs.convert --input {directory} --output NEW --format tfrecord`, which decodes "
                "nothing again"
            )

    def write(self, directory: Path) -> Path:
        """Writes the card, atomically, as the last act of a job."""
        return write_text(directory / CARD_NAME, self.text())

    @classmethod
    def read(cls, directory: Path) -> DatasetCard:
        """Reads the card of a data set; PemtError if there is none, or it cannot be read."""
        path = directory / CARD_NAME
        if not path.is_file():
            raise PemtError(
                f"{directory} is not a finished data set: it has no {CARD_NAME}; "
                "make one with `python -m beam_jobs.preprocess --input VIDEOS --output DIR`"
            )
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if (version := values.get("format_version")) != FORMAT_VERSION:
                raise PemtError(f"{path} has format version {version}; this release reads {FORMAT_VERSION}")
            values["geometry"] = ClipGeometry(**values["geometry"])
            values["splits"] = {name: SplitCard(**split) for name, split in values["splits"].items()}
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PemtError(f"{path} is damaged ({error}); run the preprocessing job again") from None
