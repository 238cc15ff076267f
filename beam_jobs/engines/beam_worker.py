"""A worker process of `--direct_running_mode=multi_processing`: Beam's own, with manners.

Ctrl-C is for the job, not for its workers; and a worker does not outlive a job that was killed.
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
    """Ends this process when its parent is not, or no longer, the job: that has ended then."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def end_all() -> None:
    """Ends the worker processes of this job (where the system lists a process's children: Linux)."""
    for children in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # threads and processes may end meanwhile
            for number in children.read_text().split():
                if MODULE in Path("/proc", number, "cmdline").read_text():
                    os.kill(int(number), signal.SIGKILL)


def keep_ending(until: threading.Event) -> None:
    """Ends worker processes, also those that are still being started, until the event is set."""
    while not until.is_set():
        end_all()
        until.wait(ENDING_SECONDS)


def main() -> None:
    """Runs Beam's worker until the job ends. Argument: number of the job's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the job has started it; for who starts it otherwise
    threading.Thread(target=end_with_parent, args=(int(sys.argv[1]),), daemon=True).start()
    warnings.simplefilter("ignore", FutureWarning)  # Beam's Google libraries speak of Python versions
    from apache_beam.runners.worker import sdk_worker_main

    # What fails reaches the job through Beam; what gRPC prints when the job goes away helps nobody.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
