"""Retrieval between the audio and the frames of clips: the rank of each clip's own other modality."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pemt_tf.search.knn import normalize

RECALLS = (1, 5, 10)
_SCORES_AT_ONCE = 1 << 23

Scores = Callable[[slice], np.ndarray]


def cosine_scores(audio: np.ndarray, visual: np.ndarray) -> Scores:
    """Cosine similarities of [clips, width] embeddings, as a function from audio rows to [rows, clips]."""
    audio, visual = normalize(audio), normalize(visual)
    return lambda rows: audio[rows] @ visual.T


def ranks(scores: Scores, clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact rank [clips] float64 of each clip's own frames, then of its audio, one block of scores at a time.

    The rank is 1 + the number of others with a higher score + half the number of others with an equal score, the mean
    over all orders of equal scores: if all embeddings are equal, every rank is that of chance, not 1. A clip whose own
    score is NaN or infinite has the worst rank, and no such score ranks above another.
    """
    step = max(1, _SCORES_AT_ONCE // max(clips, 1))
    blocks = [slice(start, min(start + step, clips)) for start in range(0, clips, step)]
    own = np.concatenate([np.diagonal(scores(rows), offset=rows.start) for rows in blocks])
    by_audio, by_frames = np.empty(clips), np.ones(clips)
    for rows in blocks:
        block = np.array(scores(rows), np.float64)  # a copy: it is written to
        block[~np.isfinite(block)] = np.nan  # compares as false
        inside = np.arange(rows.start, rows.stop)
        # Blocks are computed twice with equal results; NaN excludes a clip's own score from both counts.
        block[inside - rows.start, inside] = np.nan
        by_audio[rows] = 1 + _above(block, own[rows, None]).sum(axis=1)
        by_frames += _above(block, own[None, :]).sum(axis=0)
    undefined = ~np.isfinite(own)
    by_audio[undefined] = by_frames[undefined] = clips
    return by_audio, by_frames


def _above(block: np.ndarray, own: np.ndarray) -> np.ndarray:
    return (block > own) + 0.5 * (block == own)


def recall(found: np.ndarray) -> dict:
    """Shares of ranks [clips] within the first 1, 5 and 10, `median_rank`, and `clips`."""
    shares = {f"recall_at_{k}": float((found <= k).mean()) for k in RECALLS}
    return {**shares, "median_rank": float(np.median(found)), "clips": len(found)}


def measure_retrieval(scores: Scores, clips: int) -> dict:
    """`audio_to_video` and `video_to_audio`, see `recall`."""
    by_audio, by_frames = ranks(scores, clips)
    return {"audio_to_video": recall(by_audio), "video_to_audio": recall(by_frames)}
