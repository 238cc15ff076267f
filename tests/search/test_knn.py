"""Nearest clips against a brute-force search with plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pemt_tf.search import knn
from pemt_tf.search.knn import best_of, nearest, normalize, vote


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def find(query, embeddings, k):
    """Rows and similarities of one query's neighbours."""
    (rows,), (similarities,) = nearest(normalize(query[None]), normalize(embeddings), k)
    return rows.tolist(), similarities.tolist()


@settings(deadline=None)
@given(clips=st.integers(1, 12), k=st.integers(1, 15), seed=st.integers(0, 2**31))
def test_nearest_equals_brute_force(clips, k, seed):
    rng = np.random.default_rng(seed)
    embeddings, query = rng.normal(size=(clips, 5)), rng.normal(size=5)
    similarity = {row: cosine(query.tolist(), embeddings[row].tolist()) for row in range(clips)}
    expected = sorted(similarity, key=similarity.get, reverse=True)[:k]
    rows, similarities = find(query, embeddings, k)
    assert rows == expected
    assert similarities == pytest.approx([similarity[row] for row in expected])


def test_ties_keep_the_order_of_rows_and_length_does_not_matter():
    embeddings = np.array([[2.0, 0.0], [0.0, 1.0], [5.0, 0.0], [-1.0, 0.0]])
    assert find(np.array([0.1, 0.0]), embeddings, 4) == ([0, 2, 1, 3], [1.0, 1.0, 0.0, -1.0])


@given(
    values=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    k=st.integers(0, 31),
)
def test_equal_values_are_taken_in_order_of_columns(values, k):
    expected = sorted(range(len(values)), key=lambda column: (-values[column], column))[:k]
    columns, best = best_of(np.array([values, values], np.float32), k)
    assert columns.tolist() == [expected, expected]
    assert best[0].tolist() == [values[column] for column in expected]


def test_an_embedding_of_zeros_is_like_nothing():
    np.testing.assert_array_equal(normalize(np.array([[0.0, 0.0], [3.0, 4.0]])), [[0.0, 0.0], [0.6, 0.8]])
    assert find(np.array([1.0, 0.0]), np.zeros((1, 2)), 1) == ([0], [0.0])


def test_nothing_to_search():
    assert find(np.ones(3), np.zeros((0, 3)), 5) == ([], [])


@settings(deadline=None, max_examples=50)
@given(clips=st.integers(1, 30), queries=st.integers(0, 9), seed=st.integers(0, 2**31), data=st.data())
def test_many_queries_equal_one_at_a_time(clips, queries, seed, data):
    k = data.draw(st.integers(1, clips))
    rng = np.random.default_rng(seed)
    embeddings, asked = normalize(rng.normal(size=(clips, 4))), normalize(rng.normal(size=(queries, 4)))
    rows, similarities = nearest(asked, embeddings, k)
    assert rows.shape == similarities.shape == (queries, k)
    for query, found, similarity in zip(asked, rows.tolist(), similarities.tolist(), strict=True):
        expected = find(query, embeddings, k)
        assert found == expected[0]
        assert similarity == pytest.approx(expected[1])


def test_blocks_of_queries(monkeypatch):
    rng = np.random.default_rng(0)
    asked, embeddings = normalize(rng.normal(size=(11, 3))), normalize(rng.normal(size=(20, 3)))
    whole = nearest(asked, embeddings, 4)
    monkeypatch.setattr(knn, "_SIMILARITIES_AT_ONCE", 50)
    rows, similarities = nearest(asked, embeddings, 4)
    np.testing.assert_array_equal(rows, whole[0])
    np.testing.assert_allclose(similarities, whole[1])


def test_votes_by_hand():
    labels = np.array([[2, 0, 0, 1], [1, 2, 2, 1], [2, 1, 1, 2]])
    similarities = np.array([[0.9, 0.1, 0.0, -0.9], [0.9, 0.8, 0.7, 0.5], [0.9, 0.8, 0.7, 0.5]])
    assert vote(labels, similarities, 1, 3).tolist() == [2, 1, 2]
    assert vote(labels, similarities, 3, 3).tolist() == [0, 2, 1]  # two votes beat one, however near
    # Two against two: 0.8 + 0.7 is more similar than 0.9 + 0.5.
    assert vote(labels, similarities, 4, 3).tolist() == [0, 2, 1]
