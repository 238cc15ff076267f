"""The layers are pure keras.ops: on the JAX backend they give the same numbers. Skipped where JAX is not installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import keras, numpy as np
assert keras.backend.backend() == "jax"
from pemt_tf.config import ModelConfig
from pemt_tf.convert.reference_weights import assign_reference_weights
from pemt_tf.layers.batch_normalization import BatchNormalization
from pemt_tf.layers.low_rank_shared_dense import LowRankSharedDense
from pemt_tf.layers.transformer_layer import TransformerLayer
from pemt_tf.models.audio_resnet import AudioResNet
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.models.visual_resnet3d import VisualResNet3D
from tests.golden import Golden, assert_close

MODALITIES = ("visual", "audio", "joint")
for name, rotation in (("expm", "exponential"), ("cayley", "cayley")):
    golden = Golden(f"factor_linear_small_{name}")
    for storage in ("square", "strict_triangle"):
        layer = LowRankSharedDense(64, 8, MODALITIES, rotation=rotation, rotation_storage=storage)
        layer.build((None, None, 32))
        assign_reference_weights(layer, golden.weights)
        for index, modality in enumerate(MODALITIES):
            assert_close(layer(golden["in/x"], modality=modality), golden[f"out64/y{index}"])

for name, rank in (("albert_layer_plain", None), ("albert_layer_decomp", 8), ("bert_layer_decomp", 8)):
    golden = Golden(name)
    layer = TransformerLayer(32, 4, 64, rank, MODALITIES if rank else ())
    layer.build()
    assign_reference_weights(layer, golden.weights)
    assert_close(layer(golden["in/x"], modality="visual", mask=golden["in/mask"]), golden["out64/y_m0_mask"])

for name, cnn in (("audio_resnet_w8", AudioResNet(50, 8)), ("visual_resnet_w8", VisualResNet3D(50, 8))):
    golden = Golden(name)
    cnn.build()
    assign_reference_weights(cnn, golden.weights)
    assert_close(cnn(np.moveaxis(golden["in/x"], 1, -1)), golden["out64/pooled"])

golden = Golden("batchnorm_train")
norm = BatchNormalization()
norm.build((None, None, None, 5))
norm.set_weights([golden[f"in/bn2d/{name}"] for name in ("weight", "bias", "running_mean", "running_var")])
y = norm(np.moveaxis(golden["in/bn2d/x"], 1, -1), training=True)
assert_close(np.moveaxis(np.asarray(y), -1, 1), golden["out/bn2d/y"])
assert_close(norm.moving_variance, golden["out/bn2d/running_var"])

golden = Golden("avbert_mid_shared_decomp")
model = AVTransformer(ModelConfig(
    hidden=32, heads=4, intermediate=64, layers=2, rank=8, max_positions=8,
    visual_depth=50, visual_width=2, audio_depth=50, audio_width=1,
))
model.build()
assign_reference_weights(model, golden.weights, allow_missing=True)
for each in (model, model.fold()):
    outputs = each.contextualize(each.tokenize({m: golden[f"in/{m}_feat"] for m in ("visual", "audio")}))
    assert_close(outputs["joint"], golden["out64/multi"])

plain, again = (VisualResNet3D(18, 2, remat=remat) for remat in (False, True))
for cnn in (plain, again):
    cnn.build()
again.set_weights(plain.get_weights())
x = np.random.default_rng(0).normal(size=(2, 4, 32, 32, 3)).astype(np.float32)
assert_close(again(x, training=True), plain(x, training=True))
assert_close(again.stem_norm.moving_mean, plain.stem_norm.moving_mean)
"""


def test_layers_give_the_same_numbers_on_jax():
    pytest.importorskip("jax")
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
