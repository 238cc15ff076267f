"""`pemt serve-config`: edits the versions and labels of a served model, in the file that the server reads."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pemt_tf.commands.arguments import Commands, add_command, say, whole_number
from pemt_tf.commands.server_flags import add_connection, connect
from pemt_tf.errors import PemtError

if TYPE_CHECKING:
    from pemt_tf.client.transport import VersionStatus
    from pemt_tf.export.models_config import ModelsConfig

SUMMARY = "edit or show which versions of a model TensorFlow Serving loads, and their labels"
EXAMPLE = """pemt serve-config serving/models.config
  pemt serve-config serving/models.config --versions out/servable --label stable=1 --label canary=latest
  pemt serve-config serving/models.config --label stable=canary --server localhost:8500"""
_WAIT = 300.0  # seconds: the server reads its file once a minute, and then loads
_POLL = 1.0


def add(commands: Commands) -> None:
    command = add_command(commands, "serve-config", _run, SUMMARY, EXAMPLE)
    add = command.add_argument
    add("config", metavar="FILE", help="the server's --model_config_file; made if it is not there")
    add("--model-name", default="pemt", help="name of the model (default: %(default)s)")
    add("--base-path", help="folder of versions as the server sees it (default of a new model: /models/NAME)")
    versions = "local folder of versions, to check which exist and to keep what is loaded"
    add("--versions", metavar="FOLDER", help=versions)
    label = "point a label at a version: its number, another label, or 'latest' (with --versions); may be repeated"
    add("--label", action="append", default=[], metavar="LABEL=VERSION", help=label)
    add("--remove-label", action="append", default=[], metavar="LABEL", help="take a label away; may be repeated")
    add("--load", action="append", default=[], type=whole_number, metavar="N", help="load this version too")
    add("--unload", action="append", default=[], type=whole_number, metavar="N", help="unload this version")
    add("--latest", type=whole_number, metavar="N", help="load the N highest versions, without labels")
    served = command.add_argument_group("the server, to wait for the change")
    served.add_argument("--server", metavar="HOST:PORT", help="wait until it has loaded what the file says")
    add_connection(served, timeout=_WAIT)


def _run(options: argparse.Namespace) -> None:
    from pemt_tf.export.models_config import ModelsConfig, versions_in

    config = ModelsConfig(Path(options.config), options.model_name, options.base_path)
    there = versions_in(Path(options.versions)) if options.versions else None
    changes = options.label or options.remove_label or options.load or options.unload or options.latest
    if changes or not config.path.exists() or options.base_path:
        _edit(config, there, options)
    say(config.summary())
    if options.server:
        _wait_for(config, options)


def _edit(config: ModelsConfig, there: list[int] | None, options: argparse.Namespace) -> None:
    from pemt_tf.export.models_config import check_labels

    loaded, old = config.loaded_of(there or ()), config.labels
    labels = _labels(config, there, options.label)
    for label in options.remove_label:
        config.remove_label(label)
    if options.latest:
        if labels or options.load or options.unload:
            raise PemtError("--latest goes with no label and no single version; leave out --label, --load and --unload")
        config.use_latest(options.latest)
        config.write()
        return
    wanted = {*loaded, *labels.values(), *config.labels.values(), *options.load}
    check_labels({**config.labels, **labels}, wanted - set(options.unload))
    missing = sorted(wanted - set(options.unload) - set(there or wanted))
    if there and missing:
        raise PemtError(f"{options.versions} has no version {missing[0]}; it has {', '.join(map(str, there))}")
    moved = {label: number for label, number in labels.items() if old.get(label, number) != number}
    late = {label: number for label, number in moved.items() if number not in loaded}
    if late or (moved and options.server):
        _load_first(config, wanted, late, options)
    for label, number in labels.items():
        config.set_label(label, number)
    config.use_specific(wanted - set(options.unload))
    config.write()


def _load_first(config: ModelsConfig, wanted: set[int], late: dict[str, int], options: argparse.Namespace) -> None:
    """A server moves a label only to a version that it has loaded; until then it refuses the whole file."""
    if not options.server:
        label, number = next(iter(late.items()))
        raise PemtError(
            f"{label} cannot move to version {number} before the server has loaded it: give --server, so that this "
            f"command waits for it, or --load {number} now and --label {label}={number} when it is loaded"
        )
    config.use_specific(wanted)
    config.write()
    say(config.summary())
    _wait_for(config, options)


def _labels(config: ModelsConfig, there: list[int] | None, texts: list[str]) -> dict[str, int]:
    """`LABEL=VERSION` as typed; a version may be another label, as it was before."""
    found = {}
    for text in texts:
        label, _, version = text.partition("=")
        if version == "latest" and there:
            found[label] = there[-1]
        elif version in config.labels:
            found[label] = config.labels[version]
        elif version.isdecimal() and int(version) > 0:
            found[label] = int(version)
        else:
            known = ", ".join(["a number from 1", *config.labels, "latest (with --versions)"])
            raise PemtError(f"--label {text}: expected LABEL=VERSION, the version one of: {known}")
    return found


def _wait_for(config: ModelsConfig, options: argparse.Namespace) -> None:
    wanted = set(config.versions or ())
    end, told = time.monotonic() + options.timeout, False
    with connect(options) as client:
        while True:
            states = _states(client)
            failed = [states[n] for n in sorted(wanted & states.keys()) if states[n].error_code not in ("OK", "0")]
            if failed:
                raise PemtError(f"{options.server} cannot load version {failed[0].version}: {failed[0].error_message}")
            late = sorted(n for n in wanted if n not in states or states[n].state != "AVAILABLE")
            if not late:
                say(f"{options.server} has loaded " + (", ".join(map(str, sorted(wanted))) or "its versions"))
                return
            if time.monotonic() + _POLL > end:
                raise PemtError(
                    f"{options.server} has not loaded version {late[0]} within {options.timeout:g} s; does it read "
                    f"{config.path} (--model_config_file_poll_wait_seconds), and is the version in its folder?"
                )
            if not told:
                sys.stderr.write(f"waiting for version {late[0]} on {options.server}, at most {options.timeout:g} s\n")
                told = True
            time.sleep(_POLL)


def _states(client) -> dict[int, VersionStatus]:
    from pemt_tf.client.prediction_error import Code, PredictionError

    try:
        return {one.version: one for one in client.model_status()}
    except PredictionError as error:
        if error.code == Code.NOT_FOUND:  # a new model, of which the server has not read yet
            return {}
        raise
