"""Python and the packages: versions, requirements of each other, known conflicts, optional extras."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from pemt_tf.doctor.finding import OK, PROBLEM, WARNING, Finding

OURS = "pemt-tf"
PYTHON = ((3, 10), (3, 14))  # from the first, below the second
TESTED_PYTHON = ("3.10", "3.11", "3.13")
# Versions in the current and the legacy lock; a test compares.
TESTED = {
    "apache-beam": ("2.77.0", "2.74.0"),
    "av": ("18.1.0", "17.1.0"),
    "keras": ("3.15.1", "3.12.4"),
    "numpy": ("2.4.6", "1.26.4"),
    "protobuf": ("6.33.6", "3.20.3"),
    "tensorflow": ("2.21.0", "2.16.2"),
}
# Packages whose own requirements are checked: most broken installations show there.
DEPENDENTS = (
    *("tensorflow", "keras", "apache-beam", "tfx", "tensorflow-serving-api"),
    *("scipy", "scikit-learn", "umap-learn"),
)
EXTRAS = {
    "tfx": ("tfx", "the TFX pipeline"),
    "dataflow": ("google-apitools", "Dataflow and gs://"),
    "aws": ("boto3", "s3:// paths in the jobs"),
    "search": ("usearch", "approximate search among more than a million clips"),
    "umap": ("umap-learn", "the UMAP map of pemt explore"),
    "formats": ("array-record", "record files in the form ArrayRecord"),
}
TFX_GLIBC = (2, 39)  # required by the wheels of TFX for Python 3.11 and later


def version_of(package: str) -> str | None:
    """The installed version, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_python(version: tuple[int, ...] = sys.version_info[:3], is_64_bit: bool = sys.maxsize > 2**32) -> Finding:
    """Checks that this Python is supported."""
    text = ".".join(map(str, version))
    found = f"{text} at {sys.executable}"
    if not PYTHON[0] <= tuple(version[:2]) < PYTHON[1]:
        return Finding(PROBLEM, "Python", found, "use Python 3.11 to 3.13 (or 3.10 for the legacy stack)")
    if not is_64_bit:
        return Finding(PROBLEM, "Python", f"{found}, 32 bits", "use a 64-bit Python: TensorFlow has no other wheels")
    if ".".join(text.split(".")[:2]) not in TESTED_PYTHON:
        return Finding(OK, "Python", f"{found} (supported; tested: {', '.join(TESTED_PYTHON)})")
    return Finding(OK, "Python", found)


def check_ranges() -> Iterator[Finding]:
    """Checks that each required package is installed, in the required range."""
    try:
        needed = _requirements(OURS)
    except importlib.metadata.PackageNotFoundError:
        found = f"{OURS} is not installed, so its requirements are unknown"
        yield Finding(WARNING, "packages", found, "pip install -e .")
        return
    fitting = 0
    for requirement in needed:
        version = version_of(requirement.name)
        if version is None:
            yield Finding(PROBLEM, requirement.name, "not installed", f"pip install '{_plain(requirement)}'")
        elif not requirement.specifier.contains(version, prereleases=True):
            found = f"{version}, but {requirement.specifier} is needed"
            yield Finding(PROBLEM, requirement.name, found, f"pip install '{_plain(requirement)}'")
        else:
            fitting += 1
    if fitting:
        yield Finding(OK, "packages", f"{fitting} of {len(needed)} are installed in the required versions")


def check_tested() -> Finding:
    """Compares the versions of the most important packages with the tested ones."""
    versions = {name: version for name in TESTED if (version := version_of(name))}
    other = [
        f"{name} {version} (tested: {', '.join(TESTED[name])})"
        for name, version in versions.items()
        if _minor(version) not in {_minor(tested) for tested in TESTED[name]}
    ]
    if other:
        lock = "current" if sys.version_info >= (3, 11) else "legacy"
        fix = f"if something fails, install the tested ones: pip install --constraint requirements/{lock}.lock ."
        return Finding(WARNING, "tested versions", "; ".join(other), fix)
    return Finding(OK, "tested versions", ", ".join(f"{name} {version}" for name, version in versions.items()))


