"""A worker process of `--direct_running_mode=multi_processing`.

It is Beam's worker with two differences: it ignores Ctrl-C, which only the job handles, and it ends when the job was
killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

MODULE = "beam_jobs.engines.beam_worker"
WATCH_SECONDS = 1.0
ENDING_SECONDS = 0.2


def end_with_parent(parent: int) -> None:
    """Ends this process as soon as its parent is not the job, which means that the job has ended."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def end_all() -> None:
    """Ends the worker processes of this job, on systems that list a process's children (Linux)."""
    for children in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # threads and processes may end meanwhile
            for number in children.read_text().split():
                if MODULE in Path("/proc", number, "cmdline").read_text():
                    os.kill(int(number), signal.SIGKILL)


def keep_ending(until: threading.Event) -> None:
    """Ends worker processes, including those that are still being started, until the event is set."""
    while not until.is_set():
        end_all()
        until.wait(ENDING_SECONDS)


def main() -> None:
    """Runs Beam's worker until the job ends. Argument: the id of the job's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the job starts it that way; others may not
    threading.Thread(target=end_with_parent, args=(int(sys.argv[1]),), daemon=True).start()
    warnings.simplefilter("ignore", FutureWarning)  # Beam's Google libraries warn about Python versions
    from apache_beam.runners.worker import sdk_worker_main

    # Failures reach the job through Beam; what gRPC prints when the job goes away is of no use.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
