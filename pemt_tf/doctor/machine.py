"""The machine: processor, memory, disks, limits, Java."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pemt_tf.doctor.finding import OK, PROBLEM, WARNING, Finding

GB = 1e9
FEWEST_GB, ENOUGH_GB = 1, 10  # free disk space
FEWEST_MEMORY_GB, ENOUGH_MEMORY_GB = 2, 8
FEWEST_FILES, ENOUGH_FILES = 128, 1024
JAVA = (11, 17)
SECONDS = 20


def check_processor(cpuinfo: Path = Path("/proc/cpuinfo"), machine: str = platform.machine()) -> Finding:
    """Checks the cores, and the instructions that TensorFlow's wheels need or profit from."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    about = f"{cores} cores, {machine}"
    if machine.lower() not in ("x86_64", "amd64"):
        return Finding(OK, "processor", about)
    try:
        flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)
    except OSError:
        flags = None
    if flags is None:
        return Finding(OK, "processor", f"{about}; its instructions cannot be read here")
    has = set(flags[1].split())
    if "avx" not in has:
        fix = "use another machine (or another machine type of the virtual machine): TensorFlow's wheels need AVX"
        return Finding(PROBLEM, "processor", f"{about}, without AVX: TensorFlow dies of an illegal instruction", fix)
    known = [name for name in ("avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16") if name in has]
    bfloat16 = "avx512_bf16" in has or "amx_bf16" in has
    speed = "bfloat16 in hardware" if bfloat16 else "no bfloat16 in hardware, so mixed_bfloat16 gains nothing"
    return Finding(OK, "processor", f"{about} with {', '.join(known)}; {speed}")


def memory_limit(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> tuple[int, bool] | None:
    """Bytes of memory that may be used, and whether a control group sets the limit; None if unknown."""
    try:
        found = re.search(r"MemTotal:\s+(\d+) kB", (proc / "meminfo").read_text())
    except OSError:
        found = None
    if found is None:
        return None
    total = int(found[1]) * 1024
    limits = []
    try:
        own = [line.split(":", 2)[2].strip().lstrip("/") for line in (proc / "self/cgroup").read_text().splitlines()]
    except (OSError, IndexError):
        own = []
    for folder in {cgroup, *(cgroup / path for path in own), cgroup / "memory", *(cgroup / "memory" / p for p in own)}:
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                limits.append(int((folder / name).read_text()))
            except (OSError, ValueError):
                continue  # no such file, or `max`
    least = min(limits, default=total)
    return (least, True) if least < total else (total, False)


def check_memory(limit: tuple[int, bool] | None) -> Finding:
    """Checks that a training step fits into memory."""
    if limit is None:
        return Finding(OK, "memory", "unknown on this system")
    gigabytes = limit[0] / GB
    found = f"{gigabytes:.1f} GB" + (", the limit of this container or control group" if limit[1] else "")
    if gigabytes < FEWEST_MEMORY_GB:
        return Finding(PROBLEM, "memory", found, "give it 4 GB or more: importing TensorFlow and training need them")
    if gigabytes < ENOUGH_MEMORY_GB:
        fix = "enough for preset tiny; avbert_base needs --set model.remat=true, or 8 GB (docs/performance.md)"
        return Finding(WARNING, "memory", found, fix)
    return Finding(OK, "memory", found)


def check_disk(name: str, folder: Path, fix: str) -> Finding:
    """Checks that a folder can be written, and how much space it has."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        return Finding(PROBLEM, name, f"{place} is a file", "name a folder")
    try:
        tempfile.NamedTemporaryFile(dir=place).close()
    except OSError as error:
        found = f"{place} cannot be written ({error.strerror})"
        return Finding(PROBLEM, name, found, "name another folder, or change its permissions")
    gigabytes = shutil.disk_usage(place).free / GB
    found = f"{gigabytes:,.1f} GB free at {place}"
    if gigabytes < FEWEST_GB:
        return Finding(PROBLEM, name, found, fix)
    return Finding(WARNING, name, found, fix) if gigabytes < ENOUGH_GB else Finding(OK, name, found)


def check_open_files() -> Finding:
    """Checks the limit of open files."""
    try:
        import resource
    except ImportError:
        return Finding(OK, "open files", "no limit known on this system")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = "no limit" if soft == resource.RLIM_INFINITY else f"{soft:,} at once"
    if soft == resource.RLIM_INFINITY or soft >= ENOUGH_FILES:
        return Finding(OK, "open files", found)
    most = "unlimited" if hard == resource.RLIM_INFINITY else min(hard, 4096)
    status = PROBLEM if soft < FEWEST_FILES else WARNING
    return Finding(status, "open files", f"{found}: reading many record files may fail", f"ulimit -n {most}")


def check_flink() -> Iterator[Finding]:
    """Looks for Java and Maven, which only Flink needs."""
    fix = "only for Flink: install Java 17 (Debian, Ubuntu: apt-get install openjdk-17-jre-headless)"
    yield _java() if shutil.which("java") else Finding(OK, "Java", "not installed", fix)
    fix = "only for Flink, to fetch its jars (Debian, Ubuntu: apt-get install maven)"
    maven = shutil.which("mvn")
    yield Finding(OK, "Maven", maven) if maven else Finding(OK, "Maven", "not installed", fix)


def _java() -> Finding:
    try:
        said = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=SECONDS, check=True).stderr
        version = re.search(r'version "(?:1\.)?(\d+)', said)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(WARNING, "Java", f"does not run ({error})", "only for Flink: install Java 17 again")
    number = int(version[1]) if version else 0
    if number not in JAVA:
        found = f"version {number or 'unknown'}; Flink 1.20 runs on 11 and 17"
        return Finding(WARNING, "Java", found, "only for Flink: set JAVA_HOME and PATH to Java 17")
    return Finding(OK, "Java", f"version {number}, fits Flink")
