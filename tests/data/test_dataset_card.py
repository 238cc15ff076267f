"""The data-set card: conservation, damage, absence."""

import json

import pytest

from pemt_tf.data.dataset_card import CARD_NAME, DatasetCard, SplitCard
from pemt_tf.errors import PemtError


def make_card(geometry, **changes):
    values = {
        "geometry": geometry,
        "labels": ["cat", "dog"],
        "splits": {"train": SplitCard(["train/a.tfrecord"], 5, {"cat": 2, "dog": 2}, 1, 5, 4, 50.0)},
        "inputs": 9,
        "written": 5,
        "filtered": {"too_short": 1},
        "failed": {"open_failed": 2, "no_video": 1},
    }
    return DatasetCard(**{**values, **changes})


def test_round_trip(tmp_path, small_config):
    card = make_card(small_config.geometry, content_hash="ab", source="videos", preset="tiny")
    assert card.write(tmp_path) == tmp_path / "dataset_card.json"
    assert DatasetCard.read(tmp_path) == card
    assert [p.name for p in tmp_path.iterdir()] == [CARD_NAME]


@pytest.mark.parametrize("written", [4, 6])
def test_lost_or_doubled_clips_are_refused(small_config, written):
    with pytest.raises(
        PemtError, match=rf"^9 inputs but {written + 4} accounted for \({written} written, 1 filtered, 3 f"
    ):
        make_card(small_config.geometry, written=written)


def test_a_card_edited_by_hand_is_checked_again(tmp_path, small_config):
    path = make_card(small_config.geometry).write(tmp_path)
    path.write_text(path.read_text().replace('"inputs": 9', '"inputs": 10'))
    with pytest.raises(PemtError, match="10 inputs but 9 accounted for"):
        DatasetCard.read(tmp_path)


def test_no_card_means_not_finished(tmp_path):
    with pytest.raises(PemtError, match=r"is not a finished data set: it has no dataset_card\.json; make one with"):
        DatasetCard.read(tmp_path)
    with pytest.raises(PemtError, match="is not a finished data set"):
        DatasetCard.read(tmp_path / "nowhere")


def without(name):
    return lambda values: {k: v for k, v in values.items() if k != name}


@pytest.mark.parametrize(
    "damage",
    [
        lambda values: [values],
        lambda values: None,
        without("geometry"),
        without("inputs"),
        lambda values: {**values, "splits": []},
        lambda values: {**values, "splits": {"train": {"fils": []}}},
        lambda values: {**values, "unheard_of": 1},
        lambda values: {**values, "failed": 3},
    ],
)
def test_a_damaged_card_is_named(tmp_path, small_config, damage):
    path = make_card(small_config.geometry).write(tmp_path)
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(PemtError, match=r"dataset_card\.json is damaged .*run the preprocessing job again"):
        DatasetCard.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b'{"format_version": 1', b"\xff\xfe\x00"])
def test_a_cut_off_card_is_named(tmp_path, content):
    (tmp_path / CARD_NAME).write_bytes(content)
    with pytest.raises(PemtError, match=r"dataset_card\.json is damaged"):
        DatasetCard.read(tmp_path)


def test_another_format_version_is_refused(tmp_path, small_config):
    path = make_card(small_config.geometry).write(tmp_path)
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(PemtError, match="has format version 2; this release reads 1"):
        DatasetCard.read(tmp_path)
