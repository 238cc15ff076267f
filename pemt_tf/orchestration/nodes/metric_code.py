"""TFMA's configuration of our own metrics, with a fingerprint of their code for TFX's cache."""

from __future__ import annotations

import json
from typing import Any

from tensorflow_model_analysis.metrics import Metric
from tensorflow_model_analysis.proto.config_pb2 import MetricConfig

from pemt_tf.orchestration.nodes.imported_code import code_fingerprint


def metric_config(metric: type[Metric], **arguments: Any) -> MetricConfig:
    """The configuration of a metric whose constructor takes these arguments, and `code`, which it ignores."""
    arguments["code"] = code_fingerprint(metric.__module__)
    return MetricConfig(class_name=metric.__name__, module=metric.__module__, config=json.dumps(arguments))
