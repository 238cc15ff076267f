"""TensorFlow Serving over gRPC."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from pemt_tf.client.prediction_error import Code, PredictionError, explain, too_large
from pemt_tf.client.server_access import HOST, ServerAccess
from pemt_tf.client.transport import NOT_SERVING, SERVING, ServedModel, SignatureInfo, VersionStatus
from pemt_tf.errors import PemtError

_SIGNATURES = "signature_def"
_HEALTH = "/grpc.health.v1.Health/Check"  # https://github.com/grpc/grpc/blob/master/doc/health-checking.md
_SERVING = b"\x08\x01"  # HealthCheckResponse: field 1, status, is 1
_ERROR_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
_PER_INPUT = 128  # bytes at most, for its name, type and shape


class GrpcTransport:
    """A channel to a server. `timeout` (seconds) is shown in errors; `max_message` is in bytes."""

    def __init__(self, model: ServedModel, timeout: float, max_message: int, access: ServerAccess):
        if "//" in model.server:
            raise PemtError(
                f"--server {model.server} is a URL; gRPC takes host:port (or give --rest), and --tls for https"
            )
        if not model.server.rpartition(":")[2].isdigit():
            raise PemtError(f"--server {model.server} has no port; write host:port, as in localhost:8500")
        self._model, self._timeout, self._max_message = model, timeout, max_message
        options = [
            ("grpc.max_send_message_length", max_message),
            ("grpc.max_receive_message_length", max_message),
            ("grpc.enable_retries", 0),  # RetryPolicy retries
            ("grpc.initial_reconnect_backoff_ms", 100),  # otherwise a second attempt would not try to connect
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        self._headers = [(name.lower(), value) for name, value in access.headers if name.lower() != HOST]
        options += [("grpc.default_authority", value) for name, value in access.headers if name.lower() == HOST]
        if access.encrypted:
            self._channel = grpc.secure_channel(model.server, grpc.ssl_channel_credentials(*access.pem()), options)
        else:
            self._channel = grpc.insecure_channel(model.server, options)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def predict(
        self, signature: str, inputs: dict[str, np.ndarray], outputs: tuple[str, ...], seconds: float
    ) -> tuple[dict[str, np.ndarray], int | None]:
        """See `Transport`."""
        request = predict_pb2.PredictRequest(output_filter=outputs)
        self._specify(request.model_spec, signature)
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        if request.ByteSize() > self._max_message:
            raise too_large("a request", request.ByteSize(), self._max_message)
        response = self._call(self._predictions.Predict, request, seconds)
        version = response.model_spec.version.value if response.model_spec.HasField("version") else None
        return {name: _array(response.outputs[name]) for name in response.outputs}, version

    def model_status(self, seconds: float) -> list[VersionStatus]:
        """See `Transport`."""
        request = get_model_status_pb2.GetModelStatusRequest()
        self._specify(request.model_spec)
        response = self._call(self._models.GetModelStatus, request, seconds)
        state = get_model_status_pb2.ModelVersionStatus.State
        found = []
        for one in response.model_version_status:
            code, message = one.status.error_code, one.status.error_message
            found.append(VersionStatus(one.version, state.Name(one.state), _ERROR_NAMES.get(code, str(code)), message))
        return found

    def signatures(self, seconds: float) -> dict[str, SignatureInfo]:
        """See `Transport`."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[_SIGNATURES])
        self._specify(request.model_spec)
        response = self._call(self._predictions.GetModelMetadata, request, seconds)
        found = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[_SIGNATURES].Unpack(found)
        return {
            name: SignatureInfo(_types(definition.inputs), _types(definition.outputs))
            for name, definition in found.signature_def.items()
        }

    def health(self, seconds: float) -> str | None:
        """See `Transport`. TensorFlow Serving has it with --enable_grpc_healthcheck_service."""
        check = self._channel.unary_unary(_HEALTH)  # bytes as they are
        try:
            return SERVING if self._call(check, b"", seconds) == _SERVING else NOT_SERVING
        except PredictionError as error:
            if error.code == Code.UNIMPLEMENTED and "not TensorFlow Serving" in str(error):
                return None
            raise

    def request_bytes(self, inputs: dict[str, np.ndarray]) -> int:
        """See `Transport`."""
        return sum(_PER_INPUT + _content_bytes(array) for array in inputs.values())

    def close(self) -> None:
        """See `Transport`."""
        self._channel.close()

    def _specify(self, spec: Any, signature: str = "") -> None:
        spec.name, spec.signature_name = self._model.name, signature
        if self._model.version is not None:
            spec.version.value = self._model.version
        elif self._model.label is not None:
            spec.version_label = self._model.label

    def _call(self, method: Any, request: Any, seconds: float) -> Any:
        try:
            return method(request, timeout=max(seconds, 0.0), metadata=self._headers)
        except grpc.RpcError as error:
            code, message = error.code().name, error.details() or ""
            if code == Code.UNIMPLEMENTED:
                message = f"it is not TensorFlow Serving ({message})"
            raise explain(code, message, self._model.server, str(self._model), self._timeout) from None


def _array(proto: Any) -> np.ndarray:
    array = tf.make_ndarray(proto)
    if array.dtype != object:
        return array
    return np.array([text.decode("utf-8", "replace") for text in array.ravel()], object).reshape(array.shape)


def _content_bytes(array: np.ndarray) -> int:
    """Each string also needs a key and its length, at most six bytes."""
    if array.dtype != object:
        return array.nbytes
    return sum(len(one if isinstance(one, bytes) else str(one).encode()) + 6 for one in array.ravel())


def _types(tensors: Any) -> dict[str, str]:
    return {name: types_pb2.DataType.Name(info.dtype) for name, info in tensors.items()}
