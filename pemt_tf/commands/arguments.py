"""What the commands have in common: how they are declared, the configuration flags, one line of output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pemt_tf.config import Config, load_config, preset_names
from pemt_tf.config.allowed_values import LARGEST_WHOLE

if TYPE_CHECKING:
    from pemt_tf.training.run_directory import RunDirectory


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
    commands, name: str, run: Callable[[argparse.Namespace], None], summary: str, example: str
) -> argparse.ArgumentParser:
    """Declares a command; flags are added to what it returns.

    Args:
        commands: of the parser.
        name: as typed.
        run: takes the parsed flags.
        summary: one line, in small letters and without full stop.
        example: command lines for `--help`.
    """
    command = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    return command


def add_config(command: argparse.ArgumentParser, default: str | None) -> None:
    """`--preset` and `--set`."""
    meaning = f"default: {default}" if default else "default: that of the data"
    command.add_argument(
        "--preset", default=default, help=f"preset ({', '.join(preset_names())}) or path of a .yaml file; {meaning}"
    )
    add_overrides(command, "override one field of the configuration; may be repeated")


def add_overrides(command: argparse.ArgumentParser, meaning: str) -> None:
    """`--set`."""
    command.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help=meaning)


def add_training(command: argparse.ArgumentParser) -> None:
    """What every training command takes."""
    command.add_argument("--data", required=True, help="folder written by beam_jobs.preprocess")
    command.add_argument("--output", required=True, help="folder of the run; run again to go on after an interruption")
    command.add_argument(
        "--cpu-devices", type=int, default=1, metavar="N", help="split the CPU into N devices, to try data parallelism"
    )
    command.add_argument("--keep", type=whole_number, metavar="N", help="how many checkpoints to keep (default: 2)")


def with_keep(options: argparse.Namespace, section: str) -> argparse.Namespace:
    """`--keep N` as what it is short for: `--set SECTION.keep=N`."""
    if options.keep is not None:
        options.set = [*options.set, f"{section}.keep={options.keep}"]
    return options


def initial_of(options: argparse.Namespace) -> tuple[RunDirectory | None, Config]:
    """The run of --init, if it is given, and the configuration: that of --preset, of this run, or of the data."""
    from pemt_tf.training.run_directory import RunDirectory

    if not options.init:
        return None, config_of(options)
    initial = RunDirectory(Path(options.init))
    return initial, config_of(options) if options.preset else initial.config().with_overrides(options.set)


def config_of(options: argparse.Namespace) -> Config:
    """The configuration of --preset, or else the one that the data were made with."""
    config = Config.from_preset(options.preset) if options.preset else load_config(Path(options.data) / "config.json")
    return config.with_overrides(options.set)
