"""Makes the virtual environments that fit this machine, from the locks. Standard library only, Python 3.8 or later.

    python3 requirements/set_up.py core    # .venv: model, Beam jobs, training, export
    python3 requirements/set_up.py full    # .venv with all extras, and TFX where it can be had
    python3 requirements/set_up.py tools   # uv only

TFX decides what `full` makes. TFX 1.21, for the current stack, has wheels for glibc 2.39 and later. Older systems get
the current stack without TFX in .venv, and beside it .venv-tfx: TFX 1.16 with TensorFlow 2.16 on Python 3.10. What
cannot be had is left out, with a line that says why and what would bring it.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS, VENV, VENV_TFX = ROOT / ".venv-tools", ROOT / ".venv", ROOT / ".venv-tfx"
UV = TOOLS / "bin" / "uv"
CURRENT, LEGACY = "current", "legacy"
PYTHONS = {CURRENT: ((3, 13), (3, 12), (3, 11)), LEGACY: ((3, 10),)}
TFX_GLIBC = (2, 39)
EXTRAS = {"core": "", "full": "[dev,dataflow,search,umap]"}
PROBE = (
    "import os, sys, sysconfig; print(*sys.version_info[:2], int(sys.maxsize > 2**32),"
    " int(os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h'))))"
)


def main():
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tools", "core", "full"))
    parser.add_argument("--python", default="", help="interpreter to use instead of the one that is chosen")
    parser.add_argument("--dry-run", action="store_true", help="say what would be made, and make nothing")
    options = parser.parse_args()
    if options.what == "tools":
        return make_tools()
    plans = plan(options.what, options.python)
    if not options.dry_run:
        make_tools()
        for venv, python, stack, what in plans:
            make(venv, python, stack, what)


def plan(what, wanted):
    """Decides and says what is made: folder, interpreter, stack and `core`, `full` or `tfx` of each environment."""
    python, stack = choose(wanted)
    if what == "core":
        say(f"{VENV.name}: {in_words(python, stack)}")
        return [(VENV, python, stack, "core")]
    too_old, missing = why_too_old(stack), missing_tools(python)
    if not too_old and not missing:
        say(f"{VENV.name}: {in_words(python, stack)}, with TFX")
        return [(VENV, python, stack, "tfx")]
    say(f"{VENV.name}: {in_words(python, stack)}")
    legacy = find((3, 10)) if too_old else None
    if too_old and not legacy:
        say(f"TFX is left out: {too_old}; TFX 1.16 would need a python3.10 on PATH")
    elif legacy and not missing_tools(legacy):
        say(f"{VENV_TFX.name}: {in_words(legacy, LEGACY)}, with TFX 1.16, because {too_old}")
        return [(VENV, python, stack, "full"), (VENV_TFX, legacy, LEGACY, "tfx")]
    else:
        say(f"TFX is left out: {missing_tools(legacy) if legacy else missing}")
    return [(VENV, python, stack, "full")]


def choose(wanted):
    """Interpreter and stack: the wanted one, the running one, the newest that is here, or what uv brings."""
    if wanted:
        version = probe(wanted)[0]
        if not stack_of(version):
            sys.exit(
                f"error: {wanted} is {f'Python {dotted(version)}' if version else 'no Python that starts'}; "
                "name one of 3.10 to 3.13 (64 bits) with PYTHON="
            )
        return wanted, stack_of(version)
    running = getattr(sys, "_base_executable", sys.executable)
    if stack_of(probe(running)[0]) == CURRENT:
        return running, CURRENT
    for stack, versions in PYTHONS.items():
        for version in versions:
            found = find(version)
            if found:
                return found, stack
    return dotted(PYTHONS[CURRENT][0]), CURRENT  # a version: uv downloads it


def find(version):
    """Path of an interpreter of a version on PATH or among pyenv's; None where there is none."""
    name = f"python{dotted(version)}"
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser() / "versions"
    paths = [shutil.which(name), *sorted(map(str, pyenv.glob(f"{dotted(version)}.*/bin/{name}")), reverse=True)]
    return next((path for path in paths if path and probe(path)[0] == version), None)


def probe(python):
    """(version, whether its headers are here); (None, False) where it does not start or has 32 bits."""
    try:
        found = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, timeout=60)
        major, minor, wide, headers = map(int, found.stdout.split())
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None, False
    return ((major, minor) if wide else None), bool(headers)


