"""How much the summary tokens attend to each segment, in the last layer of every Transformer.

The model's own calls do not keep these probabilities, so that they cost nothing in training; here the Transformers are
gone through layer by layer on a few clips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from keras import ops

from pemt_tf.layers.shared_transformer import SharedTransformer
from pemt_tf.models.av_transformer import AVTransformer

JOINT = "joint"


@dataclass(frozen=True, eq=False)
class StreamAttention:
    """What one summary token attends to, averaged over the heads of the last layer.

    Attributes:
        stream: `visual`, `audio` or `joint`, whose Transformer it is.
        summary: `visual` or `audio`, whose summary token looks.
        attended: `visual` or `audio`, whose segments it looks at.
        segments: [clips, segments] float32, probabilities.
        summaries: [clips] float32, probability of the summary token of `attended`. In one stream both sum to 1; in
            the joint one they do so over the two streams that a summary can look at.
    """

    stream: str
    summary: str
    attended: str
    segments: np.ndarray
    summaries: np.ndarray


@dataclass(frozen=True, eq=False)
class Contextualized:
    """What going through the Transformers gave.

    Attributes:
        attention: of every summary token.
        outputs: `visual_context`, `audio_context` and `joint`, as the model itself returns them.
    """

    attention: tuple[StreamAttention, ...]
    outputs: dict


def segment_attention(backbone: AVTransformer, tokens: dict, masks: dict) -> Contextualized:
    """Runs the Transformers and keeps the attention of their last layers.

    Args:
        backbone: built; not folded or folded.
        tokens: modality to [batch, segments, hidden], from `AVTransformer.tokenize`.
        masks: modality to [batch, segments], 1 where the segment is there.
    """
    matrices = backbone.matrices()
    found, outputs, contexts = [], {}, {}
    for modality, stream in tokens.items():
        sequence = backbone.summaries[modality](stream, mask=masks[modality])
        contexts[modality] = sequence
        if backbone.config.fusion != "early":
            embedded = backbone.embeddings[modality](sequence, training=False)
            transformer = backbone.transformers[modality]
            contexts[modality], weights = last_attention(
                transformer, embedded, modality, _with_summary(masks[modality]), matrices[transformer.name]
            )
            found.append(_looked(modality, modality, modality, weights[:, 0]))
        outputs[f"{modality}_context"] = contexts[modality]
    if backbone.fuses and len(tokens) == 2:
        joint, weights = _joint(backbone, contexts, masks, matrices)
        outputs[JOINT] = joint
        found += joint_attention(weights)
    return Contextualized(tuple(found), outputs)


def last_attention(transformer: SharedTransformer, x, modality: str, mask, matrices: dict):
    """Applies all layers; returns the output and the last probabilities [batch, length, length], mean over heads."""
    per_block = matrices[None if transformer.rank is None else modality]
    probabilities = None
    for index in range(transformer.layers):
        physical = index % len(transformer.blocks)
        x, probabilities = transformer.blocks[physical](
            x, modality=modality, mask=mask, matrices=per_block[physical], training=False, return_attention=True
        )
    return x, np.asarray(ops.convert_to_numpy(probabilities)).mean(axis=1)


def joint_attention(weights: np.ndarray) -> list[StreamAttention]:
    """Splits the joint Transformer's probabilities [batch, 2 (1 + segments), 2 (1 + segments)], visual part first."""
    length = weights.shape[1] // 2
    starts = {"visual": 0, "audio": length}
    return [
        _looked(JOINT, summary, attended, weights[:, starts[summary], starts[attended] : starts[attended] + length])
        for summary in starts
        for attended in starts
    ]


def _looked(stream: str, summary: str, attended: str, weights: np.ndarray) -> StreamAttention:
    """From probabilities [batch, 1 + segments], that of the summary token first."""
    return StreamAttention(stream, summary, attended, weights[:, 1:], weights[:, 0])


def _joint(backbone: AVTransformer, contexts: dict, masks: dict, matrices: dict):
    transformer = backbone.transformers[JOINT]
    embedded = [
        backbone.embeddings[JOINT](contexts[modality], token_type=token_type, training=False)
        for token_type, modality in enumerate(("visual", "audio"))
    ]
    mask = ops.concatenate([_with_summary(masks[modality]) for modality in ("visual", "audio")], axis=1)
    return last_attention(transformer, ops.concatenate(embedded, axis=1), JOINT, mask, matrices[transformer.name])


def _with_summary(mask):
    """The summary token is there if any segment is; [batch, 1 + segments]."""
    mask = ops.cast(mask, "float32")
    return ops.concatenate([ops.max(mask, axis=1, keepdims=True), mask], axis=1)
