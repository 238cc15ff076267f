"""benchmarks/gpu_step.py: rows that fail are rows, ratios are paired by round, and on a CPU it runs at all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
FIGURES = '{"clips_per_second": 8.0, "peak_gb": 1.5, "first_step_s": 3.0}'


@pytest.fixture(scope="module")
def gpu_step():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import gpu_step
    finally:
        sys.path.remove(str(BENCHMARKS))
    return gpu_step


def row(gpu_step, side="tensorflow", way="eager", batch=8):
    return gpu_step.Row(side, "bfloat16", way, batch, 10, False)


@pytest.mark.parametrize(
    ("script", "limit", "figures"),
    [
        (f"echo noise; echo '{FIGURES}'", 60, json.loads(FIGURES)),
        ("echo 'E0000 RESOURCE_EXHAUSTED: 9 GB' >&2; exit 1", 60, {"failed": "out of memory"}),
        ("echo 'torch.OutOfMemoryError: CUDA out of memory.' >&2; exit 1", 60, {"failed": "out of memory"}),
        ("echo Traceback >&2; echo 'ModuleNotFoundError: x' >&2; exit 1", 60, {"failed": "ModuleNotFoundError: x"}),
        ("kill -9 $$", 60, {"failed": "exit code -9"}),
        ("sleep 60 & sleep 60", 0.5, {"failed": "not done after 0 s"}),
        (
            '[ "$PLACE" = there ] && [ -n "$1$2" ] && echo \'{"here": "\'$KERAS_BACKEND\'"}\'',
            60,
            {"here": "tensorflow"},
        ),
    ],
    ids=["figures", "TensorFlow's memory", "PyTorch's memory", "no module", "killed", "too slow", "environment"],
)
def test_what_becomes_of_a_row(gpu_step, tmp_path, script, limit, figures):
    (tmp_path / "python").write_text(script + "\n")
    assert gpu_step.run(row(gpu_step), f"PLACE=there sh {tmp_path}/python", limit) == figures


def test_an_interpreter_that_is_not_there(gpu_step):
    assert gpu_step.run(row(gpu_step), "/no/python3", 5) == {"failed": "/no/python3: No such file or directory"}


def test_ratios_are_those_of_the_rounds(gpu_step):
    """12 / 10 and 30 / 20: not the ratio of the medians, 21 / 15."""
    ours, theirs, slow = row(gpu_step), row(gpu_step, "pytorch"), row(gpu_step, "jax", "xla")

    def figures(rate):
        return {"clips_per_second": rate, "peak_gb": rate / 10, "first_step_s": 2.0}

    rounds = [
        {
            gpu_step.name(ours): figures(12.0),
            gpu_step.name(theirs): figures(10.0),
            gpu_step.name(slow): {"failed": "x"},
        },
        {gpu_step.name(ours): figures(30.0), gpu_step.name(theirs): figures(20.0)},
    ]
    other = row(gpu_step, batch=16)
    assert gpu_step.table([ours, theirs, slow, other], rounds).splitlines()[2:] == [
        "| ours, TensorFlow, bfloat16, batch 8 | 21.00 | 3.00 | 2.0 | 1.35 (1.20 to 1.50) |",
        "| PyTorch, bfloat16, batch 8 | 15.00 | 2.00 | 2.0 | 1.00 (1.00 to 1.00) |",
        "| ours, JAX, bfloat16, xla, batch 8 | x | | | |",
        "| ours, TensorFlow, bfloat16, batch 16 | not run | | | |",
    ]


def test_every_way_is_a_row_and_those_to_compare_are_neighbours(gpu_step, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu_step.py", "--batches", "4,8"])
    names = [gpu_step.name(each) for each in gpu_step.rows_of(gpu_step._options())]
    assert len(names) == len(set(names)) == 2 * 2 * 8 + 2
    assert names[:8] == [
        "PyTorch, float32, batch 4",
        "PyTorch, float32, channels-last, batch 4",
        "PyTorch, float32, compiled, batch 4",
        "ours, TensorFlow, float32, batch 4",
        "ours, TensorFlow, float32, xla, batch 4",
        "ours, TensorFlow, float32, xla-transformer, batch 4",
        "ours, TensorFlow, float32, remat, batch 4",
        "ours, JAX, float32, xla, batch 4",
    ]
    assert names[-1] == "tiny, pretraining, bfloat16, batch 32"
    monkeypatch.setattr(sys, "argv", ["gpu_step.py", "--batches", "8", "--only", "bfloat16", "--only", "TensorFlow"])
    assert len(gpu_step.rows_of(gpu_step._options())) == 4


@pytest.mark.slow
@pytest.mark.parametrize("only", ["TensorFlow, float32, batch 2", "tiny, pretraining, float32"])
def test_small_on_a_cpu(tmp_path, only):
    command = [sys.executable, BENCHMARKS / "gpu_step.py", "--small", "--batches", "2", "--only", only]
    command += ["--rounds", "1", "--steps", "1", "--json", tmp_path / "figures.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (figures,) = json.loads((tmp_path / "figures.json").read_text())["rounds"][0].values()
    assert figures["clips_per_second"] > 0 and 0.1 < figures["peak_gb"] < 16 and len(figures["blocks"]) >= 2
    assert f"| {figures['clips_per_second']:.2f} | {figures['peak_gb']:.2f} |" in done.stdout
