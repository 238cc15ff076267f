"""Our own types of artefacts."""

from __future__ import annotations

from tfx.types.artifact import Artifact

Artifacts = dict[str, list[Artifact]]  # what TFX gives an executor: name of an input or output to its artefacts


class DataApproval(Artifact):
    """The approval of records for training: `approval.json` with the number of clips in each split."""

    TYPE_NAME = "pemt.DataApproval"  # Kubeflow requires a namespace


class ModelCard(Artifact):
    """A model card: `MODEL_CARD.md`, and `metrics.json` for programs."""

    TYPE_NAME = "pemt.ModelCard"
