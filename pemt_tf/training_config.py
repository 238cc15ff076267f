"""Configuration of the training commands; part of `pemt_tf.config.Config`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pemt_tf.config_checks import check_scalars, require, require_one_of, require_positive

NEGATIVES = ("current_sequence", "mini_batch", "cans_similar", "cans_dissimilar")
SCHEDULES = ("cosine", "linear", "constant")


@dataclass(frozen=True)
class PretrainConfig:
    """Pretraining without labels (PRETRAINING.md). Fields marked ours are choices the paper does not state.

    Attributes:
        steps, batch_size: optimizer steps and global batch size (clips).
        learning_rate: peak; linear warm-up over `warmup_fraction` of the steps, then half-period cosine (ours).
        weight_decay, beta_1, beta_2, epsilon: AdamW with AMSGrad, as the paper.
        mask_rate: share of tokens masked per stream, at least one (ours).
        negatives: how negatives are drawn; `negative_count` of them or all that remain (count ours).
        negative_band: central share of distances from which negatives come.
        gather_negatives: under data parallelism, take negatives and mismatched pairs from the clips of all devices
            (ours: False, from the device's own clips). On one device both are the same.
        negative_groups: the batch falls into this many groups of neighbouring clips, and negatives and mismatched pairs
            come from a clip's own group (ours: 0, a group per device). With it, one device computes what that many
            devices do.
        projection: output width of the compatibility network.
        pair_weight: weight alpha of the correct-pair loss (ours: 1).
        stop_target_gradient: keep gradients out of the MEP targets (ours; the paper's set-up is False).
        seed: every random draw follows from it.
        log_every, checkpoint_every, keep: steps between log lines and checkpoints; checkpoints kept.
    """

    steps: int = 220_000
    batch_size: int = 256
    learning_rate: float = 1e-4
    warmup_fraction: float = 0.06
    weight_decay: float = 1e-4
    beta_1: float = 0.9
    beta_2: float = 0.98
    epsilon: float = 1e-6
    mask_rate: float = 0.15
    negatives: str = "cans_similar"
    negative_count: int = 64
    negative_band: float = 0.95
    gather_negatives: bool = False
    negative_groups: int = 0
    projection: int = 256
    pair_weight: float = 1.0
    stop_target_gradient: bool = False
    seed: int = 0
    log_every: int = 10
    checkpoint_every: int = 1000
    keep: int = 2

    def __post_init__(self) -> None:
        check_scalars(self)
        require_positive(self, "steps", "batch_size", "learning_rate", "negative_count", "projection")
        require_positive(self, "log_every", "checkpoint_every", "keep")
        require_one_of("PretrainConfig.negatives", self.negatives, NEGATIVES)
        require(
            self.batch_size >= 2, "PretrainConfig.batch_size", self.batch_size, "2 or more (negatives need company)"
        )
        self._check_groups()
        for name in ("mask_rate", "negative_band"):
            value = getattr(self, name)
            require(0 < value <= 1, f"PretrainConfig.{name}", value, "a share above 0, at most 1")

    def _check_groups(self) -> None:
        groups, batch = self.negative_groups, self.batch_size
        fits = groups >= 0 and (groups == 0 or (batch % groups == 0 and batch // groups >= 2))
        require(
            fits,
            "PretrainConfig.negative_groups",
            groups,
            f"0 (a group per device), or a number that splits the {batch} clips of a batch into equal groups of 2 or "
            "more",
        )
        alone = not self.gather_negatives or groups <= 1
        require(alone, "PretrainConfig.negative_groups", groups, "0 or 1 with gather_negatives, which is one group")


@dataclass(frozen=True)
class FinetuneConfig:
    """Supervised fine-tuning (REFERENCE.md section 13, Kinetics-Sounds column by default).

    Attributes:
        steps, batch_size: optimizer steps and global batch size (clips).
        base_learning_rate: for the heads; `finetune_learning_rate` for the pretrained backbone (0 freezes it).
        weight_decay: L2 added to the gradient of everything but batch normalization.
        schedule, warmup_fraction: learning-rate schedule.
        head_dropout: dropout in the heads.
        label_smoothing: share of a label's weight that all classes get alike (ours: 0 is off).
        mixup: clips are mixed with others of the batch, inputs and labels, with weights from Beta(mixup, mixup) (ours:
            0 is off). A clip is mixed only with one that has the same streams, of the same replica's batch.
        seed, log_every, checkpoint_every, keep: as in `PretrainConfig`.
    """

    steps: int = 4000
    batch_size: int = 5
    base_learning_rate: float = 1e-3
    finetune_learning_rate: float = 1e-4
    weight_decay: float = 5e-6
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-6
    schedule: str = "cosine"
    warmup_fraction: float = 0.0
    head_dropout: float = 0.5
    label_smoothing: float = 0.0
    mixup: float = 0.0
    seed: int = 0
    log_every: int = 10
    checkpoint_every: int = 500
    keep: int = 2

    def __post_init__(self) -> None:
        check_scalars(self)
        require_positive(self, "steps", "batch_size", "base_learning_rate", "log_every", "checkpoint_every", "keep")
        require_one_of("FinetuneConfig.schedule", self.schedule, SCHEDULES)
        require(
            self.finetune_learning_rate >= 0,
            "FinetuneConfig.finetune_learning_rate",
            self.finetune_learning_rate,
            "0 (frozen backbone) or more",
        )
        for name in ("head_dropout", "label_smoothing"):
            value = getattr(self, name)
            require(0 <= value < 1, f"FinetuneConfig.{name}", value, "0 to below 1")
        require(self.mixup >= 0, "FinetuneConfig.mixup", self.mixup, "0 (off) or more")


def warmup_steps(steps: int, fraction: float) -> int:
    """Warm-up length in steps."""
    return math.floor(steps * fraction)
