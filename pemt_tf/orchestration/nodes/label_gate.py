"""LabelGate: stops the run before training if the labels differ from those of the last blessed model.

A label that is added or removed can change the numbers of the others. The Evaluator compares by number: the last model
would seem bad, and a worse one would replace it.
"""

from __future__ import annotations

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from pemt_tf.config.training import PREDICTIONS
from pemt_tf.errors import PemtError
from pemt_tf.export.servable_metadata import ServableMetadata
from pemt_tf.orchestration.nodes.artifact_paths import local_path
from pemt_tf.orchestration.nodes.own_node import Artifacts, OwnNode

MODEL, LABELS, PREDICTION = "model", "labels", "prediction"
_NAMED = 3  # labels that a message names


class LabelGateExecutor(BaseExecutor):
    """Compares the vocabulary with the labels stored in the model."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Refuses a changed vocabulary, and a model that was not exported by this package."""
        for model in input_dict.get(MODEL, []):
            folder = local_path(path_utils.serving_model_path(model.uri))
            metadata = ServableMetadata.read(folder)
            require_same_labels(metadata.labels, tuple(json.loads(exec_properties[LABELS])))
            require_same_prediction(metadata.prediction, exec_properties[PREDICTION])


class LabelGate(
    OwnNode,
    inputs={MODEL: standard_artifacts.Model},
    optional=(MODEL,),
    outputs={},
    parameters={LABELS: str, PREDICTION: str},
):
    """The node. `model` is the last blessed model, if there is one; `prediction` is the new model's output."""

    EXECUTOR_SPEC = ExecutorClassSpec(LabelGateExecutor)

    def __init__(self, model: types.BaseChannel, labels: list[str], prediction: str):
        super().__init__(**{MODEL: model, LABELS: json.dumps(labels), PREDICTION: prediction})


def require_same_labels(known: tuple[str, ...], labels: tuple[str, ...]) -> None:
    """Raises a PemtError that names the changes, unless the known labels keep their numbers; new ones may follow."""
    if labels[: len(known)] == known:
        return
    new = [label for label in labels if label not in known]
    gone = [label for label in known if label not in labels]
    changes = [f"{word}: {_named(those)}" for word, those in (("new", new), ("gone", gone)) if those]
    raise PemtError(
        f"the labels are not those of the last blessed model ({'; '.join(changes) or 'another order'}), so the two "
        "cannot be compared: make the records with --labels_from an earlier data set, or set "
        "evaluator.compare_with_last to false for one run"
    )


def require_same_prediction(known: str | None, prediction: str) -> None:
    """Raises a PemtError unless the last model predicts the same: one label a clip, or several."""
    if known == prediction:
        return
    kinds: dict[str | None, str] = {name: kind for kind, name in PREDICTIONS.items()}
    raise PemtError(
        f"the last blessed model was trained with finetune.labels={kinds.get(known)}, and this run has "
        f"{kinds[prediction]}, so the two cannot be compared: set evaluator.compare_with_last to false for one run"
    )


def _named(labels: list[str]) -> str:
    return ", ".join(labels[:_NAMED]) + (f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else "")
