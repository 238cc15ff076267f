"""The stack of layers: what is shared, what is computed once, and how the pieces fit the single layer."""

import numpy as np
import pytest
import scipy.linalg

from pemt_tf.layers.shared_transformer import SharedTransformer
from pemt_tf.layers.transformer_layer import MAPS
from tests.layer_contract import assert_layer_contract

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


def test_all_rotations_of_a_step_come_from_one_call(x):
    transformer = stack(rank=4, modalities=("visual", "audio"), share_layers=False)
    rotations = transformer.rotations()
    assert set(rotations) == {"visual", "audio"}
    for modality, per_block in rotations.items():
        assert len(per_block) == 3
        for block, by_map in zip(transformer.blocks, per_block, strict=True):
            assert set(by_map) == set(MAPS)
            for name, rotation in by_map.items():
                skew = np.asarray(block.maps[name].skew(modality), np.float64)
                np.testing.assert_allclose(rotation, scipy.linalg.expm(skew), rtol=0, atol=2e-6)
    given = transformer(x, modality="audio", rotations=rotations)
    np.testing.assert_allclose(given, transformer(x, modality="audio"), rtol=0, atol=1e-6)


def test_dense_maps_have_no_rotations():
    assert stack().rotations() == {}


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
