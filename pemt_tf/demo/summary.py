"""The results of the demo, in words and as a report."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pemt_tf import __version__
from pemt_tf.config import load_config
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.errors import PemtError
from pemt_tf.models.parameter_report import parameter_report
from pemt_tf.report import contents
from pemt_tf.report.clip_views import read_clip_views
from pemt_tf.report.metrics_file import read_metrics
from pemt_tf.report.page import write_report
from pemt_tf.report.wording import duration
from pemt_tf.training.run_directory import CONFIG, METRICS, RunDirectory

_CLAIM = "demo.json"
_SHOWN_CLIPS = 8
_NEIGHBOURS = 5

_ABOUT_CORPUS = (
    "This corpus was made by the demo itself: real handwriting (the 8 × 8 digits that scikit-learn ships) moving over "
    "random textures, with synthetic audio: the telephone keypad tones of the same digit in noise. It shows that all "
    "parts work together. It says nothing about how well the model does on your videos.",
    "One run with one seed on few clips: look at the intervals, not at single points.",
)
_ABOUT_VIDEOS = (
    "Your videos, the smallest preset and a few minutes of training: enough to see that the data are right, but far "
    "too little to judge the method. Labels are the names of the sub-folders.",
)
_ABOUT_NEIGHBOURS = "Neighbours are found by the embedding of the exported model{how}; the search sees no labels."


class DemoFolder:
    """The folders of one demo."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.corpus = path / "corpus"  # the videos that the demo made
        self.records = path / "records"
        self.pretrained = path / "pretrained"
        self.finetuned = path / "finetuned"  # from the pretrained weights
        self.scratch = path / "scratch"  # from random weights
        self.servable = path / "servable"

    def claim(self, videos: Path | None, seed: int, overrides: list[str]) -> None:
        """Marks the folder as that of this demo; raises PemtError if it holds something else or cannot be written."""
        path = self.path / _CLAIM
        wanted = {"videos": str(videos.resolve()) if videos else None, "seed": seed, "set": overrides}
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found != wanted:
                held = f"{found['videos'] or 'the made corpus'}, seed {found['seed']}"
                changed = found["set"] or "nothing"
                raise PemtError(f"{self.path} holds the demo of {held}, --set {changed}; choose another folder")
            return
        try:
            if self.path.is_dir() and any(self.path.iterdir()):
                raise PemtError(f"{self.path} is not empty and not a demo's; choose another folder")
            self.path.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(wanted) + "\n", encoding="utf-8")
        except OSError as error:
            raise PemtError(f"cannot write to {self.path}: {error.strerror}; choose another folder") from None


@dataclass
class DemoResult:
    """The results, filled step by step."""

    folder: DemoFolder
    videos: Path | None
    card: DatasetCard
    split: str = ""
    finetuned: dict = field(default_factory=dict)
    scratch: dict = field(default_factory=dict)
    predictions: list[contents.ClipPrediction] = field(default_factory=list)
    neighbours: list[contents.Neighbours] = field(default_factory=list)
    commands: list[contents.CommandRun] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def classifies(self) -> bool:
        """Whether there is more than one label."""
        return len(self.card.labels) > 1

    def read_evaluations(self, split: str) -> None:
        """Reads what `pemt evaluate` wrote for both runs."""
        self.split = split
        for name in ("finetuned", "scratch"):
            path = getattr(self.folder, name) / f"evaluation-{split}.json"
            setattr(self, name, json.loads(path.read_text(encoding="utf-8")))

    def ask_model(self, count: int, say: Callable[[str], None]) -> None:
        """Classifies some held-out files with the SavedModel, and finds the clips nearest to them."""
        from pemt_tf.export.local_predictor import LocalPredictor
        from pemt_tf.export.servable_metadata import best_labels
        from pemt_tf.search.exact_search import search
        from pemt_tf.search.record_embeddings import embed_split

        predictor = LocalPredictor(self.folder.servable)
        source = ClipSource.open(self.folder.records)
        asked = self.split or next(iter(reversed(self.card.splits)))
        searched = embed_split(predictor, source, "train" if "train" in self.card.splits else asked)
        for view in read_clip_views(source, source.files[asked], count):
            path = str((self.videos or self.folder.corpus) / view.clip_id)
            try:
                answer = predictor.answer([predictor.record_of(path)])
            except PemtError as error:
                say(f"skipped: {error}")
                continue
            say(path + (f" (truth: {view.label})" if view.label else ""))
            if predictor.labels:
                best = best_labels(answer["probabilities"][0], predictor.labels)
                say("  top-3: " + ", ".join(f"{label} {probability:.1%}" for label, probability in best))
                self.predictions.append(contents.ClipPrediction(view, tuple(best), path))
            hits = search(searched, answer["embedding"][0], _NEIGHBOURS, exclude=view.clip_id)
            say("  nearest: " + ", ".join(f"{h.path} ({h.similarity:.2f})" for h in hits))
            self._remember_neighbours(view, hits, source)

    def _remember_neighbours(self, view: contents.ClipView, hits: list, source: ClipSource) -> None:
        files = [file for split in source.files.values() for file in split]
        views = read_clip_views(source, files, clip_ids=[hit.clip_id for hit in hits])
        similarity = {hit.clip_id: hit.similarity for hit in hits}
        self.neighbours.append(contents.Neighbours(view, tuple((v, similarity[v.clip_id]) for v in views)))

    def summary_lines(self) -> list[str]:
        """The result in a few lines."""
        card = self.card
        failed, filtered = sum(card.failed.values()), sum(card.filtered.values())
        lines = [f"{card.inputs} files: {card.written} clips, {failed} failed, {filtered} filtered"]
        for name, found in (("with pretraining", self.finetuned), ("without", self.scratch)):
            if found:
                low, high = found["interval"]
                lines.append(
                    f"accuracy {name:<17} {found['accuracy']:6.1%}  (95 % interval {low:.1%} to {high:.1%}, "
                    f"{found['clips']} held-out clips, chance {found['chance']:.1%})"
                )
        if not self.finetuned:
            why = "no labelled clip is held out" if self.classifies else ("one label" if card.labels else "no labels")
            lines.append(f"no accuracy: {why}; put videos in one sub-folder per label, several in each")
        return lines


