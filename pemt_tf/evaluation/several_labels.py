"""Measures a classifier of several labels a clip: how its scores rank the clips, by label and by modality."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from keras import ops

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import model_inputs
from pemt_tf.data.split_pass import SplitPass
from pemt_tf.errors import PemtError
from pemt_tf.evaluation.classification import LAST_STEP, circumstances, load_voter
from pemt_tf.evaluation.multi_view import ViewPlan
from pemt_tf.evaluation.ranking import RankingMetrics, bootstrap_mean_average_precision, rank_labels
from pemt_tf.files.strict_json import json_text
from pemt_tf.files.whole_file import write_text
from pemt_tf.models.finite_outputs import require_finite
from pemt_tf.models.heads import AVClassifier
from pemt_tf.training.run_directory import RunDirectory

JOINT = "joint"
BEST = 5  # labels of each clip that are listed
_AS_STORED = ViewPlan()


@dataclass(frozen=True)
class MultiLabelEvaluation:
    """The figures of a classifier of several labels. Shares are from 0 to 1; docs/evaluation.md explains each."""

    split: str
    labels: list[str]  # the vocabulary
    clips: int  # labelled clips, or source files where their clips were judged together
    mean_average_precision: float
    interval: tuple[float, float]  # 95 % bootstrap interval over source files
    auc: float | None  # mean over labels; None if no label has clips of both kinds
    d_prime: float | None
    chance: float  # mean share of clips with a label: about the mean average precision of random scores
    without_positive: int  # labels that no clip has
    without_negative: int  # labels that every clip has
    per_class: list[dict]  # see `RankingMetrics`
    modalities: dict[str, dict]  # the same figures with `visual` or `audio` alone, on the clips that have it
    bootstrap: dict  # `seed`, `resamples`, `unit`, `units`
    predictions: list[dict]  # `id`, `labels` and `best`, pairs of label and score, for every clip
    views: int | None = None  # as in `Evaluation`
    crops: int = 1
    sum_over: str = "clip"
    selection: str = LAST_STEP
    caution: str = ""
    data_hash: str = ""

    @property
    def summary(self) -> str:
        """One line for people."""
        low, high = self.interval
        parts = [
            f"{self.split}: mean average precision {self.mean_average_precision:.1%} (95 % interval {low:.1%} to "
            f"{high:.1%}) on {self.clips} {'files' if self.sum_over == 'path' else 'clips'} and "
            f"{len(self.labels) - self.without_positive} labels; chance {self.chance:.1%}"
        ]
        parts += [f"AUC {self.auc:.3f}"] if self.auc is not None else []
        parts += [f"d' {self.d_prime:.2f}"] if self.d_prime is not None else []
        measured = {name: found["mean_average_precision"] for name, found in self.modalities.items()}
        parts += [f"{name} alone {value:.1%}" for name, value in measured.items() if value is not None]
        if self.without_positive:
            parts.append(f"labels without a clip, left out: {self.without_positive}")
        return "; ".join([*parts, *([f"caution: {self.caution}"] if self.caution else [])])

    def write(self, path: Path) -> None:
        """Writes everything as JSON; raises PemtError if that is not possible."""
        write_text(path, json_text(asdict(self), indent=2) + "\n", make_folder=True)


class Scores(NamedTuple):
    """Scores of clips or of source files."""

    values: np.ndarray  # [items, classes] float64, from 0 to 1
    truth: np.ndarray  # [items, classes] bool
    ids: list[str]
    paths: list[str]


def evaluate_several(
    run: RunDirectory,
    source: ClipSource,
    split: str = "test",
    batch_size: int = 16,
    plan: ViewPlan = _AS_STORED,
    seed: int = 0,
) -> MultiLabelEvaluation:
    """Measures a finished fine-tuning run of several labels on the labelled clips of a split.

    `seed` is that of the bootstrap. Raises PemtError as `classification.evaluate` does.
    """
    model, labels, segments = load_voter(run, source, plan)
    scores = score_clips(model, source, split, batch_size, plan, segments)
    return summarize_scores(split, list(labels), scores, seed, **circumstances(run, source, split, plan, segments))


def score_clips(
    model: AVClassifier, source: ClipSource, split: str, batch_size: int, plan: ViewPlan, segments: np.ndarray
) -> dict[str, Scores]:
    """Passes once over the labelled clips: `joint` to the scores, and `visual`, `audio` if the model uses both.

    The CNNs look at each clip once. To score one modality alone, the other is blank and masked, as where a clip lacks
    it.
    """
    kinds = (JOINT, *model.modalities) if len(model.modalities) == 2 else (JOINT,)

    def vote(batch: dict) -> tuple[tf.Tensor, dict]:
        crops = [batch] if plan.crops == 1 else [{**batch, "frames": batch["frames"][:, n]} for n in range(plan.crops)]
        votes = tf.stack([_votes(model, one, kinds) for one in crops])
        return votes, {m: batch[f"{m}_mask"][:, 0] > 0 for m in model.modalities}

    found: dict[str, list] = {kind: [] for kind in kinds}
    passed = SplitPass(source, vote, batch_size, plan.crops, every_label=True)
    for batch in passed.over(split, True, progress="evaluating"):
        (votes, has), truth = batch.values, np.asarray(batch.targets)
        require_finite(np.moveaxis(votes, 2, 0).reshape(len(batch.ids), -1), batch.ids, "the network's prediction")
        means = votes[..., segments, :].astype(np.float64).mean(axis=(0, 3))  # over crops and segments
        for number, kind in enumerate(kinds):
            for row in np.flatnonzero(has[kind]) if kind != JOINT else range(len(batch.ids)):
                found[kind].append((means[number, row], truth[row], batch.ids[row], batch.paths[row]))
    if not found[JOINT]:
        raise PemtError(f"{source.name}: split {split!r} holds no labelled clip to evaluate on")
    return {kind: _gather(rows, plan.sum_over) for kind, rows in found.items() if rows}


def _votes(model: AVClassifier, batch: dict, kinds: tuple[str, ...]) -> tf.Tensor:
    """[kinds, clips, segments, classes]: the mean vote of the heads."""
    inputs = model.looked_at(model_inputs(batch, model.backbone.config.modalities))
    features = model.backbone.local_features(inputs)
    blank = _blank_features(model, batch) if len(kinds) > 1 else {}
    votes = []
    for kind in kinds:
        kept = {m: kind in (JOINT, m) for m in features}
        masks = {m: inputs[f"{m}_mask"] * float(kept[m]) for m in features}
        # A masked token still has its own content, which the heads read.
        seen = {m: x if kept[m] else tf.broadcast_to(blank[m], tf.shape(x)) for m, x in features.items()}
        outputs = model.backbone.contextualize(model.backbone.tokenize(seen), masks)
        outputs |= {f"{m}_features": values for m, values in seen.items()}
        logits = model.judge(outputs, {f"{m}_mask": mask for m, mask in masks.items()})["logits"]
        votes.append(sum(map(model.vote, logits.values())) / len(logits))
    return ops.stack(votes)


def _blank_features(model: AVClassifier, batch: dict) -> dict:
    """Modality to [1, 1, channels], the features of a segment of a clip that lacks it."""
    blank = {name: tf.zeros_like(batch[name][:1, :1]) for name in ("frames", "log_mel")}
    return model.backbone.local_features(model_inputs(blank, model.backbone.config.modalities, masks=False))


def _gather(rows: list[tuple], sum_over: str) -> Scores:
    """Scores of clips, or their means over the clips of each file, which must have the same labels."""
    values, truth, ids, paths = zip(*rows, strict=True)
    scores = Scores(np.stack(values), np.stack(truth), list(ids), list(paths))
    if sum_over == "clip":
        return scores
    files, first, numbers = np.unique(np.array(scores.paths, object), return_index=True, return_inverse=True)
    other = np.flatnonzero((scores.truth != scores.truth[first][numbers]).any(axis=1))
    if len(other):
        raise PemtError(
            f"the clips of {scores.paths[other[0]]} have different labels, so they cannot be judged together; evaluate "
            "with --sum-over clip"
        )
    means = np.zeros((len(files), scores.values.shape[1]))
    np.add.at(means, numbers, scores.values)
    means /= np.bincount(numbers)[:, None]
    return Scores(means, scores.truth[first], files.tolist(), files.tolist())


def summarize_scores(
    split: str, labels: list[str], scores: dict[str, Scores], seed: int = 0, **about
) -> MultiLabelEvaluation:
    """Makes the evaluation of scores by modality, of at least one labelled clip; `about` are further fields of it."""
    joint = scores[JOINT]
    measured = {kind: rank_labels(each.values, each.truth, labels) for kind, each in scores.items()}
    whole: RankingMetrics = measured.pop(JOINT)
    interval, resamples = bootstrap_mean_average_precision(joint.values, joint.truth, np.array(joint.paths), seed)
    files = len(set(joint.paths))
    assert whole.mean_average_precision is not None and whole.chance is not None  # there is a labelled clip
    best = np.argsort(-joint.values, axis=1, kind="stable")[:, :BEST]
    return MultiLabelEvaluation(
        split=split,
        labels=labels,
        clips=whole.clips,
        mean_average_precision=whole.mean_average_precision,
        interval=interval,
        auc=whole.auc,
        d_prime=whole.d_prime,
        chance=whole.chance,
        without_positive=whole.without_positive,
        without_negative=whole.without_negative,
        per_class=whole.per_class,
        modalities={kind: asdict(found) for kind, found in measured.items()},
        bootstrap={
            "seed": seed,
            "resamples": resamples,
            "unit": "clip" if files == len(joint.ids) and joint.ids != joint.paths else "source file",
            "units": files,
        },
        predictions=[
            {
                "id": clip_id,
                "labels": [labels[number] for number in np.flatnonzero(row)],
                "best": [(labels[number], float(value[number])) for number in order],
            }
            for clip_id, row, value, order in zip(joint.ids, joint.truth, joint.values, best, strict=True)
        ],
        **about,
    )
