"""The signatures of a servable: raw media or records in, predictions out, the feature code inside the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from pemt_tf.data.input_pipeline import model_inputs
from pemt_tf.export.record_request import decode_records
from pemt_tf.export.request_checks import after, checked_frames, checked_strings, checked_waveform, require, same_clips
from pemt_tf.export.servable_metadata import ServableMetadata
from pemt_tf.export.serving_model import ServingModel, Tensors
from pemt_tf.features import frame_crops, spectrogram

RECORDS = "serving_default"
MEDIA = {"visual": "frames", "audio": "waveform"}
# All shapes are open: see request_checks. The type stubs do not know that None is an unknown rank.
_ANY_SHAPE = tf.TensorShape(None)  # pyright: ignore[reportArgumentType]
_DTYPES = {"examples": tf.string, "frames": tf.uint8, "waveform": tf.float32, "fields": tf.string}
_SPECS = {name: tf.TensorSpec(_ANY_SHAPE, dtype, name) for name, dtype in _DTYPES.items()}


@dataclass(frozen=True)
class Signature:
    """One signature; the first axis of every input and output is the clips' axis."""

    name: str
    inputs: tuple[str, ...]  # in the order of the function's arguments
    function: Callable[..., Tensors]

    @property
    def specs(self) -> list[tf.TensorSpec]:
        """The specifications of the inputs."""
        return [_SPECS[name] for name in self.inputs]


class ServingSignatures:
    """Makes the signatures of a model."""

    def __init__(self, model: ServingModel, metadata: ServableMetadata):
        self._model, self._metadata = model, metadata
        self._geometry = metadata.config.geometry
        # The table of positions also has a row for the summary token.
        self._max_segments = metadata.config.model.max_positions - 1

    def all(self) -> list[Signature]:
        """Every signature that this model can have."""
        model = self._model
        media = tuple(MEDIA[m] for m in model.modalities)
        found = [Signature(RECORDS, ("examples",), self._from_records)]
        if model.classifies:
            found.append(Signature("classify", media, self._from_media(media, model.predict, model.outputs)))
        embedded = ("embedding", *model.aligned)
        found.append(Signature("embed", media, self._from_media(media, model.predict, embedded)))
        for modality, name in zip(model.modalities, media, strict=True):
            if model.classifies and len(media) == 2:
                found.append(Signature(f"classify_{modality}", (name,), self._from_one(modality, model.outputs)))
            found.append(Signature(f"embed_{modality}", (name,), self._from_one(modality, None)))
        return [*found, Signature("metadata", ("fields",), self._about)]

    def _from_records(self, examples: tf.Tensor) -> Tensors:
        clips = decode_records(examples, self._geometry, self._model.modalities)
        outputs = self._model.predict(model_inputs(clips, self._model.modalities))
        return self._named(outputs, (*self._model.outputs, *self._model.aligned))

    def _from_media(self, media: tuple[str, ...], predict: Callable, names: tuple[str, ...]) -> Callable:
        """A function of all modalities; its arguments have the names of the inputs."""
        if media == ("frames",):
            return lambda frames: self._named(predict({"frames": self._checked_crop(frames)}), names)
        if media == ("waveform",):
            return lambda waveform: self._named(predict({"log_mel": self._checked_log_mel(waveform)}), names)

        def both(frames: tf.Tensor, waveform: tf.Tensor) -> Tensors:
            frames = checked_frames(frames, self._geometry, self._max_segments)
            waveform = checked_waveform(waveform, self._geometry, self._max_segments)
            frames, waveform = same_clips(frames, waveform)
            return self._named(predict({"frames": self._crop(frames), "log_mel": self._log_mel(waveform)}), names)

        return both

    def _from_one(self, modality: str, names: tuple[str, ...] | None) -> Callable:
        """A function of one modality: for records that lack the other one, or without names its embedding alone."""

        def predict(stream: tf.Tensor) -> Tensors:
            if names is None:
                return self._model.embed_alone(modality, stream)
            return self._named(self._model.predict_from_one(modality, stream), names)

        if modality == "visual":
            return lambda frames: predict(self._checked_crop(frames))
        return lambda waveform: predict(self._checked_log_mel(waveform))

    def _checked_crop(self, frames: tf.Tensor) -> tf.Tensor:
        return self._crop(checked_frames(frames, self._geometry, self._max_segments))

    def _checked_log_mel(self, waveform: tf.Tensor) -> tf.Tensor:
        return self._log_mel(checked_waveform(waveform, self._geometry, self._max_segments))

    def _crop(self, frames: tf.Tensor) -> tf.Tensor:
        plan = frame_crops.plan_test_crop(tf.shape(frames)[-3], tf.shape(frames)[-2], self._geometry)
        return frame_crops.normalize(frame_crops.crop_frames(frames, plan))

    def _log_mel(self, waveform: tf.Tensor) -> tf.Tensor:
        return spectrogram.log_mel(waveform, self._geometry)[..., None]

    def _named(self, outputs: Tensors, names: tuple[str, ...]) -> Tensors:
        found = {name: outputs[name] for name in names}
        prediction = found.get(self._metadata.prediction or "")
        if prediction is not None:
            # A row for each clip: batching servers and the row format of REST require the same first axis everywhere.
            labels = tf.constant([self._metadata.labels])
            found["labels"] = tf.tile(labels, tf.stack([tf.shape(prediction)[0], 1]))
        return found

    def _about(self, fields: tf.Tensor) -> Tensors:
        """The model's metadata: field names to JSON texts."""
        known = self._metadata.served_fields()
        fields = checked_strings(fields, "fields", f"any of {', '.join(known)}")
        matches = tf.equal(fields[:, None], tf.constant(list(known)))
        found = tf.reduce_any(matches, axis=1)
        unknown = fields[tf.argmax(tf.cast(~found, tf.int32))]
        check = require(
            tf.reduce_all(found), f"the model has no metadata field {{}}; expected {', '.join(known)}", unknown
        )
        places = tf.argmax(tf.cast(after([check], matches), tf.int32), axis=1)
        return {"json": tf.gather(tf.constant(list(known.values())), places)}
