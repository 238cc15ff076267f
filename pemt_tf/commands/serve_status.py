"""`pemt serve-status`: shows whether a served model is ready."""

from __future__ import annotations

import argparse

from pemt_tf.commands.arguments import Commands, add_command, say
from pemt_tf.commands.server_flags import add_connection, add_model, connect

SUMMARY = "show the health of a model server and the versions it has loaded; exit code 1 if the model is not ready"
EXAMPLE = """pemt serve-status --server localhost:8500
  pemt serve-status --server localhost:8501 --rest --model-version 2 --timeout 120"""


def add(commands: Commands) -> None:
    command = add_command(commands, "serve-status", _run, SUMMARY, EXAMPLE)
    server = "TensorFlow Serving; with --rest also a URL"
    command.add_argument("--server", required=True, metavar="HOST:PORT", help=server)
    add_model(command)
    add_connection(command)


def _run(options: argparse.Namespace) -> int:
    with connect(options, version=options.model_version, label=options.version_label) as client:
        ready = client.is_ready()
        for one in client.model_status():
            reason = f": {one.error_message}" if one.error_message else ""
            say(f"{options.model_name} version {one.version} {one.state}{reason}")
    say("ready" if ready else "not ready")
    return 0 if ready else 1
