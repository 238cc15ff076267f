"""The table of the authors' parameter names and our variables, which `reference_weights` reads in both directions.

Names follow docs/reference_model.md sections 1 to 9 and 16. Their arrays are (out, in, ...), ours (..., in, out).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import keras
import numpy as np

from pemt_tf.config import SHARING
from pemt_tf.errors import PemtError
from pemt_tf.layers.embeddings import TokenEmbeddings
from pemt_tf.layers.folded_conv import FoldedConv
from pemt_tf.layers.low_rank_shared_dense import LowRankSharedDense
from pemt_tf.layers.residual_block import ResidualBlock
from pemt_tf.layers.shared_transformer import SharedTransformer
from pemt_tf.layers.summary_token import SummaryToken
from pemt_tf.layers.transformer_layer import TransformerLayer
from pemt_tf.models.audio_resnet import AudioResNet
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.models.heads import AVClassifier, PooledFeatureHead, SequenceHead
from pemt_tf.models.visual_resnet3d import VisualResNet3D, stages_of

# The authors number the modality groups of a low-rank layer; with early fusion the joint modality is number 0.
GROUPS = {"visual": 0, "audio": 1, "joint": 2}
_TRANSFORMER_NAMES = {
    "visual": "single_visual_transformer.",
    "audio": "single_audio_transformer.",
    "joint": "multi_transformer.",
}
_SHARED_LAYER = "encoder.albert_layer_groups.0.albert_layers.0."
# Our map or norm to its name in the layers that are shared (ALBERT) and those that are not (BERT); low-rank maps
# are called factor_... there.
_SHARED_STYLE = {
    "query": "attention.{}query.",
    "key": "attention.{}key.",
    "value": "attention.{}value.",
    "attention_output": "attention.{}dense.",
    "intermediate": "{}ffn.",
    "output": "{}ffn_output.",
    "attention_norm": "attention.LayerNorm.",
    "output_norm": "full_layer_layer_norm.",
}
_UNSHARED_STYLE = {
    "query": "attention.self.{}query.",
    "key": "attention.self.{}key.",
    "value": "attention.self.{}value.",
    "attention_output": "attention.output.{}dense.",
    "intermediate": "intermediate.{}dense.",
    "output": "output.{}dense.",
    "attention_norm": "attention.output.LayerNorm.",
    "output_norm": "output.LayerNorm.",
}


@dataclass(frozen=True)
class WeightSlot:
    """One of our variables and its place in the authors' checkpoint."""

    names: tuple[str, ...]  # the canonical one first; the others are aliases of the same values
    variable: keras.Variable
    read: Callable[[np.ndarray], np.ndarray]  # their array to ours
    write: Callable[[np.ndarray], np.ndarray]  # our array to theirs; a row of a table for slots with a `row`
    row: int | None = None  # the slot holds only this row of their table; None holds all of it
    rotation: str | None = None  # its kind, for a rotation's parameter


@dataclass(frozen=True)
class _Naming:
    """A layer's place in the model, from which its names follow."""

    prefixes: tuple[str, ...] = ("",)  # more than one where the checkpoint holds a module several times
    groups: Mapping[str, int] = field(default_factory=lambda: dict(GROUPS))  # the authors' numbers
    styles: tuple[dict[str, str], ...] = (_SHARED_STYLE, _UNSHARED_STYLE)  # a single layer may have either

    def below(self, *names: str) -> _Naming:
        """The naming of a part: each prefix followed by each name."""
        return replace(self, prefixes=tuple(prefix + name for name in names for prefix in self.prefixes))

    def full(self, name: str) -> tuple[str, ...]:
        """The full names of a parameter."""
        return tuple(prefix + name for prefix in self.prefixes)


def reference_slots(
    target: keras.layers.Layer, prefix: str = "", groups: Mapping[str, int] | None = None
) -> list[WeightSlot]:
    """The table of a built model or layer: `AVTransformer`, `AVClassifier`, or one of their layers.

    `prefix` begins every name, with its dot (`avbert.`). `groups` (modality to the authors' group number) is for
    single low-rank layers whose modalities are not numbered as in mid fusion (visual 0, audio 1, joint 2). Random-seed
    states of dropout have no slot. Two slots share the name of the summary table, each with its row.
    """
    if not target.built:
        raise PemtError(f"{target.name} has no weights yet; build it before its weights are mapped")
    return _slots(target, _Naming((prefix,), dict(groups or GROUPS)))


