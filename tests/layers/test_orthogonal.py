"""Rotations against exact ones (golden file, SciPy) and against what makes a rotation one."""

import keras
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from pemt_tf.layers import orthogonal
from tests.golden import Golden, assert_close

CASES = range(6)
NAMES = {"expm": "exponential", "cayley": "cayley"}


@pytest.fixture(scope="module")
def golden():
    return Golden("orthogonal")


def skew(rank: int, norm: float, seed: int = 0) -> np.ndarray:
    raw = np.random.default_rng(seed).normal(size=(rank, rank))
    matrix = raw - raw.T
    return (matrix * norm / np.linalg.norm(matrix, 1)).astype(np.float32)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_rotation_and_gradient_equal_the_reference(golden, case, kind):
    raw = tf.Variable(golden[f"in/A{case}"].astype(np.float32))
    with tf.GradientTape() as tape:
        rotation = orthogonal.rotation_from_skew(orthogonal.skew_from_square(raw), NAMES[kind])
        loss = tf.reduce_sum(rotation * golden[f"in/cot{case}"].astype(np.float32))
    assert_close(rotation, golden[f"out64/B{case}_{kind}"])
    gradient = tape.gradient(loss, raw).numpy()
    assert_close(gradient, golden[f"out64/grad_A{case}_{kind}"])
    assert (np.tril(gradient) == 0).all()  # the diagonal and the lower triangle are never read


@pytest.mark.parametrize("case", CASES)
def test_strict_triangle_is_the_same_function_with_half_the_numbers(golden, case):
    square = golden[f"in/A{case}"].astype(np.float32)
    rank = len(square)
    values = square[np.triu_indices(rank, 1)]
    assert values.size == rank * (rank - 1) // 2
    np.testing.assert_array_equal(
        orthogonal.skew_from_strict_triangle(tf.constant(values), rank), orthogonal.skew_from_square(square)
    )


@pytest.mark.parametrize("norm", [0.0, 1e-6, 0.5, 1.0, 1.001, 20.0, 200.0])
@pytest.mark.parametrize("rank", [1, 2, 5, 16])
def test_exponential_equals_scipy(rank, norm):
    matrix = skew(rank, norm) if rank > 1 else np.zeros((1, 1), np.float32)
    result = np.asarray(orthogonal.matrix_exponential(tf.constant(matrix)))
    expected = scipy.linalg.expm(matrix.astype(np.float64))
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-6 if norm <= 20 else 2e-5)


@pytest.mark.parametrize("norm", [0.1, 3.0, 11.0, 20.0])
def test_exponential_of_full_size_is_accurate_to_one_millionth(norm):
    matrix = skew(128, 1.0)
    matrix = matrix * np.float32(norm / np.linalg.norm(matrix, 2))
    result = np.asarray(orthogonal.matrix_exponential(tf.constant(matrix)))
    np.testing.assert_allclose(result, scipy.linalg.expm(matrix.astype(np.float64)), rtol=0, atol=1e-6)
    np.testing.assert_allclose(result @ result.T, np.eye(128), rtol=0, atol=4e-6)


@pytest.mark.parametrize("kind", NAMES.values())
def test_a_batch_equals_its_members(kind):
    # Members of very different norm: scaling and squaring must be decided for each of them alone.
    members = np.stack([skew(6, norm, seed) for seed, norm in enumerate([0.01, 1.0, 30.0])])
    batch = orthogonal.rotation_from_skew(tf.constant(members), kind)
    for one, member in zip(batch, members, strict=True):
        np.testing.assert_allclose(one, orthogonal.rotation_from_skew(tf.constant(member), kind), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", NAMES.values())
def test_rotations_are_orthogonal_with_determinant_one(kind):
    rotation = np.asarray(orthogonal.rotation_from_skew(tf.constant(skew(9, 5.0)), kind), np.float64)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(9), rtol=0, atol=2e-6)
    assert np.linalg.det(rotation) == pytest.approx(1.0, abs=1e-5)


def test_compiled_equals_eager():
    matrix = tf.constant(skew(7, 3.0))
    compiled = tf.function(orthogonal.matrix_exponential, jit_compile=True)(matrix)
    np.testing.assert_allclose(compiled, orthogonal.matrix_exponential(matrix), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rank", [2, 7, 128])
def test_initial_rotations_turn_planes_by_less_than_one_radian(rank):
    square = np.array(orthogonal.RotationInitializer(rank, seed=1)((rank, rank)))
    planes = rank // 2
    first = 2 * np.arange(planes)
    angles = square[first, first + 1]
    assert ((angles > -1) & (angles <= 0)).all()  # -tan(angle / 2), angle from 0 to 90 degrees
    np.testing.assert_array_equal(square[first + 1, first], -angles)
    square[first, first + 1] = square[first + 1, first] = 0
    assert not square.any()


def test_initial_angles_are_uniform_from_0_to_90_degrees():
    square = np.asarray(orthogonal.RotationInitializer(4000, seed=0)((4000, 4000)))
    first = 2 * np.arange(2000)
    degrees = np.degrees(-2 * np.arctan(square[first, first + 1]))
    # Mean 45 and standard deviation 90 / sqrt(12) = 25.98; five standard errors of 2000 draws.
    assert degrees.mean() == pytest.approx(45.0, abs=2.9)
    assert degrees.std() == pytest.approx(25.98, abs=1.5)


@pytest.mark.parametrize("rank", [2, 7, 12])
def test_both_storages_start_from_the_same_function(rank):
    initializer = orthogonal.RotationInitializer(rank, seed=3)
    square = orthogonal.skew_from_square(initializer((rank, rank)))
    triangle = orthogonal.skew_from_strict_triangle(initializer((rank * (rank - 1) // 2,)), rank)
    np.testing.assert_array_equal(square, triangle)


def test_initializer_serializes():
    initializer = orthogonal.RotationInitializer(6, seed=2)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(initializer))
    np.testing.assert_array_equal(restored((6, 6)), initializer((6, 6)))
