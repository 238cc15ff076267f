"""What the doctor says of broken environments. No test here imports TensorFlow: broken ones are made of small files."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from pemt_tf.doctor import console_scripts, devices, examination, machine, packages
from pemt_tf.doctor.data_folder import check_data
from pemt_tf.doctor.finding import Finding
from pemt_tf.doctor.probe import ProbeProcess, ProbeResult

ROOT = Path(__file__).resolve().parents[1]


def installed(monkeypatch, versions: dict[str, str], requires: dict[str, list[str]] | None = None) -> None:
    """An environment with these packages only."""

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    def needs(name: str) -> list[str]:
        version(name)
        return (requires or {}).get(name, [])

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "requires", needs)


def said(findings) -> list[tuple[str, str, str, str]]:
    return [(each.status, each.name, each.found, each.fix) for each in findings]


# Python and packages


@pytest.mark.parametrize(
    ("version", "is_64_bit", "status"),
    [((3, 10, 1), True, "ok"), ((3, 12, 9), True, "ok"), ((3, 9, 9), True, "problem")]
    + [((3, 14, 0), True, "problem"), ((3, 11, 2), False, "problem")],
)
def test_python(version, is_64_bit, status):
    finding = packages.check_python(version, is_64_bit)
    assert finding.status == status and finding.found.startswith(".".join(map(str, version)))
    assert bool(finding.fix) == (status == "problem")
    assert ("tested: 3.10, 3.11, 3.13" in finding.found) == (version == (3, 12, 9))


def test_missing_and_old_packages(monkeypatch):
    needs = ["av>=17.1", "numpy>=1.26", "keras>=3.10", "tfx>=1.16; extra == 'tfx'", "old; python_version < '3'"]
    installed(monkeypatch, {"pemt-tf": "1", "av": "16.0", "numpy": "1.26.4"}, {"pemt-tf": needs})
    assert said(packages.check_ranges()) == [
        ("problem", "av", "16.0, but >=17.1 is needed", "pip install 'av>=17.1'"),
        ("problem", "keras", "not installed", "pip install 'keras>=3.10'"),
        ("ok", "packages", "1 of 3 are installed in the required versions", ""),
    ]


def test_our_package_is_not_installed(monkeypatch):
    installed(monkeypatch, {})
    (finding,) = packages.check_ranges()
    assert finding.status == "warning" and finding.fix == "pip install -e ."


def test_numpy_and_protobuf_that_do_not_fit_tensorflow(monkeypatch):
    versions = {"tensorflow": "2.16.2", "numpy": "2.4.6", "protobuf": "6.33.6", "keras": "3.12.4"}
    needs = ["numpy<2.0.0,>=1.26.0; python_version >= '3.10'", "protobuf<5.0.0dev,>=3.20.3", "keras>=3.0.0"]
    installed(monkeypatch, versions, {"tensorflow": [*needs, "absent; python_version < '3'"], "keras": ["rich"]})
    found = said(packages.check_needs_of_packages())
    assert [(status, name) for status, name, _, _ in found] == [
        ("problem", "numpy"),
        ("problem", "protobuf"),
        ("problem", "rich"),
    ]
    assert found[0][2:] == (
        "tensorflow 2.16.2 needs numpy<2.0.0,>=1.26.0, there is 2.4.6",
        "pip install 'numpy<2.0.0,>=1.26.0'",
    )
    assert found[2][2] == "keras 3.12.4 needs rich, there is not installed"


def test_untested_versions_are_a_warning(monkeypatch):
    installed(monkeypatch, {"tensorflow": "2.18.0", "keras": "3.12.9", "numpy": "2.4.1"})
    finding = packages.check_tested()
    assert (finding.status, finding.found) == ("warning", "tensorflow 2.18.0 (tested: 2.21.0, 2.16.2)")


def test_tested_versions_are_those_of_the_locks():
    for place, stack in enumerate(("current", "legacy")):
        lines = (ROOT / "requirements" / f"{stack}.lock").read_text().splitlines()
        locked = dict(line.split(" ;")[0].split("==") for line in lines if "==" in line)
        assert {name: locked[name] for name in packages.TESTED} == {
            name: versions[place] for name, versions in packages.TESTED.items()
        }


def test_extras_are_those_of_the_package():
    text = (ROOT / "pyproject.toml").read_text()
    for extra in packages.EXTRAS:
        assert f"\n{extra} = [" in text, extra


@pytest.mark.parametrize(
    ("environment", "versions", "status", "words", "fix"),
    [
        ({"TF_USE_LEGACY_KERAS": "1"}, {}, "problem", "tf.keras is then Keras 2", "unset TF_USE_LEGACY_KERAS"),
        ({"KERAS_BACKEND": "torch"}, {}, "problem", "KERAS_BACKEND is 'torch'", "unset KERAS_BACKEND"),
        ({}, {"tensorflow-addons": "0.23"}, "warning", "cannot be imported", "pip uninstall tensorflow-addons"),
        ({}, {"tensorflow-io": "0.37.1", "tensorflow": "2.21.0"}, "warning", "2.16 only", "uninstall tensorflow-io"),
        ({}, {"tensorflow": "2.16.2", "tensorflow-cpu": "2.16.2"}, "problem", "overwrite", "pip install tensorflow"),
    ],
)
def test_traps(monkeypatch, environment, versions, status, words, fix):
    installed(monkeypatch, versions)
    (finding,) = packages.check_traps(environment)
    assert finding.status == status and words in finding.found and fix in finding.fix


def test_no_trap(monkeypatch):
    installed(monkeypatch, {"tf-keras": "2.16.0", "tensorflow-io": "0.37.1", "tensorflow": "2.16.2"})
    (finding,) = packages.check_traps({"KERAS_BACKEND": "tensorflow", "TF_USE_LEGACY_KERAS": "0"})
    assert finding.status == "ok" and "tf_keras 2.16.0" in finding.found


def test_extras_that_are_absent_are_no_problem(monkeypatch):
    installed(monkeypatch, {"usearch": "2.26.5"})
    found = {each.name: each for each in packages.check_extras(("glibc", "2.39"))}
    assert {each.status for each in found.values()} == {"ok"}
    assert found["extra search"].found.startswith("usearch 2.26.5") and not found["extra search"].fix
    assert found["extra umap"].fix == "if you want it: pip install 'pemt-tf[umap]'"
    monkeypatch.setattr(sys, "version_info", (3, 11, 2))
    assert "this machine has 2.36" in next(iter(packages.check_extras(("glibc", "2.36")))).fix


# The commands


def command(folder: Path, name: str, *lines: str) -> Path:
    """A script as pip writes it."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("\n".join(["#!/usr/bin/python3", "# -*- coding: utf-8 -*-", "import re", "import sys", *lines]))
    path.chmod(0o755)
    return path


