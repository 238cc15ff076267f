"""The commands `pemt` and `tfx`: other packages bring commands of the same names, and the last installed wins."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shlex
from collections.abc import Iterator
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pemt_tf.doctor.finding import OK, WARNING, Finding
from pemt_tf.terminal.console_script import PEMT, TFX, find_console_script


def check_console_scripts() -> Iterator[Finding]:
    """Checks that both commands are ours; `tfx` only where TFX is installed."""
    yield _check_pemt()
    if importlib.util.find_spec("tfx") is not None:
        yield _check_tfx()


def _check_pemt() -> Finding:
    script = find_console_script("pemt")
    if script is None:
        return Finding(OK, "command pemt", "not on PATH", "python -m pemt_tf is the same command")
    if script.module == PEMT:
        return Finding(OK, "command pemt", str(script.path))
    found = f"{script.path} is the command of another package (it starts {script.module})"
    return Finding(
        WARNING, "command pemt", found, f"use python -m pemt_tf in its place; to replace it: {_install_again()}"
    )


def _check_tfx() -> Finding:
    script = find_console_script("tfx")
    if script is None:
        return Finding(OK, "command tfx", "not on PATH", "pemt pipeline run is the same as tfx pipeline run")
    if script.module == TFX:
        return Finding(OK, "command tfx", f"{script.path}, with `tfx pipeline run`")
    found = (
        f"{script.path} has no `tfx pipeline run`: TFX was installed after pemt-tf, and its own command replaced ours"
    )
    return Finding(
        WARNING, "command tfx", found, f"use pemt pipeline run in its place; to replace it: {_install_again()}"
    )


def _install_again() -> str:
    """The command that puts our scripts in place again, from where this installation came from."""
    source = "pemt-tf"
    try:
        origin = json.loads(importlib.metadata.distribution(source).read_text("direct_url.json") or "{}")
    except importlib.metadata.PackageNotFoundError:
        origin = {}
    address = origin.get("url", "")
    if address.startswith("file:"):
        editable = "--editable " if origin.get("dir_info", {}).get("editable") else ""
        source = editable + shlex.quote(url2pathname(urlsplit(address).path))
    return f"pip install --force-reinstall --no-deps {source}"
