"""Which package a command belongs to: two packages can bring one of the same name, and the last installed wins."""

from __future__ import annotations

import re
import shutil
import sysconfig
from pathlib import Path
from typing import NamedTuple

PEMT = "pemt_tf.cli"
TFX = "pemt_tf.orchestration.running.tfx_command"  # `tfx` with `pipeline run`
FEW_BYTES = 4096  # installers write about 300


class ConsoleScript(NamedTuple):
    """A command as an installer wrote it.

    Attributes:
        path: its file.
        module: module that it starts.
    """

    path: Path
    module: str


def find_console_script(name: str) -> ConsoleScript | None:
    """The command that a shell starts by this name; where a shell finds none, the one of this environment.

    A file that starts no Python module, such as pyenv's, says nothing of the package and is passed over.
    """
    on_path = shutil.which(name)
    for path in (on_path and Path(on_path), Path(sysconfig.get_path("scripts"), name)):
        module = _module_of(path) if path else None
        if path and module:
            return ConsoleScript(path, module)
    return None


def _module_of(script: Path) -> str | None:
    try:
        with script.open("rb") as file:
            text = file.read(FEW_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return None
    started = re.findall(r"^\s*from ([\w.]+) import \w+", text, re.M)
    return started[-1] if text.startswith("#!") and started else None
