"""A model server for tests: TensorFlow Serving's two protocols on its real messages, and faults on demand.

What it accepts, how it answers and how it words its refusals follow TensorFlow Serving's public source (json_tensor.cc,
http_rest_api_util.cc, http_server.cc, predict_util.cc, get_model_status_impl.cc), restated here in Python.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import ssl
import threading
import time
from collections.abc import Callable
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

Arrays = dict[str, np.ndarray]
_MODEL = r"/v1/models/([^/:]+)(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?"
_PREDICT = re.compile(_MODEL + ":(classify|regress|predict)", re.I)
_STATUS = re.compile(_MODEL + "(?:/(metadata))?", re.I)
_HTTP = {"INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "NOT_FOUND": 404, "UNAVAILABLE": 503, "INTERNAL": 500}
_HTTP |= {"DEADLINE_EXCEEDED": 504, "RESOURCE_EXHAUSTED": 429, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403}


class RefusalError(Exception):
    """An answer that is an error."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code, self.message = code, message


class ModelServer:
    """The model behind both protocols.

    Args:
        run: signature name and inputs to outputs.
        signatures: name to the types of its inputs and of its outputs.
        versions: numbers that are served.
        labels: of versions.
    """

    def __init__(
        self,
        run: Callable[[str, Arrays], Arrays],
        signatures: dict[str, tuple[dict[str, tf.DType], dict[str, tf.DType]]],
        versions: tuple[int, ...] = (1,),
        labels: dict[str, int] | None = None,
    ):
        self._run, self._signatures = run, signatures
        self.name, self.versions, self.labels = "pemt", versions, labels or {}
        self.loading: set[int] = set()  # versions that are not ready yet
        self.health: bytes | None = None  # HealthCheckResponse; None where the server has no health check
        self.headers: list[dict[str, str]] = []  # of each request, names in small letters
        self.faults: list[Callable[[], object]] = []  # each is used up by one request
        self.requests: list = []  # messages of gRPC; method, path and body of REST

    def fault(self) -> object:
        return self.faults.pop(0)() if self.faults else None

    def version(self, name: str, version: int | None, label: str | None) -> int:
        if name != self.name:
            raise RefusalError("NOT_FOUND", f"Servable not found for request: Latest({name})")
        if label:
            if label not in self.labels:
                raise RefusalError("INVALID_ARGUMENT", f"Unrecognized servable version label: {label}")
            version = self.labels[label]
        if version is not None and version not in {*self.versions} - self.loading:
            raise RefusalError("NOT_FOUND", f"Servable not found for request: Specific({name}, {version})")
        return max(self.versions) if version is None else version

    def signature(self, name: str, code: str = "FAILED_PRECONDITION"):
        if name not in self._signatures:
            raise RefusalError(code, f'Serving signature key "{name}" not found.')
        return self._signatures[name]

    def predict(self, signature: str, inputs: Arrays, names: tuple[str, ...] = ()) -> Arrays:
        expected, outputs = self.signature(signature)
        if set(inputs) != set(expected):
            missing, extra = sorted(set(expected) - set(inputs)), sorted(set(inputs) - set(expected))
            raise RefusalError("INVALID_ARGUMENT", f"input size does not match signature: {missing} {extra}")
        unknown = set(names) - set(outputs)
        if unknown:
            raise RefusalError("INVALID_ARGUMENT", f"output tensor alias not found in signature: {unknown}")
        for name, dtype in expected.items():
            if inputs[name].dtype != dtype.as_numpy_dtype:
                text = f"Expects arg[0] to be {dtype.name} but {inputs[name].dtype} is provided"
                raise RefusalError("INVALID_ARGUMENT", text)
        answer = self._run(signature, inputs)
        return {name: answer[name] for name in (names or outputs)}

    def statuses(self, name: str, version: int | None) -> get_model_status_pb2.GetModelStatusResponse:
        if name != self.name:
            raise RefusalError("NOT_FOUND", f"Could not find any versions of model {name}")
        if version is not None and version not in self.versions:
            raise RefusalError("NOT_FOUND", f"Could not find version {version} of model {name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for number in self.versions if version is None else (version,):
            state = "LOADING" if number in self.loading else "AVAILABLE"
            one = response.model_version_status.add(version=number, state=state)
            one.status.error_code = 0
        return response

    def signature_map(self) -> get_model_metadata_pb2.SignatureDefMap:
        found = get_model_metadata_pb2.SignatureDefMap()
        for name, (inputs, outputs) in self._signatures.items():
            definition = found.signature_def[name]
            for target, types in ((definition.inputs, inputs), (definition.outputs, outputs)):
                for key, dtype in types.items():
                    target[key].dtype = dtype.as_datatype_enum
        return found


def of_saved_model(directory) -> ModelServer:
    """Serves an exported model."""
    loaded = tf.saved_model.load(str(directory)).signatures
    signatures = {
        name: (
            {key: spec.dtype for key, spec in function.structured_input_signature[1].items()},
            {key: spec.dtype for key, spec in function.structured_outputs.items()},
        )
        for name, function in loaded.items()
    }

    def run(signature: str, inputs: Arrays) -> Arrays:
        try:
            outputs = loaded[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        except tf.errors.OpError as error:
            raise RefusalError(grpc_name(error.error_code), error.message) from None
        return {name: value.numpy() for name, value in outputs.items()}

    return ModelServer(run, signatures)


def grpc_name(number: int) -> str:
    return {code.value[0]: code.name for code in grpc.StatusCode}[number]


# gRPC


class _Service(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, server: ModelServer):
        self._server = server

    def Predict(self, request, context):  # noqa: N802
        self._server.requests.append(request)
        self._server.headers.append(dict(context.invocation_metadata()))
        with _refusing(context):
            self._server.fault()
            spec = request.model_spec
            version = self._version(spec)
            inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
            outputs = self._server.predict(spec.signature_name, inputs, tuple(request.output_filter))
            response = predict_pb2.PredictResponse()
            response.model_spec.name, response.model_spec.version.value = spec.name, version
            for name, array in outputs.items():
                response.outputs[name].CopyFrom(_as_fields(array))
            return response

    def GetModelMetadata(self, request, context):  # noqa: N802
        with _refusing(context):
            self._version(request.model_spec)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.metadata["signature_def"].Pack(self._server.signature_map())
            return response

    def GetModelStatus(self, request, context):  # noqa: N802
        with _refusing(context):
            spec = request.model_spec
            return self._server.statuses(spec.name, spec.version.value if spec.HasField("version") else None)

    def _version(self, spec) -> int:
        version = spec.version.value if spec.HasField("version") else None
        return self._server.version(spec.name, version, spec.version_label)


def _as_fields(array: np.ndarray):
    """As `Tensor::AsProtoField`: values one by one, not as bytes."""
    proto = tf.make_tensor_proto(np.zeros(0, array.dtype) if array.dtype != object else np.zeros(0, "S1"))
    proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    proto.ClearField("tensor_content")
    (proto.string_val if array.dtype == object else proto.float_val).extend(array.ravel().tolist())
    return proto


@contextlib.contextmanager
def _refusing(context):
    try:
        yield
    except RefusalError as refusal:
        context.abort(grpc.StatusCode[refusal.code], refusal.message)


@contextlib.contextmanager
def grpc_server(
    server: ModelServer, max_message: int = -1, port: int = 0, credentials=None, at_once: int | None = None
):
    """The address of the server while it runs.

    Args:
        server: the model.
        max_message: bytes of a request.
        port: 0 for any that is free.
        credentials: of TLS.
        at_once: requests; a further one gets RESOURCE_EXHAUSTED, as of a server whose threads are all taken.
    """
    pool = futures.ThreadPoolExecutor(max_workers=4)
    options = [("grpc.max_receive_message_length", max_message), ("grpc.so_reuseport", 0)]
    service = grpc.server(pool, options=options, maximum_concurrent_rpcs=at_once)
    for register in (
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server,
        model_service_pb2_grpc.add_ModelServiceServicer_to_server,
    ):
        register(_Service(server), service)
    if server.health is not None:
        check = grpc.unary_unary_rpc_method_handler(lambda request, context: server.health)
        health = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})
        service.add_generic_rpc_handlers((health,))
    address = f"127.0.0.1:{port}"
    port = service.add_secure_port(address, credentials) if credentials else service.add_insecure_port(address)
    service.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        service.stop(None).wait()


