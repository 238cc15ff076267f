"""TFX's command groups, with `pipeline run` added."""

from __future__ import annotations

import os

import click

_GROUPS = {
    "pipeline": "create, compile, run, update, list and delete pipelines",
    "run": "start runs of created pipelines",
    "template": "copy TFX's pipeline templates",
}


class LazyGroups(click.Group):
    """TFX's groups, loaded when one is called: that takes half a minute, and `tfx --help` is to be quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The groups' names."""
        return list(_GROUPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Loads a group."""
        return load_groups()[cmd_name] if cmd_name in _GROUPS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of groups for --help, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_GROUPS.items()))


@click.command(cls=LazyGroups)
def commands() -> None:
    """The TensorFlow Extended command line.

    Example: tfx pipeline run --pipeline-path pipeline/local_runner.py
    """


def load_groups() -> dict[str, click.Group]:
    """TFX's groups by name, `pipeline` with `run`."""
    from tfx.tools.cli.cli_main import cli_group

    pipeline_group = cli_group.commands["pipeline"]
    pipeline_group.add_command(run)
    for command in pipeline_group.commands.values():
        for parameter in command.params:
            if parameter.name == "pipeline_path":
                parameter.callback = absolute_path
    return cli_group.commands


def absolute_path(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """TFX stores the path as it is typed, and `run create` from another folder would not find it."""
    return os.path.abspath(value) if value and "://" not in value else value  # noqa: PTH100 (keeps links)


@click.command("run")
@click.option("--engine", default="local", show_default=True, help="Orchestrator; only local runs here.")
@click.option("--pipeline_path", "--pipeline-path", help="Path of the pipeline's Python file.")
@click.option("--pipeline_name", "--pipeline-name", help="Name of a created pipeline, instead of a path.")
def run(engine: str, pipeline_path: str | None, pipeline_name: str | None) -> None:
    """Create or update a pipeline, run it, wait, and show what became of each node.

    Example: tfx pipeline run --pipeline-path pipeline/local_runner.py
    """
    if bool(pipeline_path) == bool(pipeline_name):
        raise click.UsageError("give either --pipeline-path or --pipeline-name")
    if engine not in ("local", "auto"):
        raise click.UsageError(
            f"`pipeline run` waits for the local engine only; with {engine} use `pipeline create` and `run create`"
        )
    from pipeline.local_run import run_pipeline

    raise SystemExit(run_pipeline(pipeline_path, pipeline_name))
