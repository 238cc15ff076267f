"""Folds keep source files together; drawn clips do not depend on the order of records."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pemt_tf.evaluation.folds import draw_labelled, grouped_folds


@settings(deadline=None, max_examples=40)
@given(files=st.lists(st.integers(1, 4), min_size=6, max_size=40), classes=st.integers(1, 3), seed=st.integers(0, 99))
def test_every_clip_is_checked_once_and_files_stay_together(files, classes, seed):
    groups = np.repeat(np.arange(len(files)), files)
    labels = groups % classes
    folds = grouped_folds(labels, groups, seed)
    assert 2 <= len(folds) <= 5
    for fold in folds:
        assert not set(groups[fold.fit]) & set(groups[fold.check])
        assert sorted([*fold.fit, *fold.check]) == list(range(len(groups)))
    assert sorted(np.concatenate([fold.check for fold in folds])) == list(range(len(groups)))


@pytest.mark.parametrize(
    ("labels", "groups", "count"),
    [
        ([0, 0, 1, 1], ["a", "a", "b", "c"], 0),  # label 0 is in one file only
        ([0, 0, 1, 1], ["a", "d", "b", "c"], 2),
        ([0] * 20, list(range(20)), 5),
        ([0], ["a"], 0),
    ],
)
def test_as_many_folds_as_the_rarest_label_has_files(labels, groups, count):
    assert len(grouped_folds(np.array(labels), np.array(groups))) == count


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


def test_every_clip_is_as_likely_to_be_drawn():
    ids, labels = np.array(list("abcdefgh")), np.zeros(8, int)
    drawn = np.concatenate([draw_labelled(ids, labels, 2, seed) for seed in range(800)])
    counts = np.bincount(drawn, minlength=8)
    # Chi-square with 7 degrees of freedom: 24.3 is its 99.9 % quantile. Each has 200 by expectation.
    assert ((counts - 200) ** 2 / 200).sum() < 24.3
