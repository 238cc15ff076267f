"""`pemt params`: counts the model's parameters."""

from __future__ import annotations

import argparse

from pemt_tf.commands.arguments import Commands, add_command, add_config, config_of, say

SUMMARY = "count the model's parameters by part and by who shares them"


def add(commands: Commands) -> None:
    add_config(add_command(commands, "params", _run, SUMMARY, "pemt params --preset avbert_base"), "avbert_base")


def _run(options: argparse.Namespace) -> None:
    from pemt_tf.models.parameter_report import parameter_report

    say(parameter_report(config_of(options).model).table())
