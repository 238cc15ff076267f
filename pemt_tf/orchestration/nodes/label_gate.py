"""LabelGate: the labels are still those of the last blessed model, or the run stops before anything is trained.

A label that is added or gone moves the numbers of the others. The Evaluator compares by number: the last model would
seem bad, and a worse one would take its place.
"""

from __future__ import annotations

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import path_utils

from pemt_tf.errors import PemtError
from pemt_tf.export.servable_metadata import ServableMetadata
from pemt_tf.orchestration.nodes.artifact_paths import local_path
from pemt_tf.orchestration.nodes.imported_code import code_fingerprint

MODEL, LABELS, CODE = "model", "labels", "code"
_NAMED = 3  # labels that a message names


class LabelGateSpec(ComponentSpec):
    """Parameters: the vocabulary as JSON; the fingerprint of the code. Before the first blessing there is no model."""

    PARAMETERS = {name: ExecutionParameter(type=str) for name in (LABELS, CODE)}  # noqa: RUF012 (TFX)
    INPUTS = {MODEL: ChannelParameter(type=standard_artifacts.Model, optional=True)}  # noqa: RUF012
    OUTPUTS = {}  # noqa: RUF012


class LabelGateExecutor(BaseExecutor):
    """Reads the labels that the model holds."""

    def Do(  # noqa: N802 (TFX)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Lets the run go on, or stops it.

        Raises:
            PemtError: the vocabulary has changed, or the model is none of ours.
        """
        for model in input_dict.get(MODEL, []):
            folder = local_path(path_utils.serving_model_path(model.uri))
            require_same_labels(ServableMetadata.read(folder).labels, tuple(json.loads(exec_properties[LABELS])))


class LabelGate(BaseComponent):
    """The node.

    Args:
        model: the last blessed model, if there is one.
        labels: vocabulary of the data.
    """

    SPEC_CLASS = LabelGateSpec
    EXECUTOR_SPEC = ExecutorClassSpec(LabelGateExecutor)

    def __init__(self, model: types.BaseChannel, labels: list[str]):
        values = {MODEL: model, LABELS: json.dumps(labels), CODE: code_fingerprint(__name__)}
        super().__init__(spec=LabelGateSpec(**values))


def require_same_labels(known: tuple[str, ...], labels: tuple[str, ...]) -> None:
    """New labels may follow after the known ones: then the numbers of those are the same.

    Args:
        known: labels of the last blessed model, by number.
        labels: vocabulary of the data.

    Raises:
        PemtError: says which are new, which are gone, and what to do.
    """
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


def _named(labels: list[str]) -> str:
    return ", ".join(labels[:_NAMED]) + (f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else "")
