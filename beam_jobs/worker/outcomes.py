"""What became of every input: exactly one of written, filtered and failed. Stored as JSON lines."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from beam_jobs.engines import storage
from beam_jobs.inputs.file_listing import InputClip

WRITTEN, FILTERED, FAILED = "written", "filtered", "failed"


@dataclass(frozen=True)
class WrittenClip:
    """One clip in a record file.

    Attributes:
        clip_id: as in the record.
        start, end: seconds in the file.
        bytes: of the record.
        has_video, has_audio: which streams it has.
        silent, frozen: the sound is nothing but silence; the pictures do not change.
        loudness_db, peak_db: root mean square and largest sample of the sound, dB of full scale; None without sound.
        motion: mean difference of brightness between successive pictures, 0 to 255; None without pictures.
        brightness: mean, 0 to 255; None without pictures.
        picture_hash, sound_hash: perceptual hashes, hexadecimal; empty where the stream is missing.
        notes: what is odd about it, one sentence each.
    """

    clip_id: str
    start: float
    end: float
    bytes: int
    has_video: bool
    has_audio: bool
    silent: bool = False
    frozen: bool = False
    loudness_db: float | None = None
    peak_db: float | None = None
    motion: float | None = None
    brightness: float | None = None
    picture_hash: str = ""
    sound_hash: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LeftOut:
    """A window of a file of which no clip was made; `kind` is `filtered` or `failed`."""

    start: float
    end: float
    kind: str
    cause: str
    detail: str


@dataclass(frozen=True)
class Outcome:
    """The end of one input.

    Attributes:
        kind: `written`, `filtered` or `failed`.
        input: which one.
        stage: where it was decided: `list`, `plan`, `decode` or `duplicates`.
        cause: of a failure, a name in `pemt_tf.media.media_errors.CAUSES`; of a filtered input, the rule.
        detail: one line.
        clips: that were written of it.
        left_out: windows that were not.
        source: about the file: the fields of `pemt_tf.media.clip_decoder.SourceInfo`.
    """

    kind: str
    input: InputClip
    stage: str
    cause: str = ""
    detail: str = ""
    clips: tuple[WrittenClip, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)

    def line(self) -> bytes:
        """As one line of JSON; `kind` comes first (`beam_jobs.job.progress` relies on it)."""
        return json.dumps(dataclasses.asdict(self)).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Outcome:
        """From what `line` gave."""
        values = json.loads(line)
        values["input"] = InputClip.from_json(values["input"])
        values["clips"] = tuple(WrittenClip(**{**clip, "notes": tuple(clip["notes"])}) for clip in values["clips"])
        values["left_out"] = tuple(LeftOut(**window) for window in values["left_out"])
        return cls(**values)


def read_outcomes(path: str) -> Iterator[Outcome]:
    """Reads a file of lines."""
    with storage.open_read(path) as file:
        for line in file.read().splitlines():
            yield Outcome.from_line(line)


def count_causes(outcomes: Iterable[Outcome], kind: str) -> dict[str, int]:
    """Number of outcomes of a kind by cause, in the order of the names."""
    return dict(sorted(collections.Counter(one.cause for one in outcomes if one.kind == kind).items()))


def describe(counts: dict[str, int]) -> str:
    """`open_failed 3, too_short 1`; the most frequent first."""
    return ", ".join(
        f"{cause} {count}" for cause, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
