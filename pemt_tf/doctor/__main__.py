"""`python -m pemt_tf.doctor`: the same as `pemt doctor`, where not even the command line can be imported."""

from __future__ import annotations

import argparse
import sys

from pemt_tf.doctor.examination import run


def main() -> int:
    """Returns the exit code: 0 without a problem, else 1."""
    parser = argparse.ArgumentParser(prog="python -m pemt_tf.doctor", description="The same as `pemt doctor`.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", metavar="DIR")
    parser.add_argument("--output", metavar="DIR")
    options = parser.parse_args()
    return run(options.data, options.output, options.json)


if __name__ == "__main__":
    sys.exit(main())