# REST


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_model: ModelServer

    def log_message(self, *_arguments) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET", "")

    def do_POST(self) -> None:
        self._answer("POST", self.rfile.read(int(self.headers["Content-Length"])).decode())

    def _answer(self, method: str, body: str) -> None:
        server = self.server_model
        server.requests.append((method, self.path, body))
        server.headers.append({name.lower(): value for name, value in self.headers.items()})
        try:
            special = server.fault()
            if special == "drop":
                self.close_connection = True
                self.connection.close()
                return
            self._send(200, special if isinstance(special, str) else self._route(method, body))
        except RefusalError as refusal:
            self._send(_HTTP[refusal.code], '{ "error": "' + c_escape(refusal.message) + '" }')

    def _route(self, method: str, body: str) -> str:
        found = (_PREDICT if method == "POST" else _STATUS).fullmatch(self.path)
        if found is None or (method == "POST" and found[4].lower() != "predict"):
            raise RefusalError("INVALID_ARGUMENT", f"Malformed request: {method} {self.path}")
        name, version, label = found[1], found[2] and int(found[2]), found[3]
        if method == "POST":
            self.server_model.version(name, version, label)
            return _predict_json(self.server_model, body)
        if found[4]:
            self.server_model.version(name, version, label)
            signatures = json_format.MessageToDict(self.server_model.signature_map(), preserving_proto_field_name=True)
            return json.dumps({"model_spec": {"name": name}, "metadata": {"signature_def": signatures}})
        status = self.server_model.statuses(name, version)
        fine = {"status": {"error_code": "OK", "error_message": ""}}
        states = get_model_status_pb2.ModelVersionStatus.State
        versions = [
            {"version": str(one.version), "state": states.Name(one.state), **fine}
            for one in status.model_version_status
        ]
        return json.dumps({"model_version_status": versions})

    def _send(self, status: int, text: str) -> None:
        data = text.encode()
        with contextlib.suppress(OSError):  # the client may have given up
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)