def _unchanged(array: np.ndarray) -> np.ndarray:
    return array


def _same(naming: _Naming, name: str, variable) -> WeightSlot:
    return WeightSlot(naming.full(name), variable, _unchanged, _unchanged)


def _matrix(naming: _Naming, name: str, variable) -> WeightSlot:
    return WeightSlot(naming.full(name), variable, np.transpose, np.transpose)


def _rotation(naming: _Naming, name: str, variable, rank: int, kind: str) -> WeightSlot:
    if len(variable.shape) == 2:
        return replace(_same(naming, name, variable), rotation=kind)
    upper = np.triu_indices(rank, 1)

    def square(values: np.ndarray) -> np.ndarray:
        raw = np.zeros((rank, rank), values.dtype)
        raw[upper] = values  # the rest is never read, and has no gradient
        return raw

    return WeightSlot(naming.full(name), variable, lambda raw: raw[upper], square, rotation=kind)


def _table_row(naming: _Naming, name: str, variable, row: int) -> WeightSlot:
    # The table of a model of one modality may have one row only.
    return WeightSlot(naming.full(name), variable, lambda t: t[row if len(t) > 1 else 0], _unchanged, row)


@functools.singledispatch
def _slots(target, naming: _Naming) -> list[WeightSlot]:
    raise PemtError(f"no mapping of reference names to a layer of type {type(target).__name__}")


@_slots.register
def _(layer: keras.layers.Dense, naming):
    slots = [_matrix(naming, "weight", layer.kernel)]
    return slots if layer.bias is None else [*slots, _same(naming, "bias", layer.bias)]


@_slots.register
def _(layer: keras.layers.LayerNormalization, naming):
    return [_same(naming, "weight", layer.gamma), _same(naming, "bias", layer.beta)]


@_slots.register
def _(layer: keras.layers.BatchNormalization, naming):
    return [
        _same(naming, "weight", layer.gamma),
        _same(naming, "bias", layer.beta),
        _same(naming, "running_mean", layer.moving_mean),
        _same(naming, "running_var", layer.moving_variance),
    ]


@_slots.register
def _(layer: FoldedConv, naming):
    sides = len(layer.kernel_size)
    return [
        WeightSlot(
            naming.full("weight"),
            layer.kernel,
            lambda array: np.transpose(array, (*range(2, 2 + sides), 1, 0)),
            lambda array: np.transpose(array, (sides + 1, sides, *range(sides))),
        )
    ]


@_slots.register
def _(layer: LowRankSharedDense, naming):
    if layer.rotation_storage == "folded":
        raise PemtError(f"{layer.name} is folded: its rotation and U cannot be told apart; map the model before fold()")
    slots = []
    for modality in layer.modalities:
        if modality not in naming.groups:
            raise PemtError(f"{layer.name} has a modality {modality!r} without a group number; give groups")
        number = naming.groups[modality]
        slots.append(_matrix(naming, f"ms{number}_linear.weight", layer.projections[modality]))
        raw = layer.raw_rotations[modality]
        slots.append(_rotation(naming, f"orthogonal_ms{number}_linear.A", raw, layer.rank, layer.rotation))
    return [*slots, _matrix(naming, "s_linear.weight", layer.kernel), _same(naming, "s_linear.bias", layer.bias)]


@_slots.register
def _(layer: TransformerLayer, naming):
    factor = "" if layer.rank is None else "factor_"
    parts = {**layer.maps, "attention_norm": layer.attention_norm, "output_norm": layer.output_norm}
    return [
        slot
        for name, part in parts.items()
        for slot in _slots(part, naming.below(*(style[name].format(factor) for style in naming.styles)))
    ]


@_slots.register
def _(layer: SharedTransformer, naming):
    if layer.share_layers:
        return _slots(layer.blocks[0], replace(naming.below(_SHARED_LAYER), styles=(_SHARED_STYLE,)))
    naming = replace(naming, styles=(_UNSHARED_STYLE,))
    return [slot for i, block in enumerate(layer.blocks) for slot in _slots(block, naming.below(f"encoder.layer.{i}."))]


@_slots.register
def _(layer: TokenEmbeddings, naming):
    slots = [_same(naming, "position_embeddings.weight", layer.positions)]
    if layer.types:
        slots.append(_same(naming, "token_type_embeddings.weight", layer.type_table))
    return [*slots, *_slots(layer.norm, naming.below("LayerNorm."))]


