"""Loads a SavedModel in C++, as TF Serving does, and runs its signatures. TFX is not needed here.

The program (`load_saved_model.cc`) is compiled against the installed TensorFlow, which takes about 15 s.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np

from pemt_tf.errors import PemtError

SOURCE = Path(__file__).with_name("load_saved_model.cc")
Outputs = dict[tuple[str, str], np.ndarray]


def find_compiler() -> str | None:
    """The C++ compiler that the variable CXX names, or g++; None if there is none."""
    return shutil.which(os.environ.get("CXX") or "g++")


def require_compiler() -> str:
    """The compiler."""
    compiler = find_compiler()
    if compiler is None:
        raise PemtError(
            "infra_check is cpp, but there is no C++ compiler here (g++, or what the variable CXX names); install one, "
            "or set infra_check to python, which loads the model in Python, or to off"
        )
    return compiler


def resolved_check(how: str) -> str:
    """What `auto` means on this machine, `cpp` or `python`; any other value is returned as it is."""
    if how != "auto":
        return how
    return "cpp" if find_compiler() else "python"


def build_loader(folder: Path) -> Path:
    """Compiles the program into a folder and returns its path."""
    compiler = require_compiler()
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.origin is None:
        raise PemtError("TensorFlow is not installed, so the C++ loader cannot be built")
    tensorflow = Path(spec.origin).parent
    program = folder / "load_saved_model"
    command = [compiler, "-O1", "-std=c++17", "-D_GLIBCXX_USE_CXX11_ABI=1", "-DEIGEN_MAX_ALIGN_BYTES=64", "-w"]
    command += [f"-I{tensorflow / 'include'}", str(SOURCE), "-o", str(program), f"-L{tensorflow}"]
    # Newer releases keep the sessions in a library that nothing refers to: it must still be linked.
    command += ["-Wl,--no-as-needed", "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    command += [f"-Wl,-rpath,{tensorflow}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        causes = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
        raise PemtError(f"the C++ loader cannot be built with {compiler}: {causes[0].strip()}")
    return program


def write_request(path: Path, array: np.ndarray) -> None:
    """Writes one input as the program reads it: the dimensions, then the elements."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if array.dtype == object:
        data = b"".join(struct.pack("<Q", len(item)) + item for item in array.ravel())
    else:
        data = array.tobytes()
    path.write_bytes(" ".join(map(str, array.shape)).encode() + b"\n" + data)


def run_loader(program: Path, model: Path, requests: Path) -> Outputs:
    """Loads a model and runs all its signatures: (signature, output) to its values."""
    done = subprocess.run([program, model, requests], capture_output=True, text=True, check=False)
    if done.returncode:
        causes = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        raise PemtError(causes[-1].removeprefix("error: ") if causes else f"the loader ended with {done.returncode}")
    outputs = {}
    for line in done.stdout.splitlines():
        signature, output, rank, *numbers = line.split()
        shape, values = [int(size) for size in numbers[: int(rank)]], numbers[int(rank) :]
        if values and values[0].startswith("x"):
            array = np.array([bytes.fromhex(value[1:]) for value in values], object)
        else:
            array = np.array(values, np.float32)
        outputs[signature, output] = array.reshape(shape)
    return outputs
