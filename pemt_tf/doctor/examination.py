"""Runs all checks in order. A check that crashes is reported as a problem, without a traceback."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pemt_tf.doctor import data_folder, devices, machine, packages
from pemt_tf.doctor.finding import PROBLEM, WARNING, Finding
from pemt_tf.doctor.probe import ProbeProcess

NAME_WIDTH = 18
Check = tuple[str, Callable[[], "Finding | Iterable[Finding]"]]


def examine(
    data: str | None, output: str | None, progress: Callable[[str], None] = lambda name: None
) -> Iterator[Finding]:
    """Runs every check; yields findings as they come."""
    # These take longest and run in parallel to the others.
    probes = {name: ProbeProcess(f"pemt_tf.doctor.{name}_probe") for name in ("media", "tensorflow")}
    try:
        for name, check in _checks(data, output, probes):
            progress(name)
            yield from _safely(name, check)
    finally:
        for probe in probes.values():
            probe.stop()


def _checks(data: str | None, output: str | None, probes: dict[str, ProbeProcess]) -> Iterator[Check]:
    yield "Python", packages.check_python
    yield "packages", packages.check_ranges
    yield "tested versions", packages.check_tested
    yield "needs of packages", packages.check_needs_of_packages
    yield "known traps", packages.check_traps
    yield "processor", machine.check_processor
    yield "memory", lambda: machine.check_memory(machine.memory_limit())
    yield "disk", lambda: machine.check_disk("disk here", Path.cwd(), "make room, or work in another folder")
    if output is not None:
        fix = "make room, or name another folder with --output"
        yield "disk", lambda: machine.check_disk("disk of the output", Path(output), fix)
    temporary = "make room, or set TMPDIR to a folder on a larger disk"
    yield "disk", lambda: machine.check_disk("disk, temporary", Path(tempfile.gettempdir()), temporary)
    yield "open files", machine.check_open_files
    if data is not None:
        yield "data", lambda: data_folder.check_data(Path(data))
    yield "codecs", lambda: devices.media_findings(probes["media"].result())
    yield "TensorFlow", lambda: devices.tensorflow_findings(probes["tensorflow"].result(), devices.machine_has_gpu())
    yield "extras", packages.check_extras
    yield "Flink", machine.check_flink


def _safely(name: str, check: Callable[[], Finding | Iterable[Finding]]) -> Iterator[Finding]:
    try:
        found = check()
        yield from [found] if isinstance(found, Finding) else found
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        fix = "fix what it names" if isinstance(error, ImportError) else "please report this line"
        yield Finding(PROBLEM, name, f"the check itself failed ({said})", fix)


def run(data: str | None, output: str | None, as_json: bool) -> int:
    """Writes the findings to standard output; returns the exit code: 1 if there is a problem, otherwise 0."""
    terminal = sys.stderr.isatty()

    def progress(name: str) -> None:
        if terminal:
            sys.stderr.write(f"\r\033[Kchecking {name} ...")
            sys.stderr.flush()

    findings = []
    for finding in examine(data, output, progress):
        findings.append(finding)
        if terminal:
            sys.stderr.write("\r\033[K")
        if not as_json:
            sys.stdout.write("\n".join(lines(finding)) + "\n")
            sys.stdout.flush()
    problems, warnings = (sum(each.status == status for each in findings) for status in (PROBLEM, WARNING))
    if as_json:
        values = {"problems": problems, "warnings": warnings, "findings": [vars(each) for each in findings]}
        sys.stdout.write(json.dumps(values, indent=2) + "\n")
    else:
        sys.stdout.write(f"\n{_counted(problems, 'problem')}, {_counted(warnings, 'warning')}\n")
    return 1 if problems else 0


def lines(finding: Finding) -> list[str]:
    """A finding as lines of text."""
    first = f"{finding.status:<8} {finding.name:<{NAME_WIDTH}} {finding.found}"
    return [first, f"{'':<8} {'':<{NAME_WIDTH}} -> {finding.fix}"] if finding.fix else [first]


def _counted(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
