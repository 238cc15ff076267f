"""Where clips lie on the map."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from pemt_tf.errors import PemtError
from pemt_tf.explore.projection import default_projection, fitted, principal_plane, project


def test_plane_keeps_distances_of_points_that_lie_on_a_plane():
    random = np.random.default_rng(0)
    flat = random.normal(size=(200, 2)) * [3, 1]
    axes = np.linalg.qr(random.normal(size=(10, 2)))[0]
    plane = principal_plane((flat @ axes.T + 5).astype(np.float32))
    assert "100 % of the variance" in plane.about
    wanted = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    found = np.linalg.norm(plane.positions[:, None] - plane.positions[None], axis=-1)
    np.testing.assert_allclose(found / found.max(), wanted / wanted.max(), atol=1e-5)
    assert np.ptp(plane.positions[:, 0]) == pytest.approx(2, abs=1e-6)  # the axis of larger spread, filling the range


def test_plane_is_that_of_the_largest_eigenvalues():
    x = np.random.default_rng(1).normal(size=(50, 6)) * [1, 5, 1, 3, 1, 1]
    values, vectors = np.linalg.eigh(np.cov(x.T))
    wanted = (x - x.mean(0)) @ vectors[:, [5, 4]]
    found = principal_plane(x.astype(np.float32)).positions
    for axis in range(2):
        assert abs(np.corrcoef(found[:, axis], wanted[:, axis])[0, 1]) == pytest.approx(1, abs=1e-5)
    share = values[[5, 4]].sum() / values.sum()
    assert f"holds {100 * share:.0f} %" in principal_plane(x.astype(np.float32)).about


def test_orientation_does_not_depend_on_the_order_of_clips():
    x = np.random.default_rng(2).normal(size=(40, 5)).astype(np.float32)
    np.testing.assert_allclose(principal_plane(x[::-1]).positions[::-1], principal_plane(x).positions, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("width", [1, 2, 7])
def test_few_clips_and_few_numbers(count, width):
    plane = principal_plane(np.random.default_rng(3).normal(size=(count, width)).astype(np.float32))
    assert plane.positions.shape == (count, 2) and plane.positions.dtype == np.float32
    assert np.isfinite(plane.positions).all() and np.abs(plane.positions).max() <= 1 + 1e-6
    if count == 1:
        np.testing.assert_array_equal(plane.positions, 0)
    if count == 2:
        np.testing.assert_allclose(np.sort(plane.positions[:, 0]), [-1, 1], atol=1e-6)


def test_equal_clips_lie_at_one_place():
    for value in (0.0, 0.1):
        np.testing.assert_array_equal(principal_plane(np.full((30, 8), value, np.float32)).positions, 0)


def test_fitted_keeps_proportions():
    found = fitted(np.array([[10.0, 0.0], [30.0, 5.0]]))
    np.testing.assert_allclose(found, [[-1, -0.25], [1, 0.25]])


def test_umap_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(PemtError, match=r"pip install 'pemt-tf\[umap\]'"):
        project(np.eye(8, dtype=np.float32), "umap")


def test_umap_is_asked_as_it_should_be(monkeypatch):
    asked = {}

    class Umap:
        def __init__(self, **settings):
            asked.update(settings)

        def fit_transform(self, values):
            assert values.dtype == np.float32
            return np.column_stack([np.arange(len(values)), np.zeros(len(values))])

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Umap))
    found = project(np.eye(8, dtype=np.float32), "umap")
    assert asked == {"n_components": 2, "n_neighbors": 7, "random_state": 0}
    np.testing.assert_allclose(found.positions[:, 0], np.linspace(-1, 1, 8))
    few = project(np.eye(4, dtype=np.float32), "umap")
    assert "Principal components" in few.about and "UMAP needs 5 clips" in few.about


def test_default_is_umap_only_where_it_is_installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert default_projection() == "pca"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "umap")
    assert default_projection() == "umap"


@pytest.mark.slow
def test_real_umap_keeps_groups_together():
    pytest.importorskip("umap", reason="umap-learn is not installed")
    random = np.random.default_rng(0)
    group = np.arange(90) % 3
    x = np.eye(12)[group] + 0.05 * random.normal(size=(90, 12))
    x[0] = x[3]  # two that are the same
    positions = project((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), "umap").positions
    centres = np.stack([positions[group == each].mean(0) for each in range(3)])
    nearest = np.linalg.norm(positions[:, None] - centres, axis=-1).argmin(1)
    assert (nearest == group).mean() > 0.95
