"""Nearest clips against a brute-force search with plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pemt_tf.search import knn
from pemt_tf.search.knn import Neighbour, nearest, nearest_rows, normalize, vote


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


@settings(deadline=None, max_examples=50)
@given(clips=st.integers(1, 30), queries=st.integers(0, 9), seed=st.integers(0, 2**31), data=st.data())
def test_many_queries_equal_one_at_a_time(clips, queries, seed, data):
    k = data.draw(st.integers(1, clips))
    rng = np.random.default_rng(seed)
    embeddings, asked = rng.normal(size=(clips, 4)), rng.normal(size=(queries, 4))
    rows, similarities = nearest_rows(asked, embeddings, k)
    assert rows.shape == similarities.shape == (queries, k)
    for query, found, similarity in zip(asked, rows, similarities, strict=True):
        expected = nearest(query, embeddings, k)
        assert found.tolist() == [n.row for n in expected]
        assert similarity.tolist() == pytest.approx([n.similarity for n in expected])


def test_blocks_of_queries(monkeypatch):
    rng = np.random.default_rng(0)
    asked, embeddings = rng.normal(size=(11, 3)), rng.normal(size=(20, 3))
    whole = nearest_rows(asked, embeddings, 4)
    monkeypatch.setattr(knn, "_SIMILARITIES_AT_ONCE", 50)
    rows, similarities = nearest_rows(asked, embeddings, 4)
    np.testing.assert_array_equal(rows, whole[0])
    np.testing.assert_allclose(similarities, whole[1])


def test_votes_by_hand():
    labels = np.array([[2, 0, 0, 1], [1, 2, 2, 1], [2, 1, 1, 2]])
    similarities = np.array([[0.9, 0.1, 0.0, -0.9], [0.9, 0.8, 0.7, 0.5], [0.9, 0.8, 0.7, 0.5]])
    assert vote(labels, similarities, 1, 3).tolist() == [2, 1, 2]
    assert vote(labels, similarities, 3, 3).tolist() == [0, 2, 1]  # two votes beat one, however near
    # Two against two: 0.8 + 0.7 is more similar than 0.9 + 0.5.
    assert vote(labels, similarities, 4, 3).tolist() == [0, 2, 1]
