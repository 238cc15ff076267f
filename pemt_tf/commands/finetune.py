"""`pemt finetune`: trains a classifier, from a pretrained model or from scratch."""

from __future__ import annotations

import argparse

from pemt_tf.commands.arguments import Commands, add_command, add_training, say, training_inputs

SUMMARY = "train a classifier on the labelled clips"
EXAMPLE = """pemt finetune --data out/records --init out/pretrained --output out/finetuned
  pemt finetune --data out/records --init out/pretrained --output out/linear --set finetune.finetune_learning_rate=0
  pemt finetune --data out/records --output out/scratch --set finetune.select=best_validation \\
      --set finetune.mixup=0.2 --set augmentation.time_roll=0.5
  pemt finetune --data out/records --init out/pretrained --output out/several --set finetune.labels=multiple \\
      --set finetune.sampling=classes

all fields: docs/training.md"""


JUDGED_BY = ("validation_accuracy", "validation_mean_average_precision")


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
    """The final weights' validation accuracy in one line, from rows of `metrics.jsonl`; empty without validation.

    With several labels it is the mean average precision.
    """
    name = next((name for name in JUDGED_BY if any(name in row for row in rows)), "")
    rows = [row for row in rows if name in row]
    if not rows:
        return ""
    row, how = rows[-1], ""
    if select == "best_validation":
        row = min(rows, key=lambda row: (-row[name], row["validation_loss"], row["step"]))
        how = ", which was chosen by it"
    return f"{name.replace('_', ' ')}: {row[name]:.1%} at step {row['step']}{how}"
