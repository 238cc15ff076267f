"""The model of a servable, in parts: functions that are traced once and used by several signatures."""

from __future__ import annotations

import keras
import tensorflow as tf

from pemt_tf.config import ClipGeometry
from pemt_tf.export.weight_storage import StoredWeights
from pemt_tf.features import frame_crops
from pemt_tf.losses.audio_visual_alignment import AlignedSpace
from pemt_tf.models.av_transformer import INPUT_NAMES
from pemt_tf.models.heads import AVClassifier

Tensors = dict[str, tf.Tensor]


class ServingModel:
    """A classifier or backbone for inference, in parts: a CNN for each modality, and everything after the CNNs.

    With an aligned space there are further outputs, `aligned_visual` and `aligned_audio` [clips, width] float32 of
    length 1; zeros for a clip without the modality.
    """

    def __init__(
        self, model: keras.Model, geometry: ClipGeometry, weights: StoredWeights, space: AlignedSpace | None = None
    ):
        self._model, self._weights, self._space = model, weights, space
        crop = geometry.test_crop
        self._segment_shapes = {
            "visual": (geometry.frames_per_segment, crop, crop, 3),
            "audio": (geometry.mel_bins, geometry.mel_frames, 1),
        }
        self.classifies = isinstance(model, AVClassifier)
        self._backbone = model.backbone if self.classifies else model
        self.modalities: tuple[str, ...] = model.modalities if self.classifies else self._backbone.config.modalities
        self.outputs = (model.prediction, "embedding") if self.classifies else ("embedding",)
        self.aligned = tuple(f"aligned_{m}" for m in self.modalities) if space is not None else ()
        self._cnns = {m: self._make_cnn(m) for m in self.modalities}
        self._rest = self._make_rest()
        self._alone = {m: self._make_alone(m) for m in self.modalities}

    def predict(self, inputs: Tensors) -> Tensors:
        """Predicts for clips with all modalities of the model.

        Inputs are `frames`, `log_mel`, and `visual_mask`, `audio_mask` [clips, segments] if segments may lack one.
        Outputs are `embedding` [clips, hidden] float32, and of a classifier `probabilities`, or with several labels
        `scores`, [clips, classes] float32.
        """
        features = {m: self._cnns[m](inputs[INPUT_NAMES[m]]) for m in self.modalities}
        present = tf.ones(tf.shape(next(iter(features.values())))[:2])
        masks = {m: inputs.get(f"{m}_mask", present) for m in self.modalities}
        return self._rest(features, masks)

    def predict_from_one(self, modality: str, stream: tf.Tensor) -> Tensors:
        """Predicts, as `predict` does, for records that have only this modality.

        Such a record has black frames or an empty spectrogram for the other modality, and a mask that hides it. All
        these segments are equal, so the CNN sees only one of them.
        """
        features, masks = {}, {}
        own = self._cnns[modality](stream)
        clips, segments = tf.unstack(tf.shape(own)[:2])
        for m in self.modalities:
            if m == modality:
                features[m], masks[m] = own, tf.ones([clips, segments])
                continue
            blank = tf.zeros((1, 1, *self._segment_shapes[m]))
            stand_in = self._cnns[m](frame_crops.normalize(blank) if m == "visual" else blank)
            features[m], masks[m] = tf.tile(stand_in, [clips, segments, 1]), tf.zeros([clips, segments])
        return self._rest(features, masks)

    def embed_alone(self, modality: str, stream: tf.Tensor) -> Tensors:
        """`embedding` of one modality alone, by its own Transformer, not the joint one; and its place if aligned."""
        return self._alone[modality](self._cnns[modality](stream))

    def _make_cnn(self, modality: str):
        shape = [None, None, *self._segment_shapes[modality]]

        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)], autograph=False)
        def features(stream):
            with self._weights.scope(self._backbone.cnns[modality].variables):
                return self._backbone.local_features({INPUT_NAMES[modality]: stream})[modality]

        return features

    def _features_spec(self, modality: str) -> tf.TensorSpec:
        return tf.TensorSpec([None, None, self._backbone.cnns[modality].feature_size], tf.float32, modality)

    def _make_rest(self):
        specs = {m: self._features_spec(m) for m in self.modalities}
        masks = {m: tf.TensorSpec([None, None], tf.float32, f"{m}_mask") for m in self.modalities}

        @tf.function(input_signature=[specs, masks], autograph=False)
        def rest(features, masks):
            with self._weights.scope(self._variables_after_cnns()):
                outputs = self._backbone.contextualize(self._backbone.tokenize(features), masks)
                if self.classifies:
                    outputs |= {f"{m}_features": values for m, values in features.items()}
                    outputs = self._model.judge(outputs, {f"{m}_mask": mask for m, mask in masks.items()})
            outputs |= self._places(outputs, masks)
            return {name: tf.cast(outputs[name], tf.float32) for name in (*self.outputs, *self.aligned)}

        return rest

    def _make_alone(self, modality: str):
        @tf.function(input_signature=[self._features_spec(modality)], autograph=False)
        def alone(features):
            with self._weights.scope(self._variables_after_cnns()):
                outputs = self._backbone.contextualize(self._backbone.tokenize({modality: features}))
            return {"embedding": tf.cast(outputs["embedding"], tf.float32), **self._places(outputs, {})}

        return alone

    def _places(self, outputs: Tensors, masks: Tensors) -> Tensors:
        """In the aligned space, of the modalities that were looked at; nothing without a space."""
        if self._space is None:
            return {}
        contexts = {m: outputs[f"{m}_context"] for m in self.modalities if f"{m}_context" in outputs}
        return {f"aligned_{m}": place for m, place in self._space(contexts, masks).items()}

    def _variables_after_cnns(self) -> list[keras.Variable]:
        inside = {id(variable) for cnn in self._backbone.cnns.values() for variable in cnn.variables}
        return [variable for variable in self._model.variables if id(variable) not in inside]
