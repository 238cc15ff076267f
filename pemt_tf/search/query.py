"""The embedding of a query file, made in the same way as the embeddings of the clips that it is compared with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pemt_tf.data import records
from pemt_tf.data.records import ClipRecord
from pemt_tf.errors import PemtError
from pemt_tf.export.clip_request import clip_of, decode_media, require_modality
from pemt_tf.export.local_predictor import LocalPredictor
from pemt_tf.media.decoded_clip import DecodedClip
from pemt_tf.models.finite_outputs import require_finite
from pemt_tf.search.embedding_table import ALIGNED

EMBEDDING = "embedding"  # the model's output for a search within the joint embeddings


@dataclass(frozen=True, eq=False)
class Query:
    """A file to search with."""

    path: str
    embedding: np.ndarray  # [width] float32; for a search across modalities its place in the aligned space
    clip: ClipRecord  # the file as the model received it


class QueryModel(LocalPredictor):
    """A loaded SavedModel that embeds single media files.

    All methods use the signature for records, which masks absent modalities, exactly as the stored embeddings were
    made. `embed_audio` and `embed_visual` leave out the joint Transformer, so their outputs are not near those of whole
    clips (docs/embeddings.md has the figures).
    """

    def require_aligned(self) -> None:
        """Raises PemtError unless the model has an aligned space."""
        if not set(ALIGNED) <= set(self.outputs):
            raise PemtError(
                f"{self.directory} has no aligned space of frames and audio; pretrain with --set "
                "pretrain.alignment_weight=1 and export, or search without --aligned"
            )

    def like(self, path: str, start: float | None = None, end: float | None = None) -> Query:
        """Embeds a file, or a stretch of it in seconds, by the modalities that it has."""
        decoded = decode_media(path, self.metadata.config.geometry, start, end)
        require_modality(path, decoded, self.metadata.modalities)
        return self._query(path, decoded)

    def sound_like(
        self, path: str, start: float | None = None, end: float | None = None, output: str = EMBEDDING
    ) -> Query:
        """Embeds a file by its audio alone; raises PemtError if the file or the model has none.

        `output` names the model's output to search with: `embedding` or `aligned_audio`.
        """
        if "audio" not in self.metadata.modalities:
            raise PemtError(f"{self.directory} is a visual model and cannot search by audio; use --like")
        decoded = decode_media(path, self.metadata.config.geometry, start, end)
        if decoded.waveform is None:
            raise PemtError(f"{path} has no audio; use --like to search by its frames")
        silent = dataclasses.replace(decoded, jpegs=None, image_times=[], height=0, width=0)
        return self._query(path, silent, output)

    def look_like(
        self, path: str, start: float | None = None, end: float | None = None, output: str = EMBEDDING
    ) -> Query:
        """Embeds a file by its frames alone; raises PemtError if the file or the model has none.

        `output` names the model's output to search with: `embedding` or `aligned_visual`.
        """
        if "visual" not in self.metadata.modalities:
            raise PemtError(f"{self.directory} is an audio model and cannot search by frames; use --like")
        decoded = decode_media(path, self.metadata.config.geometry, start, end)
        if decoded.jpegs is None:
            raise PemtError(f"{path} has no frames; use --like to search by its audio")
        return self._query(path, dataclasses.replace(decoded, waveform=None), output)

    def _query(self, path: str, decoded: DecodedClip, output: str = EMBEDDING) -> Query:
        geometry = self.metadata.config.geometry
        clip = clip_of(path, decoded, geometry)
        embedding = self.answer([records.serialize(clip, geometry)])[output][0]
        require_finite(embedding[None], [path], "the model's embedding")
        return Query(path, embedding, clip)
