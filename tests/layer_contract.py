"""What every layer of ours must do; one call per layer in its own test."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def assert_layer_contract(
    make: Callable[..., keras.layers.Layer],
    inputs: Any,
    directory: Path,
    build_shape: tuple | None = None,
    call: dict[str, Any] | None = None,
    without_gradient: tuple[str, ...] = (),
    bfloat16_tolerance: float = 0.1,
) -> None:
    """Checks configuration, building, calling, training, mixed precision, copying and saving.

    Args:
        make: the layer's class or a function that makes one; takes `dtype` and `name`.
        inputs: an array, or a dict of arrays, float32; the batch comes first.
        directory: an empty folder for weights files.
        build_shape: argument of `build`; None calls it without one.
        call: further arguments of the call.
        without_gradient: names of trainable variables that this call does not use.
        bfloat16_tolerance: largest difference to float32, as a share of the largest output.
    """
    keras.utils.set_random_seed(0)  # a narrow network has unlucky weights now and then: every unit of a layer at zero
    call = call or {}
    layer = _built(make, build_shape)
    outputs = _numbers(layer(inputs, **call))
    _check_configuration(layer, build_shape)
    _check_symbolic(make, layer, inputs, call, outputs, build_shape, directory)
    _check_gradient_step(copy.deepcopy(layer), inputs, call, without_gradient)
    _check_copy(layer, inputs, call, outputs)
    _check_mixed_precision(make, layer, inputs, call, outputs, build_shape, bfloat16_tolerance)


def _built(make, build_shape, **arguments):
    layer = make(name="layer", **arguments)
    layer.build() if build_shape is None else layer.build(build_shape)
    assert layer.built
    return layer


def _numbers(outputs) -> list[np.ndarray]:
    arrays = [np.asarray(keras.ops.cast(output, "float32")) for output in tf.nest.flatten(outputs)]
    assert arrays and all(np.isfinite(array).all() for array in arrays)
    return arrays


def _same_numbers(actual, expected, tolerance=1e-6) -> None:
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(1.0, np.abs(other).max()))


def _check_configuration(layer, build_shape) -> None:
    text = json.dumps(keras.saving.serialize_keras_object(layer))
    assert json.loads(text)["registered_name"].startswith("pemt_tf>"), "not registered under the package's name"
    restored = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(restored) is type(layer)
    assert json.dumps(restored.get_config()) == json.dumps(layer.get_config())
    if not restored.built:
        restored.build() if build_shape is None else restored.build(build_shape)
    assert [(w.name, w.shape) for w in restored.weights] == [(w.name, w.shape) for w in layer.weights]


def _check_symbolic(make, layer, inputs, call, outputs, build_shape, directory) -> None:
    """A functional model of the layer has the same shapes and numbers, also after its weights went through a file."""

    def functional(inner):
        named = inputs.items() if isinstance(inputs, dict) else [(None, inputs)]
        symbols = {name: keras.Input(x.shape[1:], dtype=x.dtype.name, name=name) for name, x in named}
        symbols = symbols if isinstance(inputs, dict) else symbols[None]
        model = keras.Model(symbols, inner(symbols, **call))
        shapes = [symbol.shape for symbol in tf.nest.flatten(model.outputs)]
        for shape, output in zip(shapes, outputs, strict=True):
            assert len(shape) == output.ndim
            assert all(side in (None, size) for side, size in zip(shape, output.shape, strict=True))
        return model

    model = functional(layer)
    _same_numbers(_numbers(tf.nest.flatten(model(inputs))), outputs)
    path = directory / f"{layer.name}.weights.h5"
    model.save_weights(path)
    fresh = functional(_built(make, build_shape))
    fresh.load_weights(path)
    _same_numbers(_numbers(tf.nest.flatten(fresh(inputs))), outputs)


def _check_gradient_step(layer, inputs, call, without_gradient) -> None:
    with tf.GradientTape() as tape:
        # Unequal weights: the sum of a normalized vector has no gradient.
        loss = sum(
            tf.reduce_sum(tf.cast(o, tf.float32) * tf.reshape(tf.cos(tf.range(tf.size(o), dtype=tf.float32)), o.shape))
            for o in tf.nest.flatten(layer(inputs, **call))
        )
    variables = layer.trainable_variables
    gradients = tape.gradient(loss, variables)
    before = [variable.numpy() for variable in variables]
    for variable, gradient in zip(variables, gradients, strict=True):
        if variable.name in without_gradient:
            continue
        assert gradient is not None, f"{variable.path} has no gradient"
        assert np.isfinite(np.asarray(tf.convert_to_tensor(gradient))).all(), f"the gradient of {variable.path}"
    pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
    keras.optimizers.SGD(0.1).apply_gradients(pairs)
    moved = [not np.array_equal(old, new.numpy()) for old, new in zip(before, variables, strict=True)]
    assert any(moved) or not variables


def _check_copy(layer, inputs, call, outputs) -> None:
    twin = copy.deepcopy(layer)
    _same_numbers(_numbers(twin(inputs, **call)), outputs)
    for variable in twin.trainable_variables:
        variable.assign(variable + 1.0)
    _same_numbers(_numbers(layer(inputs, **call)), outputs)  # the original keeps its own weights


def _check_mixed_precision(make, layer, inputs, call, outputs, build_shape, tolerance) -> None:
    mixed = _built(make, build_shape, dtype="mixed_bfloat16")
    assert {variable.dtype for variable in mixed.trainable_variables} <= {"float32"}
    for target, source in zip(mixed.weights, layer.weights, strict=True):
        target.assign(source)
    results = tf.nest.flatten(mixed(inputs, **call))
    assert "bfloat16" in {keras.backend.standardize_dtype(result.dtype) for result in results}
    _same_numbers(_numbers(results), outputs, tolerance)