def c_escape(text: str) -> str:
    """As `absl::CEscape`: what is not printable ASCII in octal."""
    known = {10: "\\n", 13: "\\r", 9: "\\t", 34: '\\"', 39: "\\'", 92: "\\\\"}
    return "".join(known.get(b, chr(b) if 32 <= b < 127 else f"\\{b:03o}") for b in text.encode())


def _predict_json(server: ModelServer, body: str) -> str:
    try:
        request = json.loads(body)
    except ValueError as error:
        raise RefusalError("INVALID_ARGUMENT", f"JSON Parse error: {error}") from None
    if not isinstance(request, dict):
        raise RefusalError("INVALID_ARGUMENT", "Is not object")
    signature = request.get("signature_name", "serving_default")
    types, _ = server.signature(signature, "INVALID_ARGUMENT")
    if ("instances" in request) == ("inputs" in request):
        raise RefusalError("INVALID_ARGUMENT", "Missing 'inputs' or 'instances' key")
    rows = "instances" in request
    inputs = _from_rows(request["instances"], types) if rows else _from_columns(request["inputs"], types)
    outputs = server.predict(signature, inputs)
    values = {name: array.tolist() if array.dtype != object else _text(array) for name, array in outputs.items()}
    if not rows:
        return json.dumps({"outputs": values if len(values) > 1 else next(iter(values.values()))})
    if any(array.ndim == 0 for array in outputs.values()) or len({len(array) for array in outputs.values()}) > 1:
        raise RefusalError("INVALID_ARGUMENT", f"Tensor name: {next(iter(outputs))} has inconsistent batch size")
    count = len(next(iter(values.values())))
    items = [{name: value[i] for name, value in values.items()} for i in range(count)]
    return json.dumps({"predictions": items if len(values) > 1 else [next(iter(item.values())) for item in items]})


