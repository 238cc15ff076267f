"""TensorFlow Serving over REST. Neither TensorFlow nor gRPC is needed on this side."""

from __future__ import annotations

import base64
import http.client
import json
import re
import time
import urllib.parse
from typing import Any

import numpy as np

from pemt_tf.client.connection_fault import strange_status_line
from pemt_tf.client.prediction_error import Code, PredictionError, explain, too_large
from pemt_tf.client.server_access import ServerAccess
from pemt_tf.client.transport import ServedModel, SignatureInfo, VersionStatus
from pemt_tf.errors import PemtError

COLUMNS, ROWS = "columns", "rows"
FORMATS = (COLUMNS, ROWS)
_CHUNK = 1 << 20
# Largest number of bytes in JSON, with commas: pixels have three digits, a float32 as a float64 up to 23 characters.
_PER_PIXEL, _PER_NUMBER, _PER_LIST, _PER_STRING, _PER_INPUT = 4, 24, 3, 64, 128
# HTTP status to gRPC's code: those of TensorFlow Serving, and those of a proxy before it (502, 413, 408).
_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    408: Code.DEADLINE_EXCEEDED,
    409: "ABORTED",
    413: Code.RESOURCE_EXHAUSTED,
    429: Code.RESOURCE_EXHAUSTED,
    499: "CANCELLED",
    501: Code.UNIMPLEMENTED,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}
_ERROR_BODY = re.compile(r'^\s*\{\s*"error"\s*:\s*"(.*)"\s*\}\s*$', re.DOTALL)
_C_ESCAPE = re.compile(r"\\([0-7]{3}|.)", re.DOTALL)
_C_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class RestTransport:
    """A connection to a server. `timeout` (seconds) is shown in errors; `max_message` is in bytes.

    The layout `columns` sends `inputs`, one list per input; `rows` sends `instances`, one object per clip.
    """

    def __init__(self, model: ServedModel, timeout: float, max_message: int, access: ServerAccess, layout: str):
        scheme = "https" if access.encrypted else "http"
        url = urllib.parse.urlsplit(model.server if "//" in model.server else f"{scheme}://{model.server}")
        if url.scheme not in ("http", "https") or not url.hostname:
            raise PemtError(f"--server {model.server} is not an address; write host:port, as in localhost:8501")
        if layout not in FORMATS:
            raise PemtError(f"REST layout {layout!r} is not known; choose {' or '.join(FORMATS)}")
        try:
            port = url.port
        except ValueError:
            raise PemtError(f"--server {model.server} has no valid port; write host:port") from None
        if url.scheme == "https":
            self._connection = http.client.HTTPSConnection(url.hostname, port, context=access.ssl_context())
        elif access.encrypted:
            raise PemtError(f"--server {model.server} is not encrypted but TLS is asked for; write https://")
        else:
            self._connection = http.client.HTTPConnection(url.hostname, port)
        self._headers = dict(access.headers)
        self._model, self._timeout, self._max_message, self._layout = model, timeout, max_message, layout
        self._path = f"{url.path.rstrip('/')}/v1/models/{urllib.parse.quote(model.name, safe='')}"
        if model.version is not None:
            self._path += f"/versions/{model.version}"
        elif model.label is not None:
            self._path += f"/labels/{urllib.parse.quote(model.label, safe='')}"

    def predict(
        self, signature: str, inputs: dict[str, np.ndarray], outputs: tuple[str, ...], seconds: float
    ) -> tuple[dict[str, np.ndarray], int | None]:
        """See `Transport`. REST always returns all outputs, and never the version."""
        values = {name: _json_value(array) for name, array in inputs.items()}
        request: dict[str, Any] = {"signature_name": signature}
        if self._layout == ROWS:
            rows = zip(*values.values(), strict=True)
            request["instances"] = [dict(zip(values, row, strict=True)) for row in rows]
        else:
            request["inputs"] = values
        answer = self._ask("POST", f"{self._path}:predict", request, seconds)
        try:
            found = _rows(answer["predictions"]) if self._layout == ROWS else answer["outputs"]
            if not isinstance(found, dict):  # the response of a signature with one output has no names
                (name,) = outputs
                found = {name: found}
            return {name: _array(found[name]) for name in outputs}, None
        except (KeyError, TypeError, ValueError) as error:
            text = f"{self._model.server} did not respond as TensorFlow Serving does ({error!r:.100})"
            raise PredictionError(Code.INTERNAL, text) from None

    def model_status(self, seconds: float) -> list[VersionStatus]:
        """See `Transport`."""
        answer = self._ask("GET", self._path, None, seconds)
        found = []
        for one in answer.get("model_version_status", []):
            status = one.get("status", {})
            error = status.get("error_code", "OK"), status.get("error_message", "")
            found.append(VersionStatus(int(one["version"]), one["state"], *error))
        return found

    def signatures(self, seconds: float) -> dict[str, SignatureInfo]:
        """See `Transport`."""
        answer = self._ask("GET", f"{self._path}/metadata", None, seconds)

        def types(tensors: dict[str, Any]) -> dict[str, str]:
            return {name: info["dtype"] for name, info in tensors.items()}

        found = answer["metadata"]["signature_def"]["signature_def"]
        return {name: SignatureInfo(types(one["inputs"]), types(one["outputs"])) for name, one in found.items()}

    def health(self, seconds: float) -> str | None:
        """See `Transport`. REST has no health check."""
        return None

    def request_bytes(self, inputs: dict[str, np.ndarray]) -> int:
        """See `Transport`."""
        return sum(_PER_INPUT + _json_bytes(array) for array in inputs.values())

    def close(self) -> None:
        """See `Transport`."""
        self._connection.close()

    def _ask(self, method: str, path: str, request: dict | None, seconds: float) -> Any:
        body = None if request is None else json.dumps(request, separators=(",", ":")).encode("ascii")
        if body is not None and len(body) > self._max_message:
            raise too_large("a request", len(body), self._max_message)
        try:
            status, text = self._exchange(method, path, body, time.monotonic() + max(seconds, 0.001))
        except TimeoutError:
            self._connection.close()
            raise self._explain(Code.DEADLINE_EXCEEDED, "") from None
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            fault = strange_status_line(str(error)) if isinstance(error, http.client.BadStatusLine) else None
            if fault:
                raise PredictionError(Code.UNIMPLEMENTED, f"{self._model.server} {fault}") from None
            raise self._explain(Code.UNAVAILABLE, str(error) or type(error).__name__) from None
        if status != 200:
            raise self._explain(_CODES.get(status, Code.INTERNAL), f"{_error_text(text)} (HTTP {status})")
        try:
            return json.loads(text)  # takes NaN and Infinity, which TensorFlow Serving writes
        except ValueError as error:
            reason = f"{self._model.server} responded with something other than JSON ({error})"
            raise PredictionError(Code.INTERNAL, reason) from None

    def _exchange(self, method: str, path: str, body: bytes | None, end: float) -> tuple[int, str]:
        """Sends and reads within one deadline: a socket's timeout, also that of requests, starts again at each read."""
        connection = self._connection

        def allow() -> None:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.timeout = left
            if connection.sock is not None:
                connection.sock.settimeout(left)

        allow()
        headers = {"Content-Type": "application/json", "Accept": "application/json"} if body is not None else {}
        connection.request(method, path, body, headers | self._headers)
        allow()
        response = connection.getresponse()
        parts, size = [], 0
        while True:
            allow()
            part = response.read1(_CHUNK)
            if not part:
                break
            size += len(part)
            if size > self._max_message:
                connection.close()
                raise too_large("a response", size, self._max_message)
            parts.append(part)
        response.close()  # so that the connection can be used again
        return response.status, b"".join(parts).decode("utf-8", "replace")

    def _explain(self, code: str, message: str) -> PredictionError:
        return explain(code, message, self._model.server, str(self._model), self._timeout)


