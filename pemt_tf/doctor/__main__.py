"""`python -m pemt_tf.doctor`: the same as `pemt doctor`, for installations in which `pemt` itself does not start."""

from __future__ import annotations

import sys

from pemt_tf.doctor.examination import run
from pemt_tf.terminal.flags import FlagParser


def main() -> int:
    """Runs the checks; returns the exit code: 1 if there is a problem, otherwise 0."""
    parser = FlagParser(prog="python -m pemt_tf.doctor", description="The same as `pemt doctor`.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", metavar="DIR")
    parser.add_argument("--output", metavar="DIR")
    options = parser.parse_args()
    return run(options.data, options.output, options.json)


if __name__ == "__main__":
    sys.exit(main())