def _text(array: np.ndarray) -> list:
    return np.array([item.decode() for item in array.ravel()], object).reshape(array.shape).tolist()


def _is_object(value) -> bool:
    return isinstance(value, dict) and not (set(value) == {"b64"} and isinstance(value["b64"], str))


def _from_rows(instances, types: dict[str, tf.DType]) -> Arrays:
    if not isinstance(instances, list) or not instances:
        raise RefusalError("INVALID_ARGUMENT", "No values in 'instances' array")
    if not _is_object(instances[0]):
        if len(types) > 1:
            raise RefusalError("INVALID_ARGUMENT", "instances is a plain list, but expecting list of objects")
        instances = [{next(iter(types)): item} for item in instances]
    for number, item in enumerate(instances):
        if not _is_object(item) or set(item) != set(types):
            raise RefusalError("INVALID_ARGUMENT", f"Failed to process element: {number} of 'instances' list")
    return {name: _tensor([item[name] for item in instances], dtype) for name, dtype in types.items()}


def _from_columns(inputs, types: dict[str, tf.DType]) -> Arrays:
    if not _is_object(inputs):
        if len(types) > 1:
            raise RefusalError("INVALID_ARGUMENT", "inputs is a plain value/list, but expecting an object")
        inputs = {next(iter(types)): inputs}
    missing = [name for name in types if name not in inputs]
    if missing:
        raise RefusalError("INVALID_ARGUMENT", f"Missing named input: {missing[0]} in 'inputs' object.")
    return {name: _tensor(inputs[name], dtype) for name, dtype in types.items()}


def _tensor(value, dtype: tf.DType) -> np.ndarray:
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    flat: list = []

    def fill(item, level: int) -> None:
        if not isinstance(item, list):
            if level != len(shape):
                raise RefusalError("INVALID_ARGUMENT", f"JSON Value found at incorrect level: {level + 1}")
            flat.append(_scalar(item, dtype))
            return
        if level >= len(shape) or len(item) != shape[level]:
            raise RefusalError(
                "INVALID_ARGUMENT", f"Encountered list at unexpected size: {len(item)} at level: {level}"
            )
        for part in item:
            fill(part, level + 1)

    fill(value, 0)
    array = np.empty(len(flat), object if dtype == tf.string else dtype.as_numpy_dtype)
    array[:] = flat
    return array.reshape(shape)


def _scalar(item, dtype: tf.DType):
    name = types_pb2.DataType.Name(dtype.as_datatype_enum).removeprefix("DT_").lower()
    if dtype == tf.string and isinstance(item, dict):
        try:
            return base64.b64decode(item["b64"], validate=True)
        except ValueError:
            raise RefusalError("INVALID_ARGUMENT", "Unable to base64 decode") from None
    fits = isinstance(item, str) if dtype == tf.string else isinstance(item, int) and not isinstance(item, bool)
    fits = fits or (dtype == tf.float32 and isinstance(item, float))
    if not fits:
        raise RefusalError("INVALID_ARGUMENT", f"JSON Value: {item} is not of expected type: {name}")
    return item.encode() if dtype == tf.string else item


@contextlib.contextmanager
def rest_server(server: ModelServer, port: int = 0, context: ssl.SSLContext | None = None):
    """The address of the server while it runs; with a context it speaks TLS."""
    handler = type("Handler", (_Handler,), {"server_model": server})
    service = ThreadingHTTPServer(("127.0.0.1", port), handler)
    if context is not None:
        service.socket = context.wrap_socket(service.socket, server_side=True, do_handshake_on_connect=False)
    service.daemon_threads = True
    threading.Thread(target=service.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"127.0.0.1:{service.server_address[1]}"
    finally:
        service.shutdown()
        service.server_close()


# Faults


def slow(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


def refuse(code: str, message: str = "on purpose") -> Callable[[], None]:
    def fail() -> None:
        raise RefusalError(code, message)

    return fail


def say(text: str) -> Callable[[], str]:
    """REST only: this body in the place of an answer; `drop` closes the connection."""
    return lambda: text
