"""Batches: repeatable, resumable, of the clips asked for, and with the pictures that a full decode gives."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.config.augmentation import AugmentationConfig
from pemt_tf.data import records
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.clip_stream import WorkerShare
from pemt_tf.data.input_pipeline import (
    decode_for_evaluation,
    evaluation_clips,
    model_inputs,
    read_batches,
    training_clips,
)
from pemt_tf.data.record_index import RecordIndex
from pemt_tf.errors import PemtError
from tests.fake_dataset import WITHOUT_AUDIO, WITHOUT_BOTH, WITHOUT_LABEL, WITHOUT_VIDEO, fake_clips, write_dataset


def take(clips, count):
    return [{name: value.numpy() for name, value in batch.items()} for batch in clips.take(count)]


def assert_same_batches(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def numbers(batches):
    """Clip numbers in the order of the stream; ids are fake-000000 and so on."""
    return [int(i.decode().removeprefix("fake-")) for batch in batches for i in batch["id"]]


def test_shapes_and_types(clip_source):
    batch = take(training_clips(clip_source, "train", 4, seed=1), 1)[0]
    expected = {
        "frames": ((4, 3, 2, 16, 16, 3), np.uint8),
        "log_mel": ((4, 3, 16, 16, 1), np.float32),
        "visual_mask": ((4, 3), np.float32),
        "audio_mask": ((4, 3), np.float32),
        "label": ((4,), np.int64),
        "start": ((4,), np.float32),
        "end": ((4,), np.float32),
    }
    assert {name: (batch[name].shape, batch[name].dtype.type) for name in expected} == expected
    assert set(batch) == {*expected, "id", "path"}


def test_equal_seeds_give_equal_batches_and_other_seeds_others(clip_source):
    first, again, other = (take(training_clips(clip_source, "train", 4, seed), 5) for seed in (7, 7, 8))
    assert_same_batches(first, again)
    assert numbers(first) != numbers(other)


@pytest.mark.parametrize("step", [1, 2, 4, 7])
def test_starting_at_a_step_gives_what_an_uninterrupted_stream_gives_there(clip_source, step):
    """12 clips in batches of 5: epochs end inside batches."""
    whole = take(training_clips(clip_source, "train", 5, seed=3), 9)
    assert_same_batches(whole[step:], take(training_clips(clip_source, "train", 5, seed=3, start_step=step), 9 - step))


def compressed(source, folder):
    """The same records in gzip files, which cannot be read but from their start: tf.data itself shuffles these."""
    files = {}
    for split, plain in source.files.items():
        files[split] = tuple(str(folder / f"{split}-{number}.gz") for number in range(len(plain)))
        for file, before in zip(files[split], plain, strict=True):
            with tf.io.TFRecordWriter(file, "GZIP") as writer:
                for raw in tf.data.TFRecordDataset(before):
                    writer.write(raw.numpy())
    return dataclasses.replace(source, files=files)


@pytest.mark.parametrize(
    "wanted", [{}, {"labelled": True, "streams": ("audio",)}, {"only": frozenset(["fake-000001", "fake-000009"])}]
)
@pytest.mark.parametrize("share", [WorkerShare(), WorkerShare(worker=1, workers=2, replicas=2)])
def test_reading_by_place_gives_the_stream_that_reading_through_gives(clip_source, tmp_path, wanted, share):
    """So runs go on that began before records were read by place, and figures stay."""
    tf.random.set_seed(4)
    read_through = compressed(clip_source, tmp_path)
    for step, count in ((0, 8), (5, 3)):
        found, read = (
            take(training_clips(source, "train", 4, 4, step, share=share, **wanted), count)
            for source in (clip_source, read_through)
        )
        assert_same_batches(found, read)


def bytes_read():
    return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count what is read")
def test_going_on_reads_nothing_of_what_was_passed(clip_source):
    """Step 4000 of 4 clips is behind 1,333 epochs of the 12 clips."""
    epoch = sum(Path(file).stat().st_size for file in clip_source.files["train"])
    next(iter(training_clips(clip_source, "train", 4, seed=3)))
    before = bytes_read()
    next(iter(training_clips(clip_source, "train", 4, seed=3, start_step=4000)))
    assert bytes_read() - before < 10 * epoch  # what is read ahead


def test_a_few_clips_of_many_are_all_that_is_read(small_config, tmp_path):
    """Else an epoch of ten labelled clips would read the whole archive."""
    source = ClipSource.open(
        write_dataset(tmp_path, small_config.geometry, {"train": fake_clips(small_config.geometry, 30)}, shards=1)
    )
    few = frozenset(f"fake-{number:06d}" for number in (1, 4, 9, 20))
    index = RecordIndex.of(source.files["train"])
    with Path(source.files["train"][0]).open("r+b") as file:
        for number, name in enumerate(index.ids):
            if name not in few and number:  # the first one is looked at
                end = file.seek(0, 2) if number == 29 else index.offsets[number + 1]
                file.seek(end - 20)
                file.write(b"no frame")
    assert {*numbers(take(training_clips(source, "train", 3, seed=3, only=few), 12))} == {1, 4, 9, 20}
    with pytest.raises(PemtError):
        list(read_batches(training_clips(source, "train", 3, seed=3).take(12)))


@pytest.mark.parametrize("step", [0, 3])
def test_a_few_compressed_clips_of_many_are_read_once(small_config, tmp_path, step):
    """As above, of files in which no record can be found but by reading."""
    source = ClipSource.open(
        write_dataset(tmp_path / "data", small_config.geometry, {"train": fake_clips(small_config.geometry, 30)})
    )
    source = compressed(source, tmp_path)
    few = frozenset(f"fake-{number:06d}" for number in (1, 4, 9, 20))
    whole = take(training_clips(source, "train", 3, seed=3, only=few), 12)
    batches = iter(training_clips(source, "train", 3, seed=3, start_step=step, only=few))
    first = [next(batches) for _ in range(3)]

    for file in source.files["train"]:
        Path(file).unlink()

    stream = [*first, *(next(batches) for _ in range(9 - step))]
    assert_same_batches(whole[step:], [{name: value.numpy() for name, value in batch.items()} for batch in stream])


@pytest.mark.parametrize(("count", "most_bytes", "few"), [(4, 10**9, True), (7, 10**9, False), (4, 10, False)])
def test_many_clips_and_large_ones_are_not_kept(clip_source, count, most_bytes, few):
    assert clip_source.are_few("train", count, most_bytes) is few
    assert dataclasses.replace(clip_source, clips={}).are_few("train", count, most_bytes) is False


def test_sounds_are_augmented_as_asked_and_repeatably(clip_source):
    """Without masks a roll and a gain keep every spectrogram's shape: differences between sorted values."""
    changes = AugmentationConfig(mask_share=0.0, gain_db=12.0, time_roll=0.5)
    plain = AugmentationConfig(mask_share=0.0)
    changed = take(training_clips(clip_source, "train", 4, 2, augmentation=changes, mixup=0.4), 4)
    stored = take(training_clips(clip_source, "train", 4, 2, augmentation=plain), 4)
    shifts = []
    for row, original in (
        (b, o)
        for bs, os in zip(changed, stored, strict=True)
        for b, o in zip(bs["log_mel"], os["log_mel"], strict=True)
    ):
        shift = np.sort(row.ravel()) - np.sort(original.ravel())
        assert np.ptp(shift) < 1e-4
        shifts.append(float(shift.mean()))
        if not original.any():
            assert not row.any()  # no sound, no gain
    assert np.ptp(shifts) > 1.0
    assert all((b["mixup_weight"] >= 0.5).all() and np.ptp(b["mixup_weight"]) > 0 for b in changed)
    assert "mixup_weight" not in stored[0]
    resumed = take(training_clips(clip_source, "train", 4, 2, 3, augmentation=changes, mixup=0.4), 1)
    assert_same_batches(changed[3:], resumed)


