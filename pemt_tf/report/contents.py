"""What pages show, as plain data. Numbers stay numbers here; templates word, round and escape them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pemt_tf.report.tables import Bar
from pemt_tf.report.wording import percent

if TYPE_CHECKING:
    from pemt_tf.models.parameter_report import ParameterReport

LARGEST_MATRIX = 40  # labels
CONFUSIONS_LISTED = 12


@dataclass(frozen=True)
class KeyFigure:
    """One figure of the header, in words: `91 %`, `accuracy on held-out clips`, `95 % interval 83 to 96 %`."""

    value: str
    name: str
    detail: str = ""


@dataclass(frozen=True)
class Accuracy:
    """One row of the comparison: a model's accuracy and its 95 % interval, 0 to 1."""

    name: str
    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.value <= self.high <= 1:
            raise ValueError(f"{self.name}: expected 0 <= {self.low} <= {self.value} <= {self.high} <= 1")


@dataclass(frozen=True)
class Comparison:
    """Accuracies of several models, of which the first is the report's, compared with `chance`, 0 to 1."""

    rows: tuple[Accuracy, ...]
    chance: float
    clips: int


@dataclass(frozen=True, eq=False)
class ClipView:
    """One clip, ready to be shown."""

    clip_id: str
    label: str = ""  # empty if there is none
    frames: tuple[tuple[bytes, ...], ...] = ()  # JPEGs [segments][evenly spread]; empty without video
    log_mel: np.ndarray | None = None  # [segments, mel_bins, mel_frames] natural-log mel power; None without audio
    segment_starts: tuple[float, ...] = ()  # in the file, seconds; empty where unknown

    @property
    def segments(self) -> int:
        """How many segments there are to show."""
        return len(self.frames) or (0 if self.log_mel is None else len(self.log_mel))


@dataclass(frozen=True)
class Series:
    """One logged quantity over the steps of a run; values may be NaN or infinite."""

    steps: tuple[int, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.values):
            raise ValueError(f"{len(self.steps)} steps but {len(self.values)} values")


@dataclass(frozen=True)
class Run:
    """A training run: its name, and a series for each quantity that it logged."""

    name: str
    terms: dict[str, Series]


@dataclass(frozen=True)
class Curves:
    """One chart per logged quantity, shared by the runs that have it (at most three runs)."""

    title: str
    runs: tuple[Run, ...]
    note: str = ""


@dataclass(frozen=True)
class ConfusionMatrix:
    """Counts [true label][predicted label], both in the order of `labels`."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        size = len(self.labels)
        if len(self.counts) != size or any(len(row) != size for row in self.counts):
            raise ValueError(f"{size} labels need {size} rows of {size} counts")

    @property
    def is_small(self) -> bool:
        """Whether the matrix is shown; of more labels only the most frequent confusions are listed."""
        return len(self.labels) <= LARGEST_MATRIX

    @property
    def label_rows(self) -> list[tuple[str, Bar, str]]:
        """The accuracy of each label that has clips, as a bar and in words."""
        rows = [(self.labels[place], row[place], sum(row)) for place, row in enumerate(self.counts)]
        return [(label, Bar(correct / total), f"{correct} of {total}") for label, correct, total in rows if total]

    @property
    def confusions(self) -> list[tuple[int, str, str]]:
        """(count, true label, predicted label) of the most frequent confusions."""
        pairs = [
            (count, self.labels[true], self.labels[predicted])
            for true, row in enumerate(self.counts)
            for predicted, count in enumerate(row)
            if count and true != predicted
        ]
        return sorted(pairs, key=lambda pair: -pair[0])[:CONFUSIONS_LISTED]


@dataclass(frozen=True)
class ClipPrediction:
    """A model's prediction for one clip, whose label, if any, is the truth."""

    clip: ClipView
    scores: tuple[tuple[str, float], ...]  # (label, probability from 0 to 1), best first
    source: str = ""  # name of the video file, say; empty for the clip's id

    @property
    def rows(self) -> list[tuple[str, Bar, str]]:
        """The probability of each label, as a bar and in words."""
        return [(label, Bar(score), percent(score, 1)) for label, score in self.scores]


@dataclass(frozen=True)
class Neighbours:
    """A clip and the clips nearest to it: (clip, cosine similarity), nearest first."""

    query: ClipView
    hits: tuple[tuple[ClipView, float], ...]


@dataclass(frozen=True)
class OutcomeCount:
    """Inputs that did not become clips: `filtered` by a rule, or `failed` because they could not be read."""

    kind: str  # `filtered` or `failed`
    reason: str  # the rule or the cause
    count: int
    files: tuple[str, ...] = ()  # their names, or some of them


@dataclass(frozen=True)
class Preprocessing:
    """The outcomes of all inputs: inputs == written + the counts of `outcomes`."""

    inputs: int
    written: int
    outcomes: tuple[OutcomeCount, ...] = ()

    def __post_init__(self) -> None:
        accounted = self.written + sum(outcome.count for outcome in self.outcomes)
        if accounted != self.inputs:
            raise ValueError(f"{self.inputs} inputs, but {accounted} accounted for")

    def count(self, kind: str) -> int:
        """Inputs with this kind of outcome."""
        return sum(outcome.count for outcome in self.outcomes if outcome.kind == kind)


@dataclass(frozen=True)
class CommandRun:
    """A command as a user would type it, and how long it took, seconds."""

    command: str
    seconds: float | None = None


@dataclass(frozen=True)
class Report:
    """Everything on the page of the demo, in the order in which it appears; empty fields are left out."""

    title: str
    subtitle: str = ""
    key_figures: tuple[KeyFigure, ...] = ()
    comparison: Comparison | None = None
    notes: tuple[str, ...] = ()
    clips: tuple[ClipView, ...] = ()
    preprocessing: Preprocessing | None = None
    parameters: ParameterReport | None = None
    curves: tuple[Curves, ...] = ()
    confusion: ConfusionMatrix | None = None
    predictions: tuple[ClipPrediction, ...] = ()
    neighbours: tuple[Neighbours, ...] = ()
    commands: tuple[CommandRun, ...] = ()
    footer: str = ""
