"""TFX's command groups, with `pipeline run` added. TFX takes half a minute to load, so it is loaded late."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from pemt_tf.errors import PemtError

_GROUPS = {
    "pipeline": "create, compile, run, update, list and delete pipelines",
    "run": "start runs of created pipelines",
    "template": "copy TFX's pipeline templates",
}


class TfxCommands(click.Group):
    """The top level: TFX's groups by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The groups' names."""
        return list(_GROUPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A group; `pipeline` loads TFX only when needed."""
        if cmd_name == "pipeline":
            return PipelineCommands(name="pipeline", help=_GROUPS["pipeline"].capitalize() + ".")
        return tfx_group(cmd_name) if cmd_name in _GROUPS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of groups for --help, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_GROUPS.items()))


class PipelineCommands(click.Group):
    """TFX's `pipeline` commands, and `run`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return sorted([*tfx_group("pipeline").commands, "run"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Our command, or TFX's."""
        return run if cmd_name == "run" else tfx_group("pipeline").commands.get(cmd_name)


def tfx_group(name: str) -> click.Group:
    """Loads one of TFX's own groups."""
    # TFX starts `pip` by its bare name, which is not on the path when the environment is not activated.
    own = str(Path(sys.executable).parent)
    if own not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([own, os.environ.get("PATH", "")])
    from tfx.tools.cli.cli_main import cli_group

    group = cli_group.commands[name]
    for command in group.commands.values():
        for parameter in command.params:
            if parameter.name == "pipeline_path":
                parameter.callback = absolute_path
    return group


def absolute_path(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Makes a path absolute: TFX stores it as typed, and `run create` in another folder would not find it."""
    return os.path.abspath(value) if value and "://" not in value else value  # noqa: PTH100 (keeps links)


@click.group(cls=TfxCommands)
def commands() -> None:
    """The TensorFlow Extended command line.

    Example: tfx pipeline run --pipeline-path pipeline/local_runner.py
    """


@click.command("run")
@click.option("--engine", default="local", show_default=True, help="Orchestrator; `run` supports the local one only.")
@click.option("--pipeline_path", "--pipeline-path", callback=absolute_path, help="Path of the pipeline's Python file.")
@click.option("--pipeline_name", "--pipeline-name", help="Name of a created pipeline, instead of a path.")
@click.option("--status", is_flag=True, help="Only show the last runs: states, times, metrics, model versions.")
@click.option("--runs", type=click.IntRange(min=1), default=5, show_default=True, help="How many runs --status shows.")
def run(engine: str, pipeline_path: str | None, pipeline_name: str | None, status: bool, runs: int) -> None:
    """Create or update a pipeline, run it, and show the state of each node until it ends.

    \b
    Examples: tfx pipeline run --pipeline-path pipeline/local_runner.py
              tfx pipeline run --status

    With --status and neither path nor name, the pipeline is the one of pipeline/config.yaml and the PEMT_PIPELINE_*
    variables.
    """
    if (pipeline_path and pipeline_name) or not (pipeline_path or pipeline_name or status):
        raise click.UsageError("give either --pipeline-path or --pipeline-name")
    if engine not in ("local", "auto"):
        raise click.UsageError(
            f"`pipeline run` waits for the local engine only; with {engine} use `pipeline create` and `run create`"
        )
    if pipeline_path and not Path(pipeline_path).is_file():
        raise PemtError(f"no pipeline file at {pipeline_path}; give the path of a file like pipeline/local_runner.py")
    if status:
        from pemt_tf.orchestration.running.run_status import status_lines

        click.echo("\n".join(status_lines(pipeline_path, pipeline_name, runs)))
        return
    click.echo("loading TFX, which takes up to half a minute", err=True)
    from pemt_tf.orchestration.running.local_run import run_pipeline

    raise SystemExit(run_pipeline(pipeline_path, pipeline_name))
