"""The choices inside the layers, each against what would be the obvious way: CPU milliseconds forwards and backwards.

    python benchmarks/operations.py [--rounds 9] [--dtype float32]

Shapes are those of preset avbert_base with one clip of 10 segments. Within a row the ways take turns.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from pemt_tf.layers import orthogonal
from pemt_tf.layers.batch_normalization import BatchNormalization
from pemt_tf.layers.folded_conv import FoldedConv


def forward_and_backward(function: Callable, x: tf.Tensor, weights: list | None = None) -> Callable:
    """A compiled run of a function and of the gradients with respect to its input and weights."""

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, [x, *(weights or [])], output_gradients=tf.ones_like(y))

    return run


def rotations(dtype) -> dict[str, Callable]:
    """18 rotations of 128 x 128."""
    raw = 0.1 * np.random.default_rng(0).normal(size=(18, 128, 128)).astype(np.float32)
    skew = tf.constant(np.triu(raw, 1) - np.swapaxes(np.triu(raw, 1), -1, -2))
    return {
        "ours": forward_and_backward(orthogonal.matrix_exponential, skew),
        "tf.linalg.expm": forward_and_backward(tf.linalg.expm, skew),
    }


def convolution(shape, filters, kernel, strides=None) -> Callable:
    """Ours against the 2-D or 3-D convolution that it stands for."""

    def make(dtype) -> dict[str, Callable]:
        x = tf.cast(tf.random.normal(shape), dtype)
        layer = FoldedConv(filters, kernel, strides, dtype="mixed_bfloat16" if dtype == "bfloat16" else "float32")
        layer.build((None, *shape[1:]))
        folded = (-1, *shape[2:]) if kernel[0] == 1 else (-1, shape[1], shape[2] * shape[3], shape[4])
        weights = layer.kernel.value

        def plain(x):
            step = (strides or (1, 1, 1))[1:]
            images, taps = tf.reshape(x, folded), tf.cast(weights, dtype)
            taps = taps[0] if kernel[0] == 1 else taps[:, 0]
            return tf.nn.conv2d(images, taps, (1, *step, 1) if kernel[0] == 1 else 1, "SAME")

        def direct(x):
            return tf.nn.conv3d(x, tf.cast(weights, dtype), (1, *(strides or (1, 1, 1)), 1), "SAME")

        return {
            "ours": forward_and_backward(layer, x, [weights]),
            "2-D convolution": forward_and_backward(plain, x, [weights]),
            "3-D convolution": forward_and_backward(direct, x, [weights]),
        }

    return make


def batch_normalization(dtype) -> dict[str, Callable]:
    """Ours, Keras', and TensorFlow's kernel with its own statistics."""
    x = tf.cast(tf.random.normal((160, 28, 28, 256)), dtype)
    policy = "mixed_bfloat16" if dtype == "bfloat16" else "float32"
    layers = {"ours": BatchNormalization(dtype=policy), "Keras": keras.layers.BatchNormalization(dtype=policy)}
    for layer in layers.values():
        layer.build(x.shape)
    gain, offset = tf.Variable(tf.ones(256)), tf.Variable(tf.zeros(256))

    def kernel(x):
        return tf.raw_ops.FusedBatchNormV3(x=x, scale=gain, offset=offset, mean=[], variance=[], is_training=True)[0]

    def train(layer):
        weights = [layer.gamma.value, layer.beta.value]
        return forward_and_backward(lambda x: layer(x, training=True), x, weights)

    runs = {name: train(layer) for name, layer in layers.items()}
    return {**runs, "TensorFlow's kernel": forward_and_backward(kernel, x, [gain, offset])}


ROWS = {
    "exponential of 18 rotations": rotations,
    "convolution 3 x 1 x 1, 1024 to 256 channels": convolution((10, 16, 7, 7, 1024), 256, (3, 1, 1)),
    "convolution 1 x 1 x 1, 64 to 256 channels": convolution((10, 16, 28, 28, 64), 256, (1, 1, 1)),
    "convolution 1 x 1 x 1, stride 2": convolution((10, 16, 28, 28, 256), 512, (1, 1, 1), (1, 2, 2)),
    "convolution 1 x 3 x 3, 128 channels": convolution((10, 16, 14, 14, 128), 128, (1, 3, 3)),
    "batch normalization, 256 channels": batch_normalization,
}


def milliseconds(run: Callable) -> float:
    """CPU time of one run."""
    start = time.process_time()
    run()
    return 1e3 * (time.process_time() - start)


def main() -> None:
    """Prints one row per choice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    arguments = parser.parse_args()
    for name, make in ROWS.items():
        runs = make(arguments.dtype)
        times = {way: [] for way in runs}
        for round_number in range(arguments.rounds + 2):
            for way, run in runs.items():
                taken = milliseconds(run)
                if round_number >= 2:  # the first ones trace and warm up
                    times[way].append(taken)
        print(name)
        for way, taken in times.items():
            ratios = np.array(times["ours"]) / np.array(taken)
            versus = "" if way == "ours" else f"   ours / this: {np.median(ratios):.2f}"
            print(f"  {way:20} {np.median(taken):7.1f} ms{versus}")


if __name__ == "__main__":
    main()
