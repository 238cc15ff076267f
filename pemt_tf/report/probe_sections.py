"""The section about frozen features: what a linear classifier and nearest neighbours make of them, and retrieval."""

from __future__ import annotations

from typing import Any

from pemt_tf.report.evaluation_sections import with_interval
from pemt_tf.report.markup import Markup, element
from pemt_tf.report.tables import NUMBER, table
from pemt_tf.report.wording import percent

STREAMS = ("visual", "audio", "joint")
DIRECTIONS = {"audio_to_video": "sound to pictures", "video_to_audio": "pictures to sound"}
RECALLS = ("recall_at_1", "recall_at_5", "recall_at_10")
# Name on the page, field, and what a good value is.
GEOMETRY = (
    ("Alignment", "alignment", "mean squared distance of the two streams of a clip; smaller is closer"),
    ("Uniformity", "uniformity", "how evenly embeddings fill the sphere; more negative is more even"),
    ("Spread", "spread", "spread of the embeddings over the clips, 0 (all are one: collapse) to 1"),
)


def streams_of(probe: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The probes by stream, as far as there are any."""
    return {stream: probe[stream] for stream in STREAMS if isinstance(probe.get(stream), dict)}


def retrieval_rows(probe: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Every retrieval that was measured: its direction in words, by which method, the figures."""
    methods = probe.get("retrieval_methods")
    if not methods:
        single = probe.get("retrieval")
        methods = {single.get("method", ""): single} if isinstance(single, dict) else {}
    return [
        (name, method.replace("_", " "), measured[direction])
        for method, measured in methods.items()
        for direction, name in DIRECTIONS.items()
        if measured.get(direction)
    ]


def features_in_words(probe: dict[str, Any]) -> str:
    """Which features were probed, and with how many labels."""
    kinds = {"pooled": "CNN features averaged over the segments", "embedding": "summary tokens"}
    words = f"Features: {kinds.get(probe.get('features', ''), 'not recorded')}"
    few = probe.get("labels_per_class")
    return f"{words}; fitted to {few} labelled clips of each label." if few else f"{words}."


def probes(found: dict[str, dict[str, Any]]) -> Markup:
    """All that `pemt probe` measured, split by split."""
    introduction = element(
        "p",
        "The network is frozen: a linear classifier and a vote of nearest neighbours, fitted to features of the "
        "training clips, are measured on the split. Retrieval asks with one stream of a clip for the other.",
    )
    return element("div", introduction, [_split(split, probe) for split, probe in found.items()])


def _split(split: str, probe: dict[str, Any]) -> Markup:
    parts = [_stream_table(split, streams_of(probe)), _retrieval(probe), _geometry(probe)]
    caution = f" Caution: {probe['caution']}." if probe.get("caution") else ""
    note = element("p", features_in_words(probe) + caution, class_="note")
    return element("div", element("h3", f"Split {split}"), note, [part for part in parts if part is not None])


def _stream_table(split: str, streams: dict[str, dict[str, Any]]) -> Markup | None:
    rows = []
    for stream, measured in streams.items():
        linear, voting = measured.get("linear") or {}, measured.get("knn") or {}
        if linear or voting:
            rows.append((stream, _accuracy(linear), _accuracy(voting), voting.get("k", ""), _chosen(linear)))
    columns = (
        ("Stream", None),
        ("Linear, 95 % interval", None),
        ("Neighbours, 95 % interval", None),
        ("k", NUMBER),
        ("Regularization", None),
    )
    return table(f"Accuracy of frozen features, {split} split", columns, rows) if rows else None


def _accuracy(measured: dict[str, Any]) -> Markup | str:
    return with_interval(measured.get("accuracy"), measured.get("interval"))


def _chosen(linear: dict[str, Any]) -> str:
    if "regularization" not in linear:
        return ""
    value, place = linear["regularization"], linear.get("chosen_on")
    shown = f"{value:g}" if isinstance(value, (int, float)) else str(value)
    return f"{shown}, chosen on {place}" if place else shown


def _retrieval(probe: dict[str, Any]) -> Markup | None:
    rows = []
    for name, method, measured in retrieval_rows(probe):
        recalls = [percent(measured[recall], 1) if recall in measured else "" for recall in RECALLS]
        rank = measured.get("median_rank")
        rows.append((name, method, *recalls, "" if rank is None else f"{rank:g}", f"{measured.get('clips', 0):,}"))
    columns = [("From", None), ("By", None), *((f"R@{recall.rpartition('_')[2]}", NUMBER) for recall in RECALLS)]
    columns += [("Median rank", NUMBER), ("Among clips", NUMBER)]
    return table("Retrieval of the other stream of the same clip", columns, rows) if rows else None


def _geometry(probe: dict[str, Any]) -> Markup | None:
    streams, rows = streams_of(probe), []
    for name, key, meaning in GEOMETRY:
        if isinstance(probe.get(key), (int, float)):
            rows.append((name, "", f"{probe[key]:.3f}", meaning))
        by_stream = probe[key] if isinstance(probe.get(key), dict) else {s: m.get(key) for s, m in streams.items()}
        rows += [
            (name, stream, f"{value:.3f}", meaning)
            for stream, value in by_stream.items()
            if isinstance(value, (int, float))
        ]
    columns = (("Measure", None), ("Stream", None), ("Value", NUMBER), ("Meaning", None))
    return table("Geometry of the embeddings", columns, rows) if rows else None
