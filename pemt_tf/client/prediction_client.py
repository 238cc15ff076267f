"""`PredictionClient`: a client of TensorFlow Serving over gRPC or REST."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pemt_tf.client.prediction_error import Code, PredictionError
from pemt_tf.client.rest_transport import COLUMNS, RestTransport
from pemt_tf.client.retry_policy import Result, RetryPolicy
from pemt_tf.client.server_access import ServerAccess
from pemt_tf.client.transport import NOT_SERVING, ServedModel, SignatureInfo, Transport, VersionStatus
from pemt_tf.errors import PemtError
from pemt_tf.export.servable_metadata import ServableMetadata

__all__ = ["Prediction", "PredictionClient", "PredictionError", "ServerAccess", "SignatureInfo", "VersionStatus"]

_MEGABYTE = 1_000_000
_ENVELOPE = 4096  # bytes of a request besides its inputs: names of the model, signature and outputs
_RECORDS = "serving_default"
_NUMBER = re.compile(r"examples\[(\d+)\]")
_RECORD_FAULT = re.compile(r"JPEG|parse example|Key: ")  # TensorFlow's own messages do not name the record


@dataclass(frozen=True, eq=False)
class Prediction:
    """The predictions for some clips.

    Attributes:
        embedding: [clips, hidden] float32.
        probabilities: [clips, classes] float32; None for a model without a classifier, or with `scores`.
        labels: names of the classes, in the order of `probabilities` or `scores`.
        version: version of the model that predicted; None over REST, which does not say.
        scores: [clips, classes] float32, each from 0 to 1; None unless a clip may have several labels.
    """

    embedding: np.ndarray
    probabilities: np.ndarray | None = None
    labels: tuple[str, ...] = ()
    version: int | None = None
    scores: np.ndarray | None = None

    @property
    def by_label(self) -> np.ndarray:
        """The `probabilities` or `scores`; PemtError for a model without a classifier."""
        found = self.probabilities if self.scores is None else self.scores
        if found is None:
            raise PemtError("the model has no classifier; export a run of `pemt finetune`")
        return found


class PredictionClient:
    """Asks TensorFlow Serving for predictions. Use it as a context manager, from one thread.

        with PredictionClient("localhost:8500") as client:
            prediction = client.predict([record])

    Args:
        server: `host:port` of gRPC (usually 8500), or with `rest` of REST (8501), there also a URL.
        model: the model's name on the server.
        rest: use REST instead of gRPC.
        rest_layout: `columns` or `rows`.
        version: version of the model; by default the latest.
        label: label of the version, instead of `version`.
        timeout: seconds for each request, including all attempts.
        attempts: largest number of attempts; None for as many as the timeout allows. Only a server that is not
            reachable yet, or busy, is asked again.
        max_message_mb: largest request or response, megabytes.
        batch: clips in one request; fewer if they would exceed `max_message_mb`.
        access: TLS, certificates, headers.
        on_wait: called once with a line that says that the client waits for the server, and why.

    Raises:
        PemtError: an argument is not valid. Methods raise PredictionError if there is no prediction.
    """

    def __init__(
        self,
        server: str,
        model: str = "pemt",
        *,
        rest: bool = False,
        rest_layout: str = COLUMNS,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 60.0,
        attempts: int | None = None,
        max_message_mb: float = 128.0,
        batch: int = 8,
        access: ServerAccess | None = None,
        on_wait: Callable[[str], object] | None = None,
    ):
        access = access or ServerAccess()
        self._served = served = ServedModel(server, model, version, label)
        self._on_wait = on_wait
        self._retry = RetryPolicy(timeout, attempts)
        if not 0 < max_message_mb <= 2047:
            text = f"--max-message-mb {max_message_mb:g} is out of range: above 0, and up to the 2047 of protobuf"
            raise PemtError(text)
        if batch < 1:
            raise PemtError(f"--batch {batch} is not above 0")
        limit = int(max_message_mb * _MEGABYTE)
        self._batch, self._limit = batch, limit
        self._metadata: ServableMetadata | None = None
        self._transport: Transport
        if rest:
            self._transport = RestTransport(served, timeout, limit, access, rest_layout)
        else:
            from pemt_tf.client.grpc_transport import GrpcTransport  # brings TensorFlow along, which takes seconds

            self._transport = GrpcTransport(served, timeout, limit, access)

    def __enter__(self) -> PredictionClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def predict(
        self,
        records: Sequence[bytes] | None = None,
        *,
        frames: np.ndarray | None = None,
        waveform: np.ndarray | None = None,
    ) -> Prediction:
        """Classifies and embeds clips, given as records or as raw media.

        Args:
            records: serialized records of the model's geometry (`metadata().config.geometry`); small, with JPEG frames.
            frames: [clips, segments, frames, height, width, 3] uint8.
            waveform: [clips, segments, samples] float32, full scale 1. Without `frames` or `waveform` a classifier
                predicts as for records that lack them, and a backbone gives the embedding of the one modality alone.

        Raises:
            PredictionError: the server refuses, cannot be reached, or is too slow.
            PemtError: nothing was given, or records and raw media at once.
        """
        media = {name: value for name, value in (("frames", frames), ("waveform", waveform)) if value is not None}
        if (records is None) == (not media):
            raise PemtError("give either records, or frames and waveform")
        inputs = media or {"examples": np.array(list(records or ()), object)}
        lengths = {name: len(value) for name, value in inputs.items()}
        if not min(lengths.values()) or len(set(lengths.values())) > 1:
            raise PemtError(f"at least one clip is needed, and the same number of each input: {lengths}")
        signature, outputs = self._signature(tuple(media))
        parts = [
            self._predict(signature, part, outputs, first)
            for first, part in _request_batches(inputs, self._batch, self._limit, self._transport.request_bytes)
        ]
        arrays = {name: np.concatenate([found[name] for found, _ in parts]) for name in outputs}
        labels = tuple(arrays["labels"][0]) if "labels" in arrays else ()
        probabilities, scores = arrays.get("probabilities"), arrays.get("scores")
        return Prediction(arrays["embedding"], probabilities, labels, parts[-1][1], scores)

    def call(
        self, signature: str, inputs: dict[str, np.ndarray], outputs: tuple[str, ...]
    ) -> tuple[dict[str, np.ndarray], int | None]:
        """Runs any signature in one request; see `Transport.predict`."""
        return self._ask(lambda seconds: self._transport.predict(signature, inputs, outputs, seconds))

    def metadata(self) -> ServableMetadata:
        """The model's configuration, which includes the clip geometry, its labels and its version. Asked once."""
        if self._metadata is None:
            try:
                found, _ = self.call("metadata", {"fields": np.array(["all"], object)}, ("json",))
            except PredictionError as error:
                if error.code in (Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION) and "metadata" in str(error):
                    text = f"{error}; was the model made by `pemt export` of this release?"
                    raise PredictionError(error.code, text) from None
                raise
            self._metadata = ServableMetadata.from_served(found["json"][0])
        return self._metadata

    def model_status(self) -> list[VersionStatus]:
        """The versions of the model, and whether they are loaded."""
        return self._ask(self._transport.model_status)

    def is_ready(self) -> bool:
        """Whether the server is healthy and the model, or the requested version, is loaded."""
        if self._ask(self._transport.health) == NOT_SERVING:
            return False
        return any(one.state == "AVAILABLE" for one in self.model_status())

    def signatures(self) -> dict[str, SignatureInfo]:
        """The signatures of the model by name."""
        return self._ask(self._transport.signatures)

    def _signature(self, media: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """The signature for the given inputs, and its outputs."""
        metadata = self.metadata()
        classifies, modalities = bool(metadata.labels), metadata.modalities
        outputs = (metadata.prediction, "labels", "embedding") if metadata.prediction else ("embedding",)
        if not media:
            return "serving_default", outputs
        name = "classify" if classifies else "embed"
        given = tuple({"frames": "visual", "waveform": "audio"}[one] for one in media)
        if not set(given) <= set(modalities):
            raise PemtError(f"the model has the modalities {', '.join(modalities)}; {', '.join(media)} were given")
        return (name if len(given) == len(modalities) else f"{name}_{given[0]}"), outputs

    def _predict(self, signature: str, inputs: dict[str, np.ndarray], outputs: tuple[str, ...], first: int):
        """`call` for clips that start at the number `first`; a refusal names the clip by its number among all."""
        try:
            return self.call(signature, inputs, outputs)
        except PredictionError as error:
            if signature != _RECORDS or error.code != Code.INVALID_ARGUMENT:
                raise
            text = _NUMBER.sub(lambda found: f"examples[{first + int(found[1])}]", str(error))
            if _RECORD_FAULT.search(error.reason) and not _NUMBER.search(text):
                place = first + self._refused(inputs, outputs)
                text = text.replace(error.reason, f"examples[{place}]: {error.reason}")
            raise PredictionError(error.code, text, reason=error.reason) from None

    def _refused(self, inputs: dict[str, np.ndarray], outputs: tuple[str, ...]) -> int:
        """The number of the first record that is refused on its own."""
        (name, records), *_ = inputs.items()
        for number in range(len(records) - 1):
            try:
                self.call(_RECORDS, {name: records[number : number + 1]}, outputs)
            except PredictionError as error:
                if error.code != Code.INVALID_ARGUMENT:
                    raise
                return number
        return len(records) - 1

    def _ask(self, attempt: Callable[[float], Result]) -> Result:
        def once(seconds: float) -> Result:
            try:
                return attempt(seconds)
            except PredictionError as error:
                if error.code == Code.NOT_FOUND and self._is_loading(seconds):
                    reason = f"{self._served} is being loaded"
                    raise PredictionError(Code.UNAVAILABLE, f"{self._served.server}: {reason}", reason=reason) from None
                raise

        return self._retry.run(once, waiting=self._tell)

    def _is_loading(self, seconds: float) -> bool:
        try:
            return any(one.state in ("START", "LOADING") for one in self._transport.model_status(seconds))
        except PredictionError:
            return False

    def _tell(self, error: PredictionError) -> None:
        if self._on_wait is not None:
            self._on_wait(f"waiting for {self._served.server}, at most {self._retry.timeout:g} s: {error.reason}")
            self._on_wait = None


def _request_batches(
    inputs: dict[str, np.ndarray], most: int, limit: int, request_bytes: Callable[[dict[str, np.ndarray]], int]
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Splits inputs along their first axis into requests of at most `most` clips and `limit` bytes.

    Yields the number of a request's first clip, and its inputs. A clip above the limit gets a request of its own.
    `request_bytes` gives the largest number of bytes that inputs take.
    """
    count = len(next(iter(inputs.values())))
    first, used = 0, _ENVELOPE
    for number in range(count):
        size = request_bytes({name: values[number : number + 1] for name, values in inputs.items()})
        if number > first and (number - first == most or used + size > limit):
            yield first, {name: values[first:number] for name, values in inputs.items()}
            first, used = number, _ENVELOPE
        used += size
    yield first, {name: values[first:] for name, values in inputs.items()}
