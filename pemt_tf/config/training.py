"""Configuration of the training commands; part of `pemt_tf.config.Config`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pemt_tf.config.allowed_values import (
    MODALITIES,
    Count,
    NotNegative,
    Positive,
    PositiveShare,
    Probability,
    Seed,
    Share,
    Text,
    Truth,
    names,
    number,
    one_of,
    truth_or,
    whole,
)
from pemt_tf.config.checks import check_fields, require

NEGATIVES = ("current_sequence", "mini_batch", "cans_similar", "cans_dissimilar")
SIMILARITIES = ("product", "cosine")
SCHEDULES = ("cosine", "linear", "constant")
OPTIMIZERS = ("adam", "adamw", "sgd")
KERNELS = ("auto", "cpu", "gpu", "plain")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
LOSSES = ("cross_entropy", "multi_margin")
SINGLE, MULTIPLE = "single", "multiple"
LABELS = (SINGLE, MULTIPLE)
PREDICTIONS = {SINGLE: "probabilities", MULTIPLE: "scores"}  # the classifier's output
SAMPLING = ("clips", "classes")
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

_FROM_0 = Annotated[int, whole(0, allowed="a whole number, 0 (off) or more")]
_STEPS_PER_CALL = Annotated[int, whole(0, allowed="0 (chosen by the device) or more")]
_OFF_OR_MORE = Annotated[float, number(0, allowed="a finite number, 0 (off) or more")]
_OFF_TO_1 = Annotated[float, number(0, below=1, allowed="0 (off) to below 1, as 0.999")]
_GROUPS = (
    "0 (a group per device), or a number that splits {}, what the model sees at once, into equal groups of 2 or more"
)


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of every training command.

    Attributes:
        steps, batch_size: optimizer steps, and clips per step on all devices together.
        seed: random seed of the whole run.
        optimizer: `adam`, `adamw` (with AMSGrad) or `sgd` (Nesterov, momentum 0.9), as PyTorch defines them; see
            `pemt_tf.training.optimizers`. `weight_decay`, `beta_1`, `beta_2` and `epsilon` are its numbers.
        accumulation: number of parts in which a batch is processed before one optimizer step: less memory, same step.
            It equals the whole batch at once as far as the loss is a mean over clips. Batch statistics, negatives and
            mismatched pairs are those of a part, and a part must split over the devices.
        precision: `float32`; `mixed_bfloat16`; or `mixed_float16`, with a loss scale that adapts itself. Weights and
            optimizer stay float32.
        jit_compile: what XLA compiles: `false`, nothing; `transformer`, its layers, each by itself; `true`, the whole
            step, on one device only. The numbers are equal up to rounding, but dropout draws other masks.
        steps_per_call: largest number of steps that TensorFlow does without coming back to Python; 0 chooses (1 on a
            CPU, up to 8 on a GPU if batches are small). More than 1 needs `accumulation` 1 and another precision than
            `mixed_float16`. The results are the same; a loss that is not a number is noticed at the end of the call.
        kernels: for which device batch norm, convolutions, optimizer, batches and calls are arranged
            (`pemt_tf.device_choices`): `auto`, the visible one; `cpu`, `gpu` or `plain` (single operations) on any
            device. The numbers are equal up to rounding. On a GPU, `cpu` has batch norm in single operations, because
            cuDNN takes no given statistics.
        clip_norm: largest global norm of the gradients of the whole batch; 0 is off.
        ema: decay of an exponential moving average of all weights, which the run validates and ends with; 0 is off.
            Early it decays faster: min(ema, (1 + step) / (10 + step)).
        frozen: parts of the backbone that are not trained and run in inference mode (no dropout, fixed batch
            statistics); the names of `pemt_tf.config.training.PARTS`.
        log_every, checkpoint_every: steps between log lines, and between checkpoints.
        keep: number of checkpoints to keep.
        images_every: steps between images of a training batch in TensorBoard, the first batch included; 0 is off.
        schedule, warmup_fraction: learning rate over the steps, after a linear warm-up over that share of them.
    """

    section: ClassVar[str] = "training"

    steps: Count = 1000
    batch_size: Count = 32
    seed: Seed = 0
    optimizer: Annotated[str, one_of(OPTIMIZERS)] = "adam"
    weight_decay: NotNegative = 0.0
    beta_1: Probability = 0.9
    beta_2: Probability = 0.999
    epsilon: Positive = 1e-6
    accumulation: Count = 1
    precision: Annotated[str, one_of(PRECISIONS)] = "float32"
    jit_compile: Annotated[bool | str, truth_or("transformer")] = False
    steps_per_call: _STEPS_PER_CALL = 0
    kernels: Annotated[str, one_of(KERNELS)] = "auto"
    clip_norm: _OFF_OR_MORE = 0.0
    ema: _OFF_TO_1 = 0.0
    frozen: Annotated[tuple[str, ...], names(PARTS)] = ()
    log_every: Count = 10
    checkpoint_every: Count = 1000
    keep: Count = 2
    images_every: _FROM_0 = 1000
    schedule: Annotated[str, one_of(SCHEDULES)] = "cosine"
    warmup_fraction: Share = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.frozen, str):
            object.__setattr__(self, "frozen", (self.frozen,))
        check_fields(self, self.section)
        allowed = f"a number that splits the {self.batch_size} clips of a batch into equal parts"
        fits = self.batch_size % self.accumulation == 0
        require(fits, f"{self.section}.accumulation", self.accumulation, allowed)
        alone = self.accumulation == 1 and self.precision != "mixed_float16"
        allowed = "0 or 1 with accumulation or mixed_float16, whose steps come back to Python"
        fits = self.steps_per_call <= 1 or alone
        require(fits, f"{self.section}.steps_per_call", self.steps_per_call, allowed)

    @property
    def part_size(self) -> int:
        """Clips that go through the model at once, all devices together."""
        return self.batch_size // self.accumulation

    @property
    def warmup_steps(self) -> int:
        """Length of the warm-up, steps."""
        return math.floor(self.steps * self.warmup_fraction)


