"""What the nodes Pretrainer and Finetuner run: training and export. TFX calls both functions with its `FnArgs`."""

from __future__ import annotations

import shutil
from typing import Any

from pemt_tf.export.saved_model import export_saved_model
from pemt_tf.orchestration.nodes.trainer_task import TrainerTask
from pemt_tf.training.finetune import finetune
from pemt_tf.training.pretrain import pretrain
from pemt_tf.training.run_directory import BACKBONE, CONFIG, RUN


def pretrain_fn(fn_args: Any) -> None:
    """Pretrains. The node's `model` is what fine-tuning starts from: the run's backbone.

    Raises:
        PemtError: the records or the settings do not allow it.
    """
    task = TrainerTask(fn_args)
    run = task.keep(pretrain(task.config, task.source, task.work))
    task.output.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, RUN, BACKBONE):
        shutil.copyfile(run.path / name, task.output / name)
    task.finish()


def finetune_fn(fn_args: Any) -> None:
    """Fine-tunes, from the Pretrainer's backbone if there is one. The node's `model` is the SavedModel.

    Raises:
        PemtError: the records or the settings do not allow it.
    """
    task = TrainerTask(fn_args)
    run = task.keep(finetune(task.config, task.source, task.work, initial=task.initial))
    export_saved_model(run, task.output)
    task.finish()
