"""Run as a program by test_training_on_gpu: pretrains with deterministic operations, with and without a stop."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.training import loop
from pemt_tf.training.pretrain import pretrain
from tests.conftest import SMALL


def stopping(batches, after: int):
    """The first batches, and then Ctrl-C."""
    for done, batch in enumerate(batches):
        if done == after:
            raise KeyboardInterrupt
        yield batch


def main(data: str, folder: str) -> None:
    """Trains both runs, and compares their weights."""
    tf.config.experimental.enable_op_determinism()
    config, source = Config.from_dict(SMALL), ClipSource.open(data)
    whole = pretrain(config, source, Path(folder, "whole"))
    read = loop.read_batches
    loop.read_batches = lambda clips: stopping(read(clips), 3)
    with contextlib.suppress(KeyboardInterrupt):
        pretrain(config, source, Path(folder, "stopped"))
    loop.read_batches = read
    steps = [path.name for path in Path(folder, "stopped/checkpoints").iterdir()]
    assert steps and "step-000000004.npz" not in steps, steps
    resumed = pretrain(config, source, Path(folder, "stopped"))
    assert resumed.weights_hash() == whole.weights_hash()


if __name__ == "__main__":
    main(*sys.argv[1:])
