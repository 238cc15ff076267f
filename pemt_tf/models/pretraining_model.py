"""The backbone with the paper's objectives, L = L_MEP + alpha L_CPP (docs/pretraining_objectives.md section 5).

Optionally with a term of ours that aligns the modalities (section 8).
"""

from __future__ import annotations

from typing import NamedTuple

import keras
from keras import KerasTensor, ops

from pemt_tf.config import ModelConfig
from pemt_tf.config.argument_checks import require_argument
from pemt_tf.config.training import PretrainConfig
from pemt_tf.layers.replicas import gather_rows, own_rows, replica_count, replica_index
from pemt_tf.losses import correct_pair_prediction as cpp
from pemt_tf.losses import masked_embedding_prediction as mep
from pemt_tf.losses import negative_sampling
from pemt_tf.losses.audio_visual_alignment import AlignedSpace, symmetric_info_nce
from pemt_tf.losses.masked_statistics import effective_rank, masked_std
from pemt_tf.models.av_transformer import AVTransformer

Tensors = dict[str, KerasTensor]  # by name or modality


class PretrainingModel(keras.Model):
    """Computes the pretraining losses of a batch of clips; a segment without a modality takes no part in its terms.

    The paper does not state these choices, so they are ours: a learned mask vector per modality; a compatibility
    network per modality and Transformer, so the joint Transformer has two; negatives drawn anew for each; a pair
    classifier per Transformer stage, which judges the pair of summaries and the pair at a random position by the same
    network; positions drawn anew for true and for mismatched pairs.

    Under data parallelism each replica holds its rows of the global batch. Masks, positions, negatives and mismatched
    pairs are drawn for the global batch, and every mean is weighted by how many count in it: the mean of a metric over
    replicas is the metric of the global batch on one device. See `PretrainConfig.gather_negatives`.

    Args:
        model: the backbone's configuration.
        pretrain: objectives, rates and random seed.
    """

    def __init__(self, model: ModelConfig, pretrain: PretrainConfig, **kwargs):
        super().__init__(**kwargs)
        fits = isinstance(pretrain, PretrainConfig)
        require_argument(fits, self, "pretrain", pretrain, "a PretrainConfig, as Config.pretrain is")
        self.pretrain = pretrain
        policy = self.dtype_policy
        self.backbone = AVTransformer(model, dtype=policy, name="backbone")
        model = self.backbone.config
        self.seeds = keras.random.SeedGenerator(pretrain.seed)
        # Where a masked token can be predicted from: early fusion has no Transformer per modality, late no joint one.
        stages = [] if model.fusion == "early" and self.backbone.fuses else ["context"]
        stages += ["joint"] if self.backbone.fuses else []
        self.compatibility = {
            f"{modality}_{stage}": mep.CompatibilityNetwork(
                model.hidden,
                pretrain.projection,
                pretrain.similarity,
                dtype=policy,
                name=f"{modality}_{stage}_compatibility",
            )
            for modality in model.modalities
            for stage in stages
        }
        pairs = stages if len(model.modalities) == 2 else []
        self.pair_classifiers = {
            stage: cpp.PairClassifier(model.hidden, dtype=policy, name=f"{stage}_pairs") for stage in pairs
        }
        weight, both = pretrain.alignment_weight, len(model.modalities) == 2
        allowed = f"0, because the model has one modality ({model.modalities[0]})"
        require_argument(both or not weight, self, "pretrain.alignment_weight", weight, allowed)
        self.aligned_space = None
        if weight:
            self.aligned_space = AlignedSpace(
                model.hidden, pretrain.alignment_width, dtype=policy, name="aligned_space"
            )

    def build(self, input_shape: tuple | None = None) -> None:
        self.backbone.build()
        self.mask_vectors = {
            modality: self.add_weight(
                name=f"{modality}_mask_vector",
                shape=(self.backbone.config.hidden,),
                initializer=keras.initializers.RandomNormal(stddev=0.01),
            )
            for modality in self.backbone.config.modalities
        }
        for layer in (*self.compatibility.values(), *self.pair_classifiers.values()):
            layer.build()
        if self.aligned_space is not None:
            self.aligned_space.build()
        self.built = True

    def call(self, inputs: Tensors, training: bool = False) -> Tensors:
        """Computes losses and metrics.

        Args:
            inputs: inputs of `AVTransformer`, of all the model's modalities; `visual_mask` and `audio_mask` [batch,
                segments] say which segments are there, all if absent. Other segments enter the batch statistics of the
                CNNs (in training) and nothing else. The batch size must be static: negatives are drawn from the batch.
            training: whether dropout is active and batch statistics are used.

        Returns:
            Scalars float32: `loss`, every `mep_*` term, `mep_accuracy`, `cpp`, `cpp_accuracy`; `logit_std`, see there,
            mean over the compatibility networks; with `alignment_weight` also `alignment`, `alignment_accuracy` and
            `alignment_temperature`; and of the present tokens of each modality over the batch the standard deviation
            `*_spread` (a collapse alarm) and the effective rank `*_rank`. A term for which nothing in the batch counts
            is 0. With replicas, means over them are those of the global batch.
        """
        tokens = self.backbone.tokenize(self.backbone.local_features(inputs, training=training))
        present = {m: ops.cast(inputs[f"{m}_mask"], "float32") for m in tokens if inputs.get(f"{m}_mask") is not None}
        rate = self.pretrain.mask_rate
        masks = {m: mep.draw_mask(t.shape[0], t.shape[1], rate, self.seeds, present.get(m)) for m, t in tokens.items()}
        matrices = self.backbone.matrices()
        true, mismatched = self._pairs(tokens, masks, present, matrices, training)
        metrics = self._mep_losses(tokens, masks, true)
        metrics |= self._cpp_losses(true, mismatched)
        terms = [value for name, value in metrics.items() if name.startswith("mep_") and "accuracy" not in name]
        metrics["loss"] = sum(terms) + self.pretrain.pair_weight * metrics.get("cpp", 0.0)
        if self.aligned_space is not None:
            metrics |= self._alignment_loss(self.aligned_space, tokens, present, matrices, training)
            metrics["loss"] += self.pretrain.alignment_weight * metrics["alignment"]
        for modality, t in tokens.items():
            values, there = _rows(ops.cast(t, "float32")), _flatten(present.get(modality))
            metrics[f"{modality}_spread"] = ops.mean(masked_std(values, there))
            metrics[f"{modality}_rank"] = effective_rank(values, there)
        return metrics

    def _replace(self, modality: str, tokens: KerasTensor, mask: KerasTensor) -> KerasTensor:
        mask = ops.cast(mask, tokens.dtype)[..., None]
        return tokens * (1.0 - mask) + ops.cast(self.mask_vectors[modality], tokens.dtype) * mask

    def _pairs(
        self, tokens: Tensors, masks: Tensors, present: Tensors, matrices: dict, training: bool
    ) -> tuple[dict, dict | None]:
        """The Transformers' outputs for true and for mismatched pairs.

        Returns:
            Two dicts: `context` and, with a joint Transformer, `joint`, modality to [batch, 1 + segments, hidden];
            `present`, modality to [batch, segments]. The second is None for a single modality.
        """
        contexts = {}
        for modality, t in tokens.items():
            masked = self._replace(modality, t, masks[modality])
            contexts[modality] = self.backbone.encode_stream(
                modality, masked, present.get(modality), matrices, training=training
            )
        true = {"context": contexts, "present": present}
        mismatched = self._mismatch(true) if self.pair_classifiers else None
        if self.backbone.fuses and mismatched is not None:
            true["joint"], mismatched["joint"] = self._fuse(true, mismatched, matrices, training)
        return true, mismatched

    def _groups(self) -> int:
        """Number of groups of neighbours in the global batch; negatives and mismatched pairs stay in their group."""
        if self.pretrain.gather_negatives:
            return 1
        return self.pretrain.negative_groups or replica_count()

    def _mismatch(self, pairs: dict[str, Tensors]) -> dict[str, Tensors]:
        """The same frames with the audio, and its masks, of other clips of the group."""
        batch, gathers = pairs["context"]["audio"].shape[0], self.pretrain.gather_negatives
        order = own_rows(cpp.draw_derangement(batch * replica_count(), self.seeds, self._groups()))
        if not gathers:
            order = order - replica_index() * batch
        return {
            name: {
                m: ops.take(gather_rows(x) if gathers else x, order, axis=0) if m == "audio" else x
                for m, x in streams.items()
            }
            for name, streams in pairs.items()
        }

    def _fuse(self, true: dict, mismatched: dict, matrices: dict, training: bool) -> tuple[Tensors, ...]:
        """Joint outputs of the true and of the mismatched pairs, per modality, in one call of the joint Transformer."""
        contexts, masks = (
            {m: ops.concatenate([x, mismatched[name][m]], axis=0) for m, x in true[name].items()}
            for name in ("context", "present")
        )
        joint = ops.split(self.backbone.fuse(contexts, masks, matrices, training=training), 2, axis=0)
        return tuple(dict(zip(("visual", "audio"), ops.split(x, 2, axis=1), strict=True)) for x in joint)

    def _mep_losses(self, tokens: Tensors, masks: Tensors, outputs: dict[str, Tensors]) -> Tensors:
        losses, accuracies, deviations = {}, [], []
        for modality, targets in tokens.items():
            candidates = self._candidates(targets, outputs["present"].get(modality))
            log_weights = ops.concatenate([group.log_weights for group in candidates], axis=0)
            positives = ops.concatenate([group.positives for group in candidates], axis=0)
            weights = _flatten(masks[modality])
            for stage in ("context", "joint"):
                network = self.compatibility.get(f"{modality}_{stage}")
                if network is None:
                    continue
                negatives, valid = negative_sampling.draw_negatives(
                    log_weights, self.pretrain.negative_count, self.seeds
                )
                anchors = ops.split(_rows(outputs[stage][modality][:, 1:]), len(candidates), axis=0)
                logits = ops.concatenate(
                    [network(x, group.targets) for x, group in zip(anchors, candidates, strict=True)], axis=0
                )
                losses[f"mep_{modality}_{stage}"], accuracy = mep.info_nce(logits, negatives, valid, weights, positives)
                accuracies.append(accuracy)
                deviations.append(mep.logit_std(logits, negative_sampling.can_be_drawn(log_weights), weights))
        count = len(accuracies)
        return {**losses, "mep_accuracy": sum(accuracies) / count, "logit_std": sum(deviations) / count}

    def _candidates(self, targets: KerasTensor, present: KerasTensor | None) -> list[_Candidates]:
        """The groups of which this replica holds a part: all targets of a group, and this replica's anchors among them.

        Args:
            targets: [batch, segments, hidden], unmasked tokens of this replica.
            present: [batch, segments], or None.
        """
        rows, settings = targets.shape[0] * targets.shape[1], self.pretrain
        anchors = None  # all of a group, unless it is spread over replicas
        if settings.gather_negatives:
            targets = gather_rows(targets)
            present = None if present is None else gather_rows(present)
            if replica_count() > 1:
                anchors = ops.arange(rows, dtype="int32") + replica_index() * rows
        count = 1 if settings.gather_negatives else self._groups() // replica_count()
        parts = []
        for part, there in zip(
            ops.split(targets, count, axis=0),
            [None] * count if present is None else ops.split(present, count, axis=0),
            strict=True,
        ):
            clips, segments = part.shape[:2]
            flat = _rows(part)
            log_weights = negative_sampling.candidate_log_weights(
                ops.stop_gradient(flat),
                ops.repeat(ops.arange(clips), segments),
                settings.negatives,
                settings.negative_band,
                _flatten(there),
                anchors,
            )
            positives = ops.arange(flat.shape[0], dtype="int32") if anchors is None else anchors
            targets_of_loss = ops.stop_gradient(flat) if settings.stop_target_gradient else flat
            if settings.similarity == "cosine":
                targets_of_loss = mep.standardize(targets_of_loss, _flatten(there))
            parts.append(_Candidates(targets_of_loss, log_weights, positives))
        return parts

    def _cpp_losses(self, true: dict, mismatched: dict | None) -> Tensors:
        """Each classifier sees as many mismatched pairs as true ones, by summary and by one random position."""
        if mismatched is None:
            return {}
        sides = (true, mismatched)
        counted = ops.concatenate([cpp.complete_pairs(s["present"]) for s in sides]) if true["present"] else None
        losses, accuracies = [], []
        for stage, classifier in self.pair_classifiers.items():
            logits = [self._pair_logits(classifier, side[stage], side["present"]) for side in sides]
            targets = ops.concatenate([ops.ones_like(logits[0]), ops.zeros_like(logits[1])], axis=0)
            loss, accuracy = cpp.pair_loss(ops.concatenate(logits, axis=0), targets, counted)
            losses.append(loss)
            accuracies.append(accuracy)
        return {"cpp": sum(losses) / len(losses), "cpp_accuracy": sum(accuracies) / len(accuracies)}

    def _alignment_loss(
        self, space: AlignedSpace, tokens: Tensors, present: Tensors, matrices: dict, training: bool
    ) -> Tensors:
        """From tokens of which none is masked, as they are when the space is used."""
        contexts = {
            m: self.backbone.encode_stream(m, t, present.get(m), matrices, training=training) for m, t in tokens.items()
        }
        vectors = space(contexts, present)
        gathers = self.pretrain.gather_negatives
        loss, accuracy = symmetric_info_nce(
            vectors["visual"],
            vectors["audio"],
            space.scale,
            cpp.complete_pairs(present) if present else None,
            1 if gathers else self._groups() // replica_count(),
            gathers,
        )
        return {"alignment": loss, "alignment_accuracy": accuracy, "alignment_temperature": 1.0 / space.scale}

    def _pair_logits(self, classifier: cpp.PairClassifier, outputs: Tensors, present: Tensors) -> KerasTensor:
        picked = []
        for modality in ("visual", "audio"):
            batch, length = outputs[modality].shape[:2]
            positions = cpp.draw_positions(batch, length - 1, self.seeds, present.get(modality))
            picked.append(cpp.summary_and_position(outputs[modality], positions))
        return classifier(*picked)


class _Candidates(NamedTuple):
    """The candidates of a group's anchors.

    Attributes:
        targets: [candidates, hidden], standardized for cosines.
        log_weights: [anchors, candidates], see `candidate_log_weights`.
        positives: [anchors] int32, which candidate is the anchor itself.
    """

    targets: KerasTensor
    log_weights: KerasTensor
    positives: KerasTensor


def _rows(tokens: KerasTensor) -> KerasTensor:
    """[batch, segments, hidden] to [batch * segments, hidden]."""
    return ops.reshape(tokens, (-1, tokens.shape[-1]))


def _flatten(mask: KerasTensor | None) -> KerasTensor | None:
    """[batch, segments] to [batch * segments]; None stays None."""
    return None if mask is None else ops.reshape(mask, (-1,))
