"""Traced train steps, and the operations in them that run as kernels."""

from __future__ import annotations

from collections import Counter

import keras
import tensorflow as tf

# Metadata and bookkeeping: these start no kernel, or copy a few numbers between variables.
_FREE = {
    "Const",
    "Placeholder",
    "Identity",
    "IdentityN",
    "NoOp",
    "StopGradient",
    "PreventGradient",
    "Reshape",
    "Squeeze",
    "ExpandDims",
    "Shape",
    "ShapeN",
    "VarHandleOp",
    "ReadVariableOp",
    "AssignVariableOp",
    "AssignAddVariableOp",
}


def traced(function, *arguments: tf.Tensor):
    """The concrete function of a Python function."""
    return tf.function(function, autograph=False).get_concrete_function(*arguments)


def train_step(layer: keras.layers.Layer):
    """A function of inputs: the sum of all outputs, and the gradients of all weights."""

    def step(inputs):
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(layer(inputs, training=True))
            loss = tf.add_n([tf.reduce_sum(tf.cast(output, tf.float32)) for output in outputs])
        gradients = tape.gradient(loss, layer.trainable_variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return loss, gradients

    return step


def running(concrete) -> list:
    """The operations that a call runs: what its results and its side effects need."""
    graph = concrete.graph
    wanted = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    seen = {}
    while wanted:
        operation = wanted.pop()
        if operation.name not in seen:
            seen[operation.name] = operation
            wanted += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return list(seen.values())


def kernels(concrete) -> Counter:
    """How often a call runs each kind of kernel."""
    return Counter(operation.type for operation in computing(concrete))


def computing(concrete) -> list:
    """The operations that run as kernels, or copy numbers."""
    return [operation for operation in running(concrete) if operation.type not in _FREE]


def bytes_moved(operations: list) -> int:
    """Bytes that operations read and write: each of their inputs and outputs once, if its shape is known."""
    tensors = [tensor for operation in operations for tensor in (*operation.inputs, *operation.outputs)]
    return sum(elements(tensor) * tensor.dtype.size for tensor in tensors if tensor.dtype != tf.resource)


def elements(tensor: tf.Tensor) -> int:
    """Number of a tensor's elements; 0 if its shape is not known."""
    return tensor.shape.num_elements() if tensor.shape.is_fully_defined() else 0
