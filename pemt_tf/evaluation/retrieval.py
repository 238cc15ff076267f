"""From the sound of a clip to its pictures and back: at which rank does the clip's own other stream stand?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pemt_tf.search.knn import normalize

RECALLS = (1, 5, 10)
_SCORES_AT_ONCE = 1 << 23

Scores = Callable[[slice], np.ndarray]


def cosine_scores(audio: np.ndarray, visual: np.ndarray) -> Scores:
    """Cosine similarities of [clips, width] embeddings: rows of the sounds to [rows, clips]."""
    audio, visual = normalize(audio), normalize(visual)
    return lambda rows: audio[rows] @ visual.T


def ranks(scores: Scores, clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Rank of the own stream of every clip, exact, a block of scores at a time.

    The rank is 1 + the number of others with a higher score + half the number of others with an equal one, which is
    the mean over all orders of the equal ones: if all embeddings are one, every rank is that of chance, not 1.

    A clip whose own score is NaN or infinite has the worst rank, and no score that is not finite is above another.

    Args:
        scores: a slice of the sounds to [sounds, pictures] scores, higher for what belongs together.
        clips: number of sounds and of pictures; those of a clip have the same number.

    Returns:
        Of the pictures when asked by sound, and of the sounds when asked by pictures, [clips] float64 each.
    """
    step = max(1, _SCORES_AT_ONCE // max(clips, 1))
    blocks = [slice(start, min(start + step, clips)) for start in range(0, clips, step)]
    own = np.concatenate([np.diagonal(scores(rows), offset=rows.start) for rows in blocks])
    by_sound, by_picture = np.empty(clips), np.ones(clips)
    for rows in blocks:
        block = np.array(scores(rows), np.float64)  # a copy: it is written to
        block[~np.isfinite(block)] = np.nan  # compares as false
        inside = np.arange(rows.start, rows.stop)
        # Blocks are computed twice, alike; NaN leaves a clip's own score out of both counts.
        block[inside - rows.start, inside] = np.nan
        by_sound[rows] = 1 + _above(block, own[rows, None]).sum(axis=1)
        by_picture += _above(block, own[None, :]).sum(axis=0)
    undefined = ~np.isfinite(own)
    by_sound[undefined] = by_picture[undefined] = clips
    return by_sound, by_picture


def _above(block: np.ndarray, own: np.ndarray) -> np.ndarray:
    return (block > own) + 0.5 * (block == own)


def recall(found: np.ndarray) -> dict:
    """Shares of clips within the first 1, 5 and 10, `median_rank`, and `clips`, of ranks [clips]."""
    shares = {f"recall_at_{k}": float((found <= k).mean()) for k in RECALLS}
    return {**shares, "median_rank": float(np.median(found)), "clips": len(found)}


def measure_retrieval(scores: Scores, clips: int) -> dict:
    """`audio_to_video` and `video_to_audio`, see `recall`."""
    by_sound, by_picture = ranks(scores, clips)
    return {"audio_to_video": recall(by_sound), "video_to_audio": recall(by_picture)}
