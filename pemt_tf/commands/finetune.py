"""`pemt finetune`: trains a classifier, from a pretrained model or from scratch."""

from __future__ import annotations

import argparse

from pemt_tf.commands.arguments import Commands, add_command, add_training, say, training_inputs

SUMMARY = "train a classifier on the labelled clips"
EXAMPLE = """pemt finetune --data out/records --init out/pretrained --output out/finetuned
  pemt finetune --data out/records --init out/pretrained --output out/linear --set finetune.finetune_learning_rate=0
  pemt finetune --data out/records --output out/scratch --set finetune.select=best_validation \\
      --set finetune.mixup=0.2 --set augmentation.time_roll=0.5

all fields: docs/training.md"""


def add(commands: Commands) -> None:
    command = add_command(commands, "finetune", _run, SUMMARY, EXAMPLE)
    add_training(command, "pretraining run to start from; without it training starts from scratch")


def _run(options: argparse.Namespace) -> None:
    from pemt_tf.training.finetune import finetune

    source, config, initial = training_inputs(options, "finetune")
    run = finetune(config, source, options.output, initial=initial)
    if line := validation_line(run.metrics(), config.finetune.select):
        say(line)
    say(f"fine-tuned model: {run.path}")


def validation_line(rows: list[dict], select: str) -> str:
    """The final weights' validation accuracy in one line, from rows of `metrics.jsonl`; empty without validation."""
    rows = [row for row in rows if "validation_accuracy" in row]
    if not rows:
        return ""
    if select == "best_validation":
        row = min(rows, key=lambda row: (-row["validation_accuracy"], row["validation_loss"], row["step"]))
        return f"validation accuracy: {row['validation_accuracy']:.1%} at step {row['step']}, which was chosen by it"
    return f"validation accuracy: {rows[-1]['validation_accuracy']:.1%} at step {rows[-1]['step']}"
