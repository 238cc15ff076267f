"""Position and type embeddings against their formula; their golden numbers are tested with the model."""

import numpy as np
import pytest

from pemt_tf.layers.embeddings import TokenEmbeddings
from tests.golden import assert_close
from tests.layer_contract import assert_layer_contract


@pytest.fixture
def tokens():
    return np.random.default_rng(0).normal(size=(2, 4, 8)).astype(np.float32)


@pytest.mark.parametrize("token_type", [None, 0, 1])
def test_formula(tokens, token_type):
    layer = TokenEmbeddings(6, 8, types=2)
    layer.build()
    gain, offset = np.arange(1.0, 9.0), np.linspace(-1, 1, 8)
    layer.norm.gamma.assign(gain)
    layer.norm.beta.assign(offset)
    summed = tokens + layer.positions.numpy()[:4].astype(np.float64)
    if token_type is not None:
        summed = summed + layer.type_table.numpy()[token_type]
    mean, variance = summed.mean(-1, keepdims=True), summed.var(-1, keepdims=True)
    assert_close(layer(tokens, token_type=token_type), (summed - mean) / np.sqrt(variance + 1e-12) * gain + offset)


def test_a_sequence_longer_than_the_table_names_both_numbers(tokens):
    layer = TokenEmbeddings(3, 8)
    layer.build()
    with pytest.raises(ValueError, match=r"4 tokens.*3 rows"):
        layer(tokens)


def test_number_of_weights():
    layer = TokenEmbeddings(22, 768, types=2)
    layer.build()
    assert layer.count_params() == 19_968  # docs/reference_model.md section 15: the joint embeddings


def test_contract(tmp_path, tokens):
    def make(**arguments):
        return TokenEmbeddings(6, 8, types=2, dropout=0.1, **arguments)

    assert_layer_contract(make, tokens, tmp_path, call={"token_type": 1})
