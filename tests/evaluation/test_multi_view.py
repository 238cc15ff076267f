"""Sums of votes against a restatement with plain loops, and on probabilities made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pemt_tf.errors import PemtError
from pemt_tf.evaluation.multi_view import ViewPlan, judge, sum_votes


@pytest.mark.parametrize(
    ("views", "available", "expected"),
    [
        (None, 10, list(range(10))),
        (10, 10, list(range(10))),
        (1, 10, [5]),
        (1, 3, [1]),
        (2, 4, [1, 3]),
        (3, 10, [1, 5, 8]),
        (1, 1, [0]),
    ],
)
def test_segments_that_vote(views, available, expected):
    assert ViewPlan(views).segments(available).tolist() == expected


@given(available=st.integers(1, 60), data=st.data())
def test_segments_are_different_and_even(available, data):
    views = data.draw(st.integers(1, available))
    segments = ViewPlan(views).segments(available)
    assert len(set(segments.tolist())) == views and segments[0] >= 0 and segments[-1] < available
    # The middles of equal parts: mirrored in time they are the same, but for rounding down.
    assert np.abs(segments + segments[::-1] - available + 0.5).max() <= 1


@pytest.mark.parametrize("views", [0, -1, 5])
def test_more_views_than_segments(views):
    with pytest.raises(PemtError, match=f"{views} views are asked for, but a clip of this geometry has 4 segments"):
        ViewPlan(views).segments(4)


def test_impossible_plans():
    with pytest.raises(PemtError, match="2 crops are not possible"):
        ViewPlan(crops=2)
    with pytest.raises(PemtError, match="cannot be summed over 'label'"):
        ViewPlan(sum_over="label")


def test_sums_equal_plain_loops():
    rng = np.random.default_rng(0)
    votes = rng.random((3, 2, 5, 4)).astype(np.float32)
    segments = [0, 2, 4]
    for clip in range(2):
        for label in range(4):
            expected = sum(float(votes[crop, clip, s, label]) for crop in range(3) for s in segments)
            assert sum_votes(votes, np.array(segments))[clip, label] == pytest.approx(expected)


def test_the_sum_decides_not_the_majority():
    """Two views lean to the first label, one is sure of the second: 0.6 + 0.6 + 0.1 < 0.4 + 0.4 + 0.9."""
    votes = np.array([[[[0.6, 0.4], [0.6, 0.4], [0.1, 0.9]]]])
    result = judge(sum_votes(votes, np.arange(3)), np.array([1]), ["a"], ["a.mp4"], "clip")
    np.testing.assert_allclose(result.probabilities, [[1.3 / 3, 1.7 / 3]])


def test_clips_of_a_file_together():
    sums = np.array([[2.0, 0.0], [0.9, 1.1], [0.0, 2.0], [0.8, 1.2]])
    ids, paths = ["b-0", "a-0", "a-1", "b-1"], ["b", "a", "a", "b"]
    result = judge(sums, np.array([0, 1, 1, 0]), ids, paths, "path")
    assert result.ids == result.paths == ["b", "a"] and result.truth.tolist() == [0, 1]
    np.testing.assert_allclose(result.probabilities, [[0.7, 0.3], [0.225, 0.775]])
    alone = judge(sums, np.array([0, 1, 1, 0]), ids, paths, "clip")
    assert alone.ids == ids and alone.paths == paths
    np.testing.assert_allclose(alone.probabilities, sums / 2)


def test_a_file_with_two_labels():
    with pytest.raises(PemtError, match="the clips of b have different labels, so they cannot be judged together"):
        judge(np.ones((3, 2)), np.array([0, 1, 1]), ["0", "1", "2"], ["a", "b", "b"], "path").truth.tolist()
        judge(np.ones((3, 2)), np.array([0, 1, 0]), ["0", "1", "2"], ["a", "b", "b"], "path")
