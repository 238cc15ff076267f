"""What the client needs of a way to reach a server; gRPC and REST both give it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pemt_tf.errors import PemtError


@dataclass(frozen=True)
class ServedModel:
    """Which model of a server is meant.

    Attributes:
        server: `host:port`; for REST also a URL, `https://host/prefix`.
        name: of the model.
        version: number; None for the latest.
        label: of a version, as `stable`, instead of a number.
    """

    server: str
    name: str = "pemt"
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.version is not None and self.label is not None:
            raise PemtError(f"version {self.version} and label {self.label} were both asked for; give one of them")
        if self.version is not None and self.version < 0:
            raise PemtError(f"the model version is {self.version}; versions count from 1")
        bad = [text for text in (self.name, self.label) if text is not None and (not text or set("/:") & set(text))]
        if bad:
            raise PemtError(f"{bad[0]!r} is no name of a model or label: a slash or colon cannot be part of it")

    def __str__(self) -> str:
        which = f" version {self.version}" if self.version is not None else ""
        which = f" version label {self.label}" if self.label is not None else which
        return f"model {self.name}{which}"


SERVING, NOT_SERVING = "SERVING", "NOT_SERVING"


@dataclass(frozen=True)
class VersionStatus:
    """One version of a model on a server.

    Attributes:
        version: number.
        state: `START`, `LOADING`, `AVAILABLE`, `UNLOADING` or `END`.
        error_code: `OK`, or why it could not be loaded.
        error_message: the same in words.
    """

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""


@dataclass(frozen=True)
class SignatureInfo:
    """A signature as a server describes it.

    Attributes:
        inputs, outputs: name to type, as `DT_UINT8`.
    """

    inputs: dict[str, str]
    outputs: dict[str, str]


class Transport(Protocol):
    """A way to reach a server. Every method raises PredictionError, and takes the seconds that it may last."""

    def predict(
        self, signature: str, inputs: dict[str, np.ndarray], outputs: tuple[str, ...], seconds: float
    ) -> tuple[dict[str, np.ndarray], int | None]:
        """Runs a signature.

        Args:
            signature: its name.
            inputs: name to array; of strings: an array of `str` (text) or of `bytes` (anything) as objects.
            outputs: the names that are wanted.
            seconds: at most.

        Returns:
            Output name to array (text as `str` objects), and the version that answered where the server tells it.
        """

    def model_status(self, seconds: float) -> list[VersionStatus]:
        """The versions of the model."""

    def signatures(self, seconds: float) -> dict[str, SignatureInfo]:
        """The signatures of the model."""

    def health(self, seconds: float) -> str | None:
        """`SERVING` or `NOT_SERVING` by the server's health check; None where it has none."""

    def request_bytes(self, inputs: dict[str, np.ndarray]) -> int:
        """How many bytes these inputs take in a request, at most."""

    def close(self) -> None:
        """Ends the connection."""
