"""The backbone with the paper's objectives on top: L = L_MEP + alpha L_CPP (PRETRAINING.md section 5)."""

from __future__ import annotations

import keras
from keras import ops

from pemt_tf.config import ModelConfig, PretrainConfig
from pemt_tf.losses import correct_pair_prediction as cpp
from pemt_tf.losses import masked_embedding_prediction as mep
from pemt_tf.losses import negative_sampling
from pemt_tf.models.av_transformer import AVTransformer


class PretrainingModel(keras.Model):
    """Computes the pretraining losses of a batch of clips that have both streams (or the model's only one).

    Args:
        model: of the backbone.
        pretrain: objectives, rates and seed.
    """

    def __init__(self, model: ModelConfig, pretrain: PretrainConfig, **kwargs):
        super().__init__(**kwargs)
        self.pretrain = pretrain
        policy = self.dtype_policy
        self.backbone = AVTransformer(model, dtype=policy, name="backbone")
        self.seeds = keras.random.SeedGenerator(pretrain.seed)
        # Where a masked token can be predicted from: early fusion has no Transformer per modality, late no joint one.
        stages = [] if model.fusion == "early" and self.backbone.fuses else ["context"]
        stages += ["joint"] if self.backbone.fuses else []
        self.compatibility = {
            f"{modality}_{stage}": mep.CompatibilityNetwork(
                model.hidden, pretrain.projection, dtype=policy, name=f"{modality}_{stage}_compatibility"
            )
            for modality in model.modalities
            for stage in stages
        }
        pairs = stages if len(model.modalities) == 2 else []
        self.pair_classifiers = {
            stage: cpp.PairClassifier(model.hidden, dtype=policy, name=f"{stage}_pairs") for stage in pairs
        }

    def build(self, input_shape=None):
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
        self.built = True

    def call(self, inputs, training=False):
        """Computes losses and what to watch.

        Args:
            inputs: as `AVTransformer` takes them; masks are not used, so every clip must have the model's streams.
                The batch must be static: negatives are drawn from it.
            training: dropout and batch statistics.

        Returns:
            Scalars float32: `loss`, every `mep_*` term, `mep_accuracy`, `cpp`, `cpp_accuracy` and per modality the
            `*_spread`, the standard deviation of the tokens over the batch (a collapse alarm).
        """
        tokens = self.backbone.tokenize(self.backbone.local_features(inputs, training=training))
        masks = {m: mep.draw_mask(*t.shape[:2], self.pretrain.mask_rate, self.seeds) for m, t in tokens.items()}
        masked = {m: self._replace(m, t, masks[m]) for m, t in tokens.items()}
        matrices = self.backbone.matrices()
        contexts = {m: self.backbone.encode_stream(m, t, None, matrices, training=training) for m, t in masked.items()}
        shuffled = self._mismatch(contexts) if self.pair_classifiers else None
        joint, mismatched_joint = self._fuse(contexts, shuffled, matrices, training)
        metrics = self._mep_losses(tokens, masks, contexts, joint)
        metrics |= self._cpp_losses(contexts, shuffled, joint, mismatched_joint)
        terms = [value for name, value in metrics.items() if name.startswith("mep_") and "accuracy" not in name]
        metrics["loss"] = sum(terms) + self.pretrain.pair_weight * metrics.get("cpp", 0.0)
        for modality, t in tokens.items():
            flat = ops.reshape(ops.cast(t, "float32"), (-1, t.shape[-1]))
            metrics[f"{modality}_spread"] = ops.mean(ops.std(flat, axis=0))
        return metrics

    def _replace(self, modality, tokens, mask):
        mask = ops.cast(mask, tokens.dtype)[..., None]
        return tokens * (1.0 - mask) + ops.cast(self.mask_vectors[modality], tokens.dtype) * mask

    def _mismatch(self, contexts):
        """The same pictures with the sounds of other clips."""
        order = cpp.draw_derangement(contexts["audio"].shape[0], self.seeds)
        return {"visual": contexts["visual"], "audio": ops.take(contexts["audio"], order, axis=0)}

    def _fuse(self, contexts, shuffled, matrices, training):
        """Joint outputs of the true and of the mismatched pairs, per modality, in one call of the joint Transformer."""
        if not self.backbone.fuses:
            return None, None
        both = {m: ops.concatenate([c, shuffled[m]], axis=0) for m, c in contexts.items()}
        true, mismatched = ops.split(self.backbone.fuse(both, {}, matrices, training=training), 2, axis=0)
        return tuple(
            dict(zip(("visual", "audio"), ops.split(outputs, 2, axis=1), strict=True)) for outputs in (true, mismatched)
        )

    def _mep_losses(self, tokens, masks, contexts, joint) -> dict:
        stages = {"context": contexts, "joint": joint}
        losses, accuracies = {}, []
        for modality, targets in tokens.items():
            batch, segments, hidden = targets.shape
            flat = ops.reshape(targets, (-1, hidden))
            targets = ops.stop_gradient(flat) if self.pretrain.stop_target_gradient else flat
            groups = ops.repeat(ops.arange(batch), segments)
            log_weights = negative_sampling.candidate_log_weights(
                ops.stop_gradient(flat), groups, self.pretrain.negatives, self.pretrain.negative_band
            )
            weights = ops.reshape(masks[modality], (-1,))
            for stage, outputs in stages.items():
                network = self.compatibility.get(f"{modality}_{stage}")
                if network is None:
                    continue
                negatives, valid = negative_sampling.draw_negatives(
                    log_weights, self.pretrain.negative_count, self.seeds
                )
                logits = network(ops.reshape(outputs[modality][:, 1:], (-1, hidden)), targets)
                losses[f"mep_{modality}_{stage}"], accuracy = mep.info_nce(logits, negatives, valid, weights)
                accuracies.append(accuracy)
        return {**losses, "mep_accuracy": sum(accuracies) / len(accuracies)}

    def _cpp_losses(self, contexts, shuffled, joint, mismatched_joint) -> dict:
        """Each classifier sees as many mismatched pairs as true ones, by summary and by one random position."""
        if not self.pair_classifiers:
            return {}
        stages = {"context": (contexts, shuffled), "joint": (joint, mismatched_joint)}
        losses, accuracies = [], []
        for stage, classifier in self.pair_classifiers.items():
            logits = [self._pair_logits(classifier, outputs) for outputs in stages[stage]]
            targets = ops.concatenate([ops.ones_like(logits[0]), ops.zeros_like(logits[1])], axis=0)
            loss, accuracy = cpp.pair_loss(ops.concatenate(logits, axis=0), targets)
            losses.append(loss)
            accuracies.append(accuracy)
        return {"cpp": sum(losses) / len(losses), "cpp_accuracy": sum(accuracies) / len(accuracies)}

    def _pair_logits(self, classifier, outputs):
        picked = []
        for modality in ("visual", "audio"):
            batch, length = outputs[modality].shape[:2]
            positions = keras.random.randint((batch,), 0, length - 1, seed=self.seeds)
            picked.append(cpp.summary_and_position(outputs[modality], positions))
        return classifier(*picked)
