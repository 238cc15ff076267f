"""The embeddings card: `embeddings.json`, written last, beside the Parquet files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pemt_tf.config import ClipGeometry
from pemt_tf.errors import PemtError
from pemt_tf.files.strict_json import json_text

CARD_NAME = "embeddings.json"
FORMAT_VERSION = 1
RECORDS, VIDEOS = "records", "videos"
_HASHED_BYTES = 2**20


@dataclass(frozen=True)
class AlignedVectors:
    """Further columns of the Parquet files: vectors in one space, in which frames and audio can be compared."""

    size: int  # numbers per vector
    rows: dict[str, int]  # column to its number of vectors; null in the other rows
    meaning: str = (
        "vectors of length 1 in one space: the cosine of a clip's aligned_visual and another's aligned_audio says how "
        "well these frames and this audio belong together; null where a clip lacks the modality"
    )


@dataclass(frozen=True)
class EmbeddingCard:
    """Contents and origin of a folder of embeddings.

    Every input is counted: inputs == written + sum(filtered) + sum(failed).
    """

    model: str  # absolute path of the SavedModel that made them
    model_hash: str  # see `model_hash`
    vector_size: int  # numbers per embedding
    geometry: ClipGeometry
    files: dict[str, int]  # Parquet file, relative to the card, to its number of rows; in order
    inputs: int
    written: int
    filtered: dict[str, int]  # inputs that a rule excluded, by rule
    failed: dict[str, int]  # inputs without an embedding, by cause
    source_kind: str = RECORDS  # `records` (a data set of beam_jobs.preprocess) or `videos`
    source: str = ""  # the data set, or the input as given; absolute if it is a path
    root: str = ""  # folder to which the column `path` is relative; empty if unknown
    source_hash: str = ""  # of the data set; for videos, SHA-256 over their names, sizes and ranges
    content_hash: str = ""  # SHA-256 over the SHA-256 of every Parquet file, in order
    command: str = ""  # as typed
    aligned: AlignedVectors | None = None  # None if the model has no aligned space
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        accounted = self.written + sum(self.filtered.values()) + sum(self.failed.values())
        if accounted != self.inputs or self.written != sum(self.files.values()):
            raise PemtError(
                f"{self.inputs} inputs, but {self.written} written, {sum(self.filtered.values())} filtered, "
                f"{sum(self.failed.values())} failed and {sum(self.files.values())} rows in the files; clips were lost "
                "or came twice, so the embeddings must not be used: run the job again"
            )

    def text(self) -> str:
        """The content of the file; `aligned` is in it only if there are such vectors."""
        values = dataclasses.asdict(self)
        if self.aligned is None:
            del values["aligned"]
        return json_text(values, indent=2) + "\n"

    @classmethod
    def read(cls, directory: Path) -> EmbeddingCard:
        """Reads the card of a folder; raises PemtError if there is none, or it cannot be read."""
        path = directory / CARD_NAME
        if not path.is_file():
            raise PemtError(
                f"{directory} holds no finished embeddings: it has no {CARD_NAME}; make them with "
                "`python -m beam_jobs.embed --model SERVABLE --input DATA --output DIR`"
            )
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if values.get("format_version") != FORMAT_VERSION:
                raise PemtError(
                    f"{path} has format version {values.get('format_version')}; this release reads {FORMAT_VERSION}"
                )
            aligned = values.get("aligned")
            parts = {
                "geometry": ClipGeometry(**values["geometry"]),
                "aligned": None if aligned is None else AlignedVectors(**aligned),
            }
            return cls(**{**values, **parts})
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise PemtError(f"{path} is damaged ({error}); run beam_jobs.embed again") from None

    def require_model(self, directory: Path, found_hash: str) -> None:
        """Raises PemtError unless the model is the one that made the embeddings."""
        if found_hash != self.model_hash:
            raise PemtError(
                f"the embeddings were made with {self.model} (hash {self.model_hash[:12]}), but {directory} is another "
                f"model (hash {found_hash[:12]}); give that one with --model, or embed again with this one"
            )


def model_hash(directory: Path) -> str:
    """SHA-256 over the names and bytes of all files of a SavedModel, in order of their names."""
    digest = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(directory).as_posix()}\n{path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while data := file.read(_HASHED_BYTES):
                digest.update(data)
    return digest.hexdigest()
