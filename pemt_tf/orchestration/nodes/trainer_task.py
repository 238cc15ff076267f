"""What TFX asks of a trainer, as our training functions take it.

A training has a folder of its own below the pipeline's root, which is named after everything that decides the result.
TFX gives each execution new output folders; this one stays when a run is killed, and the next run resumes from its last
checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.errors import PemtError
from pemt_tf.orchestration.nodes.artifact_paths import local_path
from pemt_tf.orchestration.nodes.training_order import TrainingOrder
from pemt_tf.training.run_directory import RunDirectory
from pemt_tf.training.strategy import split_cpu


class TrainerTask:
    """One execution of a trainer, from TFX's `FnArgs`."""

    def __init__(self, fn_args: Any):
        order = TrainingOrder(**fn_args.custom_config)
        ensure_cpu_devices(order.cpu_devices)
        self.config = Config.from_dict(order.config)
        self.source = _source(order, fn_args, self.config)
        self.work = work_folder(order, list(fn_args.train_files), fn_args.base_model)
        # the run of the trainer before this one
        self.initial = RunDirectory(local_path(fn_args.base_model)) if fn_args.base_model else None
        self.output = local_path(fn_args.serving_model_dir)
        self._run_output = local_path(fn_args.model_run_dir)

    def keep(self, run: RunDirectory) -> RunDirectory:
        """Copies the finished run into the node's output."""
        shutil.copytree(run.path, self._run_output, dirs_exist_ok=True)
        return RunDirectory(self._run_output)

    def finish(self) -> None:
        """Removes the work folder, when all outputs are written."""
        shutil.rmtree(self.work)


def work_folder(order: TrainingOrder, train_files: list[str], base_model: str | None) -> Path:
    """Where a training happens: the same folder again only for the same result."""
    decides = json.dumps([order.to_custom_config(), sorted(train_files), base_model], sort_keys=True)
    return Path(order.work) / f"{order.stage}-{hashlib.sha256(decides.encode()).hexdigest()[:16]}"


def ensure_cpu_devices(devices: int) -> None:
    """Splits the CPU, unless it is split so already: TensorFlow allows it only before its first operation."""
    if devices == 1:
        return
    try:
        split_cpu(devices)
    except PemtError:
        if len(tf.config.list_logical_devices("CPU")) != devices:
            raise


def _source(order: TrainingOrder, fn_args: Any, config: Config) -> ClipSource:
    files = {"train": tuple(sorted(tf.io.gfile.glob(fn_args.train_files)))}
    if order.validation_split:
        files[order.validation_split] = tuple(sorted(tf.io.gfile.glob(fn_args.eval_files)))
    return ClipSource(
        files=files,
        geometry=config.geometry,
        labels=tuple(order.labels),
        name=order.data,
        content_hash=order.content_hash,
        train_labels=tuple(order.train_labels),
        clips={"train": order.train_clips},
        labelled={"train": order.train_labelled},
    )
