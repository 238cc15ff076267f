"""Folders of embeddings as `beam_jobs.embed` leaves them, made without the job."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pemt_tf.config import ClipGeometry
from pemt_tf.search.embedding_card import CARD_NAME, EmbeddingCard
from pemt_tf.search.embedding_table import embedding_table


def rows_about(count: int, clips_of_a_file: int = 2) -> list[dict]:
    """`count` clips of two seconds, some of each file, with labels, splits and streams that alternate."""
    return [
        {
            "id": f"clip-{number}",
            "path": f"dog/{number // clips_of_a_file}.mp4",
            "start": 2.0 * (number % clips_of_a_file),
            "end": 2.0 * (number % clips_of_a_file) + 2.0,
            "label": None if number % 3 == 0 else f"label{number % 3}",
            "split": ("train", "test", None)[number % 3],
            "has_video": number % 4 != 1,
            "has_audio": number % 4 != 2,
        }
        for number in range(count)
    ]


def write_embeddings(directory: Path, vectors: np.ndarray, rows: list[dict] | None = None, per_file: int = 10) -> Path:
    """Writes vectors [clips, width] with their clips to files of `per_file` rows, and the card."""
    rows = rows_about(len(vectors)) if rows is None else rows
    (directory / "vectors").mkdir(parents=True)
    files = {}
    for first in range(0, len(vectors), per_file):
        name = f"vectors/embeddings-{first // per_file:05d}.parquet"
        table = embedding_table(rows[first : first + per_file], vectors[first : first + per_file])
        pq.write_table(table, directory / name)
        files[name] = table.num_rows
    count = len(vectors)
    card = EmbeddingCard(
        model=str(directory / "no_model"),
        model_hash="a" * 64,
        vector_size=vectors.shape[1],
        geometry=ClipGeometry(),
        files=files,
        inputs=count,
        written=count,
        filtered={},
        failed={},
        content_hash="b" * 64,
    )
    (directory / CARD_NAME).write_text(card.text(), encoding="utf-8")
    return directory


def replace_card(directory: Path, **changes) -> None:
    """Rewrites the card with some fields changed."""
    card = dataclasses.replace(EmbeddingCard.read(directory), **changes)
    (directory / CARD_NAME).write_text(card.text(), encoding="utf-8")
