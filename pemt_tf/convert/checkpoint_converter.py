"""Converts the authors' checkpoint to a run: `pemt convert CHECKPOINT.pyth OUT`.

`reference_slots` is the table of names; `assign_reference_weights` fills a model or layer from the authors' arrays, and
`export_reference_weights` is the inverse. This module reads the file and infers which model it holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pemt_tf.config import SHARING, ClipGeometry, Config
from pemt_tf.convert.reference_slots import reference_slots  # noqa: F401 - callers find it here
from pemt_tf.convert.reference_weights import (  # noqa: F401 - callers find them here
    ConversionReport,
    assign_reference_weights,
    export_reference_weights,
    rotation_kind,
)
from pemt_tf.convert.torch_checkpoint import read_torch_checkpoint, state_dict_of
from pemt_tf.errors import PemtError
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.models.heads import AVClassifier
from pemt_tf.training.run_directory import RunDirectory

_BACKBONE = "avbert."
# Fields of the released models, which are 768 wide, that no shape shows.
_RELEASED_WIDTH = 768
_RELEASED = {"heads": 12, "layers": 6, "rotation": "exponential"}
# What the user is asked for if it is unknown, with an example.
_ASKED = {
    "heads": ("the number of heads", "4"),
    "layers": ("the number of layers", "2"),
    "rotation": ("the kind of rotation (exponential or cayley)", "exponential"),
}


def convert_checkpoint(
    path: str | Path,
    output_directory: str | Path,
    allow_missing: bool = False,
    overrides: Sequence[str] = (),
    labels: Sequence[str] | None = None,
) -> ConversionReport:
    """Converts the authors' checkpoint to a finished run that `evaluate`, `finetune`, `export` and `predict` take.

    No shape shows `model.heads`, `model.layers` and `model.rotation`: they are known for the released width of 768
    (the rotation also from cached rotations), and must else be among the `overrides`, `section.field=value`. `labels`
    are names of the classes in the head's order; `class 0` and so on if not given.

    Raises:
        PemtError: the file cannot be read safely, is not this model, or its names do not fit.
    """
    weights = state_dict_of(read_torch_checkpoint(path))
    prefix = _BACKBONE if any(name.startswith(_BACKBONE) for name in weights) else ""
    config = _infer_config(weights, prefix, overrides)
    classes = _class_count(weights) if prefix else 0
    if labels and len(labels) != classes:
        raise PemtError(f"{len(labels)} labels were given, but {path} has {classes} classes")
    if classes:
        labels = list(labels or (f"class {index}" for index in range(classes)))
        model = AVClassifier(config.model, classes, config.finetune.head_dropout, name="classifier")
        model.build()
        report = assign_reference_weights(model, weights, allow_missing=allow_missing)
    else:
        labels = []
        model = AVTransformer(config.model, name="backbone")
        model.build()
        report = assign_reference_weights(model, weights, prefix, allow_missing)
    run = RunDirectory(Path(output_directory))
    run.start(config, {"kind": "convert", "labels": labels, "source": Path(path).name})
    run.save_model(model)
    return report


def infer_model_fields(weights: Mapping[str, np.ndarray], prefix: str = "") -> dict[str, Any]:
    """The fields of `ModelConfig` that follow from names and shapes; PemtError if the weights are not of this model.

    `heads`, `layers` of shared layers, and `rotation` are included only for the released width; `rotation` also if the
    weights show it.
    """
    arrays = {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}
    modalities = [m for m in ("visual", "audio") if f"{m}_fc.weight" in arrays]
    if not modalities:
        raise PemtError(
            "the weights hold neither visual_fc.weight nor audio_fc.weight: not an audio-visual Transformer"
        )
    tables = [array for name, array in arrays.items() if name.endswith("_embeddings.position_embeddings.weight")]
    if not tables:
        raise PemtError("the weights hold no position_embeddings.weight: not an audio-visual Transformer")
    fields = {
        "modalities": modalities,
        "fusion": _fusion(arrays, modalities),
        "hidden": len(arrays[f"{modalities[0]}_fc.weight"]),
        "max_positions": len(tables[0]),
        "summary": "mean_pooled" if any("bos_visual_norm" in n or "bos_audio_norm" in n for n in arrays) else "token",
    }
    return {**fields, **_transformer_fields(arrays, fields["hidden"]), **_cnn_fields(arrays)}


def _infer_config(weights: Mapping[str, np.ndarray], prefix: str, overrides: Sequence[str]) -> Config:
    fields = infer_model_fields(weights, prefix)
    given = {assignment.partition("=")[0].strip() for assignment in overrides}
    needed = [name for name in _ASKED if name != "rotation" or "rank" in fields]
    missing = [name for name in needed if name not in fields and f"model.{name}" not in given]
    if missing:
        raise PemtError(
            f"{' and '.join(_ASKED[name][0] for name in missing)} cannot be read from a checkpoint of width "
            f"{fields['hidden']}; give what it was trained with, as in "
            + " ".join(f"--set model.{name}={_ASKED[name][1]}" for name in missing)
        )
    fields.setdefault("heads", 1)  # replaced by the override
    segments = min(ClipGeometry().segments, fields["max_positions"] - 1)
    config = Config.from_dict({"name": "converted", "geometry": {"segments": segments}, "model": fields})
    return config.with_overrides(list(overrides))


def _fusion(arrays: Mapping[str, np.ndarray], modalities: list[str]) -> str:
    if not any(name.startswith("single_") for name in arrays):
        return "early"
    joint = any(name.startswith("multi_embeddings.") for name in arrays)
    return "mid" if joint or len(modalities) == 1 else "late"


def _transformer_fields(arrays: Mapping[str, np.ndarray], hidden: int) -> dict[str, Any]:
    """Sharing, sizes and, if layers are separate, their number."""
    indices = {int(found[1]) for name in arrays if (found := re.search(r"\.encoder\.layer\.(\d+)\.", name))}
    low_rank = [array for name, array in arrays.items() if name.endswith(".s_linear.weight")]
    kind = (not indices, _one_transformer(arrays), bool(low_rank))
    fields: dict[str, Any] = {"sharing": next(name for name, values in SHARING.items() if values == kind)}
    for name, array in arrays.items():
        if re.search(
            r"(?:\.|_)ffn\.(?:s_linear\.)?weight$|intermediate\.(?:factor_)?dense\.(?:s_linear\.)?weight$", name
        ):
            fields["intermediate"] = len(array)
            break
    if low_rank:
        fields["rank"] = low_rank[0].shape[1]
        fields["rotation_storage"] = "square"  # as in the checkpoint; `strict_triangle` would be smaller
    if hidden == _RELEASED_WIDTH:
        fields |= {name: value for name, value in _RELEASED.items() if name != "rotation" or low_rank}
    told = rotation_kind(arrays) if low_rank else None
    fields |= {"rotation": told} if told else {}
    return {**fields, "layers": max(indices) + 1} if indices else fields


def _one_transformer(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether the modalities share a Transformer: it has its own name, or is the only one."""
    names = {name.partition(".")[0] for name in arrays if ".encoder." in name}
    return "transformer" in names or len(names) == 1


def _cnn_fields(arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    fields = {}
    for modality, stem, block in (
        ("visual", "s1.pathway0_stem.conv.weight", "s2.pathway0_res"),
        ("audio", "s1.stem.conv1.weight", "s2.res"),
    ):
        prefix = f"{modality}_conv."
        if prefix + stem not in arrays:
            continue
        blocks = {found[1] for name in arrays if (found := re.match(re.escape(prefix + block) + r"(\d+)\.", name))}
        bottleneck = f"{prefix}{block}0.branch2.c.weight" in arrays
        fields[f"{modality}_width"] = len(arrays[prefix + stem])
        fields[f"{modality}_depth"] = 50 if bottleneck else {2: 18}.get(len(blocks), 34)
    return fields


def _class_count(weights: Mapping[str, np.ndarray]) -> int:
    """Number of classes of the head on pooled features; 0 without a head."""
    for name in ("concat_head.projection.weight", "head.projection.weight"):
        if name in weights:
            return len(weights[name])
    return 0
