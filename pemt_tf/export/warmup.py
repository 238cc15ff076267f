"""Warm-up requests, which a server runs before it takes traffic: the first request of each signature is slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from pemt_tf.config import ClipGeometry
from pemt_tf.data.records import ClipRecord, serialize
from pemt_tf.export.signatures import Signature

WARM_UP = "assets.extra/tf_serving_warmup_requests"


def write_warm_up(directory: Path, signatures: list[Signature], geometry: ClipGeometry) -> None:
    """Writes a request of one clip for each signature into a SavedModel."""
    path = directory / WARM_UP
    path.parent.mkdir(parents=True, exist_ok=True)
    values = _values(geometry)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature in signatures:
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = signature.name
            for name in signature.inputs:
                request.inputs[name].CopyFrom(values[name])
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def _values(geometry: ClipGeometry) -> dict[str, TensorProto]:
    """One clip for each input; the message of a tensor of equal values holds only one of them."""
    leading, crop = [1, geometry.segments], geometry.test_crop
    return {
        "examples": tf.make_tensor_proto([_gray_record(geometry)]),
        "frames": _filled(tf.uint8, [*leading, geometry.frames_per_segment, crop, crop, 3], int_val=[128]),
        "waveform": _filled(tf.float32, [*leading, geometry.samples_per_segment], float_val=[0.0]),
        "fields": tf.make_tensor_proto([b"all"]),
    }


def _filled(dtype: tf.DType, shape: list[int], **value: Any) -> TensorProto:
    return TensorProto(dtype=dtype.as_datatype_enum, tensor_shape=tf.TensorShape(shape).as_proto(), **value)


def _gray_record(geometry: ClipGeometry) -> bytes:
    side, count = geometry.stored_short_side, geometry.segments * geometry.frames_per_segment
    jpeg = tf.io.encode_jpeg(tf.fill([side, side, 3], tf.constant(128, tf.uint8))).numpy()
    log_mel = tf.zeros([geometry.segments, geometry.mel_bins, geometry.mel_frames]).numpy()
    clip = ClipRecord("warm-up", "", 0.0, 0.0, [jpeg] * count, [0.0] * count, side, side, log_mel)
    return serialize(clip, geometry)