def test_every_epoch_has_every_clip_once_in_another_order(clip_source):
    order = numbers(take(training_clips(clip_source, "train", 4, seed=2), 9))
    epochs = [order[:12], order[12:24], order[24:]]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_a_clip_looks_different_every_time(clip_source):
    batches = take(training_clips(clip_source, "train", 4, seed=2), 6)
    views = [b["frames"][row] for b in batches for row in range(4) if b["id"][row] == b"fake-000001"]
    assert len(views) == 2 and (views[0] != views[1]).any()


@pytest.mark.parametrize(
    ("wanted", "left_out"),
    [
        ({}, set()),
        ({"labelled": True}, {WITHOUT_LABEL}),
        ({"streams": ("visual",)}, {WITHOUT_VIDEO, WITHOUT_BOTH}),
        ({"streams": ("audio",)}, {WITHOUT_AUDIO, WITHOUT_BOTH}),
        ({"streams": ("visual", "audio")}, {WITHOUT_VIDEO, WITHOUT_AUDIO, WITHOUT_BOTH}),
        (
            {"labelled": True, "streams": ("visual", "audio")},
            {WITHOUT_VIDEO, WITHOUT_AUDIO, WITHOUT_BOTH, WITHOUT_LABEL},
        ),
    ],
)
def test_filters(clip_source, wanted, left_out):
    batches = take(training_clips(clip_source, "train", 4, seed=2, **wanted), 9)
    assert set(numbers(batches)) == set(range(12)) - left_out
    for batch in batches:
        for row, number in enumerate(numbers([batch])):
            assert batch["label"][row] == (-1 if number == WITHOUT_LABEL else number % 3)
            for name, missing in (("visual", WITHOUT_VIDEO), ("audio", WITHOUT_AUDIO)):
                assert (batch[f"{name}_mask"][row] == float(number not in (missing, WITHOUT_BOTH))).all()
            if number in (WITHOUT_VIDEO, WITHOUT_BOTH):
                assert not batch["frames"][row].any()
            if number in (WITHOUT_AUDIO, WITHOUT_BOTH):
                assert not batch["log_mel"][row].any()


