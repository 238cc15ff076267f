"""Near-duplicates: re-encoded copies are found, different clips are not, and what is dropped is counted."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from beam_jobs.finish.duplicates import DuplicatePair, Fingerprints, to_drop
from beam_jobs.inputs.file_listing import InputClip
from beam_jobs.worker.outcomes import WRITTEN, InputOutcome, WrittenClip
from pemt_tf.data.dataset_card import DatasetCard
from tests import media_files as media
from tests.beam_jobs.command import contents, run

CLIP_HASH_BYTES = 32  # four segments


def outcome(name, split, picture=None, sound=None, group=None, **flags):
    clip = WrittenClip(
        name,
        0.0,
        1.0,
        10,
        picture is not None,
        sound is not None,
        picture_hash="" if picture is None else picture.tobytes().hex(),
        sound_hash="" if sound is None else sound.tobytes().hex(),
        **flags,
    )
    return InputOutcome(WRITTEN, InputClip(name, name, name, split=split, group=group), "decode", clips=(clip,))


def random_hash(seed):
    return np.random.default_rng(seed).integers(0, 256, CLIP_HASH_BYTES, np.uint8)


def flipped(hashed, share, seed=0):
    bits = np.unpackbits(hashed)
    chosen = np.random.default_rng(seed).choice(len(bits), round(share * len(bits)), replace=False)
    bits[chosen] ^= 1
    return np.packbits(bits)


def pairs_of(*outcomes):
    prints = Fingerprints()
    for one in outcomes:
        prints.add(one)
    return prints.pairs()


def test_planted_copies_are_found_among_many():
    """As a comparison of all pairs would: 2,000 clips, 50 of them noisy copies of others."""
    everything = [outcome(f"v{n:04d}", "train", random_hash(n), random_hash(10_000 + n)) for n in range(2000)]
    for n in range(50):
        noise = n / 1000  # up to 5 % of the bits
        copy = outcome(f"copy{n:04d}", "test", flipped(random_hash(n), noise), flipped(random_hash(10_000 + n), noise))
        everything.append(copy)
    found = pairs_of(*everything)
    assert {(pair.first, pair.second) for pair in found} == {(f"v{n:04d}", f"copy{n:04d}") for n in range(50)}
    assert all(pair.is_across and pair.is_whole and pair.what == "video and audio" for pair in found)
    assert found[0].video_distance == pytest.approx(int(found[0].second[4:]) / 1000, abs=0.003)


def test_mass_copies_are_all_found():
    """A trailer that is in the archive three hundred times."""
    same = [outcome(f"v{n:03d}", "train", random_hash(1), random_hash(2)) for n in range(300)]
    dropped = to_drop(pairs_of(*same, outcome("other", "train", random_hash(3), random_hash(4))), also_within=True)
    assert set(dropped) == {f"v{n:03d}" for n in range(1, 300)}


def test_what_is_no_duplicate():
    black, quiet = np.zeros(CLIP_HASH_BYTES, np.uint8), np.zeros(CLIP_HASH_BYTES, np.uint8)
    assert pairs_of(outcome("a", "train", black), outcome("b", "test", black)) == []
    assert pairs_of(outcome("a", "train", None, quiet), outcome("b", "test", None, quiet)) == []
    still = [outcome(name, "train", random_hash(1), frozen=True) for name in "ab"]
    assert pairs_of(*still) == [], "a title card says nothing"
    film = [outcome(f"film#{n}", "train", random_hash(1), group="film") for n in range(3)]
    assert pairs_of(*film) == [], "windows of one film look alike"


def test_shared_silence_is_no_likeness():
    """Half of each clip is silent; in the other half they have nothing in common, or too little sound is left."""

    def sound(seed, segments):
        hashed = random_hash(seed)
        hashed[8 * segments :] = 0
        return hashed

    assert pairs_of(outcome("a", "train", None, sound(1, 2)), outcome("b", "test", None, sound(2, 2))) == []
    assert pairs_of(outcome("a", "train", None, sound(1, 1)), outcome("b", "test", None, sound(1, 1))) == []
    assert len(pairs_of(outcome("a", "train", None, sound(1, 2)), outcome("b", "test", None, sound(1, 2)))) == 1


def test_dubbed_film_agrees_in_pictures_only():
    (pair,) = pairs_of(
        outcome("a", "train", random_hash(1), random_hash(2)), outcome("b", "test", random_hash(1), random_hash(3))
    )
    assert (pair.what, pair.is_whole) == ("video", False)
    assert to_drop([pair], also_within=True) == {}


def pair(first, second, splits):
    return DuplicatePair(first, second, *splits, "video", True, 0.0, None)


def test_what_is_tested_stays():
    across = pair("a", "t", ("train", "test"))
    chain = [across, pair("a", "b", ("train", "train")), pair("v", "t", ("validation", "test"))]
    assert set(to_drop(chain, also_within=False)) == {"a", "b", "v"}
    within = [pair("a", "b", ("train", "train")), pair("b", "c", ("train", "train"))]
    assert to_drop(within, also_within=False) == {}
    assert set(to_drop(within, also_within=True)) == {"b", "c"}


@pytest.fixture(scope="module")
def with_copies(tmp_path_factory):
    """Moving textures: in train v0 to v5; in test a re-encoded, smaller copy of v1, and v6."""
    root = tmp_path_factory.mktemp("copies")

    def texture(seed):
        random = np.random.default_rng(seed)
        big = np.kron(random.integers(0, 256, (8, 16), np.uint8), np.ones((30, 30), np.uint8))

        def picture(number, height, width):
            part = big[number : number + 96, 2 * number : 2 * number + 128]
            rows, columns = np.arange(height) * 96 // height, np.arange(width) * 128 // width
            return np.repeat(part[np.ix_(rows, columns)][..., None], 3, axis=-1)

        return {"picture": picture, "tone": lambda t: 0.3 * np.sin(2 * np.pi * (200 + 97 * seed) * t * (1 + t))}

    for seed in range(6):
        media.write_video(root / "train" / "x" / f"v{seed}.mp4", size=(128, 96), **texture(seed))
    media.write_video(root / "test" / "x" / "copy.webm", size=(96, 72), **texture(1))
    media.write_video(root / "test" / "x" / "v6.mp4", size=(128, 96), **texture(6))
    return root


def test_copy_across_splits_is_reported(with_copies, tmp_path, capsys):
    code, out, _ = run(capsys, "--input", with_copies, "--output", tmp_path / "out")
    assert code == 0 and "near-duplicates: 1 pairs across splits, 0 within" in out
    (found,) = map(json.loads, (tmp_path / "out" / "duplicates.jsonl").read_text().splitlines())
    assert (found["first"], found["second"]) == ("train/x/v1.mp4", "test/x/copy.webm")
    assert DatasetCard.read(tmp_path / "out").duplicates == {"across_splits": 1, "within_splits": 0}
    card = DatasetCard.read(tmp_path / "out")
    assert card.written == 8
    assert {name: split.near_duplicates for name, split in card.splits.items()} == {"train": 0, "test": 1}
    warnings = [line.removeprefix("warning: ") for line in out.splitlines() if line.startswith("warning: ")]
    assert warnings == [
        "1 of 2 test clips is a near-duplicate of training clips, so results on them are too good (duplicates.jsonl); "
        "--drop_duplicates leaves the training clips out.",
        "the test split has only 2 clips; a single one changes a result by 50 %.",
    ]
    findings = (tmp_path / "out" / "report.html").read_text().partition("What to look at first</h2>")[2]
    assert all(warning[1:] in findings.partition("</section>")[0] for warning in warnings)


def test_copy_across_splits_is_dropped(with_copies, tmp_path, capsys):
    output = tmp_path / "out"
    assert run(capsys, "--input", with_copies, "--output", output, "--drop_duplicates")[0] == 0
    card = DatasetCard.read(output)
    assert (card.inputs, card.written, card.filtered) == (8, 7, {"duplicate": 1})
    assert card.splits["test"].near_duplicates == 0, "what training does not see any more does not count"
    (pair,) = map(json.loads, (output / "duplicates.jsonl").read_text().splitlines())
    assert pair["left_out"] == ["train/x/v1.mp4"]
    (row,) = map(json.loads, (output / "errors" / "filtered.jsonl").read_text().splitlines())
    assert row["id"] == "train/x/v1.mp4" and "as test/x/copy.webm in the test split" in row["detail"]
    index = pq.read_table(output / "index.parquet").to_pylist()
    stored = [
        tf.train.Example.FromString(raw).features.feature["clip/id"].bytes_list.value[0].decode()
        for split in card.splits.values()
        for file in split.files
        for raw in tf.data.TFRecordDataset(str(output / file)).as_numpy_iterator()
    ]
    assert stored == [row["id"] for row in index] and "train/x/v1.mp4" not in stored and len(stored) == 7
    assert (
        run(capsys, "--input", with_copies, "--output", tmp_path / "two", "--drop_duplicates", "--num_workers", 2)[0]
        == 0
    )
    assert contents(tmp_path / "two") == contents(output)


def test_outcome_survives_json():
    one = dataclasses.replace(outcome("a", "train", random_hash(1)), source={"duration": 1.5})
    assert InputOutcome.from_line(one.line()) == one
