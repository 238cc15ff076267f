"""Splits: the same for the same list, and no label that cannot be learned."""

import dataclasses
import hashlib
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beam_jobs.inputs.file_listing import InputClip, hash_fraction
from beam_jobs.inputs.selection import assign_splits, hashed_split, parse_fractions
from pemt_tf.errors import PemtError

FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def clip(name, label=None, split=None, identity=None, group=None):
    labels = () if label is None else (label,)
    return InputClip(identity or name, f"/videos/{name}", name, labels, split=split, group=group)


def test_hash_is_sha256_of_the_name():
    # sha256("a.mp4") begins 8df1..., computed with sha256sum.
    import subprocess

    digest = subprocess.run(["sha256sum"], input=b"a.mp4", capture_output=True, check=True).stdout
    assert hash_fraction("a.mp4") == int(digest[:12], 16) / 2**48


def test_draws_follow_the_fractions():
    drawn = [hashed_split(f"video{number}.mp4", FRACTIONS) for number in range(4000)]
    for split, share in FRACTIONS.items():
        assert drawn.count(split) / 4000 == pytest.approx(share, abs=0.03)  # five standard deviations


def test_one_split_takes_all():
    only_test = {"train": 0.0, "validation": 0.0, "test": 1.0}
    assert {hashed_split(str(number), only_test) for number in range(100)} == {"test"}


@pytest.mark.parametrize("text", ["train=0.5", "train=a", "train", "dev=1", "train=1.5,test=-0.5", ""])
def test_bad_fractions(text):
    with pytest.raises(PemtError, match="--split_fractions"):
        parse_fractions(text)


def test_fractions():
    assert parse_fractions("train=0.75, test=0.25") == {"train": 0.75, "validation": 0.0, "test": 0.25}


names = st.lists(
    st.tuples(st.text("abcdef/", min_size=1), st.sampled_from([None, "x", "y", "z"])), unique_by=lambda n: n[0]
)


@given(names)
@example([("aaaaa", "x"), ("aaaaaaaaa", "x"), ("aaabcdddf", "x")])  # drawn: test, test, validation
def test_every_label_can_be_learned(pairs):
    clips = [clip(name, label) for name, label in pairs]
    assigned = assign_splits(clips, FRACTIONS)
    assert [dataclasses.replace(one, split=None) for one in assigned] == clips
    trained = {one.label for one in assigned if one.split == "train"}
    assert {one.label for one in assigned if one.label is not None} <= trained
    for label in ("x", "y", "z"):
        mine = [one for one in assigned if one.label == label]
        drawn = {one.name: hashed_split(one.name, FRACTIONS) for one in mine}
        moved = [one for one in mine if one.split != drawn[one.name]]
        counts = Counter(one.split for one in mine)
        assert set(counts) == set(FRACTIONS) if len(mine) >= 3 else len(counts) == len(mine)
        # No more is moved than splits were without the label, and at most one moved group is in each. One more is moved
        # if training gets the only validation group, the one of lowest hash: validation is then filled again.
        emptied = "train" not in drawn.values() and list(drawn.values()).count("validation") == 1
        assert len(moved) <= len(set(FRACTIONS) - set(drawn.values())) + emptied
        assert all(counts[one.split] == 1 for one in moved)


def by_hash(drawn):
    """Names that the hash puts into these splits, one each, those of equal splits by rising hash."""
    names = sorted((f"v{number}.mp4" for number in range(2000)), key=hash_fraction)
    return [
        next(name for name in names if hashed_split(name, FRACTIONS) == split and not names.remove(name))
        for split in drawn
    ]


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        # Of the groups that can be spared the one of highest hash is moved; to the training split, that of the lowest.
        (["train"] * 4, ["train", "train", "validation", "test"]),
        (["train", "train", "validation"], ["train", "test", "validation"]),
        (["train", "train", "test"], ["train", "validation", "test"]),
        (["validation", "validation", "validation"], ["train", "validation", "test"]),
        (["test", "test", "test"], ["train", "test", "validation"]),
        (["train", "train"], ["train", "test"]),
        (["validation", "test"], ["train", "test"]),
        (["test"], ["train"]),
    ],
)
def test_every_split_holds_every_label_that_has_groups_enough(drawn, expected):
    names = by_hash(drawn)
    clips = [clip(name, "x") for name in names]
    assert [one.split for one in assign_splits(clips, FRACTIONS)] == expected
    two_each = [clip(name, "x", identity=f"{name}#{part}") for name in names for part in (0, 1)]
    assert [one.split for one in assign_splits(two_each, FRACTIONS)] == [split for split in expected for _ in (0, 1)]


