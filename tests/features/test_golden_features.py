"""Pictures, sound and masks against the golden files of the reference's own transforms."""

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.features import augment, frame_crops, spectrogram
from pemt_tf.media.frames import FramePicker
from tests.golden import Golden


@pytest.fixture(scope="module")
def golden():
    return Golden("transforms")


def test_log_mel_equals_the_reference():
    sound = Golden("logmel")
    n_fft, hop, frames, rate = sound["meta/n_fft_hop_rawframes_sr0"].tolist()
    wave = (sound["in/wave0"] / 256.0).astype(np.float32)
    assert spectrogram.spectrogram_sizes(wave.shape[-1], 128) == (n_fft, hop)
    assert frames == 128
    # The logarithm amplifies rounding in quiet bins: 3e-4 is what float32 allows.
    result = spectrogram.log_mel_spectrogram(wave, rate, mel_bins=80, mel_frames=128)
    np.testing.assert_allclose(result, sound["out64/logmel0"], rtol=0, atol=3e-4)
    np.testing.assert_allclose(result, sound["out/logmel_torchaudio_fp32_0"], rtol=0, atol=1e-3)
    filters = spectrogram.mel_filterbank(rate, n_fft, 80).astype(np.float64)
    np.testing.assert_allclose(filters.sum(0), sound["out64/fb_rowsum0"], rtol=1e-5)


@pytest.mark.parametrize("case", range(4))
def test_resized_frames_and_their_normalization_equal_the_reference(golden, case):
    frames = np.moveaxis(golden[f"resize/{case}_in"], 1, -1)
    expected = np.moveaxis(golden[f"resize/{case}_out"], 1, -1)
    height, width = frames.shape[1:3]
    size = int(golden[f"resize/{case}_size"])
    scaled_height, scaled_width = frame_crops.scaled_size(tf.constant(height), tf.constant(width), tf.constant(size))
    assert (int(scaled_height), int(scaled_width)) == expected.shape[1:3]
    plan = frame_crops.CropPlan(
        frame_crops.nearest_index(height, scaled_height), frame_crops.nearest_index(width, scaled_width)
    )
    resized = frame_crops.crop_frames(tf.constant(frames), plan)
    np.testing.assert_array_equal(resized, expected)
    normalized = np.moveaxis(golden[f"resize/{case}_norm"], 1, -1)
    np.testing.assert_allclose(frame_crops.normalize(resized), normalized, rtol=0, atol=1e-6)


@pytest.mark.parametrize("place", range(3), ids=["start", "centre", "end"])
@pytest.mark.parametrize("case", range(4))
def test_crops_equal_the_reference(golden, case, place):
    frames = np.moveaxis(golden[f"resize/{case}_in"], 1, -1)
    expected = np.moveaxis(golden[f"resize/{case}_crop{place}"], 1, -1)
    height, width = golden[f"resize/{case}_out"].shape[2:]
    crop = expected.shape[1]
    # The three test crops lie at the start, centre and end of the longer side, centred on the other (None).
    offset = {0: 0, 1: None, 2: max(height, width) - crop}[place]
    sides = {"top": offset} if height > width else {"left": offset}
    size = int(golden[f"resize/{case}_size"])
    plan = frame_crops.plan_crop(*frames.shape[1:3], size, crop, **sides)
    np.testing.assert_array_equal(frame_crops.crop_frames(tf.constant(frames), plan), expected)


@pytest.mark.parametrize("axis", [2, 3], ids=["frequency", "time"])
def test_masks_equal_the_reference(golden, axis):
    length, start = golden[f"mask/axis{axis}_value_min"]
    masked = augment.mask_axis(tf.constant(golden["mask/in"]), axis - 4, tf.constant(length, tf.float32), float(start))
    np.testing.assert_array_equal(masked, golden[f"mask/axis{axis}_out"])


@pytest.mark.parametrize("case", range(5))
def test_frames_shown_at_evenly_spaced_moments_are_those_of_the_reference(golden, case):
    # The reference picks frames by number, trunc(linspace) within the video; we pick those on screen at a moment.
    # At one frame per second the two are the same.
    count, start, end, number = golden[f"temporal/{case}_nframes_start_end_num"]
    picker = FramePicker(np.linspace(start, end, int(number)))
    shown = {}
    for frame in range(int(count)):
        for _, picture, moments in picker.push(float(frame), frame):
            shown |= dict.fromkeys(moments, picture)
    for _, picture, moments in picker.finish():
        shown |= dict.fromkeys(moments, picture)
    assert [shown[moment] for moment in range(int(number))] == golden[f"temporal/{case}_index"].tolist()
