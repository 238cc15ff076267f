"""Classification heads and the classifier made of a backbone and a head (docs/reference_model.md section 9)."""

from __future__ import annotations

from typing import Annotated

import keras
from keras import KerasTensor, ops

from pemt_tf.config import ModelConfig
from pemt_tf.config.allowed_values import MODALITIES, Count, Probability, names, one_of
from pemt_tf.config.argument_checks import check_arguments, require_argument
from pemt_tf.config.training import LABELS, MULTIPLE, PREDICTIONS, SINGLE
from pemt_tf.layers.constructor_arguments import constructor_arguments
from pemt_tf.layers.dropout import Dropout
from pemt_tf.models.av_transformer import INPUT_NAMES, AVTransformer

_Modalities = Annotated[tuple[str, ...], names(MODALITIES, least=1)]
_Streams = Annotated[tuple[str, ...], names(MODALITIES)]
_Labels = Annotated[str, one_of(LABELS)]


def _dense(units: int, name: str, policy, use_bias: bool = True) -> keras.layers.Dense:
    normal = keras.initializers.RandomNormal(stddev=0.01)
    return keras.layers.Dense(units, use_bias=use_bias, kernel_initializer=normal, dtype=policy, name=name)


@keras.saving.register_keras_serializable("pemt_tf")
class PooledFeatureHead(keras.layers.Layer):
    """Dropout and a linear layer on the pooled CNN features of every segment, all modalities side by side.

    Args:
        classes: number of classes.
        modalities: modalities whose features are concatenated, in this order.
        dropout: dropout rate.
    """

    @check_arguments
    def __init__(self, classes: Count, modalities: _Modalities, dropout: Probability = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.classes, self.modalities, self.dropout = classes, modalities, dropout
        self.drop = Dropout(dropout, dtype=self.dtype_policy, name="drop")
        self.projection = _dense(classes, "projection", self.dtype_policy)

    def build(self, input_shape: tuple) -> None:
        """`input_shape` ends with the number of concatenated channels."""
        self.projection.build((None, None, input_shape[-1]))
        self.built = True

    def call(self, features: KerasTensor, training: bool = False) -> KerasTensor:
        """[batch, segments, channels] features to [batch, segments, classes] logits."""
        return self.projection(self.drop(features, training=training))

    def get_config(self) -> dict:
        return {**super().get_config(), **constructor_arguments(self, PooledFeatureHead)}


@keras.saving.register_keras_serializable("pemt_tf")
class SequenceHead(keras.layers.Layer):
    """Classifies every segment from the joint Transformer: its token and the summary, of both modalities.

    Args:
        classes: number of classes.
        hidden: width of the tokens.
        dropout: dropout rate.
    """

    @check_arguments
    def __init__(self, classes: Count, hidden: Count, dropout: Probability = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.classes, self.hidden, self.dropout = classes, hidden, dropout
        policy = self.dtype_policy
        self.drop = Dropout(dropout, dtype=policy, name="drop")
        self.maps = {m: _dense(hidden, f"{m}_map", policy, use_bias=False) for m in ("visual", "audio")}
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=policy, name="norm")
        self.projection = _dense(classes, "projection", policy)

    def build(self, input_shape: tuple | None = None) -> None:
        for layer in self.maps.values():
            layer.build((None, None, 2 * self.hidden))
        self.norm.build((None, None, self.hidden))
        self.projection.build((None, None, self.hidden))
        self.built = True

    def call(self, joint: KerasTensor, training: bool = False) -> KerasTensor:
        """[batch, 2 (1 + segments), hidden] joint tokens to [batch, segments, classes] logits."""
        total = 0.0
        for modality, stream in zip(("visual", "audio"), ops.split(joint, 2, axis=1), strict=True):
            tokens = stream[:, 1:]
            summary = ops.broadcast_to(stream[:, :1], ops.shape(tokens))
            pair = self.drop(ops.concatenate([summary, tokens], axis=-1), training=training)
            total = total + self.maps[modality](pair)
        return self.projection(self.norm(total))

    def get_config(self) -> dict:
        return {**super().get_config(), "classes": self.classes, "hidden": self.hidden, "dropout": self.dropout}


@keras.saving.register_keras_serializable("pemt_tf")
class AVClassifier(keras.Model):
    """A backbone with its heads: the pooled-feature head always, the sequence head where there is a joint Transformer.

    Outputs the backbone's dict and:
        logits: dict of head name to [batch, segments, classes] float32.
        probabilities: [batch, classes] float32: softmax per head and segment, summed over both and scaled to sum 1.
        scores: with several labels instead: sigmoid per head and segment, averaged over both, from 0 to 1.

    Args:
        config: the backbone's configuration.
        classes: number of classes.
        dropout: dropout rate of the heads.
        streams: modalities to use; the inputs of others are ignored. Empty uses all.
        labels: `single`, one class fits a clip; or `multiple`, any number of them.
    """

    @check_arguments
    def __init__(
        self,
        config: ModelConfig | dict,
        classes: Count,
        dropout: Probability = 0.5,
        streams: _Streams = (),
        labels: _Labels = SINGLE,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.classes, self.dropout, self.streams, self.labels = classes, dropout, streams, labels
        policy = self.dtype_policy
        self.backbone = AVTransformer(config, dtype=policy, name="backbone")
        modalities = self.backbone.config.modalities
        require_argument(set(streams) <= set(modalities), self, "streams", streams, f"some of {', '.join(modalities)}")
        self.clip_head = PooledFeatureHead(classes, modalities, dropout, dtype=policy, name="clip_head")
        self.sequence_head = None
        if self.backbone.fuses:
            hidden = self.backbone.config.hidden
            self.sequence_head = SequenceHead(classes, hidden, dropout, dtype=policy, name="sequence_head")

    def build(self, input_shape: tuple | None = None) -> None:
        self.backbone.build()
        channels = sum(cnn.feature_size for cnn in self.backbone.cnns.values())
        self.clip_head.build((None, None, channels))
        if self.sequence_head is not None:
            self.sequence_head.build()
        self.built = True

    def call(self, inputs: dict, training: bool = False) -> dict:
        inputs = self.looked_at(inputs)
        return self.judge(self.backbone(inputs, training=training), inputs, training=training)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that this classifier uses."""
        return tuple(m for m in self.backbone.config.modalities if not self.streams or m in self.streams)

    def looked_at(self, inputs: dict) -> dict:
        """The inputs without those of modalities that this classifier ignores."""
        unused = set(self.backbone.config.modalities) - set(self.modalities)
        ignored = {name for m in unused for name in (INPUT_NAMES[m], f"{m}_mask")}
        return {name: value for name, value in inputs.items() if name not in ignored}

    def judge(self, outputs: dict, masks: dict, training: bool = False) -> dict:
        """Adds the heads' predictions to the outputs of the backbone.

        Args:
            outputs: the backbone's outputs.
            masks: `visual_mask`, `audio_mask` [batch, segments], if the model was given them.
            training: whether dropout is active.
        """
        logits = {"clip": self.clip_head(self._features(outputs, masks), training=training)}
        if self.sequence_head is not None and "joint" in outputs:
            logits["sequence"] = self.sequence_head(outputs["joint"], training=training)
        logits = {name: ops.cast(value, "float32") for name, value in logits.items()}
        votes = sum(ops.mean(self.vote(value), axis=1) for value in logits.values())
        return {**outputs, "logits": logits, self.prediction: votes / len(logits)}

    @property
    def prediction(self) -> str:
        """Name of the output with the prediction: `probabilities`, or `scores` with several labels."""
        return PREDICTIONS[self.labels]

    def vote(self, logits: KerasTensor) -> KerasTensor:
        """What logits say of each class, from 0 to 1; same shape."""
        return ops.sigmoid(logits) if self.labels == MULTIPLE else ops.softmax(logits, axis=-1)

    def _features(self, outputs: dict, inputs: dict) -> KerasTensor:
        """Features of all modalities side by side, 0 where a segment lacks the modality."""
        present = {m: outputs[f"{m}_features"] for m in self.clip_head.modalities if f"{m}_features" in outputs}
        any_features = next(iter(present.values()))
        parts = []
        for modality in self.clip_head.modalities:
            if modality not in present:
                size = self.backbone.cnns[modality].feature_size
                shape = (*ops.shape(any_features)[:2], size)
                parts.append(ops.zeros(shape, any_features.dtype))
                continue
            mask = inputs.get(f"{modality}_mask")
            features = present[modality]
            parts.append(features if mask is None else features * ops.cast(mask, features.dtype)[..., None])
        return ops.concatenate(parts, axis=-1)

    def fold(self) -> AVClassifier:
        """A copy for inference, see `AVTransformer.fold`."""
        config = self.backbone.config.folded()
        folded = AVClassifier(
            config, self.classes, self.dropout, self.streams, self.labels, dtype=self.dtype_policy, name=self.name
        )
        folded.build()
        folded.backbone.fold_from(self.backbone)
        folded.clip_head.set_weights(self.clip_head.get_weights())
        if self.sequence_head is not None and folded.sequence_head is not None:
            folded.sequence_head.set_weights(self.sequence_head.get_weights())
        return folded

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "config": self.backbone.get_config()["config"],
            "classes": self.classes,
            "dropout": self.dropout,
            "streams": self.streams,
            "labels": self.labels,
        }