@pytest.fixture
def scripts(monkeypatch, tmp_path):
    """A folder on PATH, and beside it the environment's own folder of scripts, both empty; TFX is installed."""
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(console_scripts.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr("sysconfig.get_path", lambda kind: str(tmp_path / "own"))
    origin = '{"url": "file:///home/me/my%20work", "dir_info": {"editable": true}}'
    ours = types.SimpleNamespace(read_text={"direct_url.json": origin}.get)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: ours)
    return tmp_path


def test_commands_of_other_packages(scripts):
    pemt = command(scripts / "path", "pemt", "from pemt.cli import main", "sys.exit(main())")
    tfx = command(scripts / "path", "tfx", "from tfx.tools.cli.cli_main import cli_group", "sys.exit(cli_group())")
    again = "to replace it: pip install --force-reinstall --no-deps --editable '/home/me/my work'"
    assert said(console_scripts.check_console_scripts()) == [
        (
            *("warning", "command pemt", f"{pemt} is the command of another package (it starts pemt.cli)"),
            f"use python -m pemt_tf in its place; {again}",
        ),
        (
            *(
                "warning",
                "command tfx",
                f"{tfx} has no `tfx pipeline run`: TFX was installed after pemt-tf, and its own command replaced ours",
            ),
            f"use pemt pipeline run in its place; {again}",
        ),
    ]