def _json_value(array: np.ndarray) -> Any:
    """Nested lists; bytes as base64 in an object, which TensorFlow Serving tells from text that way."""
    array = np.asarray(array)
    if array.dtype.kind not in "OSU":
        return array.tolist()

    def encode(value: Any) -> Any:
        if isinstance(value, list):
            return [encode(item) for item in value]
        return {"b64": base64.b64encode(value).decode("ascii")} if isinstance(value, bytes) else str(value)

    return encode(array.tolist())


def _json_bytes(array: np.ndarray) -> int:
    """The largest number of bytes of `_json_value`, in columns or in rows."""
    array = np.asarray(array)
    if array.dtype.kind in "OSU":
        sizes = (4 * -(-len(one) // 3) if isinstance(one, bytes) else 6 * len(one) for one in array.flat)
        return sum(size + _PER_STRING for size in sizes)
    lists = sum(int(np.prod(array.shape[:axis])) for axis in range(array.ndim))
    return array.size * (_PER_PIXEL if array.dtype == np.uint8 else _PER_NUMBER) + _PER_LIST * lists


def _rows(predictions: list) -> Any:
    """Turns an object per clip into a list per output; bare values stay as they are."""
    if predictions and isinstance(predictions[0], dict):
        return {name: [row[name] for row in predictions] for name in predictions[0]}
    return predictions


def _array(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"values of type {array.dtype}")
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _error_text(body: str) -> str:
    """The message of an error body, which TensorFlow Serving escapes as C does: apostrophes as \\', bytes in octal."""
    try:
        found = json.loads(body)
        return str(found["error"]) if isinstance(found, dict) and "error" in found else body[:200]
    except ValueError:
        match = _ERROR_BODY.match(body)
    if match is None:
        return re.sub(r"<[^>]*>", " ", body)[:200]
    raw = _C_ESCAPE.sub(lambda m: chr(int(m[1], 8)) if len(m[1]) == 3 else _C_ESCAPES.get(m[1], m[1]), match[1])
    return raw.encode("latin-1", "replace").decode("utf-8", "replace")