def test_a_group_that_is_the_last_of_another_label_stays():
    """The group of highest hash is the only one of `y` in the training split."""
    first, second, third = by_hash(["train"] * 3)
    clips = [clip(first, "x"), clip(second, "x"), dataclasses.replace(clip(third, "x"), labels=("x", "y"))]
    assert [one.split for one in assign_splits(clips, FRACTIONS)] == ["validation", "test", "train"]


def test_only_splits_in_use_are_filled_and_only_by_what_was_drawn():
    names = by_hash(["train"] * 4)
    both = {"train": 0.9, "validation": 0.0, "test": 0.1}
    assert [one.split for one in assign_splits([clip(name, "x") for name in names], both)] == ["train"] * 3 + ["test"]
    given = [clip(name, "x", "train") for name in names]
    assert assign_splits(given, FRACTIONS) == given
    assert [one.split for one in assign_splits([*given[:3], clip(names[3], "x")], FRACTIONS)] == ["train"] * 3 + [
        "test"
    ]


def lowest_first(names):
    """By the beginning of their SHA-256, as the documentation has it."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


# Of 0.9 for validation and test together, these names fall there: the first six bytes of their hash are above a tenth.
FEW = {"train": 0.1, "validation": 0.45, "test": 0.45}
DRAWN_OUT = [n for n in (f"v{k}.mp4" for k in range(400)) if hashlib.sha256(n.encode()).digest()[0] >= 26]


@pytest.mark.parametrize("start", range(0, 200, 10))
@pytest.mark.parametrize("size", [2, 3, 7])
def test_the_group_of_the_lowest_hash_is_moved(start, size):
    """Not the first by name, nor any other: the choice stays when files come that do not lie lower."""
    names = DRAWN_OUT[start : start + size]
    assigned = assign_splits([clip(name, "x") for name in names], FEW)
    assert [one.name for one in assigned if one.split == "train"] == lowest_first(names)[:1]
    # By the hash of the group where there is one, and with all its clips.
    groups = {f"g{number}": name for number, name in enumerate(names)}
    clips = [clip(f"{group}-{part}", "x", group=name) for group, name in groups.items() for part in range(2)]
    moved = {one.group for one in assign_splits(clips, FEW) if one.split == "train"}
    assert moved == set(lowest_first(names)[:1])


def test_a_group_whose_split_was_given_is_not_moved():
    names = lowest_first(DRAWN_OUT[:5])
    clips = [clip(name, "x", split="test" if name == names[0] else None) for name in names]
    assert [one.name for one in assign_splits(clips, FEW) if one.split == "train"] == names[1:2]


def test_clips_of_one_file_stay_together():
    clips = [clip("a.mp4", identity=f"a.mp4#{n}-{n + 1}") for n in range(50)]
    assert len({one.split for one in assign_splits(clips, FRACTIONS)}) == 1


@given(st.lists(st.tuples(st.text("abc", min_size=1), st.sampled_from(["g", "h", None])), unique_by=lambda n: n[0]))
def test_groups_stay_together(pairs):
    assigned = assign_splits([clip(name, group=group) for name, group in pairs], FRACTIONS)
    for group in ("g", "h"):
        assert len({one.split for one in assigned if one.group == group}) <= 1
    for one in assigned:
        assert one.split == hashed_split(one.group or one.name, FRACTIONS)


def test_a_group_takes_the_split_that_one_of_it_was_given():
    clips = [clip("a.mp4", group="g"), clip("b.mp4", split="test", group="g"), clip("c.mp4", split="train")]
    assert [one.split for one in assign_splits(clips, FRACTIONS)] == ["test", "test", "train"]


def test_a_group_in_two_splits_is_refused():
    clips = [clip("a.mp4", split="train", identity="a#0-1"), clip("a.mp4", split="test", identity="a#1-2")]
    with pytest.raises(PemtError, match=r"a.mp4 is in the train split and in the test split.*column 'group'"):
        assign_splits(clips, FRACTIONS)


def test_several_labels_count_each():
    first, second = clip("a.mp4", split="train"), clip("b.mp4", split="test")
    labelled = [dataclasses.replace(first, labels=("x", "y")), dataclasses.replace(second, labels=("y", "z"))]
    with pytest.raises(PemtError, match="label 'z' is in the test split"):
        assign_splits(labelled, FRACTIONS)


def test_given_splits_stay():
    clips = [clip("a.mp4", "x", "test"), clip("b.mp4", "x", "train")]
    assert assign_splits(clips, FRACTIONS) == clips


def test_label_only_in_test_is_refused():
    clips = [clip("a.mp4", "dog", "train"), clip("b.mp4", "cat", "test")]
    with pytest.raises(PemtError, match="label 'cat' is in the test split but not in the train split"):
        assign_splits(clips, FRACTIONS)
    assert assign_splits(clips, FRACTIONS, vocabulary=["cat", "dog"]) == clips