def test_commands_of_ours(scripts):
    pemt = command(scripts / "path", "pemt", "from pemt_tf.cli import main", "sys.exit(main())")
    # pyenv's shim starts what is installed in the environment.
    (scripts / "path" / "tfx").write_text('#!/usr/bin/env bash\nexec "/pyenv" exec "tfx" "$@"\n')
    (scripts / "path" / "tfx").chmod(0o755)
    module = "pemt_tf.orchestration.running.tfx_command"
    tfx = command(scripts / "own", "tfx", f"from {module} import main", "sys.exit(main())")
    assert said(console_scripts.check_console_scripts()) == [
        ("ok", "command pemt", str(pemt), ""),
        ("ok", "command tfx", f"{tfx}, with `tfx pipeline run`", ""),
    ]


def test_commands_that_are_not_on_the_path(scripts, monkeypatch):
    found = list(console_scripts.check_console_scripts())
    assert [(each.status, each.found) for each in found] == [("ok", "not on PATH")] * 2
    assert [each.fix.partition(" is the same")[0] for each in found] == ["python -m pemt_tf", "pemt pipeline run"]
    monkeypatch.setattr(console_scripts.importlib.util, "find_spec", lambda name: None)
    assert [each.name for each in console_scripts.check_console_scripts()] == ["command pemt"]


# The machine


def test_processor(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nflags\t\t: fpu sse sse2\n")
    without = machine.check_processor(cpuinfo, "x86_64")
    assert without.status == "problem" and "without AVX" in without.found and "another machine" in without.fix
    cpuinfo.write_text("flags\t\t: avx avx2 avxvnni\n")
    assert "no bfloat16" in machine.check_processor(cpuinfo, "x86_64").found
    cpuinfo.write_text("flags\t\t: avx avx2 fma avx512_bf16\n")
    found = machine.check_processor(cpuinfo, "x86_64")
    assert found.status == "ok" and "with avx, avx2, fma, avx512_bf16; bfloat16 in hardware" in found.found
    assert machine.check_processor(cpuinfo, "aarch64").status == "ok"
    assert machine.check_processor(tmp_path / "gone", "x86_64").status == "ok"


def test_memory_limit_of_control_groups(tmp_path):
    proc, group = tmp_path / "proc", tmp_path / "group"
    (proc / "self").mkdir(parents=True)
    group.mkdir()
    assert machine.memory_limit(tmp_path / "gone", group) is None
    (proc / "meminfo").write_text("MemTotal:       16000000 kB\nMemFree: 1 kB\n")
    assert machine.memory_limit(proc, group) == (16_384_000_000, False)
    (group / "memory.max").write_text("max\n")
    assert machine.memory_limit(proc, group) == (16_384_000_000, False)
    (proc / "self/cgroup").write_text("0::/jobs/mine\n")
    (group / "jobs/mine").mkdir(parents=True)
    (group / "jobs/mine/memory.max").write_text("3000000000\n")
    assert machine.memory_limit(proc, group) == (3_000_000_000, True)
    (group / "memory").mkdir()
    (group / "memory/memory.limit_in_bytes").write_text("1000000000\n")  # version 1
    assert machine.memory_limit(proc, group) == (1_000_000_000, True)


def test_memory():
    assert machine.check_memory((1_000_000_000, True)).status == "problem"
    little = machine.check_memory((4_000_000_000, True))
    assert little.status == "warning" and little.found.startswith("4.0 GB, the limit of this container")
    assert "model.remat=true" in little.fix
    assert machine.check_memory((16_000_000_000, False)).found == "16.0 GB"
    assert machine.check_memory(None).status == "ok"


def test_disk(monkeypatch, tmp_path):
    def free(gigabytes):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, int(gigabytes * 1e9)))

    free(0.5)
    full = machine.check_disk("disk here", tmp_path / "not" / "yet", "make room")
    assert (full.status, full.found, full.fix) == ("problem", f"0.5 GB free at {tmp_path}", "make room")
    free(5)
    assert machine.check_disk("disk", tmp_path, "make room").status == "warning"
    free(5000)
    assert machine.check_disk("disk", tmp_path, "make room") == Finding("ok", "disk", f"5,000.0 GB free at {tmp_path}")
    (tmp_path / "file").touch()
    assert machine.check_disk("disk", tmp_path / "file" / "below", "").found.endswith("is a file")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_disk_where_one_may_not_write(monkeypatch, tmp_path):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(machine.tempfile, "NamedTemporaryFile", refuse)
    finding = machine.check_disk("disk of the output", tmp_path, "")
    assert finding.status == "problem" and finding.found.endswith("cannot be written (Permission denied)")


