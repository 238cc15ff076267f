"""Ranks against plain loops, with equal scores, and in small blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pemt_tf.errors import PemtError
from pemt_tf.evaluation import pair_scores as pair_scores_module
from pemt_tf.evaluation import retrieval
from pemt_tf.evaluation.pair_scores import pair_scores, read_pair_classifier
from pemt_tf.evaluation.retrieval import cosine_scores, measure_retrieval, ranks, recall


def restated(scores):
    """Mean rank over all orders of equal scores: 1 + better + equal others / 2."""
    n = len(scores)
    by_row = [
        1 + sum(s > row[i] for s in row) + sum(row[j] == row[i] for j in range(n) if j != i) / 2
        for i, row in enumerate(scores)
    ]
    return by_row


@settings(deadline=None)
@given(clips=st.integers(1, 12), levels=st.integers(1, 6), seed=st.integers(0, 2**31))
def test_ranks_equal_the_restatement_also_with_equal_scores(clips, levels, seed):
    scores = np.random.default_rng(seed).integers(0, levels, (clips, clips)).astype(float)
    by_sound, by_picture = ranks(lambda rows: scores[rows], clips)
    assert by_sound.tolist() == restated(scores.tolist())
    assert by_picture.tolist() == restated(scores.T.tolist())


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_has_the_worst_rank(number):
    """50 embeddings of NaN once gave 100 %: no score is above NaN."""
    undefined = np.full((50, 8), number)
    with np.errstate(invalid="ignore"):
        found = measure_retrieval(cosine_scores(undefined, undefined), 50)
    for direction in ("audio_to_video", "video_to_audio"):
        assert (found[direction]["recall_at_10"], found[direction]["median_rank"]) == (0, 50)
    scores = np.eye(4)
    scores[1, 1] = number  # one clip's own score: it is last, and the others keep their rank
    for found in ranks(lambda rows: scores[rows], 4):
        assert found.tolist() == [1, 4, 1, 1]


def test_blocks_do_not_matter(monkeypatch):
    scores = np.random.default_rng(0).normal(size=(23, 23))
    whole = ranks(lambda rows: scores[rows], 23)
    monkeypatch.setattr(retrieval, "_SCORES_AT_ONCE", 100)  # blocks of four
    np.testing.assert_array_equal(ranks(lambda rows: scores[rows], 23), whole)


def test_by_hand():
    """Sounds at 0, 40, 90 degrees, pictures at 10, 80, 60: the second sound is nearer to 60 and to 10 than to 80."""
    sound, pictures = (np.radians(a) for a in ([0, 40, 90], [10, 80, 60]))
    lengths = np.array([[1.0], [7.0], [0.2]])
    scores = cosine_scores(*(lengths * np.stack([np.cos(a), np.sin(a)], axis=1) for a in (sound, pictures)))
    by_sound, by_picture = ranks(scores, 3)
    assert by_sound.tolist() == [1, 3, 2] and by_picture.tolist() == [1, 2, 2]
    result = measure_retrieval(scores, 3)["audio_to_video"]
    assert result == {
        "recall_at_1": pytest.approx(1 / 3),
        "recall_at_5": 1.0,
        "recall_at_10": 1.0,
        "median_rank": 2.0,
        "clips": 3,
    }


def test_recalls():
    found = recall(np.array([1, 2, 5, 5.5, 6, 10, 10.5, 100]))
    assert (found["recall_at_1"], found["recall_at_5"], found["recall_at_10"]) == (1 / 8, 3 / 8, 6 / 8)
    assert (found["median_rank"], found["clips"]) == (5.75, 8)


def test_collapsed_embeddings_are_at_chance():
    """All alike: the mean rank of 101 clips is 51, for every one of them, and nothing is found."""
    result = measure_retrieval(cosine_scores(np.ones((101, 2)), np.ones((101, 2)) * 2), 101)
    for direction in ("audio_to_video", "video_to_audio"):
        assert result[direction]["median_rank"] == 51 and result[direction]["recall_at_10"] == 0


def test_pair_scores_equal_the_layer(monkeypatch, tmp_path):
    """The layer of pretraining on every single pair."""
    from pemt_tf.losses.correct_pair_prediction import PairClassifier

    rng = np.random.default_rng(0)
    audio, visual = rng.normal(size=(2, 7, 5)).astype(np.float32)
    layer = PairClassifier(5)
    layer.build()
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    names = ("inner/kernel", "inner/bias", "outer/kernel", "outer/bias")
    np.savez(
        tmp_path / "w.npz", **{f"context/{n}": w for n, w in zip(names, layer.get_weights(), strict=True)}, other=1
    )
    weights = read_pair_classifier(tmp_path / "w.npz")
    expected = np.array([[float(layer(visual[j][None], audio[i][None])[0]) for j in range(7)] for i in range(7)])
    scores = pair_scores(weights, audio, visual)
    np.testing.assert_allclose(scores(slice(0, 7)), expected, atol=1e-5)
    monkeypatch.setattr(pair_scores_module, "_NUMBERS_AT_ONCE", 1)
    np.testing.assert_allclose(scores(slice(2, 5)), expected[2:5], atol=1e-5)


def test_no_pair_classifier(tmp_path):
    assert read_pair_classifier(tmp_path / "none.npz") is None
    np.savez(tmp_path / "joint.npz", **{"joint/inner/kernel": np.ones(2)})
    assert read_pair_classifier(tmp_path / "joint.npz") is None  # early fusion: no stream is described alone
    for content in (b"", b"not a file of arrays", b"PK\x03\x04" + bytes(60)):
        (tmp_path / "damaged.npz").write_bytes(content)
        with pytest.raises(PemtError, match=r"damaged.npz is damaged \(.*\); train again into another --output"):
            read_pair_classifier(tmp_path / "damaged.npz")
