"""Imports TensorFlow and Keras, multiplies on every device, reads TF_CONFIG; runs in its own process."""

from __future__ import annotations

import time

from pemt_tf.doctor.probe import report, report_failures_of

SIDE = 512
TIMES = 5


def _examine() -> None:
    report(step="import tensorflow")
    begin = time.perf_counter()
    import tensorflow as tf

    report(tensorflow=tf.__version__, seconds=time.perf_counter() - begin, cuda=tf.test.is_built_with_cuda())
    report(step="import keras")
    import keras

    report(keras=keras.__version__, backend=keras.backend.backend())
    report(step="matrix product on the CPU")
    with tf.device("CPU:0"):
        report(cpu={dtype: _seconds(tf, dtype) for dtype in ("float32", "bfloat16")})
    report(step="listing GPUs")
    gpus = tf.config.list_physical_devices("GPU")
    report(gpus=[_about(tf, gpu) for gpu in gpus])
    report(step="matrix product on the GPU")
    report(products=[_product_is_right(tf, number) for number in range(len(gpus))])
    report(step="reading TF_CONFIG")
    report(cluster=_cluster())


def _seconds(tf, dtype: str) -> float:
    """The fastest of a few products of square matrices."""
    matrix = tf.cast(tf.random.stateless_uniform((SIDE, SIDE), (1, 2)), dtype)
    taken = []
    for _ in range(TIMES):
        begin = time.perf_counter()
        tf.matmul(matrix, matrix).numpy()
        taken.append(time.perf_counter() - begin)
    return min(taken)


def _about(tf, gpu) -> str:
    details = tf.config.experimental.get_device_details(gpu)
    capability = ".".join(map(str, details.get("compute_capability", ())))
    name = details.get("device_name", gpu.name)
    return f"{name} (compute capability {capability})" if capability else name


def _product_is_right(tf, number: int) -> str:
    """Empty if a product on this GPU agrees with the CPU's, else what went wrong."""
    import numpy as np

    try:
        with tf.device("CPU:0"):
            matrix = tf.random.stateless_uniform((SIDE, SIDE), (1, 2))
            wanted = tf.matmul(matrix, matrix).numpy()
        with tf.device(f"GPU:{number}"):
            found = tf.matmul(matrix, matrix).numpy()
    except tf.errors.OpError as error:
        return " ".join(str(error.message).split())[:300]
    # TensorFloat-32 keeps 10 bits of a factor.
    return "" if np.allclose(found, wanted, rtol=1e-2) else "the product is wrong"


def _cluster() -> str:
    """What TF_CONFIG says, or what is wrong with it after `error: `."""
    from pemt_tf.errors import PemtError
    from pemt_tf.training.cluster import this_cluster

    try:
        cluster = this_cluster()
    except PemtError as error:
        return f"error: {error}"
    if cluster is None:
        return ""
    return f"worker {cluster.index} of {len(cluster.addresses)}: {', '.join(cluster.addresses)}"


if __name__ == "__main__":
    report_failures_of(_examine)
