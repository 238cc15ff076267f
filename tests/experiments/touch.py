"""Run as a program by test_jobs: `touch OUT NEEDED ...` fails unless all NEEDED are there, and adds a line to OUT."""

import sys
from pathlib import Path

out, *needed = map(Path, sys.argv[1:])
missing = [path.name for path in needed if not path.exists()]
if missing:
    sys.exit(f"{out.name} came before {', '.join(missing)}")
with out.open("a") as file:
    file.write("once\n")
