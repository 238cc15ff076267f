"""How much the summary tokens attend to each segment, in the last layer of every Transformer.

The model's own calls do not keep these probabilities. Here the Transformers run layer by layer on a few clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from keras import KerasTensor, ops

from pemt_tf.layers.shared_transformer import SharedTransformer
from pemt_tf.models.av_transformer import AVTransformer

JOINT = "joint"
Tensor: TypeAlias = KerasTensor  # or an eager tensor, for which Keras has no name


@dataclass(frozen=True, eq=False)
class SummaryAttention:
    """What one summary token attends to, averaged over the heads of the last layer."""

    transformer: str  # `visual`, `audio` or `joint`
    summary: str  # `visual` or `audio`, the modality of the summary token
    attended: str  # `visual` or `audio`, the modality of the segments that it attends to
    segments: np.ndarray  # [clips, segments] float32, probabilities; a token's sum to 1 in each Transformer
    summaries: np.ndarray  # [clips] float32, probability of the summary token of `attended`


def segment_attention(
    backbone: AVTransformer, tokens: dict[str, Tensor], masks: dict[str, Tensor]
) -> tuple[list[SummaryAttention], dict[str, Tensor]]:
    """Runs the Transformers of a built model, folded or not, and keeps the attention of their last layers.

    `tokens` are by modality [batch, segments, hidden], from `AVTransformer.tokenize`, `masks` [batch, segments]. Also
    returns the outputs `visual_context`, `audio_context` and `joint`, which are those of the model's own call.
    """
    matrices = backbone.matrices()
    found, outputs, contexts = [], {}, {}
    for modality, segments in tokens.items():
        sequence = backbone.summaries[modality](segments, mask=masks[modality])
        contexts[modality] = sequence
        if backbone.config.fusion != "early":
            embedded = backbone.embeddings[modality](sequence, training=False)
            transformer = backbone.transformers[modality]
            contexts[modality], weights = last_attention(
                transformer, embedded, modality, _with_summary(masks[modality]), matrices[transformer.name]
            )
            found.append(_attention_of(modality, modality, modality, weights[:, 0]))
        outputs[f"{modality}_context"] = contexts[modality]
    if backbone.fuses and len(tokens) == 2:
        joint, weights = _joint(backbone, contexts, masks, matrices)
        outputs[JOINT] = joint
        found += joint_attention(weights)
    return found, outputs


def last_attention(
    transformer: SharedTransformer, x: Tensor, modality: str, mask: Tensor, matrices: dict
) -> tuple[Tensor, np.ndarray]:
    """Applies all layers; returns the output and the last probabilities [batch, length, length], mean over heads."""
    per_block = matrices[None if transformer.rank is None else modality]
    probabilities = None
    for index in range(transformer.layers):
        physical = index % len(transformer.blocks)
        x, probabilities = transformer.blocks[physical](
            x, modality=modality, mask=mask, matrices=per_block[physical], training=False, return_attention=True
        )
    return x, np.asarray(ops.convert_to_numpy(probabilities)).mean(axis=1)


def joint_attention(weights: np.ndarray) -> list[SummaryAttention]:
    """Splits the joint Transformer's probabilities [batch, 2 (1 + segments), 2 (1 + segments)], visual part first."""
    length = weights.shape[1] // 2
    starts = {"visual": 0, "audio": length}
    return [
        _attention_of(JOINT, summary, attended, weights[:, starts[summary], first : first + length])
        for summary in starts
        for attended, first in starts.items()
    ]


def _attention_of(transformer: str, summary: str, attended: str, weights: np.ndarray) -> SummaryAttention:
    """From probabilities [batch, 1 + segments], that of the summary token first."""
    return SummaryAttention(transformer, summary, attended, weights[:, 1:], weights[:, 0])


def _joint(
    backbone: AVTransformer, contexts: dict[str, Tensor], masks: dict[str, Tensor], matrices: dict
) -> tuple[Tensor, np.ndarray]:
    transformer = backbone.transformers[JOINT]
    embedded = [
        backbone.embeddings[JOINT](contexts[modality], token_type=token_type, training=False)
        for token_type, modality in enumerate(("visual", "audio"))
    ]
    mask = ops.concatenate([_with_summary(masks[modality]) for modality in ("visual", "audio")], axis=1)
    return last_attention(transformer, ops.concatenate(embedded, axis=1), JOINT, mask, matrices[transformer.name])


def _with_summary(mask: Tensor) -> Tensor:
    """The summary token is there if any segment is; [batch, 1 + segments]."""
    mask = ops.cast(mask, "float32")
    return ops.concatenate([ops.max(mask, axis=1, keepdims=True), mask], axis=1)
