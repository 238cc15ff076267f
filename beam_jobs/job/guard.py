"""What both jobs share: the progress line, and no result that is incomplete or mostly failures."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from beam_jobs.engines.engine import JobWritten
from beam_jobs.plan.output_folder import OutputFolder
from beam_jobs.worker.outcomes import FAILED, WRITTEN, OutcomeWatcher, describe
from pemt_tf.errors import PemtError
from pemt_tf.terminal.progress import Progress

PROGRESS_SECONDS = 0.5  # between two looks at the outcome files


class JobInterrupted(KeyboardInterrupt):
    """The user stopped the job; the message says what is left of it."""


@contextlib.contextmanager
def guarded(output: OutputFolder) -> Iterator[None]:
    """Runs a part of a job; if it fails, finished shards stay for the next run, and nothing else."""
    try:
        yield
    except JobWritten:
        raise  # its engine will read the plan
    except KeyboardInterrupt:
        left = output.leave()
        kept = f"{left} finished shards are kept: the same command continues from there" if left else "nothing is kept"
        raise JobInterrupted(f"interrupted; nothing was written to {output.path}; {kept}") from None
    except OSError as error:
        output.leave()
        raise PemtError(f"cannot write to the output folder {output.path}: {error.strerror or error}") from None
    except BaseException:
        output.leave()
        raise


def refuse_failures(failed: dict[str, int], inputs: int, most: float, example: str, stopped_after: int = 0) -> None:
    """Refuses a result if more than the share `most` of the inputs failed; `example` ends the message."""
    bad = sum(failed.values())
    if bad > most * inputs:
        stopped = f"stopped after {stopped_after} of {inputs} inputs: " if stopped_after else ""
        raise PemtError(
            f"{stopped}{bad} of {inputs} inputs failed ({describe(failed)}), more than --max_bad_fraction={most:g} "
            f"allows{example}"
        )


def outcome_lines(filtered: dict[str, int], failed: dict[str, int], inputs: int, written: int) -> tuple[list[str], str]:
    """Closing lines: those about filtered and failed inputs, by cause, and the one that sums up all inputs."""
    lines = [
        f"{kind}: {describe(causes)} (errors/{name}.jsonl)"
        for kind, name, causes in (("filtered", "filtered", filtered), ("failed", "failures", failed))
        if causes
    ]
    lost = f"{sum(filtered.values())} filtered + {sum(failed.values())} failed"
    return lines, f"{inputs} inputs = {written} written + {lost}"


@contextlib.contextmanager
def job_progress(
    folder: str | None, total: int, most_bad: int | None = None, stop_file: str | None = None
) -> Iterator[None]:
    """Shows progress while the context is open, and stops a job of which more than `most_bad` inputs have failed."""
    if folder is None:
        yield
        return
    watcher, ended = OutcomeWatcher(folder), threading.Event()
    line = Progress("clips", total, "clips", watcher.counts().total())

    def look() -> str:
        counts = watcher.counts()
        if stop_file and most_bad is not None and counts[FAILED] > most_bad:
            Path(stop_file).touch()
        line.done = counts.total()
        return f"{counts[WRITTEN]} ok, {line.done - counts[WRITTEN]} bad"

    def show() -> None:
        while not ended.wait(PROGRESS_SECONDS):
            before, detail = line.done, look()
            if line.done > before:
                line.update(line.done, detail)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        line.close(look())
