"""The model in plain PyTorch, restated from the specification: the other side of the comparisons in this folder.

It has the structure of the authors' code: 3-D convolutions, query, key and value one after the other, every rotation
on its own and once per step, PyTorch's Adam. It is run in a process of its own by `transformer_step.py` and
`full_model_step.py`, with the interpreter of an environment that has PyTorch (`make setup-bench`), and is no part of
the product. Only shapes and operations are those of the model; the weights are random.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

WIDTHS = {"visual": 2048, "audio": 1024}


class LowRankLinear(nn.Module):
    """y = U Q_m normalize(V_m x) + b."""

    def __init__(self, inputs: int, outputs: int, rank: int, groups: int):
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(inputs, rank, bias=False) for _ in range(groups))
        self.raw = nn.ParameterList(nn.Parameter(0.02 * torch.randn(rank, rank)) for _ in range(groups))
        self.expansion = nn.Linear(rank, outputs)
        self.rotations = [None] * groups

    def forward(self, x, group: int):
        if self.rotations[group] is None:
            upper = self.raw[group].triu(1)
            self.rotations[group] = torch.matrix_exp(upper - upper.t())
        code = functional.normalize(self.projections[group](x), dim=-1)
        return self.expansion(code @ self.rotations[group])


class DenseLinear(nn.Linear):
    """An ordinary map with the same call."""

    def forward(self, x, group: int):
        return super().forward(x)


class TransformerLayer(nn.Module):
    """Post-norm layer with exact GELU."""

    def __init__(self, hidden=768, heads=12, intermediate=3072, rank=128, groups=3, low_rank=True):
        super().__init__()

        def make(inputs, outputs):
            return LowRankLinear(inputs, outputs, rank, groups) if low_rank else DenseLinear(inputs, outputs)

        self.heads = heads
        self.query, self.key, self.value, self.out = (make(hidden, hidden) for _ in range(4))
        self.inner, self.outer = make(hidden, intermediate), make(intermediate, hidden)
        self.norm_1, self.norm_2 = (nn.LayerNorm(hidden, eps=1e-12) for _ in range(2))
        self.drop_attention, self.drop_out = nn.Dropout(0.1), nn.Dropout(0.1)

    def forward(self, x, group: int):
        batch, length, hidden = x.shape

        def split(t):
            return t.view(batch, length, self.heads, hidden // self.heads).permute(0, 2, 1, 3)

        query, key, value = (split(m(x, group)) for m in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) / math.sqrt(hidden // self.heads)
        probabilities = self.drop_attention(torch.softmax(scores, dim=-1))
        context = (probabilities @ value).permute(0, 2, 1, 3).contiguous().view(batch, length, hidden)
        x = self.norm_1(x + self.drop_out(self.out(context, group)))
        return self.norm_2(self.outer(functional.gelu(self.inner(x, group)), group) + x)


class Transformer(nn.Module):
    """Six applications of one layer, for three streams."""

    def __init__(self, layers=6, **arguments):
        super().__init__()
        self.layers, self.layer = layers, TransformerLayer(**arguments)

    def new_step(self):
        """Forgets the rotations of the step before."""
        for module in self.modules():
            if isinstance(module, LowRankLinear):
                module.rotations = [None] * len(module.rotations)

    def forward(self, x, group: int):
        for _ in range(self.layers):
            x = self.layer(x, group)
        return x


class Block(nn.Module):
    """ReLU(shortcut + branch)."""

    def __init__(self, conv, norm, channels, steps, stride):
        super().__init__()
        layers, width = [], channels
        for index, (outputs, kernel, strides) in enumerate(steps):
            padding = tuple(side // 2 for side in kernel)
            layers += [conv(width, outputs, kernel, strides, padding, bias=False), norm(outputs)]
            layers += [nn.ReLU(inplace=True)] if index + 1 < len(steps) else []
            width = outputs
        self.branch, self.shortcut = nn.Sequential(*layers), None
        if channels != width or max(stride) > 1:
            self.shortcut = nn.Sequential(conv(channels, width, 1, stride, bias=False), norm(width))

    def forward(self, x):
        return functional.relu(self.branch(x) + (x if self.shortcut is None else self.shortcut(x)))


def visual_cnn(width=64) -> nn.Module:
    """3-D ResNet-50, frames [batch, 3, time, height, width] to [batch, 2048]."""
    layers = [
        nn.Conv3d(3, width, (5, 7, 7), 2, (2, 3, 3), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    ]
    channels = width
    for stage, (count, time, stride) in enumerate(zip((3, 4, 6, 3), (1, 1, 3, 3), (1, 2, 2, 2), strict=True)):
        inner = width * 2**stage
        for index in range(count):
            strides = (1, stride, stride) if index == 0 else (1, 1, 1)
            steps = [
                (inner, (time, 1, 1), (1, 1, 1)),
                (inner, (1, 3, 3), strides),
                (4 * inner, (1, 1, 1), (1, 1, 1)),
            ]
            layers.append(Block(nn.Conv3d, nn.BatchNorm3d, channels, steps, strides))
            channels = 4 * inner
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten())


def audio_cnn(width=32) -> nn.Module:
    """2-D ResNet-50, spectrograms [batch, 1, 80, 128] to [batch, 1024]."""
    layers, channels = [], 1
    for kernel in ((9, 1), (1, 9)):
        padding = tuple(side // 2 for side in kernel)
        layers += [
            nn.Conv2d(channels, width, kernel, padding=padding, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
        ]
        channels = width
    for stage, count in enumerate((3, 4, 6, 3)):
        inner = width * 2**stage
        for index in range(count):
            stride = 2 if index == 0 else 1
            middle = [(inner, (3, 3), (stride, stride))]
            if stage < 2:
                middle = [(inner, (3, 1), (stride, 1)), (inner, (1, 3), (1, stride))]
            steps = [(inner, (1, 1), (1, 1)), *middle, (4 * inner, (1, 1), (1, 1))]
            layers.append(Block(nn.Conv2d, nn.BatchNorm2d, channels, steps, (stride, stride)))
            channels = 4 * inner
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Classifier(nn.Module):
    """Both CNNs, the shared Transformer with mid fusion, and both heads."""

    def __init__(self, classes=32, hidden=768):
        super().__init__()
        self.cnns = nn.ModuleDict({"visual": visual_cnn(), "audio": audio_cnn()})
        self.projections = nn.ModuleDict({m: nn.Linear(width, hidden) for m, width in WIDTHS.items()})
        self.norms = nn.ModuleDict({m: nn.LayerNorm(hidden, eps=1e-12) for m in WIDTHS})
        self.summaries = nn.Parameter(0.01 * torch.randn(2, hidden))
        self.positions = nn.Parameter(0.01 * torch.randn(3, 22, hidden))
        self.types = nn.Parameter(0.01 * torch.randn(2, hidden))
        self.embedding_norms = nn.ModuleList(nn.LayerNorm(hidden, eps=1e-12) for _ in range(3))
        self.drop_embeddings = nn.Dropout(0.1)
        self.transformer = Transformer()
        self.drop = nn.Dropout(0.5)
        self.clip_head = nn.Linear(sum(WIDTHS.values()), classes)
        self.maps = nn.ModuleDict({m: nn.Linear(2 * hidden, hidden, bias=False) for m in WIDTHS})
        self.head_norm, self.head = nn.LayerNorm(hidden), nn.Linear(hidden, classes)

    def embed(self, x, stream: int):
        """Positions, norm and dropout of one stream."""
        return self.drop_embeddings(self.embedding_norms[stream](x + self.positions[stream, : x.shape[1]]))

    def forward(self, frames, log_mel):
        self.transformer.new_step()
        batch, segments = frames.shape[:2]
        pooled, contexts = [], []
        for index, (name, x) in enumerate((("visual", frames), ("audio", log_mel))):
            features = self.cnns[name](x.flatten(0, 1)).view(batch, segments, -1)
            tokens = self.norms[name](self.projections[name](features))
            summary = self.summaries[index].expand(batch, 1, -1)
            contexts.append(self.transformer(self.embed(torch.cat([summary, tokens], 1), index), index))
            pooled.append(features)
        half = 1 + segments
        x = torch.cat([c + self.types[i] for i, c in enumerate(contexts)], 1)
        x = x + self.positions[2, :half].repeat(2, 1)
        joint = self.transformer(self.drop_embeddings(self.embedding_norms[2](x)), 2)
        total = 0
        for index, name in enumerate(WIDTHS):
            stream = joint[:, index * half : (index + 1) * half]
            pair = torch.cat([stream[:, :1].expand(-1, segments, -1), stream[:, 1:]], -1)
            total = total + self.maps[name](self.drop(pair))
        return self.clip_head(self.drop(torch.cat(pooled, -1))), self.head(self.head_norm(total))
