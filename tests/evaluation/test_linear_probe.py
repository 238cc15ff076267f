"""The logistic regression solves its own equations, in either shape of the data; the test has no part in choices."""

import numpy as np
import pytest
from scipy import optimize, special

from pemt_tf.errors import PemtError
from pemt_tf.evaluation.folds import grouped_folds
from pemt_tf.evaluation.linear_probe import DEFAULT_STRENGTH, STRENGTHS, Standardization, fit_path
from pemt_tf.evaluation.modality_probe import FIXED, LabelledVectors, fit_probe, measure_probe


def test_standardization():
    features = np.array([[1.0, 5.0, 1e8], [3.0, 5.0, 1e8]], np.float32)
    fitted = Standardization.fit(features)
    np.testing.assert_allclose(fitted(features), [[-1, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(fitted(np.array([[5.0, 99.0, 0.0]])), [[3, 0, 0]])  # a constant feature says nothing


def objective(flat, x, y, classes, strength):
    """mean cross-entropy + lambda / 2 ||W||^2, the intercept free."""
    w, b = flat[: classes * x.shape[1]].reshape(classes, -1), flat[classes * x.shape[1] :]
    p = special.log_softmax(x @ w.T + b, axis=1)
    return -p[np.arange(len(y)), y].mean() + strength / 2 * (w**2).sum()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("clips", "width"), [(60, 4), (12, 30)], ids=["tall", "wide"])
def test_minimizes_the_stated_objective(clips, width, classes):
    """With two labels as well: there scikit-learn's own objective is another one."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(clips, width)), np.arange(clips) % classes
    x[:, 0] += y
    for strength, model in fit_path(x, y, classes, (1.0, 0.1)):
        start = np.zeros(classes * (width + 1))
        best = optimize.minimize(objective, start, (x, y, classes, strength), method="BFGS", options={"gtol": 1e-7})
        found = np.concatenate([model.coefficients.ravel(), model.intercepts])
        assert objective(found, x, y, classes, strength) == pytest.approx(best.fun, abs=1e-6)
        np.testing.assert_allclose(model.coefficients.ravel(), best.x[: classes * width], atol=2e-3)
        np.testing.assert_allclose(np.exp(model.log_probabilities(x)).sum(axis=1), 1)


def test_two_labels_of_four():
    """Labels 1 and 3 only: the others are never named."""
    rng = np.random.default_rng(1)
    y = np.array([1, 3] * 20)
    x = rng.normal(size=(40, 3)) + (y == 3)[:, None] * 3.0
    (_, model), *_ = fit_path(x, y, 4, (0.01,))
    p = np.exp(model.log_probabilities(x))
    assert (p[:, [0, 2]] == 0).all() and (p.argmax(axis=1) == y).mean() > 0.9
    logit = p[:, 3] / (1 - p[:, 3])
    assert np.corrcoef(np.log(logit), x.sum(axis=1))[0, 1] > 0.95


def clusters(seed, clips, noise=1.0, width=6, classes=3):
    rng = np.random.default_rng(seed)
    labels = np.arange(clips) % classes
    vectors = np.eye(classes, width)[labels] * 2 + rng.normal(size=(clips, width)) * noise
    return LabelledVectors(vectors.astype(np.float32), labels, np.array([f"{seed}-{n}" for n in range(clips)]))


def fitted(train, **more):
    return fit_probe(train, 3, grouped_folds(train.labels, train.files), "folds", **more)


def test_learns_what_is_there_and_nothing_where_is_nothing():
    result = measure_probe(fitted(clusters(0, 90)), clusters(1, 300))
    for name in ("linear", "knn"):
        low, high = result[name]["interval"]
        assert 0.7 < low < result[name]["accuracy"] < high < 0.9  # no rule can reach 0.9
        assert result[name]["bootstrap_interval"] == pytest.approx((low, high), abs=0.02)
    assert result["linear"]["regularization"] in STRENGTHS and result["knn"]["k"] in (1, 3, 5, 10, 20)
    assert result["linear"]["chosen_on"] == result["knn"]["chosen_on"] == "folds"
    nothing = measure_probe(fitted(clusters(2, 90, noise=1e6)), clusters(3, 300, noise=1e6))
    assert all(nothing[name]["accuracy"] < 0.42 for name in ("linear", "knn"))  # 1/3 and three standard errors


def test_noise_asks_for_strong_regularization_and_many_neighbours():
    clear, noisy = (fitted(clusters(0, 60, noise=noise, width=3)) for noise in (0.1, 3.0))
    assert noisy.neighbours > clear.neighbours == 1 and noisy.strength > clear.strength == STRENGTHS[-1]


def test_labels_of_the_test_change_nothing_but_the_score():
    train, test = clusters(0, 60, noise=2.0), clusters(1, 60, noise=2.0)
    probe = fitted(train)
    predictions = (probe.linear(test.vectors).copy(), probe.knn(test.vectors).copy())
    right = measure_probe(probe, test)
    wrong = measure_probe(probe, LabelledVectors(test.vectors, (test.labels + 1) % 3, test.files))
    assert right["linear"]["accuracy"] != wrong["linear"]["accuracy"]
    assert right["linear"]["regularization"] == wrong["linear"]["regularization"]
    np.testing.assert_array_equal(predictions, (probe.linear(test.vectors), probe.knn(test.vectors)))


def test_validation_decides_where_it_is_given():
    """Validation labels that are all wrong want the model that is least sure; the folds want another."""
    train = clusters(0, 60)
    by_folds = fitted(train)
    swapped = clusters(1, 60, noise=0.1)
    swapped = LabelledVectors(swapped.vectors, (swapped.labels + 1) % 3, swapped.files)
    by_validation = fitted(train, validation=swapped)
    # All strengths are equally wrong, so the likeliest wins: the one that is least sure.
    assert by_validation.strength == STRENGTHS[0] != by_folds.strength


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_features_that_are_not_numbers_are_never_right(number):
    train, test = clusters(0, 60), clusters(1, 30)
    undefined = LabelledVectors(np.full_like(test.vectors, number), test.labels, test.files)
    with np.errstate(invalid="ignore"):
        result = measure_probe(fitted(train), undefined)
    assert result["linear"]["accuracy"] == result["knn"]["accuracy"] == 0
    with pytest.raises(PemtError, match="row 0, row 1, row 2 and 21 more is NaN or infinite"):
        fitted(undefined)  # to four of five folds, 24 clips


def test_one_clip_a_label():
    train = clusters(0, 3, noise=0.3, width=3)
    probe = fitted(train)
    assert (probe.strength, probe.neighbours, probe.chosen_on) == (DEFAULT_STRENGTH, 1, FIXED)
    assert measure_probe(probe, clusters(1, 90, noise=0.3, width=3))["linear"]["accuracy"] > 0.9
