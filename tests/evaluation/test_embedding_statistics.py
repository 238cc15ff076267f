"""Alignment, uniformity and spread: by hand, against plain loops, and at their known extremes."""

import math

import numpy as np
import pytest

from pemt_tf.evaluation import embedding_statistics
from pemt_tf.evaluation.embedding_statistics import alignment, spread, uniformity

SQUARE = np.array([[1.0, 0], [0, 3], [-0.5, 0], [0, -2]])


def test_alignment_by_hand():
    """Equal directions 0, a right angle 2, opposite 4, whatever the lengths."""
    a, b = np.array([[1.0, 0], [0, 2], [3, 0]]), np.array([[9.0, 0], [5, 0], [-1, 0]])
    assert alignment(a, b) == pytest.approx((0 + 2 + 4) / 3)


def test_uniformity_of_a_square():
    """Each corner has two neighbours at distance^2 2 and one at 4."""
    assert uniformity(SQUARE) == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3))


def test_uniformity_equals_plain_loops_in_small_blocks(monkeypatch):
    x = np.random.default_rng(0).normal(size=(13, 4))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    pairs = [math.exp(-2 * ((x[i] - x[j]) ** 2).sum()) for i in range(13) for j in range(13) if i != j]
    monkeypatch.setattr(embedding_statistics, "_PRODUCTS_AT_ONCE", 40)
    assert uniformity(5 * x) == pytest.approx(math.log(sum(pairs) / len(pairs)))


def test_extremes():
    collapsed = np.tile([[3.0, 4.0]], (5, 1))
    assert uniformity(collapsed) == pytest.approx(0, abs=1e-9) and spread(collapsed) == pytest.approx(0, abs=1e-7)
    even = np.random.default_rng(0).normal(size=(500, 400))
    # Squared distances near 2, so ln E exp(-2 d^2) near -4 (a little above: distances vary).
    assert uniformity(even) == pytest.approx(-4, abs=0.05)
    assert spread(even) == pytest.approx(1, abs=0.01)


def test_spread_by_hand():
    assert spread(SQUARE) == pytest.approx(1)
    # (1, 0) and (0, 1): their mean has length sqrt(1/2).
    assert spread(np.array([[2.0, 0], [0, 9]])) == pytest.approx(math.sqrt(0.5))
