"""ServingCheck: stops the run before a model is pushed that a server could not load and run.

It sends the model's own warm-up requests, one for each signature, through the C++ loader of TF Serving or, where there
is no compiler, through TensorFlow in Python.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tfx import types
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils

from pemt_tf.errors import PemtError
from pemt_tf.export.warmup import WARM_UP
from pemt_tf.orchestration.nodes import cpp_loader
from pemt_tf.orchestration.nodes.artifact_paths import local_path
from pemt_tf.orchestration.nodes.own_node import Artifacts, OwnNode

MODEL, BLESSING, HOW = "model", "blessing", "how"
_TOLERANCE = 1e-3  # for the sum of probabilities


class ServingCheckExecutor(BaseExecutor):
    """Loads the model, runs every signature and checks the predictions."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Marks the model as fit for serving, as TFX's InfraValidator does, or raises PemtError."""
        model = artifact_utils.get_single_instance(input_dict[MODEL])
        how = cpp_loader.resolved_check(
            exec_properties[HOW]
        )  # here, because the pipeline may be compiled on another machine
        check_model(local_path(path_utils.serving_model_path(model.uri)), how)
        blessing = artifact_utils.get_single_instance(output_dict[BLESSING])
        blessing.set_int_custom_property("blessed", 1)
        blessing.set_string_custom_property("how", how)


class ServingCheck(
    OwnNode,
    inputs={MODEL: standard_artifacts.Model},
    outputs={BLESSING: standard_artifacts.InfraBlessing},
    parameters={HOW: str},
    code_files=(cpp_loader.SOURCE,),
):
    """The node. `how` is `cpp`, `python` or `auto`."""

    EXECUTOR_SPEC = ExecutorClassSpec(ServingCheckExecutor)

    def __init__(self, model: types.BaseChannel, how: str):
        super().__init__(**{MODEL: model, HOW: how})


def check_model(model: Path, how: str) -> cpp_loader.Outputs:
    """Runs every signature of a model and checks the outputs: (signature, output) to its values."""
    try:
        requests = warm_up_requests(model)
        outputs = _ask_cpp(model, requests) if how == "cpp" else _ask_python(model, requests)
        _require_numbers(outputs)
    except PemtError as error:
        raise PemtError(f"the model is not fit for serving: {error}") from None
    return outputs


def warm_up_requests(model: Path) -> dict[str, dict[str, np.ndarray]]:
    """The warm-up requests stored in a model: signature to input to values."""
    try:
        stored = list(tf.data.TFRecordDataset(str(model / WARM_UP)).as_numpy_iterator())
    except tf.errors.OpError:
        stored = []
    if not stored:
        raise PemtError(f"{model} holds no warm-up requests ({WARM_UP})")
    requests = {}
    for raw in stored:
        request = prediction_log_pb2.PredictionLog.FromString(raw).predict_log.request
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        requests[request.model_spec.signature_name] = inputs
    return requests


def _ask_cpp(model: Path, requests: dict[str, dict[str, np.ndarray]]) -> cpp_loader.Outputs:
    with tempfile.TemporaryDirectory(prefix="pemt-serving-check-") as name:
        folder = Path(name)
        for signature, inputs in requests.items():
            for key, values in inputs.items():
                cpp_loader.write_request(folder / "requests" / signature / key, values)
        return cpp_loader.run_loader(cpp_loader.build_loader(folder), model, folder / "requests")


def _ask_python(model: Path, requests: dict[str, dict[str, np.ndarray]]) -> cpp_loader.Outputs:
    outputs = {}
    try:
        signatures = tf.saved_model.load(str(model)).signatures
        for name, inputs in requests.items():
            found = signatures[name](**{key: tf.constant(values) for key, values in inputs.items()})
            outputs |= {(name, output): tensor.numpy() for output, tensor in found.items()}
    except Exception as error:  # TensorFlow raises many kinds for a damaged model
        raise PemtError(" ".join(str(error).split())[:300]) from None
    return outputs


def _require_numbers(outputs: cpp_loader.Outputs) -> None:
    for (signature, output), values in outputs.items():
        if values.size == 0:
            raise PemtError(f"{signature} returns an empty {output}")
        if values.dtype == object:
            continue
        if not np.isfinite(values).all():
            raise PemtError(f"{signature} returns NaN or infinity in {output}")
        if output == "probabilities" and abs(values.sum(axis=-1) - 1).max() > _TOLERANCE:
            raise PemtError(f"{signature} returns probabilities that do not sum to 1")
        if output == "scores" and not ((values >= 0) & (values <= 1)).all():
            raise PemtError(f"{signature} returns scores that are not from 0 to 1")
