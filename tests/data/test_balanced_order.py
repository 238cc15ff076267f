"""Class-balanced sampling: equally many clips of each class, in an order that any place of the stream finds."""

import dataclasses
import gzip
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import pemt_tf
from pemt_tf.data.balanced_order import BalancedOrder
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import evaluation_clips, training_clips
from pemt_tf.errors import PemtError
from tests.fake_dataset import LABELS, fake_clips, write_dataset

# Class 5 has nine clips, class 0 two and class 3 one; clip 20 has two classes, and no clip has another class.
ROWS = np.array([*range(9), 20, 20, 21])
CLASSES = np.array([*[5] * 9, 5, 0, 0])
ROWS, CLASSES = np.append(ROWS, 30), np.append(CLASSES, 3)


def first(count: int, seed: int = 7, position: int = 0) -> list[int]:
    return list(itertools.islice(BalancedOrder(ROWS, CLASSES, (seed, 0)).rows_from(position), count))


def test_each_class_gives_equally_many_clips_and_goes_through_its_own():
    drawn = first(60)
    rounds = [drawn[start : start + 3] for start in range(0, 60, 3)]
    assert all(one.count(30) == 1 for one in rounds)  # the only clip of class 3, once a round
    frequent = [row for one in rounds for row in one if row < 10]
    counts = Counter(row for row in drawn if row in (20, 21))
    assert counts[21] == 10 and 10 <= counts[20] <= 12  # half of class 0, and clip 20 sometimes for class 5
    assert len(frequent) + counts[20] - 10 == 20 and max(Counter(frequent).values()) == 2
    orders = {tuple("rare" if row == 30 else "other" for row in one) for one in rounds}
    assert len(orders) == 3  # the classes do not come in one order


def test_any_place_is_found_and_the_seed_decides():
    whole = first(50)
    for position in (0, 1, 7, 30, 49):
        assert first(50 - position, position=position) == whole[position:]
    assert first(50) == whole != first(50, seed=8)


@pytest.fixture(scope="module")
def several(tmp_path_factory, small_config):
    """12 clips of label0, of which two have label1 too and one has label2; the fifth has no video, one no label."""
    clips = [
        dataclasses.replace(
            clip,
            labels=tuple(LABELS[index] for index in indices),
            label_indices=indices,
        )
        for number, clip in enumerate(fake_clips(small_config.geometry, 12))
        for indices in [{2: (0, 1), 9: (0, 1), 4: (0, 2), 8: ()}.get(number, (0,))]
    ]
    splits = {"train": clips, "test": clips[:5]}
    return ClipSource.open(write_dataset(tmp_path_factory.mktemp("several"), small_config.geometry, splits))


def test_batches_hold_all_labels_and_are_balanced(several):
    batches = list(training_clips(several, "train", 6, 1, labelled=True, every_label=True, balanced=True).take(4))
    targets = np.concatenate([batch["targets"].numpy() for batch in batches])
    assert targets.shape == (24, 3) and set(targets.ravel().tolist()) == {0.0, 1.0}
    assert targets[:, 0].all() and 8 <= targets[:, 1].sum() <= 12 and 8 <= targets[:, 2].sum() <= 11
    again = training_clips(several, "train", 6, 1, start_step=2, labelled=True, every_label=True, balanced=True)
    assert next(iter(again))["id"].numpy().tolist() == batches[2]["id"].numpy().tolist()
    plain = next(iter(training_clips(several, "train", 6, 1, labelled=True)))
    assert "targets" not in plain and plain["label"].numpy().tolist() == [0] * 6


def test_evaluation_gives_all_labels_of_each_clip(several):
    (batch,) = evaluation_clips(several, "test", 9, every_label=True)
    found = dict(zip(batch["id"].numpy().tolist(), batch["targets"].numpy().tolist(), strict=True))
    assert (
        found[b"fake-000002"] == [1, 1, 0] and found[b"fake-000004"] == [1, 0, 1] and found[b"fake-000000"] == [1, 0, 0]
    )
    _, labels = next(iter(pemt_tf.read_clips(several.directory, "test", 9, every_label=True)))
    assert labels.numpy().tolist() == batch["targets"].numpy().tolist()
    assert several.given_labels == {"train": 14, "test": 7} and several.labelled == {"train": 11, "test": 5}


def test_compressed_files_are_refused(several, tmp_path):
    packed = tmp_path / "train.tfrecord.gz"
    packed.write_bytes(gzip.compress(Path(several.files["train"][0]).read_bytes()))
    source = dataclasses.replace(several, files={"train": (str(packed),)}, directory=None, clips={})
    with pytest.raises(PemtError, match="sampled by class from local files without compression only; copy them here"):
        training_clips(source, "train", 2, 0, labelled=True, balanced=True)
