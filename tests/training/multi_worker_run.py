"""Run as a program by test_multi_worker: one of several workers that pretrain together on this machine.

It is `pemt pretrain` with TF_CONFIG set, but it can end itself in the middle as by `kill -9`, and at the
end it stores every variable of the run as this worker has it.
"""

from __future__ import annotations

import os
import signal
import sys

import numpy as np
import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.errors import PemtError
from pemt_tf.terminal.progress import Progress
from pemt_tf.training import loop
from pemt_tf.training import pretrain as pretraining
from tests.conftest import SMALL
from tests.training.small_cnns import use_small_cnns

OVERRIDES = [
    "model.attention_dropout=0",
    "model.hidden_dropout=0",
    "model.layers=1",
    "pretrain.gather_negatives=true",
    "pretrain.steps=3",
    "pretrain.log_every=1",
    "pretrain.checkpoint_every=1",
    "pretrain.keep=3",
]


def config() -> Config:
    """Of every run that is compared."""
    return Config.from_dict(SMALL).with_overrides(OVERRIDES)


def kill_after(step: int) -> None:
    """Ends this process without warning when a step is done, before its checkpoint."""
    update = Progress.update

    def updating(self, done, detail=""):
        update(self, done, detail)
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    Progress.update = updating


def main(data: str, run: str, own: str, killed_after: str) -> int:
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # saves time
    use_small_cnns()
    if int(killed_after):
        kill_after(int(killed_after))
    train = loop.train

    def training(task, directory, strategy):
        train(task, directory, strategy)
        np.savez(own, *[np.asarray(v) for v in task.state], replicas=strategy.num_replicas_in_sync)

    loop.train = training
    try:
        pretraining.pretrain(config(), ClipSource.open(data), run)
    except PemtError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.stderr.flush()
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
