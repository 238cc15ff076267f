"""Which clips keep their label when only a few per class may be used, and that training sees no other ones."""

import numpy as np
import pytest

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.few_labels import draw_labelled, few_labelled
from pemt_tf.data.input_pipeline import evaluation_clips, training_clips
from pemt_tf.errors import PemtError


def test_drawn_clips():
    ids = np.array([f"clip-{n:02}" for n in range(40)])
    labels = np.arange(40) % 4 - 1  # ten each of -1 (none), 0, 1, 2
    three = draw_labelled(ids, labels, 3, seed=7)
    assert np.bincount(labels[three]).tolist() == [3, 3, 3] and (np.diff(three) > 0).all()
    five = draw_labelled(ids, labels, 5, seed=7)
    assert set(three) < set(five)
    order = np.random.default_rng(0).permutation(40)
    assert set(ids[order][draw_labelled(ids[order], labels[order], 3, seed=7)]) == set(ids[three])
    assert set(three) != set(draw_labelled(ids, labels, 3, seed=8))
    assert len(draw_labelled(ids, labels, 99, seed=7)) == 30
    assert len(draw_labelled(ids, np.full(40, -1), 3, seed=7)) == 0


def test_a_clip_of_several_labels_counts_for_each():
    ids = np.array([f"clip{number:02d}" for number in range(12)])
    rows = np.array([*range(12), *range(12)])  # all have label 0; every third has label 1, or 2, or 3 too
    labels = np.array([*[0] * 12, *(1 + np.arange(12) % 3)])
    drawn = draw_labelled(ids, labels, 2, seed=5, rows=rows)
    assert all(np.sum(drawn % 3 == other) >= 2 for other in range(3)) and 6 <= len(drawn) <= 8
    assert set(drawn) <= set(draw_labelled(ids, labels, 3, seed=5, rows=rows))


def test_every_clip_is_as_likely_to_be_drawn():
    ids, labels = np.array(list("abcdefgh")), np.zeros(8, int)
    drawn = np.concatenate([draw_labelled(ids, labels, 2, seed) for seed in range(800)])
    counts = np.bincount(drawn, minlength=8)
    # Chi-square with 7 degrees of freedom: 24.3 is its 99.9 % quantile. Each has 200 by expectation.
    assert ((counts - 200) ** 2 / 200).sum() < 24.3


def test_training_sees_the_drawn_clips_and_no_others(clip_source: ClipSource):
    labels = {}
    for batch in evaluation_clips(clip_source, "train", 4, labelled=True):
        labels |= dict(zip(batch["id"].numpy(), batch["label"].numpy(), strict=True))
    chosen = few_labelled(clip_source, "train", 1, seed=3)
    of = [labels[name.encode()] for name in chosen]
    assert sorted(of) == sorted(set(labels.values()))  # one of each
    seen = set()
    for batch in training_clips(clip_source, "train", 2, seed=0, labelled=True, only=chosen).take(8):
        seen |= {name.decode() for name in batch["id"].numpy()}
    assert seen == chosen


def test_no_clip_left_is_refused(clip_source):
    with pytest.raises(PemtError, match="train"):
        training_clips(clip_source, "train", 2, seed=0, only=frozenset({"not there"}))
