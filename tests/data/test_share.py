"""Several workers read one stream: together their rows are the batch that one of them alone would see."""

import keras
import numpy as np
import pytest

from pemt_tf.data.clip_stream import EVERYTHING, WorkerShare
from pemt_tf.data.input_pipeline import training_clips


@pytest.mark.parametrize(
    ("share", "rows", "size"),
    [
        (EVERYTHING, range(12), 12),
        (WorkerShare(0, 2, 2), range(6), 6),
        (WorkerShare(1, 2, 4), range(6, 12), 3),
        (WorkerShare(2, 3, 6), range(8, 12), 2),
    ],
)
def test_rows_are_neighbours_and_a_batch_is_that_of_a_device(share, rows, size):
    assert share.rows(12) == rows
    assert share.size(12) == size


@pytest.mark.parametrize(("workers", "replicas", "start"), [(2, 2, 0), (2, 4, 1), (4, 4, 2)])
def test_workers_together_see_the_batches_of_one(clip_source, workers, replicas, start):
    """Clips, crops, flips and masks; whatever the number of workers, and from any step on."""

    def batches(share, count):
        keras.utils.set_random_seed(3)
        clips = training_clips(clip_source, "train", 4, 3, start, streams=("visual", "audio"), share=share)
        return list(clips.take(count).as_numpy_iterator())

    whole = batches(EVERYTHING, 3)
    per_worker = replicas // workers
    parts = [batches(WorkerShare(worker, workers, replicas), 3 * per_worker) for worker in range(workers)]
    for step, batch in enumerate(whole):
        own = [part for worker in parts for part in worker[step * per_worker :][:per_worker]]
        assert [len(part["id"]) for part in own] == [4 // replicas] * replicas
        for name, values in batch.items():
            np.testing.assert_array_equal(np.concatenate([part[name] for part in own]), values, err_msg=name)
