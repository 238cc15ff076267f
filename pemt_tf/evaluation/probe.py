"""Measures the features of a frozen network: classification, retrieval between modalities, geometry."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.few_labels import draw_labelled
from pemt_tf.errors import PemtError
from pemt_tf.evaluation import embedding_statistics as statistics
from pemt_tf.evaluation.cautions import probe_caution
from pemt_tf.evaluation.feature_extraction import JOINT, POOLED, ClipFeatures, FeatureExtractor
from pemt_tf.evaluation.folds import grouped_folds
from pemt_tf.evaluation.linear_map import FEWEST_PAIRS, fit_linear_map
from pemt_tf.evaluation.modality_probe import LabelledVectors, fit_probe, measure_probe
from pemt_tf.evaluation.pair_scores import pair_scores
from pemt_tf.evaluation.retrieval import cosine_scores, measure_retrieval
from pemt_tf.files.strict_json import json_text
from pemt_tf.files.whole_file import write_text
from pemt_tf.losses.audio_visual_alignment import AlignedSpace
from pemt_tf.models.av_transformer import AVTransformer

VALIDATION = "validation"
GALLERY = 1000


@dataclass(frozen=True)
class ProbePlan:
    """Settings of a probe."""

    train_split: str = "train"  # the split to fit to
    split: str = "test"  # the split to measure on
    features: str = POOLED  # `pooled`, CNN features averaged over segments; `embedding`, summary tokens
    streams: tuple[str, ...] = ()  # of `visual`, `audio` and `joint`; empty for all that the model has
    labels_per_class: int | None = None  # clips of each label to fit to; None for all
    seed: int = 0  # of labelled clips, folds, gallery and bootstrap
    gallery: int = GALLERY  # clips of the split among which retrieval is measured; 0 for all
    retrieval: bool = True  # whether to measure it; without it clips without a label are not read
    batch_size: int = 16

    def __post_init__(self) -> None:
        if self.train_split == self.split:
            raise PemtError(
                f"--train-split and --split are both {self.split!r}; features must be measured on other clips than "
                "those they are fitted to"
            )


@dataclass(frozen=True)
class Probe:
    """The figures of a frozen network, which docs/evaluation.md explains."""

    model: str
    data: str
    data_hash: str
    plan: ProbePlan
    labels: list[str]
    streams: dict[str, dict]  # modality to `train_clips`, `clips`, `linear`, `knn`; empty without labelled clips
    retrieval: dict | None  # the figures of the method `method`; None if they were not measured
    retrieval_methods: dict[str, dict]  # method to its figures and its description
    alignment: float | None  # of the two modalities' summaries; None without both
    uniformity: dict[str, float]  # of the summaries, by modality
    spread: dict[str, float]
    caution: str = ""  # why the figures mean less than those of unseen clips and labels

    @property
    def summary(self) -> list[str]:
        """The figures as lines of text."""
        lines = []
        for modality, found in self.streams.items():
            parts = []
            for name, key in (("linear", "linear"), ("neighbours", "knn")):
                low, high = found[key]["interval"]
                parts.append(f"{name} {found[key]['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%})")
            lines.append(f"{self.plan.split}, {modality}: {', '.join(parts)} on {found['clips']} clips")
        for method, found in self.retrieval_methods.items():
            for direction in ("audio_to_video", "video_to_audio"):
                r = found[direction]
                lines.append(
                    f"{direction.replace('_', ' ')} by {method.replace('_', ' ')}: R@1 {r['recall_at_1']:.1%}, "
                    f"R@5 {r['recall_at_5']:.1%}, R@10 {r['recall_at_10']:.1%}, median rank {r['median_rank']:g} "
                    f"of {r['clips']}"
                )
        return [f"{line}; caution: {self.caution}" for line in lines] if self.caution else lines

    def write(self, path: Path) -> None:
        """Writes everything as JSON; raises PemtError if that is not possible."""
        values = asdict(self)
        asked = values.pop("plan")
        del asked["retrieval"], asked["streams"]  # what was measured says it
        values = {**asked, **values.pop("streams"), **values}
        write_text(path, json_text(values, indent=2) + "\n", make_folder=True)


def probe(
    backbone: AVTransformer,
    source: ClipSource,
    plan: ProbePlan,
    model: str,
    pair_classifier: dict[str, np.ndarray] | None = None,
    description: dict[str, Any] | None = None,
    validation_split: str = VALIDATION,
    space: AlignedSpace | None = None,
) -> Probe:
    """Computes features of the splits, fits to one and measures on the other.

    Args:
        source: records of the model's geometry.
        model: name of the network.
        pair_classifier: see `pair_scores.read_pair_classifier`.
        description: `run.json` of the network's run; None for a network without training.
        validation_split: the split on which that run chose its weights, if it did.
        space: the run's aligned space, if it has one.

    Raises:
        PemtError: a split or modality is missing, clips of one file are in both splits, or nothing can be measured.
    """
    known = (*backbone.config.modalities, JOINT)[: 3 if len(backbone.config.modalities) == 2 else 1]
    unknown = [modality for modality in plan.streams if modality not in known]
    if unknown:
        raise PemtError(f"{model} has no modality {unknown[0]!r}; it has: {', '.join(known)}")
    source.require_split(plan.split)
    retrieves = plan.retrieval and JOINT in known
    extractor = FeatureExtractor(backbone, source, plan.batch_size, space)
    train, test = (extractor.extract(s, labelled=not plan.retrieval) for s in (plan.train_split, plan.split))
    validation = None
    if _chooses_by_validation(source, plan):
        validation = extractor.extract(VALIDATION, labelled=True)
    require_apart(train, test, plan)
    streams = {
        modality: found
        for modality in plan.streams or known
        if (found := probe_modality(modality, train, test, validation, plan, len(source.labels))) is not None
    }
    methods = measure_methods(train, test, plan, pair_classifier) if retrieves else {}
    if not streams and not methods:
        raise PemtError(
            f"{source.name}: nothing to measure; splits {plan.train_split!r} and {plan.split!r} need labelled clips "
            "of two labels, or clips with both frames and audio"
        )
    method = next((name for name in ("linear_map", "cosine") if name in methods), None)
    return Probe(
        model,
        source.name,
        source.content_hash,
        plan,
        list(source.labels),
        streams,
        {"method": method, **methods[method]} if method else None,
        methods,
        **_geometry(test, plan),
        caution=probe_caution(
            description or {}, source, plan.train_split, plan.split, test.labels[test.labels >= 0], validation_split
        ),
    )


def _chooses_by_validation(source: ClipSource, plan: ProbePlan) -> bool:
    """Whether settings are chosen on the validation split; not with `labels_per_class`, as it would add labels."""
    others = (plan.train_split, plan.split)
    return plan.labels_per_class is None and VALIDATION not in others and bool(source.files.get(VALIDATION))


def require_apart(train: ClipFeatures, test: ClipFeatures, plan: ProbePlan) -> None:
    """Raises PemtError if a source file has clips in both splits."""
    shared = np.intersect1d(train.paths, test.paths)
    if len(shared):
        raise PemtError(
            f"{len(shared)} source files stand in both {plan.train_split!r} and {plan.split!r}, {shared[0]} for one; "
            "the clips are not held out; make the data set again"
        )


def probe_modality(
    modality: str,
    train: ClipFeatures,
    test: ClipFeatures,
    validation: ClipFeatures | None,
    plan: ProbePlan,
    classes: int,
) -> dict | None:
    """Linear and nearest-neighbour classification by one modality; None without labelled clips in both splits."""
    fitted, measured = (_labelled(features, modality, plan.features) for features in (train, test))
    if plan.labels_per_class is not None:
        ids = train.ids[_usable(train, modality)]
        fitted = fitted.take(draw_labelled(ids, fitted.labels, plan.labels_per_class, plan.seed))
    if len(np.unique(fitted.labels)) < 2 or not len(measured.labels):
        return None
    checked = None if validation is None else _labelled(validation, modality, plan.features)
    if checked is not None and len(checked.labels):
        fit = fit_probe(fitted, classes, [], "validation split", checked)
    else:
        folds = grouped_folds(fitted.labels, fitted.files, plan.seed)
        chosen_on = f"{len(folds)}-fold cross-validation of the training clips, grouped by source file"
        fit = fit_probe(fitted, classes, folds, chosen_on)
    return {
        "train_clips": len(fitted.labels),
        "clips": len(measured.labels),
        **measure_probe(fit, measured, plan.seed),
    }


def _usable(features: ClipFeatures, modality: str) -> np.ndarray:
    return features.has(modality) & (features.labels >= 0)


def _labelled(features: ClipFeatures, modality: str, kind: str) -> LabelledVectors:
    rows = _usable(features, modality)
    return LabelledVectors(features.vectors(modality, kind)[rows], features.labels[rows], features.paths[rows])


def measure_methods(
    train: ClipFeatures, test: ClipFeatures, plan: ProbePlan, pair_classifier: dict[str, np.ndarray] | None
) -> dict[str, dict]:
    """Retrieval by every available method; empty where fewer than two clips have both modalities."""
    pairs, gallery = train.take(train.has(JOINT)), _gallery(test, plan)
    clips = len(gallery)
    if clips < 2:
        return {}
    audio, visual = (gallery.summaries[m] for m in ("audio", "visual"))
    methods = {"cosine": {"of": "summary tokens", **measure_retrieval(cosine_scores(audio, visual), clips)}}
    if gallery.aligned:
        scores = cosine_scores(gallery.aligned["audio"], gallery.aligned["visual"])
        methods["aligned_cosine"] = {
            "of": "the aligned space of pretraining",
            **measure_retrieval(scores, clips),
        }
    if len(pairs) >= FEWEST_PAIRS:
        fitted = fit_linear_map(
            pairs.vectors("audio", plan.features), pairs.vectors("visual", plan.features), pairs.paths, plan.seed
        )
        scores = fitted.scores(gallery.vectors("audio", plan.features), gallery.vectors("visual", plan.features))
        methods["linear_map"] = {
            "of": f"{plan.features} features, a linear map fitted on unlabelled training pairs",
            "pairs": fitted.pairs,
            "regularization": fitted.ridge,
            "chosen_on": fitted.chosen_on,
            **measure_retrieval(scores, clips),
        }
    if pair_classifier is not None:
        scores = pair_scores(pair_classifier, audio, visual)
        methods["pair_classifier"] = {
            "of": "summary tokens, the pair classifier of pretraining",
            **measure_retrieval(scores, clips),
        }
    return methods


def _gallery(test: ClipFeatures, plan: ProbePlan) -> ClipFeatures:
    """A random sample of the clips with both modalities, whatever the order of records; its size is in the plan."""
    both = test.take(test.has(JOINT))
    both = both.take(np.argsort(both.ids, kind="stable"))
    if plan.gallery and len(both) > plan.gallery:
        both = both.take(np.sort(np.random.default_rng(plan.seed).permutation(len(both))[: plan.gallery]))
    return both


def _geometry(test: ClipFeatures, plan: ProbePlan) -> dict:
    """Alignment of the gallery's pairs; uniformity and spread of the first clips that have the modality."""
    uniform, spreads, aligned = {}, {}, None
    for modality in test.streams:
        vectors = test.summaries[modality][test.has(modality)][: plan.gallery or None]
        if len(vectors) > 1:
            uniform[modality], spreads[modality] = statistics.uniformity(vectors), statistics.spread(vectors)
    if JOINT in test.streams and len(pairs := _gallery(test, plan)):
        aligned = statistics.alignment(pairs.summaries["audio"], pairs.summaries["visual"])
    return {"alignment": aligned, "uniformity": uniform, "spread": spreads}
