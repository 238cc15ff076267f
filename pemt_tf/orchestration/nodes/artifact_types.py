"""Kinds of artefacts that TFX does not know."""

from __future__ import annotations

from tfx.types.artifact import Artifact


class DataApproval(Artifact):
    """That the records may be trained on: `approval.json` with the clips of each split."""

    TYPE_NAME = "pemt.DataApproval"  # Kubeflow wants a namespace


class ModelCard(Artifact):
    """About a model: `MODEL_CARD.md`, and `metrics.json` for programs."""

    TYPE_NAME = "pemt.ModelCard"