def check_needs_of_packages() -> Iterator[Finding]:
    """Checks requirements of packages of each other: NumPy 2 beside TensorFlow 2.16, a protobuf too new, ..."""
    broken = 0
    for name in DEPENDENTS:
        if version_of(name) is None:
            continue
        for requirement in _requirements(name):
            version = version_of(requirement.name)
            if version is not None and requirement.specifier.contains(version, prereleases=True):
                continue
            broken += 1
            there = version or "not installed"
            found = f"{name} {version_of(name)} needs {_plain(requirement)}, there is {there}"
            yield Finding(PROBLEM, requirement.name, found, f"pip install '{_plain(requirement)}'")
    if not broken:
        yield Finding(OK, "needs of packages", "all are met")


def check_traps(environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """Looks for settings that make another Keras run, and for packages that break beside it."""
    found: list[Finding] = []
    if environment.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
        text = "TF_USE_LEGACY_KERAS is set: tf.keras is then Keras 2, which cannot read or run our models"
        found.append(Finding(PROBLEM, "Keras", text, "unset TF_USE_LEGACY_KERAS"))
    backend = environment.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        fix = "unset KERAS_BACKEND, or export KERAS_BACKEND=tensorflow"
        text = f"KERAS_BACKEND is {backend!r}; training and export need tensorflow"
        found.append(Finding(PROBLEM, "Keras", text, fix))
    if version_of("tensorflow-addons"):
        text = "installed; it ended in 2024, cannot be imported beside Keras 3, and nothing here uses it"
        found.append(Finding(WARNING, "tensorflow-addons", text, "pip uninstall tensorflow-addons"))
    io, tensorflow = version_of("tensorflow-io"), version_of("tensorflow")
    if io and tensorflow and _minor(tensorflow) != (2, 16):
        text = f"{io} beside TensorFlow {tensorflow}: its library loads with 2.16 only"
        found.append(Finding(WARNING, "tensorflow-io", text, "pip uninstall tensorflow-io"))
    several = [name for name in ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tf-nightly") if version_of(name)]
    if len(several) > 1:
        fix = f"pip uninstall {' '.join(several)}; then pip install tensorflow"
        found.append(Finding(PROBLEM, "TensorFlow", f"{' and '.join(several)} overwrite each other's files", fix))
    legacy = f"tf_keras {version_of('tf-keras')} is installed and does no harm; " if version_of("tf-keras") else ""
    return found or [Finding(OK, "known traps", f"{legacy}no variable or package makes another Keras run")]


def check_extras(libc: tuple[str, str] = platform.libc_ver()) -> Iterator[Finding]:
    """Lists the optional parts, with how to get those that are absent."""
    for extra, (package, purpose) in EXTRAS.items():
        version = version_of(package)
        if version is not None:
            yield Finding(OK, f"extra {extra}", f"{package} {version}, for {purpose}")
            continue
        fix = f"if you want it: pip install '{OURS}[{extra}]'"
        too_old = libc[0] == "glibc" and tuple(map(int, libc[1].split(".")[:2])) < TFX_GLIBC
        if extra == "tfx" and sys.version_info >= (3, 11) and too_old:
            fix = f"needs Python 3.10 here: for later ones its wheels need glibc 2.39, this machine has {libc[1]}"
        yield Finding(OK, f"extra {extra}", f"not installed ({purpose})", fix)


def _requirements(package: str) -> list[Any]:
    """What an installed package requires without its extras: `packaging.requirements.Requirement`s."""
    from packaging.requirements import Requirement

    needed = map(Requirement, importlib.metadata.requires(package) or [])
    return [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]


def _plain(requirement: Any) -> str:
    return f"{requirement.name}{requirement.specifier}"


def _minor(version: str) -> tuple[int, ...]:
    from packaging.version import Version

    return Version(version).release[:2]
