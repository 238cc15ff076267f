"""The order of training clips: tf.data's own, number by number, and any place in it at once."""

import itertools
import time

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.data.clip_order import ClipOrder, _philox


def test_philox_known_answers():
    """Of Random123, kat_vectors, philox4x32 10."""
    zeros = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert _philox((0, 0), 0, 4).tolist() == zeros
    assert _philox((0, 0), 1, 2).tolist() == zeros[1:3]


def order_of_tf_data(sizes, chosen, seed, count, same_files):
    """Rows in the order in which TensorFlow's own operations give them."""
    ends = tf.constant(np.cumsum(sizes), tf.int64)
    begins = ends - tf.constant(sizes, tf.int64)
    files = tf.data.Dataset.range(len(sizes)).shuffle(len(sizes), seed=seed)
    rows = files.interleave(
        lambda file: tf.data.Dataset.range(begins[file], ends[file]),
        cycle_length=4,
        num_parallel_calls=1,
        deterministic=True,
    )
    chosen = tf.constant(chosen)
    rows = rows.filter(lambda row: chosen[row])
    next(iter(rows))
    rows = rows.cache() if same_files else rows
    return list(rows.shuffle(2048, seed=seed + 1).repeat().take(count).as_numpy_iterator())


@pytest.mark.parametrize(
    ("sizes", "seed", "global_seed", "same_files"),
    [
        ([7], 0, 0, False),
        ([3, 0, 5, 1, 8, 0, 2, 6, 4, 4], 3, 0, False),
        ([3, 0, 5, 1, 8, 0, 2, 6, 4, 4], 3, 9, True),
        ([1, 1, 1], 2**31 - 1, 2**32 - 1, False),
        ([700, 0, 900, 300, 64, 1400], 1, 1, False),  # more than the buffer holds
    ],
)
def test_the_order_is_that_of_tf_data(sizes, seed, global_seed, same_files):
    chosen = np.random.default_rng(5).random(sum(sizes)) < 0.8
    chosen[0] = True
    count = int(chosen.sum()) * 3 + 2
    tf.random.set_seed(global_seed)
    expected = order_of_tf_data(sizes, chosen, seed, count, same_files)
    keys = [tf.compat.v1.get_seed(each) for each in (seed, seed + 1)]
    order = ClipOrder(sizes, chosen, *keys, same_files)
    for start in (0, 1, count // 2):
        assert list(itertools.islice(order.rows_from(start), count - start)) == expected[start:]


def test_a_place_after_a_million_epochs_is_found_at_once():
    order = ClipOrder([10, 10], np.ones(20, bool), (1, 2), (3, 4))
    start = time.process_time()
    rows = list(itertools.islice(order.rows_from(20 * 10**6), 20))
    assert time.process_time() - start < 1
    assert sorted(rows) == list(range(20))
