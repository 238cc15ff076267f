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
    ("Spread", "spread", "standard deviation over clips; near 0 is collapse"),
)


def streams_of(probe: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The probes by stream, as far as there are any."""
    held = probe.get("streams", probe)
    return {stream: held[stream] for stream in STREAMS if isinstance(held.get(stream), dict)}


def probes(found: dict[str, dict[str, Any]]) -> Markup:
    """All that `pemt probe` measured, split by split."""
    introduction = element(
        "p",
        "The network is frozen: a linear classifier and a vote of nearest neighbours, fitted to its embeddings of the "
        "training clips, are measured on the split. Retrieval asks with one stream of a clip for the other.",
    )
    return element("div", introduction, [_split(split, probe) for split, probe in found.items()])


def _split(split: str, probe: dict[str, Any]) -> Markup:
    parts = [_stream_table(split, streams_of(probe)), _retrieval(probe.get("retrieval")), _geometry(probe)]
    return element("div", element("h3", f"Split {split}"), [part for part in parts if part is not None])


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


def _retrieval(retrieval: dict[str, Any] | None) -> Markup | None:
    rows = []
    for direction, name in DIRECTIONS.items():
        measured = (retrieval or {}).get(direction)
        if measured:
            recalls = [percent(measured[recall], 1) if recall in measured else "" for recall in RECALLS]
            rank = measured.get("median_rank")
            rows.append((name, *recalls, "" if rank is None else f"{rank:g}", f"{measured.get('clips', 0):,}"))
    columns = [("From", None), *((f"R@{recall.rpartition('_')[2]}", NUMBER) for recall in RECALLS)]
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
