"""What became of every input: exactly one of written, filtered and failed. Stored as JSON lines."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beam_jobs.engines import storage
from beam_jobs.inputs.file_listing import InputClip
from pemt_tf.errors import PemtError
from pemt_tf.terminal.progress import Progress

WRITTEN, FILTERED, FAILED = "written", "filtered", "failed"
FLAGS = ("has_video", "has_audio", "silent", "frozen")
PROGRESS_SECONDS = 0.5  # between two looks at the outcome files


@dataclass(frozen=True)
class WrittenClip:
    """One clip in a record file."""

    clip_id: str
    start: float  # seconds in the file
    end: float
    bytes: int  # of the record
    has_video: bool
    has_audio: bool
    silent: bool = False  # the audio is nothing but silence
    frozen: bool = False  # the frames do not change
    loudness_db: float | None = None  # root mean square of the audio, dB of full scale; None without audio
    peak_db: float | None = None  # largest sample, dB of full scale
    motion: float | None = None  # mean difference between successive frames, 0 to 255; None without frames
    brightness: float | None = None  # mean, 0 to 255
    picture_hash: str = ""  # perceptual, hexadecimal; empty without frames
    sound_hash: str = ""
    notes: tuple[str, ...] = ()  # what is unusual about it, one sentence each


@dataclass(frozen=True)
class SkippedWindow:
    """A window of a file that did not become a clip; `kind` is `filtered` or `failed`."""

    start: float
    end: float
    kind: str
    cause: str
    detail: str


@dataclass(frozen=True)
class InputOutcome:
    """What became of one input."""

    kind: str  # `written`, `filtered` or `failed`
    input: InputClip
    stage: str  # where it was decided: `list`, `plan`, `decode` or `duplicates`
    cause: str = ""  # for a failure, a name in `media_errors.CAUSES`; for a filtered input, the rule
    detail: str = ""
    clips: tuple[WrittenClip, ...] = ()
    left_out: tuple[SkippedWindow, ...] = ()  # windows that did not become clips
    source: dict[str, Any] = field(default_factory=dict)  # facts about the file: the fields of `SourceInfo`

    def line(self) -> bytes:
        """The outcome as one line of JSON, in which `kind` comes first: `OutcomeWatcher` relies on it."""
        return json.dumps(dataclasses.asdict(self)).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> InputOutcome:
        """Restores what `line` returned."""
        values = json.loads(line)
        values["input"] = InputClip.from_json(values["input"])
        values["clips"] = tuple(WrittenClip(**{**clip, "notes": tuple(clip["notes"])}) for clip in values["clips"])
        values["left_out"] = tuple(SkippedWindow(**window) for window in values["left_out"])
        return cls(**values)


def read_outcomes(path: str) -> Iterator[InputOutcome]:
    """Reads a file of outcomes."""
    with storage.open_read(path) as file:
        for line in file.read().splitlines():
            yield InputOutcome.from_line(line)


class OutcomeCounts:
    """Counts outcomes and what their clips hold, for one shard, one split or a whole data set."""

    def __init__(self, outcomes: Iterable[InputOutcome] = ()) -> None:
        self.kinds: Counter[str] = Counter()
        self.causes: dict[str, Counter[str]] = {FILTERED: Counter(), FAILED: Counter()}
        self.skipped_windows: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.flags: Counter[str] = Counter()
        self.clips = self.unlabelled = 0
        self.seconds = 0.0
        self.first_failure: InputOutcome | None = None
        for outcome in outcomes:
            self.add(outcome)

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return sum(self.kinds.values())

    def add(self, outcome: InputOutcome) -> None:
        """Counts an outcome."""
        self.kinds[outcome.kind] += 1
        if outcome.kind in self.causes:
            self.causes[outcome.kind][outcome.cause] += 1
        else:
            self.skipped_windows.update(window.cause for window in outcome.left_out)
        if outcome.kind == FAILED and self.first_failure is None:
            self.first_failure = outcome
        for clip in outcome.clips:
            self.clips += 1
            self.seconds += clip.end - clip.start
            self.labels.update(outcome.input.labels)
            self.unlabelled += not outcome.input.labels
            self.flags.update(name for name in FLAGS if getattr(clip, name))

    def statistics(self) -> dict[str, Any]:
        """The counts as JSON values, for the statistics file of a shard."""
        return {
            "seconds": round(self.seconds, 6),
            "inputs": self.inputs,
            "written": self.kinds[WRITTEN],
            **{kind: by_name(self.causes[kind]) for kind in (FILTERED, FAILED)},
            "labels": by_name(self.labels),
            **{name: self.flags[name] for name in FLAGS},
        }


class OutcomeWatcher:
    """Counts the outcomes that local workers, in whatever process, have noted so far."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._seen: dict[str, tuple[int, int, Counter[str]]] = {}

    def counts(self) -> Counter[str]:
        """Outcomes by kind."""
        for path in self._folder.glob("*.jsonl*"):
            shard = path.name.partition(".")[0]
            try:
                status = path.stat()
                newest = self._seen.get(shard, (-1, -1))[:2]
                # A shard that is made again has two files: the later one counts.
                if status.st_mtime_ns >= newest[0] and newest != (status.st_mtime_ns, status.st_size):
                    lines = path.read_bytes().splitlines()
                    # `kind` is the first field of an outcome, so the rest need not be parsed.
                    kinds = Counter(line.split(b'"', 4)[3].decode() for line in lines if line.endswith(b"}"))
                    self._seen[shard] = (status.st_mtime_ns, status.st_size, kinds)
            except FileNotFoundError:  # renamed a moment ago: seen under its final name the next time
                continue
        return sum((kinds for *_, kinds in self._seen.values()), Counter())


