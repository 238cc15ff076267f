"""Batched orthogonal matrices from unconstrained parameters, in float32 (docs/reference_model.md section 2)."""

from __future__ import annotations

import math
import random

import keras
import numpy as np
from keras import KerasTensor, ops

from pemt_tf.config.allowed_values import Count, Rotation, RotationStorage, Seed
from pemt_tf.config.argument_checks import check_arguments

# Scaling and squaring: the Taylor polynomial below is accurate to float32 rounding for norms up to _TAYLOR_RADIUS
# (1.5**13 / 13! = 3e-8); larger matrices are halved first. Rotations of trained models stay below norm 20: the first
# squarings, good for norm 24, are always done, the others only where a matrix needs them.
_TAYLOR_RADIUS = 1.5
_FEW_SQUARINGS = 4
_MAX_SQUARINGS = 8
_TAYLOR = [1.0 / math.factorial(k) for k in range(13)]


def skew_from_square(raw: KerasTensor) -> KerasTensor:
    """Skew-symmetric matrix from the strict upper triangle of a square one, as the released model stores it.

    Args:
        raw: [..., rank, rank] float32; the diagonal and the lower triangle are never read.

    Returns:
        [..., rank, rank] float32, K = triu(raw, 1) - triu(raw, 1) transposed.
    """
    rank = raw.shape[-1]
    upper = raw * np.triu(np.ones((rank, rank), np.float32), 1)
    return upper - ops.swapaxes(upper, -1, -2)


def skew_from_strict_triangle(values: KerasTensor, rank: int) -> KerasTensor:
    """Skew-symmetric matrix from its degrees of freedom only.

    Args:
        values: [..., rank * (rank - 1) / 2] float32, the strict upper triangle, row by row.
        rank: rows of the matrix.

    Returns:
        [..., rank, rank] float32.
    """
    rows, columns = np.triu_indices(rank, 1)
    source = np.full((rank, rank), 2 * len(rows))
    source[rows, columns] = np.arange(len(rows))
    source[columns, rows] = np.arange(len(rows)) + len(rows)
    signed = ops.concatenate([values, -values, ops.zeros_like(values[..., :1])], axis=-1)
    flat = ops.take(signed, source.ravel(), axis=-1)
    return ops.reshape(flat, (*values.shape[:-1], rank, rank))


def skew_from_stored(raw: KerasTensor, rank: int, storage: RotationStorage) -> KerasTensor:
    """Skew-symmetric matrices, [..., rank, rank] float32, from parameters stored as `strict_triangle` or `square`."""
    return skew_from_square(raw) if storage == "square" else skew_from_strict_triangle(raw, rank)


def matrix_exponential(matrix: KerasTensor) -> KerasTensor:
    """Exponential of skew-symmetric matrices by scaling and squaring.

    Every matrix of the batch has its own number of squarings, and the steps that it
    does not need are masked, so the function is differentiable and compiles on every backend.

    Args:
        matrix: [..., rank, rank] float32, skew-symmetric, of norm up to 384.

    Returns:
        [..., rank, rank] float32, orthogonal.
    """
    matrix = ops.cast(matrix, "float32")
    second = ops.matmul(matrix, matrix)
    fourth = ops.matmul(second, second)
    squarings = ops.ceil(ops.log2(ops.maximum(_norm_bound(fourth), 1e-30) / _TAYLOR_RADIUS))
    squarings = ops.clip(squarings, 0.0, float(_MAX_SQUARINGS))
    scale = ops.power(2.0, -squarings)
    result = _taylor(matrix * scale, second * scale**2, fourth * scale**4)
    result = _square(result, squarings, range(_FEW_SQUARINGS))
    return ops.cond(
        ops.any(squarings > _FEW_SQUARINGS),
        lambda: _square(result, squarings, range(_FEW_SQUARINGS, _MAX_SQUARINGS)),
        lambda: result,
    )


