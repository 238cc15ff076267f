"""Multi-view testing sums the votes of one video's segments, crops and clips (docs/reference_model.md section 14)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pemt_tf.errors import PemtError

CROPS = (1, 3)
SUM_OVER = ("clip", "path")


@dataclass(frozen=True)
class ViewPlan:
    """The votes that are summed."""

    views: int | None = None  # voting segments, spread evenly over a clip, all of which the model sees; None: all
    crops: int = 1  # 1, the centre of the frame; 3, the start, centre and end of its longer side
    sum_over: str = "clip"  # `clip`, one prediction per record; `path`, one for all records of a source file

    def __post_init__(self) -> None:
        if self.crops not in CROPS:
            raise PemtError(f"{self.crops} crops are not possible; --crops is 1 (centre) or 3 (start, centre, end)")
        if self.sum_over not in SUM_OVER:
            raise PemtError(f"votes cannot be summed over {self.sum_over!r}; --sum-over is {' or '.join(SUM_OVER)}")

    def segments(self, available: int) -> np.ndarray:
        """The voting segments, [views] int, ascending: the middles of `views` equal parts of a clip."""
        views = available if self.views is None else self.views
        if not 1 <= views <= available:
            raise PemtError(
                f"{views} views are asked for, but a clip of this geometry has {available} segments; give --views from "
                f"1 to {available}, or sum over the clips of a file with --sum-over path"
            )
        return (2 * np.arange(views) + 1) * available // (2 * views)


@dataclass(frozen=True)
class Votes:
    """Summed votes of clips or of source files."""

    probabilities: np.ndarray  # [items, classes] float64, the sums of all votes, scaled to sum 1
    truth: np.ndarray  # [items] int, labels
    ids: list[str]  # of the clips, or the source files
    paths: list[str]  # the source files


def sum_votes(segment_votes: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Sums votes [crops, clips, all segments, classes] over crops and the voting segments, to [clips, classes] float64.

    Each vote is the sum over the heads of their softmax.
    """
    return np.asarray(segment_votes, np.float64)[:, :, segments].sum(axis=(0, 2))


def judge(sums: np.ndarray, truth: np.ndarray, ids: list[str], paths: list[str], sum_over: str) -> Votes:
    """Turns sums [clips, classes] into votes of clips or, with one label each, of whole files, in their order."""
    if sum_over == "path":
        first: dict[str, int] = {}
        numbers = np.array([first.setdefault(path, len(first)) for path in paths])
        total = np.zeros((len(first), sums.shape[1]))
        np.add.at(total, numbers, sums)
        labels = np.zeros(len(first), truth.dtype)
        labels[numbers] = truth
        other = np.flatnonzero(labels[numbers] != truth)
        if len(other):
            raise PemtError(
                f"the clips of {paths[other[0]]} have different labels, so they cannot be judged together; evaluate "
                "with --sum-over clip"
            )
        sums, truth = total, labels
        ids = paths = list(first)
    return Votes(sums / sums.sum(axis=-1, keepdims=True), truth, ids, paths)
