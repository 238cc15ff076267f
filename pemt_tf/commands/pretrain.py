"""`pemt pretrain`: trains without labels."""

from __future__ import annotations

import argparse

from pemt_tf.commands.arguments import Commands, add_command, add_training, say, training_inputs

EXAMPLE = """pemt pretrain --data out/records --preset tiny --output out/pretrained
  pemt pretrain --data out/records --preset avbert_base --output out/large --keep 3 \\
      --set pretrain.accumulation=8 --set pretrain.precision=mixed_bfloat16 --set pretrain.clip_norm=1
  pemt pretrain --data more/records --init out/pretrained --output out/further

The same command continues a run that was stopped, and with a larger --set pretrain.steps=N a finished one.
All fields: docs/training.md"""


def add(commands: Commands) -> None:
    command = add_command(commands, "pretrain", _run, "pretrain without labels", EXAMPLE)
    add_training(command, "run, or output of `pemt convert`, whose backbone to start from")


def _run(options: argparse.Namespace) -> None:
    from pemt_tf.training.pretrain import pretrain

    source, config, initial = training_inputs(options, "pretrain")
    run = pretrain(config, source, options.output, initial=initial)
    say(f"pretrained model: {run.path}")