@pytest.mark.parametrize(
    ("limits", "status", "fix"),
    [((64, 64), "problem", "ulimit -n 64"), ((256, resource.RLIM_INFINITY), "warning", "ulimit -n unlimited")]
    + [((1024, 4096), "ok", ""), ((resource.RLIM_INFINITY,) * 2, "ok", "")],
)
def test_open_files(monkeypatch, limits, status, fix):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits)
    finding = machine.check_open_files()
    assert (finding.status, finding.fix) == (status, fix)


@pytest.mark.parametrize(("version", "status"), [("17.0.9", "ok"), ("11.0.2", "ok"), ("1.8.0_392", "warning")])
def test_java(monkeypatch, tmp_path, version, status):
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2023-10-17' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert next(iter(machine.check_flink())).status == status


def test_no_java(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [(each.name, each.status, each.found) for each in machine.check_flink()] == [
        ("Java", "ok", "not installed"),
        ("Maven", "ok", "not installed"),
    ]


# TensorFlow and the codecs, in processes of their own


def broken_module(monkeypatch, tmp_path, name: str, code: str) -> None:
    """A package that child processes import in the place of the real one."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))


@pytest.mark.parametrize(
    ("code", "words", "fix"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "SIGILL during: import tensorflow", "AVX"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL during: import tensorflow", "memory"),
        ("raise ImportError('numpy.core.multiarray\\nfailed')", "ImportError: numpy.core.multiarray failed", "numpy<2"),
        ("raise TypeError('Descriptors cannot be created directly')", "Descriptors", "protobuf does not fit"),
        ("import not_there_at_all", "No module named 'not_there_at_all'", "current.lock"),
        ("import sys; sys.exit(3)", "exit code 3 during: import tensorflow", "make setup-core"),
    ],
)
def test_tensorflow_that_cannot_be_imported(monkeypatch, tmp_path, code, words, fix):
    broken_module(monkeypatch, tmp_path, "tensorflow", code)
    (finding,) = devices.tensorflow_findings(ProbeProcess("pemt_tf.doctor.tensorflow_probe").result(), False)
    assert finding.status == "problem" and words in finding.found and fix in finding.fix
    assert "\n" not in finding.found


def test_a_probe_that_hangs(monkeypatch, tmp_path):
    broken_module(monkeypatch, tmp_path, "tensorflow", "import time; time.sleep(600)")
    answer = ProbeProcess("pemt_tf.doctor.tensorflow_probe", seconds=3).result()
    assert answer.failure.startswith("no answer within 3 s")
    (finding,) = devices.tensorflow_findings(answer, False)
    assert finding.status == "problem" and "again when it is idle" in finding.fix


WORKING = {"tensorflow": "2.16.2", "seconds": 5.04, "keras": "3.12.4", "backend": "tensorflow", "gpus": []}
WORKING |= {"cpu": {"float32": 0.002, "bfloat16": 0.001}, "products": [], "cluster": "", "cuda": False}


def test_tensorflow_that_works():
    found = said(devices.tensorflow_findings(ProbeResult(WORKING), has_gpu=False))
    assert found[:3] == [
        ("ok", "TensorFlow", "2.16.2, imported in 5.0 s", ""),
        ("ok", "Keras", "3.12.4 on tensorflow", ""),
        ("ok", "CPU arithmetic", "a product of 512 x 512 takes 2.0 ms in float32, 1.0 ms in bfloat16", ""),
    ]
    assert found[3][:2] == ("ok", "GPU") and len(found) == 4


@pytest.mark.parametrize(
    ("changes", "has_gpu", "name", "status", "words"),
    [
        ({"backend": "jax"}, False, "Keras", "problem", "on jax; training and export need tensorflow"),
        ({}, True, "GPU", "warning", "that TensorFlow does not see"),
        ({"gpus": ["H100"], "products": [""]}, True, "GPU", "ok", "H100; a matrix product on it is correct"),
        ({"gpus": ["H100"], "products": ["no kernel image"]}, True, "GPU", "problem", "H100: no kernel image"),
        ({"cluster": "worker 1 of 2: a:1, b:1"}, False, "TF_CONFIG", "ok", "worker 1 of 2"),
        ({"cluster": "error: TF_CONFIG is no JSON (x). On each ..."}, False, "TF_CONFIG", "problem", "is no JSON (x)"),
    ],
)
def test_what_tensorflow_sees(changes, has_gpu, name, status, words):
    found = {each.name: each for each in devices.tensorflow_findings(ProbeResult(WORKING | changes), has_gpu)}
    assert found[name].status == status and words in found[name].found
    assert bool(found[name].fix) == (status != "ok")


def test_a_death_on_the_gpu_keeps_what_was_found_before():
    values = {name: WORKING[name] for name in ("tensorflow", "seconds", "keras", "backend")}
    failure = "Python was killed by SIGSEGV during: listing GPUs"
    found = list(devices.tensorflow_findings(ProbeResult(values, failure), True))
    assert [each.status for each in found] == ["ok", "ok", "problem"] and found[2].found == failure


def test_real_codecs():
    found = list(devices.media_findings(ProbeProcess("pemt_tf.doctor.media_probe").result()))
    assert [(each.status, each.name) for each in found] == [
        ("ok", "PyAV"),
        ("ok", "decoders"),
        ("ok", "clip round trip"),
        ("ok", "JPEG round trip"),
    ], found
    assert re.match(r"\d+\.\d+\.\d+ with FFmpeg .", found[0].found)


def test_codecs_that_are_broken(monkeypatch, tmp_path):
    values = {"av": "16.1.0", "ffmpeg": "7.1", "missing": ["AV1"], "clip": "9 of 10 pictures came back", "jpeg": ""}
    found = {each.name: each for each in devices.media_findings(ProbeResult(values))}
    assert found["PyAV"].status == "problem" and found["PyAV"].fix == "pip install 'av>=17.1'"
    assert found["decoders"].status == "warning" and "none for AV1" in found["decoders"].found
    assert found["clip round trip"].status == "problem" and found["JPEG round trip"].status == "ok"
    (decoders,) = devices.media_findings(ProbeResult({"missing": ["AV1", "H.264"]}))
    assert decoders.status == "problem"
    broken_module(monkeypatch, tmp_path, "av", "raise ImportError('libavcodec.so: cannot open shared object file')")
    (finding,) = devices.media_findings(ProbeProcess("pemt_tf.doctor.media_probe").result())
    assert finding.status == "problem" and "libavcodec.so" in finding.found and "pip install" in finding.fix


# A data set


def test_data(tmp_path, dataset_directory):
    finding = check_data(dataset_directory)
    assert finding.status == "ok" and finding.found.startswith("12 train, 9 test clips, ")
    copy = tmp_path / "copy"
    shutil.copytree(dataset_directory, copy)
    next(copy.glob("train/*.tfrecord")).unlink()
    gone = check_data(copy)
    assert gone.status == "problem" and gone.found.startswith("1 of 6 record files are missing, first ")
    nothing = check_data(tmp_path / "nothing")
    assert nothing.status == "problem" and "beam_jobs.preprocess" in nothing.fix


# The whole


def test_a_check_that_crashes_is_a_problem(monkeypatch):
    def crash():
        raise ValueError("two\nlines")

    (finding,) = examination._safely("memory", crash)
    assert finding.status == "problem" and finding.name == "memory"
    assert finding.found == "the check itself failed (ValueError: two lines)"

    def halfway():
        yield Finding("ok", "first", "fine")
        raise ModuleNotFoundError("No module named 'packaging'")

    first, second = examination._safely("packages", halfway)
    assert first.status == "ok" and "No module named 'packaging'" in second.found


def test_starts_where_nothing_is_installed(tmp_path):
    """No package but ours can be imported: every check ends in a line, and the exit code is 1."""
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise ImportError('not the real one')")  # which takes long
    command = [sys.executable, "-S", "-m", "pemt_tf.doctor", "--json", "--data", str(tmp_path)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 1 and ended.stderr == ""
    values = json.loads(ended.stdout)
    assert any("not the real one" in each["found"] for each in values["findings"])
    failed = [each for each in values["findings"] if "the check itself failed" in each["found"]]
    assert failed and all("packaging" in each["found"] or "yaml" in each["found"] for each in failed)