def test_no_clip_of_the_asked_kind(tmp_path, small_config):
    clips = [records.get_fake_clip(small_config.geometry, seed=1, audio=False)]
    source = ClipSource.open(write_dataset(tmp_path / "data", small_config.geometry, {"train": clips}))
    with pytest.raises(PemtError, match=r"split 'train' holds no clip with video and audio$"):
        training_clips(source, "train", 2, seed=0, streams=("visual", "audio"))
    with pytest.raises(PemtError, match=r"holds no clip with a label$"):
        training_clips(source, "train", 2, seed=0, labelled=True)
    with pytest.raises(PemtError, match="has no split 'test'"):
        training_clips(source, "test", 2, seed=0)


def test_evaluation_sees_every_clip_once_in_file_order(clip_source):
    batches = take(evaluation_clips(clip_source, "test", 4), 100)
    assert [len(batch["id"]) for batch in batches] == [4, 4, 1]
    # Two shards, written alternately: first the even clips, then the odd ones.
    assert numbers(batches) == [1000, 1002, 1004, 1006, 1008, 1001, 1003, 1005, 1007]
    labelled = take(evaluation_clips(clip_source, "test", 4, labelled=True), 100)
    assert numbers(labelled) == [1000, 1002, 1004, 1006, 1001, 1003, 1005, 1007]
    assert batches[0]["frames"].shape == (4, 3, 2, 20, 20, 3)
    np.testing.assert_allclose([batches[0]["start"][0], batches[0]["end"][0]], [0.0, 10.0])


def test_evaluation_picture_is_the_centre_of_the_scaled_frame(small_config):
    """24 x 31 stored, short side to 20: 20 x floor(31 / 24 * 20) = 20 x 25, columns from ceil(5 / 2) = 3."""
    geometry = small_config.geometry
    clip = records.get_fake_clip(geometry, seed=9, width=31)
    parsed = records.parse(records.serialize(clip, geometry), geometry)
    frames = decode_for_evaluation(parsed, geometry)["frames"].numpy()
    whole = np.stack([tf.io.decode_jpeg(jpeg).numpy() for jpeg in clip.jpegs]).reshape(3, 2, 24, 31, 3)
    rows = [min(int(np.float32(i) * np.float32(24 / 20)), 23) for i in range(20)]
    columns = [min(int(np.float32(i) * np.float32(31 / 25)), 30) for i in range(3, 23)]
    np.testing.assert_array_equal(frames, whole[:, :, rows][:, :, :, columns])


