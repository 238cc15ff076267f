"""What the Trainer node runs: pretraining, fine-tuning, export."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.errors import PemtError
from pemt_tf.export.saved_model import export_saved_model
from pemt_tf.training.finetune import finetune
from pemt_tf.training.pretrain import pretrain
from pemt_tf.training.strategy import split_cpu
from pipeline.training_order import TrainingOrder

PRETRAIN_FOLDER = "pretrain"
FINETUNE_FOLDER = "finetune"


def run_fn(fn_args) -> None:
    """Trains and exports; TFX calls it with its `FnArgs`.

    `model_run_dir` gets the run folders `pretrain` and `finetune`, `serving_model_dir` the SavedModel. TFX makes both
    anew for each execution, so that runs never meet in one folder.

    Raises:
        PemtError: the records or the settings do not allow it.
    """
    order = TrainingOrder(**fn_args.custom_config)
    ensure_cpu_devices(order.cpu_devices)
    config = Config.from_dict(order.config)
    source = ClipSource(
        files={"train": tuple(sorted(tf.io.gfile.glob(fn_args.train_files)))},
        geometry=config.geometry,
        labels=tuple(order.labels),
        name=order.data,
        content_hash=order.content_hash,
        train_labels=tuple(order.train_labels),
    )
    runs = Path(fn_args.model_run_dir)
    initial = pretrain(config, source, runs / PRETRAIN_FOLDER) if order.pretrains else None
    classifier = finetune(config, source, runs / FINETUNE_FOLDER, initial=initial)
    export_saved_model(classifier, Path(fn_args.serving_model_dir))


def ensure_cpu_devices(devices: int) -> None:
    """Splits the CPU, unless it is split so already: TensorFlow allows it only before its first operation.

    Raises:
        PemtError: TensorFlow runs on another number of devices.
    """
    if devices == 1:
        return
    try:
        split_cpu(devices)
    except PemtError:
        if len(tf.config.list_logical_devices("CPU")) != devices:
            raise
