"""Counts outcomes for the card, one pass, whatever their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from beam_jobs.worker.outcomes import FAILED, FILTERED, Outcome
from pemt_tf.data.dataset_card import SPLITS, SplitCard


class Tally:
    """Counts of a data set.

    Attributes:
        inputs: all.
        kinds: inputs by kind of outcome.
        silent, frozen: clips.
        example: the first failure, for messages.
    """

    def __init__(self) -> None:
        self.inputs = 0
        self.kinds: Counter = Counter()
        self.silent = self.frozen = 0
        self.example: Outcome | None = None
        self._causes: dict[str, Counter] = {FILTERED: Counter(), FAILED: Counter()}
        self._left_out: Counter = Counter()
        self._splits = {split: _SplitTally() for split in SPLITS}

    def add(self, outcome: Outcome) -> None:
        """Counts an outcome."""
        self.inputs += 1
        self.kinds[outcome.kind] += 1
        if outcome.kind in self._causes:
            self._causes[outcome.kind][outcome.cause] += 1
        else:
            self._left_out.update(window.cause for window in outcome.left_out)
        if outcome.kind == FAILED and self.example is None:
            self.example = outcome
        self.silent += sum(clip.silent for clip in outcome.clips)
        self.frozen += sum(clip.frozen for clip in outcome.clips)
        if outcome.clips:
            self._splits[outcome.input.split].add(outcome)

    def add_all(self, outcomes: Iterable[Outcome]) -> None:
        """Counts several."""
        for outcome in outcomes:
            self.add(outcome)

    def causes(self, kind: str) -> dict[str, int]:
        """Inputs by cause, in the order of the names."""
        return dict(sorted(self._causes[kind].items()))

    def left_out(self) -> dict[str, int]:
        """Windows of written inputs of which no clip was made, by cause."""
        return dict(sorted(self._left_out.items()))

    def splits(self, files: dict[str, list[str]]) -> dict[str, SplitCard]:
        """The splits that have clips, for the card."""
        return {name: split.card(files[name]) for name, split in self._splits.items() if split.clips}


class _SplitTally:
    def __init__(self) -> None:
        self.clips = self._unlabelled = self._with_video = self._with_audio = 0
        self._labels: Counter = Counter()
        self._seconds = 0.0

    def add(self, outcome: Outcome) -> None:
        for clip in outcome.clips:
            self.clips += 1
            self._labels.update(outcome.input.labels)
            self._unlabelled += not outcome.input.labels
            self._with_video += clip.has_video
            self._with_audio += clip.has_audio
            self._seconds += clip.end - clip.start

    def card(self, files: list[str]) -> SplitCard:
        return SplitCard(
            files=files,
            clips=self.clips,
            labels=dict(sorted(self._labels.items())),
            unlabelled=self._unlabelled,
            with_video=self._with_video,
            with_audio=self._with_audio,
            seconds=round(self._seconds, 6),
        )