def build_report(result: DemoResult) -> Path:
    """Writes `report.html`; returns its path."""
    folder, card, config = result.folder, result.card, load_config(result.folder.pretrained / CONFIG)
    source = ClipSource.open(folder.records)
    shown_split = result.split or next(iter(card.splits))
    parameters = parameter_report(config.model)
    how = ", after fine-tuning on the labels" if result.classifies else ""
    report = contents.Report(
        title="Your videos, seen and heard" if result.videos else "Ten digits, seen and heard",
        subtitle=_subtitle(result),
        key_figures=_key_figures(result, parameters.total, parameters.summary),
        comparison=_comparison(result),
        notes=(*(_ABOUT_VIDEOS if result.videos else _ABOUT_CORPUS), _ABOUT_NEIGHBOURS.format(how=how)),
        clips=tuple(read_clip_views(source, source.files[shown_split], _SHOWN_CLIPS)),
        preprocessing=_preprocessing(result),
        parameters=parameters,
        curves=_curves(result),
        confusion=_confusion(result),
        predictions=tuple(result.predictions),
        neighbours=tuple(result.neighbours),
        commands=tuple(result.commands),
        footer=f"pemt-tf {__version__}, Python {platform.python_version()}, {time.strftime('%d %B %Y')}",
    )
    return write_report(folder.path / "report.html", report)


def _subtitle(result: DemoResult) -> str:
    train = result.card.splits.get("train")
    clips, unlabelled = (train.clips, train.unlabelled) if train else (0, 0)
    text = f"A small audio-visual Transformer, pretrained without labels on {clips} clips"
    return f"{text} and fine-tuned on {clips - unlabelled}." if result.classifies else f"{text}."


def _key_figures(result: DemoResult, total: int, summary: str) -> tuple[contents.KeyFigure, ...]:
    figures = []
    for found, name in ((result.finetuned, "accuracy on held-out clips"), (result.scratch, "without pretraining")):
        if found:
            low, high = found["interval"]
            detail = f"95 % interval {low:.0%} to {high:.0%}; chance {found['chance']:.0%}"
            figures.append(contents.KeyFigure(f"{found['accuracy']:.0%}", name, detail))
    splits = ", ".join(f"{split.clips} {name}" for name, split in result.card.splits.items())
    figures.append(contents.KeyFigure(f"{result.card.written}", "clips", splits))
    figures.append(contents.KeyFigure(f"{total:,}", "parameters", summary))
    figures.append(contents.KeyFigure(duration(result.seconds), "from videos to predictions", "in this run"))
    return tuple(figures)


def _comparison(result: DemoResult) -> contents.Comparison | None:
    if not result.finetuned:
        return None
    rows = tuple(
        contents.Accuracy(name, found["accuracy"], *found["interval"])
        for name, found in (
            ("Pretrained without labels, then fine-tuned", result.finetuned),
            ("Same network, fine-tuned only", result.scratch),
        )
    )
    return contents.Comparison(rows, result.finetuned["chance"], result.finetuned["clips"])


def _preprocessing(result: DemoResult) -> contents.Preprocessing:
    """The card's counts, with names of files from the job's lists."""
    card, files = result.card, {}
    for kind, name in (("failed", "failures.jsonl"), ("filtered", "filtered.jsonl")):
        path = result.folder.records / "errors" / name
        rows = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for row in map(json.loads, rows):
            files.setdefault((kind, row["cause"]), []).append(row["path"])
    outcomes = [
        contents.OutcomeCount(kind, reason, count, tuple(files.get((kind, reason), ())[:5]))
        for kind, counts in (("failed", card.failed), ("filtered", card.filtered))
        for reason, count in counts.items()
    ]
    return contents.Preprocessing(card.inputs, card.written, tuple(outcomes))


def _curves(result: DemoResult) -> tuple[contents.Curves, ...]:
    folder = result.folder
    curves = [contents.Curves("Pretraining", (contents.Run("pretraining", read_metrics(folder.pretrained / METRICS)),))]
    runs = [
        contents.Run(name, read_metrics(path / METRICS))
        for name, path in (("pretrained", folder.finetuned), ("without pretraining", folder.scratch))
        if RunDirectory(path).finished
    ]
    return (*curves, contents.Curves("Fine-tuning", tuple(runs))) if runs else tuple(curves)


def _confusion(result: DemoResult) -> contents.ConfusionMatrix | None:
    if not result.finetuned:
        return None
    rows = tuple(map(tuple, result.finetuned["confusion"]))
    return contents.ConfusionMatrix(tuple(result.finetuned["labels"]), rows)
