"""Configuration of the training commands; part of `pemt_tf.config.Config`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pemt_tf.config_checks import check_scalars, require, require_one_of, require_positive

NEGATIVES = ("current_sequence", "mini_batch", "cans_similar", "cans_dissimilar")
SCHEDULES = ("cosine", "linear", "constant")
OPTIMIZERS = ("adam", "adamw", "sgd")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
LOSSES = ("cross_entropy", "multi_margin")
SELECTIONS = ("last", "best_validation")
# Parts of the backbone that can be frozen. A stage means all that comes before it too: s1 is the stem.
PARTS = (
    "backbone",
    "visual_cnn",
    *(f"visual_cnn.s{stage}" for stage in range(1, 6)),
    "audio_cnn",
    *(f"audio_cnn.s{stage}" for stage in range(1, 6)),
    "tokens",
    "transformer",
)


@dataclass(frozen=True)
class TrainingConfig:
    """What every training command is told.

    Attributes:
        steps, batch_size: optimizer steps and clips per step, all devices together.
        seed: every random draw follows from it.
        optimizer: `adam`, `adamw` (with AMSGrad) or `sgd` (Nesterov, momentum 0.9), as PyTorch defines them; see
            `pemt_tf.training.optimizers`. `weight_decay`, `beta_1`, `beta_2` and `epsilon` are its numbers.
        accumulation: the batch is worked off in this many parts before one optimizer step: less memory, same step.
            Equal to the whole batch at once as far as the loss is a mean over clips. Batch statistics, negatives and
            mismatched pairs are those of a part, and a part must split over the devices.
        precision: `float32`; `mixed_bfloat16`; or `mixed_float16`, with a loss scale that adapts itself. Weights and
            optimizer stay float32.
        jit_compile: compile the step with XLA; on one device only.
        clip_norm: gradients of the whole batch are scaled down to this global norm; 0 is off.
        ema: decay of an exponential moving average of all weights, which is what the run ends with (and what is
            validated); 0 is off. Early it decays faster: min(ema, (1 + step) / (10 + step)).
        frozen: parts of the backbone that stay as they are, in inference mode (no dropout, batch statistics at rest);
            the names of `pemt_tf.training_config.PARTS`.
        log_every, checkpoint_every, keep: steps between log lines and checkpoints; checkpoints kept.
        images_every: steps between pictures of a training batch in TensorBoard, the first batch included; 0 is off.
    """

    steps: int = 1000
    batch_size: int = 32
    seed: int = 0
    optimizer: str = "adam"
    weight_decay: float = 0.0
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-6
    accumulation: int = 1
    precision: str = "float32"
    jit_compile: bool = False
    clip_norm: float = 0.0
    ema: float = 0.0
    frozen: tuple[str, ...] = ()
    log_every: int = 10
    checkpoint_every: int = 1000
    keep: int = 2
    images_every: int = 1000

    def __post_init__(self) -> None:
        check_scalars(self)
        name = type(self).__name__
        frozen = (self.frozen,) if isinstance(self.frozen, str) else tuple(self.frozen)
        object.__setattr__(self, "frozen", frozen)
        require_positive(self, "steps", "batch_size", "accumulation", "log_every", "checkpoint_every", "keep")
        require_one_of(f"{name}.optimizer", self.optimizer, OPTIMIZERS)
        require_one_of(f"{name}.precision", self.precision, PRECISIONS)
        require(
            self.batch_size % self.accumulation == 0,
            f"{name}.accumulation",
            self.accumulation,
            f"a number that splits the {self.batch_size} clips of a batch into equal parts",
        )
        for field in ("clip_norm", "images_every"):
            value = getattr(self, field)
            require(value >= 0, f"{name}.{field}", value, "0 (off) or more")
        require(0 <= self.ema < 1, f"{name}.ema", self.ema, "0 (off) to below 1, as 0.999")
        for part in self.frozen:
            require(part in PARTS, f"{name}.frozen", part, ", ".join(PARTS))

    @property
    def part_size(self) -> int:
        """Clips that go through the model at once, all devices together."""
        return self.batch_size // self.accumulation


@dataclass(frozen=True)
class PretrainConfig(TrainingConfig):
    """Pretraining without labels (PRETRAINING.md). Fields marked ours are choices the paper does not state.

    Attributes:
        steps, batch_size: optimizer steps and global batch size (clips).
        learning_rate, warmup_fraction, schedule: peak; linear warm-up over that share of the steps, then a half-period
            cosine (ours, all three).
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
        optimizer: the paper's is `adamw`.
        steps and the fields not named here: see `TrainingConfig`.
    """

    steps: int = 220_000
    batch_size: int = 256
    learning_rate: float = 1e-4
    warmup_fraction: float = 0.06
    schedule: str = "cosine"
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
    optimizer: str = "adamw"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "learning_rate", "negative_count", "projection")
        require_one_of("PretrainConfig.negatives", self.negatives, NEGATIVES)
        require_one_of("PretrainConfig.schedule", self.schedule, SCHEDULES)
        require(
            self.batch_size >= 2, "PretrainConfig.batch_size", self.batch_size, "2 or more (negatives need company)"
        )
        allowed = f"parts of 2 clips or more of the {self.batch_size} of a batch (negatives need company)"
        require(self.part_size >= 2, "PretrainConfig.accumulation", self.accumulation, allowed)
        self._check_groups()
        for name in ("mask_rate", "negative_band"):
            value = getattr(self, name)
            require(0 < value <= 1, f"PretrainConfig.{name}", value, "a share above 0, at most 1")

    def _check_groups(self) -> None:
        groups, batch = self.negative_groups, self.part_size
        fits = groups >= 0 and (groups == 0 or (batch % groups == 0 and batch // groups >= 2))
        require(
            fits,
            "PretrainConfig.negative_groups",
            groups,
            f"0 (a group per device), or a number that splits {batch} clips, what the model sees at once, into equal "
            "groups of 2 or more",
        )
        alone = not self.gather_negatives or groups <= 1
        require(alone, "PretrainConfig.negative_groups", groups, "0 or 1 with gather_negatives, which is one group")


@dataclass(frozen=True)
class FinetuneConfig(TrainingConfig):
    """Supervised fine-tuning (REFERENCE.md section 13, Kinetics-Sounds column by default).

    Attributes:
        steps, batch_size: optimizer steps and global batch size (clips).
        base_learning_rate: for the heads; `finetune_learning_rate` for the pretrained backbone (0 freezes it).
        weight_decay: L2 added to the gradient of everything but batch normalization.
        schedule, warmup_fraction: learning-rate schedule.
        head_dropout: dropout in the heads.
        streams: what the classifier looks at, of the model's modalities (ours: none named is all). The others are
            passed over in training and ever after, as where a clip does not have them.
        labels_per_class: train on so many clips of each label, drawn by `seed` (ours: 0 is all of them).
        label_smoothing: share of a label's weight that all classes get alike (ours: 0 is off).
        mixup: clips are mixed with others of the batch, inputs and labels, with weights from Beta(mixup, mixup) (ours:
            0 is off). A clip is mixed only with one that has the same streams, among those that a device sees at once.
        loss: `cross_entropy`; or `multi_margin`, the authors' for ESC-50, with `margin`.
        select: which weights the run ends with: `last`; or `best_validation`, those with the highest accuracy on
            `validation_split` (then the lowest loss there, then the earliest), looked at every `validate_every` steps
            and at the end. Never the test split: a score that chose the model says nothing about it.
        steps and the fields not named here: see `TrainingConfig`.
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
    streams: tuple[str, ...] = ()
    labels_per_class: int = 0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    loss: str = "cross_entropy"
    margin: float = 0.1
    select: str = "last"
    validate_every: int = 100
    validation_split: str = "validation"
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "base_learning_rate", "margin", "validate_every")
        object.__setattr__(self, "streams", tuple(self.streams))
        require(self.labels_per_class >= 0, "FinetuneConfig.labels_per_class", self.labels_per_class, "0 (all) or more")
        require_one_of("FinetuneConfig.schedule", self.schedule, SCHEDULES)
        require_one_of("FinetuneConfig.loss", self.loss, LOSSES)
        require_one_of("FinetuneConfig.select", self.select, SELECTIONS)
        require(
            self.validation_split not in ("test", "train", ""),
            "FinetuneConfig.validation_split",
            self.validation_split,
            "a split that is neither trained on nor tested on, as 'validation'",
        )
        require(
            self.loss == "cross_entropy" or not self.label_smoothing,
            "FinetuneConfig.label_smoothing",
            self.label_smoothing,
            "0 with loss multi_margin, which knows no smoothed labels",
        )
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
