"""The neighbours that the page looks up, and the clips that the map shows."""

from __future__ import annotations

import numpy as np
import pytest

from pemt_tf.errors import PemtError
from pemt_tf.explore.clip_points import read_points
from pemt_tf.explore.neighbours import NOBODY, nearest_neighbours
from pemt_tf.search import knn
from pemt_tf.search.embedding_store import EmbeddingStore
from pemt_tf.search.exact_search import search
from tests.fake_embeddings import write_embeddings


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_against_a_loop_in_many_blocks(monkeypatch):
    monkeypatch.setattr(knn, "_SIMILARITIES_AT_ONCE", 70 * 9)
    x = unit(np.random.default_rng(0).normal(size=(70, 5)))
    done = []
    places, cosines = nearest_neighbours(x, 4, done.append)
    assert done == [9, 18, 27, 36, 45, 54, 63, 70]
    for row in range(70):
        similar = x.astype(np.float64) @ x[row].astype(np.float64)
        similar[row] = -2
        best = np.argsort(-similar)[:4]
        assert places[row].tolist() == best.tolist()
        np.testing.assert_allclose(cosines[row], similar[best], atol=1e-6)


def test_more_neighbours_than_others():
    places, cosines = nearest_neighbours(unit(np.array([[1.0, 0], [1, 1], [0, 1]])), 12)
    assert places.tolist() == [[1, 2], [0, 2], [1, 0]]
    np.testing.assert_allclose(cosines, np.sqrt(0.5) * np.array([[1, 0], [1, 1], [1, 0]]), atol=1e-6)
    assert nearest_neighbours(np.ones((1, 3), np.float32), 12)[0].shape == (1, 0)


def test_clips_without_direction_have_no_neighbours_and_are_nobodys():
    x = np.zeros((4, 3), np.float32)
    x[1], x[3] = [1, 0, 0], [0, 1, 0]
    places, cosines = nearest_neighbours(x, 3)
    assert places.tolist() == [[NOBODY] * 3, [3, NOBODY, NOBODY], [NOBODY] * 3, [1, NOBODY, NOBODY]]
    assert not cosines.any()


def test_equal_clips_find_each_other_in_order():
    places, cosines = nearest_neighbours(unit(np.ones((5, 2))), 4)
    assert places.tolist() == [[other for other in range(5) if other != row] for row in range(5)]
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


def test_they_are_those_of_pemt_search(tmp_path):
    vectors = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32) * 50
    store = EmbeddingStore(write_embeddings(tmp_path / "e", vectors))
    places, cosines = nearest_neighbours(read_points(store, 100).directions, 5)
    for row in (0, 17, 39):
        hits = search(store, vectors[row], 5, exclude=f"clip-{row}")
        assert [hit.row for hit in hits] == places[row].tolist()
        assert [hit.similarity for hit in hits] == pytest.approx(cosines[row].tolist(), abs=1e-5)


def test_points_of_odd_embeddings(tmp_path):
    vectors = np.array([[3, 4], [np.nan, 1], [0, 0], [1e-30, 0], [3e38, 3e38], [np.inf, 0]], np.float32)
    points = read_points(EmbeddingStore(write_embeddings(tmp_path / "e", vectors, per_file=4)), 100)
    assert points.rows.tolist() == [0, 2, 3, 4] and points.not_finite == 2 and points.total == 6
    expected = [[0.6, 0.8], [0, 0], [1, 0], [np.sqrt(0.5)] * 2]
    np.testing.assert_allclose(points.directions, expected, rtol=1e-6)
    assert points.has_direction.tolist() == [True, False, True, True]
    assert [row["id"] for row in points.about] == ["clip-0", "clip-2", "clip-3", "clip-4"]


def test_nothing_finite_is_refused(tmp_path):
    store = EmbeddingStore(write_embeddings(tmp_path / "e", np.full((3, 2), np.nan, np.float32)))
    with pytest.raises(PemtError, match="every embedding holds NaN or infinity"):
        read_points(store, 10)


def test_sample_of_a_large_set(tmp_path):
    vectors = np.arange(1, 101, dtype=np.float32)[:, None] * [[1, 0]]
    store = EmbeddingStore(write_embeddings(tmp_path / "e", vectors, per_file=7))
    points = read_points(store, 30)
    assert points.count == 30 and points.total == 100
    rows = points.rows.tolist()
    assert rows == sorted(set(rows)) and rows == read_points(store, 30).rows.tolist()
    assert [row["id"] for row in points.about] == [f"clip-{row}" for row in rows]
    assert rows[-1] > 80 and rows[0] < 20  # of the whole, not of its beginning
