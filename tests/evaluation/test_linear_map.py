"""The map finds what two streams have in common, and equals textbook canonical correlations without a ridge."""

import numpy as np
import pytest
from scipy import linalg

from pemt_tf.evaluation.linear_map import RIDGES, _maps, fit_linear_map
from pemt_tf.evaluation.retrieval import measure_retrieval


def streams(seed, clips, shared=4, own=6, audio_width=12, visual_width=15):
    """Both see the same few numbers through other mixtures, besides numbers of their own."""
    mixing = np.random.default_rng(99)
    audio_mix = mixing.normal(size=(shared + own, audio_width))
    visual_mix = mixing.normal(size=(shared + own, visual_width))
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(clips, shared))
    return (
        np.concatenate([common, rng.normal(size=(clips, own))], axis=1) @ audio_mix + 3,
        np.concatenate([common, rng.normal(size=(clips, own))], axis=1) @ visual_mix * 20,
    )


def recall_at_1(fitted, pair):
    return measure_retrieval(fitted.scores(*pair), len(pair[0]))["audio_to_video"]["recall_at_1"]


def test_finds_clips_that_it_was_not_fitted_to():
    fitted = fit_linear_map(*streams(0, 400), np.arange(400))
    assert fitted.pairs == 400 and fitted.ridge in RIDGES
    assert fitted.chosen_on == "5-fold cross-validation of the training pairs, grouped by source file"
    assert recall_at_1(fitted, streams(1, 100)) > 0.8  # chance: 0.01


def test_strangers_stay_at_chance():
    audio, _ = streams(0, 200)
    _, visual = streams(5, 200)
    new_audio, _ = streams(1, 100)
    _, new_visual = streams(6, 100)
    fitted = fit_linear_map(audio, visual, np.arange(200))
    assert recall_at_1(fitted, (new_audio, new_visual)) <= 0.05


def test_more_features_than_pairs():
    fitted = fit_linear_map(*streams(0, 60, audio_width=100, visual_width=200), np.arange(60))
    assert recall_at_1(fitted, streams(1, 50, audio_width=100, visual_width=200)) > 0.3  # chance: 0.02


def test_correlations_equal_those_of_the_generalized_eigenvalue_problem():
    audio, visual = streams(0, 300, audio_width=8, visual_width=9)
    (fitted,) = _maps(audio, visual, (0.0,))
    x, y = (side[0](v) @ side[1] for side, v in ((fitted.audio, audio), (fitted.visual, visual)))
    # A direction is scaled by its correlation, so its variance is that squared.
    found = np.sqrt(x.var(axis=0))
    a, b = audio - audio.mean(0), visual - visual.mean(0)
    cross, ca, cb = a.T @ b, a.T @ a, b.T @ b
    squared = linalg.eigh(cross @ np.linalg.solve(cb, cross.T), ca, eigvals_only=True)[::-1]
    np.testing.assert_allclose(found, np.sqrt(np.maximum(squared, 0)), atol=1e-6)
    correlation = (x * y).mean(axis=0) / (x.std(axis=0) * y.std(axis=0))
    np.testing.assert_allclose(correlation, found, atol=1e-6)


def test_tall_and_wide_data_take_the_same_axes():
    """Twelve pairs of 12 features and of the same ones beside zeros, which make the data wide."""
    audio, visual = streams(0, 12, audio_width=12, visual_width=12)
    (tall,) = _maps(audio, visual, (0.3,))
    (wide,) = _maps(np.pad(audio, ((0, 0), (0, 9))), visual, (0.3,))
    new = streams(1, 20, audio_width=12, visual_width=12)
    expected = tall.scores(*new)(slice(0, 20))
    np.testing.assert_allclose(wide.scores(np.pad(new[0], ((0, 0), (0, 9))), new[1])(slice(0, 20)), expected, atol=1e-6)


@pytest.mark.parametrize("groups", [np.zeros(12), np.arange(12) // 12], ids=["zeros", "one"])
def test_one_file_gives_nothing_to_choose_by(groups):
    fitted = fit_linear_map(*streams(0, 12), groups)
    assert (fitted.ridge, fitted.chosen_on) == (1.0, "nothing: too few training pairs to choose by")


def test_constant_features_are_no_direction():
    fitted = fit_linear_map(np.ones((20, 3)), streams(0, 20)[1], np.arange(20))
    result = measure_retrieval(fitted.scores(np.ones((20, 3)), streams(0, 20)[1]), 20)
    assert result["audio_to_video"]["median_rank"] == 10.5
