"""Tests that mean little: what is said of them. That job and report say so: `test_duplicates.py` beside it."""

import json

import pytest

from beam_jobs.finish.assemble import split_findings
from pemt_tf.config import Config
from pemt_tf.data.dataset_card import DatasetCard, SplitCard

GEOMETRY = Config.from_preset("tiny").geometry


def card(**splits):
    clips = sum(split.clips for split in splits.values())
    labels = sorted({label for split in splits.values() for label in split.labels})
    return DatasetCard(GEOMETRY, labels, splits, inputs=clips, written=clips, filtered={}, failed={})


def split(near=0, unlabelled=0, **labels):
    return SplitCard([], sum(labels.values()) + unlabelled, labels, unlabelled, near_duplicates=near)


@pytest.mark.parametrize(
    ("splits", "findings"),
    [
        ({"train": split(x=80, y=90), "validation": split(x=1, y=1), "test": split(x=15, y=15)}, []),
        (
            {"train": split(x=8, y=8, z=8), "validation": split(x=1, y=1, z=1), "test": split(x=1)},
            [
                "The test split has no clip of 2 of 3 labels: y, z.",
                "The test split has only 1 clip; a single one changes a result by 100 %.",
            ],
        ),
        (
            {"train": split(**{f"l{n}": 9 for n in range(9)}), "validation": split(l0=3), "test": split(l0=30)},
            [
                "The validation split has no clip of 8 of 9 labels: l1, l2, l3, l4, l5 and 3 more.",
                "The test split has no clip of 8 of 9 labels: l1, l2, l3, l4, l5 and 3 more.",
            ],
        ),
        (
            {"train": split(x=80), "test": split(near=2, x=40)},
            [
                "2 of 40 test clips are near-duplicates of training clips, so results on them are too good "
                "(duplicates.jsonl); --drop_duplicates leaves the training clips out."
            ],
        ),
        (
            {"train": split(x=80), "test": split(x=29)},
            ["The test split has only 29 clips; a single one changes a result by 3 %."],
        ),
        ({"train": split(unlabelled=8), "test": split(unlabelled=1)}, []),
        ({"train": split(x=8, y=8)}, []),
    ],
)
def test_findings(splits, findings):
    assert split_findings(card(**splits)) == findings


def test_card_of_an_earlier_release_says_nothing_of_near_duplicates(tmp_path):
    card(train=split(x=1), test=split(x=30)).write(tmp_path)
    path = tmp_path / "dataset_card.json"
    values = json.loads(path.read_text())
    for one in values["splits"].values():
        del one["near_duplicates"]
    path.write_text(json.dumps(values))
    old = DatasetCard.read(tmp_path)
    assert old.splits["test"].near_duplicates is None and split_findings(old) == []
