"""What each of two replicas computes and draws, against the global batch (`replica_run`, in a child process)."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from pemt_tf.layers import replicas
from pemt_tf.layers.dropout import Dropout
from tests.layers.replica_run import ROWS, inputs
from tests.losses.test_audio_visual_alignment import restated

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("replicas") / "results.npz"
    command = [sys.executable, "-m", "tests.layers.replica_run", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def test_alone_everything_stays_as_it_is():
    x = np.arange(6.0).reshape(3, 2)
    assert replicas.replica_count() == 1 and replicas.replica_index() == 0
    for function in (
        replicas.own_rows,
        replicas.gather_rows,
        replicas.sum_over_replicas,
        replicas.mean_over_replicas,
    ):
        assert function(x) is x


def test_gathered_rows_are_those_of_all_replicas_in_order(results):
    weights = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    for everyone in results["two/everyone"]:
        np.testing.assert_allclose(everyone, inputs()["x"] @ weights, atol=1e-5)


def test_gradients_flow_into_gathered_rows(results):
    """d/dW of the sum over all i, j of sin(h_i . h_j), h = x W: by hand 2 x^T cos(h h^T) x W."""
    x = inputs()["x"].astype(np.float64)
    weights = np.random.default_rng(1).normal(size=(5, 3))
    h = x @ weights
    expected = 2 * x.T @ np.cos(h @ h.T) @ h
    for gradient in results["two/gradient"]:
        np.testing.assert_allclose(gradient, expected, atol=1e-4)


def test_means_weigh_every_counted_row_of_the_global_batch_alike(results):
    """Three rows count on one replica and one on the other: the mean of the two means would be another number."""
    given = inputs()
    x, logits, counted = (given[name].astype(np.float64) for name in ("x", "logits", "counted"))
    rows = np.flatnonzero(counted)
    nce, hits = [], []
    for row in rows:
        negatives = logits[row, [(row + 1) % ROWS, (row + 2) % ROWS]]
        nce.append(np.log(np.exp(logits[row, row]) + np.exp(negatives).sum()) - logits[row, row])
        hits.append(logits[row, row] > negatives.max())
    targets = (logits[:, :5] > 0)[rows]
    chance = 1 / (1 + np.exp(-x[rows]))
    binary = -np.where(targets, np.log(chance), np.log(1 - chance))
    expected = [np.mean(nce), np.mean(hits), np.mean(binary), np.mean((x[rows] > 0) == targets)]
    np.testing.assert_allclose(results["two/losses"].mean(0), expected, atol=1e-6)
    assert np.abs(results["two/losses"][0] - results["two/losses"][1]).max() > 0.1


def test_a_compiled_layer_uses_the_weights_of_its_replica(results):
    np.testing.assert_allclose(np.concatenate(results["two/tokens"]), results["one/tokens"][0], atol=1e-6)
    for gradient in results["two/of_output"]:
        np.testing.assert_allclose(gradient, results["one/of_output"][0], atol=1e-5)


def test_alignment_of_two_replicas_is_that_of_one(results):
    """Candidates of both replicas, or each of its own group; means and the gradient are those of the whole batch."""
    given = inputs()
    weights = np.random.default_rng(1).normal(size=(5, 3))
    sides = [values @ weights for values in (given["x"], given["logits"][:, :5])]
    visual, audio = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
    expected = [*restated(visual, audio, 5.0, given["counted"]), *restated(visual, audio, 5.0, given["counted"], 2)]
    for count in ("two", "one"):
        np.testing.assert_allclose(results[f"{count}/alignment"].mean(0), expected, atol=1e-5)
    (gradient,) = results["one/alignment_gradient"]
    assert np.abs(gradient).max() > 0.1
    for each in results["two/alignment_gradient"]:
        np.testing.assert_allclose(each, gradient, atol=1e-5)


def test_deviations_are_those_of_the_global_batch(results):
    x = inputs()["x"]
    for name, expected in (("deviation", x[inputs()["counted"] > 0].std(0)), ("plain_deviation", x.std(0))):
        for deviation in results[f"two/{name}"]:
            np.testing.assert_allclose(deviation, expected, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "mask",
        "mask_of_present",
        "positions",
        "positions_of_present",
        "derangement",
        "grouped_derangement",
        "negatives",
    ],
)
def test_replicas_draw_the_rows_of_the_global_batch(results, name):
    two, (one,) = results[f"two/{name}"], results[f"one/{name}"]
    np.testing.assert_array_equal(np.concatenate(two), one)
    assert (two[0] != two[1]).any()


def test_weights_of_gathered_candidates_equal_the_specification(results):
    """CANS-similar in a band of 100 %: anchors of each replica, candidates of both, without those that are absent."""
    counted = inputs()["counted"] > 0
    h = results["two/everyone"][0].astype(np.float64)
    for anchor, log_weights in enumerate(results["two/log_weights"].reshape(ROWS, ROWS)):
        others = [j for j in np.flatnonzero(counted) if j != anchor]
        distances = np.linalg.norm(h[others] - h[anchor], axis=1)
        expected = np.zeros(ROWS)
        expected[others] = 1 - (distances - distances.min()) / np.ptp(distances)
        np.testing.assert_allclose(np.exp(log_weights.astype(np.float64)), expected, atol=1e-5)


def test_dropout_differs_between_replicas_whose_state_is_the_same(results):
    first, second = results["two/dropped"]
    assert set(np.unique([first, second])) == {0.0, 2.0}
    for dropped in (first, second):
        assert abs((dropped == 0).mean() - 0.5) < 5 * 0.5 / np.sqrt(2000)
    # Independent: as many agree as by chance.
    assert abs((first == second).mean() - 0.5) < 5 * 0.5 / np.sqrt(2000)
    assert results["two/state"].tolist() == [[3, 2], [3, 2]]


def test_dropout_alone_and_on_the_first_replica_is_that_of_keras(results):
    np.testing.assert_array_equal(results["one/dropped"][0], results["keras_dropped"])
    np.testing.assert_array_equal(results["two/dropped"][0], results["keras_dropped"])


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_dropout_keeps_its_configuration_and_is_idle_at_test_time(rate):
    """It has no weights, which the contract of layers asks for."""
    layer = Dropout(rate, seed=2, dtype="mixed_bfloat16", name="drop")
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert twin.get_config() == layer.get_config()
    assert (twin.rate, twin.seed, twin.compute_dtype) == (rate, 2, "bfloat16")
    x = keras.ops.ones((3, 4), "bfloat16")
    assert layer(x, training=False) is x
    assert not layer.trainable_variables and len(layer.variables) == (1 if rate else 0)
    first, second, other = (np.asarray(keras.ops.cast(d(x, training=True), "float32")) for d in (layer, layer, twin))
    np.testing.assert_array_equal(first, other)
    assert (first != second).any() == (rate > 0)
