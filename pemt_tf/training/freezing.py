"""Freezing parts of the backbone: their weights and batch statistics stay, and they run in inference mode."""

from __future__ import annotations

from pemt_tf.errors import PemtError
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.models.visual_resnet3d import stages_of


def freeze(backbone: AVTransformer, parts: tuple[str, ...]) -> None:
    """Makes some `PARTS` of a built backbone not trainable; called before the optimizer is built."""
    for part in parts:
        for layer in _layers(backbone, part):
            layer.trainable = False


def _layers(backbone: AVTransformer, part: str) -> list:
    if part == "backbone":
        return [backbone]
    if part == "transformer":
        return list(backbone.distinct_transformers().values())
    if part == "tokens":
        groups = (backbone.projections, backbone.token_norms, backbone.summaries, backbone.embeddings)
        return [layer for group in groups for layer in group.values()]
    name, _, stage = part.partition(".s")
    cnn = backbone.cnns.get(name.removesuffix("_cnn"))
    if cnn is None:
        raise PemtError(f"cannot freeze {part!r}: the model has {', '.join(backbone.config.modalities)} only")
    return [cnn] if not stage else _up_to_stage(cnn, int(stage))


def _up_to_stage(cnn, last: int) -> list:
    """The stem (stage 1), and the blocks of the stages up to `last`."""
    stem = [cnn.stem, cnn.stem_norm] if hasattr(cnn, "stem_norm") else [*cnn.stem, *cnn.stem_norms]
    return [*stem, *(block for blocks in stages_of(cnn.blocks, cnn.depth)[: last - 1] for block in blocks)]
