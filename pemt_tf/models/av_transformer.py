"""The audio-visual Transformer (paper figure 1; docs/reference_model.md sections 4 to 6)."""

from __future__ import annotations

import dataclasses
from os import PathLike
from pathlib import Path

import keras
from keras import KerasTensor, ops

from pemt_tf.config import SHARING, Config, ModelConfig
from pemt_tf.config.argument_checks import require_argument
from pemt_tf.config.checks import build_section
from pemt_tf.errors import ArgumentError
from pemt_tf.layers.embeddings import TokenEmbeddings
from pemt_tf.layers.shared_transformer import SharedTransformer
from pemt_tf.layers.summary_token import SummaryToken
from pemt_tf.models import preset_folder
from pemt_tf.models.audio_resnet import AudioResNet
from pemt_tf.models.visual_resnet3d import VisualResNet3D

INPUT_NAMES = {"visual": "frames", "audio": "log_mel"}
_TOKEN_TYPES = {"visual": 0, "audio": 1}
_INPUTS = (*INPUT_NAMES.values(), *(f"{modality}_mask" for modality in INPUT_NAMES))


@keras.saving.register_keras_serializable("pemt_tf")
class AVTransformer(keras.Model):
    """Clips to embeddings: one CNN per modality, one Transformer per modality, one joint Transformer.

    With low-rank sharing the three Transformers, and all layers of each, are one `SharedTransformer`.

    Inputs, a dict; either modality may be absent:
        frames: [batch, segments, frames, height, width, 3] float, normalized.
        log_mel: [batch, segments, mel_bins, mel_frames, 1] float, natural-log mel power.
        visual_mask, audio_mask: optional [batch, segments], 1 where the segment has that modality.

    Outputs, a dict:
        visual_features, audio_features: [batch, segments, channels], pooled CNN features.
        visual_tokens, audio_tokens: [batch, segments, hidden], projected and normalized features.
        visual_context, audio_context: [batch, 1 + segments, hidden], after the modality's Transformer; summary first.
        joint: [batch, 2 (1 + segments), hidden], after the joint Transformer, visual part first; only with both
            modalities and a fusion other than `late`.
        embedding: [batch, hidden], the mean of the summaries of the modalities that are there.

    Args:
        config: a `ModelConfig`, or its fields as a dict.
    """

    def __init__(self, config: ModelConfig | dict, **kwargs):
        super().__init__(**kwargs)
        config = build_section("model", ModelConfig, config) if isinstance(config, dict) else config
        fits = isinstance(config, ModelConfig)
        require_argument(fits, self, "config", config, "a ModelConfig, as Config.model is, or a dict of its fields")
        self.config = config
        policy = self.dtype_policy
        self.cnns = {}
        if "visual" in config.modalities:
            self.cnns["visual"] = VisualResNet3D(
                config.visual_depth, config.visual_width, config.remat, dtype=policy, name="visual_cnn"
            )
        if "audio" in config.modalities:
            self.cnns["audio"] = AudioResNet(
                config.audio_depth, config.audio_width, config.remat, dtype=policy, name="audio_cnn"
            )
        self.projections, self.token_norms, self.summaries, self.embeddings = {}, {}, {}, {}
        for modality in config.modalities:
            self._add_stream(modality, policy)
        self.fuses = len(config.modalities) == 2 and config.fusion != "late"
        if self.fuses:
            self.embeddings["joint"] = TokenEmbeddings(
                config.max_positions, config.hidden, 2, config.hidden_dropout, dtype=policy, name="joint_embeddings"
            )
        self.transformers = self._make_transformers(policy)

    @classmethod
    def from_preset(cls, preset: str | PathLike[str]) -> AVTransformer:
        """The model of a preset with random weights, or a trained one with its weights.

        Args:
            preset: a preset's name or a `.yaml` file; or a trained model: the folder of a run or of `save_to_preset`,
                `hf://USER/MODEL` or `kaggle://USER/MODEL/keras/VARIATION`.

        Raises:
            PemtError: there is no such preset or model, or its weights are damaged.
        """
        if not preset_folder.is_trained_preset(preset):
            return cls(Config.from_preset(str(preset)).model)
        folder = preset_folder.local_folder(preset)
        model = cls(preset_folder.read_model_config(folder), name="backbone")
        preset_folder.load_into(model, folder)
        return model

    def save_to_preset(self, folder: str | PathLike[str]) -> None:
        """Writes what `from_preset` reads, into a folder that is created; raises PemtError where that fails."""
        preset_folder.save(self, Path(folder))

    def _add_stream(self, modality: str, policy) -> None:
        config = self.config
        self.projections[modality] = keras.layers.Dense(
            config.hidden,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            dtype=policy,
            name=f"{modality}_projection",
        )
        self.token_norms[modality] = keras.layers.LayerNormalization(
            epsilon=1e-12, dtype=policy, name=f"{modality}_token_norm"
        )
        self.summaries[modality] = SummaryToken(
            config.hidden, config.summary == "mean_pooled", dtype=policy, name=f"{modality}_summary"
        )
        if config.fusion != "early":
            self.embeddings[modality] = TokenEmbeddings(
                config.max_positions,
                config.hidden,
                0,
                config.hidden_dropout,
                dtype=policy,
                name=f"{modality}_embeddings",
            )

    def _make_transformers(self, policy) -> dict[str, SharedTransformer]:
        """Stream name to Transformer; with sharing across modalities all names lead to the same one."""
        config = self.config
        share_layers, share_modalities, low_rank = SHARING[config.sharing]
        streams = () if config.fusion == "early" else config.modalities
        streams = (*streams, "joint") if self.fuses else streams

        def make(name: str, modalities: tuple[str, ...]) -> SharedTransformer:
            return SharedTransformer(
                config.layers,
                config.hidden,
                config.heads,
                config.intermediate,
                rank=config.rank if low_rank else None,
                modalities=modalities,
                share_layers=share_layers,
                rotation=config.rotation,
                rotation_storage=config.rotation_storage,
                initializer_std=config.initializer_std,
                attention_dropout=config.attention_dropout,
                hidden_dropout=config.hidden_dropout,
                dtype=policy,
                name=name,
            )

        if share_modalities:
            shared = make("transformer", streams)
            return dict.fromkeys(streams, shared)
        return {stream: make(f"{stream}_transformer", (stream,)) for stream in streams}

    def build(self, input_shape: tuple | None = None) -> None:
        for modality, cnn in self.cnns.items():
            cnn.build()
            self.projections[modality].build((None, None, cnn.feature_size))
            self.token_norms[modality].build((None, None, self.config.hidden))
            self.summaries[modality].build()
        for layer in (*self.embeddings.values(), *self.transformers.values()):
            if not layer.built:
                layer.build()
        self.built = True

    def call(self, inputs: dict[str, KerasTensor], training: bool = False) -> dict[str, KerasTensor]:
        features = self.local_features(inputs, training=training)
        tokens = self.tokenize(features)
        masks = {m: inputs[f"{m}_mask"] for m in features if inputs.get(f"{m}_mask") is not None}
        outputs = self.contextualize(tokens, masks, training=training)
        return {**{f"{m}_features": f for m, f in features.items()}, **outputs}

    def local_features(self, inputs, training: bool = False) -> dict:
        """Runs the CNNs on all segments at once; modality to [batch, segments, channels]."""
        for name in inputs:
            require_argument(name in _INPUTS, self, "an input", name, _INPUTS)
        features = {}
        for modality, cnn in self.cnns.items():
            x = inputs.get(INPUT_NAMES[modality])
            if x is None:
                continue
            if modality == "visual" and keras.backend.standardize_dtype(x.dtype) == "uint8":
                raise ArgumentError(
                    "frames are uint8, and the model takes normalized ones; pass them through "
                    "pemt_tf.features.frame_crops.normalize, or read them by pemt_tf.read_clips"
                )
            shape = ops.shape(x)
            pooled = cnn(ops.reshape(x, (-1, *shape[2:])), training=_mode(cnn, training))
            features[modality] = ops.reshape(pooled, (-1, shape[1], cnn.feature_size))
        if not features:
            needed = " or ".join(INPUT_NAMES[m] for m in self.config.modalities)
            raise ArgumentError(f"the inputs hold no modality of this model; give {needed}")
        return features

    def tokenize(self, features: dict) -> dict:
        """Projects pooled features to tokens; modality to [batch, segments, hidden]."""
        for modality in features:
            self._check_modality(modality)
        return {m: self.token_norms[m](self.projections[m](f)) for m, f in features.items()}

    def contextualize(self, tokens: dict, masks: dict | None = None, training: bool = False) -> dict:
        """Runs the Transformers on tokens.

        Args:
            tokens: modality to [batch, segments, hidden].
            masks: modality to [batch, segments], 1 where the segment is there; a missing entry means all are.
            training: whether dropout is active.

        Returns:
            The model's outputs without the features.
        """
        masks = masks or {}
        for modality in (*tokens, *masks):
            self._check_modality(modality)
        matrices = self.matrices()
        contexts = {m: self.encode_stream(m, t, masks.get(m), matrices, training=training) for m, t in tokens.items()}
        outputs = {f"{m}_tokens": t for m, t in tokens.items()}
        outputs |= {f"{m}_context": c for m, c in contexts.items()}
        if self.fuses and len(tokens) == 2:
            outputs["joint"] = self.fuse(contexts, masks, matrices, training=training)
        return {**outputs, "embedding": self._embedding(outputs, list(tokens), masks)}

    def matrices(self) -> dict:
        """Transformer name to the matrices of its layers, each computed once."""
        return {name: transformer.matrices() for name, transformer in self.distinct_transformers().items()}

    def distinct_transformers(self) -> dict[str, SharedTransformer]:
        """Transformers by name; one that all streams share stands here once."""
        return {transformer.name: transformer for transformer in self.transformers.values()}

    def encode_stream(
        self, modality: str, tokens: KerasTensor, mask: KerasTensor | None, matrices: dict, training: bool = False
    ):
        """Summary token, embeddings and the modality's Transformer; [batch, 1 + segments, hidden]."""
        self._check_modality(modality)
        sequence = self.summaries[modality](tokens, mask=mask)
        if self.config.fusion == "early":
            return sequence
        transformer = self.transformers[modality]
        embeddings = self.embeddings[modality]
        embedded = embeddings(sequence, training=_mode(embeddings, training))
        return transformer(
            embedded,
            modality=modality,
            mask=None if mask is None else _with_summary(mask),
            matrices=matrices[transformer.name],
            training=_mode(transformer, training),
        )

    def fuse(self, contexts: dict, masks: dict, matrices: dict, training: bool = False) -> KerasTensor:
        """Joint Transformer over both streams; [batch, 2 (1 + segments), hidden]."""
        transformer, embeddings = self.transformers["joint"], self.embeddings["joint"]
        mode = _mode(embeddings, training)
        embedded = [embeddings(contexts[m], token_type=_TOKEN_TYPES[m], training=mode) for m in _TOKEN_TYPES]
        mask = None
        if masks:
            mask = ops.concatenate(
                [_with_summary(masks[m] if m in masks else ops.ones_like(contexts[m][:, 1:, 0])) for m in _TOKEN_TYPES],
                axis=1,
            )
        return transformer(
            ops.concatenate(embedded, axis=1),
            modality="joint",
            mask=mask,
            matrices=matrices[transformer.name],
            training=_mode(transformer, training),
        )

    def _check_modality(self, modality) -> None:
        known = self.config.modalities
        require_argument(modality in known, self, "modality", modality, known)

    def _embedding(self, outputs: dict, modalities: list[str], masks: dict) -> KerasTensor:
        if "joint" in outputs:
            starts = {"visual": 0, "audio": ops.shape(outputs["visual_context"])[1]}
            summaries = {m: outputs["joint"][:, starts[m]] for m in modalities}
        else:
            summaries = {m: outputs[f"{m}_context"][:, 0] for m in modalities}
        weights = {
            m: _with_summary(masks[m])[:, :1] if m in masks else ops.ones_like(summaries[m][:, :1]) for m in modalities
        }
        kind = next(iter(summaries.values())).dtype
        total = sum(summaries[m] * ops.cast(weights[m], kind) for m in modalities)
        count = sum(ops.cast(weights[m], kind) for m in modalities)
        return total / ops.maximum(count, 1.0)

    def fold(self) -> AVTransformer:
        """A copy for inference: rotation and U of every map and modality merged into one matrix.

        Same inputs, outputs (within 1e-5 of their scale) and saving; its low-rank weights are no longer shared and
        cannot be trained or converted back. Without low-rank sharing there is nothing to merge: a plain copy.
        """
        folded = AVTransformer(self.config.folded(), dtype=self.dtype_policy, name=self.name)
        folded.build()
        folded.fold_from(self)
        return folded

    def fold_from(self, source: AVTransformer) -> None:
        """Copies the function of a model that is not folded."""
        for mine, other in zip(self._parts(), source._parts(), strict=True):
            mine.set_weights(other.get_weights())
        others = source.distinct_transformers()
        for name, transformer in self.distinct_transformers().items():
            if transformer.rank is None:
                transformer.set_weights(others[name].get_weights())
            else:
                transformer.fold_from(others[name])

    def _parts(self) -> list:
        """All layers except the Transformers."""
        groups = (self.cnns, self.projections, self.token_norms, self.summaries, self.embeddings)
        return [layer for group in groups for layer in group.values()]

    def get_config(self) -> dict:
        return {**super().get_config(), "config": dataclasses.asdict(self.config)}


def _mode(layer: keras.layers.Layer, training: bool) -> bool:
    """Frozen parts (`trainable` is False) run as in inference."""
    return training and layer.trainable


def _with_summary(mask: KerasTensor) -> KerasTensor:
    """Puts the summary token's own entry in front: it is there if any segment is. [batch, 1 + segments] float32."""
    mask = ops.cast(mask, "float32")
    return ops.concatenate([ops.max(mask, axis=1, keepdims=True), mask], axis=1)
