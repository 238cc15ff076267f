"""Frozen features of the clips of a split: one pass over the data, in the memory of a batch and the features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs, read_batches
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.models.finite_outputs import require_finite
from pemt_tf.terminal.progress import Progress

JOINT = "joint"
POOLED, EMBEDDING = "pooled", "embedding"


@dataclass(frozen=True)
class ClipFeatures:
    """What a frozen backbone makes of clips.

    Attributes:
        ids: [clips] of the clips.
        paths: [clips] source files; a clip without one has its id.
        labels: [clips] int, -1 without.
        pooled: modality to [clips, channels] float32, CNN features averaged over segments.
        summaries: stream to [clips, hidden] float32: of a modality, its summary token after its own Transformer; of
            `joint`, where there are two modalities, the embedding of the model.
        present: modality to [clips] bool, whether the clip has the stream; its features mean nothing where not.
    """

    ids: np.ndarray
    paths: np.ndarray
    labels: np.ndarray
    pooled: dict[str, np.ndarray]
    summaries: dict[str, np.ndarray]
    present: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Of the model."""
        return tuple(self.pooled)

    @property
    def streams(self) -> tuple[str, ...]:
        """The modalities, and `joint` where there are two."""
        return (*self.modalities, JOINT) if len(self.modalities) == 2 else self.modalities

    def take(self, rows: np.ndarray) -> ClipFeatures:
        """Some of the clips, by number or as a mask."""
        parts = (
            {name: values[rows] for name, values in d.items()} for d in (self.pooled, self.summaries, self.present)
        )
        return ClipFeatures(self.ids[rows], self.paths[rows], self.labels[rows], *parts)

    def has(self, stream: str) -> np.ndarray:
        """[clips] bool: whether the clip has the stream; `joint` needs both modalities."""
        if stream == JOINT:
            return np.logical_and.reduce(list(self.present.values()))
        return self.present[stream]

    def vectors(self, stream: str, kind: str) -> np.ndarray:
        """[clips, width] float32: `embedding`, the summaries; `pooled`, CNN features, of `joint` side by side."""
        if kind == EMBEDDING:
            return self.summaries[stream]
        return np.concatenate(list(self.pooled.values()), axis=1) if stream == JOINT else self.pooled[stream]


class FeatureExtractor:
    """Runs a frozen backbone over splits, centre crop; it is traced once for all of them.

    Args:
        backbone: with trained weights, or without.
        source: records of the model's geometry.
        batch_size: clips at once.
    """

    def __init__(self, backbone: AVTransformer, source: ClipSource, batch_size: int = 16):
        self._backbone, self._source, self._batch_size = backbone, source, batch_size
        self._compute = None

    def extract(self, split: str, labelled: bool = False) -> ClipFeatures:
        """One pass over a split.

        Args:
            split: which clips.
            labelled: leave out clips without a label.

        Raises:
            PemtError: there is no such split, a record is damaged, or a feature is not finite; names the clip.
        """
        clips = evaluation_clips(self._source, split, self._batch_size, labelled)
        self._compute = self._compute or _traced(self._backbone, clips.element_spec)
        columns: dict[tuple[str, str], list[np.ndarray]] = {}
        about: dict[str, list[np.ndarray]] = {"id": [], "path": [], "label": []}
        progress, done = Progress(f"features of {split}", self._source.clips.get(split, 0), "clips"), 0
        for batch in read_batches(clips, self._source, split):
            for key, value in self._compute(batch).items():
                columns.setdefault(tuple(key.split("/")), []).append(value.numpy())
            for name, values in about.items():
                values.append(batch[name].numpy())
            done += len(about["id"][-1])
            progress.total = max(progress.total, done)
            progress.update(done)
        self._source.require_count(split, done, labelled)
        progress.total = done
        progress.close()
        return _assemble(about, columns, self._backbone)


def _traced(backbone: AVTransformer, specification: dict):
    """Batch to features, as a compiled function that takes any number of clips."""
    modalities = backbone.config.modalities
    early = backbone.config.fusion == "early" and backbone.fuses

    @tf.function(input_signature=[specification])
    def features(batch: dict) -> dict:
        outputs = backbone(model_inputs(batch, modalities), training=False)
        found = {}
        for modality in modalities:
            mask = batch[f"{modality}_mask"][:, :, None]
            count = tf.maximum(tf.reduce_sum(mask, axis=1), 1.0)

            def mean(values, mask=mask, count=count):
                return tf.reduce_sum(tf.cast(values, tf.float32) * mask, axis=1) / count

            found[f"pooled/{modality}"] = mean(outputs[f"{modality}_features"])
            found[f"present/{modality}"] = tf.reduce_any(mask > 0, axis=[1, 2])
            # With early fusion no Transformer sees one modality alone: its summary token is the same for all clips.
            alone = mean(outputs[f"{modality}_tokens"]) if early else outputs[f"{modality}_context"][:, 0]
            found[f"summaries/{modality}"] = tf.cast(alone, tf.float32)
        if len(modalities) == 2:
            found[f"summaries/{JOINT}"] = tf.cast(outputs["embedding"], tf.float32)
        return found

    return features


def _assemble(about: dict, columns: dict, backbone: AVTransformer) -> ClipFeatures:
    if not about["id"]:
        empty = {m: np.zeros((0, 1), np.float32) for m in backbone.config.modalities}
        none = {m: np.zeros(0, bool) for m in empty}
        return ClipFeatures(np.zeros(0, str), np.zeros(0, str), np.zeros(0, int), empty, dict(empty), none)
    groups: dict[str, dict[str, np.ndarray]] = {"pooled": {}, "summaries": {}, "present": {}}
    for group, name in list(columns):
        groups[group][name] = np.concatenate(columns.pop((group, name)))
    raw = (np.concatenate(about[name]).astype(bytes) for name in ("id", "path"))
    ids, paths = (np.char.decode(names, "utf-8", "backslashreplace") for names in raw)
    found = ClipFeatures(ids, np.where(paths == "", ids, paths), np.concatenate(about["label"]), **groups)
    for values in (found.pooled, found.summaries):
        for stream, vectors in values.items():
            there = found.has(stream)
            require_finite(vectors[there], ids[there], f"the network's output ({stream})")
    return found
