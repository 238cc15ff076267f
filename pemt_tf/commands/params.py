"""`pemt params`: where the parameters are."""

from __future__ import annotations

from pemt_tf.commands.arguments import add_command, add_config, config_of, say


def add(commands) -> None:
    """Declares the command."""
    command = add_command(
        commands,
        "params",
        _run,
        "count the model's parameters by part and by who shares them",
        "pemt params --preset avbert_base",
    )
    add_config(command, "avbert_base")


def _run(options) -> None:
    from pemt_tf.models.parameter_report import parameter_report

    say(parameter_report(config_of(options).model).table())
