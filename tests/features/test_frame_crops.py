"""Crops and pictures against NumPy restatements of docs/reference_model.md section 12."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pemt_tf.config import ClipGeometry
from pemt_tf.features import frame_crops

GEOMETRY = ClipGeometry(
    segments=2,
    frames_per_segment=3,
    frame_rate=6,
    stored_short_side=40,
    train_crop=24,
    train_scale=(28, 40),
    test_crop=32,
    sample_rate=4000,
    samples_per_segment=2000,
    mel_bins=5,
    mel_frames=7,
)
SIDES = st.integers(20, 90)


def scaled(height, width, short_side):
    """(height, width) with the short side scaled to `short_side`, the long side rounded down."""
    if min(height, width) == short_side:
        return height, width
    long = math.floor(max(height, width) / min(height, width) * short_side)
    return (long, short_side) if height > width else (short_side, long)


def indices(size_in, size_out):
    """torch's nearest: min(floor(i * in / out), in - 1), the ratio in float32."""
    ratio = np.float32(size_in) / np.float32(size_out)
    return np.minimum(np.floor(np.arange(size_out, dtype=np.float32) * ratio).astype(int), size_in - 1)


@pytest.mark.parametrize(
    ("size_in", "size_out", "expected"),
    [(4, 2, [0, 2]), (5, 3, [0, 1, 3]), (2, 5, [0, 0, 0, 1, 1]), (3, 3, [0, 1, 2]), (7, 1, [0])],
)
def test_nearest_index_by_hand(size_in, size_out, expected):
    assert frame_crops.nearest_index(size_in, size_out).numpy().tolist() == expected


@settings(deadline=None, max_examples=60)
@given(height=SIDES, width=SIDES)
def test_centre_crop_equals_the_restatement(height, width):
    plan = frame_crops.plan_test_crop(height, width, GEOMETRY)
    size = GEOMETRY.test_crop
    for positions, source, target in zip(plan, (height, width), scaled(height, width, size), strict=True):
        start = math.ceil((target - size) / 2)
        assert positions.numpy().tolist() == indices(source, target)[start : start + size].tolist()


@settings(deadline=None, max_examples=80)
@given(height=SIDES, width=SIDES, seed=st.integers(0, 2**31 - 1))
def test_train_crop_is_a_window_of_some_allowed_scale(height, width, seed):
    plan = frame_crops.plan_train_crop(height, width, GEOMETRY, tf.constant([seed, 5]))
    rows, columns = (p.numpy().tolist() for p in plan)
    crop = GEOMETRY.train_crop
    assert len(rows) == len(columns) == crop
    assert set(rows) <= set(range(height)) and set(columns) <= set(range(width))
    assert rows == sorted(rows) and columns == sorted(columns)

    def windows(source, target):
        """Offsets are drawn from 0 to target - crop, the upper end excluded."""
        all_positions = indices(source, target).tolist()
        return [all_positions[o : o + crop] for o in range(max(target - crop, 1))]

    scales = [scaled(height, width, short) for short in range(28, 41)]
    assert any(rows in windows(height, h) and columns in windows(width, w) for h, w in scales)


def test_train_crops_cover_all_scales_and_offsets_and_follow_the_seed():
    """A square frame of 40: at scale 40 (no resizing) the offset can be read off the first row."""
    starts, steps = set(), set()
    for seed in range(400):
        plan = frame_crops.plan_train_crop(40, 40, GEOMETRY, tf.constant([seed, 0]))
        rows = plan.rows.numpy()
        again = frame_crops.plan_train_crop(40, 40, GEOMETRY, tf.constant([seed, 0]))
        assert (again.rows.numpy() == rows).all() and (again.columns == plan.columns).numpy().all()
        steps.add(int(rows[-1] - rows[0]))
        if rows[-1] - rows[0] == 23:
            starts.add(int(rows[0]))
    assert min(steps) == 23 and max(steps) >= 32  # 24 rows of scale 28 span 24 * 40 / 28 = 34 source rows
    assert min(starts) == 0 and max(starts) == 15  # below 40 - 24