@dataclass(frozen=True)
class PretrainConfig(TrainingConfig):
    """Pretraining without labels (docs/pretraining_objectives.md).

    Fields marked ours are choices that the paper does not state.

    Attributes:
        learning_rate: highest learning rate. It, the warm-up and the cosine schedule are ours.
        mask_rate: share of tokens masked per modality, at least one (ours).
        negatives: how negatives are sampled.
        negative_count: number of negatives, or all that remain (ours).
        negative_band: central share of distances from which negatives come.
        gather_negatives: under data parallelism, take negatives and mismatched pairs from the clips of all devices
            (ours: False, from the device's own clips). On one device both are the same.
        negative_groups: number of groups of neighbouring clips in a batch; negatives and mismatched pairs come from a
            clip's own group (ours: 0, a group per device). With it, one device computes what that many devices do.
        projection: output width of the compatibility network.
        similarity: how masked embedding prediction compares an output with a target: `product`, the paper's; or
            `cosine` (ours), a cosine with a learned scale and standardized targets, with which small models begin to
            learn sooner (docs/pretraining_objectives.md section 2).
        pair_weight: weight alpha of the correct-pair loss (ours: 1).
        alignment_weight: weight of the loss that brings a clip's frames and audio together in one space, in which
            `pemt search --aligned` finds one by the other (ours: 0 is off; needs both modalities).
        alignment_width: width of that space (ours).
        stop_target_gradient: keep gradients out of the targets of masked embedding prediction (ours; the paper's set-up
            is False).
    The other fields are those of `TrainingConfig`; AdamW with AMSGrad and its numbers are the paper's.
    """

    section: ClassVar[str] = "pretrain"

    steps: Count = 220_000
    batch_size: Annotated[int, whole(2, allowed="2 or more, because negatives come from other clips")] = 256
    learning_rate: Positive = 1e-4
    warmup_fraction: Share = 0.06
    weight_decay: NotNegative = 1e-4
    beta_2: Probability = 0.98
    mask_rate: PositiveShare = 0.15
    negatives: Annotated[str, one_of(NEGATIVES)] = "cans_similar"
    negative_count: Count = 64
    negative_band: PositiveShare = 0.95
    gather_negatives: Truth = False
    negative_groups: Annotated[int, whole(0, allowed=_GROUPS.format("a batch"))] = 0
    projection: Count = 256
    similarity: Annotated[str, one_of(SIMILARITIES)] = "product"
    pair_weight: _OFF_OR_MORE = 1.0
    alignment_weight: _OFF_OR_MORE = 0.0
    alignment_width: Count = 128
    stop_target_gradient: Truth = False
    optimizer: Annotated[str, one_of(OPTIMIZERS)] = "adamw"

    def __post_init__(self) -> None:
        super().__post_init__()
        groups, batch = self.negative_groups, self.part_size
        allowed = f"parts of 2 clips or more of the {self.batch_size} of a batch, because negatives come from others"
        require(batch >= 2, "pretrain.accumulation", self.accumulation, allowed)
        fits = groups == 0 or (batch % groups == 0 and batch // groups >= 2)
        require(fits, "pretrain.negative_groups", groups, _GROUPS.format(f"{batch} clips"))
        alone = not self.gather_negatives or groups <= 1
        require(alone, "pretrain.negative_groups", groups, "0 or 1 with gather_negatives, which is one group")


@dataclass(frozen=True)
class FinetuneConfig(TrainingConfig):
    """Supervised fine-tuning (docs/reference_model.md section 13, Kinetics-Sounds column by default).

    Attributes:
        base_learning_rate: learning rate of the heads.
        finetune_learning_rate: learning rate of the pretrained backbone; 0 freezes it.
        weight_decay: L2 added to the gradient of everything but batch normalization.
        head_dropout: dropout in the heads.
        streams: modalities that the classifier uses, of the model's (ours: none named is all). The others are ignored
            in training and afterwards, as where a clip lacks them.
        labels: `single`, a clip's first label, of which one is predicted; or `multiple`, all its labels, each predicted
            by itself (ours): the loss is then the binary cross-entropy, a mean over labels, and validation measures
            the mean average precision. A clip without any label is not used.
        sampling: what comes equally often in training: `clips`; or `classes` (ours), each label by itself, so that a
            rare one is seen as often as a frequent one. It needs local record files without compression.
        labels_per_class: number of clips of each label to train on, sampled with `seed` (ours: 0 is all of them).
        label_smoothing: share of a label's weight that is spread evenly over all classes (ours: 0 is off); with several
            labels, over its presence and absence.
        mixup: clips are mixed with others of the batch, inputs and labels, with weights from Beta(mixup, mixup) (ours:
            0 is off). A clip is mixed only with one that has the same modalities, among those that a device sees at
            once.
        loss: `cross_entropy`; or `multi_margin`, the authors' for ESC-50, with `margin`.
        select: weights that the run ends with: `last`; or `best_validation`, those with the highest accuracy (with
            several labels, mean average precision) on `validation_split`, then the lowest loss there, then the
            earliest, measured every `validate_every` steps and at the end. Never the test split: a score that chose
            the model says nothing about it.
    The other fields are those of `TrainingConfig`.
    """

    section: ClassVar[str] = "finetune"

    steps: Count = 4000
    batch_size: Count = 5
    base_learning_rate: Positive = 1e-3
    finetune_learning_rate: Annotated[float, number(0, allowed="a finite number, 0 (frozen backbone) or more")] = 1e-4
    weight_decay: NotNegative = 5e-6
    head_dropout: Probability = 0.5
    streams: Annotated[tuple[str, ...], names(MODALITIES)] = ()
    labels: Annotated[str, one_of(LABELS)] = SINGLE
    sampling: Annotated[str, one_of(SAMPLING)] = "clips"
    labels_per_class: Annotated[int, whole(0, allowed="a whole number, 0 (all) or more")] = 0
    label_smoothing: Annotated[float, number(0, below=1, allowed="0 (off) to below 1")] = 0.0
    mixup: _OFF_OR_MORE = 0.0
    loss: Annotated[str, one_of(LOSSES)] = "cross_entropy"
    margin: Positive = 0.1
    select: Annotated[str, one_of(SELECTIONS)] = "last"
    validate_every: Count = 100
    validation_split: Text = "validation"
    checkpoint_every: Count = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        split, smoothing = self.validation_split, self.label_smoothing
        allowed = "a split that is neither trained on nor tested on, as 'validation'"
        require(split not in ("test", "train"), "finetune.validation_split", split, allowed)
        smooth = self.loss == "cross_entropy" or not smoothing
        allowed = "0 with loss multi_margin, which knows no smoothed labels"
        require(smooth, "finetune.label_smoothing", smoothing, allowed)
        fits = self.labels == SINGLE or self.loss == "cross_entropy"
        require(fits, "finetune.loss", self.loss, "cross_entropy with finetune.labels multiple")

    @property
    def several(self) -> bool:
        """Whether a clip may have several labels."""
        return self.labels == MULTIPLE
