"""What became of every input: exactly one of written, filtered and failed. Stored as JSON lines."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from beam_jobs import storage

WRITTEN, FILTERED, FAILED = "written", "filtered", "failed"


@dataclass(frozen=True)
class Outcome:
    """The end of one input.

    Attributes:
        kind: `written`, `filtered` or `failed`.
        clip_id, path: which input.
        stage: where it was decided: `list`, `plan` or `decode`.
        cause: of a failure, a name in `pemt_tf.features.media_errors.CAUSES`; of a filtered input, the rule.
        detail: one line.
        split, label, seconds, has_video, has_audio: of a written clip.
        notes: what is odd about a written clip.
    """

    kind: str
    clip_id: str
    path: str
    stage: str
    cause: str = ""
    detail: str = ""
    split: str = ""
    label: str | None = None
    seconds: float = 0.0
    has_video: bool = False
    has_audio: bool = False
    notes: tuple[str, ...] = ()

    def line(self) -> bytes:
        """As one line of JSON."""
        return json.dumps(dataclasses.asdict(self)).encode("ascii") + b"\n"


def read_outcomes(path: str) -> list[Outcome]:
    """Reads a file of lines."""
    with storage.open_read(path) as file:
        rows = [json.loads(line) for line in file.read().splitlines()]
    return [Outcome(**{**row, "notes": tuple(row["notes"])}) for row in rows]


def count_causes(outcomes: Iterable[Outcome], kind: str) -> dict[str, int]:
    """Number of outcomes of a kind by cause, in the order of the names."""
    return dict(sorted(collections.Counter(one.cause for one in outcomes if one.kind == kind).items()))


def describe(counts: dict[str, int]) -> str:
    """`open_failed 3, too_short 1`; the most frequent first."""
    return ", ".join(
        f"{cause} {count}" for cause, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def write_report(file: BinaryIO, outcomes: Iterable[Outcome], fields: tuple[str, ...]) -> None:
    """Writes some fields of outcomes as JSON lines, sorted by id."""
    for one in sorted(outcomes, key=lambda one: (one.clip_id, one.path)):
        values = dataclasses.asdict(one)
        file.write(json.dumps({"id": one.clip_id, **{name: values[name] for name in fields}}).encode("ascii") + b"\n")
