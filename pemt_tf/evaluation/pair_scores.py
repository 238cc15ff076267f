"""The pretrained pair classifier's scores of audio and frames: do they belong together?"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from scipy import special

from pemt_tf.errors import PemtError
from pemt_tf.evaluation.retrieval import Scores

STAGE = "context"  # before the joint Transformer: audio without knowledge of the frames it is compared with
_NUMBERS_AT_ONCE = 1 << 22


def read_pair_classifier(path: Path) -> dict[str, np.ndarray] | None:
    """Weights of the pair classifier before fusion, from a file of `RunDirectory.save_model`; None if there is none.

    They are `inner/kernel` [2 hidden, hidden], `inner/bias`, `outer/kernel` [hidden, 1], `outer/bias`.
    """
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as weights:
            start = f"{STAGE}/"
            found = {name.removeprefix(start): weights[name] for name in weights.files if name.startswith(start)}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise PemtError(f"{path} is damaged ({error}); train again into another --output") from None
    return found or None


def pair_scores(weights: dict[str, np.ndarray], audio: np.ndarray, visual: np.ndarray) -> Scores:
    """Logits of pairs of summaries [clips, hidden]: outer(gelu(inner([visual ; audio]))), see `PairClassifier`.

    The inner layer is linear in either modality, so it is applied to each clip once, not to each pair.
    """
    hidden = visual.shape[1]
    kernel = weights["inner/kernel"].astype(np.float32)
    seen = visual.astype(np.float32) @ kernel[:hidden] + weights["inner/bias"]
    heard = audio.astype(np.float32) @ kernel[hidden:]
    outer, bias = weights["outer/kernel"][:, 0].astype(np.float32), float(weights["outer/bias"][0])
    root = np.float32(np.sqrt(0.5))

    def of_sounds(rows: slice) -> np.ndarray:
        result = np.empty((rows.stop - rows.start, len(seen)))
        step = max(1, _NUMBERS_AT_ONCE // seen.size)
        for start in range(rows.start, rows.stop, step):
            stop = min(start + step, rows.stop)
            x = heard[start:stop, None] + seen
            x *= 0.5 * (1.0 + special.erf(x * root))
            result[start - rows.start : stop - rows.start] = x @ outer + bias
        return result

    return of_sounds
