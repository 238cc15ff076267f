"""What the commands share: how they are declared, the configuration flags, one line of output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pemt_tf.config import Config, load_config, preset_names
from pemt_tf.config.allowed_values import LARGEST_WHOLE

if TYPE_CHECKING:
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.training.run_directory import RunDirectory

DATA = "folder written by beam_jobs.preprocess"
Commands = Any  # what `ArgumentParser.add_subparsers` returns; argparse has no public name for it


def say(line: str = "") -> None:
    """Writes one line to standard output."""
    sys.stdout.write(line + "\n")


def whole_number(text: str) -> int:
    """A whole number from 1, for `type=` of a flag."""
    if not text.isdecimal() or len(text) > 18 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def seed_number(text: str) -> int:
    """A random seed, for `type=` of a flag."""
    if not text.isdecimal() or len(text) > 10 or int(text) > LARGEST_WHOLE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {LARGEST_WHOLE}")
    return int(text)


def add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int | None], summary: str, example: str
) -> argparse.ArgumentParser:
    """Declares a command with an example for `--help`; `run` returns an exit code, or None for 0."""
    command = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}",
    )
    command.set_defaults(run=run)
    return command


def add_config(command: argparse.ArgumentParser, default: str | None = None) -> None:
    """`--preset` and `--set`."""
    meaning = f"default: {default}" if default else "default: the configuration of the data"
    presets = f"preset ({', '.join(preset_names())}) or path of a .yaml file; {meaning}"
    command.add_argument("--preset", default=default, help=presets)
    add_overrides(command, "override one field of the configuration; may be repeated")


def add_overrides(command: argparse.ArgumentParser, meaning: str) -> None:
    """`--set`."""
    command.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help=meaning)


def add_training(command: argparse.ArgumentParser, start: str) -> None:
    """The flags of every training command; `start` is the help text of `--init`."""
    add = command.add_argument
    add("--data", required=True, help=DATA)
    add("--output", required=True, help="folder of the run; run the same command again to continue")
    add("--cpu-devices", type=int, default=1, metavar="N", help="split the CPU into N devices, to try data parallelism")
    add("--keep", type=whole_number, metavar="N", help="number of checkpoints to keep (default: 2)")
    add("--init", help=start)
    add_config(command)


def training_inputs(options: argparse.Namespace, section: str) -> tuple[ClipSource, Config, RunDirectory | None]:
    """The data; the configuration: that of --preset, of the run of --init, or of the data; and the run of --init."""
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.training.run_directory import RunDirectory
    from pemt_tf.training.strategy import split_cpu

    split_cpu(options.cpu_devices)
    source = ClipSource.open(options.data)
    overrides = [*options.set, *([f"{section}.keep={options.keep}"] if options.keep is not None else [])]
    initial = RunDirectory(Path(options.init)) if options.init else None
    config = initial.config() if initial and not options.preset else config_of(options)
    return source, config.with_overrides(overrides), initial


def config_of(options: argparse.Namespace) -> Config:
    """The configuration of --preset, or else the one that the data were made with; with the overrides of --set."""
    config = Config.from_preset(options.preset) if options.preset else load_config(Path(options.data) / "config.json")
    return config.with_overrides(options.set)