def stack_of(version):
    """The stack that a Python runs; None for none."""
    return next((stack for stack, versions in PYTHONS.items() if version in versions), None)


def why_too_old(stack):
    """What keeps the current stack's TFX from this system; empty where nothing does."""
    name, text = platform.libc_ver()
    libc = tuple(map(int, text.split(".")[:2])) if name == "glibc" and text else (0, 0)
    if stack == LEGACY or libc >= TFX_GLIBC:
        return ""
    return f"TFX 1.21 needs glibc 2.39 (Debian 13, Ubuntu 24.04) and here is {text or 'another C library'}"


def missing_tools(python):
    """What a part of TFX that is built from source (pyfarmhash) lacks here; empty where nothing is missing."""
    missing = []
    if not (shutil.which(os.environ.get("CXX") or "c++") or shutil.which("g++")):
        missing.append("a C++ compiler (apt-get install g++)")
    if os.sep in python and not probe(python)[1]:
        missing.append(f"the Python.h of {python} (apt-get install python3-dev)")
    return f"it needs {' and '.join(missing)}" if missing else ""


def in_words(python, stack):
    """As `current stack, Python 3.12 (/usr/bin/python3)`."""
    version = probe(python)[0] if os.sep in python else None
    return f"{stack} stack, Python " + (f"{dotted(version)} ({python})" if version else f"{python} (by uv)")


def make_tools():
    """Installs uv from the package index, once."""
    if UV.exists():
        return
    for command in (
        [sys.executable, "-m", "venv", str(TOOLS)],
        [str(TOOLS / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "uv"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(TOOLS, ignore_errors=True)
            said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            hint = " (apt-get install python3-venv)" if "ensurepip" in done.stderr + done.stdout else ""
            sys.exit(f"error: `{' '.join(command[:3])}` failed{hint}: {said[-1]}")


def make(venv, python, stack, what):
    """Makes an environment anew where its interpreter or stack changed, and installs what its mark does not say.

    Args:
        venv: its folder.
        python: interpreter, or a version that uv brings.
        stack: `current` or `legacy`.
        what: `core`; `full`, all extras but TFX; or `tfx`, all of them.
    """
    lock = ROOT / "requirements" / f"{stack}.lock"
    inputs = b"".join(path.read_bytes() for path in (lock, ROOT / "pyproject.toml", Path(__file__)))
    mark = venv / ".set-up"
    base, installed = f"{stack} {python} {hashlib.sha256(inputs).hexdigest()[:16]}", ["core", "full", "tfx"]
    known = mark.read_text().split("\n") if mark.exists() else ["", ""]
    if known[0] == base and known[1] in installed[installed.index(what) :]:
        return
    if known[0].split(" ")[:2] != [stack, python] or not (venv / "bin" / "python").exists():
        run_uv(
            [
                "venv",
                "--clear",
                "--seed",
                *([] if os.sep in python else ["--managed-python"]),
                "--python",
                python,
                str(venv),
            ],
            f"cannot make {venv.name} with Python {python}; name an interpreter of 3.11 to 3.13: PYTHON=",
        )
    mark.unlink(missing_ok=True)
    pip = ["pip", "install", "--python", str(venv / "bin" / "python")]
    if what == "tfx":
        run_uv([*pip, "--requirement", str(lock)], "the packages of the lock cannot be installed")
        # Ours comes last: its `tfx` command stands in the place of TFX's and adds `pipeline run`.
        run_uv([*pip, "--no-deps", "--reinstall-package", "pemt-tf", "--editable", str(ROOT)], "cannot install pemt-tf")
    else:
        run_uv([*pip, "--constraint", str(lock), "--editable", str(ROOT) + EXTRAS[what]], "cannot install pemt-tf")
    mark.write_text(f"{base}\n{what}")


def run_uv(arguments, problem):
    """Runs uv; where it fails, says its last words in a line of ours."""
    done = subprocess.run([str(UV), "--quiet", *arguments], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        lines = [line.strip(" ×╰─▶├") for line in done.stderr.strip().splitlines()] or ["no message"]
        sys.exit("\n".join([f"error: {problem}", *(f"  {line}" for line in lines[:4])]))


def dotted(version):
    """As `3.13`."""
    return ".".join(map(str, version))


def say(text):
    """One line to the user."""
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    main()
