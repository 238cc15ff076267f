"""Events of a run for TensorBoard: metrics in groups, hyperparameters, images of training batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from pemt_tf.config import Config, flat_fields
from pemt_tf.errors import PemtError, first_line

_GROUPS = {  # suffix or prefix of a metric's name: its group; the first match counts
    "loss_scale": "optimizer",
    "_temperature": "optimizer",
    "accuracy": "accuracy",
    "average_precision": "accuracy",
    "loss": "loss",
    "mep_": "loss",
    "cpp": "loss",
    "alignment": "loss",
    "_spread": "collapse",
    "_collapsed": "collapse",
    "_rank": "collapse",
    "logit_std": "collapse",
    "learning_rate": "optimizer",
    "gradient_norm": "optimizer",
    "skipped_steps": "optimizer",
    "examples_per_second": "speed",
    "input_wait_share": "speed",
}
_CLIPS = 4
_GAP = 2  # pixels between segments


def tag(name: str) -> str:
    """A metric's tag in TensorBoard: its group and its name in `metrics.jsonl`, as `loss/mep_audio_joint`."""
    groups = [group for part, group in _GROUPS.items() if name.endswith(part) or name.startswith(part)]
    return f"{(groups or ['other'])[0]}/{name}"


def hyperparameters(config: Config, section: str) -> dict[str, Any]:
    """The fields of TensorBoard's HPARAMS tab: geometry, model, augmentation and the section of the command."""
    values = config.to_dict()
    parts = {name: values[name] for name in ("geometry", "model", section, "augmentation")}
    plain = {name: " ".join(map(str, v)) if isinstance(v, list) else v for name, v in flat_fields(parts).items()}
    return {"preset": config.name, **plain}


class EventLog:
    """Writes events, nothing without a folder. Every method raises PemtError if the folder cannot be written."""

    def __init__(self, folder: str | None):
        self._folder = folder
        with self._writing():
            self._writer = tf.summary.create_noop_writer() if folder is None else tf.summary.create_file_writer(folder)

    def numbers(self, row: dict[str, float]) -> None:
        """Writes the metrics of a log line."""
        with self._writing(), self._writer.as_default(step=row["step"]):
            for name, value in row.items():
                if name != "step":
                    tf.summary.scalar(tag(name), value)
            self._writer.flush()

    def hyperparameters(self, values: dict[str, Any]) -> None:
        """Writes the settings of the run, by the full names of their fields."""
        if values:
            with self._writing(), self._writer.as_default(step=0):
                hparams.hparams(values)

    def images(self, step: int, batch: dict[str, np.ndarray], modalities: tuple[str, ...]) -> None:
        """Writes the first clips of a batch as the network sees them: `clips/frames` and `clips/log_mel`."""
        with self._writing(), self._writer.as_default(step=step):
            if "visual" in modalities:
                tf.summary.image("clips/frames", frame_strips(batch["frames"][:_CLIPS]), max_outputs=_CLIPS)
            if "audio" in modalities:
                tf.summary.image("clips/log_mel", spectrogram_strips(batch["log_mel"][:_CLIPS]), max_outputs=_CLIPS)
            self._writer.flush()

    def close(self) -> None:
        """Writes the rest; an error was reported before, or concerns only a few metrics."""
        with contextlib.suppress(tf.errors.OpError):
            self._writer.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns a full disk into a PemtError; TensorFlow reports it as an exhausted resource, like lack of memory."""
        try:
            yield
        except tf.errors.OpError as error:
            raise PemtError(
                f"cannot write to {self._folder} ({first_line(error)}); earlier checkpoints are intact, free some "
                "space and run the same command to continue"
            ) from None


def frame_strips(frames: np.ndarray) -> np.ndarray:
    """The first frame of every segment, side by side: from [clips, segments, frames, height, width, 3] uint8 to
    [clips, height, segments * (width + 2) - 2, 3] uint8."""
    return _side_by_side(frames[:, :, 0])


def spectrogram_strips(log_mel: np.ndarray) -> np.ndarray:
    """Spectrograms of all segments side by side, low frequencies at the bottom, each clip scaled to its own range.

    From [clips, segments, mel_bins, mel_frames, 1] float32 to [clips, mel_bins, segments * (mel_frames + 2) - 2, 1]
    uint8.
    """
    axes = (1, 2, 3, 4)
    low, high = log_mel.min(axes, keepdims=True), log_mel.max(axes, keepdims=True)
    scaled = (log_mel - low) / np.maximum(high - low, 1e-6)
    return _side_by_side(np.round(255 * scaled[:, :, ::-1]).astype(np.uint8))


def _side_by_side(images: np.ndarray) -> np.ndarray:
    """From [clips, segments, height, width, channels] to one image a clip, with gaps of 0."""
    padded = np.pad(images, ((0, 0), (0, 0), (0, 0), (0, _GAP), (0, 0)))
    clips, segments, height, width, channels = padded.shape
    rows = padded.transpose(0, 2, 1, 3, 4).reshape(clips, height, segments * width, channels)
    return rows[:, :, :-_GAP]
