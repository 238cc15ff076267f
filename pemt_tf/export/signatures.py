"""The functions that a servable offers: raw media or records in, answers out, the feature code inside the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from pemt_tf.data.input_pipeline import model_inputs
from pemt_tf.export.record_request import decode_records
from pemt_tf.export.request_checks import (
    after,
    checked_frames,
    checked_strings,
    checked_waveform,
    require,
    same_clips,
)
from pemt_tf.export.servable_metadata import ServableMetadata
from pemt_tf.export.serving_model import ServingModel, Tensors
from pemt_tf.features import frame_crops, spectrogram

RECORDS = "serving_default"
MEDIA = {"visual": "frames", "audio": "waveform"}
# All shapes are open: see request_checks.
_SPECS = {
    "examples": tf.TensorSpec(None, tf.string, "examples"),
    "frames": tf.TensorSpec(None, tf.uint8, "frames"),
    "waveform": tf.TensorSpec(None, tf.float32, "waveform"),
    "fields": tf.TensorSpec(None, tf.string, "fields"),
}


@dataclass(frozen=True)
class Signature:
    """One signature.

    Attributes:
        name: in the SavedModel.
        inputs: their names, in the order of the function's arguments.
        function: tensors to a dict of outputs; the first axis of every input and output is that of the clips.
    """

    name: str
    inputs: tuple[str, ...]
    function: Callable[..., Tensors]

    @property
    def specs(self) -> list[tf.TensorSpec]:
        """Of the inputs."""
        return [_SPECS[name] for name in self.inputs]


class ServingSignatures:
    """Makes the signatures of a model.

    Args:
        model: in parts.
        metadata: of the servable.
    """

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
            found.append(Signature("classify", media, self._from_media(media, model.answer, model.outputs)))
        found.append(Signature("embed", media, self._from_media(media, model.answer, ("embedding",))))
        for modality, name in zip(model.modalities, media, strict=True):
            if model.classifies and len(media) == 2:
                found.append(Signature(f"classify_{modality}", (name,), self._from_one(modality, model.outputs)))
            found.append(Signature(f"embed_{modality}", (name,), self._from_one(modality, None)))
        return [*found, Signature("metadata", ("fields",), self._about)]

    def _from_records(self, examples: tf.Tensor) -> Tensors:
        clips = decode_records(examples, self._geometry, self._model.modalities)
        return self._named(self._model.answer(model_inputs(clips, self._model.modalities)), self._model.outputs)

    def _from_media(self, media: tuple[str, ...], answer: Callable, names: tuple[str, ...]) -> Callable:
        """A function of all streams; its arguments have the names of the inputs."""
        if media == ("frames",):
            return lambda frames: self._named(answer({"frames": self._pictures(frames)}), names)
        if media == ("waveform",):
            return lambda waveform: self._named(answer({"log_mel": self._sound(waveform)}), names)

        def both(frames: tf.Tensor, waveform: tf.Tensor) -> Tensors:
            frames = checked_frames(frames, self._geometry, self._max_segments)
            waveform = checked_waveform(waveform, self._geometry, self._max_segments)
            frames, waveform = same_clips(frames, waveform)
            return self._named(answer({"frames": self._crop(frames), "log_mel": self._log_mel(waveform)}), names)

        return both

    def _from_one(self, modality: str, names: tuple[str, ...] | None) -> Callable:
        """A function of one stream: as of records without the other, or without names its embedding by itself."""

        def answer(stream: tf.Tensor) -> Tensors:
            if names is None:
                return self._model.embed_alone(modality, stream)
            return self._named(self._model.answer_without_others(modality, stream), names)

        if modality == "visual":
            return lambda frames: answer(self._pictures(frames))
        return lambda waveform: answer(self._sound(waveform))

    def _pictures(self, frames: tf.Tensor) -> tf.Tensor:
        return self._crop(checked_frames(frames, self._geometry, self._max_segments))

    def _sound(self, waveform: tf.Tensor) -> tf.Tensor:
        return self._log_mel(checked_waveform(waveform, self._geometry, self._max_segments))

    def _crop(self, frames: tf.Tensor) -> tf.Tensor:
        plan = frame_crops.plan_test_crop(tf.shape(frames)[-3], tf.shape(frames)[-2], self._geometry)
        return frame_crops.normalize(frame_crops.crop_frames(frames, plan))

    def _log_mel(self, waveform: tf.Tensor) -> tf.Tensor:
        return spectrogram.log_mel(waveform, self._geometry)[..., None]

    def _named(self, outputs: Tensors, names: tuple[str, ...]) -> Tensors:
        answer = {name: outputs[name] for name in names}
        if "probabilities" in answer:
            # A row for every clip: batching servers and the row format of REST want the same first axis everywhere.
            labels = tf.constant([self._metadata.labels])
            answer["labels"] = tf.tile(labels, [tf.shape(answer["probabilities"])[0], 1])
        return answer

    def _about(self, fields: tf.Tensor) -> Tensors:
        """What the model says of itself: field names to JSON texts, one for one."""
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
