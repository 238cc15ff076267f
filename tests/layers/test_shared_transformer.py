"""The stack of layers: what is shared, what is computed once, and how the pieces fit the single layer."""

import keras
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from pemt_tf.layers.shared_transformer import SharedTransformer
from pemt_tf.layers.transformer_layer import MAPS
from tests.layer_contract import assert_layer_contract
from tests.traced_step import kernels, running, traced, train_step

SIZES = {"layers": 3, "hidden": 12, "heads": 2, "intermediate": 20}


def stack(**arguments) -> SharedTransformer:
    transformer = SharedTransformer(**{**SIZES, **arguments})
    transformer.build()
    return transformer


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(2, 4, 12)).astype(np.float32)


@pytest.mark.parametrize("share, blocks", [(True, 1), (False, 3)])
def test_physical_layers(share, blocks):
    transformer = stack(share_layers=share)
    # Dense layer: 4 (h^2 + h) + (h i + i) + (i h + h) + two layer norms of 2 h.
    assert transformer.count_params() == blocks * (4 * (144 + 12) + (240 + 20) + (240 + 12) + 48)


@pytest.mark.parametrize("share", [True, False])
def test_is_the_layers_one_after_the_other(x, share):
    transformer = stack(share_layers=share, rank=4, modalities=("visual", "joint"))
    expected = x
    for index in range(3):
        expected = transformer.blocks[0 if share else index](expected, modality="joint")
    np.testing.assert_allclose(transformer(x, modality="joint"), expected, rtol=0, atol=1e-5)


def test_all_matrices_of_a_step_come_from_one_call(x):
    transformer = stack(rank=4, modalities=("visual", "audio"), share_layers=False)
    matrices = transformer.matrices()
    assert set(matrices) == {"visual", "audio"}
    for modality, per_block in matrices.items():
        assert len(per_block) == 3
        for block, by_map in zip(transformer.blocks, per_block, strict=True):
            for name in MAPS:
                layer = block.maps[name]
                rotation = scipy.linalg.expm(np.asarray(layer.skew(modality), np.float64))
                np.testing.assert_allclose(by_map[name], rotation @ layer.kernel.numpy(), rtol=0, atol=1e-6)
            inputs = [block.maps[name].projections[modality] for name in ("query", "key", "value")]
            np.testing.assert_array_equal(by_map["attention_input"], np.concatenate(inputs, axis=-1))
    given = transformer(x, modality="audio", matrices=matrices)
    np.testing.assert_allclose(given, transformer(x, modality="audio"), rtol=0, atol=1e-6)
    swapped = {"visual": matrices["audio"], "audio": matrices["visual"]}
    assert np.abs(transformer(x, modality="audio", matrices=swapped) - given).max() > 1e-4


def test_dense_maps_have_one_set_of_matrices():
    transformer = stack()
    (matrices,) = transformer.matrices()[None]
    np.testing.assert_array_equal(matrices["output"], transformer.blocks[0].maps["output"].kernel)
    assert matrices["attention_input"].shape == (12, 3 * 12)


@pytest.mark.parametrize("share", [True, False])
def test_folded_stack_is_the_same_function(x, share):
    arguments = {"rank": 4, "modalities": ("visual", "joint"), "share_layers": share, "initializer_std": 0.3}
    transformer = stack(**arguments)
    folded = stack(**arguments, rotation_storage="folded")
    folded.fold_from(transformer)
    for modality in ("visual", "joint"):
        expected = np.asarray(transformer(x, modality=modality))
        np.testing.assert_allclose(folded(x, modality=modality), expected, rtol=0, atol=1e-5)


def test_modalities_differ_only_by_their_factors(x):
    transformer = stack(rank=4, modalities=("visual", "audio"))
    assert np.abs(np.asarray(transformer(x, modality="visual")) - transformer(x, modality="audio")).max() > 1e-4
    for layer in transformer.blocks[0].maps.values():
        layer.projections["audio"].assign(layer.projections["visual"])
        layer.raw_rotations["audio"].assign(layer.raw_rotations["visual"])
    np.testing.assert_array_equal(transformer(x, modality="visual"), transformer(x, modality="audio"))


def test_shared_layers_have_no_feed_forward_dropout_and_take_the_attention_probability():
    shared = stack(attention_dropout=0.2, hidden_dropout=0.3, share_layers=True).blocks[0]
    assert (shared.attention_dropout, shared.output_dropout, shared.feed_forward_dropout) == (0.2, 0.2, 0.0)
    separate = stack(attention_dropout=0.2, hidden_dropout=0.3, share_layers=False).blocks[0]
    assert (separate.attention_dropout, separate.output_dropout, separate.feed_forward_dropout) == (0.2, 0.3, 0.3)


@pytest.mark.parametrize("rank", [None, 4])
@pytest.mark.parametrize("share", [True, False])
def test_contract(tmp_path, x, rank, share):
    def make(**arguments):
        modalities = ("visual",) if rank else ()
        return SharedTransformer(**SIZES, rank=rank, modalities=modalities, share_layers=share, **arguments)

    assert_layer_contract(make, x, tmp_path, call={"modality": "visual"}, bfloat16_tolerance=0.15)


class Streams(keras.Model):
    """Two streams through a Transformer, and then both of them joined, as in `AVTransformer`."""

    def __init__(self, policy: str, **arguments):
        super().__init__(dtype=policy)
        self.transformer = stack(rank=4, modalities=("visual", "audio", "joint"), dtype=policy, **arguments)
        self.built = True

    def call(self, x, training=False):
        shared = {"matrices": self.transformer.matrices(), "training": training}
        streams = [self.transformer(x, modality=modality, **shared) for modality in ("visual", "audio")]
        return self.transformer(tf.concat(streams, 1), modality="joint", **shared)


@pytest.fixture(scope="module")
def steps():
    """Traced train steps in bfloat16, by the number of layers that share their weights."""
    return {n: traced(train_step(Streams("mixed_bfloat16", layers=n)), tf.zeros((2, 4, 12))) for n in (1, 3)}


def test_a_weight_is_cast_once_a_step_however_many_layers_use_it(steps):
    """In each of 3 modalities: three V side by side, three other V, six products of Q and U. The six b are shared."""
    for step in steps.values():
        casts = [each for each in running(step) if each.type == "Cast" and each.outputs[0].dtype == tf.bfloat16]
        sources = [each.inputs[0].op.type for each in casts if not each.name.startswith("gradient_tape")]
        assert (sources.count("ConcatV2"), sources.count("MatMul")) == (3, 3 * 6)
        assert sources.count("ReadVariableOp") == 3 * 3 + 6


def test_a_layer_casts_only_where_it_computes_in_float32(steps):
    """Four normalizations of codes, the softmax and two layer norms, there and back, forwards and backwards."""
    counts = {layers: kernels(step)["Cast"] for layers, step in steps.items()}
    streams = 3
    assert counts[3] - counts[1] == (3 - 1) * streams * (4 + 1 + 2) * 2 * 2


def test_the_rotations_of_a_step_are_one_batched_call_for_all_modalities_layers_and_maps(steps):
    """A call rounds its numbers of squarings up once, and has as many kernels for 36 rotations as for 6."""
    assert all(kernels(step)["Ceil"] == 1 for step in steps.values())
    few = stack(rank=4, modalities=("visual",))
    many = stack(rank=4, modalities=("visual", "audio"), share_layers=False)
    counts = [kernels(tf.function(each._rotations).get_concrete_function()) for each in (few, many)]
    assert counts[0] == counts[1] and counts[0]["GatherV2"] == 1 and counts[0].total() < 80
