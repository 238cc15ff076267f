"""Pictures for TensorBoard: which frame stands where, and which way up a spectrogram is."""

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pemt_tf.errors import PemtError
from pemt_tf.training.event_log import EventLog, frame_strips, spectrogram_strips, tag
from tests.training.test_checkpoint import largest_file


def test_first_frames_stand_side_by_side():
    frames = np.random.default_rng(0).integers(1, 256, (2, 3, 2, 4, 5, 3), np.uint8)
    strips = frame_strips(frames)
    assert strips.shape == (2, 4, 3 * 7 - 2, 3) and strips.dtype == np.uint8
    for segment in range(3):
        np.testing.assert_array_equal(strips[1, :, 7 * segment : 7 * segment + 5], frames[1, segment, 0])
    assert not strips[:, :, 5:7].any()


def test_low_frequencies_are_below_and_every_clip_uses_the_whole_range():
    log_mel = np.full((2, 1, 3, 4, 1), -8.0, np.float32)
    log_mel[0, 0, 0] = -3.0  # the lowest band is loudest
    strips = spectrogram_strips(log_mel)
    assert strips.shape == (2, 3, 4, 1)
    assert (strips[0, 2] == 255).all() and (strips[0, :2] == 0).all()
    assert not strips[1].any()  # the same everywhere


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("loss", "loss clip_loss sequence_loss validation_loss validation_clip_loss mep_visual_context cpp alignment"),
        ("accuracy", "accuracy validation_accuracy mep_accuracy cpp_accuracy alignment_accuracy"),
        ("optimizer", "learning_rate gradient_norm audio_cnn_gradient_norm loss_scale alignment_temperature"),
        ("optimizer", "skipped_steps"),
        ("collapse", "visual_spread audio_collapsed visual_rank logit_std"),
        ("speed", "examples_per_second input_wait_share"),
        ("other", "size"),
    ],
)
def test_numbers_stand_in_groups(group, names):
    for name in names.split():
        assert tag(name) == f"{group}/{name}"


def test_what_is_written(tmp_path):
    events = EventLog(str(tmp_path))
    rng = np.random.default_rng(0)
    batch = {
        "frames": rng.integers(0, 256, (6, 2, 1, 4, 4, 3), np.uint8),
        "log_mel": rng.normal(size=(6, 2, 3, 4, 1)).astype(np.float32),
    }
    events.images(1, batch, ("visual", "audio"))
    events.images(9, batch, ("audio",))
    events.close()
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    shown = {tag: [event.step for event in read.Tensors(tag)] for tag in read.Tags()["tensors"]}
    assert shown == {"clips/frames": [1], "clips/log_mel": [1, 9]}
    width, height, *pictures = tf.make_ndarray(read.Tensors("clips/log_mel")[0].tensor_proto)
    assert (int(width), int(height), len(pictures)) == (2 * 6 - 2, 3, 4)


def test_a_full_disk_is_not_short_memory(tmp_path):
    """TensorFlow calls both an exhausted resource."""
    log = EventLog(str(tmp_path / "events"))
    with largest_file(200), pytest.raises(PemtError, match=rf"^cannot write to {tmp_path}/events \(.*free some space"):
        for step in range(1, 9):
            log.numbers({"step": step, "loss": 1.0})
    log.close()