def test_two_streams_of_one_data_set_do_not_share_state(clip_source):
    """Reading ahead in one must not move the other on, as a shared random generator would."""
    expected = take(training_clips(clip_source, "train", 4, seed=5), 4)
    first, second = (iter(training_clips(clip_source, "train", 4, seed=5)) for _ in range(2))
    for _ in range(3):
        next(first)
    assert_same_batches(expected[:1], [{k: v.numpy() for k, v in next(second).items()}])


def test_shards_of_another_name_but_gzip_compressed(tmp_path, small_config, clip_source):
    """Intermediate files of pipelines are *.gz."""
    source = compressed(clip_source, tmp_path)
    assert_same_batches(take(evaluation_clips(clip_source, "test", 9), 1), take(evaluation_clips(source, "test", 9), 1))


def test_sequence_examples_give_the_same_batches(tmp_path, small_config, clip_source):
    geometry = small_config.geometry
    clips = fake_clips(geometry, 9)
    plain = dataclasses.replace(clip_source, files={"train": (str(tmp_path / "plain"),)})
    sequences = dataclasses.replace(
        clip_source, files={"train": (str(tmp_path / "sequences"),)}, payload=records.SEQUENCE_EXAMPLE
    )
    for source, payload in ((plain, records.EXAMPLE), (sequences, records.SEQUENCE_EXAMPLE)):
        with tf.io.TFRecordWriter(source.files["train"][0]) as writer:
            for clip in clips:
                writer.write(records.serialize(clip, geometry, payload))
    for batches in (evaluation_clips, lambda source, *rest: training_clips(source, *rest, seed=3)):
        assert_same_batches(take(batches(plain, "train", 4), 2), take(batches(sequences, "train", 4), 2))


def damaged_source(tmp_path, geometry, **change):
    clips = fake_clips(geometry, 4)
    clips[2] = dataclasses.replace(clips[2], **change)
    return ClipSource.open(write_dataset(tmp_path / "data", geometry, {"train": clips}, shards=1))


def test_a_damaged_picture_is_one_sentence(tmp_path, small_config):
    source = damaged_source(tmp_path, small_config.geometry, jpegs=[b"not a JPEG"] * 6)
    for clips in (evaluation_clips(source, "train", 2), training_clips(source, "train", 2, seed=0)):
        with pytest.raises(PemtError, match=r"^the clips cannot be read \(.*\); preprocess the videos again$"):
            list(zip(range(4), read_batches(clips), strict=False))


def test_a_cut_off_shard_is_one_sentence(tmp_path, small_config):
    source = damaged_source(tmp_path, small_config.geometry)
    with Path(source.files["train"][0]).open("r+b") as file:
        file.truncate(file.seek(0, 2) - 100)
    with pytest.raises(
        PemtError,
        match=r"-00000-of-00002.tfrecord is not a readable record file: record 3, at byte \d+, is cut off",
    ):
        list(read_batches(evaluation_clips(source, "train", 2)))


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("modalities", [("visual", "audio"), ("visual",), ("audio",)])
def test_model_inputs(clip_source, modalities, masks):
    batch = next(iter(evaluation_clips(clip_source, "test", 3)))
    inputs = model_inputs(batch, modalities, masks=masks)
    names = {"visual": "frames", "audio": "log_mel"}
    assert set(inputs) == {names[m] for m in modalities} | ({f"{m}_mask" for m in modalities} if masks else set())
    if "visual" in modalities:
        np.testing.assert_allclose(inputs["frames"], (batch["frames"].numpy() / 255.0 - 0.45) / 0.225, atol=1e-5)
