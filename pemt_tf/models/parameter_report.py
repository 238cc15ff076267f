"""Counts parameters by part, from built variables (docs/reference_model.md section 15)."""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass

from pemt_tf.config import ModelConfig
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.models.without_values import without_values


@dataclass(frozen=True)
class ParameterRow:
    """One line of the table: a part of the model, its trainable parameters, and who shares them."""

    part: str
    parameters: int
    shared_by: str


@dataclass(frozen=True)
class ParameterReport:
    """The table and its last line.

    Attributes:
        rows: parts of the whole model.
        total: parameters of the whole model, without heads.
        transformer: parameters of the Transformers.
        unshared: the same with nothing shared.
    """

    rows: tuple[ParameterRow, ...]
    total: int
    transformer: int
    unshared: int

    @property
    def summary(self) -> str:
        """As in the paper: `Transformer: 3,843,840 of 127,581,696 (-96.99 %)`."""
        change = 100.0 * (self.transformer - self.unshared) / self.unshared
        return f"Transformer: {self.transformer:,} of {self.unshared:,} ({change:+.2f} %)"

    def table(self) -> str:
        """The table as aligned text, the summary last."""
        width = max(len(row.part) for row in self.rows)
        lines = [f"{'part':<{width}}  {'parameters':>12}  shared by"]
        lines += [f"{row.part:<{width}}  {row.parameters:>12,}  {row.shared_by}" for row in self.rows]
        lines += [f"{'total':<{width}}  {self.total:>12,}", "", self.summary]
        return "\n".join(lines)


def parameter_report(config: ModelConfig) -> ParameterReport:
    """Builds the model, and its Transformers without sharing, and counts their variables.

    Variables are created without values, so that the 128 million of the unshared Transformers cost no memory.
    """
    return without_values(functools.partial(_count_parts, config))


def _count_parts(config: ModelConfig) -> ParameterReport:
    model = AVTransformer(config)
    model.build()
    rows = [*_transformer_rows(model), *_other_rows(model)]
    unshared = AVTransformer(dataclasses.replace(config, sharing="none"))
    unshared.build()
    return ParameterReport(
        tuple(rows),
        sum(row.parameters for row in rows),
        _count(_transformer_weights(model)),
        _count(_transformer_weights(unshared)),
    )


def _count(weights) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _transformer_weights(model: AVTransformer) -> list:
    return [w for transformer in model.distinct_transformers().values() for w in transformer.trainable_weights]


def _transformer_rows(model: AVTransformer) -> list[ParameterRow]:
    """Shared kernels, per-modality projections and rotations, and the rest of every distinct Transformer."""
    rows = []
    for name, transformer in model.distinct_transformers().items():
        streams = [stream for stream, t in model.transformers.items() if t is transformer]
        uses = f"{model.config.layers} layers" if transformer.share_layers else "no other layer"
        everyone = f"{uses}, {' + '.join(streams)}" if len(streams) > 1 else f"{uses} of {streams[0]}"
        label = name.replace("_", " ").capitalize()
        groups: dict[tuple[str, str], list] = {}
        for weight in transformer.trainable_weights:
            for modality in transformer.modalities:
                for kind, part in (("projection", "V"), ("rotation", "rotation")):
                    if weight.name == f"{modality}_{kind}":
                        groups.setdefault((f"{label}: {part} ({modality})", f"{uses} of {modality}"), []).append(weight)
                        break
                else:
                    continue
                break
            else:
                part = "U and biases" if weight.name.startswith("shared_") else "dense maps"
                if "norm" in weight.path.split("/")[-2]:
                    part = "layer norms"
                groups.setdefault((f"{label}: {part}", everyone), []).append(weight)
        rows += [ParameterRow(part, _count(weights), shared) for (part, shared), weights in groups.items()]
    return rows


def _other_rows(model: AVTransformer) -> list[ParameterRow]:
    segments = "all segments"
    rows = [
        ParameterRow(f"{m.capitalize()} CNN", _count(cnn.trainable_weights), segments) for m, cnn in model.cnns.items()
    ]
    for m in model.cnns:
        weights = model.projections[m].trainable_weights + model.token_norms[m].trainable_weights
        rows.append(ParameterRow(f"{m.capitalize()} token projection", _count(weights), segments))
        rows.append(ParameterRow(f"{m.capitalize()} summary", _count(model.summaries[m].trainable_weights), "-"))
    rows += [
        ParameterRow(f"{stream.capitalize()} embeddings", _count(layer.trainable_weights), "-")
        for stream, layer in model.embeddings.items()
    ]
    return rows
