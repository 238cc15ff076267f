"""The results of the TensorFlow and codec probes as findings."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from pemt_tf.doctor.finding import OK, PROBLEM, WARNING, Finding
from pemt_tf.doctor.probe import UNANSWERED, ProbeResult

NEEDED_DECODERS = ("H.264", "AAC", "MPEG-4")
OLDEST_AV = (17, 1)


def machine_has_gpu() -> bool:
    """Whether there is an NVIDIA GPU with its driver, even if TensorFlow does not see it."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def tensorflow_findings(result: ProbeResult, has_gpu: bool) -> Iterator[Finding]:
    """Findings on TensorFlow, Keras, processor, GPUs and TF_CONFIG."""
    values = result.values
    if "tensorflow" in values:
        yield Finding(OK, "TensorFlow", f"{values['tensorflow']}, imported in {values['seconds']:.1f} s")
    if "keras" in values:
        if values["backend"] == "tensorflow":
            yield Finding(OK, "Keras", f"{values['keras']} on tensorflow")
        else:
            found = f"{values['keras']} on {values['backend']}; training and export need tensorflow"
            yield Finding(PROBLEM, "Keras", found, 'set "backend": "tensorflow" in ~/.keras/keras.json')
    if "cpu" in values:
        single, half = values["cpu"]["float32"], values["cpu"]["bfloat16"]
        found = f"a product of 512 x 512 takes {1000 * single:.1f} ms in float32, {1000 * half:.1f} ms in bfloat16"
        yield Finding(OK, "CPU arithmetic", found)
    if "products" in values:
        yield from _gpu_findings(values, has_gpu)
    if cluster := values.get("cluster"):
        wrong = cluster.removeprefix("error: ") if cluster.startswith("error: ") else ""
        first, _, rest = wrong.partition(". ")
        yield Finding(PROBLEM, "TF_CONFIG", first, rest) if wrong else Finding(OK, "TF_CONFIG", cluster)
    if result.failure:
        yield Finding(PROBLEM, "TensorFlow", result.failure, _tensorflow_fix(result.failure))


def _tensorflow_fix(failure: str) -> str:
    if failure.startswith(UNANSWERED):
        return "the machine is very busy or its disk very slow: run the doctor again when it is idle"
    if "SIGILL" in failure:
        return "the processor lacks instructions that the wheel was built with (AVX): use another machine"
    if "SIGKILL" in failure:
        return "most likely out of memory: see the finding on memory"
    if "numpy" in failure.lower():
        return "NumPy does not fit this TensorFlow: pip install 'numpy<2' for 2.16 and 2.17, else a current one"
    if "Descriptors cannot be created" in failure or "protobuf" in failure.lower():
        return "protobuf does not fit: see the findings on packages, or install from a lock in requirements/"
    if "No module named" in failure:
        return "pip install --constraint requirements/current.lock . (legacy.lock for Python 3.10)"
    return "install again in a fresh environment: make setup-core"


def _gpu_findings(values: dict, has_gpu: bool) -> Iterator[Finding]:
    for about, wrong in zip(values["gpus"], values["products"], strict=True):
        if wrong:
            fix = "driver and CUDA libraries do not fit this TensorFlow, or the GPU's memory is taken: see nvidia-smi"
            yield Finding(PROBLEM, "GPU", f"{about}: {wrong}", fix)
        else:
            yield Finding(OK, "GPU", f"{about}; a matrix product on it is correct")
    if not values["gpus"] and has_gpu:
        found = "this machine has an NVIDIA GPU that TensorFlow does not see, so all runs on the CPU"
        fix = "pip install 'tensorflow[and-cuda]' in the same version; in a container, start it with --gpus all"
        yield Finding(WARNING, "GPU", found, fix)
    elif not values["gpus"]:
        yield Finding(OK, "GPU", "none; presets like tiny train on the CPU, avbert_base needs GPUs")


def media_findings(result: ProbeResult) -> Iterator[Finding]:
    """Findings on PyAV, its decoders and the round trips."""
    values, again = result.values, "pip install --force-reinstall --only-binary :all: av"
    if "av" in values:
        version = tuple(int(part) for part in values["av"].split(".")[:2] if part.isdigit())
        found = f"{values['av']} with FFmpeg {values['ffmpeg']}"
        if version < OLDEST_AV:
            found += "; before 17.1 its resampler leaks memory"
            yield Finding(PROBLEM, "PyAV", found, "pip install 'av>=17.1'")
        else:
            yield Finding(OK, "PyAV", found)
    if missing := values.get("missing"):
        status = PROBLEM if set(missing) & set(NEEDED_DECODERS) else WARNING
        fix = f"the wheel from PyPI has all: {again}"
        yield Finding(status, "decoders", f"none for {', '.join(missing)}: such files will fail", fix)
    elif "missing" in values:
        yield Finding(OK, "decoders", "H.264, HEVC, VP8, VP9, AV1, MPEG-4, MPEG-2, AAC, MP3, Opus, Vorbis, PCM")
    for name, title, what, fix in (
        ("clip", "clip round trip", "a clip written and read in memory", again),
        ("jpeg", "JPEG round trip", "a JPEG written and read", "pip install --force-reinstall simplejpeg"),
    ):
        if wrong := values.get(name):
            yield Finding(PROBLEM, title, wrong, fix)
        elif name in values:
            yield Finding(OK, title, f"{what} came back unchanged")
    if result.failure:
        yield Finding(PROBLEM, "codecs", result.failure, again)
