"""An approximate index for millions of embeddings, with the package usearch (extra `search`)."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa

from pemt_tf.errors import PemtError
from pemt_tf.files.whole_file import whole_file
from pemt_tf.search.embedding_store import EmbeddingStore
from pemt_tf.search.embedding_table import VECTOR
from pemt_tf.search.exact_search import (
    FILTER_COLUMNS,
    Filter,
    Hit,
    describe_hits,
    require_finite_block,
    require_width,
    search,
)
from pemt_tf.terminal.progress import Progress


class ApproximateIndex:
    """The index of a folder of embeddings, built on first use and kept beside them."""

    def __init__(self, store: EmbeddingStore):
        try:
            from usearch.index import Index
        except ImportError:
            raise PemtError(
                "--approximate needs the package usearch; install the extra: pip install 'pemt-tf[search]'"
            ) from None
        self._store = store
        # The name has the hash of the embeddings, so an index of other embeddings is never used.
        of = "" if store.column == VECTOR else f"-{store.column}"
        self.path = Path(store.directory, f"approximate-{store.card.content_hash[:16]}{of}.usearch")
        self._index = Index(ndim=store.width, metric="cos", dtype="f32")
        if not self._load():
            self._build()

    def _load(self) -> bool:
        if not self.path.is_file():
            return False
        try:
            self._index.view(str(self.path))  # memory-mapped, so a search reads only what it needs
        except RuntimeError as error:
            logging.getLogger(__name__).warning("%s is damaged (%s) and is built again", self.path, error)
            return False
        return len(self._index) == self._store.vectors

    def _build(self) -> None:
        self._index.reset()
        progress, end = Progress("indexing", self._store.vectors, "clips"), 0
        for block in self._store.blocks():
            require_finite_block(self._store, block)
            end += len(block.vectors)
            self._index.add(block.rows.astype(np.uint64), np.ascontiguousarray(block.vectors))
            progress.update(end)
        progress.close()
        try:
            with whole_file(self.path) as partial:
                self._index.save(str(partial))
        except (OSError, RuntimeError) as error:
            raise PemtError(f"cannot write the index {self.path}: {error}; search without --approximate") from None

    def search(self, query: np.ndarray, k: int, keep: Filter | None = None) -> list[Hit]:
        """The k clips most similar to an embedding [width] float32, best first; nearly always those of an exact search.

        `keep` filters the clips that may be found; it receives the columns `FILTER_COLUMNS`.
        """
        require_width(self._store, query)
        for asked in (k, 8 * k, 64 * k):  # more if the filter leaves too few
            matches = self._index.search(np.ascontiguousarray(query, np.float32), min(asked, self._store.vectors))
            rows = [int(key) for key in matches.keys]
            hits = describe_hits(self._store, rows, [1.0 - float(distance) for distance in matches.distances])
            kept = hits if keep is None else [hit for hit in hits if keep(_about(hit))[0]]
            if len(kept) >= k:
                return kept[:k]
        return search(self._store, query, k, keep=keep)  # the index does not reach every clip


def _about(hit: Hit) -> pa.RecordBatch:
    values = {"id": hit.clip_id, "path": hit.path, "split": hit.split or None}
    return pa.RecordBatch.from_arrays(
        [pa.array([values[name]], pa.string()) for name in FILTER_COLUMNS], list(FILTER_COLUMNS)
    )
