"""Frozen features of the clips of a split."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import model_inputs
from pemt_tf.data.split_pass import ClipOutputs, SplitPass
from pemt_tf.losses.audio_visual_alignment import AlignedSpace
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.models.finite_outputs import require_finite

JOINT = "joint"
POOLED, EMBEDDING = "pooled", "embedding"


@dataclass(frozen=True)
class ClipFeatures:
    """Outputs of a frozen backbone for clips, [clips] or [clips, width] each."""

    ids: np.ndarray
    paths: np.ndarray  # source files; a clip without one has its id
    labels: np.ndarray  # -1 without a label
    pooled: dict[str, np.ndarray]  # by modality, float32: CNN features averaged over segments
    summaries: dict[str, np.ndarray]  # summary tokens after the modality's Transformer; `joint`: the embedding
    present: dict[str, np.ndarray]  # by modality, bool: whether the clip has it; its features mean nothing where not
    aligned: dict[str, np.ndarray] = field(default_factory=dict)  # by modality, in the aligned space if there is one

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The model's modalities, without `joint`."""
        return tuple(self.pooled)

    @property
    def streams(self) -> tuple[str, ...]:
        """The modalities, and `joint` where there are two."""
        return (*self.modalities, JOINT) if len(self.modalities) == 2 else self.modalities

    def take(self, rows: np.ndarray) -> ClipFeatures:
        """Some of the clips, by number or as a mask."""
        by_modality = (self.pooled, self.summaries, self.present, self.aligned)
        parts = ({name: values[rows] for name, values in d.items()} for d in by_modality)
        return ClipFeatures(self.ids[rows], self.paths[rows], self.labels[rows], *parts)

    def has(self, modality: str) -> np.ndarray:
        """[clips] bool: whether the clip has the modality; `joint` needs both modalities."""
        if modality == JOINT:
            return np.logical_and.reduce(list(self.present.values()))
        return self.present[modality]

    def vectors(self, modality: str, kind: str) -> np.ndarray:
        """[clips, width] float32: `embedding`, the summaries; `pooled`, CNN features, of `joint` side by side."""
        if kind == EMBEDDING:
            return self.summaries[modality]
        return np.concatenate(list(self.pooled.values()), axis=1) if modality == JOINT else self.pooled[modality]


class FeatureExtractor:
    """Runs a frozen backbone, trained or not, over splits, with the centre crop."""

    def __init__(
        self, backbone: AVTransformer, source: ClipSource, batch_size: int = 16, space: AlignedSpace | None = None
    ):
        self._backbone, self._space = backbone, space
        self._pass = SplitPass(source, self._features, batch_size)

    def extract(self, split: str, labelled: bool = False) -> ClipFeatures:
        """Passes once over a split, or its labelled clips; a PemtError names a clip that is damaged or not finite."""
        return assemble(list(self._pass.over(split, labelled, progress=f"features of {split}")), self._backbone)

    def _features(self, batch: dict[str, tf.Tensor]) -> dict[str, dict[str, tf.Tensor]]:
        """The fields `pooled`, `summaries`, `present` and `aligned` of `ClipFeatures`."""
        config = self._backbone.config
        outputs = self._backbone(model_inputs(batch, config.modalities), training=False)
        pooled, summaries, present = {}, {}, {}
        for modality in config.modalities:
            mask = batch[f"{modality}_mask"][:, :, None]
            count = tf.maximum(tf.reduce_sum(mask, axis=1), 1.0)

            def mean(values: tf.Tensor, mask: tf.Tensor = mask, count: tf.Tensor = count) -> tf.Tensor:
                return tf.reduce_sum(tf.cast(values, tf.float32) * mask, axis=1) / count

            pooled[modality] = mean(outputs[f"{modality}_features"])
            present[modality] = tf.reduce_any(mask > 0, axis=[1, 2])
            # With early fusion no Transformer sees one modality alone, so its summary token is the same for all clips.
            early = config.fusion == "early" and self._backbone.fuses
            alone = mean(outputs[f"{modality}_tokens"]) if early else outputs[f"{modality}_context"][:, 0]
            summaries[modality] = tf.cast(alone, tf.float32)
        if len(config.modalities) == 2:
            summaries[JOINT] = tf.cast(outputs["embedding"], tf.float32)
        aligned = {}
        if self._space is not None:
            contexts = {modality: outputs[f"{modality}_context"] for modality in pooled}
            aligned = self._space(contexts, {modality: batch[f"{modality}_mask"] for modality in pooled})
        return {"pooled": pooled, "summaries": summaries, "present": present, "aligned": aligned}


def assemble(batches: list[ClipOutputs], backbone: AVTransformer) -> ClipFeatures:
    """Joins the batches of one pass and refuses features that are not finite."""
    if not batches:
        empty = {modality: np.zeros((0, 1), np.float32) for modality in backbone.config.modalities}
        none = {modality: np.zeros(0, bool) for modality in empty}
        return ClipFeatures(np.zeros(0, str), np.zeros(0, str), np.zeros(0, int), empty, dict(empty), none)
    values = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *(batch.values for batch in batches))
    ids = np.array([clip_id for batch in batches for clip_id in batch.ids])
    paths = np.array([path for batch in batches for path in batch.paths])
    found = ClipFeatures(ids, paths, np.concatenate([batch.labels for batch in batches]), **values)
    for vectors_of in (found.pooled, found.summaries, found.aligned):
        for modality, vectors in vectors_of.items():
            there = found.has(modality)
            require_finite(vectors[there], ids[there].tolist(), f"the network's output ({modality})")
    return found
