"""Audio-visual alignment: a symmetric InfoNCE loss that brings a clip's frames and its audio together in one space.

docs/pretraining_objectives.md section 8; the loss is that of CLIP (Radford et al., ICML 2021).
"""

from __future__ import annotations

import math

import keras
from keras import KerasTensor, ops

from pemt_tf.config.allowed_values import Count
from pemt_tf.config.argument_checks import check_arguments
from pemt_tf.layers.replicas import gather_rows, replica_count, replica_index
from pemt_tf.losses.masked_statistics import masked_mean

MODALITIES = ("visual", "audio")
FIRST_SCALE, LARGEST_SCALE = 1 / 0.07, 100.0  # CLIP's
_SHORTEST = 1e-12  # squared length; zeros stay zeros, with a gradient of 0
_EXCLUDED = -1e30


@keras.saving.register_keras_serializable("pemt_tf")
class AlignedSpace(keras.layers.Layer):
    """A common space of frames and audio: a linear map of each modality's embedding, scaled to length 1.

    The embedding of a modality is the mean of the outputs of its own Transformer over the segments that are there
    (ours), so that it does not depend on the other modality. `scale` is the learned inverse temperature of the loss.

    Args:
        hidden: width of the Transformers' outputs.
        width: width of the space.
    """

    @check_arguments
    def __init__(self, hidden: Count, width: Count = 128, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.width = hidden, width
        self.projections = {
            modality: keras.layers.Dense(width, use_bias=False, dtype=self.dtype_policy, name=f"{modality}_projection")
            for modality in MODALITIES
        }

    def build(self, input_shape: tuple | None = None) -> None:
        for projection in self.projections.values():
            projection.build((None, self.hidden))
        first = keras.initializers.Constant(math.log(FIRST_SCALE))
        self.log_scale = self.add_weight(name="log_scale", shape=(), initializer=first, dtype="float32", autocast=False)
        self.built = True

    @property
    def scale(self) -> KerasTensor:
        """Factor of the cosines, 1 / temperature; scalar float32, at most 100.

        CLIP clips its logarithm after each step. Here a logarithm beyond the limit is mirrored at it, which has the
        same range and needs no clipping: the gradient leads back.
        """
        limit = math.log(LARGEST_SCALE)
        return ops.exp(limit - ops.abs(limit - ops.convert_to_tensor(self.log_scale)))

    def call(self, contexts: dict[str, KerasTensor], masks: dict[str, KerasTensor] | None = None) -> dict:
        """Places clips in the space.

        Args:
            contexts: modality to [batch, 1 + segments, hidden], outputs of its Transformer, summary first.
            masks: modality to [batch, segments], 1 for segments that are there; a missing one has all.

        Returns:
            Modality to [batch, width] float32 of length 1; zeros for a clip without any segment of the modality.
        """
        masks = masks or {}
        return {m: self._place(m, context, masks.get(m)) for m, context in contexts.items()}

    def _place(self, modality: str, context: KerasTensor, mask: KerasTensor | None) -> KerasTensor:
        segments = ops.cast(context[:, 1:], "float32")
        if mask is None:
            embedding = ops.mean(segments, axis=1)
        else:
            there = ops.cast(mask, "float32")[..., None]
            embedding = ops.sum(segments * there, axis=1) / ops.maximum(ops.sum(there, axis=1), 1.0)
        projected = ops.cast(self.projections[modality](embedding), "float32")
        squared = ops.sum(ops.square(projected), axis=-1, keepdims=True)
        return projected * ops.rsqrt(ops.maximum(squared, _SHORTEST))

    def get_config(self) -> dict:
        return {**super().get_config(), "hidden": self.hidden, "width": self.width}


def symmetric_info_nce(
    visual: KerasTensor,
    audio: KerasTensor,
    scale: KerasTensor | float,
    counted: KerasTensor | None = None,
    groups: int = 1,
    gather: bool = False,
) -> tuple[KerasTensor, KerasTensor]:
    """-log of the softmax over scaled cosines at a clip's own counterpart, from frames to audio and back.

    Args:
        visual, audio: [clips, width] vectors of length 1, the clips of this replica.
        scale: factor of the cosines.
        counted: [clips] float32, 1 for clips with both modalities; the others are no anchors and no candidates. None
            counts all.
        groups: number of equal groups of neighbours among these clips; candidates come from a clip's own group.
        gather: take candidates from the clips of all replicas, as one group.

    Returns:
        The loss, mean over both directions and the clips that count; and the share of them, mean over both directions,
        whose counterpart beats all other candidates. Both scalar float32; with replicas they are this one's share:
        their means over replicas are those of the global batch.
    """
    clips = visual.shape[0]
    sides = [ops.reshape(side, (groups, clips // groups, -1)) for side in (visual, audio)]
    candidates, there, first = sides, counted, 0
    if gather:
        candidates = [gather_rows(side)[None] for side in (visual, audio)]
        there = None if counted is None else gather_rows(counted)
        first = replica_index() * clips if replica_count() > 1 else 0
    own = _own(clips // groups, candidates[0].shape[1], first)
    there = None if there is None else ops.reshape(there, (groups, 1, -1)) > 0
    found = [
        _one_direction(scale * ops.matmul(anchors, ops.swapaxes(others, 1, 2)), own, there)
        for anchors, others in zip(sides, reversed(candidates), strict=True)
    ]
    loss, accuracy = (ops.reshape((a + b) / 2.0, (-1,)) for a, b in zip(*found, strict=True))
    return masked_mean(loss, counted), masked_mean(accuracy, counted)


def _own(anchors: int, candidates: int, first: int | KerasTensor) -> KerasTensor:
    """[anchors, candidates] bool, true where the candidate is the anchor's own; anchor 0's is candidate `first`."""
    places = ops.arange(anchors, dtype="int32") + first
    return ops.equal(places[:, None], ops.arange(candidates, dtype="int32")[None, :])


def _one_direction(logits: KerasTensor, own: KerasTensor, there: KerasTensor | None) -> tuple[KerasTensor, KerasTensor]:
    """Loss and whether the own candidate wins, [groups, anchors] float32; `there` is [groups, 1, candidates] bool."""
    positive = ops.sum(ops.where(own, logits, 0.0), axis=-1)
    if there is not None:
        logits = ops.where(there, logits, _EXCLUDED)
    others = ops.max(ops.where(own, _EXCLUDED, logits), axis=-1)
    return ops.logsumexp(logits, axis=-1) - positive, ops.cast(positive > others, "float32")
