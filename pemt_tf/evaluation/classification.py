"""Measures a classifier on a split: accuracy with its uncertainty, figures by label, and calibration."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from keras import ops

from pemt_tf.config.training import MULTIPLE
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import model_inputs
from pemt_tf.data.split_pass import SplitPass
from pemt_tf.errors import PemtError
from pemt_tf.evaluation.calibration import calibration
from pemt_tf.evaluation.cautions import find_caution, join_cautions, label_caution
from pemt_tf.evaluation.intervals import RESAMPLES, MeasuredShare, measure_shares, top5_is_certain, wilson_interval
from pemt_tf.evaluation.multi_view import ViewPlan, Votes, judge, sum_votes
from pemt_tf.files.strict_json import json_text
from pemt_tf.files.whole_file import write_text
from pemt_tf.models.finite_outputs import require_finite
from pemt_tf.models.heads import AVClassifier
from pemt_tf.training.run_directory import RunDirectory

LAST_STEP = "last step"
_AS_STORED = ViewPlan()


@dataclass(frozen=True)
class Evaluation:
    """The figures of a classifier. Shares are from 0 to 1; docs/evaluation.md explains each figure."""

    split: str
    labels: list[str]  # the vocabulary, rows and columns of `confusion`
    clips: int  # labelled clips, or source files where their clips were judged together
    accuracy: float  # share of clips whose most probable label is theirs
    interval: tuple[float, float]  # 95 % Wilson interval
    top5: float  # share of clips whose label is among the five most probable
    top5_interval: tuple[float, float]
    chance: float  # accuracy of guessing uniformly
    confusion: list[list[int]]  # counts [true][predicted]
    per_class: list[dict]  # `label`, `clips`, `accuracy`, `interval` of every label; the last two None without clips
    calibration: dict  # see `calibration.calibration`
    bootstrap: dict  # `seed`, `resamples`, `unit`, `units`, 95 % intervals `accuracy` and `top5`
    predictions: list[dict]  # `id`, `label`, `predicted` and its `probability` for every clip
    views: int | None = None  # the votes that were summed: see `ViewPlan`
    crops: int = 1
    sum_over: str = "clip"
    selection: str = LAST_STEP  # how the weights were chosen from those of the training steps
    caution: str = ""  # why the figures mean less than those of held-out clips of several labels
    data_hash: str = ""

    @property
    def summary(self) -> str:
        """One line for people. Where clips share source files, the interval is the wider one on either side."""
        low, high = self.interval
        if self.bootstrap["units"] < self.clips:
            low, high = MeasuredShare(self.accuracy, self.interval, self.bootstrap["accuracy"]).cautious
        line = (
            f"{self.split}: accuracy {self.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}) "
            f"on {self.clips} {'files' if self.sum_over == 'path' else 'clips'}; chance {self.chance:.1%}; "
            f"top-5 {self.top5:.1%}"
        )
        if top5_is_certain(len(self.labels)):
            line = f"{line} (always, with {len(self.labels)} labels)"
        return f"{line}; caution: {self.caution}" if self.caution else line

    def write(self, path: Path) -> None:
        """Writes everything as JSON; raises PemtError if that is not possible."""
        write_text(path, json_text(asdict(self), indent=2) + "\n", make_folder=True)


def evaluate(
    run: RunDirectory,
    source: ClipSource,
    split: str = "test",
    batch_size: int = 16,
    plan: ViewPlan = _AS_STORED,
    seed: int = 0,
) -> Evaluation:
    """Classifies every labelled clip of a split by a finished fine-tuning run; `seed` is that of the bootstrap.

    Raises PemtError for no classifier, other geometry or labels, no labelled clip, or a plan that clips do not allow.
    """
    model, labels, segments = load_voter(run, source, plan)
    if model.labels == MULTIPLE:
        raise PemtError(f"{run.path} predicts several labels a clip; measure it by `evaluate_several`")
    votes = _vote(model, source, split, batch_size, plan, segments)
    return summarize(split, list(labels), votes, seed, **circumstances(run, source, split, plan, segments))


def circumstances(run: RunDirectory, source: ClipSource, split: str, plan: ViewPlan, segments: np.ndarray) -> dict:
    """What every evaluation says of how it was made: its fields from `views` on."""
    description = run.description()
    return {
        "views": len(segments),
        "crops": plan.crops,
        "sum_over": plan.sum_over,
        "selection": description.get("selection") or LAST_STEP,
        "caution": find_caution(description, source, split, run.config().finetune.validation_split),
        "data_hash": source.content_hash,
    }


def load_voter(
    run: RunDirectory, source: ClipSource, plan: ViewPlan
) -> tuple[AVClassifier, tuple[str, ...], np.ndarray]:
    """The classifier of a run, its labels and the voting segments; raises what `evaluate` raises before it begins."""
    model, labels = run.load_classifier()
    source.require_geometry(run.config().geometry)
    require_labels(labels, source)
    if plan.crops > 1 and "visual" not in (model.streams or model.backbone.config.modalities):
        raise PemtError(f"{run.path} is an audio classifier and has no crops; omit --crops")
    return model, labels, plan.segments(source.geometry.segments)


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
        require_finite(sums[-1], batch.ids, "the network's prediction")
        truth.append(batch.labels)
        ids += batch.ids
        paths += batch.paths
    if not ids:
        raise PemtError(f"{source.name}: split {split!r} holds no labelled clip to evaluate on")
    return judge(np.concatenate(sums), np.concatenate(truth), ids, paths, plan.sum_over)


def summarize(split: str, labels: list[str], votes: Votes, seed: int = 0, **about) -> Evaluation:
    """Makes the `Evaluation` of the votes on at least one clip; `about` are further fields of it."""
    probabilities, truth = votes.probabilities, votes.truth
    require_finite(probabilities, votes.ids, "the network's prediction")
    predicted = probabilities.argmax(-1)
    confusion = np.zeros((len(labels), len(labels)), int)
    np.add.at(confusion, (truth, predicted), 1)
    best = np.argsort(-probabilities, axis=-1, kind="stable")[:, :5]
    hits = np.stack([predicted == truth, (best == truth[:, None]).any(-1)], axis=1)
    right, among_five = measure_shares(hits, np.array(votes.paths), seed)
    files = len(set(votes.paths))
    about["caution"] = join_cautions(about.get("caution", ""), label_caution(labels, truth))
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
    """Raises PemtError if the records have other labels than the model: label numbers would mean other things."""
    if labels != source.labels:
        unknown = [label for label in source.labels if label not in labels]
        detail = f"label {unknown[0]!r} is not one of the model's" if unknown else "the order or number differs"
        raise PemtError(
            f"{source.name} has other labels than the model ({detail}); evaluate on records made together with "
            "the training records"
        )
