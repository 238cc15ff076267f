"""Two workers on this machine, joined by TF_CONFIG (`multi_worker_run`): one is lost, both are started again."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.training import pretrain as pretraining
from tests.training.multi_worker_run import config
from tests.training.small_cnns import use_small_cnns

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1200  # seconds, on a busy machine

pytestmark = pytest.mark.slow


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Workers:
    """Two processes, the second of which may end itself after a step."""

    def __init__(self, data: Path, folder: Path, name: str, killed_after: int = 0):
        self.errors, self.processes = [folder / f"{name}-{index}.txt" for index in range(2)], []
        addresses = [f"localhost:{port}" for port in free_ports(2)]
        for index, path in enumerate(self.errors):
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            stop = killed_after if index == 1 else 0
            arguments = [data, folder / "run", folder / f"worker-{index}.npz", stop]
            with path.open("wb") as errors:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.training.multi_worker_run", *map(str, arguments)],
                    cwd=ROOT,
                    stdout=errors,
                    stderr=errors,
                    env={**os.environ, "TF_CONFIG": json.dumps(task)},
                )
            self.processes.append(process)

    def text(self, index: int) -> str:
        return self.errors[index].read_text(errors="replace")

    def wait_for(self, index: int, words: str) -> str:
        """What a worker says, when it has said these words or ended."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            ended = self.processes[index].poll() is not None
            if words in self.text(index) or ended:
                return self.text(index)
            time.sleep(0.2)
        return self.text(index)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def outcome(tmp_path_factory, dataset_directory):
    """Worker 1 dies in step 2, worker 0 is killed when it has noticed; both are started again and finish."""
    folder = tmp_path_factory.mktemp("workers")
    first = Workers(dataset_directory, folder, "first", killed_after=2)
    try:
        noticed = first.wait_for(0, "error: ")
    finally:
        first.stop()
    left = sorted(path.name for path in (folder / "run").rglob("*") if path.is_file())
    second = Workers(dataset_directory, folder, "second")
    try:
        codes = [process.wait(LIMIT) for process in second.processes]
    except subprocess.TimeoutExpired:
        codes = ["hangs"] * 2
    finally:
        second.stop()
    assert codes == [0, 0], second.text(0)[-2000:] + second.text(1)[-2000:]
    return {"folder": folder, "noticed": noticed, "left": left, "code": first.processes[1].returncode}


@pytest.fixture(scope="module")
def alone(tmp_path_factory, clip_source):
    """The same run on one device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "make_strategy", tf.distribute.get_strategy)
        use_small_cnns(patch.setattr)
        return pretraining.pretrain(config(), clip_source, tmp_path_factory.mktemp("alone") / "run")


def arrays(path: Path) -> list[np.ndarray]:
    with np.load(path) as archive:
        return [archive[name] for name in sorted(archive.files) if name not in ("notes", "replicas")]


def test_a_lost_worker_is_noticed_and_named(outcome):
    assert outcome["code"] == -9
    assert re.search(r"^error: another worker is lost \(.+\); start the same command again", outcome["noticed"], re.M)
    assert "Traceback" not in outcome["noticed"]


def test_an_unfinished_run_keeps_its_checkpoints(outcome):
    assert {"step-000000001.npz", "step-000000002.npz"} <= set(outcome["left"])
    assert not {"step-000000003.npz", "backbone.weights.h5"} & set(outcome["left"])


def test_only_the_chief_writes_metrics(outcome, alone):
    """Every step once: the second worker adds no lines of its own."""
    rows = [json.loads(line) for line in (outcome["folder"] / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    for row, expected in zip(rows, alone.metrics(), strict=True):
        for name in ("loss", "cpp", "mep_accuracy", "visual_spread", "gradient_norm"):
            assert row[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5), name


def test_workers_end_with_the_same_variables(outcome):
    """Bit for bit: weights, optimizer slots, batch-norm statistics and random state."""
    paths = [outcome["folder"] / f"worker-{index}.npz" for index in range(2)]
    first, second = map(arrays, paths)
    with np.load(paths[1]) as archive:
        assert archive["replicas"] == 2
    assert len(first) > 200
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_every_step_is_that_of_one_device(outcome, alone, step):
    """Every variable of the run; the third step was taken after both workers had been killed."""
    name = f"checkpoints/step-{step:09d}.npz"
    ours, theirs = arrays(outcome["folder"] / "run" / name), arrays(alone.path / name)
    largest = max(float(np.abs(a.astype(float) - b).max(initial=0.0)) for a, b in zip(ours, theirs, strict=True))
    assert largest < 1e-5
