"""Nearest clips against a brute-force search with plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pemt_tf.evaluation.knn import Neighbour, nearest, neighbour_accuracy, normalize


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


@settings(deadline=None)
@given(clips=st.integers(1, 12), k=st.integers(1, 15), seed=st.integers(0, 2**31), exclude=st.booleans())
def test_nearest_equals_brute_force(clips, k, seed, exclude):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(clips, 5))
    left_out = int(rng.integers(clips)) if exclude else None
    query = embeddings[left_out] if exclude else rng.normal(size=5)
    similarity = {row: cosine(query.tolist(), embeddings[row].tolist()) for row in range(clips) if row != left_out}
    expected = sorted(similarity, key=similarity.get, reverse=True)[:k]
    found = nearest(query, embeddings, k, exclude=left_out)
    assert [n.row for n in found] == expected
    assert [n.similarity for n in found] == pytest.approx([similarity[row] for row in expected])


def test_ties_keep_the_order_of_rows_and_length_does_not_matter():
    embeddings = np.array([[2.0, 0.0], [0.0, 1.0], [5.0, 0.0], [-1.0, 0.0]])
    found = nearest(np.array([0.1, 0.0]), embeddings, 4)
    assert found == [Neighbour(0, 1.0), Neighbour(2, 1.0), Neighbour(1, 0.0), Neighbour(3, -1.0)]


def test_an_embedding_of_zeros_is_like_nothing():
    np.testing.assert_array_equal(normalize(np.array([[0.0, 0.0], [3.0, 4.0]])), [[0.0, 0.0], [0.6, 0.8]])
    assert nearest(np.array([1.0, 0.0]), np.zeros((1, 2)), 1) == [Neighbour(0, 0.0)]


def test_nothing_to_search():
    assert nearest(np.ones(3), np.zeros((0, 3)), 5) == []


def test_neighbour_accuracy_by_hand():
    """Angles 0, 10, 25, 100 degrees: each one's nearest is 10, 0, 10, 25."""
    angles = np.radians([0, 10, 25, 100])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1) * [[1.0], [9.0], [0.1], [2.0]]
    assert neighbour_accuracy(embeddings, np.array(["a", "a", "b", "b"])) == 0.75
