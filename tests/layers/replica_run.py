"""Run as a program by test_replicas: layers and losses on two logical CPUs, and what one device makes of the same rows.

Splitting the CPU must come before TensorFlow starts, so it cannot be done in the process of the tests.
"""

from __future__ import annotations

import dataclasses
import sys

import keras
import numpy as np
import tensorflow as tf

from pemt_tf.device_choices import choices_of, kernels
from pemt_tf.layers import replicas
from pemt_tf.layers.dropout import Dropout
from pemt_tf.layers.shared_transformer import SharedTransformer
from pemt_tf.losses import correct_pair_prediction as cpp
from pemt_tf.losses import masked_embedding_prediction as mep
from pemt_tf.losses import masked_statistics, negative_sampling
from pemt_tf.losses.audio_visual_alignment import symmetric_info_nce
from pemt_tf.training.strategy import make_strategy, split_cpu

ROWS, SEGMENTS = 6, 4


def inputs() -> dict[str, np.ndarray]:
    """Rows of a global batch, of which the first half has three rows that count and the second one."""
    rng = np.random.default_rng(5)
    present = np.ones((ROWS, SEGMENTS), np.float32)
    present[1, 2:] = present[4] = present[5, :3] = 0
    return {
        "x": rng.normal(size=(ROWS, 5)).astype(np.float32),
        "counted": np.array([1, 1, 1, 0, 1, 0], np.float32),
        "logits": rng.normal(size=(ROWS, ROWS)).astype(np.float32),
        "present": present,
    }


class Everything:
    """Whatever depends on replicas, on one share of the rows."""

    def __init__(self):
        self.weights = tf.Variable(np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32))
        self.drop = Dropout(0.5, seed=3)
        self.seeds = keras.random.SeedGenerator(9)
        keras.utils.set_random_seed(4)
        self.transformer = SharedTransformer(1, 5, 1, 8, initializer_std=0.5)
        self.transformer.build()

    def __call__(self, x, counted, logits, present) -> dict:
        rows = x.shape[0]
        with tf.GradientTape() as tape:
            own = x @ self.weights
            everyone = replicas.gather_rows(own)
            loss = tf.reduce_sum(tf.sin(own @ tf.transpose(everyone)))
        gradient = replicas.sum_over_replicas(tape.gradient(loss, self.weights))
        positives = replicas.own_rows(tf.range(rows * replicas.replica_count()))
        negatives = (positives[:, None] + [[1, 2]]) % ROWS
        nce, accuracy = mep.info_nce(logits, negatives, tf.ones_like(negatives, tf.bool), counted, positives)
        binary, hits = cpp.pair_loss(x, tf.cast(logits[:, :5] > 0, tf.float32), counted)
        replica_count = replicas.replica_count()
        with tf.GradientTape() as tape:
            sides = [tf.nn.l2_normalize(values @ self.weights, axis=1) for values in (x, logits[:, :5])]
            gathered = symmetric_info_nce(*sides, 5.0, counted, gather=True)
            loss = gathered[0] / replica_count
        alignment_gradient = replicas.sum_over_replicas(tape.gradient(loss, self.weights))
        grouped = symmetric_info_nce(*sides, 5.0, counted, groups=2 // replica_count)
        weights = negative_sampling.candidate_log_weights(
            everyone, tf.range(ROWS), "cans_similar", 1.0, replicas.gather_rows(counted), positives
        )
        drawn, valid = negative_sampling.draw_negatives(weights, 3, self.seeds)
        return {
            "gradient": gradient,
            "everyone": everyone,
            "losses": tf.stack([nce, accuracy, binary, hits]),
            "alignment": tf.stack([*gathered, *grouped]),
            "alignment_gradient": alignment_gradient,
            "deviation": masked_statistics.masked_std(x, counted),
            "plain_deviation": masked_statistics.masked_std(x),
            "mask": mep.draw_mask(rows, SEGMENTS, 0.3, self.seeds),
            "mask_of_present": mep.draw_mask(rows, SEGMENTS, 0.3, self.seeds, present),
            "positions": cpp.draw_positions(rows, SEGMENTS, self.seeds),
            "positions_of_present": cpp.draw_positions(rows, SEGMENTS, self.seeds, present),
            "derangement": replicas.own_rows(cpp.draw_derangement(ROWS, self.seeds)),
            "grouped_derangement": replicas.own_rows(cpp.draw_derangement(ROWS, self.seeds, 2)),
            "log_weights": weights,
            "negatives": tf.where(valid, drawn, -1),
            "dropped": self.drop(tf.ones((50, 40)), training=True),
            **self.transformed(x),
            "state": self.drop.seed_generator.state.value * 1,
        }

    def transformed(self, x) -> dict:
        """A row as a sequence of one token, through a layer that XLA compiles; and its gradient of all rows."""
        with (
            kernels(dataclasses.replace(choices_of("auto"), transformer="xla")),
            tf.GradientTape() as tape,
        ):
            tokens = self.transformer(x[:, None], training=True)[:, 0]
            loss = tf.reduce_sum(tf.sin(tokens))
        weight = self.transformer.blocks[0].maps["output"].kernel.value
        return {"tokens": tokens, "of_output": replicas.sum_over_replicas(tape.gradient(loss, weight))}


def run(strategy: tf.distribute.Strategy) -> dict[str, list[np.ndarray]]:
    """Every result of the second step, replica by replica."""
    rows, count = inputs(), strategy.num_replicas_in_sync
    with strategy.scope():
        everything = Everything()

    def share(values):
        size = ROWS // count
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(values[context.replica_id_in_sync_group * size :][:size])
        )

    shares = tuple(share(rows[name]) for name in ("x", "counted", "logits", "present"))
    step = tf.function(lambda *given: strategy.run(everything, args=given))
    step(*shares)
    return {
        name: [value.numpy() for value in strategy.experimental_local_results(values)]
        for name, values in step(*shares).items()
    }


def main(path: str) -> None:
    split_cpu(2)
    two = run(make_strategy())
    one = run(tf.distribute.OneDeviceStrategy("CPU:0"))
    kept = keras.layers.Dropout(0.5, seed=3)
    kept(tf.ones((50, 40)), training=True)
    arrays = {f"two/{name}": np.stack(values) for name, values in two.items()}
    arrays |= {f"one/{name}": np.stack(values) for name, values in one.items()}
    np.savez(path, keras_dropped=kept(tf.ones((50, 40)), training=True), **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
