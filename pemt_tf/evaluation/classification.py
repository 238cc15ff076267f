"""How good a classifier is on a split: accuracy with its uncertainty, label by label, and whether it is calibrated."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from keras import ops

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import model_inputs
from pemt_tf.data.split_pass import SplitPass
from pemt_tf.errors import PemtError
from pemt_tf.evaluation import top5
from pemt_tf.evaluation.calibration import calibration
from pemt_tf.evaluation.cautions import find_caution, join_cautions, label_caution
from pemt_tf.evaluation.intervals import RESAMPLES, Share, measure_shares, wilson_interval
from pemt_tf.evaluation.multi_view import ViewPlan, Votes, judge, sum_votes
from pemt_tf.files.strict_json import json_text
from pemt_tf.models.finite_outputs import require_finite
from pemt_tf.models.heads import AVClassifier
from pemt_tf.training.run_directory import RunDirectory

LAST_STEP = "last step"
_AS_STORED = ViewPlan()


@dataclass(frozen=True)
class Evaluation:
    """What came out, clip by clip and in sum. Shares are from 0 to 1; docs/evaluation.md explains each figure.

    Attributes:
        split: which clips.
        labels: the vocabulary, rows and columns of `confusion`.
        clips: number of labelled clips, or of source files where their clips were judged together.
        accuracy: share of clips whose most probable label is theirs.
        interval: 95 % Wilson interval of the accuracy.
        top5: share of clips whose label is among the five most probable.
        top5_interval: 95 % Wilson interval of it.
        chance: accuracy of guessing uniformly.
        confusion: [true][predicted] counts.
        per_class: of every label, `label`, `clips`, `accuracy`, `interval`; the last two None without clips.
        calibration: see `calibration.calibration`.
        bootstrap: `seed`, `resamples`, `unit` (`source file` or `clip`), `units` (how many), and the 95 % intervals
            `accuracy` and `top5`.
        predictions: per clip, `id`, `label`, `predicted` and `probability` of the predicted label.
        views, crops, sum_over: whose votes were summed, see `ViewPlan`.
        selection: how the weights were chosen from those of the training steps.
        caution: why the figures mean less than those of held-out clips of several labels; empty if they do not.
        data_hash: of the data set.
    """

    split: str
    labels: list[str]
    clips: int
    accuracy: float
    interval: tuple[float, float]
    top5: float
    top5_interval: tuple[float, float]
    chance: float
    confusion: list[list[int]]
    per_class: list[dict]
    calibration: dict
    bootstrap: dict
    predictions: list[dict]
    views: int | None = None
    crops: int = 1
    sum_over: str = "clip"
    selection: str = LAST_STEP
    caution: str = ""
    data_hash: str = ""

    @property
    def summary(self) -> str:
        """One line for people. Where clips share source files, the interval is the wider one on either side."""
        low, high = self.interval
        if self.bootstrap["units"] < self.clips:
            low, high = Share(self.accuracy, self.interval, self.bootstrap["accuracy"]).cautious
        line = (
            f"{self.split}: accuracy {self.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}) "
            f"on {self.clips} {'files' if self.sum_over == 'path' else 'clips'}; chance {self.chance:.1%}; "
            f"top-5 {self.top5:.1%}"
        )
        if top5.is_certain(len(self.labels)):
            line = f"{line} (always, with {len(self.labels)} labels)"
        return f"{line}; caution: {self.caution}" if self.caution else line

    def write(self, path: Path) -> None:
        """Writes everything as JSON.

        Raises:
            PemtError: it cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json_text(asdict(self), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise PemtError(f"cannot write {path}: {error.strerror or error}; choose another --output") from None


def evaluate(
    run: RunDirectory,
    source: ClipSource,
    split: str = "test",
    batch_size: int = 16,
    plan: ViewPlan = _AS_STORED,
    seed: int = 0,
) -> Evaluation:
    """Classifies every labelled clip of a split.

    Args:
        run: a finished fine-tuning run.
        source: records of the same geometry and vocabulary.
        split: which clips.
        batch_size: clips at once.
        plan: whose votes are summed.
        seed: of the bootstrap.

    Raises:
        PemtError: no classifier, other geometry or labels, no labelled clip, a plan that the clips do not allow.
    """
    model, labels = run.load_classifier()
    source.require_geometry(run.config().geometry)
    require_labels(labels, source)
    if plan.crops > 1 and "visual" not in (model.streams or model.backbone.config.modalities):
        raise PemtError(f"{run.path} is a classifier of sound only, which has no crops; leave --crops out")
    segments = plan.segments(source.geometry.segments)
    votes = _vote(model, source, split, batch_size, plan, segments)
    description = run.description()
    return summarize(
        split,
        list(labels),
        votes,
        seed,
        views=len(segments),
        crops=plan.crops,
        sum_over=plan.sum_over,
        selection=description.get("selection") or LAST_STEP,
        caution=find_caution(description, source, split, run.config().finetune.validation_split),
        data_hash=source.content_hash,
    )


def _vote(
    model: AVClassifier, source: ClipSource, split: str, batch_size: int, plan: ViewPlan, segments: np.ndarray
) -> Votes:
    """Passes once over the labelled clips and keeps the sums of their votes."""
    modalities = model.backbone.config.modalities

    def segment_votes(batch: dict) -> tf.Tensor:
        votes = []
        for crop in range(plan.crops):
            one = batch if plan.crops == 1 else {**batch, "frames": batch["frames"][:, crop]}
            logits = model(model_inputs(one, modalities), training=False)["logits"]
            votes.append(sum(ops.softmax(values, axis=-1) for values in logits.values()))
        return tf.stack(votes)

    truth, sums, ids, paths = [], [], [], []
    for batch in SplitPass(source, segment_votes, batch_size, plan.crops).over(split, True, progress="evaluating"):
        sums.append(sum_votes(batch.values, segments))
        require_finite(sums[-1], batch.ids, "the network's answer")
        truth.append(batch.labels)
        ids += batch.ids
        paths += batch.paths
    if not ids:
        raise PemtError(f"{source.name}: split {split!r} holds no labelled clip to evaluate on")
    return judge(np.concatenate(sums), np.concatenate(truth), ids, paths, plan.sum_over)


def summarize(split: str, labels: list[str], votes: Votes, seed: int = 0, **about) -> Evaluation:
    """Turns votes into an `Evaluation`.

    Args:
        split: which clips.
        labels: the vocabulary.
        votes: of at least one clip.
        seed: of the bootstrap.
        **about: further fields of `Evaluation`.

    Raises:
        PemtError: a probability is not finite.
    """
    probabilities, truth = votes.probabilities, votes.truth
    require_finite(probabilities, votes.ids, "the network's answer")
    predicted = probabilities.argmax(-1)
    confusion = np.zeros((len(labels), len(labels)), int)
    np.add.at(confusion, (truth, predicted), 1)
    best = np.argsort(-probabilities, axis=-1, kind="stable")[:, :5]
    hits = np.stack([predicted == truth, (best == truth[:, None]).any(-1)], axis=1)
    right, among_five = measure_shares(hits, np.array(votes.paths), seed)
    files = len(set(votes.paths))
    about["caution"] = join_cautions((about.get("caution", ""), label_caution(labels, truth)))
    return Evaluation(
        split=split,
        labels=labels,
        clips=len(truth),
        accuracy=right.value,
        interval=right.wilson,
        top5=among_five.value,
        top5_interval=among_five.wilson,
        chance=1 / len(labels),
        confusion=confusion.tolist(),
        per_class=[_of_class(label, confusion[number], number) for number, label in enumerate(labels)],
        calibration=calibration(probabilities, truth),
        bootstrap={
            "seed": seed,
            "resamples": RESAMPLES,
            "unit": "clip" if files == len(truth) and votes.ids != votes.paths else "source file",
            "units": files,
            "accuracy": right.bootstrap,
            "top5": among_five.bootstrap,
        },
        predictions=[
            {"id": i, "label": labels[t], "predicted": labels[p], "probability": float(row[p])}
            for i, t, p, row in zip(votes.ids, truth, predicted, probabilities, strict=True)
        ],
        **about,
    )


def _of_class(label: str, row: np.ndarray, number: int) -> dict:
    clips, correct = int(row.sum()), int(row[number])
    accuracy, interval = (correct / clips, wilson_interval(correct, clips)) if clips else (None, None)
    return {"label": label, "clips": clips, "accuracy": accuracy, "interval": interval}


def require_labels(labels: tuple[str, ...], source: ClipSource) -> None:
    """Refuses records whose vocabulary is not the model's: label numbers would mean other things.

    Raises:
        PemtError: naming what differs.
    """
    if labels != source.labels:
        unknown = [label for label in source.labels if label not in labels]
        detail = f"label {unknown[0]!r} is not one of the model's" if unknown else "the order or number differs"
        raise PemtError(
            f"{source.name} has other labels than the model ({detail}); evaluate on records made in one go with the "
            "training records"
        )