@_slots.register
def _(block: ResidualBlock, naming):
    slots = []
    for (name, *_), convolution, norm in zip(block.steps, block.convolutions, block.norms, strict=True):
        slots += _slots(convolution, naming.below(f"branch2.{name}."))
        slots += _slots(norm, naming.below(f"branch2.{name}_bn."))
    if block.shortcut is not None:
        slots += _slots(block.shortcut, naming.below("branch1."))
        slots += _slots(block.shortcut_norm, naming.below("branch1_bn."))
    return slots


def _stages(cnn, naming: _Naming, block_name: str) -> list[WeightSlot]:
    return [
        slot
        for stage, blocks in enumerate(stages_of(cnn.blocks, cnn.depth), 2)
        for index, block in enumerate(blocks)
        for slot in _slots(block, naming.below(f"s{stage}.{block_name}{index}."))
    ]


@_slots.register
def _(cnn: VisualResNet3D, naming):
    stem = _slots(cnn.stem, naming.below("s1.pathway0_stem.conv."))
    stem += _slots(cnn.stem_norm, naming.below("s1.pathway0_stem.bn."))
    return stem + _stages(cnn, naming, "pathway0_res")


@_slots.register
def _(cnn: AudioResNet, naming):
    stem = []
    for number, (convolution, norm) in enumerate(zip(cnn.stem, cnn.stem_norms, strict=True), 1):
        stem += _slots(convolution, naming.below(f"s1.stem.conv{number}."))
        stem += _slots(norm, naming.below(f"s1.stem.bn{number}."))
    return stem + _stages(cnn, naming, "res")


def _summary_slots(layer: SummaryToken, modality: str, naming: _Naming) -> list[WeightSlot]:
    slots = [_table_row(naming, "bos_embeddings.weight", layer.token, GROUPS[modality])]
    return slots + (_slots(layer.norm, naming.below(f"bos_{modality}_norm.")) if layer.mean_pooled else [])


@_slots.register
def _(model: AVTransformer, naming):
    slots = []
    for modality, cnn in model.cnns.items():
        slots += _slots(cnn, naming.below(f"{modality}_conv."))
        slots += _slots(model.projections[modality], naming.below(f"{modality}_fc."))
        slots += _slots(model.token_norms[modality], naming.below(f"{modality}_norm."))
        slots += _summary_slots(model.summaries[modality], modality, naming.below("summary_encoding."))
    for stream, embeddings in model.embeddings.items():
        place = "multi" if stream == "joint" else f"single_{stream}"
        slots += _slots(embeddings, naming.below(f"{place}_embeddings."))
    if model.config.fusion == "early":
        naming = replace(naming, groups={"joint": 0})
    for transformer in model.distinct_transformers().values():
        streams = [stream for stream, t in model.transformers.items() if t is transformer]
        names = [_TRANSFORMER_NAMES[stream] for stream in streams]
        slots += _slots(transformer, naming.below(*_shared_names(model, names)))
    return slots


def _shared_names(model: AVTransformer, names: list[str]) -> list[str]:
    """The names of a shared Transformer: its own, and those of all modalities."""
    if not SHARING[model.config.sharing][1]:
        return names
    if model.config.fusion == "early":
        return [*names, "transformer."]
    return ["transformer.", *_TRANSFORMER_NAMES.values()]


@_slots.register
def _(head: PooledFeatureHead, naming):
    return _slots(head.projection, naming.below("projection."))


@_slots.register
def _(head: SequenceHead, naming):
    return [
        *_slots(head.maps["visual"], naming.below("fc1.")),
        *_slots(head.maps["audio"], naming.below("fc2.")),
        *_slots(head.norm, naming.below("ln.")),
        *_slots(head.projection, naming.below("projection.")),
    ]


@_slots.register
def _(model: AVClassifier, naming):
    slots = _slots(model.backbone, naming.below("avbert."))
    # The head of a model of one modality has no name in the specification; `head` is what we write.
    names = ("concat_head.",) if len(model.clip_head.modalities) == 2 else ("head.", "concat_head.")
    slots += _slots(model.clip_head, naming.below(*names))
    if model.sequence_head is not None:
        slots += _slots(model.sequence_head, naming.below("concat_seq_head."))
    return slots
