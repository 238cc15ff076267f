"""The interface of both transports, gRPC and REST."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pemt_tf.errors import PemtError


@dataclass(frozen=True)
class ServedModel:
    """The model to ask, and its server."""

    server: str  # `host:port`; for REST also a URL, `https://host/prefix`
    name: str = "pemt"
    version: int | None = None  # None for the latest
    label: str | None = None  # such as `stable`, instead of the number

    def __post_init__(self) -> None:
        if self.version is not None and self.label is not None:
            raise PemtError(f"version {self.version} and label {self.label} were both asked for; give one of them")
        if self.version is not None and self.version < 0:
            raise PemtError(f"the model version is {self.version}; versions count from 1")
        bad = [text for text in (self.name, self.label) if text is not None and (not text or set("/:") & set(text))]
        if bad:
            raise PemtError(f"{bad[0]!r} is not a name of a model or label: it is empty or has a slash or colon")

    def __str__(self) -> str:
        which = f" version {self.version}" if self.version is not None else ""
        which = f" version label {self.label}" if self.label is not None else which
        return f"model {self.name}{which}"


SERVING, NOT_SERVING = "SERVING", "NOT_SERVING"


@dataclass(frozen=True)
class VersionStatus:
    """One version of a model on a server."""

    version: int
    state: str  # `START`, `LOADING`, `AVAILABLE`, `UNLOADING` or `END`
    error_code: str = "OK"  # or why it could not be loaded
    error_message: str = ""  # the reason in words


@dataclass(frozen=True)
class SignatureInfo:
    """A signature as a server describes it: names of inputs and outputs to types, such as `DT_UINT8`."""

    inputs: dict[str, str]
    outputs: dict[str, str]


class Transport(Protocol):
    """A connection to a server. Each method raises PredictionError and takes its largest duration in seconds."""

    def predict(
        self, signature: str, inputs: dict[str, np.ndarray], outputs: tuple[str, ...], seconds: float
    ) -> tuple[dict[str, np.ndarray], int | None]:
        """Runs a signature, and returns the named outputs and the version that predicted, if the server says it.

        Strings are object arrays: `str` for text, `bytes` for anything.
        """
        ...

    def model_status(self, seconds: float) -> list[VersionStatus]:
        """The versions of the model."""
        ...

    def signatures(self, seconds: float) -> dict[str, SignatureInfo]:
        """The signatures of the model."""
        ...

    def health(self, seconds: float) -> str | None:
        """The server's health check, `SERVING` or `NOT_SERVING`; None if it has none."""
        ...

    def request_bytes(self, inputs: dict[str, np.ndarray]) -> int:
        """The largest number of bytes that these inputs take in a request."""
        ...

    def close(self) -> None:
        """Ends the connection."""
        ...
