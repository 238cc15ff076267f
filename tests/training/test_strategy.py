"""Batches that do not split, and the choice of devices; real runs on two devices are in test_two_devices."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from pemt_tf.errors import PemtError
from pemt_tf.training.strategy import make_strategy, require_divisible, split_cpu


def devices(count):
    return SimpleNamespace(num_replicas_in_sync=count)


@pytest.mark.parametrize(("batch", "count", "smallest"), [(1, 1, 1), (2, 1, 2), (4, 2, 2), (12, 4, 3)])
def test_even_batches_pass(batch, count, smallest):
    require_divisible("pretrain.batch_size", batch, devices(count), smallest)


@pytest.mark.parametrize(
    ("batch", "count", "smallest", "multiple"), [(3, 2, 1, 2), (2, 2, 2, 4), (1, 1, 2, 2), (9, 4, 1, 4)]
)
def test_uneven_batches_are_refused_in_one_line(batch, count, smallest, multiple):
    with pytest.raises(PemtError) as error:
        require_divisible("finetune.batch_size", batch, devices(count), smallest)
    assert str(error.value) == (
        f"a batch of {batch} clips does not split over {count} devices into equal parts of at least {smallest}; "
        f"choose a multiple of {multiple} (--set finetune.batch_size=...)"
    )


def test_one_device_needs_no_mirroring():
    if len(tf.config.list_logical_devices("GPU")) > 1:
        pytest.skip("this machine has several GPUs")
    assert make_strategy().num_replicas_in_sync == 1


def test_splitting_after_the_start_is_refused():
    tf.constant(1.0)  # TensorFlow is running
    with pytest.raises(PemtError, match="the CPU can be split only before TensorFlow starts"):
        split_cpu(2)
