"""Folds keep source files together; drawn clips do not depend on the order of records."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pemt_tf.evaluation.folds import grouped_folds


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