@contextlib.contextmanager
def job_progress(
    folder: str | None, total: int, most_bad: int | None = None, stop_file: str | None = None
) -> Iterator[None]:
    """Shows progress while the context is open, and stops a job of which more than `most_bad` inputs have failed."""
    if folder is None:
        yield
        return
    watcher, ended = OutcomeWatcher(folder), threading.Event()
    line = Progress("clips", total, "clips", watcher.counts().total())

    def look() -> str:
        counts = watcher.counts()
        if stop_file and most_bad is not None and counts[FAILED] > most_bad:
            Path(stop_file).touch()
        line.done = counts.total()
        return f"{counts[WRITTEN]} ok, {line.done - counts[WRITTEN]} bad"

    def show() -> None:
        while not ended.wait(PROGRESS_SECONDS):
            before, detail = line.done, look()
            if line.done > before:
                line.update(line.done, detail)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        line.close(look())


def by_name(counts: Counter[str]) -> dict[str, int]:
    """Counts in the order of their names."""
    return dict(sorted(counts.items()))


def describe(counts: dict[str, int]) -> str:
    """`open_failed 3, too_short 1`; the most frequent first."""
    return ", ".join(
        f"{cause} {count}" for cause, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def refuse_failures(failed: dict[str, int], inputs: int, most: float, example: str, stopped_after: int = 0) -> None:
    """Refuses a result if more than the share `most` of the inputs failed; `example` ends the message."""
    bad = sum(failed.values())
    if bad > most * inputs:
        stopped = f"stopped after {stopped_after} of {inputs} inputs: " if stopped_after else ""
        raise PemtError(
            f"{stopped}{bad} of {inputs} inputs failed ({describe(failed)}), more than --max_bad_fraction={most:g} "
            f"allows{example}"
        )


def outcome_lines(filtered: dict[str, int], failed: dict[str, int], inputs: int, written: int) -> tuple[list[str], str]:
    """Closing lines: those about filtered and failed inputs, by cause, and the one that sums up all inputs."""
    lines = [
        f"{kind}: {describe(causes)} (errors/{name}.jsonl)"
        for kind, name, causes in (("filtered", "filtered", filtered), ("failed", "failures", failed))
        if causes
    ]
    lost = f"{sum(filtered.values())} filtered + {sum(failed.values())} failed"
    return lines, f"{inputs} inputs = {written} written + {lost}"
