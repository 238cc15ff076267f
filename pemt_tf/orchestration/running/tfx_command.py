"""The console script `tfx`: TFX's own commands, and `tfx pipeline run`.

Where TFX was installed after this package, its own `tfx` script took the place of ours; `pemt pipeline run` and
`python -m pemt_tf.orchestration.running.tfx_command` work there as well.
"""

from __future__ import annotations

import importlib.util
import sys

from pemt_tf.errors import PemtError
from pemt_tf.terminal.exit_code import exit_code_of


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    return exit_code_of(lambda: _run(arguments))


def _run(arguments: list[str] | None) -> int:
    if importlib.util.find_spec("tfx") is None:
        raise PemtError("TFX is not installed; install the extra with `pip install 'pemt-tf[tfx]'`")
    from pemt_tf.orchestration.running.command_group import commands
    from pemt_tf.orchestration.running.quiet_tfx import silence_libraries

    silence_libraries()
    return commands.main(arguments, prog_name="tfx", standalone_mode=True) or 0


if __name__ == "__main__":
    sys.exit(main())
