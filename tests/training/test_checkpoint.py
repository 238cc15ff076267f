"""Checkpoints: whole or not at all, the newest kept, the earlier ones safe when writing fails."""

import resource
from contextlib import contextmanager

import keras
import numpy as np
import pytest

from pemt_tf.errors import PemtError
from pemt_tf.training.checkpoint import Checkpoints


@contextmanager
def largest_file(size):
    """Makes the operating system refuse to let any file of this process grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def variables(value):
    """Of several types and shapes, scalars and an empty one among them."""
    return [
        keras.Variable(np.full((3, 4), value, np.float32)),
        keras.Variable(np.float32(value)),
        keras.Variable(np.array([value, 7], np.uint32), dtype="uint32", trainable=False),
        keras.Variable(np.int64(value), dtype="int64", trainable=False),
        keras.Variable(np.zeros((0, 2), np.float32)),
    ]


def values(made):
    return [v.numpy().tolist() for v in made]


def test_restores_the_newest_with_its_notes(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", keep=3)
    checkpoints.save(5, variables(5), {"loss": 0.1 + 0.2, "count": 2.0})
    checkpoints.save(10, variables(10), {"loss": 1 / 3})
    fresh = variables(0)
    assert Checkpoints(tmp_path / "c", keep=3).restore(fresh) == (10, {"loss": 1 / 3})
    assert values(fresh) == values(variables(10))


def test_nothing_to_restore(tmp_path):
    fresh = variables(1)
    assert Checkpoints(tmp_path / "none", keep=1).restore(fresh) == (0, {})
    assert values(fresh) == values(variables(1))


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_keeps_the_newest(tmp_path, keep):
    checkpoints = Checkpoints(tmp_path, keep)
    for step in (1, 20, 300, 4000):
        checkpoints.save(step, variables(1))
    assert checkpoints.steps() == [1, 20, 300, 4000][-keep:]
    assert len(list(tmp_path.iterdir())) == min(keep, 4)


def test_more_than_ten_variables_keep_their_order(tmp_path):
    """Names are sorted as text; 00010 must not come before 00009."""
    many = [keras.Variable(np.float32(i)) for i in range(12)]
    Checkpoints(tmp_path, 1).save(1, many)
    fresh = [keras.Variable(np.float32(0)) for _ in range(12)]
    Checkpoints(tmp_path, 1).restore(fresh)
    assert values(fresh) == list(range(12))


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path):
    """The operating system itself refuses the write, half way through the file."""
    checkpoints = Checkpoints(tmp_path, keep=1)
    big = [keras.Variable(np.arange(50_000, dtype=np.float32))]
    before = checkpoints.save(3, big).read_bytes()
    with (
        largest_file(20_000),
        pytest.raises(PemtError, match=r"cannot write checkpoint .*step-000000006\.npz: File too"),
    ):
        checkpoints.save(6, big)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000003.npz"]
    assert (tmp_path / "step-000000003.npz").read_bytes() == before
    assert checkpoints.restore(big)[0] == 3


def test_a_failing_sync_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(3, variables(3))

    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(PemtError, match=r"Input/output error; earlier checkpoints are intact"):
        checkpoints.save(6, variables(6))
    assert checkpoints.steps() == [3] and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PemtError, match="cannot write checkpoint"):
        Checkpoints(tmp_path / "file" / "checkpoints", keep=1).save(1, variables(1))


def test_leftovers_of_a_killed_write_are_ignored(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(3, variables(3))
    (tmp_path / "step-000000006.partial").write_bytes(b"half")
    assert checkpoints.restore(variables(0))[0] == 3


@pytest.mark.parametrize("damage", [lambda b: b[:-200], lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * 99])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    checkpoints = Checkpoints(tmp_path, keep=2)
    path = checkpoints.save(3, variables(3))
    path.write_bytes(damage(path.read_bytes()))
    fresh = variables(0)
    with pytest.raises(PemtError, match=r"step-000000003\.npz is damaged .* delete it and run the same command"):
        checkpoints.restore(fresh)
    assert values(fresh) == values(variables(0))


@pytest.mark.parametrize("change", [lambda v: v[:-1], lambda v: [*v, v[0]], lambda v: [v[1], v[0], *v[2:]]])
def test_other_variables_are_refused_and_left_alone(tmp_path, change):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(3, variables(3))
    fresh = variables(0)
    with pytest.raises(PemtError, match="does not fit this model"):
        checkpoints.restore(change(fresh))
    assert values(fresh) == values(variables(0))
