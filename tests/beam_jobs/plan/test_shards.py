"""Shards: the same for the same list, and nothing lost."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.inputs.file_listing import InputClip
from beam_jobs.plan.shards import default_shard_count, plan_shards, read_plan, write_plan


def clip(name, label=None, split=None, identity=None):
    labels = () if label is None else (label,)
    return InputClip(identity or name, f"/videos/{name}", name, labels, split=split)


def test_parts_of_one_file_are_neighbours():
    """So that a worker fetches a file once."""
    clips = [clip(f"v{file}.mp4", split="train", identity=f"v{file}#{n}") for n in range(5) for file in range(30)]
    for _, part in plan_shards(clips, 3):
        names = [one.name for one in part]
        assert len(set(names)) == 1 + sum(first != second for first, second in itertools.pairwise(names))


@pytest.mark.parametrize(
    ("clips", "shards"), [(1, 1), (8, 1), (9, 2), (20, 3), (128, 16), (1000, 16), (1025, 17), (64_000, 1000)]
)
def test_default_shard_count(clips, shards):
    assert default_shard_count(clips) == shards


@given(st.integers(0, 60), st.one_of(st.none(), st.integers(1, 9)))
def test_every_clip_is_in_one_shard(count, per_split):
    clips = [clip(f"v{number}.mp4", split=("train", "test")[number % 3 == 0]) for number in range(count)]
    plan = plan_shards(clips, per_split)
    assert sorted(one.clip_id for _, part in plan for one in part) == sorted(one.clip_id for one in clips)
    for shard, part in plan:
        assert len(part) == shard.clips > 0
        assert {one.split for one in part} == {shard.split}
        assert [one.name for one in part] == sorted(one.name for one in part)
        sizes = [other.clips for other, _ in plan if other.split == shard.split]
        assert len(sizes) == shard.count and max(sizes) - min(sizes) <= 1
    assert plan == plan_shards(clips[::-1], per_split), "the order of the list must not matter"


def test_plan_file_gives_each_shard_its_clips(tmp_path):
    odd = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    clips = [clip(f"ä{number}.mp4", "ü", "train") for number in range(9)] + [clip(odd, split="test")]
    plan = plan_shards(clips, 2)
    placed = write_plan(str(tmp_path), plan)
    assert [shard.name for shard in placed] == [
        "train/clips-00000-of-00002.tfrecord",
        "train/clips-00001-of-00002.tfrecord",
        "test/clips-00000-of-00001.tfrecord",
    ]
    for shard, (_, part) in zip(placed, plan, strict=True):
        assert read_plan(str(tmp_path), shard) == part
