"""Configuration of the model; part of `pemt_tf.config.Config`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from pemt_tf.config.allowed_values import (
    MODALITIES,
    Count,
    Positive,
    Probability,
    ResNetDepth,
    Rotation,
    RotationStorage,
    Truth,
    names,
    one_of,
)
from pemt_tf.config.checks import check_fields, require

# name: (across layers, across modalities, low rank). The paper's four rows come first
# (docs/pretraining_objectives.md section 6).
SHARING = {
    "none": (False, False, False),
    "layers": (True, False, False),
    "layers_and_modalities": (True, True, False),
    "low_rank": (True, True, True),
    "modalities": (False, True, False),
    "low_rank_unshared": (False, False, True),
    "low_rank_layers": (True, False, True),
    "low_rank_modalities": (False, True, True),
}
FUSION = ("early", "mid", "late")
SUMMARIES = ("token", "mean_pooled")


@dataclass(frozen=True)
class ModelConfig:
    """The audio-visual Transformer (docs/reference_model.md sections 1 to 8).

    Attributes:
        modalities: modalities of the model; either may also be absent at run time.
        sharing: weights that the three Transformers share; the keys of `SHARING`.
        fusion: `early` (one joint Transformer), `mid` (one per modality, then a joint one) or `late` (no joint one).
        hidden, heads, intermediate, layers: sizes of the Transformers.
        rank: width of the low-rank factor.
        rotation: how the orthogonal matrix is made from its parameter.
        rotation_storage: `strict_triangle`, only the degrees of freedom; `square`, as the released model; `folded`, for
            inference: merged with what follows it (`AVTransformer.fold`).
        initializer_std: standard deviation of the Transformer's weights at the start; the reference has 0.01, with
            which its layers begin close to the identity.
        summary: `token`, a learned summary token; `mean_pooled`, that plus the mean of all tokens.
        max_positions: rows of the position table; segments + 1 may not exceed it.
        attention_dropout, hidden_dropout: probabilities.
        visual_depth, visual_width: depth and stem channels of the 3-D ResNet.
        audio_depth, audio_width: depth and stem channels of the audio ResNet.
        remat: store less of the CNNs' forward pass and compute it again for the backward pass: about half the memory of
            a training step for 1.4 times the time. The numbers are the same.
    """

    modalities: Annotated[tuple[str, ...], names(MODALITIES, 1, "[visual], [audio] or [visual, audio]")] = MODALITIES
    sharing: Annotated[str, one_of(tuple(SHARING))] = "low_rank"
    fusion: Annotated[str, one_of(FUSION)] = "mid"
    hidden: Count = 768
    heads: Count = 12
    intermediate: Count = 3072
    layers: Count = 6
    rank: Count = 128
    rotation: Rotation = "exponential"
    rotation_storage: RotationStorage = "strict_triangle"
    initializer_std: Positive = 0.01
    summary: Annotated[str, one_of(SUMMARIES)] = "token"
    max_positions: Count = 22
    attention_dropout: Probability = 0.1
    hidden_dropout: Probability = 0.1
    visual_depth: ResNetDepth = 50
    visual_width: Count = 64
    audio_depth: ResNetDepth = 50
    audio_width: Count = 32
    remat: Truth = False

    def __post_init__(self) -> None:
        check_fields(self, "model")
        require(self.hidden % self.heads == 0, "model.hidden", self.hidden, f"a multiple of heads ({self.heads})")

    def folded(self) -> ModelConfig:
        """The configuration of this model's folded form."""
        low_rank = SHARING[self.sharing][2]
        return dataclasses.replace(self, rotation_storage="folded") if low_rank else self
