"""The one loop over the clips of a split."""

from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from pemt_tf.data import split_pass
from pemt_tf.data.split_pass import SplitPass


def test_paths_of_older_data_sets(monkeypatch):
    """They hold the bytes of names that are not UTF-8."""
    batch = {
        "id": np.array([b"caf\\xe9.mp4", b"b.mp4"]),
        "path": np.array([b"caf\xe9.mp4", b""]),
        "label": np.array([0, 1]),
    }
    clips = tf.data.Dataset.from_tensor_slices(batch).batch(2)
    monkeypatch.setattr(split_pass, "evaluation_clips", lambda *given: clips)
    source = SimpleNamespace(clips={}, require_count=lambda *given: None)
    (found,) = SplitPass(source, lambda batch: {"twice": 2 * batch["label"]}).over("train")
    assert found.ids == [r"caf\xe9.mp4", "b.mp4"] == found.paths
    assert found.labels.tolist() == [0, 1] and found.values["twice"].tolist() == [0, 2]


def test_every_clip_once_or_the_first_ones(clip_source, capsys):
    traced = []

    def number(batch):
        traced.append(1)
        return batch["label"]

    passes = SplitPass(clip_source, number, batch_size=4)
    batches = list(passes.over("train", progress="counting"))
    clips = clip_source.clips["train"]
    assert sum(len(batch.ids) for batch in batches) == clips > 4
    assert len({clip_id for batch in batches for clip_id in batch.ids}) == clips
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"counting {clips}/{clips}")
    assert [batch.ids for batch in passes.over("train", most=3)] == [batches[0].ids]
    labelled = [label for batch in passes.over("train", labelled=True) for label in batch.labels]
    assert min(labelled) >= 0 and len(labelled) == clip_source.labelled["train"]
    assert traced == [1]