def _norm_bound(fourth: KerasTensor) -> KerasTensor:
    """A bound of ||K||, [..., 1, 1], from the fourth power of K.

    The eigenvalues of a skew-symmetric matrix are pairs +-i t, so twice the sum of all t^8 is the squared Frobenius
    norm of the fourth power. The largest t is at most (norm / sqrt(2))^(1/4), and seldom much smaller.
    """
    squared = ops.sum(ops.square(ops.stop_gradient(fourth)), axis=(-2, -1), keepdims=True)
    return ops.power(squared / 2.0, 0.125)


def _taylor(x: KerasTensor, x2: KerasTensor, x4: KerasTensor) -> KerasTensor:
    """exp(x) by its Taylor polynomial of degree 12, from x and its powers (Paterson and Stockmeyer)."""
    identity = ops.eye(x.shape[-1], dtype="float32")
    x3 = ops.matmul(x2, x)

    def block(start):
        return _TAYLOR[start] * identity + _TAYLOR[start + 1] * x + _TAYLOR[start + 2] * x2 + _TAYLOR[start + 3] * x3

    high = block(8) + _TAYLOR[12] * x4
    high = block(4) + ops.matmul(x4, high)
    return block(0) + ops.matmul(x4, high)


def _square(matrix: KerasTensor, squarings: KerasTensor, steps) -> KerasTensor:
    """Squares a matrix once per step, as long as it has squarings left."""
    for step in steps:
        matrix = ops.where(squarings > step, ops.matmul(matrix, matrix), matrix)
    return matrix


def cayley_transform(matrix: KerasTensor) -> KerasTensor:
    """(I + K)^-1 (I - K) of a skew-symmetric K; [..., rank, rank] float32."""
    matrix = ops.cast(matrix, "float32")
    identity = ops.broadcast_to(ops.eye(matrix.shape[-1], dtype="float32"), ops.shape(matrix))
    return ops.solve(identity + matrix, identity - matrix)


@check_arguments
def rotation_from_skew(matrix: KerasTensor, rotation: Rotation) -> KerasTensor:
    """The orthogonal matrix Q of a skew-symmetric one.

    Args:
        matrix: [..., rank, rank] float32, skew-symmetric.
        rotation: `exponential` (the released model) or `cayley`.
    """
    return matrix_exponential(matrix) if rotation == "exponential" else cayley_transform(matrix)


@keras.saving.register_keras_serializable("pemt_tf")
class RotationInitializer(keras.initializers.Initializer):
    """Independent plane rotations by s = -tan(angle / 2), angle uniform in 0 to pi / 2.

    See docs/reference_model.md section 2.

    Gives the full square parameter, or its strict upper triangle when the weight is a vector.
    """

    @check_arguments
    def __init__(self, rank: Count, seed: Seed | None = None):
        self.rank = rank
        self.seed = seed

    def __call__(self, shape, dtype=None):
        # Keras' global generator would go on from run to run and belong to the first distribution strategy;
        # `random` is what keras.utils.set_random_seed seeds and what Keras' own initializers draw from.
        seed = random.randrange(2**31) if self.seed is None else self.seed
        angles = keras.random.uniform((self.rank // 2,), 0.0, math.pi / 2, dtype="float32", seed=seed)
        values = -ops.tan(angles / 2.0)
        first = np.arange(self.rank // 2) * 2
        if len(shape) == 2:
            positions = np.concatenate([first * self.rank + first + 1, (first + 1) * self.rank + first])
            updates = ops.concatenate([values, -values])
        else:
            row_start = first * (self.rank - 1) - first * (first - 1) // 2
            positions, updates = row_start, values
        flat = ops.scatter(positions[:, None], updates, (math.prod(shape),))
        return ops.cast(ops.reshape(flat, shape), dtype or "float32")

    def get_config(self) -> dict:
        return {"rank": self.rank, "seed": self.seed}
