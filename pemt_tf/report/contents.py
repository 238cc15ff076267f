"""What a report says, as plain data: the sections that are left empty do not appear.

Numbers come in as numbers; wording, rounding and escaping are the business of the page.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class KeyFigure:
    """One figure of the header, already worded: `91 %`, `accuracy on held-out clips`, `95 % interval 83 to 96 %`."""

    value: str
    name: str
    detail: str = ""


@dataclass(frozen=True)
class Accuracy:
    """One row of the comparison.

    Attributes:
        name: of the model.
        value: share of clips that are right, 0 to 1.
        low, high: its 95 % interval, 0 to 1.
    """

    name: str
    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.value <= self.high <= 1:
            raise ValueError(f"{self.name}: expected 0 <= {self.low} <= {self.value} <= {self.high} <= 1")


@dataclass(frozen=True)
class Comparison:
    """Accuracies beside each other and beside chance, the first row being the one that the report is about.

    Attributes:
        rows: the models.
        chance: expected accuracy of guessing, 0 to 1.
        clips: how many were classified.
    """

    rows: tuple[Accuracy, ...]
    chance: float
    clips: int


@dataclass(frozen=True, eq=False)
class ClipView:
    """One clip, ready to be shown.

    Attributes:
        clip_id: unique within the data set.
        label: its name; empty if there is none.
        frames: JPEGs [segments][frames shown, evenly spread over the segment]; empty where there is no video.
        log_mel: [segments, mel_bins, mel_frames] float, natural-log mel power; None where there is no audio.
        segment_starts: of each segment, seconds; empty where unknown.
    """

    clip_id: str
    label: str = ""
    frames: tuple[tuple[bytes, ...], ...] = ()
    log_mel: np.ndarray | None = None
    segment_starts: tuple[float, ...] = ()

    @property
    def segments(self) -> int:
        """How many segments there are to show."""
        return len(self.frames) or (0 if self.log_mel is None else len(self.log_mel))


@dataclass(frozen=True)
class ParameterRow:
    """One part of the model: its name, how many parameters it has and who shares them."""

    part: str
    parameters: int
    shared_by: str = ""


@dataclass(frozen=True)
class ParameterTable:
    """The model by parts.

    Attributes:
        rows: the parts.
        total: parameters of the whole model.
        summary: closing line, as `pemt params` prints it.
    """

    rows: tuple[ParameterRow, ...]
    total: int
    summary: str = ""


@dataclass(frozen=True)
class Series:
    """One quantity over the steps of a run; values need not be finite."""

    steps: tuple[int, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.values):
            raise ValueError(f"{len(self.steps)} steps but {len(self.values)} values")


@dataclass(frozen=True)
class Run:
    """A training run: its name and its terms by name."""

    name: str
    terms: dict[str, Series]


@dataclass(frozen=True)
class Curves:
    """One chart per term; runs that have the term share its chart (at most three runs)."""

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

    @classmethod
    def from_predictions(cls, labels: tuple[str, ...], truth: list[int], predicted: list[int]) -> ConfusionMatrix:
        """Counts pairs of label indices."""
        counts = np.zeros((len(labels), len(labels)), int)
        np.add.at(counts, (np.asarray(truth, int), np.asarray(predicted, int)), 1)
        return cls(tuple(labels), tuple(map(tuple, counts.tolist())))


@dataclass(frozen=True)
class Prediction:
    """What the model says about one clip.

    Attributes:
        clip: the clip; its label, if any, is the truth.
        scores: (label, probability from 0 to 1), best first.
        source: where the answer came from, say the name of the video file.
    """

    clip: ClipView
    scores: tuple[tuple[str, float], ...]
    source: str = ""


@dataclass(frozen=True)
class Neighbours:
    """A clip and the clips nearest to it: (clip, cosine similarity), nearest first."""

    query: ClipView
    hits: tuple[tuple[ClipView, float], ...]


@dataclass(frozen=True)
class Outcome:
    """Inputs that did not become clips.

    Attributes:
        kind: `filtered` (left out by a rule) or `failed` (could not be read).
        reason: the rule or the cause.
        count: how many.
        files: their names, or some of them.
    """

    kind: str
    reason: str
    count: int
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preprocessing:
    """What became of every input: inputs == written + the counts of `outcomes`."""

    inputs: int
    written: int
    outcomes: tuple[Outcome, ...] = ()

    def __post_init__(self) -> None:
        accounted = self.written + sum(outcome.count for outcome in self.outcomes)
        if accounted != self.inputs:
            raise ValueError(f"{self.inputs} inputs, but {accounted} accounted for")

    def count(self, kind: str) -> int:
        """Inputs with this kind of outcome."""
        return sum(outcome.count for outcome in self.outcomes if outcome.kind == kind)


@dataclass(frozen=True)
class CommandRun:
    """A command as one would type it, and how long it took, seconds."""

    command: str
    seconds: float | None = None


@dataclass(frozen=True)
class Report:
    """Everything on the page, in the order in which it appears."""

    title: str
    subtitle: str = ""
    key_figures: tuple[KeyFigure, ...] = ()
    comparison: Comparison | None = None
    notes: tuple[str, ...] = ()
    clips: tuple[ClipView, ...] = ()
    preprocessing: Preprocessing | None = None
    parameters: ParameterTable | None = None
    curves: tuple[Curves, ...] = ()
    confusion: ConfusionMatrix | None = None
    predictions: tuple[Prediction, ...] = ()
    neighbours: tuple[Neighbours, ...] = ()
    commands: tuple[CommandRun, ...] = ()
    footer: str = ""