def test_a_frame_that_is_too_small_is_scaled_up():
    plan = frame_crops.plan_test_crop(16, 20, GEOMETRY)
    assert plan.rows.numpy().tolist() == [i // 2 for i in range(32)]
    assert plan.columns.numpy().tolist() == [i // 2 for i in range(4, 36)]


@pytest.mark.parametrize("chroma_downsampling", [True, False])
@settings(deadline=None, max_examples=25)
@given(height=st.integers(40, 53), width=st.integers(40, 53), seed=st.integers(0, 2**31 - 1))
def test_decoding_a_window_equals_the_window_of_the_whole_picture(chroma_downsampling, height, width, seed):
    """Exactly, also where the window cuts through blocks of subsampled colour: nothing may depend on the crop.

    TensorFlow's decode_and_crop_jpeg alone does not: the outermost columns of a window differ by up to 60 of 255.
    """
    pixels = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    jpegs = [tf.io.encode_jpeg(p, quality=90, chroma_downsampling=chroma_downsampling).numpy() for p in pixels]
    whole = np.stack([tf.io.decode_jpeg(jpeg, channels=3).numpy() for jpeg in jpegs])
    train = frame_crops.plan_train_crop(height, width, GEOMETRY, tf.constant([seed, 1]))
    for plan in (train, frame_crops.plan_test_crop(height, width, GEOMETRY)):
        expected = whole[:, plan.rows.numpy()][:, :, plan.columns.numpy()]
        np.testing.assert_array_equal(frame_crops.decode_crop(tf.constant(jpegs), plan).numpy(), expected)
        np.testing.assert_array_equal(frame_crops.crop_frames(tf.constant(whole), plan).numpy(), expected)


@pytest.mark.parametrize("left", [0, 1, 15, 16, 17, 31, 32, 40])
def test_windows_that_start_and_end_at_blocks_of_the_jpeg(left):
    """Blocks are 16 wide: there the decoder has no neighbouring colour at all unless the window is wider."""
    pixels = np.random.default_rng(left).integers(0, 256, (48, 64, 3), np.uint8)
    jpeg = tf.io.encode_jpeg(pixels, quality=90).numpy()
    plan = frame_crops.plan_crop(48, 64, 48, 24, top=9, left=left)
    assert (plan.rows[0], plan.columns[0], plan.columns[-1]) == (9, left, left + 23)
    expected = tf.io.decode_jpeg(jpeg).numpy()[9:33, left : left + 24]
    np.testing.assert_array_equal(frame_crops.decode_crop(tf.constant([jpeg]), plan)[0], expected)


def test_crop_frames_keeps_leading_axes():
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 50, 41, 3), np.uint8)
    cropped = frame_crops.crop_frames(tf.constant(frames), frame_crops.plan_test_crop(50, 41, GEOMETRY))
    assert cropped.shape == (2, 3, 4, 32, 32, 3) and cropped.dtype == tf.uint8


def test_grey_jpegs_become_three_channels():
    grey = np.random.default_rng(0).integers(0, 256, (40, 40, 1), np.uint8)
    jpeg = tf.io.encode_jpeg(grey).numpy()
    frames = frame_crops.decode_crop(tf.constant([jpeg]), frame_crops.plan_test_crop(40, 40, GEOMETRY)).numpy()
    assert frames.shape == (1, 32, 32, 3) and (frames[..., 0] == frames[..., 2]).all()


def test_normalize():
    values = frame_crops.normalize(tf.constant([0, 51, 255], tf.uint8)).numpy()
    np.testing.assert_allclose(values, [-2.0, (0.2 - 0.45) / 0.225, (1 - 0.45) / 0.225], atol=1e-6)


@pytest.mark.parametrize("shape", [(24, 24), (30, 100), (100, 30)])
def test_plans_have_static_sizes_in_a_graph(shape):
    """The exported graph and tf.data need them; sizes of the frames themselves are dynamic."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)] * 2)
    def plans(height, width):
        train = frame_crops.plan_train_crop(height, width, GEOMETRY, tf.constant([1, 2]))
        test = frame_crops.plan_test_crop(height, width, dataclasses.replace(GEOMETRY, test_crop=24))
        assert train.rows.shape == train.columns.shape == test.rows.shape == (24,)
        return test.rows, test.columns

    rows, columns = plans(*shape)
    assert rows[-1] < shape[0] and columns[-1] < shape[1]


@pytest.mark.parametrize(("height", "width"), [(40, 61), (61, 40), (33, 33), (36, 50)])
def test_the_three_crops_lie_at_start_centre_and_end_of_the_longer_side(height, width):
    size = GEOMETRY.test_crop
    pixels = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    jpegs = [tf.io.encode_jpeg(picture).numpy() for picture in pixels]
    frames = frame_crops.decode_crops(
        tf.constant([*jpegs, jpegs[0]]), frame_crops.plan_test_crops(height, width, GEOMETRY)
    )
    assert frames.shape == (3, 3, size, size, 3) and frames.dtype == tf.uint8
    whole = np.stack([tf.io.decode_jpeg(jpeg).numpy() for jpeg in [*jpegs, jpegs[0]]])
    targets = scaled(height, width, size)
    for place, crop in enumerate(frames.numpy()):
        starts = [(0, math.ceil((target - size) / 2), target - size)[place] for target in targets]
        rows, columns = (
            indices(source, target)[start : start + size]
            for source, target, start in zip((height, width), targets, starts, strict=True)
        )
        np.testing.assert_array_equal(crop, whole[:, rows][:, :, columns])
