"""What the nodes Pretrainer and Finetuner run: training and export.

Both train in a folder of their own below the pipeline's root, which is named after everything that decides the result.
TFX gives each execution new output folders; this one stays when a run is killed, and the next run goes on from its last
checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.errors import PemtError
from pemt_tf.export.saved_model import export_saved_model
from pemt_tf.orchestration.nodes.artifact_paths import local_path
from pemt_tf.orchestration.nodes.training_order import TrainingOrder
from pemt_tf.training.finetune import finetune
from pemt_tf.training.pretrain import pretrain
from pemt_tf.training.run_directory import BACKBONE, CONFIG, RUN, RunDirectory
from pemt_tf.training.strategy import split_cpu


def pretrain_fn(fn_args) -> None:
    """Pretrains; TFX calls it with its `FnArgs`.

    `model_run_dir` gets the run, `serving_model_dir` what fine-tuning starts from: the run's backbone.

    Raises:
        PemtError: the records or the settings do not allow it.
    """
    order, work = _begin(fn_args)
    run = pretrain(Config.from_dict(order.config), _source(order, fn_args), work)
    kept = _keep(run, fn_args.model_run_dir)
    backbone = local_path(fn_args.serving_model_dir)
    backbone.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, RUN, BACKBONE):
        shutil.copyfile(kept.path / name, backbone / name)
    shutil.rmtree(work)


def finetune_fn(fn_args) -> None:
    """Fine-tunes, from the model of Pretrainer if there is one, and exports; TFX calls it with its `FnArgs`.

    `model_run_dir` gets the run, `serving_model_dir` the SavedModel.

    Raises:
        PemtError: the records or the settings do not allow it.
    """
    order, work = _begin(fn_args)
    initial = RunDirectory(local_path(fn_args.base_model)) if fn_args.base_model else None
    run = finetune(Config.from_dict(order.config), _source(order, fn_args), work, initial=initial)
    export_saved_model(_keep(run, fn_args.model_run_dir), local_path(fn_args.serving_model_dir))
    shutil.rmtree(work)


def work_folder(order: TrainingOrder, train_files: list[str], base_model: str | None) -> Path:
    """Where a training happens: the same folder again only for the same result."""
    decides = json.dumps([order.to_custom_config(), sorted(train_files), base_model], sort_keys=True)
    return Path(order.work) / f"{order.stage}-{hashlib.sha256(decides.encode()).hexdigest()[:16]}"


def _begin(fn_args) -> tuple[TrainingOrder, Path]:
    order = TrainingOrder(**fn_args.custom_config)
    ensure_cpu_devices(order.cpu_devices)
    return order, work_folder(order, list(fn_args.train_files), fn_args.base_model)


def _source(order: TrainingOrder, fn_args) -> ClipSource:
    files = {"train": tuple(sorted(tf.io.gfile.glob(fn_args.train_files)))}
    if order.validation_split:
        files[order.validation_split] = tuple(sorted(tf.io.gfile.glob(fn_args.eval_files)))
    return ClipSource(
        files=files,
        geometry=Config.from_dict(order.config).geometry,
        labels=tuple(order.labels),
        name=order.data,
        content_hash=order.content_hash,
        train_labels=tuple(order.train_labels),
        clips={"train": order.train_clips},
        labelled={"train": order.train_labelled},
    )


def _keep(run: RunDirectory, address: str) -> RunDirectory:
    """Copies the finished run into the node's output; the work folder goes when the rest is done as well."""
    folder = local_path(address)
    shutil.copytree(run.path, folder, dirs_exist_ok=True)
    return RunDirectory(folder)


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
