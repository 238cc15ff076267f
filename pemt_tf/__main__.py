"""`python -m pemt_tf`: the same as `pemt`, whatever command of that name is on PATH."""

from __future__ import annotations

import sys

from pemt_tf.cli import main

if __name__ == "__main__":
    sys.exit(main())
