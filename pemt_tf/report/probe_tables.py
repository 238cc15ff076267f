"""Tables about frozen features: linear classifiers, nearest neighbours, retrieval, geometry of the embeddings."""

from __future__ import annotations

from typing import Any

from pemt_tf.report.tables import Measured, Number, Table
from pemt_tf.report.wording import percent

MODALITIES = ("visual", "audio", "joint")
DIRECTIONS = {"audio_to_video": "audio to frames", "video_to_audio": "frames to audio"}
RECALLS = ("recall_at_1", "recall_at_5", "recall_at_10")
# Name on the page, field, and what a good value is.
GEOMETRY = (
    ("Alignment", "alignment", "mean squared distance between the two modalities of a clip; smaller is closer"),
    ("Uniformity", "uniformity", "how evenly embeddings fill the sphere; more negative is more even"),
    ("Spread", "spread", "spread of the embeddings over the clips, from 0 (all equal: collapse) to 1"),
)


def probed_modalities(probe: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The probes by modality, as far as there are any."""
    return {name: probe[name] for name in MODALITIES if isinstance(probe.get(name), dict)}


def features_in_words(probe: dict[str, Any]) -> str:
    """Which features were probed, and with how many labels."""
    kinds = {"pooled": "CNN features averaged over the segments", "embedding": "summary tokens"}
    words = f"Features: {kinds.get(probe.get('features', ''), 'not recorded')}"
    few = probe.get("labels_per_class")
    return f"{words}; fitted to {few} labelled clips of each label." if few else f"{words}."


def probe_tables(split: str, probe: dict[str, Any]) -> list[Table]:
    """The tables of one split that have rows."""
    tables = (_accuracy_table(split, probe), _retrieval_table(probe), _geometry_table(probe))
    return [table for table in tables if table.rows]


def _accuracy_table(split: str, probe: dict[str, Any]) -> Table:
    rows = []
    for modality, measured in probed_modalities(probe).items():
        linear, voting = measured.get("linear") or {}, measured.get("knn") or {}
        if linear or voting:
            accuracies = [Measured(found.get("accuracy"), found.get("interval")) for found in (linear, voting)]
            rows.append((modality, *accuracies, voting.get("k", ""), _regularization(linear)))
    columns = ("Modality", "Linear, 95 % interval", "Neighbours, 95 % interval", Number("k"), "Regularization")
    return Table(f"Accuracy of frozen features, {split} split", columns, rows)


def _regularization(linear: dict[str, Any]) -> str:
    if "regularization" not in linear:
        return ""
    value, place = linear["regularization"], linear.get("chosen_on")
    shown = f"{value:g}" if isinstance(value, (int, float)) else str(value)
    return f"{shown}, chosen on {place}" if place else shown


def _retrieval_table(probe: dict[str, Any]) -> Table:
    methods = probe.get("retrieval_methods")
    if not methods:
        single = probe.get("retrieval")
        methods = {single.get("method", ""): single} if isinstance(single, dict) else {}
    rows = []
    for method, directions in methods.items():
        for direction, name in DIRECTIONS.items():
            if measured := directions.get(direction):
                recalls = [percent(measured[recall], 1) if recall in measured else "" for recall in RECALLS]
                rank = measured.get("median_rank")
                words = "" if rank is None else f"{rank:g}"
                rows.append((name, method.replace("_", " "), *recalls, words, f"{measured.get('clips', 0):,}"))
    titles = [Number(f"R@{recall.rpartition('_')[2]}") for recall in RECALLS]
    columns = ("Retrieval", "Method", *titles, Number("Median rank"), Number("Among clips"))
    return Table("Retrieval of the other modality of the same clip", columns, rows)


def _geometry_table(probe: dict[str, Any]) -> Table:
    rows = []
    for name, key, meaning in GEOMETRY:
        values = probe.get(key)
        if not isinstance(values, dict):
            by_modality = {modality: found.get(key) for modality, found in probed_modalities(probe).items()}
            values = {"": values, **by_modality}
        rows += [
            (name, modality, f"{value:.3f}", meaning)
            for modality, value in values.items()
            if isinstance(value, (int, float))
        ]
    return Table("Geometry of the embeddings", ("Measure", "Modality", Number("Value"), "Meaning"), rows)
