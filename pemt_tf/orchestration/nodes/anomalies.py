"""ExampleValidator's anomalies as sentences."""

from __future__ import annotations

from tensorflow_metadata.proto.v0 import anomalies_pb2

_WARNING = anomalies_pb2.AnomalyInfo.WARNING


def anomalies_in_words(split: str, found: anomalies_pb2.Anomalies) -> list[str]:
    """A sentence without full stop for each anomaly of a split that is more than a warning."""
    sentences = [f"split {split} holds no clip"] if found.data_missing else []
    for name, info in sorted(found.anomaly_info.items()):
        if info.severity == _WARNING:
            continue
        causes = [f"{reason.short_description.lower()} ({_plain(reason.description)})" for reason in info.reason]
        sentences.append(f"split {split}, {name}: {'; '.join(causes) or _plain(info.description)}")
    if found.HasField("dataset_anomaly_info"):
        sentences.append(f"split {split}: {_plain(found.dataset_anomaly_info.description)}")
    return sentences


def _plain(text: str) -> str:
    return " ".join(text.split()).rstrip(".").replace("(upto six significant digits)", "")
