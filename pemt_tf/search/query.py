"""The embedding of a query file, made as the embeddings were that it is to be compared with."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pemt_tf.data import records
from pemt_tf.data.clip_builder import build_clip
from pemt_tf.data.records import ClipRecord
from pemt_tf.errors import PemtError
from pemt_tf.export.local_predictor import LocalPredictor
from pemt_tf.files.names import readable
from pemt_tf.media.clip_decoder import DecodedClip, decode_clip
from pemt_tf.media.media_errors import MediaError
from pemt_tf.models.finite_outputs import require_finite


@dataclass(frozen=True, eq=False)
class Query:
    """What is looked for.

    Attributes:
        path: the file.
        embedding: [width] float32.
        clip: what the model saw or heard of it.
    """

    path: str
    embedding: np.ndarray
    clip: ClipRecord


class QueryModel(LocalPredictor):
    """A loaded SavedModel that embeds single media files.

    Both ways go through the signature for records, which masks the streams that are missing: so a query is made
    exactly as the clips were that it is compared with. `embed_audio` and `embed_visual` leave out the joint
    Transformer, and their answers are not near those of whole clips (docs/embeddings.md has the figures).
    """

    def like(self, path: str, start: float | None = None, end: float | None = None) -> Query:
        """Embeds a file by the streams that it has, or a stretch of it, seconds.

        Raises:
            PemtError: the file cannot be used; says why.
        """
        clip = self._clip(path, self._decode(path, start, end))
        streams = {"visual": clip.jpegs is not None, "audio": clip.log_mel is not None}
        modalities = self.metadata.config.model.modalities
        if not any(streams[modality] for modality in modalities):
            lacking = {"visual": "pictures", "audio": "sound"}
            raise PemtError(f"{path} has no {' or '.join(lacking[m] for m in modalities)}, which the model looks at")
        return self._query(path, clip)

    def sound_like(self, path: str, start: float | None = None, end: float | None = None) -> Query:
        """Embeds the sound of a file alone; pictures are left aside.

        Raises:
            PemtError: the file has no sound or cannot be used, or the model does not listen.
        """
        if "audio" not in self.metadata.config.model.modalities:
            raise PemtError(f"{self.directory} is a model of pictures only: it cannot search by sound; use --like")
        decoded = self._decode(path, start, end)
        if decoded.waveform is None:
            raise PemtError(f"{path} has no sound; use --like to search by its pictures")
        without = dataclasses.replace(decoded, jpegs=None, image_times=[], height=0, width=0)
        return self._query(path, self._clip(path, without))

    def _decode(self, path: str, start: float | None, end: float | None) -> DecodedClip:
        if not os.path.exists(path):  # noqa: PTH110 - False, too, of a name that is too long
            raise PemtError(f"{path}: there is no such file")
        try:
            return decode_clip(path, self.metadata.config.geometry, start, end)
        except MediaError as error:
            raise PemtError(f"{path}: {error.cause}: {error.detail}") from None

    def _clip(self, path: str, decoded: DecodedClip) -> ClipRecord:
        return build_clip(decoded, self.metadata.config.geometry, readable(Path(path).name), readable(path))

    def _query(self, path: str, clip: ClipRecord) -> Query:
        embedding = self.answer([records.serialize(clip, self.metadata.config.geometry)])["embedding"][0]
        require_finite(embedding[None], [path], "the model's embedding")
        return Query(path, embedding, clip)
